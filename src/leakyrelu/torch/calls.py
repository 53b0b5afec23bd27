"""Calls of functions, and the tensors in them. A model makes many calls, so all of this is written to be fast."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

__all__ = ["Traced", "each_of", "is_parameter", "tensors_in", "traced"]

_SEQUENCES = (tuple, list)  # a union of types would be made anew at each check


class Traced(NamedTuple):
    """A call of a function that makes tensors."""

    name: str
    function: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    tensors: Sequence[Tensor]  # among the arguments
    results: Sequence[Tensor]


def traced(name: str, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: object) -> Traced | None:
    """The call with the tensors in it; None if it made none."""
    results = [result for result in tensors_in((output,)) if not result.is_nested]
    return Traced(name, function, args, kwargs, tensors_in((*args, *kwargs.values())), results) if results else None


def each_of(items: Iterable[Any]) -> list[Any]:
    """The items, and instead of a tuple or list what it holds."""
    return [value for item in items for value in (item if isinstance(item, tuple | list) else (item,))]


def tensors_in(items: Iterable[Any]) -> list[Tensor]:
    """The tensors among the items, and those in a tuple or list among them."""
    found = []
    for item in items:
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, _SEQUENCES):
            found += [value for value in item if isinstance(value, Tensor)]
    return found


def is_parameter(value: object) -> bool:
    """Whether it is a parameter; PyTorch takes much longer to tell that a plain tensor is none."""
    return type(value) is not Tensor and isinstance(value, nn.Parameter)

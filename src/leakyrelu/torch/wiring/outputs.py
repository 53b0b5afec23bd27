"""What a run gives: the tensors that the model returns, and those that the user's own `forward` returns."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any, Self

from torch import Tensor, nn

from leakyrelu._backends.torch_private import tree_leaves

__all__ = ["Outputs", "tensors_in"]

_OPAQUE = nn.Module, FunctionType, MethodType, ModuleType, type
_DEPTH = 6  # how deep an object is looked into, such as a cache of keys and values


class Outputs:
    """Collects the outputs while it is entered."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.tensors: list[Tensor] = []

    def __enter__(self) -> Self:
        self._hook = self._model.register_forward_hook(lambda module, args, output: self.returned(output))
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def returned(self, output: Any) -> None:
        """Take note of what was returned."""
        known = set(map(id, self.tensors))
        self.tensors += [tensor for tensor in tensors_in(output) if id(tensor) not in known]

    def copies(self) -> list[Tensor]:
        """Copies on the CPU."""
        return [tensor.detach().to("cpu", copy=True) for tensor in self.tensors]


def tensors_in(output: Any, depth: int = 0) -> Iterator[Tensor]:
    """The tensors in anything: in containers, in dataclasses and in other objects that hold some."""
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor):
            yield leaf
        elif depth < _DEPTH and not isinstance(leaf, _OPAQUE) and (is_dataclass(leaf) or hasattr(leaf, "__dict__")):
            yield from tensors_in(list(vars(leaf).values()), depth + 1)

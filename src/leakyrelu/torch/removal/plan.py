"""What is left of each weight when units are taken out of a network; as JSON, too."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, TypeAlias

from torch import Tensor, nn

__all__ = ["GROUPS", "Kept", "Plan", "tensors_of"]

Kept: TypeAlias = Mapping[str, Sequence[Any]]  # by dimension, as a text; GROUPS has one list per group
GROUPS = "groups"

_FORMAT = 1


@dataclass(frozen=True)
class Plan:
    """Which rows and columns of a model's weights stay.

    Attributes
    ----------
    keep : Mapping of str to Mapping
        For each parameter or buffer that shrinks, by its full name, the indices that stay, in order, by the dimension
        (``"0"``, ``"1"``, ...). A parameter that has several names is given under each of them.

        In the weight of a grouped convolution, each group has inputs of its own, so the dimension ``"groups"`` holds
        one list per group: the inputs that stay, counted within the group. All these lists have the same length. In a
        transposed convolution they are the outputs of each group. The groups are those before the cut.
    new_biases : tuple of str
        The names of biases that the model does not have, made of zeros. If the units of their layer shrink, they are in
        `keep` as well.
    shapes : Mapping of str to tuple of int
        The shapes that the tensors in `keep` have before the cut. A model with other shapes is refused. It may be
        empty; `Plan.of` fills it.

    Raises
    ------
    ValueError
        Something of this is not as described.

    Examples
    --------
    >>> plan = Plan({"0.weight": {"0": [0, 2]}, "0.bias": {"0": [0, 2]}, "2.weight": {"1": [0, 2]}})
    >>> Plan.from_dict(plan.as_dict()) == plan
    True
    """

    keep: Mapping[str, Kept]
    new_biases: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.keep, Mapping, "keep", "a mapping from names of weights to what stays of them")
        for name, kept in self.keep.items():
            _check(kept, Mapping, f"keep[{name!r}]", "a mapping from dimensions to indices")
            for dimension, indices in kept.items():
                _check_indices(f"keep[{name!r}][{dimension!r}]", dimension, indices)
        _check(self.new_biases, tuple, "new_biases", "a tuple of names")
        for bias in self.new_biases:
            _check(bias, str, "an item of new_biases", "the name of a bias")
        _check(self.shapes, Mapping, "shapes", "a mapping from names of weights to their shapes")
        for name, shape in self.shapes.items():
            if not isinstance(shape, tuple) or not all(_is_size(size) for size in shape):
                raise ValueError(f"shapes[{name!r}] must be a tuple of sizes, got {shape!r}")

    @classmethod
    def of(cls, model: nn.Module, keep: Mapping[str, Kept], new_biases: Iterable[str] = ()) -> "Plan":
        """The plan for a model, with the shapes that its weights have now."""
        tensors = tensors_of(model)
        return cls(keep, tuple(new_biases), {name: tuple(tensors[name].shape) for name in keep if name in tensors})

    def as_dict(self) -> dict[str, Any]:
        """The plan as strings, numbers, lists and dictionaries, which `json.dumps` writes."""
        return {
            "format": _FORMAT,
            "keep": {
                name: {dimension: _as_lists(indices) for dimension, indices in kept.items()}
                for name, kept in self.keep.items()
            },
            "new_biases": list(self.new_biases),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
        }

    @classmethod
    def from_dict(cls, data: Any) -> "Plan":
        """The plan that `as_dict` made a dictionary of.

        Raises
        ------
        ValueError
            It is not such a dictionary, or is in a format of a later version of this library.
        """
        if not isinstance(data, Mapping) or "format" not in data:
            raise ValueError("this is no plan: it must be a dictionary with the key 'format', as Plan.as_dict() makes")
        if data["format"] != _FORMAT:
            raise ValueError(
                f"the plan has the format {data['format']!r}, and this version of leakyrelu reads {_FORMAT}; "
                "read it with the version that wrote it, or a later one"
            )
        if missing := {"keep", "new_biases", "shapes"} - data.keys():
            raise ValueError(f"the plan lacks {', '.join(sorted(missing))}")
        _check(data["new_biases"], list, "new_biases", "a list of names")
        _check(data["shapes"], Mapping, "shapes", "a mapping from names of weights to their shapes")
        shapes = {name: tuple(shape) if isinstance(shape, list) else shape for name, shape in data["shapes"].items()}
        return cls(data["keep"], tuple(data["new_biases"]), shapes)


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """The parameters and buffers of a model by name; one that has several names is there under each."""
    return dict(chain(model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)))


def _as_lists(indices: Sequence[Any]) -> list[Any]:
    return [list(index) if isinstance(index, Sequence) else index for index in indices]


def _check(value: object, kind: type, name: str, wanted: str) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")  # noqa: TRY004  # it may come from a file


def _check_indices(name: str, dimension: object, indices: Any) -> None:
    if dimension == GROUPS:
        if not isinstance(indices, list | tuple) or not indices or not all(map(_are_indices, indices)):
            raise ValueError(f"{name} must be one list of ascending indices per group, got {indices!r}")
        if len(lengths := {len(group) for group in indices}) > 1:
            raise ValueError(f"{name} must keep as many in each group, got {sorted(lengths)}")
    elif not isinstance(dimension, str) or not dimension.isdecimal():
        raise ValueError(f"{name}: a dimension is '0', '1', ..., or {GROUPS!r}, got {dimension!r}")
    elif not _are_indices(indices):
        raise ValueError(f"{name} must be a list of ascending indices, and at least one, got {indices!r}")


def _are_indices(indices: Any) -> bool:
    """Whether these are whole numbers from 0, at least one, and each greater than the one before."""
    return (
        isinstance(indices, list | tuple)
        and bool(indices)
        and all(map(_is_size, indices))
        and all(one < other for one, other in pairwise(indices))
    )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

"""Sharded tensors: which part of the units a rank holds, also where a module returns its part as a plain tensor."""

import sys
import weakref
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, TypeVar

import torch
from torch import Tensor, distributed, nn

from leakyrelu.torch.axes import Axes
from leakyrelu.units.layout import Units

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

__all__ = ["Layout", "Locals", "Share", "gathered", "is_sharded", "ranks_of", "whole"]

_T = TypeVar("_T")


class Share(NamedTuple):
    """What a rank adds to the counts of a site whose values are spread over several ranks."""

    units: int  # of all ranks together
    first: int  # the first of them on this rank
    here: int  # how many of them are on this rank
    repeated: bool  # whether another rank counts the same values
    measures: bool  # whether this rank counts how many values there are; another one does if only its units differ


def whole(units: int) -> Share:
    """The part of a rank that has values of its own for all units."""
    return Share(units, 0, units, repeated=False, measures=True)


class Layout(NamedTuple):
    """How the values of a tensor are spread over the ranks of a device mesh."""

    shape: torch.Size  # of the whole tensor
    mesh: "DeviceMesh"
    placements: Sequence[Any]

    @classmethod
    def of(cls, tensor: "DTensor") -> "Layout":
        """The layout of a sharded tensor."""
        return cls(tensor.shape, tensor.device_mesh, tensor.placements)

    def part(self, local: Tensor, units: Units) -> Share | None:
        """The part that `local` is, if the units are there; None if it cannot be told."""
        known, at, axis = _module(), self.mesh.get_coordinate(), _axis(units, len(self.shape))
        if (
            axis is None
            or at is None
            or any(type(each) not in (known.Shard, known.Replicate) for each in self.placements)
        ):
            return None  # for example, the ranks hold summands
        extents = [self._extent(i) for i in range(len(self.shape))]
        if [length for _, length in extents] != list(local.shape):
            return None
        of_one = axis == len(self.shape)  # all values belong to one unit
        first, here = (0, 1) if of_one else extents[axis]
        dims = list(zip(at, self.placements, strict=True))
        return Share(
            units=1 if of_one else self.shape[axis],
            first=first,
            here=here,
            repeated=any(i for i, each in dims if each.is_replicate()),
            measures=not any(i for i, each in dims if self._cuts(each, axis)),
        )

    def _extent(self, axis: int) -> tuple[int, int]:
        """Where this rank's part begins on an axis, and how long it is; each dimension of the mesh cuts it once."""
        first, length = 0, self.shape[axis]
        for dim, (i, each) in enumerate(zip(self.mesh.get_coordinate() or (), self.placements, strict=True)):
            if self._cuts(each, axis):
                most = -(-length // self.mesh.size(dim))  # as `torch.chunk` cuts
                before = min(i * most, length)
                first, length = first + before, min(most, length - before)
        return first, length

    def _cuts(self, placement: Any, axis: int) -> bool:
        return bool(placement.is_shard()) and placement.dim % len(self.shape) == axis

    def taken(self, local: Tensor, units: Units) -> Share | None:
        """The part that `local` is if it was taken from such a tensor, which may have been laid out anew before."""
        known = _module()
        anew = [[known.Replicate()], *([known.Shard(i)] for i in range(len(self.shape)))] if self.mesh.ndim == 1 else []
        parts = (self._replace(placements=each).part(local, units) for each in (self.placements, *anew))
        return next((part for part in parts if part is not None), None)


class Locals:
    """Follows the parts of sharded tensors through the functions of one pass, where they are plain tensors."""

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        # The keys are ids. A weak reference is kept as another tensor may get the same id later. None: not known.
        self._known: dict[int, tuple[weakref.ref[Tensor], Share | None]] = {}
        self._last: tuple[Layout, Units] | None = None  # the last sharded tensor that was made, and its units

    def made(self, tensor: "DTensor", units: Units) -> Layout:
        """Take note of a sharded tensor that a function made."""
        layout = Layout.of(tensor)
        self._last = layout, units
        return layout

    def left(self, value: Tensor) -> None:
        """Take note of a tensor that a module returns: if no function made it, it was taken from a sharded tensor."""
        if self._last is not None and self._axes.of(value) is None and not self._knows(value):
            layout, units = self._last
            part = layout.taken(value, units)
            self.remember(value, part)
            if part is not None:
                self._axes.remember(value, units)

    def part(self, value: Tensor) -> tuple[bool, Share | None]:
        """Whether it is known which part a plain tensor is, and the part; it is None where nothing was sharded."""
        if self._last is None:
            return True, None
        if self._knows(value):
            part = self._known[id(value)][1]
            return part is not None, part
        return self._axes.of(value) is not None, None

    def follow(self, tensors: Iterable[Tensor], results: Iterable[Tensor]) -> None:
        """Take note of the plain tensors that a function made of others."""
        tensors = [value for value in tensors if not isinstance(value, nn.Parameter)]
        parts = {self._known[id(value)][1] for value in tensors if self._knows(value)}
        if not parts:
            return
        part = parts.pop() if len(parts) == 1 else None
        if part is not None and part.here == part.units and not all(map(self._knows, tensors)):
            return  # the others may differ from rank to rank
        for result in results:
            units = self._axes.of(result)
            axis = None if units is None else _axis(units, result.ndim)
            kept = part is not None and axis is not None and result.shape[axis : axis + 1] == (part.here,)
            if kept or part is None or part.here != part.units:
                self.remember(result, part if kept else None)

    def remember(self, value: Tensor, part: Share | None) -> None:
        """Store which part a plain tensor is."""
        self._known[id(value)] = weakref.ref(value), part

    def _knows(self, value: Tensor) -> bool:
        reference, _ = self._known.get(id(value), (None, None))
        return reference is not None and reference() is value


def _axis(units: Units, axes: int) -> int | None:
    """The axis of the units, or the number of axes if all values belong to one unit; None if they are on several."""
    if not units:
        return axes
    return units[0].axis if len(units) == 1 and units[0].length is None else None


def is_sharded(value: object) -> TypeGuard["DTensor"]:
    """Whether it is a `DTensor`. Its module is slow to import, and is not imported for this."""
    return type(value) is not Tensor and isinstance(value, getattr(_module(), "DTensor", ()))


def ranks_of(meshes: Iterable["DeviceMesh"]) -> tuple[int, ...]:
    """The ranks of all these meshes."""
    return tuple(sorted({rank for mesh in meshes for rank in mesh.mesh.flatten().tolist()}))


def gathered(mine: _T, meshes: Iterable["DeviceMesh"]) -> list[_T]:
    """What each rank of the largest mesh gives; all of them must call this. Without a mesh it is `mine` alone."""
    found = [mine]
    those_with_this_rank = (mesh for mesh in meshes if mesh.get_coordinate() is not None)
    mesh: Any = max(those_with_this_rank, key=lambda mesh: mesh.size(), default=None)
    for dim in range(mesh.ndim if mesh is not None else 0):
        parts: list[Any] = [None] * mesh.size(dim)
        distributed.all_gather_object(parts, found, group=mesh.get_group(dim))
        found = [each for part in parts for each in part]
    return found


def _module() -> Any:
    return sys.modules.get("torch.distributed.tensor")

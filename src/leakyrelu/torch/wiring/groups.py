"""Units whose wiring is proven together, and where they are in a tensor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, Self, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from leakyrelu.torch.capture import Call
from leakyrelu.torch.counts import by_unit
from leakyrelu.torch.wiring.tape import Maker, Operand
from leakyrelu.torch.wiring.weights import Application
from leakyrelu.units.layout import Units, refined

__all__ = ["Group", "Key", "Member", "Seen", "Target", "Together", "put"]

_PARTS = 16  # how many parts of a group are tried by themselves if the whole is refused


class Key(NamedTuple):
    """A site, by its name and its width."""

    name: str
    units: int

    @classmethod
    def of(cls, call: Call) -> "Key":
        """The site of a call."""
        return cls(call.name, by_unit(call.input, call.units).shape[1])


Target: TypeAlias = tuple[Key, int]  # a unit of a site


@dataclass(frozen=True, eq=False)
class Member:
    """A unit of a layer, with all the units of sites that it is: several if the layer or the activation runs twice."""

    targets: Sequence[Target]
    shifts: tuple[Maker, ...]
    row: Maker | None


class _HasTargets(Protocol):
    @property
    def targets(self) -> Sequence[Target]: ...


M = TypeVar("M", bound=_HasTargets)


@dataclass(eq=False)
class Together(Generic[M]):
    """Units that are followed together."""

    members: list[M]

    @property
    def targets(self) -> list[Target]:
        """All units of sites that belong to it."""
        return [target for member in self.members for target in member.targets]

    @property
    def keys(self) -> list[Key]:
        """The sites that these units are at."""
        return list(dict.fromkeys(key for key, _ in self.targets))

    def units(self, key: Key) -> list[int]:
        """The units at one of the sites."""
        return sorted({unit for at, unit in self.targets if at == key})

    def parts(self) -> list[Self]:
        """Some parts, each to be tried by itself."""
        count = min(_PARTS, len(self.members))
        return [type(self)(self.members[i::count]) for i in range(count)]


@dataclass(eq=False)
class Group(Together[Member]):
    """Units whose wiring is proven together: those of one layer."""

    refused: str = ""  # why the weights that take their output are not known
    unmade: str = ""  # why nothing that makes them is known
    cuts: dict[tuple[object, ...], tuple[Application, Tensor]] = field(default_factory=dict)  # channels of each weight
    shifts: list[int] = field(default_factory=list)  # which of the members' shifts are proven, the nearest first
    gains: dict[Member, float] = field(default_factory=dict)  # how far the nearest shift moves each, if not by itself
    uneven: set[Member] = field(default_factory=set)  # those that a shift moves which leaves the others where they are
    has_rows: bool = False  # whether the members' rows are proven
    sites: set[Key] = field(default_factory=set)  # whose input the makers move

    def parts(self) -> list["Group"]:
        """Some parts, each to be tried by itself; two if a shift moves one of them alone."""
        if not self.uneven or self.refused or self.unmade:
            return super().parts()
        apart = [[each for each in self.members if (each in self.uneven) == moved] for moved in (True, False)]
        return [Group(members) for members in apart]


class Seen(NamedTuple):
    """What enters the first call of a site that has values."""

    operand: Operand
    shape: tuple[int, ...]
    units: Units

    def coordinates(self, unit: int, end: int) -> tuple[int, ...]:
        """The first element of a unit, or the last if `end` is -1."""
        lengths, axes = refined(self.units, self.shape)
        at = [end % length for length in lengths]
        for axis in reversed(axes):
            unit, at[axis] = divmod(unit, lengths[axis])
        flat = np.ravel_multi_index(at, tuple(lengths)) if at else 0
        return tuple(map(int, np.unravel_index(flat, self.shape))) if at else ()


def put(tensor: Tensor, units: Units, which: Sequence[int], made: Callable[[tuple[int, int, int]], Tensor]) -> None:
    """Let some units of a tensor have other values, which are made for a shape of (rows, units, positions)."""
    seen = by_unit(tensor, units)
    rows, _, positions = seen.shape
    values = made((rows, len(which), positions)).to(tensor)
    if seen.data_ptr() == tensor.data_ptr():
        seen[:, list(which)] = values
    else:  # they are not in the memory in this order
        index = by_unit(torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape), units)[:, list(which)]
        flat = tensor.contiguous().view(-1)
        flat[index.flatten()] = values.flatten()
        tensor.copy_(flat.view(tensor.shape))

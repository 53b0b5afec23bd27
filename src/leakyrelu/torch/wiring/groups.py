"""Units whose wiring is proven together, and where they are in a tensor."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from leakyrelu.torch.capture import Call
from leakyrelu.torch.counts import by_unit
from leakyrelu.torch.layout import Units
from leakyrelu.torch.wiring.tape import Maker, Operand
from leakyrelu.torch.wiring.weights import Application

__all__ = ["Group", "Key", "Member", "Seen", "Target", "flat_index"]


class Key(NamedTuple):
    """A site, by its name and its width."""

    name: str
    units: int

    @classmethod
    def of(cls, call: Call) -> "Key":
        """The site of a call."""
        return cls(call.name, by_unit(call.input, call.units).shape[1])


Target: TypeAlias = tuple[Key, int]  # a unit of a site


class Member(NamedTuple):
    """A unit of a layer, with all the units of sites that it is: several if the layer or the activation runs twice."""

    targets: tuple[Target, ...]
    shifts: tuple[Maker, ...]
    row: Maker | None


@dataclass(eq=False)
class Group:
    """Units whose wiring is proven together: those of one layer."""

    members: list[Member]
    refused: str = ""  # why the weights that take their output are not known
    unmade: str = ""  # why nothing that makes them is known
    cuts: dict[tuple[object, ...], tuple[Application, Tensor]] = field(default_factory=dict)  # channels of each weight
    shifts: list[int] = field(default_factory=list)  # which of the members' shifts are proven, the nearest first
    gain: float = 1.0  # how far the nearest shift moves a unit
    has_rows: bool = False  # whether the members' rows are proven
    sites: set[Key] = field(default_factory=set)  # whose input the makers move

    @property
    def targets(self) -> list[Target]:
        """All units of sites that belong to it."""
        return [target for member in self.members for target in member.targets]

    def units(self, key: Key) -> list[int]:
        """The units at one of the sites."""
        return sorted({unit for at, unit in self.targets if at == key})


class Seen(NamedTuple):
    """What enters the first call of a site that has values."""

    operand: Operand
    shape: tuple[int, ...]
    units: Units

    def coordinates(self, unit: int, end: int) -> tuple[int, ...]:
        """The first element of a unit, or the last if `end` is -1."""
        at = [end % max(1, length) for length in self.shape]
        if len(self.units) == 1 and self.units[0].length is None:
            at[self.units[0].axis] = unit
        elif self.units:
            flat = int(flat_index(torch.Size(self.shape), self.units, [unit], torch.device("cpu"))[end])
            for axis in reversed(range(len(at))):
                flat, at[axis] = divmod(flat, self.shape[axis])
        return tuple(at)


def flat_index(shape: torch.Size, units: Units, which: Sequence[int], device: torch.device) -> Tensor:
    """Where the values of some units are in a contiguous tensor of this shape."""
    index = torch.arange(shape.numel(), device=device).view(shape)
    return by_unit(index, units)[:, list(which)].flatten()

"""Makes units fire whose output is cut off: shifts what enters them, and draws new weights where that does not help."""

import math
from collections import defaultdict
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from leakyrelu.torch.capture import Call
from leakyrelu.torch.counts import by_unit, split
from leakyrelu.torch.edits import Edits
from leakyrelu.torch.wiring.groups import Group, Key, Member, Target, put
from leakyrelu.torch.wiring.proof import Prober
from leakyrelu.torch.wiring.tape import Maker
from leakyrelu.units.sites import Floats

__all__ = ["ROUNDS", "Awake", "Waking"]

_VALUES = 65_536  # how many values per unit are looked at for the median
ROUNDS = 4  # how often the model runs on all batches before a unit is given up
_ENOUGH = 0.05  # the least fraction of values on either side of zero, unless no round is left
_VANISHED, _EXPLODED = 1e-3, 1e3  # limits for the norm of a unit's incoming weights, which starts at about 1


@dataclass
class Awake:
    """Which units could not be made to fire, and why."""

    asleep: set[Target] = field(default_factory=set)
    reasons: dict[Target, str] = field(default_factory=dict)
    rounds: int = 0  # how often the model ran on all batches


class Waking:
    """Makes the units of groups fire."""

    def __init__(self, prober: Prober, edits: Edits, groups: Iterable[Group], generator: torch.Generator) -> None:
        self._prober, self._edits, self._generator = prober, edits, generator
        self._tried: dict[Member, tuple[Tensor, Floats]] = {}  # the last row of a member, and its values
        self._shifted: dict[Member, tuple[float, float]] = {}  # a shift of a member, and the median that it had before
        self._todo = {member: group for group in groups for member in group.members}

    def only(self, targets: Container[Target]) -> Self:
        """Leave out all members that make none of these units."""
        self._todo = {
            member: group for member, group in self._todo.items() if any(target in targets for target in member.targets)
        }
        return self

    def performed(self, rounds: int = ROUNDS) -> Awake:
        """Shift and draw, at most a few rounds of all batches."""
        result = Awake()
        for member, group in self._todo.items():
            self._reset(group, member)
            if group.has_rows and not self._is_sound(member):
                self._draw(member)
        for left in reversed(range(rounds)):
            if not self._todo:
                break
            result.rounds += 1
            for member, values in self._values().items():
                self._treat(self._todo[member], member, values, is_last=not left)
            if not any(group.has_rows or member in self._shifted for member, group in self._todo.items()):
                break
        for member, group in self._todo.items():
            reason = "whatever its weights" if group.has_rows else "and its weights could not be drawn anew"
            result.asleep |= set(member.targets)
            result.reasons |= dict.fromkeys(member.targets, f"what enters it is the same for every example, {reason}")
        return result

    def _treat(self, group: Group, member: Member, values: Floats, *, is_last: bool) -> None:
        """Make a unit fire, by what enters it now."""
        if self._fires(group, member, values, 0.0 if is_last or not group.has_rows else _ENOUGH):
            if is_last or not self._is_tentative(group, member, values):
                del self._todo[member]
        elif group.has_rows and not is_last and not self._steered(group, member, values):
            self._draw(member)

    def _is_tentative(self, group: Group, member: Member, values: Floats) -> bool:
        """Whether it is to be seen yet what a shift does, as its norm's output is scaled or shifted further."""
        if not group.shifts or self._is_plain(member.shifts[group.shifts[0]]) or member in self._shifted:
            return False
        cut, _ = split(values)
        self._shifted[member] = cut, float(np.median(values))
        return True

    @staticmethod
    def _is_plain(maker: Maker) -> bool:
        return maker.is_last or len(maker.norm) < 3

    def _steered(self, group: Group, member: Member, values: Floats) -> bool:
        """Without a bias, mix the last two rows of weights so that half of the values are above zero."""
        if group.shifts:
            return False
        storage, addresses = self._row(member)
        flat = self._prober.weights.flat(storage)
        row = flat[addresses.to(flat.device)].cpu().double()
        before = self._tried.get(member)
        self._tried[member] = row, values
        if before is None or len(before[1]) != len(values) or not (before[1] != 0).any():
            return False
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = -values / before[1]
        share = float(np.median(ratios[np.isfinite(ratios)]))
        mixed = row + share * before[0]
        norm = float(mixed.norm())
        if not math.isfinite(norm) or norm == 0:
            return False
        self._edits.put(member, storage, addresses, mixed * (math.sqrt(2) / norm))
        return True

    def _approached(self, member: Member, values: Floats, cut: float) -> float:
        """How far a norm is shifted whose output is scaled or shifted further: at first as if it were not."""
        if member not in self._shifted:
            return cut
        first, median = self._shifted[member]
        moved = median - float(np.median(values))
        return first if ((values > 0).any() and (values < 0).any()) or not moved else first * first / moved

    def _put(self, member: Member, storage: int, address: int, value: float) -> None:
        self._edits.put(member, storage, torch.tensor([address]), value)

    def _reset(self, group: Group, member: Member) -> None:
        """Set biases to zero, as rounding beside a large one hides all else, and norms to their initial values."""
        for i in group.shifts if group.has_rows else group.shifts[:1]:
            maker = member.shifts[i]
            self._put(member, maker.storage, maker.address, 0.0)
            for (storage, address), value in zip(maker.norm, (1.0, 0.0, 1.0), strict=False):
                self._put(member, storage, address, value)

    def _row(self, member: Member) -> tuple[int, Tensor]:
        row: Any = member.row
        return row.storage, row.applied.row(row.row)

    def _is_sound(self, member: Member) -> bool:
        storage, addresses = self._row(member)
        flat = self._prober.weights.flat(storage)
        return bool(_VANISHED < flat[addresses.to(flat.device)].double().norm() < _EXPLODED)

    def _draw(self, member: Member) -> None:
        """Draw new incoming weights, as He et al. (2015) initialise them."""
        storage, addresses = self._row(member)
        new = torch.randn(len(addresses), generator=self._generator) * math.sqrt(2 / len(addresses))
        self._edits.put(member, storage, addresses, new)

    def _values(self) -> dict[Member, Floats]:
        """What enters the units that do not fire yet, with values taken evenly from all batches.

        While the first batch runs, they are shifted at once, so that units of later layers see what they will see.
        """
        found: dict[Member, list[Tensor]] = defaultdict(list)
        at: dict[Key, list[tuple[Member, int]]] = defaultdict(list)  # by site: which member, and its unit there
        for member, group in self._todo.items():
            for key, unit in member.targets:
                if key in group.sites:
                    at[key].append((member, unit))
        totals = dict.fromkeys(at, 0)

        def look(call: Call) -> Callable[[Tensor], None] | None:
            key = Key.of(call)
            if key not in at or not call.input.numel():
                return None
            units = [unit for _, unit in at[key]]
            values = by_unit(call.input, call.units)[:, units]
            every = max(1, -(-self._prober.values[key] // _VALUES))
            while math.gcd(every, call.input.numel()) > 1:
                every += 1  # a common divisor would take the same positions again and again
            rows = values.movedim(1, 0).flatten(1)[:, ::every].cpu().double()
            for (member, _), row in zip(at[key], rows, strict=True):
                found[member].append(row)
            totals[key] += 1
            if totals[key] > 1:
                return None
            made = (values - rows.median(1).values.to(values)[:, None]).clamp(min=0)  # before it is overwritten
            return lambda output: put(output, call.units, units, lambda shape: made)

        self._prober.look(look)
        return {member: np.asarray(torch.cat(parts)) for member, parts in found.items()}

    def _fires(self, group: Group, member: Member, values: Floats, least: float) -> bool:
        """Shift what enters the unit so that about half is above zero, and return whether that works."""
        cut, rate = split(values)
        if not group.shifts:
            rate = float((values > 0).mean())
        if not rate or not least <= rate <= 1 - least:
            return False
        if group.shifts:
            self._shift(member, member.shifts[group.shifts[0]], values, cut / group.gains.get(member, 1.0))
        return True

    def _shift(self, member: Member, maker: Maker, values: Floats, cut: float) -> None:
        if not self._is_plain(maker):
            cut = self._approached(member, values, cut)
        elif len(maker.norm) == 3:  # scale, mean and variance
            # So far the norm has had mean 0 and variance 1; this gives the layer's values before it, and the norm then
            # gets their mean and variance.
            _, mean, variance = maker.norm
            values, cut = values * math.sqrt(1 + maker.eps), cut * math.sqrt(1 + maker.eps)
            self._put(member, *mean, values.mean())
            self._put(member, *variance, values.var())
            flat = self._prober.weights.flat
            cut = (cut - float(flat(mean[0])[mean[1]])) / math.sqrt(float(flat(variance[0])[variance[1]]) + maker.eps)
        self._put(member, maker.storage, maker.address, -cut)

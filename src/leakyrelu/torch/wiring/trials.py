"""What if: units that give other numbers, or are made by others, followed beside a run; and what comes out."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leakyrelu.torch.capture import Call
from leakyrelu.torch.counts import by_unit
from leakyrelu.torch.wiring.groups import Group, Key, Member
from leakyrelu.torch.wiring.noise import SCALES, Noise
from leakyrelu.torch.wiring.shadows import Shadows, differing
from leakyrelu.torch.wiring.tape import Maker
from leakyrelu.torch.wiring.weights import Application, Weights, add_to
from leakyrelu.torch.wiring.words import makes_more, met

__all__ = ["Certificate", "Mode", "Trials"]

_CERTIFYING = 1.0, 50.0


@dataclass(frozen=True)
class _Random:
    """A trial: the units of a group give random numbers of this size."""

    group: Group
    scale: float


@dataclass(frozen=True)
class _Made:
    """A trial: other numbers make the units of a group, in one of its shifts or, if `shift` is None, from its rows."""

    group: Group
    shift: int | None


class Mode(Shadows):  # type: ignore[no-untyped-call]
    """Follows the trials of groups."""

    def __init__(self, weights: Weights, trials: "Trials") -> None:
        super().__init__(weights, trials.reasons)
        self._trials = trials

    def applied(self, trial: Any, call: Application, given: Tensor, differs: Tensor, path: tuple[str, ...]) -> bool:
        """Ask the trials; they say why if one is to be refused."""
        name = self._weights.name(call.place.storage, call.place.offset)
        found = self._trials.applied(trial, call, given, differs, self)
        if found == "makes":
            self.refuse(trial, makes_more(name))
        elif found == "meets":
            self.refuse(trial, met(path, name))
        return bool(found)

    def has_applied(self, call: Application, output: Tensor) -> None:
        """Let the trials change what a call gives."""
        self._trials.has_applied(self, call, output)

    def reaches(self, trial: Any, path: tuple[str, ...]) -> str:
        """The reason to give up a trial in which an output of the model would differ."""
        if isinstance(trial, _Made):
            return "the weights that make it also reach an output otherwise"
        return super().reaches(trial, path)


class Trials:
    """The trials of some groups, and what came out.

    `ever` has the channels of each weight's input that are ever other than zero. None: the units are not silent, so
    what would be zero without them is found out in a trial.
    """

    def __init__(
        self,
        weights: Weights,
        groups: Sequence[Group],
        ever: Mapping[tuple[object, ...], Tensor] | None,
        *,
        outgoing: bool = True,
    ) -> None:
        self._weights, self._groups, self._ever = weights, groups, ever
        silenced = () if ever is not None else (0.0,)  # what is zero then has no values but theirs
        self._scales: tuple[float, ...] = (*silenced, *SCALES) if outgoing else ()
        self._by_site: dict[Key, list[Group]] = defaultdict(list)
        for group in groups:
            for key in group.keys:
                self._by_site[key].append(group)
        self.reasons: dict[Any, str] = {}
        self._moved: dict[_Made, dict[Key, Tensor]] = defaultdict(dict)
        self._gains: dict[_Made, dict[Member, float]] = defaultdict(dict)
        self._noise = Noise()
        self._rows: dict[tuple[object, ...], dict[_Made, list[int]]] = defaultdict(dict)
        for group in groups:
            for member in group.members:
                if member.row and member.row.applied:
                    self._rows[member.row.applied.key].setdefault(_Made(group, None), []).append(member.row.row)

    def applied(self, trial: Any, call: Application, given: Tensor, differs: Tensor, mode: Shadows) -> bool | str:
        """Whether a trial ends at a call; if it is to be refused, why."""
        if isinstance(trial, _Made):
            return False if call.kind in ("mul", "batch norm") else "makes"
        if self._ever is not None:
            foreign = self._ever.get(call.key)
        else:
            foreign = call.channels(mode.version(given, _Random(trial.group, 0.0)) != 0)
        if foreign is None or bool((differs & foreign).any()):
            return False if call.kind == "mul" else "meets"
        self.take(trial, call, differs)
        return True

    def noises(self, key: Key) -> Iterator[tuple[Any, list[int]]]:
        """The trials in which units of a site give random numbers, and which units."""
        for group in self._by_site.get(key, ()):
            for scale in self._scales:
                yield _Random(group, scale), group.units(key)

    def take(self, trial: _Random, call: Application, channels: Tensor) -> None:
        """Take note of channels that the units of a trial fill."""
        cuts = trial.group.cuts
        cuts[call.key] = call, cuts[call.key][1] | channels if call.key in cuts else channels

    def started(self, weights: Weights) -> Mode:
        """The mode for one batch, with all trials that change weights begun."""
        mode = Mode(weights, self)
        for group in self._groups:
            for i in range(len(group.members[0].shifts)):
                self._shift(mode, _Made(group, i))
        return mode

    def _shift(self, mode: Mode, trial: _Made) -> None:
        weights, index = self._weights, trial.shift or 0
        for member in trial.group.members:
            maker = member.shifts[index]
            for storage, address, value in _other(maker, weights):
                mode.begin(trial, weights.flat(storage))[address] = value

    def has_applied(self, mode: Mode, call: Application, output: Tensor) -> None:
        """Let the rows of a layer give other numbers."""
        for trial, rows in self._rows.get(call.key, {}).items():
            if trial not in self.reasons and call.rows is not None:
                self._noise.rows(mode, trial, output, call.rows, rows)

    def observe(self, mode: Mode) -> Callable[[Call], Callable[[Tensor], object]]:
        """An observer of one run."""

        def see(call: Call) -> Callable[[Tensor], object]:
            with mode.paused():
                key = Key.of(call)
                held = self._look(mode, call, key)

            def after(output: Tensor) -> None:
                with mode.paused():
                    for trial in held:
                        mode.drop(trial, output)
                    for noise, units in self.noises(key):
                        if noise not in self.reasons:
                            self._noise.units(mode, noise, output, call.units, units, noise.scale)

            return after

        return see

    def _look(self, mode: Mode, call: Call, key: Key) -> list[_Made]:
        """Which trials that change weights end here, as they move units of the same group and no others."""
        held = []
        for trial in mode.trials([call.input]):
            if not isinstance(trial, _Made):
                continue
            version = mode.version(call.input, trial)
            where = by_unit(differing(call.input, version), call.units)
            moved = where.any(2).any(0)
            own = torch.zeros_like(moved)
            own[trial.group.units(key)] = True
            if bool((moved & ~own).any()):
                mode.refuse(trial, f"the weights that make it also move other units of {key.name}")
                continue
            if moved.any():
                add_to(self._moved[trial], key, moved)
                held.append(trial)
                self._measure(trial, call, version, key)
        return held

    def _measure(self, trial: _Made, call: Call, version: Tensor, key: Key) -> None:
        """How far the nearest shift moves each unit, as a multiple of the shift."""
        if trial.shift is None or trial.group.members[0].shifts[trial.shift].norm:
            return
        gains, weights = self._gains[trial], self._weights
        here = {member: unit for member in trial.group.members for at, unit in member.targets if at == key}
        found = [(member, unit) for member, unit in here.items() if member not in gains]
        if not found:
            return
        units = [unit for _, unit in found]
        before, after = (by_unit(each, call.units)[:, units].double() for each in (call.input, version))
        moved = (after - before).movedim(1, 0).flatten(1).median(1).values.tolist()
        for (member, _), distance in zip(found, moved, strict=True):
            (storage, address, value), *_ = _other(member.shifts[trial.shift], weights)
            old = float(weights.flat(storage)[address])
            gain = distance / (value - old) if value != old else 0.0
            if gain == gain and abs(gain) > 1e-6 and abs(gain) < 1e6:  # noqa: PLR0124  # a number
                gains[member] = 1.0 if abs(gain - 1) < 1e-2 else gain

    def conclude(self, group: Group) -> None:
        """Write down what the trials of a group have shown."""
        for scale in self._scales:
            if scale:
                group.refused = group.refused or self.reasons.get(_Random(group, scale), "")
        reason = ""
        for i in range(len(group.members[0].shifts)):
            why = self._why(_Made(group, i))
            reason = reason or why
            group.uneven = group.uneven or self._unevenly(_Made(group, i))
            if not why:
                group.shifts.append(i)
                group.gains = self._gains[_Made(group, i)] if len(group.shifts) == 1 else group.gains
        if all(member.row for member in group.members):
            why = self._why(_Made(group, None))
            group.has_rows = not why
            reason = reason or why
        if not group.shifts and not group.has_rows:
            group.unmade = reason or "no bias and no weights were found that make it"
        for trial, moved in self._moved.items():
            if trial.group is group and trial not in self.reasons:
                group.sites |= moved.keys()

    def _why(self, trial: _Made) -> str:
        if trial in self.reasons:
            return self.reasons[trial]
        moved = [self._moves(trial, member) for member in trial.group.members]
        return "" if all(moved) else "no bias and no weights were found that make it"

    def _moves(self, trial: _Made, member: Member) -> bool:
        return any(bool(self._moved[trial].get(key, torch.zeros(key.units))[unit]) for key, unit in member.targets)

    def _unevenly(self, trial: _Made) -> set[Member]:
        """The members that a shift moves, if it leaves others where they are, such as behind a mask of the biases."""
        moved = {member for member in trial.group.members if self._moves(trial, member)}
        return moved if trial not in self.reasons and len(moved) < len(trial.group.members) else set()


class Certificate(Trials):
    """Trials after the cut: whatever units give, nothing may differ but other units whose output is cut off."""

    def __init__(self, weights: Weights, groups: Sequence[Group], apart: Mapping[Group, Sequence[Member]]) -> None:
        super().__init__(weights, groups, {})
        self._scales, self._rows = _CERTIFYING, defaultdict(dict)
        self._channels: dict[tuple[object, ...], Tensor] = {}
        for group in groups:
            for key, (_, channels) in group.cuts.items():
                add_to(self._channels, key, channels)
        self._apart = {member: Group([member]) for members in apart.values() for member in members}
        self._alone = set(self._apart.values())
        self._parts: dict[Key, list[Group]] = defaultdict(list)
        for part in self._apart.values():
            for key in part.keys:
                self._parts[key].append(part)

    def started(self, weights: Weights) -> Mode:
        """The mode for one batch."""
        return Mode(weights, self)

    def applied(self, trial: Any, call: Application, _: Tensor, differs: Tensor, __: Shadows) -> bool | str:
        """Whether a trial ends at a call; "meets" if it has an influence there."""
        if trial.group in self._alone:
            self.take(trial, call, differs)
            return True
        cut = self._channels.get(call.key)
        if cut is not None and not bool((differs & ~cut).any()):
            weights = self._weights.flat(call.place.storage)
            # Zeros end it. Other numbers are there where rows were drawn anew that make other units which are cut off.
            return not bool(weights[call.columns(differs).to(weights.device)].any())
        return False if call.kind in ("mul", "batch norm") else "meets"

    def _look(self, mode: Mode, call: Call, key: Key) -> list[Any]:
        """Which trials end here, as they move only units that are cut off themselves."""
        own = torch.zeros(key.units, dtype=torch.bool)
        for group in self._by_site.get(key, ()):
            own[group.units(key)] = True
        held = []
        for trial in mode.trials([call.input]):
            where = by_unit(differing(call.input, mode.version(call.input, trial)), call.units)
            if not bool((where.any(2).any(0).cpu() & ~own).any()):
                held.append(trial)
        return held

    def noises(self, key: Key) -> Iterator[tuple[Any, list[int]]]:
        """As for other trials, and the members that are looked at apart."""
        yield from super().noises(key)
        for part in self._parts.get(key, ()):
            yield _Random(part, 1.0), part.units(key)

    def failed(self) -> dict[Group, str]:
        """The groups whose influence is not cut off, and why."""
        found: dict[Group, str] = {}
        for trial, reason in self.reasons.items():
            if trial.group not in self._alone:
                found.setdefault(trial.group, f"its outgoing weights cannot be cut by themselves: {reason}")
        return found

    def parts(self) -> dict[Member, list[tuple[Application, Tensor]]]:
        """The channels that members fill alone, of those that were cut for their groups."""
        return {member: list(part.cuts.values()) for member, part in self._apart.items()}


def _other(maker: Maker, weights: Weights) -> Iterator[tuple[int, int, float]]:
    """Other numbers than the present ones for a shift and its norm: storage, address and number."""
    old = float(weights.flat(maker.storage)[maker.address])
    yield maker.storage, maker.address, 1.0 if abs(old) < 0.1 else 0.0  # far from the present one
    for storage, address in maker.norm:
        yield storage, address, 2.0 if float(weights.flat(storage)[address]) == 1 else 1.0

"""Proves, on the run itself, which weights make a unit and which take its output."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from leakyrelu.torch.capture import Call, Capture, Forward
from leakyrelu.torch.counts import by_unit
from leakyrelu.torch.diagnosis import counted
from leakyrelu.torch.layout import Part, Units
from leakyrelu.torch.running import copies
from leakyrelu.torch.wiring.outputs import Outputs
from leakyrelu.torch.wiring.shadows import Shadows, differing
from leakyrelu.torch.wiring.tape import Maker, Operand, Tape, makers
from leakyrelu.torch.wiring.weights import Application, Weights
from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["Group", "Key", "Member", "Prober", "Target", "flat_index"]

_SCALES = 1.0, 1e3  # of what a unit gives in a trial; one number could be hidden by what follows
_CERTIFYING = 1.0, 50.0
_SHIFTS = 3  # how many vectors are tried that may shift a unit, the nearest first
_PARTS = 16  # how many parts of a group are tried by themselves if the whole is refused


class Key(NamedTuple):
    """A site, by its name and its width."""

    name: str
    units: int


Target = tuple[Key, int]  # a unit of a site


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
        return [target for member in self.members for target in member.targets]

    def units(self, key: Key) -> list[int]:
        """The units at one of the sites."""
        return sorted({unit for at, unit in self.targets if at == key})


@dataclass(frozen=True)
class _Noise:
    """A trial: the units of a group give random numbers of this size."""

    group: Group
    scale: float


@dataclass(frozen=True)
class _Made:
    """A trial: other numbers make the units of a group, in one of its shifts or, if `shift` is None, from its rows."""

    group: Group
    shift: int | None


_CUT: dict[tuple[object, ...], Tensor] = {}  # stands for what is known after the cut


class _Seen(NamedTuple):
    """What enters the first call of a site that has values."""

    operand: Operand
    shape: tuple[int, ...]
    units: Units


class Prober:
    """Runs a model on batches, and proves the wiring of its units.

    Attributes
    ----------
    weights : Weights
    calls : int
        How often the batches were run, all together.
    notes : dict
        Its keys are remarks on what the proof does not cover.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Any], forward: Forward) -> None:
        self.model, self._batches, self._forward = model, batches, forward
        self.weights = Weights(model)
        self.notes: dict[str, None] = {}
        self.outputs: list[list[Tensor]] = []  # of the first run, by batch
        self._ever: dict[tuple[object, ...], Tensor] = {}
        self._readers: dict[int, dict[object, Any]] = {}
        self._seen: dict[Key, _Seen] = {}
        self.is_random = False  # whether two runs gave different outputs
        self.values: dict[Key, int] = defaultdict(int)  # per unit, on all batches

    @property
    def outputs_are_empty(self) -> bool:
        """Whether nothing came out that could be compared."""
        return not any(output.numel() for outputs in self.outputs for output in outputs)

    def diagnosis(self) -> Diagnosis:
        """Diagnose, and take down what the run does."""
        calls: list[list[tuple[object, ...]]] = []
        tapes: list[Tape] = []

        def forward(model: Any, batch: Any) -> None:
            tapes.append(Tape(self.weights, keep_nodes=True))
            outputs = Outputs(model)
            with tapes[-1], outputs:
                outputs.returned(self._forward(model, batch))
            self.outputs.append(outputs.copies())
            self._take_over(tapes[-1])
            calls.append(tapes[-1].calls)

        def beside(call: Call) -> Callable[[Tensor], None]:
            with tapes[-1].paused():
                key = self.key(call)
                self.values[key] += call.input.numel() // max(1, key.units)
                if call.input.numel() and key not in self._seen:
                    self._seen[key] = _Seen(tapes[-1].operand(call.input), tuple(call.input.shape), call.units)

            def after(output: Tensor) -> None:
                with tapes[-1].paused():
                    tapes[-1].mark(output)

            return after

        def unseen() -> Any:
            return tapes[-1].paused()

        seed()
        found = counted(self.model, copies(self._batches), forward, beside, unseen)
        if any(one != calls[0] for one in calls[1:]):
            self.notes[
                "the model applies other weights, or in another order, on some batches than on others; what was done "
                "holds for the paths that these batches take"
            ] = None
        return found

    @staticmethod
    def key(call: Call) -> Key:
        return Key(call.name, by_unit(call.input, call.units).shape[1])

    def _take_over(self, tape: Tape) -> None:
        for key, channels in tape.ever.items():
            self._ever[key] = self._ever[key] | channels if key in self._ever else channels
        for storage, readers in tape.readers.items():
            self._readers.setdefault(storage, {}).update(readers)

    # --- Which units belong together -------------------------------------------------------------------------------

    def groups(self, targets: Mapping[Key, Sequence[int]]) -> list[Group]:
        """The units by what makes them."""
        sites: dict[object, list[tuple[Target, list[Maker]]]] = defaultdict(list)
        joined: dict[Key, set[Key]] = {key: {key} for key in targets}
        at: dict[object, set[Key]] = defaultdict(set)
        for key, units in targets.items():
            for unit in units:
                found = self._makers(key, unit)
                row = next((maker for maker in found if maker.role == "row"), None)
                root: object = (key, unit)
                if row or found:
                    nearest = row or found[0]
                    root = nearest.storage, nearest.address, nearest.applied and nearest.applied.key
                sites[root].append(((key, unit), found))
                at[root].add(key)
        for keys in at.values():
            together = set().union(*(joined[key] for key in keys))
            for key in together:
                joined[key] = together
        groups: dict[frozenset[Key], Group] = {}
        for found_at in sites.values():
            keys = frozenset(joined[found_at[0][0][0]])
            group = groups.setdefault(keys, Group([]))
            found = found_at[0][1]
            shifts = tuple(dict.fromkeys(maker for maker in found if maker.role == "shift"))[:_SHIFTS]
            row = next((maker for maker in found if maker.role == "row"), None)
            group.members.append(Member(tuple(target for target, _ in found_at), shifts, row))
        return list(groups.values())

    def _makers(self, key: Key, unit: int) -> list[Maker]:
        """What makes a unit, the nearest first: what its first and its last value have in common."""
        seen = self._seen.get(key)
        if seen is None:
            return []
        first, last = (list(makers(seen.operand, _coordinates(seen, unit, end))) for end in (0, -1))
        return [maker for maker in first if maker in last]

    # --- What they feed, and what makes them ---------------------------------------------------------------------------

    def prove(self, groups: Iterable[Group], *, dormant: bool = False, outgoing: bool = True) -> list[Group]:
        """Find the weights that take the units' output, and those that make them; refused groups are tried in parts."""
        groups = list(groups)
        self._try(groups, dormant=dormant, outgoing=outgoing)
        parts = {group: _parts(group) for group in groups if (group.refused or group.unmade) and len(group.members) > 1}
        again = [part for found in parts.values() for part in found]
        if again:
            self._try(again, dormant=dormant, outgoing=outgoing)
        return [group for each in groups for group in parts.get(each, [each])]

    def _try(self, groups: Sequence[Group], *, dormant: bool, outgoing: bool) -> None:
        scales = (0.0, *_SCALES) if dormant else _SCALES
        trials = _Trials(self, groups, scales if outgoing else (), self._ever if not dormant else None)
        self.run(trials.observe, lambda: trials.started(self.weights))
        for group in groups:
            trials.conclude(group)
            if self.is_random:
                group.refused = (
                    "two runs of the model on the same batch gave different outputs, so nothing can be proven"
                )
            if outgoing and not group.refused and not group.cuts:
                group.refused = "no weight takes its output"
            if not group.refused:
                group.refused = self._read_elsewhere(group)
            group.has_rows = group.has_rows and not self._rows_read_elsewhere(group)
            if not group.shifts and not group.has_rows and not group.unmade:
                group.unmade = "the weights that make it are used for something else, too"

    def _read_elsewhere(self, group: Group) -> str:
        """Why the weights that take the units' output cannot be changed; empty if they can."""
        for call, channels in group.cuts.values():
            storage = call.place.storage
            others = [(reader, place) for reader, place in self._readers[storage].items() if reader != call.key]
            columns = None
            for _, place in others:
                if columns is None:
                    columns = torch.zeros(len(self.weights.flat(storage)), dtype=torch.bool)
                    columns[call.columns(channels)] = True
                if bool(columns[place.addresses({})].any()):
                    return f"{self.weights.name(storage, call.place.offset)}, which takes its output, is used elsewhere, too"
        return ""

    def _rows_read_elsewhere(self, group: Group) -> bool:
        """Whether the rows that make the units are used for something else, too."""
        for member in group.members:
            row = member.row
            if row is None or row.applied is None:
                return True
            own = row.applied.row(row.row)
            for reader, place in self._readers[row.storage].items():
                if reader != row.applied.key and bool(torch.isin(own, place.addresses({})).any()):
                    return True
        return False

    def run(
        self, observe: Callable[[Any], Callable[[Call], Callable[[Tensor], object]]], start: Callable[[], Any]
    ) -> None:
        """Run all batches under a mode of `Shadows`, which `start` makes for each batch."""
        seed()
        for batch, before in zip(copies(self._batches), self.outputs, strict=True):
            mode = start()
            with Capture(self.model, observe(mode)) as capture, capture.one_pass(batch):
                outputs = Outputs(self.model)
                with mode, outputs:
                    outputs.returned(self._forward(self.model, batch))
                mode.finish(outputs.tensors)
            if not _same(before, outputs.copies()):
                self.is_random = True

    def look(self, observe: Callable[[Call], Callable[[Tensor], object] | None]) -> None:
        """Run all batches, and show each call of an activation."""
        seed()

        def see(call: Call) -> Callable[[Tensor], object]:
            return observe(call) or (lambda output: None)

        for batch in copies(self._batches):
            with Capture(self.model, see) as capture, capture.one_pass(batch):
                self._forward(self.model, batch)

    def again(self) -> list[list[Tensor]]:
        """The outputs on all batches, as they are now."""
        seed()
        found = []
        for batch in copies(self._batches):
            with Outputs(self.model) as outputs:
                outputs.returned(self._forward(self.model, batch))
            found.append(outputs.copies())
        return found

    def certified(
        self, groups: Sequence[Group], apart: Mapping[Group, Sequence[Member]]
    ) -> tuple[Diagnosis, list[list[Tensor]], "_Certificate"]:
        """The diagnosis, the outputs, and whether units have any influence, as the model is now.

        `apart` are members of groups for which it is found out which channels they fill.
        """
        trials = _Certificate(self, groups, apart)
        modes: list[_Mode] = []
        found = []

        def forward(model: Any, batch: Any) -> None:
            modes.append(trials.started(self.weights))
            outputs = Outputs(model)
            with modes[-1], outputs:
                outputs.returned(self._forward(model, batch))
            modes[-1].finish(outputs.tensors)
            found.append(outputs.copies())

        def beside(call: Call) -> Callable[[Tensor], object]:
            return trials.observe(modes[-1])(call)

        seed()
        diagnosis = counted(self.model, copies(self._batches), forward, beside, lambda: modes[-1].paused())
        return diagnosis, found, trials


class _Mode(Shadows):
    """Follows the trials of groups."""

    def __init__(self, weights: Weights, trials: "_Trials") -> None:
        super().__init__(weights)
        self._trials = trials

    def applied(self, trial: Any, call: Application, given: Tensor, differs: Tensor, path: tuple[str, ...]) -> bool:
        name = self._weights.name(call.place.storage, call.place.offset)
        found = self._trials.applied(trial, call, given, differs, self)
        if found == "makes":
            self.refuse(trial, f"its weights make more than it: they also change what {name} is applied to")
        elif found == "meets":
            self.refuse(trial, f"{_meeting(path)} before {name} is applied to it")
        return bool(found)

    def has_applied(self, call: Application, output: Tensor) -> None:
        self._trials.has_applied(self, call, output)

    def refuse(self, trial: Any, reason: str) -> None:
        self._trials.refuse(trial, reason)
        self.end(trial)

    def finish(self, outputs: Iterable[Tensor]) -> None:
        """Refuse the trials in which an output would differ, or anything else that outlives the run."""
        for output in outputs:
            for trial, path in self.trials([output]).items():
                if bool(differing(output, self.version(output, trial)).any()):
                    met = "" if not _mixing(path) else f" ({_meeting(path)})"
                    self.refuse(trial, f"it reaches an output of the model without passing a weight of its own{met}")
        for trial, memory, shadow in self.left():
            if not torch.equal(memory, shadow):
                self.refuse(trial, "the model keeps what it gives beyond the run")


class _Trials:
    """The trials of some groups, and what came out."""

    def __init__(
        self,
        prober: Prober,
        groups: Sequence[Group],
        scales: Sequence[float],
        ever: dict[tuple[object, ...], Tensor] | None,
    ) -> None:
        self._prober, self._groups, self._scales, self._ever = prober, groups, scales, ever
        self._of = {key: group for group in groups for key, _ in group.targets}
        self._by_site: dict[Key, list[Group]] = defaultdict(list)
        for group in groups:
            for key in dict.fromkeys(key for key, _ in group.targets):
                self._by_site[key].append(group)
        self.reasons: dict[Any, str] = {}
        self._moved: dict[_Made, dict[Key, Tensor]] = defaultdict(dict)
        self._gains: dict[_Made, float] = {}
        self._generator = torch.Generator().manual_seed(1)
        self._rows: dict[tuple[object, ...], dict[_Made, list[int]]] = defaultdict(dict)
        for group in groups:
            if ever is not _CUT and all(member.row for member in group.members):
                for member in group.members:
                    if member.row and member.row.applied:
                        rows = self._rows[member.row.applied.key].setdefault(_Made(group, None), [])
                        rows.append(member.row.row)

    def applied(self, trial: Any, call: Application, given: Tensor, differs: Tensor, mode: Shadows) -> bool | str:
        """Whether a trial ends at a call; if it is to be refused, why."""
        if isinstance(trial, _Made):
            return False if call.kind in ("mul", "batch norm") else "makes"
        if self._ever is not None:
            foreign = self._ever.get(call.key)
        else:
            foreign = call.channels(mode.version(given, _Noise(trial.group, 0.0)) != 0)
        if foreign is None or bool((differs & foreign).any()):
            return False if call.kind == "mul" else "meets"
        self.take(trial, call, differs)
        return True

    def noises(self, key: Key) -> Iterator[tuple[Any, list[int]]]:
        """The trials in which units of a site give random numbers, and which units."""
        for group in self._by_site.get(key, ()):
            for scale in self._scales:
                yield _Noise(group, scale), group.units(key)

    def take(self, trial: _Noise, call: Application, channels: Tensor) -> None:
        cuts = trial.group.cuts
        cuts[call.key] = call, cuts[call.key][1] | channels if call.key in cuts else channels

    def refuse(self, trial: Any, reason: str) -> None:
        self.reasons.setdefault(trial, reason)

    def started(self, weights: Weights) -> _Mode:
        """The mode for one batch, with all trials that change weights begun."""
        mode = _Mode(weights, self)
        for trial in self.reasons:
            mode.end(trial)
        for group in self._groups:
            for i in range(max((len(member.shifts) for member in group.members), default=0)):
                self._shift(mode, _Made(group, i))
        return mode

    def _shift(self, mode: _Mode, trial: _Made) -> None:
        weights, index = self._prober.weights, trial.shift or 0
        if any(len(member.shifts) <= index for member in trial.group.members):
            self.refuse(trial, "not all of its units have a bias of the same kind")
            mode.end(trial)
            return
        for member in trial.group.members:
            maker = member.shifts[index]
            for storage, address, value in _other(maker, weights):
                mode.begin(trial, weights.flat(storage))[address] = value

    def has_applied(self, mode: _Mode, call: Application, output: Tensor) -> None:
        """Let the rows of a layer give other numbers."""
        for trial, rows in self._rows.get(call.key, {}).items():
            if trial not in self.reasons and call.rows is not None and output.numel():
                made = mode.begin(trial, output).movedim(call.rows, 0)
                made[rows] = self._noise((len(rows), *made.shape[1:]), 1.0, output)

    def observe(self, mode: _Mode) -> Callable[[Call], Callable[[Tensor], object]]:
        """An observer of one run."""

        def see(call: Call) -> Callable[[Tensor], object]:
            with mode.paused():
                key = self._prober.key(call)
                held = self._look(mode, call, key)

            def after(output: Tensor) -> None:
                with mode.paused():
                    for trial in held:
                        mode.drop(trial, output)
                    for noise, units in self.noises(key):
                        if noise not in self.reasons:
                            self._disturb(mode, noise, output, call.units, units)

            return after

        return see

    def _look(self, mode: _Mode, call: Call, key: Key) -> list[_Made]:
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
                mode.refuse(trial, f"its weights make more than it: they also move other units of {key.name}")
                continue
            if moved.any():
                before = self._moved[trial].get(key)
                self._moved[trial][key] = moved if before is None else before | moved
                held.append(trial)
                self._measure(trial, call, version, key)
        return held

    def _measure(self, trial: _Made, call: Call, version: Tensor, key: Key) -> None:
        """How far the nearest shift moves a unit, as a multiple of the shift."""
        if trial.shift is None or trial in self._gains:
            return
        member = trial.group.members[0]
        unit = next((unit for at, unit in member.targets if at == key), None)
        maker = member.shifts[trial.shift]
        if unit is None or maker.norm:
            return
        weights = self._prober.weights
        (storage, address, value), *_ = _other(maker, weights)
        old = float(weights.flat(storage)[address])
        moved = by_unit(version, call.units)[:, unit].double() - by_unit(call.input, call.units)[:, unit].double()
        gain = float(moved.flatten().median()) / (value - old) if value != old else 0.0
        if gain == gain and abs(gain) > 1e-6 and abs(gain) < 1e6:  # noqa: PLR0124, PLR2004  # a number
            self._gains[trial] = 1.0 if abs(gain - 1) < 1e-2 else gain  # noqa: PLR2004

    def _disturb(self, mode: _Mode, trial: _Noise, output: Tensor, units: Units, which: Sequence[int]) -> None:
        if not output.numel():
            return
        version = mode.begin(trial, output)
        if len(units) == 1 and units[0].length is None:
            rows = version.movedim(units[0].axis, 0)
            shape = (len(which), *rows.shape[1:])
            rows[list(which)] = self._noise(shape, trial.scale, output)
        else:
            flat = version.contiguous().view(-1)
            index = flat_index(output.shape, units, which, output.device)
            flat[index] = self._noise(index.shape, trial.scale, output)
            version.copy_(flat.view(version.shape))

    def _noise(self, shape: Sequence[int], scale: float, like: Tensor) -> Tensor:
        return ((torch.rand(tuple(shape), generator=self._generator) + 0.01) * scale).to(like)

    def conclude(self, group: Group) -> None:
        """Write down what the trials of a group have shown."""
        for scale in self._scales:
            if scale:
                group.refused = group.refused or self.reasons.get(_Noise(group, scale), "")
        reason = ""
        for i in range(max((len(member.shifts) for member in group.members), default=0)):
            why = self._why(_Made(group, i))
            reason = reason or why
            if not why:
                group.shifts.append(i)
                group.gain = self._gains.get(_Made(group, i), 1.0) if len(group.shifts) == 1 else group.gain
        if all(member.row for member in group.members):
            why = self._why(_Made(group, None))
            group.has_rows = not why
            reason = reason or why
        if not group.shifts and not group.has_rows:
            group.unmade = reason or "no weights that make it alone were found"
        for trial, moved in self._moved.items():
            if trial.group is group and trial not in self.reasons:
                group.sites |= moved.keys()

    def _why(self, trial: _Made) -> str:
        if trial in self.reasons:
            return self.reasons[trial]
        for member in trial.group.members:
            if not any(bool(self._moved[trial].get(key, torch.zeros(key.units))[unit]) for key, unit in member.targets):
                return "nothing that was found before it moves it"
        return ""


class _Certificate(_Trials):
    """Trials after the cut: whatever units give, nothing may differ but other units whose output is cut off."""

    def __init__(self, prober: Prober, groups: Sequence[Group], apart: Mapping[Group, Sequence[Member]]) -> None:
        super().__init__(prober, groups, _CERTIFYING, _CUT)
        self._channels: dict[tuple[object, ...], Tensor] = {}
        for group in groups:
            for key, (_, channels) in group.cuts.items():
                self._channels[key] = self._channels[key] | channels if key in self._channels else channels
        self._apart = {member: Group([member]) for members in apart.values() for member in members}
        self._parts: dict[Key, list[Group]] = defaultdict(list)
        for part in self._apart.values():
            for key in dict.fromkeys(key for key, _ in part.targets):
                self._parts[key].append(part)

    def started(self, weights: Weights) -> _Mode:
        mode = _Mode(weights, self)
        for trial in self.reasons:
            mode.end(trial)
        return mode

    def applied(self, trial: Any, call: Application, given: Tensor, differs: Tensor, mode: Shadows) -> bool | str:
        if trial.group in self._apart.values():
            self.take(trial, call, differs)
            return True
        cut = self._channels.get(call.key)
        if call.kind in ("mul", "batch norm") or (cut is not None and not bool((differs & ~cut).any())):
            return False
        return "meets"

    def _look(self, mode: _Mode, call: Call, key: Key) -> list[Any]:
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
        yield from super().noises(key)
        for part in self._parts.get(key, ()):
            yield _Noise(part, 1.0), part.units(key)

    def failed(self) -> dict[Group, str]:
        """The groups whose influence is not cut off, and why."""
        found: dict[Group, str] = {}
        for trial, reason in self.reasons.items():
            if trial.group in self._groups:
                found.setdefault(trial.group, f"its outgoing weights cannot be cut by themselves: {reason}")
        return found

    def parts(self) -> dict[Member, list[tuple[Application, Tensor]]]:
        """The channels that members fill alone, of those that were cut for their groups."""
        return {member: list(part.cuts.values()) for member, part in self._apart.items()}


def seed() -> None:
    """The same random numbers for each run."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # the state that a model may draw from


def _other(maker: Maker, weights: Weights) -> Iterator[tuple[int, int, float]]:
    """Other numbers than the present ones for a shift and its norm: storage, address and number."""
    old = float(weights.flat(maker.storage)[maker.address])
    yield maker.storage, maker.address, 1.0 if abs(old) < 0.1 else 0.0  # noqa: PLR2004  # far from the present one
    for storage, address in maker.norm:
        yield storage, address, 2.0 if float(weights.flat(storage)[address]) == 1 else 1.0


def _coordinates(seen: _Seen, unit: int, end: int) -> tuple[int, ...]:
    """The first element of a unit, or the last if `end` is -1."""
    at = [end % max(1, length) for length in seen.shape]
    if len(seen.units) == 1 and seen.units[0].length is None:
        at[seen.units[0].axis] = unit
    elif seen.units:
        flat = int(flat_index(torch.Size(seen.shape), seen.units, [unit], torch.device("cpu"))[end])
        for axis in reversed(range(len(at))):
            flat, at[axis] = divmod(flat, seen.shape[axis])
    return tuple(at)


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return [each.shape for each in one] == [each.shape for each in other] and not any(
        bool(differing(*pair).any()) for pair in zip(one, other, strict=True)
    )


def flat_index(shape: torch.Size, units: Units, which: Sequence[int], device: torch.device) -> Tensor:
    """Where the values of some units are in a contiguous tensor of this shape."""
    index = torch.arange(shape.numel(), device=device).view(shape)
    return by_unit(index, units)[:, list(which)].flatten()


def _parts(group: Group) -> list[Group]:
    count = min(_PARTS, len(group.members))
    return [Group(group.members[i::count]) for i in range(count)]


_MIXING = {
    "add": "other values are added to it",
    "sub": "it meets other values in a difference",
    "mul": "it is multiplied by other values",
    "div": "it is divided by, or divides, other values",
    "cat": "it is joined with other values on the same channels",
    "mm": "it is multiplied by a matrix that is no parameter",
    "bmm": "it is multiplied by a matrix that is no parameter",
    "addmm": "it is multiplied by a matrix that is no parameter",
    "convolution": "it meets a convolution whose weight is no parameter, but computed",
    "native_layer_norm": "a norm mixes it with other units",
    "native_group_norm": "a norm mixes it with other units",
    "native_batch_norm": "a norm without a weight of its own makes another constant of it",
    "_softmax": "a softmax mixes it with other units",
    "mean": "a mean mixes it with other units",
    "sum": "a sum mixes it with other units",
}
_VIEWS = {
    *(
        "view",
        "_unsafe_view",
        "squeeze",
        "unsqueeze",
        "select",
        "slice",
        "transpose",
        "permute",
        "t",
        "expand",
        "clone",
    ),
    *("detach", "alias", "as_strided", "split", "unbind", "_to_copy"),
}
for _name in ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_attention_math"):
    _MIXING[_name] = "attention mixes it with other values"


def _mixing(path: Sequence[str]) -> str:
    """The last operation on the way that can have mixed units with other values."""
    return next((name.rstrip("_") for name in reversed(path) if name.rstrip("_") in _MIXING), "")


def _meeting(path: Sequence[str]) -> str:
    name = _mixing(path)
    met = next((each for each in reversed(path) if each not in _VIEWS), "")
    return _MIXING.get(name) or ("it meets other values" + (f" in {met}" if met else ""))

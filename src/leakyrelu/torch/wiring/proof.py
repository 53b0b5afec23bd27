"""Proves, on the run itself, which weights make a unit and which take its output."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leakyrelu.torch.capture import Call, Capture, Forward
from leakyrelu.torch.diagnosis import counted
from leakyrelu.torch.running import copies
from leakyrelu.torch.wiring.groups import Group, Key, Member, Seen, Target
from leakyrelu.torch.wiring.outputs import Outputs
from leakyrelu.torch.wiring.shadows import differing
from leakyrelu.torch.wiring.tape import Maker, Tape, makers
from leakyrelu.torch.wiring.trials import Certificate, Mode, Trials
from leakyrelu.torch.wiring.weights import Weights
from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["Prober", "seed"]

_PARTS = 16  # how many parts of a group are tried by themselves if the whole is refused
_SHIFTS = 3  # how many vectors are tried that may shift a unit, the nearest first


class Prober:
    """Runs a model on batches, and proves the wiring of its units.

    Attributes
    ----------
    weights : Weights
    outputs : list
        What came out of the first run, by batch.
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
        self._seen: dict[Key, Seen] = {}
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
            tapes.append(self.tape())
            outputs = Outputs(model)
            with tapes[-1], outputs:
                outputs.returned(self._forward(model, batch))
            self.outputs.append(outputs.copies())
            self._take_over(tapes[-1])
            calls.append(tapes[-1].calls)

        def beside(call: Call) -> Callable[[Tensor], None]:
            with tapes[-1].paused():
                key = Key.of(call)
                self.values[key] += call.input.numel() // max(1, key.units)
                if call.input.numel() and key not in self._seen:
                    self._seen[key] = Seen(tapes[-1].operand(call.input), tuple(call.input.shape), call.units)

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

    def tape(self) -> Tape:
        """What takes a run down."""
        return Tape(self.weights, keep_nodes=True)

    def _take_over(self, tape: Tape) -> None:
        for key, channels in tape.ever.items():
            self._ever[key] = self._ever[key] | channels if key in self._ever else channels
        for storage, readers in tape.readers.items():
            self._readers.setdefault(storage, {}).update(readers)

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
            together = {each for key in keys for each in joined[key]}
            for key in together:
                joined[key] = together
        groups: dict[object, Group] = {}
        for found_at in sites.values():
            joint = frozenset(joined[found_at[0][0][0]])
            found = found_at[0][1]
            shifts = tuple(dict.fromkeys(maker for maker in found if maker.role == "shift"))[:_SHIFTS]
            row = next((maker for maker in found if maker.role == "row"), None)
            layer = tuple(shift.storage for shift in shifts), row and row.applied and row.applied.key
            group = groups.setdefault((joint, layer), Group([]))
            group.members.append(Member(tuple(target for target, _ in found_at), shifts, row))
        return list(groups.values())

    def _makers(self, key: Key, unit: int) -> list[Maker]:
        """What makes a unit, the nearest first: what its first and its last value have in common."""
        seen = self._seen.get(key)
        if seen is None:
            return []
        first, last = (list(makers(seen.operand, seen.coordinates(unit, end))) for end in (0, -1))
        return [maker for maker in first if maker in last]

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
        trials = Trials(self.weights, groups, None if dormant else self._ever, outgoing=outgoing)
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
                    name = self.weights.name(storage, call.place.offset)
                    return f"{name}, which takes its output, is used elsewhere, too"
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
    ) -> tuple[Diagnosis, list[list[Tensor]], Certificate]:
        """The diagnosis, the outputs, and whether units have any influence, as the model is now.

        `apart` are members of groups for which it is found out which channels they fill.
        """
        trials = Certificate(self.weights, groups, apart)
        modes: list[Mode] = []
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

        def unseen() -> Any:
            return modes[-1].paused()

        seed()
        diagnosis = counted(self.model, copies(self._batches), forward, beside, unseen)
        return diagnosis, found, trials


def seed() -> None:
    """The same random numbers for each run."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # the state that a model may draw from


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return [each.shape for each in one] == [each.shape for each in other] and not any(
        bool(differing(*pair).any()) for pair in zip(one, other, strict=True)
    )


def _parts(group: Group) -> list[Group]:
    count = min(_PARTS, len(group.members))
    return [Group(group.members[i::count]) for i in range(count)]

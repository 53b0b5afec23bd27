"""Proves, on the run itself, which weights make a unit and which take its output."""

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from leakyrelu.torch.capture import Call, Capture, Forward
from leakyrelu.torch.diagnosis import counted
from leakyrelu.torch.running import copies
from leakyrelu.torch.wiring.groups import Group, Key, Member, Seen, Target
from leakyrelu.torch.wiring.outputs import outputs_of, outputs_on, seed
from leakyrelu.torch.wiring.shadows import differing
from leakyrelu.torch.wiring.tape import Maker, Tape, made_last, makers
from leakyrelu.torch.wiring.trials import Certificate, Mode, Trials
from leakyrelu.torch.wiring.weights import BATCH_NORMS, Weights, add_to
from leakyrelu.torch.wiring.words import NOTHING_TAKES_IT, RANDOM
from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["Prober"]

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
        self.randomness = ""  # what is wrong if two runs gave different outputs
        self.values: dict[Key, int] = defaultdict(int)  # per unit, on all batches

    def diagnosis(self) -> Diagnosis:
        """Diagnose, and take down what the run does."""
        calls: list[list[tuple[object, ...]]] = []
        tapes: list[Tape] = []

        def forward(model: Any, batch: Any) -> None:
            tapes.append(self.tape())
            with tapes[-1]:
                outputs = outputs_of(model, batch, self._forward)
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
        return Tape(self.weights)

    def _take_over(self, tape: Tape) -> None:
        for key, channels in tape.ever.items():
            add_to(self._ever, key, channels)
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
        is_last = made_last(seen.operand) in BATCH_NORMS
        return [maker._replace(is_last=is_last) for maker in first if maker in last]

    def prove(self, groups: Iterable[Group], *, dormant: bool = False, outgoing: bool = True) -> list[Group]:
        """Find the weights that take the units' output, and those that make them; refused groups are tried in parts."""
        groups = list(groups)
        self._try(groups, dormant=dormant, outgoing=outgoing)
        parts = {
            group: group.parts()
            for group in groups
            if (group.refused or group.unmade or group.uneven) and len(group.members) > 1
        }
        again = [part for found in parts.values() for part in found]
        if again:
            self._try(again, dormant=dormant, outgoing=outgoing)
        return [group for each in groups for group in parts.get(each, [each])]

    def _try(self, groups: Sequence[Group], *, dormant: bool, outgoing: bool) -> None:
        trials = Trials(self.weights, groups, None if dormant else self._ever, outgoing=outgoing)
        self.run(trials.observe, lambda: trials.started(self.weights))
        for group in groups:
            trials.conclude(group)
            group.refused = self.randomness or group.refused
            if outgoing and not group.refused and not group.cuts:
                group.refused = NOTHING_TAKES_IT
            if not group.refused:
                group.refused = self._read_elsewhere(group)
            group.has_rows = group.has_rows and not self._rows_read_elsewhere(group)
            if not group.shifts and not group.has_rows and not group.unmade:
                group.unmade = "the weights that make it are used for something else, too"

    def _read_elsewhere(self, group: Group) -> str:
        """Why the weights that take the units' output cannot be changed; empty if they can."""
        for call, channels in group.cuts.values():
            if self.is_read(call.place.storage, call.columns(channels), {call.key}):
                name = self.weights.name(call.place.storage, call.place.offset)
                return f"{name}, which takes its output, is used elsewhere, too"
        return ""

    def _rows_read_elsewhere(self, group: Group) -> bool:
        """Whether the rows that make the units are used for something else, too."""
        rows = [member.row for member in group.members]
        return any(
            row is None or row.applied is None or self.is_read(row.storage, row.applied.row(row.row), {row.applied.key})
            for row in rows
        )

    def is_read(self, storage: int, addresses: Tensor, own: Container[object]) -> bool:
        """Whether anything else than these readers reads there."""
        return any(
            reader not in own and bool(torch.isin(addresses, place.addresses({})).any())
            for reader, place in self._readers[storage].items()
        )

    def run(
        self, observe: Callable[[Any], Callable[[Call], Callable[[Tensor], object]]], start: Callable[[], Any]
    ) -> None:
        """Run all batches under a mode of `Shadows`, which `start` makes for each batch."""
        seed()
        for batch, before in zip(copies(self._batches), self.outputs, strict=True):
            mode = start()
            with Capture(self.model, observe(mode)) as capture, capture.one_pass(batch):
                with mode:
                    outputs = outputs_of(self.model, batch, self._forward)
                mode.finish(outputs.tensors)
            if not _same(before, outputs.copies()):
                self.randomness = RANDOM

    def look(self, observe: Callable[[Call], Callable[[Tensor], object] | None]) -> None:
        """Run all batches, and show each call of an activation."""
        seed()

        def see(call: Call) -> Callable[[Tensor], object]:
            return observe(call) or (lambda output: None)

        for batch in copies(self._batches):
            with Capture(self.model, see) as capture, capture.one_pass(batch):
                self._forward(self.model, batch)

    def again(self, most: int | None = None) -> list[list[Tensor]]:
        """The outputs on all batches, or on the first of them, as they are now."""
        return outputs_on(self.model, self._batches[:most], self._forward)

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
            with modes[-1]:
                outputs = outputs_of(model, batch, self._forward)
            modes[-1].finish(outputs.tensors)
            found.append(outputs.copies())

        def beside(call: Call) -> Callable[[Tensor], object]:
            return trials.observe(modes[-1])(call)

        def unseen() -> Any:
            return modes[-1].paused()

        seed()
        diagnosis = counted(self.model, copies(self._batches), forward, beside, unseen)
        return diagnosis, found, trials


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return [each.shape for each in one] == [each.shape for each in other] and not any(
        bool(differing(*pair).any()) for pair in zip(one, other, strict=True)
    )

"""The changes to a model that make dead units fire again, each of which can be undone."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import torch
from torch import nn

from leakyrelu.torch.counts import largest_change
from leakyrelu.torch.edits import Edits, States
from leakyrelu.torch.waking import ROUNDS, Awake, Waking
from leakyrelu.torch.wiring.groups import Group, Key, Member, Target
from leakyrelu.torch.wiring.outputs import are_empty
from leakyrelu.torch.wiring.proof import Prober
from leakyrelu.torch.wiring.weights import Application
from leakyrelu.torch.wiring.words import NOTHING_TO_COMPARE, joined
from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["Choice", "Outcome", "Outgoing", "Surgery", "Which", "checked_choice", "dead_in", "frozen_names"]

_TOLERANCE = 1e-5  # the largest change of the output that is allowed, relative to its largest value
_ATTEMPTS = 4  # how often it is checked what the changes do, and some are taken back
_SMALL = 0.1  # how large new outgoing weights are, as a part of the root mean square of the others

Which: TypeAlias = Literal["dead", "dormant"]
Outgoing: TypeAlias = Literal["zero", "keep", "init"]


class Outcome(NamedTuple):
    """What was done; the fields are those of `Revival`."""

    before: Diagnosis
    after: Diagnosis
    revived: dict[str, tuple[int, ...]]
    skipped: Mapping[str, str]
    output_change: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """What is to be revived, and what becomes of the weights that take its output."""

    which: Which
    tau: float
    outgoing: Outgoing

    def units(self, diagnosis: Diagnosis) -> dict[Key, list[int]]:
        """The units that are to be revived, by site."""
        found: dict[Key, list[int]] = defaultdict(list)
        for site in diagnosis.sites:
            units = (
                site.dead if self.which == "dead" else np.union1d(site.dead, np.flatnonzero(site.dormancy <= self.tau))
            )
            if len(units):
                found[Key(site.name, site.units)] += units.tolist()
        return found


def checked_choice(which: object, tau: object, outgoing: object) -> None:
    """Raise a `ValueError` unless these can be chosen."""
    for name, value, choices in (("which", which, get_args(Which)), ("outgoing", outgoing, get_args(Outgoing))):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    if isinstance(tau, bool) or not isinstance(tau, int | float) or not 0 <= tau < math.inf:
        raise ValueError(f"tau must be a number that is at least 0, got {tau!r}")
    if (which, outgoing) == ("dormant", "zero"):
        raise ValueError(
            "dormant units are not silent, so the outputs change if their outgoing weights become zero; "
            "say what is to become of these weights: outgoing='keep' or outgoing='init'"
        )


def frozen_names(model: nn.Module, names: Iterable[str]) -> set[str]:
    """The names, if they are those of parameters."""
    if isinstance(names, str):
        raise TypeError(f"frozen must be a collection of names, got the string {names!r}; put it in a list")
    names, known = set(names), dict(model.named_parameters(remove_duplicate=False))
    for name in names:
        if name not in known:
            raise ValueError(f"frozen names {name!r}, which is not a parameter of the model")
    return names


class Surgery:
    """The changes to a model, each of which can be undone."""

    def __init__(
        self,
        prober: Prober,
        states: States | None,
        generator: torch.Generator,
        frozen: set[str],
        choice: Choice,
    ) -> None:
        self._prober, self._states, self._generator = prober, states, generator
        self._frozen, self._choice = frozen, choice
        self._edits = Edits(prober.weights, states)
        self._reasons: dict[Target, str] = {}

    def roll_back(self) -> None:
        """Undo everything."""
        self._edits.roll_back()

    def performed(self) -> Outcome:
        """Revive what can be revived."""
        prober = self._prober
        before = prober.diagnosis()
        targets = self._choice.units(before)
        if not targets:
            return Outcome(before, before, {}, {}, 0.0, ())
        for site in before.sites:
            key = Key(site.name, site.units)
            if site.operation == "threshold" and key in targets:
                reason = "a threshold gives a value of its own where it is not reached"
                self._reasons |= {(key, unit): reason for unit in targets.pop(key)}
        if are_empty(prober.outputs):
            self._reasons |= {(key, unit): NOTHING_TO_COMPARE for key, units in targets.items() for unit in units}
            return self._result(before, before, 0.0)
        groups = self._proven(targets)
        for group in groups:
            self._cut(group)
        awake = Waking(prober, self._edits, groups, self._generator).performed()
        self._reasons |= awake.reasons
        after, change = self._checked(groups, awake, before)
        touched = self._edits.touched()
        if touched and self._states is not None and touched.isdisjoint(self._states):
            raise ValueError(
                "optimizer holds none of the weights that are revived; give the one that trains this model, or none "
                "and make it afterwards; the model is as it was before"
            )
        return self._result(before, after, change)

    def _proven(self, targets: Mapping[Key, Sequence[int]]) -> list[Group]:
        choice, found = self._choice, []
        groups = self._prober.prove(
            self._prober.groups(targets), dormant=choice.which == "dormant", outgoing=choice.outgoing != "keep"
        )
        for group in groups:
            reason = group.refused or group.unmade or self._is_frozen(group)
            if reason:
                self._reasons |= dict.fromkeys(group.targets, reason)
            else:
                found.append(group)
        return found

    def _is_frozen(self, group: Group) -> str:
        """Why the weights may not be changed; empty if they may."""
        weights = self._prober.weights

        def is_frozen(storage: int, address: int) -> bool:
            tensor = weights.tensor(storage, address)
            return not tensor.requires_grad and weights.name(storage, address) not in self._frozen

        def reason(storage: int, address: int, what: str) -> str:
            name, tensor = weights.name(storage, address), weights.tensor(storage, address)
            if isinstance(tensor, nn.Parameter):
                how = f"frozen=[{name!r}] changes it all the same"
                return f"{name}, which {what}, is frozen (requires_grad is False; {how})"
            return f"{name}, which {what}, is a buffer, which training does not change"

        for call, _ in group.cuts.values():
            place = call.place
            if is_frozen(place.storage, place.offset):
                return reason(place.storage, place.offset, "takes its output")
        first = group.members[0]
        usable = [i for i in group.shifts if not is_frozen(first.shifts[i].storage, first.shifts[i].address)]
        row = first.row
        if group.has_rows and row and is_frozen(row.storage, row.address):
            group.has_rows = False
        if not usable and not group.has_rows:
            maker = first.shifts[group.shifts[0]] if group.shifts else row
            return reason(maker.storage, maker.address, "makes it") if maker else ""
        group.shifts = usable
        return ""

    def _cut(self, group: Group) -> None:
        """The weights that take the units' output become zero; a norm gives the constant that it made of them."""
        for call, channels in group.cuts.values():
            if call.kind == "batch norm":
                self._cut_norm(group, call, channels)
                continue
            columns, storage = call.columns(channels), call.place.storage
            values: Any = 0.0
            if self._choice.outgoing == "init":
                flat = self._prober.weights.flat(storage)
                size = flat[columns.to(flat.device)].new_tensor(self._usual(call))
                values = torch.randn(len(columns), generator=self._generator) * (_SMALL * float(size))
            self._edits.put(group, storage, columns, values)

    def _usual(self, call: Any) -> float:
        """The root mean square of a weight's elements."""
        flat = self._prober.weights.flat(call.place.storage)
        used = flat.as_strided(call.place.size, call.place.stride, call.place.offset).double()
        return float(used.square().mean().sqrt())

    def _cut_norm(self, group: Group, call: Any, channels: torch.Tensor) -> None:
        flat = self._prober.weights.flat
        for (channel,) in torch.nonzero(channels).tolist():
            scale, shift, mean, variance = (
                (place.storage, torch.tensor([place.address([channel])])) for place in (call.place, *call.statistics)
            )
            w, b, m, v = (
                flat(storage)[address.to(flat(storage).device)] for storage, address in (scale, shift, mean, variance)
            )
            constant = nn.functional.batch_norm(w.new_zeros(1, 1), m, v, w, b, eps=call.eps)[0]
            for (storage, address), value in ((shift, constant), (scale, 0.0), (mean, 0.0), (variance, 1.0)):
                self._edits.put(group, storage, address, value)

    def _checked(self, groups: list[Group], awake: Awake, before: Diagnosis) -> tuple[Diagnosis, float]:
        """The diagnosis afterwards and the change of the output; what proves wrong is undone first."""
        keeps, asleep = self._choice.outgoing == "zero", awake.asleep
        self._let_sleep(groups, asleep)
        for attempt in range(_ATTEMPTS):
            is_last = attempt == _ATTEMPTS - 1
            after, outputs, certificate = self._prober.certified(groups if keeps else (), self._apart(groups, asleep))
            failed = certificate.failed()
            for group, reason in failed.items():
                self._reasons |= dict.fromkeys(group.targets, reason)
            dead = {target for group in groups for target in group.targets} & set(dead_in(after))
            late = dead - asleep
            if failed and is_last:
                return self._given_up(groups, before)
            self._restore_columns(groups, certificate.parts())
            for group in failed:
                self._undo(groups, group)
            if not failed and not late:
                break
            if attempt or awake.rounds == ROUNDS:
                self._reasons |= dict.fromkeys(late, "it could not be made to fire")
            else:  # the units before them fire by now, so that what enters them is something else
                again = Waking(self._prober, self._edits, groups, self._generator).only(late).performed(1)
                self._reasons |= again.reasons
                late = again.asleep
            asleep = asleep | late
            if not is_last:
                self._let_sleep(groups, late)
        change = largest_change(self._prober.outputs, outputs) if self._edits.touched() else 0.0
        if keeps and not change <= _TOLERANCE:
            raise RuntimeError(
                f"reviving changed the output by {change:.2g} of its largest value, more than {_TOLERANCE:g}"
                f"{self._suspect(groups)}; the model is as it was before"
            )
        return after, change

    def _given_up(self, groups: Sequence[Group], before: Diagnosis) -> tuple[Diagnosis, float]:
        """Take everything back, as not even a third try has shown that the units have no influence."""
        for group in groups:
            for target in group.targets:
                self._reasons.setdefault(target, "units that are revived beside it have an influence on each other")
        self._edits.roll_back()
        return before, 0.0

    def _restore_columns(
        self, groups: Sequence[Group], parts: Mapping[Member, Sequence[tuple[Application, torch.Tensor]]]
    ) -> None:
        """Give the members of groups that do not fire their outgoing weights back."""
        owners = {member: group for group in groups for member in group.members if member in parts}
        places: dict[tuple[Hashable, int], list[torch.Tensor]] = defaultdict(list)
        for member, group in owners.items():
            for call, channels in parts[member]:
                places[group, call.place.storage].append(call.columns(channels))
        self._edits.forget(places)
        for member, group in owners.items():
            group.members.remove(member)

    def _undo(self, groups: list[Group], group: Group) -> None:
        self._edits.undo({group, *group.members})
        groups.remove(group)

    def _let_sleep(self, groups: list[Group], asleep: set[Target]) -> None:
        """Undo what was written to make units fire that do not."""
        gone: set[Hashable] = set()
        for group in list(groups):
            still = [member for member in group.members if asleep.issuperset(member.targets)]
            gone |= set(still)
            if len(still) == len(group.members):
                gone.add(group)
                groups.remove(group)
        if gone:
            self._edits.undo(gone)

    @staticmethod
    def _apart(groups: Sequence[Group], asleep: set[Target]) -> dict[Group, list[Member]]:
        """The members of groups that do not fire, though others do."""
        found = {group: [member for member in group.members if asleep.issuperset(member.targets)] for group in groups}
        return {group: members for group, members in found.items() if members}

    def _suspect(self, groups: Sequence[Group]) -> str:
        """The site whose revival changes the output, if it is a single one; sites are undone to find it."""
        for group in list(groups):
            self._edits.undo({group, *group.members})
            if largest_change(self._prober.outputs, self._prober.again()) <= _TOLERANCE:
                return f", most likely because of {group.members[0].targets[0][0].name}"
        return ""

    def _result(self, before: Diagnosis, after: Diagnosis, change: float) -> Outcome:
        revived: dict[str, tuple[int, ...]] = {}
        wanted = self._choice.units(before)
        still = set(dead_in(after))
        for key, units in wanted.items():
            alive = [unit for unit in units if (key, unit) not in still and (key, unit) not in self._reasons]
            if alive:
                revived[key.name] = (*revived.get(key.name, ()), *alive)
        return Outcome(before, after, revived, self._skipped(after), change, tuple(self._prober.notes))

    def _skipped(self, after: Diagnosis) -> dict[str, str]:
        """The reason for each site that still has dead units; if there are several, each with its units."""
        found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        left = dead_in(after)
        if self._choice.which == "dormant":
            left = sorted({*left, *self._reasons})
        for key, unit in left:  # some units fire again because the units before them do
            found[key.name][
                self._reasons.get((key, unit), "it fired before; what enters it is something else now")
            ].append(unit)
        return {name: joined(reasons) for name, reasons in found.items()}


def dead_in(diagnosis: Diagnosis) -> list[Target]:
    """The dead units."""
    return [(Key(site.name, site.units), unit) for site in diagnosis.sites for unit in site.dead.tolist()]

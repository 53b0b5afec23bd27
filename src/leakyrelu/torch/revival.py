"""Makes dead units fire again, without changing what the network computes."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from leakyrelu._shared.wording import listed
from leakyrelu.torch.capture import Forward
from leakyrelu.torch.counts import largest_change
from leakyrelu.torch.edits import Edits, States, states_of
from leakyrelu.torch.running import checked, evaluating, refuse_foreign_weights, run_batch, seen_through
from leakyrelu.torch.waking import Waking
from leakyrelu.torch.wiring.proof import Group, Key, Member, Prober, Target
from leakyrelu.torch.wiring.weights import Application
from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["Revival", "revive"]

_TOLERANCE = 1e-5  # the largest change of the output that is allowed, relative to its largest value
_SMALL = 0.1  # the norm of new outgoing weights, as a part of the norm that the others have

Which = Literal["dead", "dormant"]
Outgoing = Literal["zero", "keep", "init"]


@dataclass(frozen=True, eq=False)
class Revival:
    """What `revive` did; ``print`` shows it in a few lines.

    Attributes
    ----------
    before : Diagnosis
        The diagnosis before the revival.
    after : Diagnosis
        The diagnosis after it, on the same batches.
    revived : dict of str to tuple of int
        The units that fire again, by the name of their site.
    skipped : Mapping of str to str
        The names of the sites where dead units were left alone, with the reason; if there are several reasons, each
        names its units. All these units are dead in `after`.
    output_change : float
        The largest change of the model's output on the batches, as a fraction of the largest output.
    """

    before: Diagnosis
    after: Diagnosis
    revived: dict[str, tuple[int, ...]]
    skipped: Mapping[str, str]
    output_change: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        count = sum(map(len, self.revived.values()))
        change = f"the output changed by at most {self.output_change:.1g} of its largest value"
        lines = [f"{count} of {self.before.dead} dead units revived; {change}"]
        lines += [f"  {site}: {_units(units)}" for site, units in self.revived.items()]
        for name, reason in self.skipped.items():
            left = [unit for site, unit in _dead(self.after) if site.name == name]
            lines.append(f"  left alone, {name}: {_units(left)}: {reason}")
        return "\n".join(lines)


def revive(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    forward: Forward | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    generator: torch.Generator | None = None,
    which: Which = "dead",
    tau: float = 0.025,
    outgoing: Outgoing = "zero",
    frozen: Iterable[str] = (),
) -> Revival:
    """Make dead units fire again, without changing what the network computes on `batches`.

    The outgoing weights of a dead unit become zero. What enters its activation is shifted so that the unit fires on
    about half of the values: their median is subtracted through the bias of the layer or, if a norm follows the layer,
    through the shift of the norm; the norm's scale becomes 1, and a BatchNorm takes its statistics from the data. If
    the values are constant, or the incoming weights have vanished or exploded, new incoming weights are drawn (He et
    al. 2015). From then on the unit can learn; its outgoing weights are the first to change.

    A unit is revived only if the graph, traced by `torch.fx`, proves which weights are its own. That covers Linear,
    Conv1d to Conv3d and their transposed forms; BatchNorm, LayerNorm and the like before the activation; pooling,
    flattening, concatenation and several consumers after it; and the linear layers in PyTorch's own transformer layers.
    Other units, such as those that go into a residual sum or have frozen weights, are left alone and listed with the
    reason.

    Parameters
    ----------
    model : torch.nn.Module
        The model, which is changed; its mode is restored. It must be neither compiled nor scripted nor sharded, and its
        weights must be plain tensors. If it is wrapped by `DataParallel` or `DistributedDataParallel`, give the model
        within; each rank must then give the same batches and generator, or the ranks end up with different weights.
    batches : iterable
        As in `diagnose`. The batches and the model's outputs are kept in memory, and the model runs on them several
        times; some thousand examples are enough.
    forward : callable, optional
        As in `diagnose`. It must call the model once.
    optimizer : torch.optim.Optimizer, optional
        The optimizer that trains the model. Its state (momentum, the moments of Adam) is set back to what it was at the
        start, mostly zero, for exactly those of its weights that are changed here. State that it keeps for whole rows
        and columns (Adafactor) stays.
    generator : torch.Generator, optional
        Draws the new weights, on the CPU. By default it is a copy of PyTorch's own generator.

    Returns
    -------
    Revival
        What was revived and what was not, with a diagnosis before and after.

    Raises
    ------
    TypeError, ValueError
        As for `diagnose`; or the model is compiled or replicated, is sharded (by FSDP, or as DTensors), or has weights
        without values or of a subclass of `torch.Tensor`; or `optimizer` is not an optimizer, or holds none of the
        weights that would be changed.
    RuntimeError
        The output would change by more than 1e-5 of its largest value; the model is as it was before.

    See Also
    --------
    diagnose : finds the dead units.
    replace_relu : replaces ReLU by Leaky ReLU, which passes a gradient below zero.

    Notes
    -----
    It promises units that fire, not accuracy: in a network with 45 % dead units and no collapsed layer, accuracy did
    not improve. Test accuracy of a 64-32-32-32-10 network on digits after 20 more epochs, mean +- standard deviation
    over 20 seeds (`benchmarks/torch_revival.py`):

    - killed by SGD at 0.3 (61.9 % dead): 63.0 +- 27.0 % without `revive`, 95.8 +- 1.2 % with it
    - killed by Adam at 0.1 (96.0 % dead): 11.2 +- 7.6 % without, 92.3 +- 4.9 % with it
    - killed by Adam at 0.05 (73.2 % dead): 68.1 +- 19.1 % without, 94.0 +- 1.6 % with it

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import revive
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> _ = model[0].bias.data[:3].fill_(-100)
    >>> revival = revive(model, [torch.randn(256, 4)])
    >>> revival.before.dead, revival.after.dead, revival.revived, revival.output_change < 1e-5
    (3, 0, {'1': (0, 1, 2)}, True)
    """
    if seen_through(model) is not model:
        raise TypeError("the model is compiled or replicated; give the one within: model._orig_mod, or model.module")
    refuse_foreign_weights(model)
    _check(which, tau, outgoing)
    states, names = states_of(optimizer), _frozen(model, frozen)
    surgery = _Surgery(
        Prober(model, list(checked(batches)), forward or run_batch),
        states,
        generator or torch.Generator().set_state(torch.get_rng_state()),
        names,
        _Choice(which, tau, outgoing),
    )
    with evaluating(model):
        try:
            return surgery.performed()
        except BaseException:
            surgery.roll_back()
            raise


@dataclass(frozen=True)
class _Choice:
    which: Which
    tau: float
    outgoing: Outgoing

    def units(self, diagnosis: Diagnosis) -> dict[Key, list[int]]:
        """The units that are to be revived, by site."""
        found: dict[Key, list[int]] = defaultdict(list)
        for site in diagnosis.sites:
            units = site.dead if self.which == "dead" else np.union1d(site.dead, site.dormant)
            if len(units):
                found[Key(site.name, site.units)] += units.tolist()
        return found


def _check(which: object, tau: object, outgoing: object) -> None:
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


def _frozen(model: nn.Module, names: Iterable[str]) -> set[str]:
    if isinstance(names, str):
        raise TypeError(f"frozen must be a collection of names, got the string {names!r}; put it in a list")
    names, known = set(names), dict(model.named_parameters(remove_duplicate=False))
    for name in names:
        if name not in known:
            raise ValueError(f"frozen names {name!r}, which is not a parameter of the model")
    return names


class _Surgery:
    """The changes to a model, each of which can be undone."""

    def __init__(
        self,
        prober: Prober,
        states: States | None,
        generator: torch.Generator,
        frozen: set[str],
        choice: _Choice,
    ) -> None:
        self._prober, self._states, self._generator = prober, states, generator
        self._frozen, self._choice = frozen, choice
        self._edits = Edits(prober.weights, states)
        self._reasons: dict[Target, str] = {}

    def roll_back(self) -> None:
        """Undo everything."""
        self._edits.roll_back()

    def performed(self) -> Revival:
        """Revive what can be revived."""
        prober = self._prober
        before = prober.diagnosis()
        targets = self._choice.units(before)
        if not targets:
            return Revival(before, before, {}, {}, 0.0)
        for site in before.sites:
            key = Key(site.name, site.units)
            if site.operation == "threshold" and key in targets:
                reason = "a threshold gives a value of its own where it is not reached"
                self._reasons |= {(key, unit): reason for unit in targets.pop(key)}
        if prober.outputs_are_empty:
            reason = "neither the model nor forward returned a tensor, so that nothing can be compared"
            self._reasons |= {(key, unit): reason for key, units in targets.items() for unit in units}
            return self._result(before, before, 0.0)
        groups = self._proven(targets)
        for group in groups:
            self._cut(group)
        awake = Waking(prober, self._edits, groups, self._generator).performed()
        self._reasons |= awake.reasons
        after, change = self._checked(groups, awake.asleep)
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
                return f"{name}, which {what}, is frozen (requires_grad is False; frozen=[{name!r}] changes it all the same)"
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

    def _checked(self, groups: list[Group], asleep: set[Target]) -> tuple[Diagnosis, float]:
        """The diagnosis afterwards and the change of the output; what proves wrong is undone first."""
        keeps = self._choice.outgoing == "zero"
        self._let_sleep(groups, asleep)
        while True:
            after, outputs, certificate = self._prober.certified(groups if keeps else (), self._apart(groups, asleep))
            for group, reason in certificate.failed().items():
                self._reasons |= dict.fromkeys(group.targets, reason)
                self._undo(groups, group)
            dead = {target for group in groups for target in group.targets} & set(_dead(after))
            late = dead - asleep
            self._reasons |= dict.fromkeys(late, "it could not be made to fire")
            self._restore_columns(groups, certificate.parts())
            if not certificate.failed() and not late:
                break
            asleep = asleep | late
            self._let_sleep(groups, late)
        change = largest_change(self._prober.outputs, outputs)
        if keeps and not change <= _TOLERANCE:
            raise RuntimeError(
                f"reviving changed the output by {change:.2g} of its largest value, more than {_TOLERANCE:g}"
                f"{self._suspect(groups)}; the model is as it was before"
            )
        return after, change

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
        self._edits.undo({group, *(id(member) for member in group.members)})
        groups.remove(group)

    def _let_sleep(self, groups: list[Group], asleep: set[Target]) -> None:
        """Undo what was written to make units fire that do not."""
        gone: set[Hashable] = set()
        for group in list(groups):
            still = [member for member in group.members if asleep.issuperset(member.targets)]
            gone |= {id(member) for member in still}
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
            self._edits.undo({group, *(id(member) for member in group.members)})
            if largest_change(self._prober.outputs, self._prober.again()) <= _TOLERANCE:
                return f", most likely because of {group.members[0].targets[0][0].name}"
        return ""

    def _result(self, before: Diagnosis, after: Diagnosis, change: float) -> Revival:
        revived: dict[str, tuple[int, ...]] = {}
        wanted = self._choice.units(before)
        still = set(_dead(after))
        for key, units in wanted.items():
            alive = [unit for unit in units if (key, unit) not in still and (key, unit) not in self._reasons]
            if alive:
                revived[key.name] = (*revived.get(key.name, ()), *alive)
        return Revival(before, after, revived, self._skipped(after), change, tuple(self._prober.notes))

    def _skipped(self, after: Diagnosis) -> dict[str, str]:
        """The reason for each site that still has dead units; if there are several, each with its units."""
        found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        left = _dead(after)
        if self._choice.which == "dormant":
            left = sorted({*left, *self._reasons})
        for key, unit in left:  # some units fire again because the units before them do
            found[key.name][self._reasons.get((key, unit), "it was not dead before")].append(unit)
        return {name: _joined(reasons) for name, reasons in found.items()}


def _dead(diagnosis: Diagnosis) -> list[Target]:
    return [(Key(site.name, site.units), unit) for site in diagnosis.sites for unit in site.dead.tolist()]


def _units(units: Sequence[int]) -> str:
    return f"unit{'' if len(units) == 1 else 's'} {listed(units)}"


def _joined(reasons: Mapping[str, Sequence[int]]) -> str:
    return "; ".join(f"{reason} ({_units(units)})" if len(reasons) > 1 else reason for reason, units in reasons.items())

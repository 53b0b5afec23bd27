"""Takes dead units out of a network, without changing what it computes."""

import copy
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from leakyrelu._backends.torch_private import storage_of, tree_map_only
from leakyrelu._shared.arguments import checked_batches
from leakyrelu._shared.wording import first_line, listed
from leakyrelu.torch.capture import Forward
from leakyrelu.torch.counts import largest_change
from leakyrelu.torch.diagnosis import counted
from leakyrelu.torch.edits import states_of
from leakyrelu.torch.removal.attempts import Attempts, shapes
from leakyrelu.torch.removal.cost import multiply_adds, parameters, seconds
from leakyrelu.torch.removal.drawing import drawn
from leakyrelu.torch.removal.plan import Plan, tensors_of
from leakyrelu.torch.removal.planning import Planner
from leakyrelu.torch.removal.report import Removal
from leakyrelu.torch.removal.shrinking import shrink
from leakyrelu.torch.removal.trials import Group
from leakyrelu.torch.running import copies, evaluating, refuse_unchangeable, run_batch
from leakyrelu.torch.wiring.groups import Key, Target
from leakyrelu.torch.wiring.outputs import are_empty, outputs_of, outputs_on, seed
from leakyrelu.torch.wiring.words import NOTHING_TO_COMPARE, joined
from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["remove_dead"]

_EXACT = 1e-12  # the largest change of the output in double precision, relative to its largest value
_TOLERANCE = 1e-5  # the same in the model's own type
_ROUNDINGS, _MOST = 4, 0.1  # what is allowed if the model's own rounding is more: so many times that, but no more
_CONSTANT = {torch.float64: 1e-13, torch.float32: 1e-6}  # relative: values that differ by less are one constant
_REPEATS = 3  # how often the time of a run is taken


def remove_dead(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    forward: Forward | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> Removal:
    """Take dead units out of a model: it becomes smaller and faster, and computes the same on `batches`.

    A dead unit gives a constant, which is zero for ReLU. So the row of weights that makes it can go, and so can the
    columns that take it. A constant that is not zero (the value of a threshold, or what a norm makes of zeros) is
    folded into the bias of the layer that takes it, into the mean of the norm behind that layer, or into a new bias.
    Biases, norms, depthwise convolutions, gates, and the sizes that the layers say (``out_features``) shrink along.

    Which weights these are is proven on the run itself, in a copy of the model in double precision: whatever the unit
    gave, the output would be the same. There the smaller model must give the same outputs to 1e-12 of the largest.
    Where that does not work, such as where the code has a size written out (``view(-1, 256)``), the site is left alone
    and listed with the reason. One unit of each layer stays, and grouped convolutions lose alike in each group.

    Parameters
    ----------
    model : torch.nn.Module
        The model, which is changed; its mode is restored. It must be neither compiled nor scripted nor wrapped for
        parallel training, and its weights must be plain tensors. Parameters that shrink are new objects: what holds the
        old ones, such as an average of the weights (EMA) or a graph, must be made anew.
    batches : iterable
        As in `diagnose`. The batches and the model's outputs are kept in memory, and the model runs on them several
        times.
    forward : callable, optional
        As in `diagnose`. It must call the model that it is given, and it is also given copies of it.
    optimizer : torch.optim.Optimizer, optional
        The optimizer that trains the model. It gets the new parameters, and what it keeps for them shrinks alike.

    Returns
    -------
    Removal
        What was removed and what was not, what that saves, and the plan.

    Raises
    ------
    TypeError, ValueError
        As for `revive`.
    RuntimeError
        In the model's own type, the output would change by more than 1e-5 of its largest value and, where its own
        rounding is more, by more than four times that (by which it differs from the output in double precision). The
        model is as it was before.

    See Also
    --------
    diagnose : finds the dead units.
    revive : makes dead units fire again instead.

    Notes
    -----
    "Dead on these batches" is not "dead always": of a unit that fires on none of N independent examples, one can say
    with 95 % confidence that it fires on less than 3/N of all examples. On those, the outputs change. What else the
    comparison cannot tell is in the `notes` of the result.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import remove_dead
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> _ = model[0].bias.data[:3].fill_(-100)
    >>> removal = remove_dead(model, [torch.randn(256, 4)])
    >>> removal.removed, removal.parameters, model[0], removal.output_change < 1e-5
    ({'1': (0, 1, 2)}, (58, 37), Linear(in_features=4, out_features=5, bias=True), True)
    """
    refuse_unchangeable(model)
    states_of(optimizer)
    with evaluating(model):
        return _Operation(model, list(checked_batches(batches)), forward or run_batch, optimizer).performed()


class _Operation:
    """One removal."""

    def __init__(
        self, model: nn.Module, batches: Sequence[Any], forward: Forward, optimizer: torch.optim.Optimizer | None
    ) -> None:
        self._model, self._batches, self._forward, self._optimizer = model, batches, forward, optimizer
        self._notes: dict[str, None] = {}
        self._reasons: dict[Target, str] = {}
        self._tolerance = _TOLERANCE

    def performed(self) -> Removal:
        """Find a plan in a copy of the model, and carry it out."""
        diagnosis, before = self._diagnosed()
        targets = {Key(site.name, site.units): site.dead.tolist() for site in diagnosis.sites if len(site.dead)}
        for site in diagnosis.sites:
            if site.units and len(site.dead) == site.units:
                self._notes[
                    f"all units of {site.name} were dead, so that nothing passes there, however small the model is; "
                    "revive them or train anew"
                ] = None
        number = parameters(self._model)
        if are_empty(before):
            self._reasons = {(key, unit): NOTHING_TO_COMPARE for key, units in targets.items() for unit in units}
            targets = {}
        groups, plan, additions = self._planned(targets, before) if targets else ([], Plan({}), {})
        if not groups:
            count, (took,) = self._multiply_adds(self._model), self._seconds(self._model)
            costs = (number,) * 2, (count,) * 2, (took,) * 2
            return Removal({}, self._skipped(diagnosis, {}), *costs, 0.0, plan, self._remarks())
        original = copy.deepcopy(self._model)
        undo = shrink(self._model, plan, additions=additions, optimizer=self._optimizer)
        try:
            change = self._change(before)
            multiplied = self._multiply_adds(original), self._multiply_adds(self._model)
            seconds_of = self._seconds(original, self._model)
        except BaseException:
            undo()
            raise
        removed = _removed(groups)
        return Removal(
            removed,
            self._skipped(diagnosis, removed),
            (number, parameters(self._model)),
            multiplied,
            (seconds_of[0], seconds_of[1]),
            change,
            plan,
            self._remarks(),
        )

    def _diagnosed(self) -> tuple[Diagnosis, list[list[Tensor]]]:
        """The diagnosis of the model, and its outputs."""
        found: list[list[Tensor]] = []

        def forward(model: Any, batch: Any) -> None:
            found.append(outputs_of(model, batch, self._forward).copies())

        seed()
        return counted(self._model, copies(self._batches), forward), found

    def _multiply_adds(self, model: nn.Module) -> int:
        return multiply_adds(model, self._batches[0], self._forward)

    def _seconds(self, *models: nn.Module) -> tuple[float, ...]:
        return seconds(models, self._batches[0], self._forward, _REPEATS)

    def _change(self, before: Sequence[Sequence[Tensor]]) -> float:
        change = largest_change(before, outputs_on(self._model, self._batches, self._forward))
        if not change <= self._tolerance:
            raise RuntimeError(
                f"removing the dead units changed the output by {change:.2g} of its largest value, more than "
                f"{self._tolerance:.2g}; the model is as it was before"
            )
        return change

    # --- The plan, in a copy ---------------------------------------------------------------------------------------

    def _planned(
        self, targets: Mapping[Key, Sequence[int]], before: Sequence[Sequence[Tensor]]
    ) -> tuple[list[Group], Plan, dict[str, Tensor]]:
        try:
            planner, tolerance = self._started(torch.float64), _EXACT
            self._tolerance = max(_TOLERANCE, min(_MOST, _ROUNDINGS * _rounding(before, planner.outputs)))
        except Exception:  # noqa: BLE001  # whatever a model does that was written for one type; if it cannot be copied, that is said now
            planner, tolerance = self._started(torch.float32), self._tolerance
            self._notes["the model does not run in double precision, so the plan was found in its own type"] = None
        with evaluating(planner.model):
            groups = planner.proven(targets)
            fails = planner.failure_in_training() if groups else ""
            groups = Attempts(planner, tolerance, in_training=not fails).largest(groups)
            self._reasons |= planner.reasons
        self._notes |= planner.notes
        if groups and (unused := planner.unused()):
            modes = f"in eval mode (in train mode, the model fails: {fails})" if fails else "in eval or train mode"
            self._notes[
                f"the batches did not use {listed(unused, 4)} {modes}; if other inputs do, they may no longer fit"
            ] = None
        norms = [
            planner.weights.name(call.place.storage, call.place.offset)
            for group in groups
            for call, _ in group.passed.values()
            if call.kind == "batch norm"
        ]
        if norms:
            self._notes[
                f"a BatchNorm takes the output of removed units ({listed(dict.fromkeys(norms), 4)}): in eval mode "
                "nothing changes, but in train mode it would have made something else of their constant"
            ] = None
        return groups, *(drawn(planner, groups) if groups else (Plan({}), {}))

    def _started(self, kind: torch.dtype) -> Planner:
        """What runs a copy of the model in a type, and has run it."""
        try:
            twin = copy.deepcopy(self._model)
        except Exception as error:
            raise TypeError(
                f"the model cannot be copied by copy.deepcopy ({first_line(error)}), and a copy is needed to try the "
                "removal on; detach or leave out what cannot be copied"
            ) from error
        held = {storage_of(each) for each in tensors_of(self._model).values() if each.numel()}
        if shared := [name for name, each in tensors_of(twin).items() if each.numel() and storage_of(each) in held]:
            raise TypeError(
                f"copy.deepcopy of the model gives a copy that shares weights with it ({listed(shared, 4)}), and "
                "a copy of its own is needed to try the removal on; let __deepcopy__ copy them"
            )
        batches = self._batches
        if kind == torch.float64:
            twin = twin.double()
            batches = tree_map_only(Tensor, lambda each: each.double() if each.is_floating_point() else each, batches)
        planner = Planner(twin, batches, self._forward, _CONSTANT[kind])
        with evaluating(twin):
            planner.diagnosis()
        return planner

    # --- The report ------------------------------------------------------------------------------------------------

    def _remarks(self) -> tuple[str, ...]:
        config = getattr(self._model, "config", None)
        if hasattr(config, "to_dict") and hasattr(self._model, "save_pretrained"):
            self._notes[
                "the model's config still says the sizes before, so from_pretrained cannot load it; make the model "
                "from the config, call Removal.apply on it, and load the state_dict"
            ] = None
        return tuple(self._notes)

    def _skipped(self, diagnosis: Diagnosis, removed: Mapping[str, Sequence[int]]) -> dict[str, str]:
        found: dict[str, str] = {}
        for site in diagnosis.sites:
            reasons: dict[str, list[int]] = defaultdict(list)
            for unit in site.dead.tolist():
                if unit not in removed.get(site.name, ()):
                    reason = self._reasons.get((Key(site.name, site.units), unit), "it could not be removed")
                    reasons[reason].append(unit)
            if reasons:
                found[site.name] = joined(reasons)
        return found


def _rounding(outputs: Sequence[Sequence[Tensor]], exact: Sequence[Sequence[Tensor]]) -> float:
    """How far a model's outputs are from those in double precision, relative to the largest."""
    return largest_change(exact, outputs) if shapes(outputs) == shapes(exact) else 0.0


def _removed(groups: Iterable[Group]) -> dict[str, tuple[int, ...]]:
    """The units that are gone from each site."""
    found: dict[str, set[int]] = defaultdict(set)
    for group in groups:
        for key, unit in group.targets:
            found[key.name].add(unit)
        for key, units in group.moved.items():
            found[key.name] |= set(torch.nonzero(units)[:, 0].tolist())
    return {name: tuple(sorted(units)) for name, units in found.items()}

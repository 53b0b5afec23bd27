"""Makes dead units fire again, without changing what the network computes."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from leakyrelu._shared.wording import listed
from leakyrelu.torch.capture import Call, Forward, recorded, watch
from leakyrelu.torch.counts import by_unit, largest_change, split
from leakyrelu.torch.diagnosis import diagnose
from leakyrelu.torch.layout import Part, Units
from leakyrelu.torch.running import checked, copies, evaluating, refuse_foreign_weights, run_batch, seen_through
from leakyrelu.torch.wiring import BATCH_NORMS, CHANNEL_NORMS, Consumer, Unproven, Wiring, wirings
from leakyrelu.units.diagnosis import Diagnosis
from leakyrelu.units.sites import Floats, Site

__all__ = ["Revival", "revive"]

_TOLERANCE = 1e-5  # the largest change of the output that is allowed, relative to its largest value
_VALUES = 65_536  # how many values per unit are looked at for the median
_DRAWS = 8  # how often new weights are drawn before a unit is given up
_ENOUGH = 0.05  # the least fraction of values on either side of zero, unless no draw is better
_VANISHED, _EXPLODED = 1e-3, 1e3  # limits for the norm of a unit's incoming weights, which starts at about 1

_Unit: TypeAlias = tuple[str, int]  # the name of its site, and its number there
_States: TypeAlias = dict[Tensor, list[tuple[Tensor, float]]]
_Write: TypeAlias = tuple[Tensor, Any, Tensor]  # the tensor, the index, and what was there before


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

    def __str__(self) -> str:
        count = sum(map(len, self.revived.values()))
        change = f"the output changed by at most {self.output_change:.1g} of its largest value"
        lines = [f"{count} of {self.before.dead} dead units revived; {change}"]
        lines += [f"  {site}: {_units(units)}" for site, units in self.revived.items()]
        for name, reason in self.skipped.items():
            left = [unit for site, unit in _dead(self.after) if site == name]
            lines.append(f"  left alone, {name}: {_units(left)}: {reason}")
        return "\n".join(lines)


def revive(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    forward: Forward | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    generator: torch.Generator | None = None,
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
    states = _states(optimizer)
    batches = list(checked(batches))
    before = diagnose(model, copies(batches), forward=forward)
    if not before.dead:
        return Revival(before, before, {}, {}, 0.0)
    with evaluating(model):
        surgery = _Surgery(model, batches, forward or run_batch, states, generator)
        try:
            return surgery.performed(before)
        except BaseException:
            surgery.roll_back()
            raise


_INITIAL = {"step_size": "lr", "sum": "initial_accumulator_value"}  # states of Rprop and Adagrad that start at these


def _states(optimizer: object) -> _States | None:
    """The states that the optimizer keeps for each element of its parameters, and what they are at the start."""
    if optimizer is None:
        return None
    if not isinstance(optimizer, torch.optim.Optimizer):
        kind = type(optimizer).__name__
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {kind}; if it wraps one, give that")
    return {
        parameter: [
            (state, float(group.get(_INITIAL.get(key, ""), 0)))
            for key, state in optimizer.state.get(parameter, {}).items()
            if isinstance(state, Tensor) and state.shape == parameter.shape
        ]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


class _Surgery:
    """The changes to a model, unit by unit, each of which can be undone."""

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Any],
        forward: Forward,
        states: _States | None,
        generator: torch.Generator | None,
    ) -> None:
        self._model, self._batches, self._forward, self._states = model, batches, forward, states
        self._generator = generator or torch.Generator().set_state(torch.get_rng_state())
        self._writes: list[_Write] = []
        self._revived: dict[_Unit, list[_Write]] = {}
        self._reasons: dict[_Unit, str] = {}

    def performed(self, before: Diagnosis) -> Revival:
        """Revive what can be revived."""
        outputs = list(self._outputs())
        found, untraced = self._wirings()
        for site in before.sites:
            wiring = found.get(site.name, untraced)
            if site.operation == "threshold":
                wiring = Unproven("a threshold gives a value of its own where it is not reached")
            if isinstance(wiring, Unproven):
                self._reasons |= {(site.name, unit): str(wiring) for unit in site.dead.tolist()}
            elif len(site.dead):
                self._operate(site, wiring)
        after = self._diagnosis()
        while self._give_up(_dead(after)):
            after = self._diagnosis()
        change = largest_change(outputs, self._outputs())
        if not change <= _TOLERANCE:
            raise RuntimeError(
                f"reviving changed the output by {change:.2g} of its largest value, more than {_TOLERANCE:g}"
                f"{self._suspect(outputs)}; the model is as it was before"
            )
        touched = {tensor for writes in self._revived.values() for tensor, *_ in writes}
        if touched and self._states is not None and touched.isdisjoint(self._states):
            raise ValueError(
                "optimizer holds none of the weights that are revived; give the one that trains this model, or none "
                "and make it afterwards; the model is as it was before"
            )
        revived: dict[str, tuple[int, ...]] = defaultdict(tuple)
        for name, unit in self._revived:
            revived[name] += (unit,)
        return Revival(before, after, dict(revived), self._skipped(after), change)

    def _skipped(self, after: Diagnosis) -> dict[str, str]:
        """The reason for each site that still has dead units; if there are several, each with its units."""
        found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for name, unit in _dead(after):  # some units fire again because the units before them do
            found[name][self._reasons.get((name, unit), "it was not dead before")].append(unit)
        return {name: _joined(reasons) for name, reasons in found.items()}

    def _suspect(self, outputs: Sequence[list[Tensor]]) -> str:
        """The site whose revival changes the output, if it is a single one; sites are undone to find it."""
        for name in reversed(list(dict.fromkeys(name for name, _ in self._revived))):
            for unit in [unit for unit in self._revived if unit[0] == name]:
                self._undo(unit, "")
            if largest_change(outputs, self._outputs()) <= _TOLERANCE:
                return f", most likely because of {name}"
        return ""

    def roll_back(self) -> None:
        """Undo all writes, the last one first."""
        for tensor, index, old in reversed(self._writes):
            tensor[index] = old

    def _outputs(self) -> Iterator[list[Tensor]]:
        """The model's outputs on each batch; random numbers in the model are the same each time."""
        torch.manual_seed(0)
        for batch in copies(self._batches):
            yield [output for _, outputs in recorded(self._model, batch, self._forward) for output in outputs]

    def _diagnosis(self) -> Diagnosis:
        return diagnose(self._model, copies(self._batches), forward=self._forward)

    def _wirings(self) -> tuple[dict[str, Wiring | Unproven], Unproven]:
        """The wiring of each site by its name, and the reason why other sites have none."""
        batch = self._batches[:1]
        calls = recorded(self._model, next(copies(batch)), self._forward)
        if len(calls) != 1:
            return {}, Unproven(f"forward calls the model {len(calls)} times, not once")
        try:
            found = wirings(self._model, *calls[0][0])
        except Unproven as untraced:
            return {}, untraced
        units: dict[str, Units] = {}
        watch(self._model, copies(batch), self._forward, lambda call: units.update({call.name: call.units}))
        for name, wiring in found.items():
            if isinstance(wiring, Wiring) and units.get(name) != (Part(wiring.axis),):
                found[name] = Unproven("its units are counted along another axis")
        return found, Unproven("it is not in the traced graph")

    def _operate(self, site: Site, wiring: Wiring) -> None:
        """Revive the dead units of a site."""
        units = [(site.name, unit) for unit in site.dead.tolist()]
        # Behind a norm over all units, changing the layer for one unit would change the others, unless all are dead.
        alone = wiring.norm is None or isinstance(wiring.norm, CHANNEL_NORMS) or len(units) == site.units
        layer = wiring.layer if alone else None
        draws = _DRAWS if layer is not None else 0
        for unit in units:
            self._reset(unit, layer, wiring.norm)
        to_draw = [unit for unit in units if draws and not _sound(*wiring.incoming(unit[1]))]
        for left in reversed(range(draws + 1)):
            for unit in to_draw:
                self._draw(unit, wiring)
            values = self._preactivations(site, units)
            least = _ENOUGH if left else 0.0
            units = [unit for unit, row in zip(units, values, strict=True) if not self._fires(unit, wiring, row, least)]
            if not units:
                return
            to_draw = units
        reason = "whatever its weights" if draws else "and its weights could not be drawn anew"
        for unit in units:
            self._undo(unit, f"what enters it is the same for every example, {reason}")

    def _give_up(self, dead: Iterable[_Unit]) -> bool:
        """Undo the units that are still dead, and return whether there were any."""
        still = [unit for unit in dead if unit in self._revived]
        for unit in still:
            self._undo(unit, "it could not be made to fire")
        return bool(still)

    def _reset(self, unit: _Unit, layer: Any, norm: Any) -> None:
        """Set the bias to zero, as rounding beside a large bias hides all else, and the norm to its initial values."""
        self._revived[unit] = []
        for module in (layer, norm):
            if module is not None and module.bias is not None:
                self._write(unit, module.bias, unit[1], 0.0)
        if norm is not None:
            self._write(unit, norm.weight, unit[1], 1.0)
        if isinstance(norm, BATCH_NORMS):
            self._write_statistics(unit, norm, unit[1], 0.0, 1.0)

    def _fires(self, unit: _Unit, wiring: Wiring, values: Floats, least: float) -> bool:
        """Shift what enters the unit so that about half is above zero, and cut the unit off what it feeds.

        Returns whether that works: there must be a place to cut, with at least the fraction `least` on either side.
        """
        cut, rate = split(values)
        maker: Any = wiring.norm or wiring.layer
        if maker.bias is None:
            rate = float((values > 0).mean())
        if not rate or not least <= rate <= 1 - least:
            return False
        norm: Any = wiring.norm if isinstance(wiring.norm, BATCH_NORMS) else None
        if norm is not None and norm.running_mean is not None:
            # So far the norm has had mean 0 and variance 1; this gives the layer's values before it, and the norm then
            # gets their mean and variance.
            values, cut = values * math.sqrt(1 + norm.eps), cut * math.sqrt(1 + norm.eps)
            self._write_statistics(unit, norm, unit[1], values.mean(), values.var())
            cut = (cut - float(norm.running_mean[unit[1]])) / math.sqrt(float(norm.running_var[unit[1]]) + norm.eps)
        if maker.bias is not None:
            self._write(unit, maker.bias, unit[1], -cut)
        for consumer in wiring.consumers:
            if isinstance(consumer.module, BATCH_NORMS):
                self._cut_norm(unit, consumer)
            else:
                for weight, index in consumer.weights(unit[1]):
                    self._write(unit, weight, index, 0.0)
        return True

    def _cut_norm(self, unit: _Unit, consumer: Consumer) -> None:
        """A norm makes a constant of the zeros of a dead unit: its shift becomes that constant, its scale zero."""
        norm: Any = consumer.module
        channels = consumer.features(unit[1])
        zeros = norm.weight.new_zeros(1, norm.num_features)
        statistics = norm.running_mean, norm.running_var
        constants = functional.batch_norm(zeros, *statistics, norm.weight, norm.bias, eps=norm.eps)[0]
        self._write(unit, norm.bias, channels, constants[channels])
        self._write(unit, norm.weight, channels, 0.0)
        self._write_statistics(unit, norm, channels, 0.0, 1.0)

    def _write_statistics(self, unit: _Unit, norm: Any, index: Any, mean: float, variance: float) -> None:
        if norm.running_mean is not None:
            self._write(unit, norm.running_mean, index, mean)
            self._write(unit, norm.running_var, index, variance)

    def _draw(self, unit: _Unit, wiring: Wiring) -> None:
        """Draw new incoming weights, as He et al. (2015) initialise them."""
        weight, index = wiring.incoming(unit[1])
        new = torch.randn(weight[index].shape, generator=self._generator)
        self._write(unit, weight, index, (new * math.sqrt(2 / new.numel())).to(weight))

    def _preactivations(self, site: Site, units: Sequence[_Unit]) -> Floats:
        """What enters the activation: one row per unit given, with values taken evenly from all batches."""
        parts: list[Tensor] = []

        def look(call: Call) -> None:
            if call.name == site.name:
                step = max(1, -(-site.values // _VALUES))
                while math.gcd(step, call.input.numel()) > 1:
                    step += 1  # a common divisor would take the same positions again and again
                values = by_unit(call.input, call.units)[:, [unit for _, unit in units]]
                parts.append(values.movedim(1, 0).flatten(1)[:, ::step].cpu().double())

        watch(self._model, copies(self._batches), self._forward, look)
        return np.asarray(torch.cat(parts, 1))

    def _write(self, unit: _Unit, tensor: Tensor, index: Any, value: Tensor | float) -> None:
        """Write, and reset the optimizer's state of the same elements."""
        self._revived[unit].append(self._put(tensor, index, value))
        self._revived[unit] += [self._put(state, index, start) for state, start in (self._states or {}).get(tensor, ())]

    def _put(self, tensor: Tensor, index: Any, value: Tensor | float) -> _Write:
        write = tensor, index, tensor[index].clone()
        self._writes.append(write)
        tensor[index] = value
        return write

    def _undo(self, unit: _Unit, reason: str) -> None:
        for tensor, index, old in reversed(self._revived.pop(unit)):
            self._put(tensor, index, old)
        self._reasons[unit] = reason


def _sound(weight: Tensor, index: Any) -> bool:
    return bool(_VANISHED < weight[index].double().norm() < _EXPLODED)


def _dead(diagnosis: Diagnosis) -> list[_Unit]:
    return [(site.name, unit) for site in diagnosis.sites for unit in site.dead.tolist()]


def _units(units: Sequence[int]) -> str:
    return f"unit{'' if len(units) == 1 else 's'} {listed(units)}"


def _joined(reasons: Mapping[str, Sequence[int]]) -> str:
    return "; ".join(f"{reason} ({_units(units)})" if len(reasons) > 1 else reason for reason, units in reasons.items())

"""Finds what takes the output of dead units, and shows that nothing else does, beside the run itself."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from leakyrelu.torch.capture import Call
from leakyrelu.torch.counts import by_unit
from leakyrelu.torch.removal.channels import Made, is_depthwise
from leakyrelu.torch.wiring.groups import Key, Target, Together
from leakyrelu.torch.wiring.noise import SCALES, Noise
from leakyrelu.torch.wiring.shadows import Shadows, differing
from leakyrelu.torch.wiring.tape import Operand, Tape
from leakyrelu.torch.wiring.weights import BATCH_NORMS, Application, Place, Weights, add_to
from leakyrelu.torch.wiring.words import makes_more, met

__all__ = ["Bundle", "Following", "Group", "Ranges", "Trials"]

_SHIFTED = {"add", "add_", "sub", "sub_", "div", "div_"}


@dataclass(eq=False)
class Bundle:
    """Units that go together, as the same weights make them."""

    targets: list[Target]
    made: list[Made]


@dataclass(eq=False)
class Group(Together[Bundle]):
    """Bundles at the same sites, whose wiring is proven together."""

    refused: str = ""
    gone: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))  # addresses by storage
    cuts: dict[tuple[object, ...], tuple[Application, Tensor]] = field(default_factory=dict)  # channels of each weight
    passed: dict[tuple[object, ...], tuple[Application, Tensor]] = field(default_factory=dict)  # per-channel layers
    moved: dict[Key, Tensor] = field(default_factory=dict)  # the units at each site that go

    def rows(self) -> dict[tuple[object, ...], tuple[Application, list[int]]]:
        """The rows that make the units, by the weight that they are of."""
        found: dict[tuple[object, ...], tuple[Application, set[int]]] = {}
        for bundle in self.members:
            for made in bundle.made:
                for call, row in made.rows:
                    found.setdefault(call.key, (call, set()))[1].add(row)
        return {key: (call, sorted(rows)) for key, (call, rows) in found.items()}

    def take(self, into: dict[Any, tuple[Application, Tensor]], call: Application, channels: Tensor) -> None:
        """Note channels of a weight that differ, and the weights that go with them."""
        before = into.get(call.key)
        if before is not None and not bool((channels & ~before[1]).any()):
            return
        into[call.key] = call, channels if before is None else before[1] | channels
        self.gone[call.place.storage].append(call.columns(channels))
        if call.kind == "batch norm":
            for place in call.statistics:
                self.gone[place.storage].append(place.addresses({0: torch.nonzero(channels)[:, 0].tolist()}))


class _Trial(NamedTuple):
    """The units of a group give random numbers: their activations, or all the layers that make them."""

    group: Group
    scale: float
    of_layers: bool = False


class Ranges(Tape):  # type: ignore[no-untyped-call]
    """Takes down, too, between which values each channel lies that a weight is applied to, and what follows it."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.range: dict[tuple[object, ...], tuple[Tensor, Tensor]] = {}
        self.given: dict[tuple[object, ...], tuple[Operand, tuple[int, ...]]] = {}
        self.biases: dict[tuple[object, ...], Place] = {}
        self.padded: set[tuple[object, ...]] = set()
        self.norms: dict[tuple[object, ...], Application] = {}  # that follow a weight

    def _apply(self, applied: Application, given: Tensor) -> None:
        super()._apply(applied, given)
        if not applied.axes or not given.numel():
            return
        operand, shape = self.operand(given), tuple(given.shape)
        given = torch.view_as_real(given.resolve_conj()) if given.is_complex() else given
        rest = tuple(axis for axis in range(given.ndim) if axis not in applied.axes)
        low, high = (given.amin(rest), given.amax(rest)) if rest else (given, given)
        if applied.key in self.range:
            before = self.range[applied.key]
            low, high = torch.minimum(low, before[0]), torch.maximum(high, before[1])
        self.range[applied.key] = low.clone(), high.clone()
        self.given.setdefault(applied.key, (operand, shape))

    def _read(self, name: str, applied: Application | None, args: Any, kwargs: Any, output: Any) -> None:
        super()._read(name, applied, args, kwargs, output)
        if applied is None:
            return
        bias = (
            self._weights.place(args[applied.bias])
            if applied.bias is not None and args[applied.bias] is not None
            else None
        )
        if applied.kind == "batch norm":
            before = self.operand(args[0]).node
            if before is not None and before.applied is not None:
                self.norms[before.applied.key] = applied
        elif bias:
            self.biases[applied.key] = bias
        if applied.kind == "conv" and any(args[4]):
            self.padded.add(applied.key)


class Following(Shadows):  # type: ignore[no-untyped-call]
    """Follows the trials of groups through one batch."""

    def __init__(self, weights: Weights, trials: "Trials") -> None:
        super().__init__(weights, trials.reasons)
        self._of = trials
        self._behind: dict[Any, Tensor] = {}  # channels of the layer that runs, which get fresh noise

    def applied(self, trial: Any, call: Application, given: Tensor, differs: Tensor, path: tuple[str, ...]) -> bool:  # noqa: ARG002  # as in the base class
        """Go on behind layers that keep channels apart; end at other weights that are applied to constants."""
        if call.kind == "mul":
            if not bool(differs.all()):  # a factor per channel, and not one for all of them
                self._pass(trial, call, differs)
            return False
        if call.kind == "batch norm" or is_depthwise(call):
            if self._pass(trial, call, differs):
                self._behind[trial] = differs
            return False
        name = self._weights.name(call.place.storage, call.place.offset)
        if trial.of_layers and not _covered(trial.group, call, differs):
            self.refuse(trial, makes_more(name))
        elif bool((differs & self._of.varies(call)).any()):
            self.refuse(trial, met(path, name))
        elif not trial.of_layers:
            trial.group.take(trial.group.cuts, call, differs)
        return True

    def _pass(self, trial: Any, call: Application, channels: Tensor) -> bool:
        """Go on behind a layer that keeps channels apart."""
        if not trial.of_layers:
            trial.group.take(trial.group.passed, call, channels)
        elif not _covered(trial.group, call, channels):
            name = self._weights.name(call.place.storage, call.place.offset)
            self.refuse(trial, makes_more(name))
            return False
        return True

    def has_applied(self, call: Application, output: Tensor) -> None:
        """Let the layers that make the units of a group give random numbers."""
        for trial, rows in self._of.rows.get(call.key, ()):
            if trial not in self._of.reasons and call.rows is not None:
                self._of.noise.rows(self, trial, output, call.rows, rows, trial.scale)

    def _computed(self, name: str, call: Any, func: Any, args: Any, kwargs: Any, trials: Any) -> Any:
        if call is None and (name in _SHIFTED or name in BATCH_NORMS):
            for trial in trials:
                self._per_channel(trial, name, args)
        output = super()._computed(name, call, func, args, kwargs, trials)
        behind, self._behind = self._behind, {}
        for trial, channels in behind.items():
            made = output if isinstance(output, Tensor) else output[0]
            per = made.shape[1] // channels.numel()
            rows = [int(at) * per + i for at in torch.nonzero(channels)[:, 0] for i in range(per)]
            with self.paused():
                self._of.noise.rows(self, trial, made, 1, rows, trial.scale)
        return output

    def _per_channel(self, trial: Any, name: str, args: Sequence[Any]) -> None:
        """Note what a norm without a weight, or a sum, applies to the channels that differ."""
        tensors = [each for each in args if isinstance(each, Tensor)]
        given = next((each for each in tensors if trial in self.trials([each])), None)
        if given is None:
            return
        where = differing(given, self.version(given, trial))
        for each in tensors:
            place = self._weights.place(each)
            if each is given or place is None or trial in self._ended:
                continue
            if name in BATCH_NORMS:
                part = Application("vector", 0, (1,), place)
            elif len(place.size) <= given.ndim and each.numel() > 1:
                part = Application("vector", 0, (), place)
            else:
                continue
            channels = part.channels(where)
            is_own = channels.shape == place.size and channels.any() and not bool(channels.all())
            if is_own and self._pass(trial, part, channels) and name in BATCH_NORMS:
                self._behind[trial] = channels


def _covered(group: Group, call: Application, channels: Tensor) -> bool:
    """Whether all weights that are applied to these channels go."""
    gone = group.gone.get(call.place.storage)
    return gone is not None and bool(torch.isin(call.columns(channels), torch.cat(gone)).all())


class Trials:
    """The trials of some groups: of their activations or, to certify them, of the layers that make them."""

    def __init__(
        self,
        groups: Sequence[Group],
        ranges: dict[tuple[object, ...], tuple[Tensor, Tensor]],
        tolerance: float,
        *,
        of_layers: bool,
    ) -> None:
        self._ranges, self._tolerance = ranges, tolerance
        self.reasons: dict[Any, str] = {}
        self.rows: dict[tuple[object, ...], list[tuple[_Trial, list[int]]]] = defaultdict(list)
        self._sites: dict[Key, list[tuple[_Trial, list[int]]]] = defaultdict(list)
        self.noise = Noise()
        self._trials = {
            group: [_Trial(group, scale, of_layers) for scale in (SCALES[:1] if of_layers else SCALES)]
            for group in groups
        }
        for group, trials in self._trials.items():
            for trial in trials:
                if of_layers:
                    for name, (_, rows) in group.rows().items():
                        self.rows[name].append((trial, rows))
                else:
                    for site in group.keys:
                        self._sites[site].append((trial, group.units(site)))

    def conclude(self) -> None:
        """Say in each group why it was refused."""
        for group, trials in self._trials.items():
            for trial in trials:
                group.refused = group.refused or self.reasons.get(trial, "")

    def varies(self, call: Application) -> Tensor:
        """Which channels have other values than a constant."""
        low, high = self._ranges[call.key]
        largest = torch.maximum(low.abs(), high.abs())
        return ~(high - low <= self._tolerance * largest)

    def observe(self, mode: Following) -> Callable[[Call], Callable[[Tensor], object]]:
        """An observer of one run."""

        def see(call: Call) -> Callable[[Tensor], object]:
            with mode.paused():
                key, moved = Key.of(call), self._moved(mode, call)

            def after(output: Tensor) -> None:
                with mode.paused():
                    for trial, units in (*self._sites.get(key, ()), *moved):
                        if trial not in self.reasons:
                            self.noise.units(mode, trial, output, call.units, units, trial.scale)

            return after

        return see

    def _moved(self, mode: Following, call: Call) -> list[tuple[Any, list[int]]]:
        """The units of a site that would differ, by trial; behind it they get fresh noise, so that it hides nothing."""
        found: list[tuple[Any, list[int]]] = []
        trial: Any
        for trial in mode.trials([call.input]):
            where = by_unit(differing(call.input, mode.version(call.input, trial)), call.units)
            units = where.any(2).any(0)
            if units.any():
                found.append((trial, torch.nonzero(units)[:, 0].tolist()))
                if not trial.of_layers:
                    continue
                add_to(trial.group.moved, Key.of(call), units)
        return found

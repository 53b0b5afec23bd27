"""Finds which dead units can go, and which weights go with them."""

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from leakyrelu._backends.torch_private import storage_of
from leakyrelu._shared.wording import first_line
from leakyrelu.torch.capture import Forward
from leakyrelu.torch.removal.channels import Made, made_of, united
from leakyrelu.torch.removal.trials import Bundle, Following, Group, Ranges, Trials
from leakyrelu.torch.running import copies
from leakyrelu.torch.wiring.groups import Key, Target
from leakyrelu.torch.wiring.proof import Prober
from leakyrelu.torch.wiring.tape import Tape
from leakyrelu.torch.wiring.weights import Application, Weights
from leakyrelu.torch.wiring.words import NOTHING_TAKES_IT

__all__ = ["Planner"]

_ONE_STAYS = "one unit of a layer must stay"
_ALIKE = "each group of a grouped convolution must lose as many units as the others"


class Planner(Prober):
    """Runs a model on batches, and proves which weights go with its dead units.

    Attributes
    ----------
    reasons : dict
        Why a unit stays.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Any], forward: Forward, tolerance: float) -> None:
        super().__init__(model, batches, forward)
        self._tolerance = tolerance
        self.range: dict[tuple[object, ...], tuple[Tensor, Tensor]] = {}
        self.given: dict[tuple[object, ...], Any] = {}
        self.biases: dict[tuple[object, ...], Any] = {}
        self.norms: dict[tuple[object, ...], Application] = {}
        self.padded: set[tuple[object, ...]] = set()
        self.reasons: dict[Target, str] = {}
        self._trained: set[str] = set()

    def tape(self) -> Tape:
        """What takes a run down, with the values that weights are applied to."""
        return Ranges(self.weights)

    def _take_over(self, tape: Any) -> None:
        super()._take_over(tape)
        for key, (low, high) in tape.range.items():
            before = self.range.get(key, (low, high))
            self.range[key] = torch.minimum(low, before[0]), torch.maximum(high, before[1])
        self.given = {**tape.given, **self.given}
        self.biases |= tape.biases
        self.norms |= tape.norms
        self.padded |= tape.padded

    def unused(self) -> list[str]:
        """The names of matrices that no run has read, be it in train mode."""
        masks = {storage for found in self.weights.masks.values() for storage, _ in found}
        return [
            name
            for name, parameter in self.model.named_parameters()
            if parameter.ndim > 1
            and storage_of(parameter) not in {*self._readers, *masks}
            and name not in self._trained
        ]

    def failure_in_training(self) -> str:
        """Run a copy of the model, as it is now, on the first batch in train mode; why it fails, empty if it does not.

        Layers of training alone, such as auxiliary heads, run only so.
        """
        twin = copy.deepcopy(self.model)  # as norms and counters change in train mode
        for module in twin.modules():
            module.training = True
        tape = Tape(Weights(twin))
        try:
            with tape:
                self._forward(twin, next(copies(self._batches)))
        except Exception as error:  # noqa: BLE001  # whatever the model's code raises
            return first_line(error)
        self._trained |= {name for name, each in twin.named_parameters() if storage_of(each) in tape.readers}
        return ""

    def refuse(self, group: Group, reason: str) -> None:
        """The units of a group stay, for a reason."""
        for target in group.targets:
            self.reasons.setdefault(target, reason)

    def proven(self, targets: Mapping[Key, Sequence[int]]) -> list[Group]:
        """The groups of units that can go, as far as the run shows."""
        groups = self._prove(self._grouped(targets))
        again = [part for group in groups for part in self._again(group)]
        groups = [group for group in groups if not self._again(group)]
        groups += self._prove(again) if again else []
        for group in groups:
            if group.refused:
                self.refuse(group, group.refused)
        return [group for group in groups if not group.refused]

    def _again(self, group: Group) -> list[Group]:
        """The parts of a group that are to be proven by themselves, if the whole cannot go."""
        if group.refused:
            return group.parts() if len(group.members) > 1 else []
        kept = self._alike(group)
        return [] if kept is None else [Group(kept)]

    def _alike(self, group: Group) -> list[Bundle] | None:
        """So many of the bundles that the groups of a grouped convolution that takes them lose alike."""
        for call, channels in group.cuts.values():
            if call.kind != "conv" or call.groups == 1:
                continue
            gone = torch.nonzero(channels)[:, 0].tolist()
            site = next(
                (key for key, _ in group.targets if key.units == len(channels) and group.units(key) == gone), None
            )
            if site is None:
                continue
            by: dict[int, list[Bundle]] = {number: [] for number in range(call.groups)}
            for bundle in group.members:
                unit = next(unit for key, unit in bundle.targets if key == site)
                by[unit // (len(channels) // call.groups)].append(bundle)
            kept = self._quota(by, group.members)
            if len(kept) == len(group.members):
                continue
            if not kept:
                group.refused = _ALIKE
                return None
            return kept
        return None

    def _quota(self, by: Mapping[int, Sequence[Bundle]], bundles: Sequence[Bundle]) -> list[Bundle]:
        """As many bundles of each part as the part with the fewest has; the units of the others stay."""
        least = min(map(len, by.values()))
        kept = {id(bundle) for members in by.values() for bundle in members[:least]}
        for bundle in bundles:
            if id(bundle) not in kept:
                self.reasons |= dict.fromkeys(bundle.targets, _ALIKE)
        return [bundle for bundle in bundles if id(bundle) in kept]

    # --- Which units belong together -------------------------------------------------------------------------------

    def _grouped(self, targets: Mapping[Key, Sequence[int]]) -> list[Group]:
        """The units that can be followed back to their layers, by their sites."""
        bundles: dict[object, Bundle] = {}
        for key, units in targets.items():
            for unit in units:
                made = self._made(key, unit)
                if made.why:
                    self.reasons[key, unit] = made.why
                    continue
                call, row = made.rows[0]
                bundle = bundles.setdefault((call.key, row), Bundle([], []))
                bundle.targets.append((key, unit))
                bundle.made.append(made)
        at: dict[frozenset[Key], list[Bundle]] = defaultdict(list)
        for bundle in bundles.values():
            at[frozenset(key for key, _ in bundle.targets)].append(bundle)
        found = []
        for sites, members in at.items():
            members.sort(key=lambda bundle: bundle.targets)
            if any(
                len({unit for bundle in members for at, unit in bundle.targets if at == key}) >= key.units
                for key in sites
            ):
                self.reasons |= dict.fromkeys(members.pop(0).targets, _ONE_STAYS)
            kept = self._trimmed(self._without_last(members))
            if kept:
                found.append(Group(kept))
        return found

    def _without_last(self, bundles: list[Bundle]) -> list[Bundle]:
        """The bundles without those whose layers would be left without a unit, where several make a site."""
        for call, rows in Group(bundles).rows().values():
            if len(rows) < call.outputs:
                continue
            kept = [
                bundle
                for bundle in bundles
                if not any(each.key == call.key and row == rows[0] for made in bundle.made for each, row in made.rows)
            ]
            for bundle in bundles:
                if bundle not in kept:
                    self.reasons |= dict.fromkeys(bundle.targets, _ONE_STAYS)
            bundles = kept
        return bundles

    def _trimmed(self, bundles: list[Bundle]) -> list[Bundle]:
        """So many of the bundles that each group of a grouped convolution loses alike."""
        group = Group(bundles)
        for call, _ in group.rows().values():
            if call.kind != "conv" or call.groups == 1 or call.place.size[1] == 1:
                continue
            per = call.place.size[0] // call.groups
            by: dict[int, list[Bundle]] = {number: [] for number in range(call.groups)}
            others: list[Bundle] = []  # which other layers make, such as where the site takes several that are joined
            for bundle in bundles:
                row = next((row for made in bundle.made for each, row in made.rows if each.key == call.key), None)
                (others if row is None else by[row // per]).append(bundle)
            made_here = [bundle for members in by.values() for bundle in members]
            kept = {*map(id, self._quota(by, made_here)), *map(id, others)}
            bundles = [bundle for bundle in bundles if id(bundle) in kept]
        return bundles

    def _made(self, key: Key, unit: int) -> Made:
        seen = self._seen.get(key)
        if seen is None:
            return Made(
                why="a copy of the model does not run its activation, maybe as the forward calls another object"
            )
        return made_of(seen.operand, seen.coordinates(unit, 0), seen.coordinates(unit, -1))

    # --- What takes their output, and what makes them --------------------------------------------------------------

    def _prove(self, groups: Sequence[Group]) -> list[Group]:
        """Follow the units forward, then back from there, and show that nothing else hangs on what goes."""
        self._follow(groups, of_layers=False)
        for group in groups:
            if not group.refused and not group.cuts:
                group.refused = NOTHING_TAKES_IT
            if not group.refused:
                self._gather(group)
        left = [group for group in groups if not group.refused]
        if left:
            self._follow(left, of_layers=True)
        for group in left:
            group.refused = group.refused or self._read_by_others(group)
        return list(groups)

    def _follow(self, groups: Sequence[Group], *, of_layers: bool) -> None:
        trials = Trials(groups, self.range, self._tolerance, of_layers=of_layers)
        self.run(trials.observe, lambda: Following(self.weights, trials))
        trials.conclude()
        for group in groups:
            group.refused = self.randomness or group.refused

    def _gather(self, group: Group) -> None:
        """Note all weights that make the units, and those that make the same channels (such as gates)."""
        for bundle in group.members:
            for made in bundle.made:
                _add(group, made)
        for call, channels in group.cuts.values():
            known, misses = self.given.get(call.key), 0
            for at in torch.nonzero(channels).tolist():
                # Many channels may be one unit, at many positions. But behind those of the units themselves, there may
                # be others that are made of them, where both are joined.
                if known is None or misses > len(group.members):
                    break
                made = made_of(known[0], *_ends(call, known[1], at))
                fresh = not made.why and any(
                    not bool(torch.isin(united(found), united(group.gone[storage])).all())
                    if group.gone.get(storage)
                    else True
                    for storage, found in made.addresses.items()
                )
                misses = 0 if fresh else misses + 1
                if not fresh:
                    continue
                _add(group, made)
                group.members[0].made.append(made)

    def _read_by_others(self, group: Group) -> str:
        """Why the matrices cannot shrink; empty if they can."""
        own = {*group.cuts, *group.passed, *group.rows()}
        for call, _ in (*group.cuts.values(), *group.rows().values()):
            if self.is_read(call.place.storage, united(group.gone[call.place.storage]), own):
                name = self.weights.name(call.place.storage, call.place.offset)
                return f"{name}, which would lose a part, is used elsewhere, too"
        return ""


def _add(group: Group, made: Made) -> None:
    for storage, found in made.addresses.items():
        group.gone[storage] += found


def _ends(call: Application, shape: Sequence[int], at: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The first and the last element of a channel of what a weight is applied to."""
    first, last = [0] * len(shape), [length - 1 for length in shape]
    for axis, index in zip(call.axes, at, strict=True):
        first[axis] = last[axis] = index
    return tuple(first), tuple(last)

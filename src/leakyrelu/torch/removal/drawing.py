"""Draws up a plan from addresses of weights: which rows and columns go, and where constants are folded in."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from leakyrelu._backends.torch_private import storage_of
from leakyrelu.torch.removal.channels import is_depthwise, united
from leakyrelu.torch.removal.plan import GROUPS, Plan, tensors_of
from leakyrelu.torch.removal.planning import Planner
from leakyrelu.torch.removal.trials import Group
from leakyrelu.torch.wiring.weights import Application

__all__ = ["ImpossibleError", "drawn"]


class ImpossibleError(ValueError):
    """There is no such plan."""


def drawn(planner: Planner, groups: Sequence[Group]) -> tuple[Plan, dict[str, Tensor]]:
    """The plan that takes groups of units out, and what is added to which weights for the constants that they gave.

    Raises
    ------
    ImpossibleError
        There is none, for the reason that the exception says.
    """
    model, weights = planner.model, planner.weights
    gone, in_groups = _gone(groups), _numbers_of_groups(groups)
    for held in list(gone):
        for other, offset in weights.masks.get(held, ()):
            gone[other].append(united(gone[held]) + offset)
            in_groups[other] = in_groups.get(held, 1)
    keep: dict[str, dict[str, list[Any]]] = {}
    done: dict[int, dict[str, list[Any]]] = {}
    masks: dict[int, Tensor] = {}
    for name, tensor in tensors_of(model).items():
        storage = storage_of(tensor)
        if storage is None or storage not in gone:
            continue
        if id(tensor) not in done:
            if storage not in masks:
                masks[storage] = torch.zeros(len(weights.flat(storage)), dtype=torch.bool)
                masks[storage][united(gone[storage])] = True
            mask = masks[storage].as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
            done[id(tensor)] = _kept(name, mask, in_groups.get(storage, 1))
        if done[id(tensor)]:
            keep[name] = done[id(tensor)]
    additions, new = _folded(planner, groups)
    for bias in new:
        kept = keep.get(f"{bias.removesuffix('bias')}weight", {})
        if "0" in kept:
            keep[bias] = {"0": kept["0"]}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors_of(model).items() if name in keep}
    return Plan(keep, tuple(new), shapes), additions


def _gone(groups: Iterable[Group]) -> dict[int, list[Tensor]]:
    """The addresses that go, by storage."""
    gone: dict[int, list[Tensor]] = defaultdict(list)
    for held, found in chain.from_iterable(group.gone.items() for group in groups):
        gone[held] += found
    return gone


def _numbers_of_groups(groups: Iterable[Group]) -> dict[int, int]:
    found = {}
    for group in groups:
        for call, _ in (*group.cuts.values(), *group.rows().values()):
            if call.groups > 1 and not is_depthwise(call):
                if call.kind != "conv":
                    raise ImpossibleError("a transposed convolution in groups takes its output")
                found[call.place.storage] = call.groups
    return found


def _kept(name: str, mask: Tensor, groups: int) -> dict[str, list[Any]]:
    """What stays of a tensor, by dimension, if exactly these elements go."""
    kept: dict[str, list[Any]] = {}
    left = mask.clone()
    for axis in range(mask.ndim):
        if axis == 1 and groups > 1:
            continue
        rows = mask.movedim(axis, 0).flatten(1).all(1) if mask.ndim > 1 else mask
        if rows.all():
            raise ImpossibleError(f"nothing would be left of {name}")
        if rows.any():
            kept[str(axis)] = torch.nonzero(~rows)[:, 0].tolist()
            left.movedim(axis, 0)[rows] = False
    if groups > 1 and left.any():
        columns = [slab.transpose(0, 1).flatten(1).all(1) for slab in mask.chunk(groups)]
        inside = [torch.nonzero(~column)[:, 0].tolist() for column in columns]
        if len({len(each) for each in inside}) > 1 or not inside[0]:
            raise ImpossibleError(
                "the groups of a grouped convolution, which takes its output, would lose different numbers"
            )
        kept[GROUPS] = inside
        for slab, column in zip(left.chunk(groups), columns, strict=True):
            slab[:, column] = False
    if left.any():
        raise ImpossibleError(f"what goes of {name} is no whole row or column")
    return kept


def _folded(planner: Planner, groups: Iterable[Group]) -> tuple[dict[str, Tensor], list[str]]:
    """What constants that are not zero add to biases, or take from the means of norms; and which biases are new."""
    cuts: dict[tuple[object, ...], tuple[Application, Tensor]] = {}
    for key, (call, channels) in chain.from_iterable(group.cuts.items() for group in groups):
        cuts[key] = call, cuts[key][1] | channels if key in cuts else channels
    additions: dict[str, Tensor] = {}
    new: list[str] = []
    for key, (call, channels) in cuts.items():
        low, high = planner.range[key]
        values = torch.where(channels, (low + high) / 2, 0)
        if bool((values != 0).any()):
            _fold(planner, call, values.double().cpu(), additions, new)
    return additions, new


def _fold(planner: Planner, call: Application, values: Tensor, additions: dict[str, Tensor], new: list[str]) -> None:
    weights, place = planner.weights, call.place
    reason = "it gives a constant other than zero, which cannot be folded into"
    if call.kind not in ("conv", "mm"):
        raise ImpossibleError(f"{reason} what follows")
    if call.groups > 1 or call.key in planner.padded:
        raise ImpossibleError(f"{reason} a convolution {'in groups' if call.groups > 1 else 'with padding'}")
    weight = weights.values(place).double().cpu()
    adds = values @ weight if call.kind == "mm" else weight.flatten(2).sum(2) @ values
    bias, norm, sign = planner.biases.get(call.key), planner.norms.get(call.key), 1.0
    if bias is None and norm is not None:
        bias, sign = norm.statistics[1], -1.0
    if bias is not None:
        name, tensor = weights.name(bias.storage, bias.offset), weights.tensor(bias.storage, bias.offset)
        addition = additions.setdefault(name, torch.zeros(tensor.shape, dtype=torch.float64))
        if bias.size[-1] != len(adds) or tensor.numel() < len(adds) or weights.is_scaled(bias.storage):
            raise ImpossibleError(f"{reason} {name}")
        start = bias.offset - tensor.storage_offset()
        addition.view(-1)[start : start + len(adds)] += sign * adds
        return
    owner = weights.name(place.storage, place.offset).removesuffix(".weight")
    module = planner.model.get_submodule(owner) if owner in dict(planner.model.named_modules()) else None
    if not isinstance(module, nn.Linear | nn.modules.conv._ConvNd):  # noqa: SLF001
        raise ImpossibleError(f"{reason} a layer that cannot have a bias")
    name = f"{owner}.bias"
    if name not in additions:
        new.append(name)
    additions[name] = additions.get(name, torch.zeros(len(adds), dtype=torch.float64)) + adds

"""Walks back from a channel of a tensor to all the weights that make it, and must go if it goes."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from leakyrelu.torch.wiring.tape import Node, Operand, element
from leakyrelu.torch.wiring.weights import BATCH_NORMS, CONVOLUTIONS, PRODUCTS, Application, Place

__all__ = ["Made", "is_depthwise", "made_of"]

_HOPS = 400  # how many operations are looked at on the way back
_NEW = re.compile(r"(new_)?(zeros|ones|full|empty)(_like)?|arange|scalar_tensor|empty_strided|eye")
_SOURCES = {  # the arguments whose values an operation takes; the others say where from, or where to
    **dict.fromkeys(("scatter_add", "scatter_reduce", "index_add"), (0, 3)),
    **dict.fromkeys(("index_select", "gather", "index", "embedding", "grid_sampler_2d"), (0,)),
    "index_put": (0, 2),
    "copy": (1,),
}
_MIXING = {
    "native_layer_norm": "a norm mixes it with other units before the activation",
    "native_group_norm": "a norm mixes it with other units before the activation",
    "_softmax": "a softmax mixes it with other units before the activation",
    "_log_softmax": "a softmax mixes it with other units before the activation",
}

_At = tuple[int, ...]
_Step = tuple[Operand, _At, _At]  # a tensor, and the first and the last element of a channel of it


@dataclass
class Made:
    """The weights that make one channel."""

    addresses: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))  # by storage
    rows: list[tuple[Application, int]] = field(default_factory=list)
    why: str = ""  # they cannot go; empty if they can
    is_sum: bool = False

    def add(self, storage: int, addresses: Tensor) -> None:
        """Take elements of a parameter along."""
        self.addresses[storage].append(addresses)

    def vector(self, place: Place, one: _At, other: _At) -> None:
        """Take a part of a parameter along; one that is the same for all channels stays."""
        own = {
            axis: [at]
            for axis, at in enumerate(one)
            if place.size[axis] > 1 and at == other[axis] and place.stride[axis]
        }
        if own:
            self.add(place.storage, place.addresses(own))


def is_depthwise(call: Application) -> bool:
    """Whether each channel of a convolution is made of one channel."""
    return call.kind == "conv" and call.groups > 1 and call.place.size[1] == 1


def made_of(operand: Operand, one: Sequence[int], other: Sequence[int]) -> Made:
    """What makes a channel of a tensor, whose first and last element are given, back to the nearest layers."""
    made = Made()
    queue = [(operand, tuple(one), tuple(other))]
    seen = set()
    while queue and not made.why:
        (place, node, weight), first, last = queue.pop(0)
        if weight is not None:
            made.vector(weight, first, last)
        elif place is None:
            continue
        elif node is None:
            made.why = "what the model is given enters it without a layer of its own"
        elif (node, first, last) not in seen:
            seen.add((node, first, last))
            queue += _before(node, place, first, last, made)
        if len(seen) > _HOPS:
            made.why = "the layers that make it were not found"
    if made.why and made.is_sum:
        made.why = "other values are added to it before the activation"
    if not made.rows and not made.why:
        made.why = "no layer that makes it was found"
    return made


def _before(node: Node, place: Place, one: _At, other: _At, made: Made) -> list[_Step]:
    """What an operation makes the channel of; its own weights are noted."""
    name, args = node.name.rstrip("_"), node.args
    tensors = [each for each in args if isinstance(each, Operand) and each.place is not None]
    found: list[_Step] = []
    if name in _MIXING:
        made.why = _MIXING[name]
    elif name in CONVOLUTIONS or name in PRODUCTS:
        found = _layer(node, name, place, one, other, made)
    elif name in BATCH_NORMS:
        parts = [each for each in args[1:5] if isinstance(each, Operand)]
        found = [(args[0], one, other), *((each, (one[1],), (other[1],)) for each in parts)]
    elif name in _MOVED:
        found = _MOVED[name](args, place, one, other, made)
    elif tensors and (of := tensors[0].place) and of.storage == place.storage and name == node.name:
        first, last = (of.coordinates(place.address(at)) for at in (one, other))
        if first is None or last is None:
            made.why = f"it cannot be followed back through {name}"
        else:
            found = [(tensors[0], first, last)]
    elif not _NEW.fullmatch(name):
        if name in _SOURCES:
            tensors = [args[i] for i in _SOURCES[name] if i < len(args) and isinstance(args[i], Operand)]
        found = _elementwise(name, tensors, place, one, other, made)
    return found


def _elementwise(name: str, tensors: Sequence[Operand], place: Place, one: _At, other: _At, made: Made) -> list[_Step]:
    """The same element of each operand, or its channel where the elements are gathered from elsewhere."""
    found = []
    for each in tensors:
        size = each.place.size if each.place else ()
        ends = _matched(size, place.size, one, other)
        if ends is None:
            made.why = f"it cannot be followed back through {name}"
            return []
        varies = [length > 1 and i == j for length, i, j in zip(size, *ends, strict=True)]
        if size == place.size or any(varies):  # otherwise it is the same for all channels
            found.append((each, *ends))
    if name in ("add", "sub") and sum(each.weight is None for each, *_ in found) > 1:
        made.is_sum = True
    return found


def _matched(size: Sequence[int], shape: Sequence[int], one: _At, other: _At) -> tuple[_At, _At] | None:
    """The first and the last element of an operand of some size that make those of what an operation gives."""
    lead = len(shape) - len(size)
    if lead < 0:
        return None
    if all(length in (1, whole) for length, whole in zip(size, shape[lead:], strict=True)):
        first, last = (
            tuple(0 if length == 1 else i for i, length in zip(at[lead:], size, strict=True)) for at in (one, other)
        )
        return first, last
    own = [i == j and length > 1 for i, j, length in zip(one, other, shape, strict=True)]
    if lead or any(is_own and length != whole for is_own, length, whole in zip(own, size, shape, strict=True)):
        return None
    first = tuple(i if is_own else 0 for i, is_own in zip(one, own, strict=True))
    return first, tuple(i if is_own else length - 1 for i, is_own, length in zip(one, own, size, strict=True))


def _joined(args: Sequence[Any], place: Place, one: _At, other: _At, made: Made) -> list[_Step]:
    """The part of a concatenation that the channel is in."""
    axis, start = (args[1] if len(args) > 1 else 0) % len(place.size), 0
    for each in args[0]:
        size = each.place.size if each.place and len(each.place.size) == len(one) else None
        length = size[axis] if size else 0
        if start <= one[axis] < start + length and start <= other[axis] < start + length:
            ends = [(*at[:axis], at[axis] - start, *at[axis + 1 :]) for at in (one, other)]
            return [(each, ends[0], ends[1])]
        start += length
    made.why = "it is joined of several tensors"
    return []


def _gated(args: Sequence[Any], place: Place, one: _At, other: _At, made: Made) -> list[_Step]:  # noqa: ARG001  # as the others
    """Both halves of a gated linear unit: one is multiplied by the sigmoid of the other."""
    axis = (args[1] if len(args) > 1 else -1) % len(place.size)
    gate = [(*at[:axis], at[axis] + place.size[axis], *at[axis + 1 :]) for at in (one, other)]
    return [(args[0], one, other), (args[0], gate[0], gate[1])]


def _repeated(args: Sequence[Any], place: Place, one: _At, other: _At, made: Made) -> list[_Step]:  # noqa: ARG001  # as the others
    """What is repeated."""
    of = args[0].place
    return [(args[0], element(of, place.size, one), element(of, place.size, other))] if of else []


_MOVED = {"cat": _joined, "glu": _gated, "repeat": _repeated}  # where a channel is somewhere else before


def _layer(node: Node, name: str, place: Place, one: _At, other: _At, made: Made) -> list[_Step]:
    call = node.applied
    if call is None:
        made.why = "it is made by a layer whose weight is no parameter, but computed"
        return []
    if call.rows is None:
        made.why = "it is made by a product with several matrices"
        return []
    unit = one[call.rows]
    if other[call.rows] != unit:
        made.why = "its values are made by several rows of a layer"
        return []
    if call.kind == "conv transposed" and call.groups > 1:
        made.why = "it is made by a transposed convolution in groups"
        return []
    made.rows.append((call, unit))
    made.add(call.place.storage, call.row(unit))
    found = []
    is_convolution = name in CONVOLUTIONS
    bias = node.args[2] if is_convolution else node.args[0] if name in ("addmm", "addmv") else None
    if isinstance(bias, Operand) and bias.place is not None:
        ends = [(unit,), (unit,)] if is_convolution else [element(bias.place, place.size, at) for at in (one, other)]
        found.append((bias, ends[0], ends[1]))
    if is_depthwise(call):
        size = node.args[0].place.size
        channel = unit * call.groups // call.place.size[0]
        first = (0, channel, *(0 for _ in size[2:]))
        last = (size[0] - 1, channel, *(length - 1 for length in size[2:]))
        found.append((node.args[0], first, last))
    return found


def united(addresses: Sequence[Tensor]) -> Tensor:
    """All of them, each once."""
    return torch.unique(torch.cat(list(addresses)))  # type: ignore[no-any-return]

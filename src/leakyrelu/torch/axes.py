"""Finds where the units are in a tensor: a layer sets it, and it is followed from there to the activation.

The shape alone does not tell: (N, C, L) comes from a convolution, (N, T, C) from a linear layer on tokens. The units
are on several axes where features were split into the heads of an attention, (N, H, T, D): each pair of a head and a
position in it is a unit. `RULES` tells, by the name of a function, where the units are in its results.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from leakyrelu._backends.torch_private import base_of
from leakyrelu.torch.calls import Traced, each_of, is_parameter
from leakyrelu.units.layout import (
    Factor,
    Labels,
    Part,
    Shape,
    Units,
    agreed,
    contracted,
    guessed,
    kept,
    reshaped,
    settled,
    spread,
)

__all__ = ["RULES", "Axes", "Operand", "Rule", "Seen", "Sources", "elementwise"]

Sources: TypeAlias = frozenset[object]  # what made the units; other units have other sources


class Operand(NamedTuple):
    """What is known of a tensor that a function takes, whose shape may have been changed in place since."""

    shape: Shape = ()  # () if its units are not known
    units: Units | None = None  # None: not known
    sources: Sources = frozenset()


class Seen(NamedTuple):
    """A call of a function, with the shape of one of its results."""

    name: str
    function: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    tensors: Sequence[Tensor]  # among the arguments
    operands: Sequence[Operand]  # one per tensor
    made: Shape


Rule: TypeAlias = Callable[[Seen], Units | None]


class Axes:
    """The units' axes, as far as they are known, for the tensors of one pass.

    With other rules, other axes can be followed in the same way.
    """

    def __init__(self, rules: "Mapping[str, Rule] | None" = None) -> None:
        self._rules = RULES if rules is None else rules
        self._are_units = rules is None  # only units are made by layers
        # The keys are ids. A weak reference is kept as another tensor may get the same id later.
        self._known: dict[int, tuple[weakref.ref[Tensor], Operand]] = {}

    def of(self, value: Tensor) -> Units | None:
        """Where a tensor's units are, if it is known."""
        units = self.parts(value)
        return None if units is None else settled(units)

    def parts(self, value: Tensor) -> Units | None:
        """The same as it was followed, also if it is on a part of an axis that does not count."""
        shape, units, _ = self.operand(value)
        return units if shape == value.shape else None

    def found(self, value: Tensor, examples: int | None) -> Units:
        """Where the units are: as the layers before tell; otherwise as the shape suggests."""
        units = self.of(value)
        if units is None:
            units = guessed(value.shape, examples)
            self.remember(value, units)
        return units

    def remember(self, value: Tensor, units: Units, sources: Sources = frozenset()) -> None:
        """Store where a tensor's units are."""
        if value.ndim:
            self._known[id(value)] = weakref.ref(value), Operand(value.shape, units, sources)

    def carry(self, value: Tensor, output: Tensor) -> None:
        """Remember that the units of an activation's output are where those of its input are."""
        self._known[id(output)] = weakref.ref(output), self.operand(value)

    def operand(self, value: Tensor) -> Operand:
        """What is known of a tensor."""
        reference, operand = self._known.get(id(value), _UNKNOWN)
        return operand if reference() is value else _NOTHING

    def sources(
        self,
        name: str,
        tensors: Sequence[Tensor],
        operands: Sequence[Operand],
        made: Shape,  # noqa: ARG002  # asked by those who follow other axes
    ) -> Sources:
        """What made the units of a function's result: a weight, or what made those of its operands."""
        if name in _LAYERS or name in _PRODUCTS:
            for tensor in tensors[1::-1]:
                base = base_of(tensor)
                if is_parameter(base):
                    return frozenset(((id(base), tensor.storage_offset()),))
            if name in _LAYERS:
                return frozenset()  # its weight is computed anew at each call
        several = [operand.sources for operand in operands if operand.sources]
        return several[0] if len(several) == 1 else frozenset().union(*several)

    def follow(self, call: Traced) -> None:
        """Remember where the units are in the tensors that a function made of its arguments."""
        name, function, args, kwargs, tensors, results = call
        operands = [self.operand(tensor) for tensor in tensors]
        known = [operand for operand in operands if operand is not _NOTHING]
        rule = self._rules.get(name, elementwise)
        if (rule is elementwise or not self._are_units) and not known:
            return
        same = known[0] if self._are_units and len(known) == 1 and _keeps(rule, known[0]) else _NOTHING
        for result in results:
            made = result.shape
            if same.shape == made:
                self._known[id(result)] = weakref.ref(result), same
                continue
            units = rule(Seen(name, function, args, kwargs, tensors, operands, made))
            if units is None or not made:
                self._known.pop(id(result), None)
                continue
            sources = self.sources(name, tensors, operands, made)
            if (
                self._are_units
                and name in _TAKING
                and _lengths(units, made) != _lengths(operands[0].units or (), operands[0].shape)
            ):
                offset = result.storage_offset()
                sources = frozenset((source, offset) for source in sources)
            self._known[id(result)] = weakref.ref(result), Operand(made, units, sources)


_NOTHING = Operand()
_UNKNOWN = (lambda: None), _NOTHING


# Rules by the name of the function


def _last(seen: Seen) -> Units:
    return (Part(len(seen.made) - 1),)


def _convolution(seen: Seen) -> Units | None:
    """The spatial axes follow that of the channels, as many as the weight has."""
    return (Part(len(seen.made) + 1 - seen.tensors[1].ndim),) if len(seen.tensors) > 1 else None


def _channels(seen: Seen) -> Units | None:
    """Whatever was known before: each channel has a scale and a shift of its own."""
    return (Part(1),) if len(seen.made) > 1 else elementwise(seen)


def _keeps(rule: Rule, operand: Operand) -> bool:
    """Whether a result of the operand's shape has the same units, if nothing is known of the other operands."""
    return rule is elementwise or rule is _last_norm or (rule is _channels and operand.units == (Part(1),))


def _last_norm(seen: Seen) -> Units | None:
    of_several_axes = len(seen.args) > 1 and isinstance(seen.args[1], Sequence) and len(seen.args[1]) > 1  # (C, H, W)
    units = elementwise(seen)
    return _last(seen) if units is None and not of_several_axes else units


def _unfolding(seen: Seen) -> Units | None:
    """`functional.unfold` makes columns of an image, (N, C * K, L); the method adds an axis at the end."""
    if seen.tensors[0].ndim == 4 and len(seen.made) == 3:
        return (Part(1),)
    before = seen.operands[0]
    return None if before.units is None else kept(before.units, (*before.shape, 1), seen.made)


def _reshaping(seen: Seen) -> Units | None:
    before = seen.operands[0]
    return None if before.units is None else reshaped(before.units, before.shape, seen.made)


def _moving(seen: Seen) -> Units | None:
    """Functions that move or remove axes."""
    before = seen.operands[0]
    if before.units is None:
        return None
    if seen.kwargs or len(seen.tensors) > 1 or not all(isinstance(item, int | tuple) for item in seen.args[1:]):
        return _moved(seen.function, seen.args, seen.kwargs, before.units, before.shape)
    return _moved_by_numbers(seen.function, tuple(seen.args[1:]), before.units, before.shape)


@lru_cache(1024)
def _moved_by_numbers(function: Any, numbers: tuple[Any, ...], units: Units, shape: Shape) -> Units | None:
    return _moved(function, (None, *numbers), {}, units, shape)


def _moved(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], units: Units, shape: Shape) -> Units | None:
    """Tried with a tensor without data, in which each axis of units has a length that no other axis has."""
    lengths = list(shape)
    for i, axis in enumerate({part.axis for part in units}):
        lengths[axis] = sum(shape) + 2 + i
    probe = torch.empty(lengths, device="meta")
    kwargs = {key: probe if key in ("input", "self") else item for key, item in kwargs.items()}
    try:
        (result, *_) = each_of((function(*([probe] if args else []), *args[1:], **kwargs),))
    except Exception:  # noqa: BLE001  # a function may raise anything for a tensor without data
        return None
    places = {length: axis for axis, length in enumerate(result.shape)}
    return tuple(part._replace(axis=places[lengths[part.axis]]) for part in units if lengths[part.axis] in places)


def _reducing(seen: Seen) -> Units | None:
    return elementwise(seen) if len(seen.made) == seen.tensors[0].ndim else _moving(seen)


def _indexing(seen: Seen) -> Units | None:
    """Slices and lists leave an axis where it is, though not its length."""
    index = seen.args[1] if isinstance(seen.args[1], tuple) else (seen.args[1],)
    lists = sum(isinstance(item, Tensor | list) for item in index)
    stays = [isinstance(item, slice) or (lists == 1 and _is_list(item)) for item in index]
    if all(stay or item is Ellipsis for stay, item in zip(stays, index, strict=True)):
        return elementwise(seen)
    plain = tuple(slice(None) if stay else item for stay, item in zip(stays, index, strict=True))
    before = seen.operands[0]
    return None if before.units is None else _moved(seen.function, (None, plain), {}, before.units, before.shape)


def _is_list(item: object) -> bool:
    return isinstance(item, list) or (isinstance(item, Tensor) and item.ndim == 1)


def _stacking(seen: Seen) -> Units | None:
    """The new axis counts units, too, if the units of all tensors are others, as in a list of heads."""
    dim = int(seen.args[1] if len(seen.args) > 1 else seen.kwargs.get("dim", 0)) % len(seen.made)
    known = [operand.units for operand in seen.operands if operand.units is not None]
    units = agreed(known)
    if units is None:
        return None
    units = tuple(part._replace(axis=part.axis + (part.axis >= dim)) for part in units)
    sources = {operand.sources for operand in seen.operands}
    return (Part(dim), *units) if len(sources) == len(seen.operands) > 1 else units


def elementwise(seen: Seen) -> Units | None:
    """Sums, products by elements and concatenations; also whatever else keeps the axes, such as pooling."""
    known = [(units, shape) for shape, units, _ in seen.operands if units is not None]
    if known and known.count((known[0][0], seen.made)) == len(known):
        return known[0][0]
    full, partial = [], []
    for units, shape in known:
        if shape != seen.made and _fits(shape, seen.made):
            partial.append(spread(units, shape, seen.made))
        else:
            full.append(kept(units, shape, seen.made))
    return agreed([units for units in full if units is not None], [units for units in partial if units is not None])


def _fits(shape: Shape, made: Shape) -> bool:
    """Whether a tensor of this shape is broadcast in a result of shape `made`."""
    return len(shape) <= len(made) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(made), strict=False))


def _product(seen: Seen) -> Units | None:
    """A product of matrices, the last two arguments; `addmm` and the like add it to their first one."""
    if len(seen.tensors) < 2:
        return None
    left, right = _factors(seen)[-2:]
    if seen.name == "rmatmul":
        left, right = right, left
    factors: tuple[Factor, ...] = left, right
    labels, result = _matrix_labels(len(left.shape), len(right.shape), len(seen.made))
    if (left.kind, right.kind) == ("weight", "known") and all(labels[1][part.axis] != "sum" for part in right.units):
        factors, labels = factors[1:], labels[1:]  # the weight mixes rows, such as the neighbours in a learned graph
    if left.kind == right.kind == "unknown":
        return _last(seen)
    return contracted(factors, labels, result, seen.made)


@lru_cache
def _matrix_labels(left: int, right: int, made: int) -> tuple[tuple[Labels, ...], Labels]:
    """The labels of two matrices (with one axis: vectors) and of their product, which have so many axes."""
    examples = tuple(range(max(left, right) - 2))
    labels: list[Labels] = [
        (*examples[len(examples) + 2 - axes :], *matrix) if axes > 1 else ("sum",)
        for axes, matrix in ((left, ("row", "sum")), (right, ("sum", "column")))
    ]
    result: Labels = (*examples, *("row",) * (left > 1), *("column",) * (right > 1))
    return tuple(labels), result[len(result) - made :]


def _einsum(seen: Seen) -> Units | None:
    if not isinstance(seen.args[0], str):
        return elementwise(seen)
    inputs, arrow, result = seen.args[0].replace(" ", "").partition("->")
    if not arrow:
        once = sorted(letter for letter in inputs if letter.isalpha() and inputs.count(letter) == 1)
        result = "".join(["..."] * ("..." in inputs) + once)
    factors = _factors(seen)
    labels = tuple(_letters(term, factor.shape) for term, factor in zip(inputs.split(","), factors, strict=True))
    return contracted(factors, labels, _letters(result, seen.made), seen.made)


def _letters(term: str, shape: Shape) -> Labels:
    """The letters of an einsum, one per axis; the axes of "..." are numbered from the last one on."""
    before, dots, after = term.partition("...")
    return (*before, *range(len(shape) - len(before + after) if dots else 0, 0, -1), *after)


def _factors(seen: Seen) -> tuple[Factor, ...]:
    return tuple(map(_factor, seen.tensors, seen.operands))


def _factor(value: Tensor, operand: Operand) -> Factor:
    if _is_weight(value):
        strides = value.stride()  # 0 where it was expanded
        return Factor(value.shape, tuple(Part(axis) for axis, stride in enumerate(strides) if stride), "weight")
    if operand.units is None:
        return Factor(value.shape, tuple(map(Part, range(value.ndim))), "unknown")
    return Factor(operand.shape, operand.units, "known")


def _attention(seen: Seen) -> Units | None:
    """A weighted sum of the values, the third argument, over the last axis but one."""
    values = seen.operands[2]
    if values.units is None or len(values.shape) != len(seen.made):
        return _last(seen)
    return tuple(part for part in values.units if part.axis != len(seen.made) - 2)


_TAKING = {"getitem", "select", "unbind", "chunk", "split", "split_with_sizes", "tensor_split", "narrow"}
_LAYERS: dict[str, Rule] = {
    **dict.fromkeys(("linear", "bilinear", "embedding", "embedding_bag", "multi_head_attention_forward"), _last),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _last),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _last),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _convolution),
}
_PRODUCTS: dict[str, Rule] = {
    **dict.fromkeys(("matmul", "rmatmul", "mm", "bmm", "mv", "addmm", "addmv", "addbmm", "baddbmm"), _product),
    "einsum": _einsum,
}
RULES: Mapping[str, Rule] = {
    **_LAYERS,
    **_PRODUCTS,
    "scaled_dot_product_attention": _attention,
    **dict.fromkeys(("batch_norm", "native_batch_norm", "native_batch_norm_legit_no_training"), _channels),
    **dict.fromkeys(("instance_norm", "group_norm"), _channels),
    **dict.fromkeys(("layer_norm", "native_layer_norm", "rms_norm"), _last_norm),
    **dict.fromkeys(("view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "ravel"), _reshaping),
    **dict.fromkeys(("squeeze", "unsqueeze"), _reshaping),
    **dict.fromkeys(("transpose", "permute", "movedim", "moveaxis", "swapaxes", "swapdims"), _moving),
    **dict.fromkeys(("t", "T", "mT", "H", "mH", "adjoint"), _moving),
    **dict.fromkeys(("select", "unbind"), _moving),
    **dict.fromkeys(("mean", "sum", "max", "min", "amax", "amin", "median", "logsumexp"), _reducing),
    **dict.fromkeys(("prod", "std", "var", "norm", "nanmean", "nansum"), _reducing),
    "getitem": _indexing,
    "stack": _stacking,
    "unfold": _unfolding,
}


def _is_weight(value: Tensor) -> bool:
    return is_parameter(base_of(value))


def _lengths(units: Units, shape: Shape) -> list[int]:
    return [part.length or shape[part.axis] for part in units]

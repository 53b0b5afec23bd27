"""Follows axes that a layer keeps, such as those of examples and of positions, through the functions of a pass."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from leakyrelu.torch.axes import RULES, Axes, Operand, Rule, Seen, Sources, elementwise
from leakyrelu.torch.calls import each_of
from leakyrelu.units.layout import Shape, Units, agreed, kept

__all__ = ["Followed"]


class Followed(Axes):
    """The axes of examples, or of positions, as far as they are known, for the tensors of one pass.

    They are followed as those of units are, by rules of their own: `()` means that a tensor has no such axis, or that
    what is on it was rearranged.
    """

    def __init__(self) -> None:
        super().__init__(_RULES)

    def sources(
        self,
        name: str,
        tensors: Sequence[Tensor],  # noqa: ARG002  # the operands tell
        operands: Sequence[Operand],
        made: Shape,
    ) -> Sources:
        """Which inputs what is on these axes comes from."""
        known = [operand for operand in operands if operand.units]
        alike = [] if name in _OF_ONE else [operand for operand in known if operand.shape == made]
        return frozenset[object]().union(*(operand.sources for operand in alike or known[:1]))


# Rules by the name of the function, as in `RULES`


def _as_the_first(seen: Seen) -> Units | None:
    """Of layers, which replace the last axis of the first argument, and of attention, whose first one is the query."""
    units = seen.operands[0].units
    if units is None or seen.operands[0].shape[:-1] != seen.made[:-1]:
        return None
    return () if any(part.axis == len(seen.made) - 1 for part in units) else units


def _lengthened(seen: Seen) -> Units | None:
    """Of functions that add axes at the end, as an embedding does."""
    operands = (each for each in seen.operands if each.units is not None and seen.made[: len(each.shape)] == each.shape)
    return next((operand.units for operand in operands), None)


def _convolved(seen: Seen) -> Units | None:
    before = seen.operands[0]
    if before.units is None or len(before.shape) != len(seen.made):
        return None
    channels = len(seen.made) + 1 - seen.tensors[1].ndim if len(seen.tensors) > 1 else 1
    return () if any(part.axis == channels for part in before.units) else before.units


def _multiplied(seen: Seen) -> Units | None:
    """The rows of a product are those of its left matrix, and its columns those of the right one."""
    if len(seen.tensors) < 2 or min(seen.tensors[-1].ndim, seen.tensors[-2].ndim) < 2:
        return None
    left, right = seen.operands[-2:] if seen.name != "rmatmul" else seen.operands[:-3:-1]
    found = None
    for operand, summed in ((left, -1), (right, -2)):
        if operand.units is not None:
            shift, gone = len(seen.made) - len(operand.shape), len(operand.shape) + summed
            units = tuple(part._replace(axis=part.axis + shift) for part in operand.units if part.axis != gone)
            found = found or units
    return found


def _summed(seen: Seen) -> Units | None:
    """An einsum: the letters tell."""
    if not isinstance(seen.args[0], str) or "->" not in seen.args[0] or "." in seen.args[0]:
        return None
    inputs, _, result = seen.args[0].replace(" ", "").partition("->")
    found = None
    for term, operand in zip(inputs.split(","), seen.operands, strict=False):
        if operand.units is not None:
            left = [part for part in operand.units if term[part.axis] in result]
            found = found or tuple(part._replace(axis=result.index(term[part.axis])) for part in left)
    return found


def _stacked(seen: Seen) -> Units | None:
    dim = int(seen.args[1] if len(seen.args) > 1 else seen.kwargs.get("dim", 0)) % len(seen.made)
    units = agreed([operand.units for operand in seen.operands if operand.units is not None])
    return units and tuple(part._replace(axis=part.axis + (part.axis >= dim)) for part in units)


def _unfolded(seen: Seen) -> Units | None:
    before = seen.operands[0]
    return None if before.units is None else kept(before.units, (*before.shape, 1), seen.made)


def _indexed(seen: Seen) -> Units | None:
    """A list or a tensor of indices may change the order of what is on its axis."""
    before = seen.operands[0]
    if before.units is None:
        return None
    listed = _listed(seen.args[1], len(before.shape))
    return () if any(part.axis in listed for part in before.units) else RULES["getitem"](seen) or ()


def _listed(index: object, ndim: int) -> set[int]:
    """The axes that are indexed by lists or tensors."""
    items = [item for item in (index if isinstance(index, tuple) else (index,)) if item is not None]
    widths = [item.ndim if isinstance(item, Tensor) and item.dtype == torch.bool else 1 for item in items]
    axis, found = 0, set()
    for item, width in zip(items, widths, strict=True):
        if item is Ellipsis:
            axis += ndim - sum(widths) + 1
            continue
        if isinstance(item, list) or (isinstance(item, Tensor) and item.ndim):
            found |= set(range(axis, axis + width))
        axis += width
    return found


def _rearranged(position: int, default: int | None = None) -> Rule:
    """Of functions that change the order along the axes that this argument names."""

    def rule(seen: Seen) -> Units | None:
        before = seen.operands[0]
        given = each_of(each_of((seen.kwargs.get("dim", seen.kwargs.get("dims", seen.args[position:])),)))
        axes = {each % len(before.shape) for each in given if type(each) is int} if before.shape else set()
        axes = axes or ({default % len(before.shape)} if default is not None and before.shape else set())
        everywhere = not axes
        if before.units and (everywhere or any(part.axis in axes for part in before.units)):
            return ()
        return elementwise(seen)

    return rule


def _lost(seen: Seen) -> Units | None:
    return None if seen.operands[0].units is None else ()


_LAYERS = ("linear", "bilinear", "lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell")
_ATTENTION = ("multi_head_attention_forward", "native_multi_head_attention", "scaled_dot_product_attention")
_CONVOLUTIONS = tuple(name for name in RULES if name.startswith("conv"))
_NORMS = tuple(name for name in RULES if name.endswith(("_norm", "_training")) or name.startswith("native_"))
_MATRICES = ("matmul", "rmatmul", "mm", "bmm", "mv", "addmm", "addmv", "addbmm", "baddbmm")
_OF_ONE = {*_LAYERS, *_ATTENTION, *_MATRICES}  # the others only tell what is added up
_RULES: Mapping[str, Rule] = {
    **RULES,
    **dict.fromkeys(_NORMS, elementwise),
    **dict.fromkeys((*_LAYERS, *_ATTENTION), _as_the_first),
    **dict.fromkeys(("embedding", "one_hot"), _lengthened),
    **dict.fromkeys(_CONVOLUTIONS, _convolved),
    **dict.fromkeys(_MATRICES, _multiplied),
    "einsum": _summed,
    "stack": _stacked,
    "unfold": _unfolded,
    "getitem": _indexed,
    **dict.fromkeys(("flip", "sort", "argsort"), _rearranged(1, -1)),
    **dict.fromkeys(("index_select", "gather"), _rearranged(1)),
    **dict.fromkeys(("roll", "topk", "take_along_dim"), _rearranged(2)),
    **dict.fromkeys(("fliplr", "flipud", "rot90", "masked_select", "take"), _lost),
}

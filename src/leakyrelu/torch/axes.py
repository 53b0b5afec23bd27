"""Finds the axis of a tensor on which the units are: a layer sets it, and it is followed from there to the activation.

The shape alone does not tell: (N, C, L) comes from a convolution, (N, T, C) from a linear layer on tokens.
"""

import math
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from leakyrelu._backends.torch_private import base_of

__all__ = ["Axes"]


class Axes:
    """The axes of units, as far as they are known, for the tensors of one pass."""

    def __init__(self) -> None:
        # The keys are ids. A weak reference is kept as another tensor may get the same id later, and the shape as it
        # may be changed in place.
        self._known: dict[int, tuple[weakref.ref[Tensor], torch.Size, int]] = {}

    def of(self, value: object) -> int | None:
        """The axis of a tensor's units, if it is known."""
        shape, axis = self._shape_and_axis(value)
        return axis if shape == getattr(value, "shape", None) else None

    def remember(self, value: Tensor, axis: int | None) -> None:
        """Store the axis of a tensor's units; None means that it is not known."""
        if axis is None:
            self._known.pop(id(value), None)
        elif value.ndim:
            self._known[id(value)] = weakref.ref(value), value.shape, axis

    def _shape_and_axis(self, value: object) -> tuple[torch.Size, int | None]:
        reference, shape, axis = self._known.get(id(value), (None, torch.Size(), None))
        return (shape, axis) if reference is not None and reference() is value else (torch.Size(), None)

    def follow(self, name: str, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: object) -> None:
        """Remember the axis for the tensors that a function made of its arguments."""
        results = [result for result in _each((output,)) if isinstance(result, Tensor)]
        if not results:
            return
        tensors = [item for item in _each((*args, *kwargs.values())) if isinstance(item, Tensor)]
        sources = [(shape, axis) for shape, axis in map(self._shape_and_axis, tensors) if axis is not None]
        for result in results:
            axis = self._of_layer(name, args, tensors, result.ndim)
            if axis is None and len(sources) == 1:
                axis = _carried(name, function, args, kwargs, *sources[0], result.shape)
            elif axis is None:
                axis = next((axis for shape, axis in sources if len(shape) == result.ndim), None)
            if axis is None:
                axis = _of_norm(name, args, tensors, result.ndim)
            self.remember(result, axis)

    def _of_layer(self, name: str, args: Sequence[Any], tensors: Sequence[Tensor], axes: int) -> int | None:
        """The axis where a function makes new units or tells which axis they are on; None otherwise."""
        if name in _LAST:
            return axes - 1
        if name in _CHANNELS and axes > 1:
            return 1  # whatever was known before: each channel has its own scale and shift
        if len(tensors) < 2:
            return None
        if name.startswith("conv"):
            return axes + 1 - tensors[1].ndim  # the spatial axes follow it, as many as the weight has
        if name == "einsum" and isinstance(args[0], str):
            return _of_einsum(args[0], tensors, axes)
        return self._of_product(name, tensors, axes - 1) if name in _PRODUCTS else None

    def _of_product(self, name: str, tensors: Sequence[Tensor], last: int) -> int:
        """The last axis; or the last but one for ``weight @ x``, unless the units of `x` are on its last axis."""
        left, right = tensors[-2:] if name != "rmatmul" else tensors[-1:-3:-1]
        from_left = _is_weight(left) and not _is_weight(right) and self.of(right) != right.ndim - 1
        return max(last - 1, 0) if from_left else last


_PRODUCTS = {"matmul", "mm", "bmm", "addmm", "baddbmm", "rmatmul"}
_LAST = {"linear", "bilinear", "embedding", "scaled_dot_product_attention"}
_LAST_NORMS = {"layer_norm", "native_layer_norm", "rms_norm"}
_CHANNELS = {"batch_norm", "instance_norm", "group_norm", "native_batch_norm", "native_batch_norm_legit_no_training"}
_RESHAPING = {"view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "ravel", "squeeze", "unsqueeze"}
_PERMUTING = {*("transpose", "permute", "movedim", "moveaxis", "swapaxes", "swapdims"), *("t", "T", "mT", "H", "mH")}
_REDUCING = {*("getitem", "select", "unbind"), *("mean", "sum", "max", "min", "amax", "amin", "median", "logsumexp")}


def _carried(
    name: str,
    function: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    shape: torch.Size,
    axis: int,
    made: torch.Size,
) -> int | None:
    """The axis of the units in a result of shape `made`, if it was `axis` in the argument of shape `shape`."""
    moves = name in _PERMUTING or (name in _REDUCING and len(made) != len(shape))
    if axis == len(shape) and (moves or name in _RESHAPING):
        return len(made)
    if moves:
        return _moved(function, args, kwargs, shape, axis)
    if name in _RESHAPING:
        return _reshaped(shape, axis, made)
    return axis if len(made) == len(shape) else None


def _of_norm(name: str, args: Sequence[Any], tensors: Sequence[Tensor], axes: int) -> int | None:
    """The axis that the function itself suggests, where nothing else tells it."""
    if name == "unfold" and (tensors[0].ndim, axes) == (4, 3):
        return 1
    of_several_axes = len(args) > 1 and isinstance(args[1], Sequence) and len(args[1]) > 1  # (C, H, W)
    return axes - 1 if name in _LAST_NORMS and not of_several_axes else None


def _each(items: Iterable[Any]) -> list[Any]:
    return [value for item in items for value in (item if isinstance(item, tuple | list) else (item,))]


def _is_weight(value: Tensor) -> bool:
    return isinstance(base_of(value), nn.Parameter)


def _of_einsum(equation: str, operands: Sequence[Tensor], axes: int) -> int | None:
    """The axis that a weight adds: the last letter of the result that the weight has and no other operand has."""
    inputs, _, made = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    weights = [term for term, operand in zip(terms, operands, strict=False) if _is_weight(operand)]
    for i, letter in enumerate(reversed(made), 1):
        if letter != "." and any(letter in term for term in weights) and inputs.count(letter) == 1:
            return axes - i
    return None


def _reshaped(old: Sequence[int], axis: int, new: Sequence[int]) -> int | None:
    """Where the axis is after a change of shape: the same axis, the one it is merged into, or its innermost part."""
    inner = math.prod(old[axis + 1 :])
    inners = [math.prod(new[i + 1 :]) for i in range(len(new))]
    for i, length in enumerate(new):
        if (inners[i], length) == (inner, old[axis]):
            return i
    if old[axis] == 1:
        return len(new)
    if _is_made_an_image(old, axis, new):
        return None
    return next((i for i, length in enumerate(new) if inners[i] <= inner < inners[i] * length), None)


def _is_made_an_image(old: Sequence[int], axis: int, new: Sequence[int]) -> bool:
    """Whether the axis of the units is split into three or four axes, all but the first one, as in a decoder of images.

    Only what follows tells which of them has the channels: a norm, or a permutation of (N, H, W, C). So the axis is
    not known from here on, and of four or five axes the second one is taken. Splitting into the heads of an attention,
    (B, T, H, D), is another case: it keeps the axes before.
    """
    if len(new) not in (4, 5) or new[0] != math.prod(old[:axis]) or math.prod(old[axis + 1 :]) != 1:
        return False
    if axis == len(old) - 1:
        return axis < 2 or list(new[:axis]) != list(old[:axis])
    return new[-1] > 1  # otherwise they are groups of the channels of one pixel


def _moved(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], shape: torch.Size, axis: int) -> int | None:
    """Where a function moves the axis: tried with a tensor without data, in which no other axis has its length."""
    length = sum(shape) + 2
    probe = torch.empty((*shape[:axis], length, *shape[axis + 1 :]), device="meta")
    kwargs = {key: probe if key in ("input", "self") else item for key, item in kwargs.items()}
    try:
        results = _each((function(*([probe] if args else []), *args[1:], **kwargs),))
        return list(results[0].shape).index(length)
    except Exception:  # noqa: BLE001  # a function may raise anything for a tensor without data
        return None

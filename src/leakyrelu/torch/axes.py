"""On which axis of a tensor the units are: known from the layer that made it, and followed to the activation.

For a shape does not tell: (N, C, L) comes from a convolution, (N, T, C) from a linear layer on tokens.
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
    """What is known of the tensors of one pass."""

    def __init__(self) -> None:
        # By id, which another tensor may have later. With the shape, which may be changed in place.
        self._known: dict[int, tuple[weakref.ref[Tensor], torch.Size, int]] = {}

    def of(self, value: object) -> int | None:
        """The axis of a tensor's units, if it is known."""
        shape, axis = self._shape_and_axis(value)
        return axis if shape == getattr(value, "shape", None) else None

    def remember(self, value: Tensor, axis: int | None) -> None:
        """From now on it is this axis, or not known."""
        if axis is None:
            self._known.pop(id(value), None)
        elif value.ndim:
            self._known[id(value)] = weakref.ref(value), value.shape, axis

    def _shape_and_axis(self, value: object) -> tuple[torch.Size, int | None]:
        reference, shape, axis = self._known.get(id(value), (None, torch.Size(), None))
        return (shape, axis) if reference is not None and reference() is value else (torch.Size(), None)

    def follow(self, name: str, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: object) -> None:
        """Remember the axis of what a function made of its arguments."""
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
        """The axis of what makes units anew."""
        if name in _LAST:
            return axes - 1
        if name in _CHANNELS and axes > 1:
            return 1  # whatever it was: scale and shift are each channel's
        if len(tensors) < 2:
            return None
        if name.startswith("conv"):
            return axes + 1 - tensors[1].ndim  # before as many axes of space as the weight has
        if name == "einsum" and isinstance(args[0], str):
            return _of_einsum(args[0], tensors, axes)
        return self._of_product(name, tensors, axes - 1) if name in _PRODUCTS else None

    def _of_product(self, name: str, tensors: Sequence[Tensor], last: int) -> int:
        """The last axis, except that of ``weight @ x``, where the units of `x` are not on its last one."""
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
    """The axis in `made`, of a tensor of `shape`, where it was `axis`."""
    moves = name in _PERMUTING or (name in _REDUCING and len(made) != len(shape))
    if axis == len(shape) and (moves or name in _RESHAPING):
        return len(made)
    if moves:
        return _moved(function, args, kwargs, shape, axis)
    if name in _RESHAPING:
        return _reshaped(shape, axis, made)
    return axis if len(made) == len(shape) else None


def _of_norm(name: str, args: Sequence[Any], tensors: Sequence[Tensor], axes: int) -> int | None:
    """The axis where nothing else tells."""
    if name == "unfold" and (tensors[0].ndim, axes) == (4, 3):
        return 1
    of_several_axes = len(args) > 1 and isinstance(args[1], Sequence) and len(args[1]) > 1  # as (C, H, W)
    return axes - 1 if name in _LAST_NORMS and not of_several_axes else None


def _each(items: Iterable[Any]) -> list[Any]:
    return [value for item in items for value in (item if isinstance(item, tuple | list) else (item,))]


def _is_weight(value: Tensor) -> bool:
    return isinstance(base_of(value), nn.Parameter)


def _of_einsum(equation: str, operands: Sequence[Tensor], axes: int) -> int | None:
    """The axis that a weight brings: of its letters, the last one of the result that no other operand has."""
    inputs, _, made = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    weights = [term for term, operand in zip(terms, operands, strict=False) if _is_weight(operand)]
    for i, letter in enumerate(reversed(made), 1):
        if letter != "." and any(letter in term for term in weights) and inputs.count(letter) == 1:
            return axes - i
    return None


def _reshaped(old: Sequence[int], axis: int, new: Sequence[int]) -> int | None:
    """Where the axis is after a change of shape: itself, or what it is merged into, or its innermost part."""
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
    """Whether all axes but the first, three or four, are parts of the units' one, as in a decoder of images.

    Which of them are the channels is for what follows to tell: a norm, or a permutation of (N, H, W, C). So it is not
    known from here on, which means the second of four or five axes. Heads, (B, T, H, D), leave the axes before.
    """
    if len(new) not in (4, 5) or new[0] != math.prod(old[:axis]) or math.prod(old[axis + 1 :]) != 1:
        return False
    if axis == len(old) - 1:
        return axis < 2 or list(new[:axis]) != list(old[:axis])
    return new[-1] > 1  # else they are groups of the channels of one pixel


def _moved(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], shape: torch.Size, axis: int) -> int | None:
    """Where a function moves the axis: seen on a tensor without data, where no other axis is as long."""
    length = sum(shape) + 2
    probe = torch.empty((*shape[:axis], length, *shape[axis + 1 :]), device="meta")
    kwargs = {key: probe if key in ("input", "self") else item for key, item in kwargs.items()}
    try:
        results = _each((function(*([probe] if args else []), *args[1:], **kwargs),))
        return list(results[0].shape).index(length)
    except Exception:  # noqa: BLE001  # whatever it says to a tensor without data
        return None

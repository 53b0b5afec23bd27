"""NumPy's arrays: lays them out for the kernel that adds up the gradient with respect to the slope."""

from itertools import groupby
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.array_utils import normalize_axis_tuple

from leakyrelu._ufuncs import leaky_relu_backward, slope_gradient

__all__ = ["slope_gradient_of"]

_NUMBERS = float | int | np.generic


def slope_gradient_of(grad: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """The gradient with respect to the slope, of arrays and of what follows the protocol of NumPy's ufuncs."""
    if not (type(grad) is type(x) is np.ndarray):
        if not all(type(value) is np.ndarray or isinstance(value, _NUMBERS) for value in (grad, x)):
            return _by_protocol(grad, x, axis, keepdims)
        grad, x = np.asarray(grad), np.asarray(x)
    grad, x = _alike(grad, x)
    reduced = set(range(x.ndim) if axis is None else normalize_axis_tuple(axis, x.ndim))
    order, shape = _layout(grad, x, reduced)
    sums = np.empty((shape[0], shape[2]), x.dtype)
    number = x.dtype.num if x.dtype.kind == "f" else -1  # bfloat16
    slope_gradient(number, _in_order(grad, order, shape), _in_order(x, order, shape), sums)
    kept = [i for i in order if i not in reduced]
    result = sums.reshape([x.shape[i] for i in kept])
    if kept != sorted(kept):
        result = result.transpose(np.argsort(kept))
    return (np.expand_dims(result, tuple(reduced)) if keepdims else result)[()]


def _alike(grad: npt.NDArray[Any], x: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
    """The two in one shape and in their common type, unless they are that already: asking is faster than converting."""
    if not (grad.dtype == x.dtype and x.dtype.kind == "f" and x.dtype.isnative):
        dtype = _common_type(grad, x)
        grad, x = grad.astype(dtype, copy=False), x.astype(dtype, copy=False)
    return (grad, x) if grad.shape == x.shape else np.broadcast_arrays(grad, x)


def _common_type(grad: Any, x: Any) -> np.dtype[Any]:
    """The type of the result, as `leaky_relu_backward` has it."""
    try:
        return leaky_relu_backward.resolve_dtypes((grad.dtype, x.dtype, np.dtype(float), None))[-1]
    except TypeError as error:
        raise TypeError(str(error).replace("leaky_relu_backward", "leaky_relu_slope_gradient")) from None


def _in_order(array: npt.NDArray[Any], order: list[int], shape: list[int]) -> npt.NDArray[Any]:
    array = array.transpose(order).reshape(shape)
    return array if array.flags.c_contiguous and array.flags.aligned else array.copy()


def _layout(grad: npt.NDArray[Any], x: npt.NDArray[Any], reduced: set[int]) -> tuple[list[int], list[int]]:
    """The order of the axes, and their shape once they are merged: batches, rows, units and positions.

    Sums are taken over rows and positions. The axes come in the order of memory, so that nothing has to be copied,
    unless axes that are kept and axes that are not take turns too often.
    """
    long = [i for i in range(x.ndim) if x.shape[i] != 1]
    short = [i for i in range(x.ndim) if x.shape[i] == 1]
    if not (x.flags.c_contiguous and grad.flags.c_contiguous):
        long.sort(key=lambda i: -max(abs(x.strides[i]), abs(grad.strides[i])))
    shape = _merged(x, long, reduced)
    if len(shape) > 4:
        long.sort(key=reduced.__contains__)
        shape = _merged(x, long, reduced)
    return [*short, *long], shape


def _merged(x: npt.NDArray[Any], order: list[int], reduced: set[int]) -> list[int]:
    """The sizes of neighbouring axes of one kind; kept ones and reduced ones by turns, and kept ones first."""
    sizes = [prod(x.shape[i] for i in axes) for _, axes in groupby(order, reduced.__contains__)]
    if not order or order[0] in reduced:
        sizes.insert(0, 1)
    if not order or order[-1] not in reduced:
        sizes.append(1)
    return [1, 1, *sizes] if len(sizes) == 2 else sizes


def _by_protocol(grad: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """The same by ufuncs and a sum, which the array's own library computes.

    The gradient takes the place of the slope: so what comes out is ``grad * x`` where ``x < 0``, and zero elsewhere.
    """
    types = [value.dtype for value in (grad, x) if isinstance(getattr(value, "dtype", None), np.dtype)]
    zero = np.zeros((), np.result_type(*types))[()] if types else 0
    products = leaky_relu_backward(np.minimum(x, zero), x, grad)
    return products.sum(axis=axis, **({"keepdims": True} if keepdims else {}))

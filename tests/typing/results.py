"""The types that the functions return. mypy and pyright read this file, and tests/test_signatures.py runs it."""

from collections.abc import Sequence
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative, leaky_relu_slope_gradient

half: npt.NDArray[np.float16] = np.array([-1, 2], np.float16)
single: npt.NDArray[np.float32] = np.array([-1, 2], np.float32)
double: npt.NDArray[np.float64] = np.array([-1, 2], np.float64)
wide: npt.NDArray[np.longdouble] = np.array([-1, 2], np.longdouble)
whole: npt.NDArray[np.int8] = np.array([-1, 2], np.int8)
truth: npt.NDArray[np.bool] = np.array([True, False])
number: np.floating[Any] = np.float32(-1)
some: npt.NDArray[np.floating[Any]] = single
unknown: npt.NDArray[Any] = single
masked: np.ma.MaskedArray[tuple[int], np.dtype[np.float32]] = np.ma.MaskedArray(single, mask=[True, False])
anything: Any = single
sequence: Sequence[float] = [-1.0, 2.0]
rows: list[list[int]] = [[-1, 2], [3, 4]]
name: str = "float32"


def floats(array: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """An array of floats, for types that the checkers know by different names."""
    return array


def numbers() -> None:
    assert_type(leaky_relu(-1.5), float)
    assert_type(leaky_relu(-1), float)
    assert_type(leaky_relu(True), float)
    assert_type(leaky_relu(x=-1.5, alpha=np.float32(0.1)), float)
    assert_type(leaky_relu(-1.5, out=None, dtype=None), float)
    assert_type(leaky_relu(np.float16(-1)), np.float16)
    assert_type(leaky_relu(np.float32(-1), 0.1), np.float32)
    assert_type(leaky_relu(np.float64(-1)), np.float64)
    assert_type(leaky_relu(np.longdouble(-1)), np.longdouble)
    assert_type(leaky_relu(np.float32(-1), np.longdouble(0.1)), np.float32)
    assert_type(leaky_relu(number), np.floating[Any])
    assert_type(leaky_relu(np.int8(-1)), np.float64)
    assert_type(leaky_relu(np.uint64(1), alpha=1), np.float64)
    assert_type(leaky_relu(np.bool(True)), np.float64)
    assert_type(leaky_relu(-1.5, dtype=np.float32), np.float32)
    assert_type(leaky_relu(np.int8(-1), dtype=np.float16), np.float16)
    assert_type(leaky_relu(np.float32(-1), dtype=np.dtype(np.float64)), np.float64)
    assert_type(leaky_relu(-1, dtype=float), np.float64)
    assert_type(leaky_relu(-1, dtype=name), Any)


def arrays() -> None:
    assert_type(leaky_relu(half), npt.NDArray[np.float16])
    assert_type(leaky_relu(single), npt.NDArray[np.float32])
    assert_type(leaky_relu(double), npt.NDArray[np.float64])
    assert_type(leaky_relu(wide), npt.NDArray[np.longdouble])
    assert_type(leaky_relu(some), npt.NDArray[np.floating[Any]])
    assert_type(leaky_relu(2 * single[:, np.newaxis]), npt.NDArray[np.float32])
    assert_type(leaky_relu(double.reshape(2, 1) @ double.reshape(1, 2)), npt.NDArray[np.float64])
    assert_type(leaky_relu(whole), npt.NDArray[np.float64])
    assert_type(leaky_relu(truth), npt.NDArray[np.float64])
    assert_type(leaky_relu(masked), np.ma.MaskedArray[tuple[int], np.dtype[np.float32]])
    assert_type(floats(leaky_relu(unknown)), npt.NDArray[np.floating[Any]])
    assert_type(leaky_relu(anything), Any)


def lists() -> None:
    assert_type(leaky_relu([1, 2]), npt.NDArray[np.float64])
    assert_type(leaky_relu([-1, 2.5]), npt.NDArray[np.float64])
    assert_type(leaky_relu((1, 2)), npt.NDArray[np.float64])
    assert_type(leaky_relu([]), npt.NDArray[np.float64])
    assert_type(leaky_relu([True, False]), npt.NDArray[np.float64])
    assert_type(leaky_relu(range(3)), npt.NDArray[np.float64])
    assert_type(leaky_relu([[1, 2], [3, 4.5]]), npt.NDArray[np.float64])
    assert_type(leaky_relu([(1, 2), [3, 4.5]]), npt.NDArray[np.float64])
    assert_type(leaky_relu([[[[1, 2.5]]], [[[3, 4]]]]), npt.NDArray[np.float64])
    assert_type(leaky_relu(sequence), npt.NDArray[np.float64])
    assert_type(leaky_relu(rows), npt.NDArray[np.float64])
    assert_type(leaky_relu([np.float32(-1), np.int8(2), 3]), npt.NDArray[np.float64])
    assert_type(leaky_relu([single, whole]), npt.NDArray[np.float64])
    assert_type(leaky_relu([np.longdouble(-1)]), npt.NDArray[np.floating[Any]])


def slopes() -> None:
    assert_type(leaky_relu(single, 1), npt.NDArray[np.float32])
    assert_type(leaky_relu(single, np.float64(0.1)), npt.NDArray[np.float32])
    assert_type(leaky_relu(single, double), npt.NDArray[np.float32])
    assert_type(leaky_relu(single, alpha=[0.1, 0.2]), npt.NDArray[np.float32])
    assert_type(leaky_relu(single, whole), npt.NDArray[np.float32])
    assert_type(leaky_relu(single, unknown), npt.NDArray[np.float32])
    assert_type(leaky_relu(whole, single), npt.NDArray[np.float64])
    assert_type(leaky_relu([1, 2], single), npt.NDArray[np.float64])
    assert_type(leaky_relu(-1.0, double), npt.NDArray[np.float64])
    assert_type(leaky_relu(-1, single), npt.NDArray[np.float64])
    assert_type(leaky_relu(-1.0, [0.1, 0.2]), npt.NDArray[np.float64])
    assert_type(leaky_relu(np.float32(-1), double), npt.NDArray[np.float32])
    assert_type(leaky_relu(np.float32(-1), (0.1, 0.2)), npt.NDArray[np.float32])
    assert_type(leaky_relu(np.int8(-1), single), npt.NDArray[np.float64])
    assert_type(leaky_relu(-1.0, double, dtype=np.float32), npt.NDArray[np.float32])
    assert_type(leaky_relu(np.float32(-1), [0.1, 0.2], dtype=float), npt.NDArray[np.float64])


def keywords() -> None:
    assert_type(leaky_relu(single, dtype=np.float64), npt.NDArray[np.float64])
    assert_type(leaky_relu(double, dtype=np.float32), npt.NDArray[np.float32])
    assert_type(leaky_relu(whole, 0.1, dtype=np.float32), npt.NDArray[np.float32])
    assert_type(leaky_relu([1, 2], dtype=np.float32), npt.NDArray[np.float32])
    assert_type(leaky_relu(single, dtype=np.dtype(np.float64)), npt.NDArray[np.float64])
    assert_type(leaky_relu(whole, dtype=single.dtype), npt.NDArray[np.float32])
    assert_type(leaky_relu(single, dtype=float), npt.NDArray[np.float64])
    assert_type(leaky_relu(single, dtype="float64"), Any)
    assert_type(leaky_relu(single, dtype=None), npt.NDArray[np.float32])
    assert_type(leaky_relu(whole, out=None), npt.NDArray[np.float64])
    assert_type(leaky_relu(single, signature="dd->d"), Any)
    assert_type(leaky_relu(single, casting="no", order="C", subok=False), npt.NDArray[np.float32])
    assert_type(leaky_relu(single, where=truth, out=None), npt.NDArray[np.float32])
    assert_type(leaky_relu(single, where=[True, False], out=None), npt.NDArray[np.float32])
    assert_type(leaky_relu(single, out=np.empty_like(double)), npt.NDArray[np.float64])
    assert_type(leaky_relu(double, double, out=np.empty_like(single)), npt.NDArray[np.float32])
    assert_type(leaky_relu(whole, out=(np.empty_like(double),)), npt.NDArray[np.float64])
    assert_type(leaky_relu([1, 2], 0.1, out=np.empty_like(double), where=single > 0), npt.NDArray[np.float64])
    assert_type(leaky_relu(-1, out=np.empty_like(double), dtype="float32"), npt.NDArray[np.float64])


def derivative() -> None:
    assert_type(leaky_relu_derivative(-1.5, 0.1), float)
    assert_type(leaky_relu_derivative(np.float32(-1)), np.float32)
    assert_type(leaky_relu_derivative(np.int8(-1)), np.float64)
    assert_type(leaky_relu_derivative(single), npt.NDArray[np.float32])
    assert_type(leaky_relu_derivative(whole), npt.NDArray[np.float64])
    assert_type(leaky_relu_derivative([[1, 2]], [0.1, 0.2]), npt.NDArray[np.float64])
    assert_type(leaky_relu_derivative(-1.0, double), npt.NDArray[np.float64])
    assert_type(leaky_relu_derivative(single, dtype=np.float64), npt.NDArray[np.float64])
    assert_type(leaky_relu_derivative(single, out=np.empty_like(double)), npt.NDArray[np.float64])


def backward_of_numbers() -> None:
    assert_type(leaky_relu_backward(1.0, -2.0), float)
    assert_type(leaky_relu_backward(1, -2, alpha=0.1), float)
    assert_type(leaky_relu_backward(np.float32(1), np.float32(-2)), np.float32)
    assert_type(leaky_relu_backward(grad=np.float32(1), x=-2.0), np.float32)
    assert_type(leaky_relu_backward(1, np.float16(-2)), np.float16)
    assert_type(leaky_relu_backward(np.float64(1), -2), np.float64)
    assert_type(leaky_relu_backward(np.int8(1), np.int8(-2)), np.float64)
    assert_type(leaky_relu_backward(np.int8(1), -2.0), np.float64)
    assert_type(leaky_relu_backward(1, np.bool(True)), np.float64)
    assert_type(leaky_relu_backward(np.int8(1), np.float32(-2)), np.floating[Any])
    assert_type(leaky_relu_backward(np.float16(1), np.int64(-2)), np.floating[Any])
    assert_type(leaky_relu_backward(1.0, -2.0, dtype=np.float32), np.float32)
    assert_type(leaky_relu_backward(np.float32(1), -2.0, dtype=float), np.float64)
    assert_type(leaky_relu_backward(1.0, -2.0, [0.1, 0.2]), npt.NDArray[np.floating[Any]])
    assert_type(leaky_relu_backward(np.float32(1), -2.0, double), npt.NDArray[np.floating[Any]])


def backward_of_arrays() -> None:
    assert_type(leaky_relu_backward(single, single), npt.NDArray[np.float32])
    assert_type(leaky_relu_backward(single, 2 * single, double), npt.NDArray[np.float32])
    assert_type(leaky_relu_backward(wide, wide, [0.1, 0.2]), npt.NDArray[np.longdouble])
    assert_type(leaky_relu_backward(some, some), npt.NDArray[np.floating[Any]])
    assert_type(leaky_relu_backward(single, -2.0), npt.NDArray[np.float32])
    assert_type(leaky_relu_backward(1, half), npt.NDArray[np.float16])
    assert_type(leaky_relu_backward(single, np.float32(-2)), npt.NDArray[np.float32])
    assert_type(leaky_relu_backward(np.float32(1), single), npt.NDArray[np.float32])
    assert_type(floats(leaky_relu_backward(single, double)), npt.NDArray[np.floating[Any]])
    assert_type(floats(leaky_relu_backward(half, single)), npt.NDArray[np.floating[Any]])
    assert_type(floats(leaky_relu_backward(single, np.float64(-2))), npt.NDArray[np.floating[Any]])
    assert_type(leaky_relu_backward(whole, whole), npt.NDArray[np.float64])
    assert_type(leaky_relu_backward(truth, [1, 2]), npt.NDArray[np.float64])
    assert_type(leaky_relu_backward([1.0, 2.0], [[1], [2]]), npt.NDArray[np.float64])
    assert_type(leaky_relu_backward(whole, -2.0), npt.NDArray[np.float64])
    assert_type(leaky_relu_backward(np.int64(1), [1, 2]), npt.NDArray[np.float64])
    assert_type(leaky_relu_backward(1.0, whole), npt.NDArray[np.float64])
    assert_type(leaky_relu_backward(single, whole), npt.NDArray[np.floating[Any]])
    assert_type(leaky_relu_backward([1, 2], single), npt.NDArray[np.floating[Any]])
    assert_type(leaky_relu_backward(single, np.int64(-2)), npt.NDArray[np.floating[Any]])
    assert_type(leaky_relu_backward(whole, np.float32(-2)), npt.NDArray[np.floating[Any]])
    assert_type(floats(leaky_relu_backward(unknown, single)), npt.NDArray[np.floating[Any]])
    assert_type(leaky_relu_backward(anything, single), Any)


def backward_with_keywords() -> None:
    assert_type(leaky_relu_backward(single, single, dtype=np.float64), npt.NDArray[np.float64])
    assert_type(leaky_relu_backward(1.0, whole, 0.1, dtype=np.float32), npt.NDArray[np.float32])
    assert_type(leaky_relu_backward([1, 2], double, dtype=np.dtype(np.float32)), npt.NDArray[np.float32])
    assert_type(leaky_relu_backward(single, 1, dtype=float), npt.NDArray[np.float64])
    assert_type(leaky_relu_backward(1, single, dtype=float), npt.NDArray[np.float64])
    assert_type(leaky_relu_backward(single, single, dtype="float64"), Any)
    assert_type(leaky_relu_backward(single, single, signature="ddd->d"), Any)
    assert_type(leaky_relu_backward(single, single, out=None, dtype=None), npt.NDArray[np.float32])
    assert_type(leaky_relu_backward(single, single, where=single > 0, out=None), npt.NDArray[np.float32])
    assert_type(leaky_relu_backward(single, double, out=np.empty_like(single)), npt.NDArray[np.float32])
    assert_type(leaky_relu_backward(1, [1, 2], out=(np.empty_like(double),)), npt.NDArray[np.float64])


def slope_gradient() -> None:
    assert_type(leaky_relu_slope_gradient(1, -2), float)
    assert_type(leaky_relu_slope_gradient(single, single), np.float32)
    assert_type(leaky_relu_slope_gradient(half, half, axis=None, keepdims=False), np.float16)
    assert_type(leaky_relu_slope_gradient(single, single, axis=0), npt.NDArray[np.float32] | np.float32)
    assert_type(leaky_relu_slope_gradient(double, double, axis=(0,)), npt.NDArray[np.float64] | np.float64)
    assert_type(leaky_relu_slope_gradient(double, double, keepdims=True), npt.NDArray[np.float64] | np.float64)
    assert_type(leaky_relu_slope_gradient([1, 2], single), Any)
    assert_type(leaky_relu_slope_gradient(1.0, [[1], [2]], axis=np.int64(0)), Any)


def introspection() -> None:
    assert_type(leaky_relu_slope_gradient.__name__, str)
    assert_type(leaky_relu.__name__, str)
    assert_type(leaky_relu_derivative.__qualname__, str)
    assert_type(leaky_relu_backward.__name__, str)

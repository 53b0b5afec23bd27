"""numba: a compiled ufunc on one core, and parallel loops on all of them."""

from collections.abc import Iterator

import numba
import numpy as np

from benchmarks.cells import Arrays
from benchmarks.contenders import Offer
from benchmarks.machine import usable_cores

numba.set_num_threads(min(usable_cores(), numba.config.NUMBA_NUM_THREADS))

_TYPES = ("float32", "float64", "int32")  # numba has no float16 and bfloat16 on processors


@numba.vectorize(["float32(float32, float32)", "float64(float64, float64)", "float64(int32, float64)"])
def _relu(x, a):  # noqa: ANN001, ANN202  # numba infers them
    return x if x >= 0 else a * x


@numba.vectorize(
    ["float32(float32, float32, float32)", "float64(float64, float64, float64)", "float64(int32, float64, float64)"]
)
def _derivative(x, one, a):  # noqa: ANN001, ANN202  # likewise
    return one if x >= 0 else a


@numba.vectorize(["float32(float32, float32, float32)", "float64(float64, float64, float64)"])
def _backward(grad, x, a):  # noqa: ANN001, ANN202  # likewise
    return grad if x >= 0 else a * grad


@numba.njit(parallel=True)
def _parallel_relu(x, a, out):  # noqa: ANN001, ANN202  # likewise
    for i in numba.prange(x.size):
        out[i] = x[i] if x[i] >= 0 else a * x[i]


@numba.njit(parallel=True)
def _parallel_derivative(x, one, a, out):  # noqa: ANN001, ANN202  # likewise
    for i in numba.prange(x.size):
        out[i] = one if x[i] >= 0 else a


@numba.njit(parallel=True)
def _parallel_backward(grad, x, a, out):  # noqa: ANN001, ANN202  # likewise
    for i in numba.prange(x.size):
        out[i] = grad[i] if x[i] >= 0 else a * grad[i]


def offers(arrays: Arrays, slope: float) -> Iterator[Offer]:
    if arrays.cell.type not in _TYPES:
        return
    x, grad, out = arrays.x, arrays.grad, arrays.out
    result = arrays.cell.result_dtype
    one, a = result.type(1), result.type(slope)
    yield Offer(
        "numba vectorize",
        "peer",
        {
            "out": lambda: _relu(x, a, out),
            "new": lambda: _relu(x, a),
            "inplace": lambda: _relu(x, a, x),
            "derivative": lambda: _derivative(x, one, a, out),
            "backward": lambda: _backward(grad, x, a, out),
        },
    )

    def new() -> object:
        y = np.empty(x.shape, result)
        _parallel_relu(x, a, y)
        return y

    yield Offer(
        "numba parallel",
        "peer",
        {
            "out": lambda: _parallel_relu(x, a, out),
            "new": new,
            "inplace": lambda: _parallel_relu(x, a, x),
            "derivative": lambda: _parallel_derivative(x, one, a, out),
            "backward": lambda: _parallel_backward(grad, x, a, out),
        },
    )

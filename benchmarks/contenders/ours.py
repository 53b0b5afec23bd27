"""leakyrelu, with all threads and with one; and its copy, which is the kernel without its arithmetic."""

from collections.abc import Iterator

import numpy as np

import leakyrelu
from benchmarks.cells import Arrays
from benchmarks.contenders import Offer
from benchmarks.streaming_copy import streaming_copy
from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative

OURS, ONE_THREAD = "leakyrelu", "leakyrelu, 1 thread"


def offers(arrays: Arrays, slope: float) -> Iterator[Offer]:
    x, grad, out = arrays.x, arrays.grad, arrays.out
    source, target = arrays.source, arrays.target
    calls = {
        "out": lambda: leaky_relu(x, slope, out=out),
        "new": lambda: leaky_relu(x, slope),
        "inplace": lambda: leaky_relu(x, slope, out=x),
        "derivative": lambda: leaky_relu_derivative(x, slope, out=out),
        "backward": lambda: leaky_relu_backward(grad, x, slope, out=out),
    }
    yield Offer(OURS, "ours", calls)
    yield Offer(ONE_THREAD, "ours", calls, lambda: leakyrelu.num_threads(1))

    def copy() -> None:
        streaming_copy(target, source)

    def new_copy() -> object:
        new = np.empty_like(source)
        streaming_copy(new, source)
        return new

    yield Offer("streaming copy", "limit", dict.fromkeys(calls, copy) | {"new": new_copy})

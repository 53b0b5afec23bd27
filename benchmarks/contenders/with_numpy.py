"""NumPy: the textbook line, the maximum that many use instead, and NumPy's copy."""

from collections.abc import Iterator

import numpy as np

from benchmarks.cells import OPERATIONS, Arrays
from benchmarks.contenders import Offer

TEXTBOOK = "np.where"


def offers(arrays: Arrays, slope: float) -> Iterator[Offer]:
    x, grad, out = arrays.x, arrays.grad, arrays.out
    source, target = arrays.source, arrays.target
    # They have the type of the result: with a Python float, bfloat16 would become float32.
    one, a = arrays.cell.result_dtype.type(1), arrays.cell.result_dtype.type(slope)

    def textbook() -> object:
        return np.where(x >= 0, x, a * x)

    def maximum() -> object:
        np.multiply(x, a, out=out)
        return np.maximum(x, out, out=out)

    yield Offer(
        TEXTBOOK,
        "peer",
        {
            "out": textbook,  # it has no out=
            "new": textbook,
            "inplace": lambda: np.copyto(x, np.where(x >= 0, x, a * x)),
            "derivative": lambda: np.where(x >= 0, one, a),
            "backward": lambda: np.where(x >= 0, grad, a * grad),
        },
    )
    yield Offer(
        "np.maximum",
        "peer",
        {
            "out": maximum,
            "new": lambda: np.maximum(x, a * x),
            "inplace": lambda: np.maximum(x, a * x, out=x),
        },
    )
    yield Offer("np.multiply, where=", "peer", {"inplace": lambda: np.multiply(x, a, out=x, where=x < 0)})
    yield Offer(
        "np.copyto", "limit", dict.fromkeys(OPERATIONS, lambda: np.copyto(target, source)) | {"new": source.copy}
    )

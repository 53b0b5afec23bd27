"""numexpr on all cores, with its expressions compiled beforehand."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numexpr
import numpy as np

from benchmarks.cells import Arrays
from benchmarks.contenders import Offer
from benchmarks.machine import usable_cores

numexpr.set_num_threads(usable_cores())

# numexpr's names for the types; it has no 16-bit floats.
_KINDS = {"float32": float, "float64": np.float64, "int32": np.int32}


def offers(arrays: Arrays, slope: float) -> Iterator[Offer]:
    if arrays.cell.type not in _KINDS:
        return
    x, grad, out = arrays.x, arrays.grad, arrays.out
    one, a = arrays.cell.result_dtype.type(1), arrays.cell.result_dtype.type(slope)
    kind, slope_kind = _KINDS[arrays.cell.type], _KINDS[arrays.cell.result_dtype.name]
    relu = _compiled("where(x >= 0, x, a * x)", x=kind, a=slope_kind)
    derivative = _compiled("where(x >= 0, one, a)", x=kind, one=slope_kind, a=slope_kind)
    backward = _compiled("where(x >= 0, grad, a * grad)", x=kind, grad=kind, a=slope_kind)
    plain = {"ex_uses_vml": False}
    yield Offer(
        "numexpr",
        "peer",
        {
            "out": lambda: relu(x, a, out=out, **plain),
            "new": lambda: relu(x, a, **plain),
            "inplace": lambda: relu(x, a, out=x, **plain),
            "derivative": lambda: derivative(x, one, a, out=out, **plain),
            "backward": lambda: backward(x, grad, a, out=out, **plain),
        },
    )


@cache
def _compiled(expression: str, **kinds: type) -> Any:
    return numexpr.NumExpr(expression, signature=list(kinds.items()))

"""How an array's products are rounded, what is expected of an array, and what mistakes of rounding give."""

from typing import Any

import numpy as np

from leakyrelu.check.families import Mistake

__all__ = ["ROUNDING_MISTAKES", "precision", "right_array", "round_once", "slope_for"]


def right_array(x: Any, slope: float, *, derivative: bool) -> Any:
    """The right answer for an array or what stands for one: the exact product, rounded once."""
    x = np.asarray(x)
    if x.dtype.kind in "biu":
        x = x.astype(np.float64)
    with np.errstate(all="ignore"):
        if derivative:
            return np.where(x >= 0, x.dtype.type(1), np.float64(slope)).astype(x.dtype)
        product = slope_for(x.dtype, slope) * x.astype(np.float64)  # exact, except for float64 itself
        return np.where(x >= 0, x, round_once(product, x.dtype))


def slope_for(kind: Any, slope: float) -> Any:
    """The slope as an array of a type takes it: as float64 for float64, as float32 for types with fewer digits."""
    return np.float64(slope if kind == np.float64 else np.float32(slope))


def round_once(exact: Any, kind: Any) -> Any:
    """Round float64 to the nearest number of another type."""
    return _to_bfloat16(exact, kind) if kind.name == "bfloat16" else exact.astype(kind)


def _to_bfloat16(exact: Any, dtype: Any) -> Any:
    """Round to float32 first, but to the odd neighbour: this tells the second rounding on which side the rest was."""
    single = exact.astype(np.float32)
    bits = single.view(np.uint32) - (np.abs(single) > np.abs(exact))
    bits |= single != exact
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    result = nearest.astype(np.uint16).view(dtype)
    return np.where(np.isfinite(single), result, single.astype(dtype))


def precision(kind: Any) -> float:
    """The distance from 1 to the next number of a type."""
    return 2.0**-7 if np.dtype(kind).name == "bfloat16" else float(np.finfo(kind).eps)


# These are computed in the type of the array.
ROUNDING_MISTAKES: tuple[Mistake, ...] = (
    (
        "it multiplies in float32, which has seven digits: keep float64",
        lambda x, a, given: np.where(x >= 0, x, np.float32(a) * x.astype(np.float32)),
    ),
    (
        "it works in float32, which has seven digits: keep float64",
        lambda x, a, given: np.where(x >= 0, x.astype(np.float32), np.float32(a) * x.astype(np.float32)),
    ),
    (
        "alpha is taken in 16 bits, which have two or three digits: take it as float32, and round the product",
        lambda x, a, given: np.where(x >= 0, x, x.dtype.type(a) * x),
    ),
    (
        "the product is rounded twice, to float32 and then to 16 bits: compute it in float64 and round once",
        lambda x, a, given: np.where(x >= 0, x, (np.float32(a) * x.astype(np.float32)).astype(x.dtype)),
    ),
    (
        "the product is computed with alpha in float64: take alpha as float32",
        lambda x, a, given: np.where(x >= 0, x, np.float64(a) * x.astype(np.float64)).astype(x.dtype),
    ),
    (
        "alpha is taken as float32, which has seven digits: take it as float64",
        lambda x, a, given: np.where(x >= 0, x, (np.float64(np.float32(a)) * x.astype(np.float64)).astype(x.dtype)),
    ),
    (
        "subnormal numbers are flushed to zero: keep them",
        lambda x, a, given: _flushed(np.where(x >= 0, _flushed(x), a * _flushed(x))),
    ),
    ("subnormal results are flushed to zero: keep them", lambda x, a, given: _flushed(np.where(x >= 0, x, a * x))),
)


def _flushed(x: Any) -> Any:
    if x.dtype.kind != "f":  # bfloat16: NumPy does not know its smallest normal number
        return x
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, np.copysign(0, x), x).astype(x.dtype)

"""Arithmetic that works on a number with the standard library alone, and on an array with NumPy.

No function of a number raises an exception: what has no value is NaN, and what is too large is infinite, as in NumPy.
"""

import math
import struct
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = [
    "Formula",
    "ceil",
    "clip",
    "divide",
    "exp",
    "expm1",
    "floor",
    "floor_divide",
    "in_single",
    "isnan",
    "logaddexp",
    "maximum",
    "minimum",
    "nearest",
    "power",
    "remainder",
    "round_to",
    "tanh",
    "trunc",
    "where",
]

Formula = Callable[[Any, Any, bool], Any]  # of x, the slope, and whether the slope was given
Function = Callable[..., Any]


def _function(name: str, of_numbers: Function) -> Function:
    """NumPy's function of that name for arrays, and the other one for numbers."""

    def function(*values: Any) -> Any:
        if any(hasattr(value, "dtype") for value in values):
            return getattr(import_module("numpy"), name)(*values)
        try:
            result = of_numbers(*values)
        except ArithmeticError:  # a division by zero, or a power that is too large
            return math.nan
        return math.nan if isinstance(result, complex) else result

    return function


def _cut(by: Callable[[float], int]) -> Callable[[float], float]:
    return lambda x: math.copysign(by(x), x) if math.isfinite(x) else x


def _exponential(of: Callable[[float], float]) -> Callable[[float], float]:
    return lambda x: math.inf if x > 709 else of(x)


def _single(x: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", x))[0])
    except OverflowError:
        return math.copysign(math.inf, x)


where = _function("where", lambda condition, one, other: one if condition else other)
maximum = _function("maximum", lambda a, b: a if a > b or a != a else b)  # noqa: PLR0124  # NaN
minimum = _function("minimum", lambda a, b: a if a < b or a != a else b)  # noqa: PLR0124  # NaN
clip = _function("clip", lambda x, low, high: min(max(x, low), high))
isnan = _function("isnan", math.isnan)
divide = _function("divide", lambda a, b: a / b)
floor_divide = _function("floor_divide", lambda a, b: a // b)
remainder = _function("remainder", lambda a, b: a % b)
power = _function("power", lambda a, b: a**b)
exp = _function("exp", _exponential(math.exp))
expm1 = _function("expm1", _exponential(math.expm1))
logaddexp = _function("logaddexp", lambda a, b: max(a, b) + math.log1p(exp(-abs(a - b))))
tanh = _function("tanh", math.tanh)
trunc = _function("trunc", _cut(math.trunc))
floor = _function("floor", _cut(math.floor))
ceil = _function("ceil", _cut(math.ceil))
nearest = _function("rint", _cut(round))
round_to = _function("round", round)


def in_single(x: Any) -> Any:
    """The number or the array in float32; a number stays a float."""
    return x.astype("float32") if hasattr(x, "dtype") else _single(x)

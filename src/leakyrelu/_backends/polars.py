"""Columns, frames and expressions of polars: computed by polars, so that lazy ones stay lazy and null stays null."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import numpy as np
import polars as pl

from leakyrelu._backends.operands import not_real

__all__ = ["compute"]

_NUMBERS = (float, int, np.generic)
_HALF = getattr(pl, "Float16", None)  # only newer versions have it


def compute(function: str, values: tuple[Any, ...], alpha: Any) -> Any:
    """Compute one of the three functions: what is null in an operand is null in the result."""
    operands = (*values, alpha)
    frames = [each for each in operands if isinstance(each, pl.DataFrame | pl.LazyFrame)]
    if not frames:
        return _on_columns(function, operands)
    first = frames[0]
    others = [each for each in operands if each is not first]
    if isinstance(first, pl.LazyFrame) and all(isinstance(each, (*_NUMBERS, pl.Expr)) for each in others):
        return first.select(_on_columns(function, [pl.all() if each is first else each for each in operands]))
    if isinstance(first, pl.DataFrame) and all(isinstance(each, (*_NUMBERS, pl.DataFrame)) for each in others):
        columns = []
        for name in first.columns:
            of_one = [each[name] if isinstance(each, pl.DataFrame) else each for each in operands]
            columns.append(_on_columns(function, of_one))
        return pl.DataFrame(columns)
    kinds = " and ".join(type(each).__name__ for each in operands)
    raise TypeError(
        f"{function} takes a frame together with numbers, and a DataFrame with other DataFrames, got {kinds}; "
        'give it columns or expressions instead, such as pl.col("x")'
    )


def _on_columns(function: str, operands: Sequence[Any]) -> Any:
    """An expression if one of the operands is one, else a column."""
    given = [each if isinstance(each, (*_NUMBERS, pl.Expr)) else pl.Series(each) for each in operands]
    columns = [each for each in given if isinstance(each, pl.Series)]
    halves = {each.dtype for each in given[:-1] if isinstance(each, pl.Series)} == {_HALF}
    *values, alpha = (_wide(each) if isinstance(each, pl.Series) else each for each in given)
    x = values[-1]
    if isinstance(alpha, pl.Series) and isinstance(x, pl.Series):
        alpha = alpha.cast(x.dtype)  # floats keep their type, whatever that of the slopes
    slope = float(alpha) if isinstance(alpha, _NUMBERS) else _expression(alpha)
    result = _FORMULAS[function](*map(_expression, values), slope)
    if any(isinstance(each, pl.Expr) for each in given):
        return result
    column = pl.select(result).to_series().rename(columns[0].name)
    return column.cast(_HALF) if halves else column


def _wide(column: pl.Series) -> pl.Series:
    """Float32 and Float64 as they are; Float16, bools, integers and decimals as Float64."""
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        raise not_real(column)
    return column if column.dtype in (pl.Float32, pl.Float64) else column.cast(pl.Float64)


def _expression(operand: Any) -> pl.Expr:
    if isinstance(operand, pl.Expr):
        return operand
    return pl.lit(float(operand) if isinstance(operand, _NUMBERS) else operand)


def _leaky_relu(x: pl.Expr, alpha: Any) -> pl.Expr:
    return _scaled(x, x, alpha)


def _derivative(x: pl.Expr, alpha: Any) -> pl.Expr:
    return _scaled(x**0, x, alpha)


def _backward(grad: pl.Expr, x: pl.Expr, alpha: Any) -> pl.Expr:
    return _scaled(grad * x**0, x, alpha)


def _scaled(values: pl.Expr, x: pl.Expr, alpha: Any) -> pl.Expr:
    """The values where `x` is at least zero, times the slope elsewhere.

    A zeroth power is 1 for every number, infinities and NaN included, and null for null. In polars NaN is larger than
    infinity.
    """
    right = values if isinstance(alpha, float) else values * alpha**0
    return pl.when((x >= 0) & (x <= inf)).then(right).otherwise(alpha * values)


_FORMULAS: dict[str, Callable[..., pl.Expr]] = {
    "leaky_relu": _leaky_relu,
    "leaky_relu_derivative": _derivative,
    "leaky_relu_backward": _backward,
}

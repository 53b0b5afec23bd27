"""Columns and frames of pandas: missing values stay missing, and columns keep their types.

By NumPy's ufunc protocol alone, pandas hands over NaN in place of a value that is missing in a column of Arrow, and the
derivative at NaN is a number. Of a frame of several types it makes one array, and it fills the gaps of sparse columns.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray
from pandas.api.types import is_numeric_dtype

from leakyrelu import _ufuncs
from leakyrelu._backends.operands import not_real

__all__ = ["compute"]


def compute(function: str, values: tuple[Any, ...], alpha: Any) -> Any:
    """Compute one of the three functions: what is missing in an operand is missing in the result."""
    operands = [np.asarray(each) if isinstance(each, list | tuple) else each for each in (*values, alpha)]
    places = [i for i, each in enumerate(operands) if np.ndim(each) > 0]
    arrays = [operands[i] for i in places]
    frames = [each for each in arrays if isinstance(each, pd.DataFrame)]
    if frames and any(isinstance(each, pd.Series) for each in arrays):
        raise TypeError(
            f"{function} takes a DataFrame together with numbers, arrays and other DataFrames, got a Series, which may "
            "belong to the rows or to the columns; write x.to_numpy()[:, None] or x.to_numpy()"
        )
    if len(arrays) > 1 and any(map(_has_mixed_types, frames)):
        return _by_columns(function, operands, frames)
    ufunc = getattr(_ufuncs, function)

    def with_arrays(*arrays: Any) -> Any:
        given = dict(zip(places, arrays, strict=True))
        return ufunc(*(given.get(i, operand) for i, operand in enumerate(operands)))

    stand_in = _StandIn(function, len(arrays), partial(_on_arrays, with_arrays))
    labelled = [each for kind in ((pd.DataFrame, pd.Series), pd.Index) for each in arrays if isinstance(each, kind)]
    if not labelled:
        return stand_in(*arrays)
    result = labelled[0].__array_ufunc__(stand_in, "__call__", *arrays)
    return ufunc(*operands) if result is NotImplemented else result


def _has_mixed_types(frame: pd.DataFrame) -> bool:
    return len({*frame.dtypes}) > 1 or any(not isinstance(dtype, np.dtype) for dtype in frame.dtypes)


def _by_columns(function: str, operands: list[Any], frames: list[pd.DataFrame]) -> pd.DataFrame:
    shape = reduce(lambda one, other: one.align(other)[0], frames)
    operands = [shape.align(each)[1] if isinstance(each, pd.DataFrame) else each for each in operands]

    def column(operand: Any, i: int) -> Any:
        if isinstance(operand, pd.DataFrame):
            return operand.iloc[:, i]
        return operand if np.ndim(operand) == 0 else np.broadcast_to(operand, shape.shape)[:, i]

    columns = {}
    for i in range(shape.shape[1]):
        *values, alpha = (column(each, i) for each in operands)
        columns[i] = compute(function, tuple(values), alpha)
    return pd.concat(columns, axis=1).set_axis(shape.columns, axis=1)


class _StandIn:
    """What pandas takes for a ufunc: it aligns the operands, as the protocol asks, and calls this with bare arrays.

    Numbers are no operands of such a call. So most calls have one operand, and these pandas applies to a frame column
    by column.
    """

    nout = 1

    def __init__(self, name: str, nin: int, call: Callable[..., Any]) -> None:
        self.__name__ = name
        self.nin = nin
        self._call = call

    def __call__(self, *arrays: Any) -> Any:
        return self._call(*arrays)


def _on_arrays(call: Callable[..., Any], *arrays: Any) -> Any:
    """Call with arrays that have numbers; where one of them has NA, the result has NA."""
    numbers = [*map(_numbers, arrays)]
    if len(numbers) == 1 and isinstance(numbers[0], pd.arrays.SparseArray):
        # pandas calls this with the values that are stored, and with the one that is not: the gaps stay gaps.
        return numbers[0].__array_ufunc__(_StandIn(call.__name__, 1, call), "__call__", numbers[0])
    result = call(*numbers)
    missing = np.broadcast_to(reduce(np.logical_or, map(_is_missing, numbers)), result.shape)
    if isinstance(result, np.ndarray) and any(map(_has_missing_values, numbers)):  # pandas before 3, from Arrow's
        result[missing] = np.nan
        return pd.array(result, dtype=f"{result.dtype}[pyarrow]")
    if np.any(missing & ~_is_missing(result)):
        result[missing] = pd.NA
    return result


def _numbers(array: Any) -> Any:
    """An array that the ufunc understands. Arrow's bools and decimals become floats."""
    if isinstance(array, pd.Index):
        array = array.to_numpy() if isinstance(array.dtype, np.dtype) else array.array
    if array.dtype == object:
        raise not_real(array, "give them a type first, with x.convert_dtypes() or x.astype(float)")
    is_arrow = isinstance(array.dtype, pd.ArrowDtype)
    if is_arrow and (array.dtype.kind == "b" or (array.dtype.kind == "O" and is_numeric_dtype(array.dtype))):
        return array.astype("double[pyarrow]")
    if isinstance(array, ExtensionArray) and not is_numeric_dtype(array.dtype):
        raise not_real(array)
    return array


def _has_missing_values(array: Any) -> bool:
    """Whether its type has pandas' NA. NaN is a number like others, except where pandas takes it for NA."""
    return getattr(array.dtype, "na_value", None) is pd.NA


def _is_missing(array: Any) -> Any:
    return array.isna() if _has_missing_values(array) else np.bool(False)

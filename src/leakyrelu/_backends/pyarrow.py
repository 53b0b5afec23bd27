"""Arrays of Arrow: computed by NumPy with masked arrays, so that what is null stays null."""

from typing import Any

import numpy as np
import pyarrow as pa

from leakyrelu import _ufuncs

__all__ = ["compute"]


def compute(function: str, values: tuple[Any, ...], alpha: Any) -> Any:
    """Compute one of the three functions: what is null in an operand is null in the result."""
    operands = (*values, alpha)
    if isinstance(alpha, pa.Array | pa.ChunkedArray) and pa.types.is_boolean(alpha.type):
        raise TypeError("alpha must be real, got bool; convert it to floats if it holds slopes")
    result = np.ma.asarray(getattr(_ufuncs, function)(*map(_masked, operands)))
    column = pa.array(result.data, mask=np.ma.getmaskarray(result))
    return pa.chunked_array([column]) if any(isinstance(each, pa.ChunkedArray) for each in operands) else column


def _masked(operand: Any) -> Any:
    """A column as a masked array; everything else as it is."""
    if isinstance(operand, pa.Table | pa.RecordBatch):
        kind = type(operand).__name__
        raise TypeError(f'columns are wanted, got a {kind}; give them one by one, for example x["a"]')
    if not isinstance(operand, pa.Array | pa.ChunkedArray):
        return operand
    kind, column = operand.type, operand
    if pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise TypeError(f"real numbers are wanted, got {type(operand).__name__} of type {kind}; convert them first")
    return np.ma.array(np.asarray(column), mask=np.asarray(column.is_null()))

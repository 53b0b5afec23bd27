"""Arrays of other libraries: each is computed by the library that it belongs to.

No library is imported here. A library is asked only if the program has imported it already.
"""

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

__all__ = ["Backend", "Compute", "backend_of", "backend_of_columns", "has_columns_of_arrow"]

# Takes the name of one of the three functions that work number by number, the numbers, and the slope or slopes.
Compute: TypeAlias = Callable[[str, tuple[Any, ...], Any], Any]

# Libraries of columns: their classes, and the module here that computes with them. An operand of the first one decides.
_COLUMNS = (
    ("dask.dataframe", ("Series", "DataFrame", "Index"), "dask"),
    ("polars", ("Series", "DataFrame", "LazyFrame", "Expr"), "polars"),
    ("pandas", ("Series", "DataFrame", "Index"), "pandas"),
    ("pandas.api.extensions", ("ExtensionArray",), "pandas"),
    ("pyarrow", ("Array", "ChunkedArray", "Table", "RecordBatch"), "pyarrow"),
)
_NO_COLUMNS = (np.ndarray, np.generic, float, int, list, tuple)


class Backend(Protocol):
    """A module of this package."""

    def compute(self, function: str, values: tuple[Any, ...], alpha: Any) -> Any:
        """Compute a function of this name, of the values and of a slope or several."""

    def slope_gradient(self, values: tuple[Any, ...], axis: Any, keepdims: bool) -> Any:
        """The gradient with respect to the slope, of the values `grad` and `x`."""


def backend_of(value: Any) -> Backend | None:
    """The module that computes with a value's own library; None if NumPy computes."""
    if isinstance(value, np.ndarray | np.generic):
        return None
    # getattr, as another thread may be importing the library just now: then the name may still be missing.
    if isinstance(value, getattr(sys.modules.get("torch"), "Tensor", ())):
        from leakyrelu._backends import torch

        return torch
    if isinstance(value, getattr(sys.modules.get("jax"), "Array", ())):
        from leakyrelu._backends import jax

        return jax
    if hasattr(value, "__array_namespace__"):
        from leakyrelu._backends import array_api

        return array_api
    return None


def has_columns_of_arrow(operands: Iterable[Any]) -> bool:
    """Whether a column of pandas among them is stored by Arrow. Its missing values are NaN for NumPy's protocol."""
    types = [getattr(each, "dtypes", None) for each in operands]
    return any(type(each).__name__ == "ArrowDtype" for some in types for each in getattr(some, "values", [some]))


def backend_of_columns(operands: Iterable[Any]) -> Compute | None:
    """The function that computes with columns, whose values may be missing; None if there are no columns."""
    operands = [each for each in operands if not isinstance(each, _NO_COLUMNS)]
    for library, names, ours in _COLUMNS if operands else ():
        module = sys.modules.get(library)
        if module is None:
            continue
        kinds = tuple(getattr(module, name) for name in names if hasattr(module, name))
        if any(isinstance(each, kinds) for each in operands):
            return cast("Compute", import_module(f"leakyrelu._backends.{ours}").compute)
    return None

"""Arrays of other libraries: each is computed by the library that it belongs to.

No library is imported here. A library is asked only if the program has imported it already.
"""

import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, TypeAlias, cast

import numpy as np

__all__ = ["Compute", "backend_of", "backend_of_columns"]

# Takes the name of one of the library's three functions, the numbers that it works on, and the slope or slopes.
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


def backend_of(value: Any) -> Compute | None:
    """The function that computes with a value's own library; None if NumPy's ufunc computes."""
    if isinstance(value, np.ndarray | np.generic):
        return None
    # getattr, as another thread may be importing the library just now: then the name may still be missing.
    if isinstance(value, getattr(sys.modules.get("torch"), "Tensor", ())):
        from leakyrelu._backends.torch import compute
    elif isinstance(value, getattr(sys.modules.get("jax"), "Array", ())):
        from leakyrelu._backends.jax import compute
    elif hasattr(value, "__array_namespace__"):
        from leakyrelu._backends.array_api import compute
    else:
        return None
    return compute


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

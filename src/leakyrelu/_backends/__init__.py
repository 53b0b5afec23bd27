"""Arrays of PyTorch, JAX and the array API: each is computed by the library that it belongs to.

No library is imported here. A library is asked only if the program has imported it already.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Compute", "backend_of"]

# Takes the name of one of the library's three functions, the numbers that it works on, and the slope or slopes.
Compute: TypeAlias = Callable[[str, tuple[Any, ...], Any], Any]


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

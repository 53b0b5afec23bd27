"""Types of the compiled module."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., Any])

instruction_set: Final[str]
leaky_relu: Final[np.ufunc]
leaky_relu_derivative: Final[np.ufunc]
leaky_relu_backward: Final[np.ufunc]

def count(
    number: int,
    values: int,
    rows: int,
    units: int,
    positions: int,
    kept: int,
    kept_rows: int,
    threshold: float,
    slope: float,
    fired: int,
    below: int,
    maximum: int,
    magnitude: int,
    /,
) -> bool: ...
def direct(function: _Function, /) -> _Function: ...
def get_num_threads() -> int: ...
def slope_gradient(number: int, grad: NDArray[Any], x: NDArray[Any], result: NDArray[Any], /) -> None: ...
def set_num_threads(count: int, /) -> None: ...
def set_threading_threshold(size: int, /) -> int: ...
def set_streaming_threshold(size: int, /) -> int: ...

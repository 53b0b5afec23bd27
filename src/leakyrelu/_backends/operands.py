"""Checks the operands of a call, and converts them to arrays of one library."""

from collections.abc import Callable
from typing import Any

__all__ = ["not_real", "of_one_library"]


def of_one_library(
    values: tuple[Any, ...], kind: type, floats: Callable[[Any], Any], asarray: Callable[..., Any]
) -> tuple[Any, ...]:
    """All values as arrays of one library.

    `floats` makes an array of floats of an array of bools or integers. Python numbers and lists take the type that the
    array beside them has then, so that 0.5 beside integers stays 0.5.
    """
    values = tuple(floats(value) if isinstance(value, kind) else value for value in values)
    array: Any = next(value for value in values if isinstance(value, kind))
    for value in values:
        if not isinstance(value, (kind, float, int, list, tuple)):
            mine, other = type(array).__name__, type(value).__name__
            raise TypeError(f"grad and x must be arrays of one library, got {mine} and {other}; convert one of them")
    return tuple(value if isinstance(value, kind) else asarray(value, dtype=array.dtype) for value in values)


def not_real(value: Any, advice: str = "convert them first") -> TypeError:
    """The error for an array of complex numbers and the like."""
    return TypeError(f"real numbers are wanted, got {value.dtype}; {advice}")

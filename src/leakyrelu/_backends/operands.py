"""Checks the operands of a call, and converts them to arrays of one library."""

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["not_real", "of_one_library", "slopes_of_another_library"]

# How x becomes an array of a library, by the library's package.
_CONVERSIONS = {"torch": "torch.as_tensor(x)", "jax": "jax.numpy.asarray(x)", "jaxlib": "jax.numpy.asarray(x)"}


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


def slopes_of_another_library(alpha: Any, x: Any, library: str, convert: Callable[[Any], Any]) -> Any:
    """The slopes as the library takes them that computes. What it cannot read are slopes that are learned elsewhere.

    Raises
    ------
    TypeError
        The library of `x` cannot read them: such as a tensor that requires a gradient, or an array that JAX traces.
    """
    try:
        return convert(alpha)
    except (AttributeError, RuntimeError, TypeError) as error:
        if isinstance(alpha, np.ndarray | np.generic | list | tuple):
            raise
        kind = type(alpha)
        same = _CONVERSIONS.get(kind.__module__.partition(".")[0], f"x as an array of the library of {kind.__name__}")
        reason = str(error).partition("\n")[0].rstrip(".")
        raise TypeError(
            f"x decides which library computes: x is of type {type(x).__name__}, so {library} computes, and it cannot "
            f"read slopes of type {kind.__name__} ({reason}); to learn the slopes, give {same}; to keep them fixed, "
            "give an array of NumPy"
        ) from error


def not_real(value: Any, advice: str = "convert them first") -> TypeError:
    """The error for an array of complex numbers and the like."""
    return TypeError(f"real numbers are wanted, got {value.dtype}; {advice}")

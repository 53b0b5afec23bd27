"""Any array that follows the array API: `where(x >= 0, x, alpha * x)` in its own namespace."""

from collections.abc import Callable
from functools import partial
from typing import Any

from leakyrelu._backends.operands import not_real, of_one_library

__all__ = ["FORMULAS", "compute", "floating", "floats"]


def compute(function: str, values: tuple[Any, ...], alpha: Any) -> Any:
    """Compute one of the three functions in the namespace of the first array among the values."""
    array = next(value for value in values if hasattr(value, "__array_namespace__"))
    xp = array.__array_namespace__()
    asarray = partial(xp.asarray, device=array.device)
    values = floating(xp, of_one_library(values, type(array), partial(floats, xp), asarray))
    if not isinstance(alpha, float | int):
        alpha = xp.asarray(alpha, dtype=values[0].dtype, device=array.device)
    return FORMULAS[function](xp, alpha, *values)


def _leaky_relu(xp: Any, alpha: Any, x: Any) -> Any:
    return xp.where(x >= 0, x, alpha * x)


def _derivative(xp: Any, alpha: Any, x: Any) -> Any:
    return _backward(xp, alpha, xp.ones_like(x), x)


def _backward(xp: Any, alpha: Any, grad: Any, x: Any) -> Any:
    return xp.where(x >= 0, grad, alpha * grad)


FORMULAS: dict[str, Callable[..., Any]] = {
    "leaky_relu": _leaky_relu,
    "leaky_relu_derivative": _derivative,
    "leaky_relu_backward": _backward,
}


def floats(xp: Any, value: Any) -> Any:
    """An array of bools or integers in the library's own floating-point type; one of floats as it is."""
    return floating(xp, (value,))[0]


def floating(xp: Any, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values in their common floating-point type; bools and integers in the library's own."""
    for value in values:
        if not xp.isdtype(value.dtype, ("bool", "real floating", "integral")):
            raise not_real(value)
    default = xp.__array_namespace_info__().default_dtypes()["real floating"]
    types = [value.dtype if xp.isdtype(value.dtype, "real floating") else default for value in values]
    return tuple(xp.astype(value, xp.result_type(*types), copy=False) for value in values)

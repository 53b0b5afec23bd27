"""Any array that follows the array API: `where(x >= 0, x, alpha * x)` in its own namespace."""

from collections.abc import Callable
from functools import partial
from typing import Any

from leakyrelu._backends.operands import not_real, of_one_library, slopes_of_another_library

__all__ = ["FORMULAS", "compute", "floating", "floats", "slope_gradient"]


def compute(function: str, values: tuple[Any, ...], alpha: Any) -> Any:
    """Compute one of the three functions in the namespace of the first array among the values."""
    xp, values = _operands(values)
    x = values[-1]
    if not isinstance(alpha, float | int):
        convert = partial(xp.asarray, dtype=x.dtype, device=x.device)
        alpha = slopes_of_another_library(alpha, x, xp.__name__, convert)
    return FORMULAS[function](xp, alpha, *values)


def slope_gradient(values: tuple[Any, ...], axis: Any, keepdims: bool) -> Any:
    """The gradient with respect to the slope, in the namespace of the first array among `grad` and `x`."""
    xp, (grad, x) = _operands(values)
    left = xp.logical_not(x >= 0)
    products = xp.where(left, grad, xp.zeros_like(grad)) * xp.where(left, x, xp.zeros_like(x))
    return xp.sum(products, axis=axis, keepdims=keepdims)


def _operands(values: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The namespace of the first array, and the values as its arrays."""
    array = next(value for value in values if hasattr(value, "__array_namespace__"))
    xp = array.__array_namespace__()
    asarray = partial(xp.asarray, device=array.device)
    return xp, floating(xp, of_one_library(values, type(array), partial(floats, xp), asarray))


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

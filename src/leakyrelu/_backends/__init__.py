"""Arrays of PyTorch, JAX and the array API: each is computed by the library it belongs to.

No library is imported here. One is asked only where the program has imported it already.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

__all__ = ["BACKWARD", "DERIVATIVE", "LEAKY_RELU", "Operation", "library_of"]


class Operation(NamedTuple):
    """One operation in each library. An array of slopes comes as an array of the library."""

    torch: Callable[..., Any]  # (torch, alpha, *values)
    jax: Callable[..., Any]  # (jax, alpha, *values)
    array_api: Callable[..., Any]  # (namespace, alpha, *values)


def _where(xp: Any, alpha: Any, x: Any) -> Any:
    return xp.where(x >= 0, x, alpha * x)


def _where_derivative(xp: Any, alpha: Any, x: Any) -> Any:
    return _where_backward(xp, alpha, xp.ones_like(x), x)


def _where_backward(xp: Any, alpha: Any, grad: Any, x: Any) -> Any:
    return xp.where(x >= 0, grad, alpha * grad)


def _torch(torch: Any, alpha: Any, x: Any) -> Any:
    if isinstance(alpha, float | int):
        from leakyrelu.torch.activation import leaky_relu

        return leaky_relu(x, alpha)
    return torch.where(x > 0, x, alpha * x)


def _torch_derivative(torch: Any, alpha: Any, x: Any) -> Any:
    return _torch_backward(torch, alpha, torch.ones_like(x), x)


def _torch_backward(torch: Any, alpha: Any, grad: Any, x: Any) -> Any:
    if isinstance(alpha, float | int):
        return torch.ops.aten.leaky_relu_backward(grad, x, alpha, False)
    return torch.where(x > 0, grad, alpha * grad)


LEAKY_RELU = Operation(_torch, lambda jax, alpha, x: jax.nn.leaky_relu(x, alpha), _where)
DERIVATIVE = Operation(
    _torch_derivative, lambda jax, alpha, x: _where_derivative(jax.numpy, alpha, x), _where_derivative
)
BACKWARD = Operation(
    _torch_backward, lambda jax, alpha, grad, x: _where_backward(jax.numpy, alpha, grad, x), _where_backward
)


def library_of(value: Any) -> Callable[[Operation, Any, tuple[Any, ...]], Any] | None:
    """What computes an operation in the library `value` belongs to; None where NumPy's ufunc does."""
    if isinstance(value, np.ndarray | np.generic):
        return None
    # getattr: another thread may be importing it just now.
    torch = sys.modules.get("torch")
    if isinstance(value, getattr(torch, "Tensor", ())):
        return partial(_in_torch, torch)
    jax = sys.modules.get("jax")
    if isinstance(value, getattr(jax, "Array", ())):
        return partial(_in_jax, jax)
    if hasattr(value, "__array_namespace__"):
        return partial(_in_namespace, value.__array_namespace__())
    return None


def _in_torch(torch: Any, operation: Operation, alpha: Any, values: tuple[Any, ...]) -> Any:
    values = _of_one_library(values, torch.Tensor, torch.as_tensor)
    for value in values:
        if value.is_complex():
            raise _not_real(value)
    if isinstance(alpha, float | int):
        return operation.torch(torch, alpha, *values)
    x = values[-1]
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    return operation.torch(torch, torch.as_tensor(alpha, dtype=dtype, device=x.device), *values)


def _in_jax(jax: Any, operation: Operation, alpha: Any, values: tuple[Any, ...]) -> Any:
    xp = jax.numpy
    values = _floating(xp, _of_one_library(values, jax.Array, xp.asarray))
    return operation.jax(jax, alpha if isinstance(alpha, float | int) else xp.asarray(alpha, values[0].dtype), *values)


def _in_namespace(xp: Any, operation: Operation, alpha: Any, values: tuple[Any, ...]) -> Any:
    array = next(value for value in values if hasattr(value, "__array_namespace__"))
    values = _floating(xp, _of_one_library(values, type(array), partial(xp.asarray, device=array.device)))
    if not isinstance(alpha, float | int):
        alpha = xp.asarray(alpha, dtype=values[0].dtype, device=array.device)
    return operation.array_api(xp, alpha, *values)


def _of_one_library(values: tuple[Any, ...], kind: type, asarray: Callable[..., Any]) -> tuple[Any, ...]:
    """All values as arrays of one library: Python numbers and lists take the type of the array beside them."""
    array: Any = next(value for value in values if isinstance(value, kind))
    for value in values:
        if not isinstance(value, (kind, float, int, list, tuple)):
            mine, other = type(array).__name__, type(value).__name__
            raise TypeError(f"grad and x must be arrays of one library, got {mine} and {other}; convert one of them")
    return tuple(value if isinstance(value, kind) else asarray(value, dtype=array.dtype) for value in values)


def _floating(xp: Any, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values in their common floating-point type; bools and integers in the library's own."""
    for value in values:
        if not xp.isdtype(value.dtype, ("bool", "real floating", "integral")):
            raise _not_real(value)
    default = xp.__array_namespace_info__().default_dtypes()["real floating"]
    types = [value.dtype if xp.isdtype(value.dtype, "real floating") else default for value in values]
    return tuple(xp.astype(value, xp.result_type(*types), copy=False) for value in values)


def _not_real(value: Any) -> TypeError:
    return TypeError(f"real numbers are wanted, got {value.dtype}; convert them first")

"""A function as it is called: the name of its slope, and tensors for a function of PyTorch.

Needs the standard library alone, and loads a framework only for a function that is the framework's own.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["Adapter", "NotCallableError", "derivative_adapter", "function_adapter"]

Function = Callable[..., Any]


class NotCallableError(Exception):
    """There is no function that could be called; the message says why."""


@dataclass(frozen=True)
class Adapter:
    """A function of numbers and NumPy arrays, and the keyword of its slope."""

    function: Function
    slope_name: str = "alpha"


def function_adapter(function: Function, *, literal: bool = False) -> Adapter:
    """`literal`: the slope is called alpha, as in the exercise, whatever the function calls it."""
    name = "alpha" if literal else _slope_name(function)
    return Adapter(_through_torch(function) if _framework(function) == "torch" else function, name)


def derivative_adapter(function: Function, derivative: Function | None) -> Adapter:
    """The derivative that is given; else the function's gradient, where a framework can tell it.

    Raises
    ------
    NotCallableError
        There is none.
    """
    if derivative is not None:
        return function_adapter(derivative)
    framework, name = _framework(function), _slope_name(function)
    if framework == "torch":
        return Adapter(_through_torch(function, gradient=True), name)
    if framework == "jax":
        return Adapter(_jax_gradient(function, name), name)
    raise NotCallableError(
        "the level 'derivative' needs the derivative too: define leaky_relu_derivative(x, alpha=0.01) beside the "
        "function (NAME_derivative for a function NAME), or name it with derivative= or --derivative"
    )


def _framework(function: Function) -> str:
    module = getattr(function, "__module__", None)
    if not isinstance(module, str):
        return ""
    return "torch" if module.startswith("leakyrelu.torch") else module.partition(".")[0]


def _slope_name(function: Function) -> str:
    try:
        names = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return "alpha"
    return "negative_slope" if "negative_slope" in names and "alpha" not in names else "alpha"


def _through_torch(function: Function, *, gradient: bool = False) -> Function:
    """The function, or its gradient by autograd, of tensors made from NumPy arrays."""
    import numpy as np
    import torch

    def call(x: Any, *slope: Any, **named: Any) -> Any:
        array = np.asarray(x)
        if array.dtype.name == "bfloat16":  # unknown to from_numpy
            tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        else:
            tensor = torch.tensor(array) if array.ndim == 0 else torch.from_numpy(array.copy())
        if gradient:
            tensor.requires_grad_()
        result = function(tensor, *slope, **named)
        if gradient:
            (result,) = torch.autograd.grad(result.sum(), tensor)
        if type(x) in {int, float}:
            return result.item()
        return result.view(torch.int16).numpy().view(array.dtype) if result.dtype == torch.bfloat16 else result.numpy()

    return call


def _jax_gradient(function: Function, slope_name: str) -> Function:
    import numpy as np

    jax: Any = import_module("jax")

    def call(x: Any, *slope: Any, **named: Any) -> Any:
        array = np.asarray(x)
        given = [*slope, *named.values()]
        keywords = {slope_name: given[0]} if given else {}
        gradient = jax.vmap(jax.grad(lambda z: function(z, **keywords)))(array.reshape(-1))
        return float(gradient[0]) if type(x) in {int, float} else np.asarray(gradient).reshape(array.shape)

    return call

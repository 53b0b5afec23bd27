"""A function as it is called: where it takes its slope, the object of a method, and tensors for a function of PyTorch.

Needs the standard library alone, and loads a framework only for a function that is the framework's own.
"""

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

__all__ = ["AUTO", "Adapter", "NotCallableError", "derivative_adapter", "function_adapter"]

Function = Callable[..., Any]

AUTO = "auto"  # the slope is looked for among the parameters
_NAMES = ("alpha", "negative_slope", "slope", "leak", "leaky_slope", "leakiness", "leakage", "a")
_NO_SLOPE = re.compile(r"_*(deriv|der$|grad|prime|back|diff|name|axis|out|inplace|train)")
_EMPTY = inspect.Parameter.empty
_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class NotCallableError(Exception):
    """There is no function that could be called; the message says why."""


@dataclass(frozen=True)
class Adapter:
    """A function of numbers and NumPy arrays, and how it takes its slope.

    `slope_name` is the keyword of the slope; it is None for a function of x alone, whose slope is fixed. Where
    `by_position` says "always" or "never", the slope is passed so, whatever a call would try; otherwise as it asks.
    `tensors` says that the arrays become tensors of PyTorch on the way. `written` is the call as one would type it,
    with ``{x}`` and ``{slope}``; empty for ``NAME({x}, {slope})``.
    """

    function: Function
    slope_name: str | None = "alpha"
    by_position: str = ""
    written: str = ""
    tensors: bool = False

    def arguments(self, slope: float | None, *, positional: bool) -> tuple[tuple[float, ...], dict[str, float]]:
        """The slope as the arguments that follow x."""
        if slope is None or self.slope_name is None:
            return (), {}
        positional = self.by_position == "always" or (positional and self.by_position != "never")
        return ((slope,), {}) if positional else ((), {self.slope_name: slope})

    @property
    def described(self) -> dict[str, Any]:
        """All but the function, as plain data."""
        return {
            "slope_name": self.slope_name,
            "by_position": self.by_position,
            "written": self.written,
            "tensors": self.tensors,
        }


def function_adapter(
    function: Function,
    *,
    owner: type | None = None,
    exercise: bool = False,
    slope_name: str | None = AUTO,
    inputs: int = 1,
) -> Adapter:
    """How a function or a class is called, or the method of a class, its `owner`. Its slope follows so many `inputs`.

    Of a class one object is made for each slope, and called again: without arguments if its method takes the slope,
    else with the slope alone. If it needs other arguments, the object is made without calling ``__init__``.
    `exercise`: the function must take its slope, and return a number alone; otherwise the slope may be fixed, and of a
    tuple the first value counts.

    Raises
    ------
    NotCallableError
        A class has no ``__call__``, or there is no parameter `slope_name`.
    """
    adapter, frameworks = _adapted(function, owner, slope_name, exercise=exercise, inputs=inputs)
    if "torch" in frameworks:
        return replace(adapter, function=_through_torch(adapter.function), tensors=True)
    return adapter


def derivative_adapter(
    function: Function, derivative: Function | None, *, owner: type | None = None, slope_name: str | None = AUTO
) -> Adapter:
    """The derivative that is given; else the function's gradient, where a framework can tell it.

    `owner` is the class of the one that is called.

    Raises
    ------
    NotCallableError
        There is none.
    """
    if derivative is not None:
        return function_adapter(derivative, owner=owner, slope_name=slope_name)
    adapter, frameworks = _adapted(function, owner, slope_name)
    if "torch" in frameworks:
        return replace(adapter, function=_through_torch(adapter.function, gradient=True), tensors=True)
    if "jax" in frameworks:
        return replace(adapter, function=_jax_gradient(adapter.function))
    raise NotCallableError(
        "the level 'derivative' needs the derivative too: define leaky_relu_derivative(x, alpha=0.01) beside the "
        "function (NAME_derivative for a function NAME), or name it with derivative= or --derivative"
    )


def _adapted(
    function: Function, owner: type | None, slope_name: str | None, *, exercise: bool = False, inputs: int = 1
) -> tuple[Adapter, set[str]]:
    """How it is called with arrays of its own framework, and which framework that may be."""
    if isinstance(function, type):
        owner, function = function, _call_of(function)
        adapter = _of_class(owner, function, "", slope_name, exercise=exercise)
    elif owner is not None:
        adapter = _of_class(owner, function, f".{function.__name__}", slope_name, exercise=exercise)
    else:
        adapter = _of_function(function, slope_name, exercise=exercise, inputs=inputs)
    if not exercise:
        adapter = replace(adapter, function=_first_of_tuple(adapter.function))
    frameworks = {_framework(one) for one in (function, *(owner.__mro__ if owner else ()))}
    return adapter, frameworks | ({"torch"} if _takes_tensors(function) else set())


def _framework(function: object) -> str:
    module = getattr(function, "__module__", None)
    if not isinstance(module, str):
        return ""
    return "torch" if module.startswith("leakyrelu.torch") else module.partition(".")[0]


def _takes_tensors(function: Function) -> bool:
    """Whether a function of somebody's own says so: ``def lrelu(x: torch.Tensor)``."""
    hints = getattr(function, "__annotations__", {}).values()
    return "torch" in sys.modules and any("Tensor" in str(hint) for hint in hints)


def _call_of(owner: type) -> Function:
    for base in owner.__mro__:
        if "__call__" in vars(base):
            return vars(base)["__call__"]  # type: ignore[no-any-return]
    methods = [key for key, value in vars(owner).items() if inspect.isfunction(value) and not key.startswith("_")]
    which = f"name one of its methods: {', '.join(f'{owner.__name__}.{name}' for name in methods[:10])}"
    raise NotCallableError(
        f"{owner.__name__} is a class without __call__; {which if methods else 'it has no methods either'}"
    )


def _parameters(function: Function) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


def _of_function(function: Function, name: str | None, *, exercise: bool, inputs: int) -> Adapter:
    parameters = _parameters(function)
    if parameters is None and name is not None:  # a function in C does not tell
        return Adapter(function, "alpha", "always") if name == AUTO else Adapter(function, name, "never")
    parameters = (parameters or [])[inputs - 1 :]
    found = _slope_among(parameters, name)
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
    if found is None and name not in {None, AUTO} and not takes_any:
        raise NotCallableError(f"there is no parameter {name!r}; the parameters are {_listed(parameters)}")
    if found is None and (takes_any or exercise) and name is not None:
        by_position = exercise or any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters)
        return Adapter(function, "alpha" if name == AUTO else name, "" if by_position else "never")
    return Adapter(function, *_passed(found, parameters, exercise=exercise))


def _of_class(owner: type, method: Function, suffix: str, name: str | None, *, exercise: bool) -> Adapter:
    """How the method of an object is called. In the text of the call it follows the object as `suffix`."""
    own, made = (_parameters(method) or [])[1:], _parameters(owner) or []
    of_method, of_class = _slope_among(own, name), _slope_of_class(made, name)
    objects: dict[object, Any] = {}
    if of_method is None and of_class is None and name not in {None, AUTO}:
        raise NotCallableError(
            f"there is no parameter {name!r}; {owner.__name__} is made of {_listed(made)}, and its method takes "
            f"{_listed(own)}"
        )
    needed = [one for one in made if one.default is _EMPTY and one.kind not in _REST]
    if of_method is None and of_class is not None and needed in ([], [of_class]):

        def make_and_call(x: Any, *slope: Any, **named: Any) -> Any:
            key = (*slope, *named.values())
            if key not in objects:
                objects[key] = owner(*slope, **named)
            return method(objects[key], x)

        slope, by_position = _passed(of_class, made, exercise=False)
        return Adapter(make_and_call, slope, by_position or "never", f"{owner.__name__}({{slope}}){suffix}({{x}})")

    def call(x: Any, *slope: Any, **named: Any) -> Any:
        if not objects:
            objects[()] = object.__new__(owner) if needed else owner()
        return method(objects[()], x, *slope, **named)

    slope, by_position = _passed(of_method, own, exercise=exercise)
    if slope is None and exercise and name == AUTO:
        slope = "alpha"
    maker = f"{owner.__name__}.__new__({owner.__name__})" if needed else f"{owner.__name__}()"
    return Adapter(call, slope, by_position, f"{maker}{suffix}({{x}}, {{slope}})")


def _slope_among(parameters: list[inspect.Parameter], name: str | None) -> inspect.Parameter | None:
    """The slope among parameters of which the first is x: by its name, or the second if it may be a slope."""
    found = _named(parameters, name)
    if found is None and name == AUTO and len(parameters) > 1 and _may_be_slope(parameters[1]):
        return parameters[1]
    return found


def _slope_of_class(parameters: list[inspect.Parameter], name: str | None) -> inspect.Parameter | None:
    """The slope that a class is made with: by its name, or the first one if it is a float, or the only one."""
    found = _named(parameters, name)
    if found is not None or name != AUTO or not parameters or not _may_be_slope(parameters[0]):
        return found
    return parameters[0] if len(parameters) == 1 or type(parameters[0].default) is float else None


def _named(parameters: list[inspect.Parameter], name: str | None) -> inspect.Parameter | None:
    by_name = {one.name: one for one in parameters if one.kind not in _REST}
    return next((by_name[one] for one in (_NAMES if name == AUTO else (name,)) if one in by_name), None)


def _may_be_slope(parameter: inspect.Parameter) -> bool:
    """Whether a parameter with a name of its own takes a number: ``derivative=False`` does not."""
    if parameter.kind in _REST or _NO_SLOPE.match(parameter.name):
        return False
    return parameter.default is _EMPTY or type(parameter.default) in {int, float}


def _passed(
    found: inspect.Parameter | None, parameters: list[inspect.Parameter], *, exercise: bool
) -> tuple[str | None, str]:
    """The name of the slope, and whether it is passed by position."""
    if found is None:
        return None, ""
    if found.kind is inspect.Parameter.POSITIONAL_ONLY:
        return found.name, "always"
    is_second = found in parameters[1:2] and found.kind is not inspect.Parameter.KEYWORD_ONLY
    return found.name, "" if is_second or exercise else "never"  # its position is a part of the exercise


def _listed(parameters: list[inspect.Parameter]) -> str:
    return f"({', '.join(one.name for one in parameters)})"


def _first_of_tuple(function: Function) -> Function:
    """Of ``return out, cache`` the first; a tuple of one value is a comma too many."""

    def call(x: Any, *slope: Any, **named: Any) -> Any:
        result = function(x, *slope, **named)
        return result[0] if type(result) is tuple and len(result) > 1 else result

    return call


def _through_torch(function: Function, *, gradient: bool = False) -> Function:
    """The function, or its gradient by autograd, of tensors made from NumPy arrays."""
    import numpy as np
    import torch

    def call(x: Any, *slope: Any, **named: Any) -> Any:
        array = np.asarray(x, float if type(x) is int else None)  # PyTorch's functions of this kind take no integers
        bits = array.view(np.int16) if array.dtype.name == "bfloat16" else array  # that type is unknown to from_numpy
        # The same memory, so that a change of the input is seen. But no tensor has negative strides, or is constant.
        is_shared = bits.ndim > 0 and bits.flags.writeable and min(bits.strides) >= 0
        tensor = torch.from_numpy(bits) if is_shared else torch.tensor(np.ascontiguousarray(bits).reshape(bits.shape))
        tensor = tensor.view(torch.bfloat16) if bits is not array else tensor
        if gradient:
            tensor.requires_grad_()
        result = function(tensor, *slope, **named)
        if gradient:
            (result,) = torch.autograd.grad(result.sum(), tensor)
        if type(x) in {int, float}:
            return result.item()
        return result.view(torch.int16).numpy().view(array.dtype) if result.dtype == torch.bfloat16 else result.numpy()

    return call


def _jax_gradient(function: Function) -> Function:
    import numpy as np

    jax: Any = import_module("jax")

    def call(x: Any, *slope: Any, **named: Any) -> Any:
        array = np.asarray(x)
        gradient = jax.vmap(jax.grad(lambda z: function(z, *slope, **named)))(array.reshape(-1))
        return float(gradient[0]) if type(x) in {int, float} else np.asarray(gradient).reshape(array.shape)

    return call

"""Writes functions that take the place of an activation's function, and that a pickle can name."""

import functools
import json
import re
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.jit import is_scripting  # type: ignore[attr-defined]  # though it is documented
from torch.nn import functional

from leakyrelu._backends.torch import leaky_relu
from leakyrelu.torch.activation import LeakyReLU
from leakyrelu.torch.operations import OPERATIONS, class_kind, mark
from leakyrelu.torch.replacement.modules import HOOKS, REPLACES, working_in_place
from leakyrelu.torch.replacement.sources import written

__all__ = ["ARGUMENTS", "EXPRESSIONS", "function_for", "is_generated", "is_plain", "maker_for", "method_for", "parts"]

ARGUMENTS = {  # of the functions, after the input, as PyTorch has them
    "relu": "inplace: bool = False",
    "relu6": "inplace: bool = False",
    "hardtanh": "min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False",
    "threshold": "threshold: float, value: float, inplace: bool = False",
    "leaky_relu": "negative_slope: float = 0.01, inplace: bool = False",
    "prelu": "weight: Tensor",
    "rrelu": "lower: float = 0.125, upper: float = 0.3333, training: bool = False, inplace: bool = False",
    "elu": "alpha: float = 1.0, inplace: bool = False",
    "celu": "alpha: float = 1.0, inplace: bool = False",
    "selu": "inplace: bool = False",
    "gelu": 'approximate: str = "none"',
    "silu": "inplace: bool = False",
}


_MODULE_ARGUMENTS = ARGUMENTS | {
    "prelu": "num_parameters: int = 1, init: float = 0.25",
    "rrelu": "lower: float = 0.125, upper: float = 0.3333, inplace: bool = False",
}


EXPRESSIONS: dict[type[nn.Module], str] = {  # modules without parameters that compute the same in every mode
    LeakyReLU: "leaky_relu(input, {negative_slope!r}, inplace)",
    nn.LeakyReLU: "functional.leaky_relu(input, {negative_slope!r}, inplace)",
    nn.ReLU: "functional.relu(input, inplace)",
    nn.ReLU6: "functional.relu6(input, inplace)",
    nn.Hardtanh: "functional.hardtanh(input, {min_val!r}, {max_val!r}, inplace)",
    nn.Threshold: "functional.threshold(input, {threshold!r}, {value!r}, inplace)",
    nn.ELU: "functional.elu(input, {alpha!r}, inplace)",
    nn.CELU: "functional.celu(input, {alpha!r}, inplace)",
    nn.SELU: "functional.selu(input, inplace)",
    nn.SiLU: "functional.silu(input, inplace)",
    nn.Mish: "functional.mish(input, inplace)",
    nn.Hardswish: "functional.hardswish(input, inplace)",
    nn.GELU: "functional.gelu(input, approximate={approximate!r})",
    nn.Softplus: "functional.softplus(input, {beta!r}, {threshold!r})",
    nn.Tanh: "torch.tanh(input)",
    nn.Sigmoid: "torch.sigmoid(input)",
    nn.Identity: "input",
}


def is_plain(module: nn.Module) -> bool:
    """Whether a function can stand for the module: it has no state, no mode and no hooks."""
    return type(module) in EXPRESSIONS and not any(vars(module).get(key) for key in HOOKS)


_NAMES: dict[str, Any] = {
    "Tensor": Tensor,
    "TENSORS": (Tensor, fx.Proxy),
    "functional": functional,
    "is_scripting": is_scripting,
    "leaky_relu": leaky_relu,
    "torch": torch,
}


def is_generated(value: object) -> bool:
    """Whether a function was written here."""
    return isinstance(value, FunctionType) and value.__module__ == __name__


def parts(new: nn.Module) -> tuple[Any, Any]:
    """The class of a new module, and the numbers that its expression needs."""
    return type(new), tuple((name, getattr(new, name)) for name in _fields(type(new)))


def _fields(new: type[nn.Module]) -> list[str]:
    return re.findall(r"{(\w+)!r}", EXPRESSIONS[new])


@functools.lru_cache(256)
def function_for(
    kind: type[nn.Module], in_place: bool, new: type[nn.Module], numbers: tuple[tuple[str, Any], ...]
) -> Callable[..., Tensor]:
    """A function with the arguments of the activation's function; all but the first and `inplace` are ignored."""
    expression = EXPRESSIONS[new].format(**dict(numbers))
    operation = OPERATIONS[kind]
    arguments = ARGUMENTS[operation]
    if in_place:
        arguments = arguments.removesuffix("inplace: bool = False").removesuffix(", ")
    name = operation + "_" * in_place
    header = f"def {name}(input: Tensor{', ' if arguments else ''}{arguments}) -> Tensor:\n"
    if in_place:
        body = f"    return {_in_place(expression)}\n"
    elif "inplace" in arguments and "inplace" not in expression:
        body = f"    if inplace:\n        return {_in_place(expression)}\n    return {expression}\n"
    else:
        body = f"    return {expression if 'inplace' in arguments else _not_in_place(expression)}\n"
    function: Callable[..., Tensor] = written(header + body, name, _NAMES)
    mark(function, class_kind(new) or nn.Module, in_place)
    _name(function, operation, in_place, new, numbers)
    return function


@functools.lru_cache(64)
def maker_for(kind: type[nn.Module], new: Any, numbers: tuple[tuple[str, Any], ...]) -> Callable[..., nn.Module]:
    """A function with the arguments of the activation's class, which makes another module."""
    given = [repr(number) for _, number in numbers] + ["inplace"] * ("inplace" in EXPRESSIONS[new])
    construction = f"new_class({', '.join(given)})"
    arguments = _MODULE_ARGUMENTS[OPERATIONS[kind]]
    names = {"new_class": new, "in_place_class": working_in_place(new), "kind": kind}
    if "inplace" not in arguments:
        value = construction.replace("inplace", "False")
    elif "inplace" in construction:
        value = construction
    else:
        value = f"{construction.replace('new_class', 'in_place_class')} if inplace else {construction}"
    body = f"    new = {value}\n    new.{REPLACES} = kind\n    return new\n"
    maker: Callable[..., nn.Module] = written(f"def {kind.__name__}({arguments}):\n{body}", kind.__name__, names)
    _name(maker, OPERATIONS[kind], None, new, numbers)
    return maker


@functools.lru_cache(64)
def method_for(name: str, new: type[nn.Module], numbers: tuple[tuple[str, Any], ...]) -> Callable[[Tensor], Tensor]:
    """A function in place of the method ``relu`` or ``relu_``; on what is no tensor, it calls the method."""
    expression = EXPRESSIONS[new].format(**dict(numbers))
    result = _in_place(expression) if name.endswith("_") else _not_in_place(expression)
    source = (
        f"def {name}(input: Tensor) -> Tensor:\n"
        "    if not is_scripting():\n"
        "        if not isinstance(input, TENSORS):\n"
        f"            return input.{name}()\n"
        f"    return {result}\n"
    )
    function: Callable[[Tensor], Tensor] = written(source, name, _NAMES)
    mark(function, class_kind(new) or nn.Module, name.endswith("_"))
    return function


def _name(function: Callable[..., Any], operation: str, in_place: bool | None, new: type, numbers: Any) -> None:
    """Give a function a name for pickles, which `__getattr__` reads."""
    text = json.dumps([operation, in_place, list(EXPRESSIONS).index(new), list(dict(numbers).values())])
    function.__module__, function.__qualname__ = __name__, f"{function.__name__}_{text.encode().hex()}"


def __getattr__(name: str) -> Callable[..., Any]:
    """The function that a pickle names, made anew."""
    try:
        operation, in_place, index, numbers = json.loads(bytes.fromhex(name.rpartition("_")[2]))
        kind: Any = next(kind for kind, other in OPERATIONS.items() if other == operation)
        new: Any = list(EXPRESSIONS)[index]
        parts = new, tuple(zip(_fields(new), numbers, strict=True))
        return maker_for(kind, *parts) if in_place is None else function_for(kind, bool(in_place), *parts)
    except (ValueError, TypeError, IndexError, StopIteration):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def _in_place(expression: str) -> str:
    if "inplace" in expression:
        return expression.replace("inplace", "True")
    return f"input.copy_({re.sub(r'input', 'input.clone()', expression)})"


def _not_in_place(expression: str) -> str:
    return expression.replace("inplace", "False")

"""The activations that are counted: how each is called, what its call says, and how its site is named."""

import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from leakyrelu._backends.torch import leaky_relu

__all__ = [
    "ACTIVATION_MODULES",
    "FUNCTION_TYPES",
    "OPERATIONS",
    "Activation",
    "SiteNames",
    "activation_inside",
    "activation_of",
    "class_kind",
    "function_of",
    "functions_of",
    "is_operation",
    "mark",
    "module_kind",
    "plain_name",
]

OPERATIONS: dict[type[nn.Module], str] = {  # each module, and the function that it calls
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.Hardtanh: "hardtanh",
    nn.Threshold: "threshold",
    nn.LeakyReLU: "leaky_relu",
    nn.PReLU: "prelu",
    nn.RReLU: "rrelu",
    nn.ELU: "elu",
    nn.CELU: "celu",
    nn.SELU: "selu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
}
ACTIVATION_MODULES = tuple(OPERATIONS)


class Activation(NamedTuple):
    """One call of an activation."""

    operation: str
    flat: bool  # whether it is flat below its threshold, so that no gradient passes there
    threshold: float = 0.0
    slope: float | None = None  # below zero, of a (leaky) ReLU; it may change from call to call


def plain_name(function: Any) -> str:
    """``relu`` for `F.relu`, `torch.relu_`, `aten.relu.default`; ``matmul`` for ``@``; ``T`` for ``x.T``."""
    name = function if isinstance(function, str) else getattr(function, "__name__", "")
    if name == "__get__":  # of a property of tensors
        name = getattr(getattr(function, "__self__", None), "__name__", "")
    return _plain(str(name))


@lru_cache(1024)  # a model calls the same functions again and again
def _plain(name: str) -> str:
    return name.partition(".")[0].strip("_")


def activation_of(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Activation | None:
    """The activation that a call computes; None if it computes none that is counted."""
    name = plain_name(function)
    read = _READERS.get(name)
    if read is None or isinstance(read, Activation):
        return read

    def argument(position: int, name: str, default: Any) -> Any:
        return args[position] if position < len(args) else kwargs.get(name, default)

    return read(name, argument)


def is_operation(name: str) -> bool:
    """Whether a function of this name may be an activation."""
    return name in _READERS


# An operation with an activation in its kernel has the name of the activation in its own, as conv2d_relu does.
_FUSED = re.compile(r"(?:^|_)(leaky_relu|relu6?|[pr]relu|[cs]?elu|[gs][ei]lu)(?:_|$)")
_WRITTEN = {"relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "Leaky ReLU", "prelu": "PReLU", "silu": "SiLU"}


@lru_cache(1024)
def activation_inside(name: str) -> str:
    """The activation that a function of this name computes in its kernel, for a reader; empty if it computes none."""
    fused = None if name.endswith("backward") else _FUSED.search(name)
    return _WRITTEN.get(fused[1], fused[1].upper()) if fused else ""


Argument = Callable[[int, str, Any], Any]  # (position, name, default)


def _leaky_relu(name: str, argument: Argument) -> Activation:
    slope = argument(1, "negative_slope", 0.01)
    return Activation(name, flat=slope == 0, slope=float(slope) if isinstance(slope, int | float) else None)


def _threshold(name: str, argument: Argument) -> Activation:
    return Activation(name, flat=True, threshold=float(argument(1, "threshold", 0)))


def _clamp(name: str, argument: Argument) -> Activation | None:
    high = argument(2, "max", None)
    is_constant = isinstance(high, int | float) and high <= 0
    if not _is_zero(argument(1, "min", None)) or is_constant:
        return None
    return Activation(name, flat=True, slope=0.0 if high is None else None)


def _hardtanh(name: str, argument: Argument) -> Activation | None:
    if not _is_zero(argument(1, "min_val", -1)):
        return None
    return Activation("relu6" if argument(2, "max_val", 1) == 6 else name, flat=True)


def _is_zero(value: Any) -> bool:
    return isinstance(value, int | float) and value == 0


_READERS: dict[str, Activation | Callable[[str, Argument], Activation | None]] = {
    "relu": Activation("relu", flat=True, slope=0.0),
    "relu6": Activation("relu6", flat=True),
    **{name: Activation(name, flat=False) for name in ("prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu")},
    **dict.fromkeys(("clamp", "clamp_min", "clip"), _clamp),
    "leaky_relu": _leaky_relu,
    "threshold": _threshold,
    "hardtanh": _hardtanh,
}


def module_kind(module: object) -> type[nn.Module] | None:
    """The class in `OPERATIONS` that a module is of; ReLU6, although it is a kind of Hardtanh, is its own."""
    return class_kind(type(module))


def class_kind(cls: type) -> type[nn.Module] | None:
    """The class in `OPERATIONS` that a class is, or is a kind of."""
    return next((base for base in cls.__mro__ if base in OPERATIONS), None)


class Function(NamedTuple):
    """A function that is an activation."""

    kind: type[nn.Module]
    in_place: bool


def function_of(value: object) -> Function | None:
    """What is known of a function such as `F.relu`, `torch.relu_`, `Tensor.relu` or `torch.ops.aten.relu`."""
    if not isinstance(value, FUNCTION_TYPES):
        return None
    return _FUNCTIONS.get(value) or getattr(value, _MARK, None)


def functions_of(kinds: Container[type[nn.Module]]) -> list[Any]:
    """All functions that are activations of these kinds."""
    return [value for value, function in _FUNCTIONS.items() if function.kind in kinds]


def mark(function: Callable[..., Tensor], kind: type[nn.Module], in_place: bool) -> None:
    """Let `function_of` know a function that was written while the program runs."""
    setattr(function, _MARK, Function(kind, in_place))


def _functions() -> Iterator[tuple[Any, Function]]:
    for kind, operation in OPERATIONS.items():
        for in_place in (False, True):
            name = operation + "_" * in_place
            packet = getattr(torch.ops.aten, name, None)
            overloads = [getattr(packet, overload) for overload in packet.overloads()] if packet else []
            for value in (*(getattr(each, name, None) for each in (functional, torch, Tensor)), packet, *overloads):
                if value is not None:
                    yield value, Function(kind, in_place)
    yield leaky_relu, Function(nn.LeakyReLU, False)


_FUNCTIONS = dict(_functions())
FUNCTION_TYPES = tuple({type(function) for function in _FUNCTIONS})
_MARK = "_leakyrelu_function"


class SiteNames:
    """Names for the activation calls of one forward pass; each call has its own."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, int] = defaultdict(int)

    def name(self, path: str, module: nn.Module, operation: str) -> str:
        """The name of the next call of `operation` by `module`, which is the model's submodule `path`.

        ``"features.1"`` where that module is the activation, ``"features.relu"`` where it calls the function; ``":2"``
        is appended at the second call, and so on.
        """
        name = path if isinstance(module, ACTIVATION_MODULES) else f"{path}.{operation}"
        name = name.removeprefix(".") or operation
        self._calls[name] += 1
        return name if self._calls[name] == 1 else f"{name}:{self._calls[name]}"

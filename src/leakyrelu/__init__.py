"""Leaky ReLU, completely: the function, its derivative and its backward pass, on any array."""

from importlib import import_module
from types import ModuleType

from leakyrelu.activation import leaky_relu, leaky_relu_backward, leaky_relu_derivative
from leakyrelu.threads import get_num_threads, num_threads, set_num_threads

__all__ = [
    "get_num_threads",
    "leaky_relu",
    "leaky_relu_backward",
    "leaky_relu_derivative",
    "num_threads",
    "set_num_threads",
]
__version__ = "0.1.0"

_OPTIONAL = ("check", "demo", "plot", "theory", "torch", "tuning")  # load on first use: leakyrelu.plot.plot()


def __getattr__(name: str) -> ModuleType:
    if name in _OPTIONAL:
        return import_module(f"leakyrelu.{name}")
    raise AttributeError(f"module 'leakyrelu' has no attribute {name!r}")

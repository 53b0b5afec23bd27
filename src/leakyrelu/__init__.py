"""Leaky ReLU for any array: the function, its derivative, its backward pass and the gradient of its slope."""

from typing import TYPE_CHECKING

from leakyrelu._shared.command import end_the_command

try:
    from leakyrelu.functions import leaky_relu, leaky_relu_backward, leaky_relu_derivative, leaky_relu_slope_gradient
    from leakyrelu.threads import get_num_threads, num_threads, set_num_threads
except ImportError as error:  # an environment variable that makes no sense, for example
    end_the_command(error)
    raise

__all__ = [
    "get_num_threads",
    "leaky_relu",
    "leaky_relu_backward",
    "leaky_relu_derivative",
    "leaky_relu_slope_gradient",
    "num_threads",
    "set_num_threads",
]

if TYPE_CHECKING:
    __version__: str

    from leakyrelu import check as check
    from leakyrelu import demo as demo
    from leakyrelu import jax as jax
    from leakyrelu import keras as keras
    from leakyrelu import lesson as lesson
    from leakyrelu import lightning as lightning
    from leakyrelu import plot as plot
    from leakyrelu import sklearn as sklearn
    from leakyrelu import theory as theory
    from leakyrelu import torch as torch
    from leakyrelu import transformers as transformers
    from leakyrelu import tuning as tuning
    from leakyrelu import units as units
else:  # a type checker that saw __getattr__ would accept any name
    from importlib import import_module

    # These load on first use: leakyrelu.plot.plot_leaky_relu(). So does __version__, which the installation knows.
    _OPTIONAL = frozenset(
        (
            "check",
            "demo",
            "jax",
            "keras",
            "lesson",
            "lightning",
            "plot",
            "sklearn",
            "theory",
            "torch",
            "transformers",
            "tuning",
            "units",
        )
    )

    def __getattr__(name: str) -> object:
        if name == "__version__":
            return import_module("importlib.metadata").version("leakyrelu")
        if name not in _OPTIONAL:
            raise AttributeError(f"module 'leakyrelu' has no attribute {name!r}")
        try:
            return import_module(f"leakyrelu.{name}")
        except ImportError as error:  # so that hasattr() gives False and getattr() its default
            raise AttributeError(str(error), name=name) from error

    def __dir__() -> list[str]:
        return sorted({*__all__, *_OPTIONAL, "__version__", *(name for name in globals() if name.startswith("__"))})

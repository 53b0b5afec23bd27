"""Asks the same questions of the peers that are installed, and shows where they differ."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np

from leakyrelu._shared.tables import text_table
from leakyrelu.check.cases import cases_of
from leakyrelu.check.runner import check
from leakyrelu.check.sandbox.adapters import derivative_adapter
from leakyrelu.functions import leaky_relu, leaky_relu_derivative

__all__ = ["Peer", "installed_peers", "matrix"]

Function = Callable[..., Any]


@dataclass(frozen=True)
class Peer:
    """Another implementation: its function and, if it has one, its derivative."""

    name: str
    package: str
    function: Function
    derivative: Function | None = None

    def answers(self) -> dict[str, str]:
        """For each case a word or two: ``ok``, or what differs, or what it gives if nothing is right or wrong."""
        level = "ieee" if self.derivative is None else "derivative"
        report = check(self.function, level=level, derivative=self.derivative)
        return {case.name: case.brief or "ok" for case in report.cases}


def installed_peers() -> Iterator[Peer]:
    """The peers: this library, two lines of NumPy, and those of PyTorch, JAX and ONNX Runtime that are installed."""
    yield Peer("leakyrelu", "leakyrelu", leaky_relu, leaky_relu_derivative)
    if find_spec("torch") is not None:
        yield _pytorch()
    if find_spec("jax") is not None:
        yield _jax()
    if find_spec("onnxruntime") is not None and find_spec("onnx") is not None:
        yield Peer("ONNX Runtime", "onnxruntime", _onnxruntime)
    yield Peer("np.where", "numpy", _where, _where_derivative)
    yield Peer("np.maximum", "numpy", _maximum)


def matrix() -> str:
    """A table in Markdown, one row per case and one column per peer, and the versions.

    Examples
    --------
    >>> from leakyrelu.check.peers import matrix
    >>> print(matrix().splitlines()[0].replace(" ", ""))  # doctest: +SKIP
    |Level|Case|leakyrelu|PyTorch|JAX|ONNXRuntime|np.where|np.maximum|
    """
    found = list(installed_peers())
    answers = [peer.answers() for peer in found]
    rows = [
        [case.level, case.name, *(words.get(case.name, "-") for words in answers)] for case in cases_of("derivative")
    ]
    packages = dict.fromkeys(peer.package for peer in found)
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{text_table(['Level', 'Case', *(peer.name for peer in found)], rows)}\n\nVersions: {versions}."


def _where(x: Any, alpha: float = 0.01) -> Any:
    return np.where(x >= 0, x, alpha * x)


def _where_derivative(x: Any, alpha: float = 0.01) -> Any:
    return np.where(x >= 0, 1, alpha)


def _maximum(x: Any, alpha: float = 0.01) -> Any:
    return np.maximum(x, alpha * x)


def _pytorch() -> Peer:
    from torch.nn.functional import leaky_relu as function

    gradient = derivative_adapter(function, None).function
    return Peer("PyTorch", "torch", function, lambda x, alpha=0.01: gradient(x, alpha))


def _jax() -> Peer:
    """JAX with 64 bits: without them it has no float64, and each case in float64 would differ."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    jax: Any = import_module("jax")
    # Up to JAX 0.7 it was experimental.
    enable: Any = (jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")).enable_x64

    def in_double(function: Function) -> Function:
        def call(x: Any, alpha: float = 0.01) -> Any:
            with enable(True):
                return np.asarray(function(x, alpha))

        return call

    gradient = derivative_adapter(jax.nn.leaky_relu, None).function
    return Peer("JAX", "jax", in_double(jax.nn.leaky_relu), in_double(gradient))


def _onnxruntime(x: Any, alpha: float = 0.01) -> Any:
    array = np.asarray(x)
    return _session(array.dtype, alpha).run(None, {"x": array})[0]


@cache
def _session(dtype: Any, alpha: float) -> Any:
    """The operator LeakyRelu alone, as a model."""
    onnxruntime: Any = import_module("onnxruntime")
    helper: Any = import_module("onnx.helper")

    kind = helper.np_dtype_to_tensor_dtype(dtype)
    node = helper.make_node("LeakyRelu", ["x"], ["y"], alpha=alpha)
    ends = [helper.make_tensor_value_info(name, kind, None) for name in "xy"]
    graph = helper.make_graph([node], "leaky_relu", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # no log of refusals: they are raised, too
    return onnxruntime.InferenceSession(model.SerializeToString(), options)

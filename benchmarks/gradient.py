"""Measures the gradient with respect to the slope, beside the textbook line, and both gradients beside PyTorch's."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from benchmarks import timing
from benchmarks.contenders import missing
from benchmarks.machine import usable_cores
from benchmarks.report import duration, spread
from leakyrelu import leaky_relu_backward, leaky_relu_slope_gradient

Axes = tuple[int, ...] | None
Row = dict[str, Any]


class Shape(NamedTuple):
    """A shape, and the axes that are summed over: all of them, or all but that of the channels."""

    shape: tuple[int, ...]
    axis: Axes = None


SHAPES = (
    Shape((32, 32)),
    Shape((10**5,)),
    Shape((10**6,)),
    Shape((4 * 10**6,)),
    Shape((10**7,)),
    Shape((32, 64), (0,)),
    Shape((4096, 256), (0,)),
    Shape((10_000, 1000), (0,)),
    Shape((4, 512, 7, 7), (0, 2, 3)),
    Shape((64, 64, 56, 56), (0, 2, 3)),
)


def slope_gradients(effort: timing.Effort, shapes: tuple[Shape, ...] = SHAPES) -> list[Row]:
    """The textbook line's time over ours, and PyTorch's over that of both our gradients, on the same float32 arrays.

    PyTorch has no function for the gradient of the slopes alone: the backward pass of `F.prelu` computes both.
    """
    rows: list[Row] = []
    for shape, axis in shapes:
        grad, x = np.random.default_rng(0).standard_normal((2, *shape), np.float32)
        slopes = np.full([1 if axis is None or i in axis else n for i, n in enumerate(shape)], 0.25, np.float32)

        def both(grad: Any = grad, x: Any = x, axis: Axes = axis, slopes: Any = slopes) -> object:
            return leaky_relu_backward(grad, x, slopes), leaky_relu_slope_gradient(grad, x, axis=axis)

        def textbook(grad: Any = grad, x: Any = x, axis: Axes = axis) -> Any:
            return np.sum(np.where(x < 0, grad * x, 0), axis=axis)

        ours = partial(leaky_relu_slope_gradient, grad, x, axis=axis)
        np.testing.assert_allclose(ours(), textbook(), rtol=1e-3, atol=0.01 * (x.size / slopes.size) ** 0.5)
        contenders: dict[str, Callable[[], object]] = {"ours": ours, "textbook": textbook, "both": both}
        if not missing(("with_torch",)):
            contenders["torch"] = _prelu_backward(grad, x, slopes)
        seconds = timing.interleaved({name: timing.Contender(call) for name, call in contenders.items()}, effort)
        row = {
            "shape": shape,
            "axis": axis,
            "seconds": float(np.median(seconds["ours"])),
            "textbook_time_over_ours": timing.quartiles(seconds["textbook"] / seconds["ours"]),
        }
        if "torch" in seconds:
            row["torch_time_over_both"] = timing.quartiles(seconds["torch"] / seconds["both"])
        rows.append(row)
    return rows


def _prelu_backward(grad: Any, x: Any, slopes: Any) -> Any:
    torch: Any = import_module("torch")

    torch.set_num_threads(usable_cores())
    inputs = [torch.tensor(values, requires_grad=True) for values in (x, slopes.ravel())]
    result = torch.nn.functional.prelu(*inputs)
    return partial(torch.autograd.grad, result, inputs, torch.from_numpy(grad), retain_graph=True)


def slope_gradients_table(rows: list[Row]) -> Iterator[str]:
    """One row per shape."""
    yield ""
    yield "The gradient with respect to the slope, float32"
    yield f"{'':40}{'time':>12}{'textbook line over ours':>32}{'torch over both gradients':>32}"
    for row in rows:
        axes = "" if row["axis"] is None else f", axis={row['axis']}"
        name = f"  {'x'.join(map(str, row['shape']))}{axes}"
        torch = spread(row["torch_time_over_both"]) if "torch_time_over_both" in row else "-"
        yield f"{name:40}{duration(row['seconds']):>12}{spread(row['textbook_time_over_ours']):>32}{torch:>32}"

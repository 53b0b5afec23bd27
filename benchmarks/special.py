"""Measures what the cells do not show: one slope per channel, and a single Python float."""

import timeit
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks import timing
from benchmarks.report import duration, spread
from leakyrelu import leaky_relu


class Layout(NamedTuple):
    """How the channels lie in memory."""

    name: str
    shape: tuple[int, ...]
    slopes: tuple[int, ...]


LAYOUTS = (
    Layout("channels first", (32, 32, 32, 32), (32, 1, 1)),
    Layout("channels first", (64, 64, 56, 56), (64, 1, 1)),
    Layout("channels first", (128, 512, 7, 7), (512, 1, 1)),
    Layout("channels first", (4, 512, 7, 7), (512, 1, 1)),
    Layout("channels first", (12, 512, 4, 4), (512, 1, 1)),
    Layout("channels first", (12, 2048, 2, 2), (2048, 1, 1)),
    Layout("channels last", (32, 32, 32, 32), (32, 1, 1)),
    Layout("channels last", (64, 64, 56, 56), (64, 1, 1)),
    Layout("rows", (4096, 256), (256,)),
    Layout("rows", (256, 4096), (4096,)),
    Layout("rows", (10_000, 1000), (1000,)),
)

Row = dict[str, Any]


def per_channel(effort: timing.Effort, layouts: tuple[Layout, ...] = LAYOUTS) -> list[Row]:
    """Our throughput with one slope per channel over that with one slope, on the same float32 arrays, with out=."""
    rows: list[Row] = []
    for layout in layouts:
        x = np.random.default_rng(0).standard_normal(layout.shape, np.float32)
        if layout.name == "channels last":  # the same shape; in memory batch, height, width, channel
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        slopes = np.linspace(0.01, 0.3, layout.slopes[0], dtype=np.float32).reshape(layout.slopes)
        out = np.empty_like(x)
        np.testing.assert_array_equal(leaky_relu(x, slopes, out=out), np.where(x >= 0, x, slopes * x))
        seconds = timing.interleaved(
            {
                "one": timing.Contender(partial(leaky_relu, x, 0.01, out=out)),
                "each": timing.Contender(partial(leaky_relu, x, slopes, out=out)),
                "textbook": timing.Contender(lambda x=x, slopes=slopes: np.where(x >= 0, x, slopes * x)),
            },
            effort,
        )
        rows.append(
            {
                "layout": layout.name,
                "shape": layout.shape,
                "seconds": float(np.median(seconds["each"])),
                "throughput_over_one_slope": timing.quartiles(seconds["one"] / seconds["each"]),
                "textbook_time_over_ours": timing.quartiles(seconds["textbook"] / seconds["each"]),
            }
        )
    return rows


def per_channel_table(rows: list[Row]) -> Iterator[str]:
    """One row per layout."""
    yield ""
    yield "One slope per channel, float32, with out="
    yield f"{'':40}{'time':>12}{'throughput over one slope':>32}{'textbook line over ours':>32}"
    for row in rows:
        name = f"  {row['layout']}, {'x'.join(map(str, row['shape']))}"
        against, textbook = spread(row["throughput_over_one_slope"]), spread(row["textbook_time_over_ours"])
        yield f"{name:40}{duration(row['seconds']):>12}{against:>32}{textbook:>32}"


def textbook_function(x: float, alpha: float = 0.01) -> float:
    """The function as textbooks write it."""
    return x if x >= 0 else alpha * x


def python_float(rounds: int = 31, calls: int = 20_000) -> Row:
    """Our time on a Python float over that of the textbook's function: the mean of one below zero and one above."""
    functions = {"ours": leaky_relu, "textbook": textbook_function}
    timers = {
        name: [timeit.Timer(f"f({x})", globals={"f": function}) for x in (-2.0, 2.0)]
        for name, function in functions.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    order = np.random.default_rng(0)
    for _ in range(rounds):
        for name in order.permutation(list(functions)):
            seconds[name].append(sum(timer.timeit(calls) for timer in timers[name]) / (len(timers[name]) * calls))
    return {
        "seconds": float(np.median(seconds["ours"])),
        "textbook_seconds": float(np.median(seconds["textbook"])),
        "time_over_textbook": timing.quartiles(np.divide(seconds["ours"], seconds["textbook"])),
    }


def python_float_line(measured: Row) -> str:
    """The result in a sentence."""
    ours, textbook = duration(measured["seconds"]), duration(measured["textbook_seconds"])
    ratio = spread(measured["time_over_textbook"])
    return f"A Python float: {ours}, the textbook's one-line Python function {textbook}; our time over its: {ratio}"

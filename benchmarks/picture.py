"""The picture: throughput over size, with one line per contender and the limit."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.cells import OPERATIONS
from benchmarks.measure import Result

# Colours that colour-blind readers can tell apart (mostly those of Okabe and Ito), and a marker for each.
_STYLES = {
    "leakyrelu": {"color": "#0072B2", "marker": "o", "lw": 2.6, "zorder": 4},
    "leakyrelu, 1 thread": {"color": "#0072B2", "marker": "o", "ls": "--", "mfc": "white"},
    "torch": {"color": "#D55E00", "marker": "s"},
    "jax.jit": {"color": "#882255", "marker": "D"},
    "onnxruntime": {"color": "#CC79A7", "marker": "v"},
    "numba parallel": {"color": "#009E73", "marker": "^"},
    "numba vectorize": {"color": "#009E73", "marker": "^", "ls": "--", "mfc": "white"},
    "numexpr": {"color": "#E69F00", "marker": "P"},
    "np.maximum": {"color": "#56B4E9", "marker": "X"},
    "np.where": {"color": "#444444", "marker": "x"},
}
_LIMIT = "the fastest copy"
_SMALLEST = 100  # with fewer elements, the call itself takes most of the time, and throughput means nothing


def draw(results: list[Result], title: str) -> Figure:
    """One row per operation (with out=, with a new output) and one column per type, as far as they were measured."""
    results = [result for result in results if result.cell.size >= _SMALLEST] or results
    measured = {(result.cell.operation, result.cell.type) for result in results}
    rows = [name for name in OPERATIONS if any(operation == name for operation, _ in measured)]
    rows = [name for name in rows if name in {"out", "new"}] or rows[:1]
    columns = [name for name in ("float32", "float16", "bfloat16", "float64", "int32") if (rows[0], name) in measured]
    figure = Figure(figsize=(2.2 + 3.9 * len(columns), 1.4 + 4 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
    entries = {}
    for i, operation in enumerate(rows):
        for j, type_ in enumerate(columns):
            ax = grid[i][j]
            _panel(ax, [r for r in results if (r.cell.operation, r.cell.type) == (operation, type_)])
            ax.set_title(f"{type_}, {OPERATIONS[operation]}")
            entries |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    drawn = [r.throughput(name) / 1e9 for r in results if r.cell.operation in rows for name in r.seconds]
    grid[0][0].set_ylim(min(drawn) / 1.5, max(drawn) * 1.5)
    for ax in grid[-1]:
        ax.set_xlabel("Elements")
    for ax in grid[:, 0]:
        ax.set_ylabel("Throughput, GB/s read and written")
    names = [name for name in (*_STYLES, _LIMIT) if name in entries]
    figure.legend([entries[name] for name in names], names, loc="outside right upper", frameon=False)
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _panel(ax: Axes, results: list[Result]) -> None:
    results = sorted(results, key=lambda result: result.cell.size)
    limit = [(r.cell.size, r.throughput(name) / 1e9) for r in results if (name := r.fastest("limit")) is not None]
    if limit:
        sizes, throughputs = np.array(limit).T
        ax.fill_between(sizes, throughputs, 1e-9, color="0.9", lw=0, label=_LIMIT)
        ax.plot(sizes, throughputs, color="0.6", lw=1.5)
    for name, style in _STYLES.items():
        points = [(r.cell.size, r.throughput(name) / 1e9) for r in results if name in r.seconds]
        if points:
            ax.plot(*np.array(points).T, label=name, **{"lw": 1.4, "ms": 5} | style)
    ax.set(xscale="log", yscale="log")
    ax.grid(True, alpha=0.4)

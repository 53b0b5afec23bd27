"""The pictures of the lesson, as SVG in the colours of the page, each with a description."""

import io
import math
import threading
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from leakyrelu.demo.networks import Floats
from leakyrelu.functions import leaky_relu
from leakyrelu.lesson.training import EPOCHS, NETWORKS, Snapshot
from leakyrelu.plot import plot_leaky_relu

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["RELATIVES", "accuracies", "function_at", "relative"]

# The colours that matplotlib writes, and the variables of the page's style for them, in light and in dark.
_COLORS = {
    "#1f77b4": "var(--blue)",
    "#d62728": "var(--red)",
    "#2ca02c": "var(--green)",
    "#b0b0b0": "var(--line)",
    "#cccccc": "var(--line)",
    "#000000": "var(--ink)",
    "#ffffff": "var(--page)",
}
_BLUE, _RED, _GREEN = "tab:blue", "tab:red", "tab:green"
_ONE_AT_A_TIME = (
    threading.Lock()
)  # matplotlib's settings belong to the process, and each visitor of the page has a thread


def _svg(draw: Callable[["Axes"], object], size: tuple[float, float], description: str) -> str:
    import matplotlib as mpl
    from matplotlib import figure as figures

    figure = figures.Figure(figsize=size, layout="constrained")
    file = io.StringIO()
    with _ONE_AT_A_TIME, mpl.rc_context({"svg.fonttype": "none", "font.size": 11}):
        draw(figure.subplots())
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    for written, wanted in _COLORS.items():
        text = text.replace(written, wanted)
    start = text.index("<svg") + len("<svg")
    return f'<svg role="img" aria-label="{escape(description)}"{text[start:]}'


def function_at(alpha: float, x: float, value: float, derivative: float) -> str:
    """Leaky ReLU and its derivative, with their points at x marked."""

    def draw(ax: "Axes") -> None:
        figure = plot_leaky_relu(alpha, ax=ax)
        for inset in ax.child_axes:  # too small to read here; a larger slope on the slider shows the same
            inset.remove()
        ax.set_title("")
        ax.axvline(x, color=_GREEN, lw=1, ls=":")
        ax.plot([x], [value], "o", color=_BLUE, ms=9)
        ax.plot([x], [derivative], "o", color=_RED, ms=9)
        _legend_below(figure, ax, 2)

    description = (
        f"Leaky ReLU with slope {alpha:g}: a line of slope {alpha:g} below zero, of slope 1 above. Its derivative is a "
        f"step from {alpha:g} to 1 at zero. Marked at x = {x:g}: value {value:g}, derivative {derivative:g}."
    )
    return _svg(draw, (5, 4), description)


def _legend_below(figure: "Figure", ax: "Axes", columns: int) -> None:
    """Put the legend below the picture: inside such a small picture it would hide something."""
    handles, labels = ax.get_legend_handles_labels()
    if legend := ax.get_legend():
        legend.remove()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


class Relative(NamedTuple):
    """An activation function: its formula, how it differs, and its values at x for one slope or several."""

    formula: str
    difference: str
    at: Callable[[Floats, float], Floats]
    slopes: tuple[float, ...] = (1.0,)


def _gelu(x: Floats, _: float) -> Floats:
    return np.array([0.5 * z * (1 + math.erf(z / math.sqrt(2))) for z in x])


def _elu(x: Floats, alpha: float) -> Floats:
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))


RELATIVES = {
    "ReLU": Relative(
        "0 below zero",
        "Off there: exact zeros, and no gradient. A unit that is always there is dead.",
        leaky_relu,
        (0.0,),
    ),
    "Leaky ReLU": Relative(
        "alpha x below zero", "A small, fixed slope. The gradient is never zero.", leaky_relu, (0.1,)
    ),
    "PReLU": Relative(
        "alpha x below zero",
        "The slope is learned, as the weights are; often one for each channel.",
        leaky_relu,
        (0.05, 0.25, 0.45),
    ),
    "RReLU": Relative(
        "alpha x below zero",
        "In training the slope is drawn anew each time, from 1/8 to 1/3; afterwards their mean is used.",
        leaky_relu,
        tuple(np.linspace(1 / 8, 1 / 3, 6).tolist()),
    ),
    "ELU": Relative(
        "alpha (exp(x) - 1) below zero",
        "Levels off at -alpha, so the mean is nearer to zero; costs an exponential.",
        _elu,
    ),
    "GELU": Relative(
        "x Φ(x) everywhere",
        "Smooth, with a dip: x times the probability that a standard normal number is below x.",
        _gelu,
    ),
}


def relative(name: str) -> str:
    """A small picture of one of `RELATIVES`."""
    formula, difference, at, slopes = RELATIVES[name]
    x = np.linspace(-4, 4, 161)

    def draw(ax: "Axes") -> None:
        ax.axhline(0, color="#b0b0b0", lw=1)
        ax.axvline(0, color="#b0b0b0", lw=1)
        for slope in slopes:
            ax.plot(x, at(x, slope), color=_BLUE, lw=2.5 if len(slopes) == 1 else 1.3)
        ax.set(xlim=(-4, 4), ylim=(-2.2, 4), xticks=(-4, 0, 4), yticks=(0, 4))
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)

    return _svg(draw, (2.2, 1.8), f"{name}: {formula}. {difference}")


def accuracies(history: Sequence[tuple[Snapshot, ...]]) -> str:
    """The networks' accuracies over the epochs so far."""

    def draw(ax: "Axes") -> None:
        for i, (name, color, style) in enumerate(zip(NETWORKS, (_RED, _BLUE, _GREEN), ("-", "-", "--"), strict=True)):
            percent = [100 * states[i].accuracy for states in history]
            ax.plot(range(len(percent)), percent, style, color=color, lw=2, label=name)
        ticks = range(0, EPOCHS + 1, 5)
        ax.set(xlim=(0, EPOCHS), ylim=(0, 100), xticks=ticks, xlabel="Epoch", ylabel="Test accuracy, percent")
        ax.grid(True, alpha=0.4)
        _legend_below(ax.figure.figure, ax, 3)

    last = ", ".join(
        f"{name} {100 * state.accuracy:.1f} percent" for name, state in zip(NETWORKS, history[-1], strict=True)
    )
    return _svg(draw, (5, 3.2), f"Test accuracy over the epochs. After epoch {history[-1][0].epoch}: {last}.")

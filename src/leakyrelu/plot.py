"""The picture of Leaky ReLU and its derivative."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from leakyrelu._shared.arguments import ascending_pair, one_slope
from leakyrelu._shared.extras import needs
from leakyrelu.functions import leaky_relu

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_leaky_relu"]

# One slope is drawn as textbooks draw it: the function in blue, the derivative in red.
_TEXTBOOK = (("tab:blue", "tab:red"),)
_SEVERAL = tuple(
    (color, color) for color in ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:cyan")
)
_POINTS = 401
_TOO_LARGE = 1e100  # not far beyond it, matplotlib's ticks overflow


def plot_leaky_relu(
    alpha: float | Sequence[float] = 0.01,
    *,
    derivative: bool = True,
    limits: tuple[float, float] = (-10, 10),
    ax: "Axes | None" = None,
) -> "Figure":
    """Draw Leaky ReLU and its derivative.

    Where a negative input moves the output too little to be seen, an inset enlarges that part.

    Parameters
    ----------
    alpha : float or sequence of float, default 0.01
        The slope for negative inputs, or several slopes to compare.
    derivative : bool, default True
        Whether to draw the derivative, as a dashed line with a true step at zero: the filled point belongs to it.
    limits : (float, float), default (-10, 10)
        The smallest and the largest input drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw. By default a figure of its own, 10 by 6 inches, that no window shows and `pyplot` does not know.

    Returns
    -------
    matplotlib.figure.Figure
        The figure drawn on; save it with ``figure.savefig("leaky_relu.png")``.

    Raises
    ------
    ValueError
        A slope is NaN or infinite, there is no slope, `limits` are not two finite numbers in ascending order, or the
        picture would reach beyond 1e100.
    TypeError
        A slope is not a real number.
    ImportError
        matplotlib is missing: ``pip install 'leakyrelu[plot]'``.

    Examples
    --------
    >>> from leakyrelu.plot import plot_leaky_relu
    >>> figure = plot_leaky_relu()
    >>> figure.axes[0].get_title()
    'Leaky ReLU Activation Function and Its Derivative'
    """
    slopes = _slopes(alpha)
    low, high = ascending_pair("limits", limits)
    leak = max(abs(slope * low) for slope in slopes)
    if not max(leak, -low, high) < _TOO_LARGE:
        raise ValueError(f"the picture would reach {max(leak, -low, high):g}; choose smaller slopes or limits")
    if ax is None:
        ax = _new_axes()
    colors = _TEXTBOOK if len(slopes) == 1 else _SEVERAL
    _draw(ax, slopes, colors, (low, high), derivative)
    ax.set_title("Leaky ReLU Activation Function" + (" and Its Derivative" if derivative else ""))
    ax.set_xlabel("Input (x)")
    ax.set_ylabel("Output")
    ax.grid(True, alpha=0.4)
    ax.legend(loc="lower right")
    bottom, top = ax.get_ylim()
    if low < 0 < high and 0 < leak < 0.05 * (top - bottom):
        _enlarge(ax, slopes, colors, low, leak, derivative)
    return ax.figure.figure  # the figure, where `ax` is in a subfigure


def _slopes(alpha: Any) -> list[float]:
    slopes = [alpha] if np.ndim(alpha) == 0 else list(alpha)
    if not slopes:
        raise ValueError("alpha must be one slope or several, got none")
    if any(np.ndim(slope) for slope in slopes):
        raise TypeError(f"alpha must be one slope or a flat sequence of slopes, got {alpha!r}")
    return [one_slope(slope) for slope in slopes]


def _new_axes() -> Any:
    with needs("leakyrelu[plot]", "the picture"):
        from matplotlib.figure import Figure
    return Figure(figsize=(10, 6), layout="constrained").subplots()


def _draw(
    ax: "Axes",
    slopes: list[float],
    colors: tuple[tuple[str, str], ...],
    limits: tuple[float, float],
    derivative: bool,
) -> None:
    low, high = limits
    x = np.linspace(low, high, _POINTS)
    if low < 0 < high:
        x = np.union1d(x, [0.0])  # so that the corner is drawn exactly
    for i, slope in enumerate(slopes):
        ax.plot(x, leaky_relu(x, slope), color=colors[i % len(colors)][0], lw=2, label=f"Leaky ReLU, alpha = {slope:g}")
    if derivative:
        for i, slope in enumerate(slopes):
            _draw_step(ax, slope, colors[i % len(colors)][1], limits)


def _draw_step(ax: "Axes", slope: float, color: str, limits: tuple[float, float]) -> None:
    low, high = limits
    label = f"Derivative, alpha = {slope:g}"
    if not low < 0 <= high:
        level = slope if high < 0 else 1.0
        ax.plot([low, high], [level, level], "--", color=color, lw=2, label=label)
        return
    ax.plot([low, 0, 0, high], [slope, slope, 1, 1], "--", color=color, lw=2, label=label)
    ax.plot([0], [1], "o", color=color, ms=6)
    ax.plot([0], [slope], "o", color=color, ms=6, mfc="white")


def _enlarge(
    ax: "Axes",
    slopes: list[float],
    colors: tuple[tuple[str, str], ...],
    low: float,
    leak: float,
    derivative: bool,
) -> None:
    inset = ax.inset_axes((0.07, 0.5, 0.38, 0.4))
    limits = (low, 0.02 * abs(low))
    _draw(inset, slopes, colors, limits, derivative)
    above = 1.5 * max(slopes) if derivative else 0.0
    inset.set_xlim(limits)
    inset.set_ylim(-1.15 * leak, 1.15 * leak if min(slopes) < 0 else max(0.3 * leak, above))
    inset.set_title("Negative inputs, enlarged", fontsize="medium")
    inset.grid(True, alpha=0.4)

"""What theory and simulation say about networks born dead, as a text and as a picture."""

from typing import TYPE_CHECKING

import numpy as np

from leakyrelu._shared.arguments import positive_integer
from leakyrelu._shared.extras import needs
from leakyrelu.theory.born_dead import (
    BornDead,
    Simulated,
    born_dead_probability,
    deaths,
    simulate_born_dead,
    simulated,
    width_for_risk,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["born_dead_report", "plot_born_dead"]

_DRAWN_WIDTHS = (2, 3, 4, 6, 8, 10)
_DRAWN_DEPTHS = (3, 5, 10, 20, 50, 100)
_DRAWN_DEPTH = max(_DRAWN_DEPTHS)  # nothing deeper is simulated,
_WIDEST_SIMULATED = 16  # and nothing wider


def born_dead_report(
    width: int,
    depth: int,
    *,
    alpha: float = 0.0,
    networks: int = 100_000,
    risk: float = 0.01,
    rng: np.random.Generator | int | None = None,
) -> str:
    """What theory and a simulation say about a network, and how wide to make it, in four lines.

    Parameters
    ----------
    width, depth, alpha, networks, rng
        As for `simulate_born_dead`.
    risk : float, default 0.01
        As for `width_for_risk`.

    Returns
    -------
    str
        The text to print.

    Raises
    ------
    ValueError, TypeError
        As for those two.

    Examples
    --------
    >>> from leakyrelu.theory import born_dead_report
    >>> print(born_dead_report(2, 10, alpha=0.01, rng=0))
    Leaky ReLU with slope 0.01, one input, width 2, depth 10 (9 hidden layers), zero biases: born dead
    by theory:      never
    in simulation:  none of 100,000 networks, so below 3e-05 with 95 % confidence
    for a risk of at most 0.01 at this depth:  any width
    """
    bounds = born_dead_probability(width, depth, alpha=alpha)
    wide = width_for_risk(risk, depth)
    found = simulate_born_dead(width, depth, alpha=alpha, networks=networks, rng=rng)
    kind = f"Leaky ReLU with slope {alpha:g}" if alpha else "ReLU"
    return "\n".join(
        (
            f"{kind}, one input, width {width}, depth {depth} ({depth - 1} hidden layers), zero biases: born dead",
            f"by theory:      {_said_by_theory(bounds)}",
            f"in simulation:  {_said_by_simulation(found, networks)}",
            f"for a risk of at most {risk:g} at this depth:  " + ("any width" if alpha else f"width {wide} or more"),
        )
    )


def _said_by_theory(bounds: BornDead) -> str:
    if bounds.exact == 0:
        return "never"
    if bounds.exact is not None:
        return f"{bounds.exact:.6g}, known exactly"
    return f"at least {bounds.lower:.4g}, at most {bounds.upper:.4g}"


def _said_by_simulation(found: Simulated, networks: int) -> str:
    least = min(1.0, 3 / networks)  # the rule of three
    if found.probability == 0:
        return f"none of {networks:,} networks, so below {least:.2g} with 95 % confidence"
    if found.probability == 1:
        return f"all of {networks:,} networks, so above {1 - least:.6g} with 95 % confidence"
    return f"{found.probability:.4f} ± {found.standard_error:.4f} (standard error, {networks:,} networks)"


def plot_born_dead(
    width: int = 2, depth: int = 10, *, networks: int = 4000, rng: np.random.Generator | int | None = None
) -> "Figure":
    """Draw the probability that a ReLU network is born dead over its depth, one line per width, and mark one network.

    Parameters
    ----------
    width, depth : int
        The network to mark. Its width is drawn in addition to the usual ones.
    networks : int, default 4000
        How many networks are simulated per width, up to width 16 and depth 100; a line follows the same networks.
    rng : numpy.random.Generator, int or None
        As for `simulate_born_dead`.

    Returns
    -------
    matplotlib.figure.Figure
        A figure that no window shows and `pyplot` does not know; save it with ``figure.savefig("born_dead.png")``.

    Raises
    ------
    ValueError, TypeError
        `width`, `depth` or `networks` is not a positive integer.
    ImportError
        matplotlib is missing: ``pip install 'leakyrelu[plot]'``.

    Examples
    --------
    >>> from leakyrelu.theory import plot_born_dead
    >>> figure = plot_born_dead(2, 10, networks=100, rng=0)
    >>> figure.axes[0].get_title()
    'How likely a ReLU network is born dead'
    """
    with needs("leakyrelu[plot]", "the picture"):
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, PercentFormatter
    marked = born_dead_probability(width, depth)
    networks, rng = positive_integer("networks", networks), np.random.default_rng(rng)
    figure = Figure(figsize=(10, 6), layout="constrained")
    ax = figure.subplots()
    for i, each in enumerate(sorted({*_DRAWN_WIDTHS, width})):
        _draw_width(ax, each, max(_DRAWN_DEPTH, 2 * depth), networks, rng, f"C{i}")
    ax.axhline(0, color="black", lw=3, label="Leaky ReLU, any width")
    half = (marked.upper - marked.lower) / 2
    label = f"width {width}, depth {depth}: {marked.lower:.3g} to {marked.upper:.3g}"
    ax.errorbar(depth, marked.lower + half, half, color="black", capsize=8, lw=2, zorder=4, label=label)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_title("How likely a ReLU network is born dead")
    ax.set_xlabel("Depth (layers)")
    ax.set_ylabel("Probability")
    ax.grid(True, alpha=0.4)
    title = f"Lines: {networks:,} simulated networks each\nBars: 3 standard errors; bands: the bounds"
    figure.legend(loc="outside right upper", title=title)
    return figure


def _draw_width(ax: "Axes", width: int, deepest: int, networks: int, rng: np.random.Generator, color: str) -> None:
    depths = sorted({int(depth) for depth in np.geomspace(2, deepest, 200)})
    bounds = [born_dead_probability(width, depth) for depth in depths]
    lower, upper = [each.lower for each in bounds], [each.upper for each in bounds]
    ax.fill_between(depths, lower, upper, color=color, alpha=0.3, lw=0, label=f"width {width}")
    if width > _WIDEST_SIMULATED:
        return
    counts = deaths(width, _DRAWN_DEPTH, 0.0, networks, rng)
    dead = np.cumsum([counts[depth] for depth in range(1, _DRAWN_DEPTH + 1)])
    ax.plot(range(2, _DRAWN_DEPTH + 1), dead[1:] / networks, color=color)
    probability, error = zip(*(simulated(int(dead[depth - 1]), networks) for depth in _DRAWN_DEPTHS), strict=True)
    ax.errorbar(_DRAWN_DEPTHS, probability, 3 * np.array(error), fmt="o", ms=3, capsize=3, color=color)

"""What a search over slopes has found: as numbers, as a table, in sentences, and as a picture."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from math import inf, isfinite, nan
from typing import TYPE_CHECKING

import numpy as np

from leakyrelu._shared.extras import needs
from leakyrelu._shared.intervals import paired_difference
from leakyrelu._shared.tables import text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BASELINE", "REFERENCES", "Slope", "SlopeState", "Tuning"]

BASELINE = 0.01  # the customary slope, with which all others are compared
REFERENCES = (0.0, BASELINE)  # tried in every search, as its first trials; 0 is ReLU
_KEPT = "Trials that failed are kept, and not run again: once the objective is mended, give another study name."


class SlopeState(StrEnum):
    """How the trial of a slope ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"  # found worse than the best before all its seeds were run
    FAILED = "failed"


@dataclass(frozen=True)
class Slope:
    """One slope, and its scores."""

    trial: int
    alpha: float
    state: SlopeState
    scores: Mapping[int, float]  # by seed
    never_positive: Mapping[int, float] = field(default_factory=dict)  # fraction of the units, by seed, where known
    error: str | None = None  # at which seed it failed, and why

    @property
    def mean(self) -> float:
        """Mean score; NaN where there is none."""
        return float(np.mean(list(self.scores.values()))) if self.scores else nan

    @property
    def spread(self) -> float:
        """Standard deviation of the scores over the seeds; NaN where there are fewer than two."""
        return float(np.std(list(self.scores.values()), ddof=1)) if len(self.scores) > 1 else nan


@dataclass(frozen=True)
class Tuning:
    """What `leakyrelu.tuning.tune` has found.

    Attributes
    ----------
    limits : (float, float)
        The smallest and the largest slope that was to be tried.
    seeds : tuple of int
        The seeds that each slope was to be tried with.
    slopes : tuple of Slope
        The slopes that were tried, with their scores, in the order of the trials.
    """

    limits: tuple[float, float]
    seeds: tuple[int, ...]
    slopes: tuple[Slope, ...]

    @property
    def complete(self) -> tuple[Slope, ...]:
        """The slopes that were tried with all seeds."""
        return self._those(SlopeState.COMPLETE)

    @property
    def pruned(self) -> tuple[Slope, ...]:
        """The slopes that were given up."""
        return self._those(SlopeState.PRUNED)

    @property
    def failed(self) -> tuple[Slope, ...]:
        """The slopes whose objective raised, or gave no finite score."""
        return self._those(SlopeState.FAILED)

    def _those(self, state: SlopeState) -> tuple[Slope, ...]:
        return tuple(slope for slope in self.slopes if slope.state == state)

    @property
    def best(self) -> Slope | None:
        """The slope with the highest mean score among those tried with all seeds; None if there is none."""
        return max(self.complete, key=lambda slope: slope.mean, default=None)

    @property
    def relu(self) -> Slope | None:
        """Slope 0; None if it failed."""
        return next((slope for slope in self.complete if slope.alpha == 0), None)

    @property
    def baseline(self) -> Slope | None:
        """Slope 0.01; None if it failed."""
        return next((slope for slope in self.complete if slope.trial < 2 and slope.alpha == BASELINE), None)

    def difference(self, slope: Slope) -> tuple[float, float]:
        """Mean score minus that of 0.01, over the seeds that both have, and half the width of its confidence interval.

        The interval of ReLU has 95 % confidence, because this comparison is made whatever the scores are. The intervals
        of all other slopes hold at once with 95 % confidence (Bonferroni), because the best of them is picked by these
        scores. Both numbers are NaN if there is nothing to compare. The half width is infinite if the scores cannot
        tell it: if there is one seed; if the difference is the same at every seed, which happens by chance with few
        seeds and scores of few values; and if the slope was given up because of its scores.
        """
        baseline = self.baseline
        if baseline is None or slope is baseline:
            return nan, nan
        common = [seed for seed in slope.scores if seed in baseline.scores]
        if not common:
            return nan, nan
        first, second = ([each.scores[seed] for seed in common] for each in (baseline, slope))
        mean, spread = paired_difference(first, second, comparisons=self._comparisons if slope.alpha else 1)
        rounding = 1e-12 * max(map(abs, (*first, *second)))
        return mean, spread if spread > rounding and slope.state == SlopeState.COMPLETE else inf

    @cached_property
    def _comparisons(self) -> int:
        return max(1, sum(bool(slope.scores) for slope in self.slopes if slope.alpha) - 1)

    @property
    def conclusions(self) -> tuple[str, ...]:
        """What follows, in sentences. A difference is claimed only where it exceeds its interval."""
        best, baseline, relu = self.best, self.baseline, self.relu
        if best is None:
            first = self.failed[0].error if self.failed else "none was run"
            kept = (_KEPT,) if self.failed else ()
            return (f"No slope was tried to the end: {first}.", *kept)
        sentences = [f"Best of {len(self.slopes)} slopes: {_named(best.alpha)}, {_score(best)}."]
        if baseline is None:
            sentences.append("The slope 0.01 failed, so there is nothing to compare with.")
        elif best is baseline:
            sentences.append("No slope did better than 0.01.")
        else:
            sentences.append(self._compared(best))
        if relu is not None and relu is not best and baseline is not None:
            sentences.append(self._compared(relu))
        sentences += [f"Failed: slope {slope.alpha:.4g} (trial {slope.trial}), {slope.error}." for slope in self.failed]
        return tuple(sentences)

    def _compared(self, slope: Slope) -> str:
        mean, spread = self.difference(slope)
        name = _named(slope.alpha)
        if not isfinite(spread):
            what = "one seed" if len(slope.scores) == 1 else f"the same at every seed ({_digits(mean, 3, '+')})"
            return f"{name} and 0.01: {what} has no spread, so no difference is claimed."
        if abs(mean) <= spread:
            shown = f"{_digits(mean, 3, '+')} ± {_digits(spread, 2)}"
            return f"{name} and 0.01: no difference beyond the spread ({shown} points)."
        kind = "better" if mean > 0 else "worse"
        return f"{name} is {kind} than 0.01 by {_digits(abs(mean), 3)} ± {_digits(spread, 2)} points."

    def __str__(self) -> str:
        """A table, one row per slope in ascending order, and the conclusions."""
        headings = ["Slope", "Seeds", "Score (mean ± standard deviation)", "Less 0.01 (95 %)"]
        known = any(slope.never_positive for slope in self.slopes)
        headings += ["Units never above zero"] * known + ["State"]
        rows = []
        for slope in sorted(self.slopes, key=lambda slope: slope.alpha):
            fractions = list(slope.never_positive.values())
            units = [f"{100 * np.mean(fractions):.1f} %" if fractions else "-"]
            mean, spread = self.difference(slope)
            less = _digits(mean, 3, "+") if isfinite(mean) else "-"
            less += f" ± {_digits(spread, 2)}" if isfinite(spread) else ""
            scores = _score(slope) if slope.scores else "-"
            rows.append([_named(slope.alpha), str(len(slope.scores)), scores, less, *units * known, slope.state])
        return "\n".join([text_table(headings, rows), "", *self.conclusions])

    def plot(self) -> "Figure":
        """The picture: score over slope, and the units never above zero where they are known.

        Raises
        ------
        ImportError
            matplotlib is missing: ``pip install 'leakyrelu[plot]'``.
        """
        with needs("leakyrelu[plot]", "the picture"):
            from matplotlib.figure import Figure
        known = any(slope.never_positive for slope in self.slopes)
        figure = Figure(figsize=(9, 7 if known else 4.5), layout="constrained")
        axes = figure.subplots(1 + known, 1, sharex=True, squeeze=False)[:, 0]
        self._draw(axes[0], "scores", 1)
        seeds = f"{len(self.seeds)} seeds" + (" (pruned: fewer)" if self.pruned else "")
        axes[0].set(title=f"Score over slope: mean ± standard deviation, {seeds}", ylabel="Score")
        if axes[0].get_legend_handles_labels()[0]:
            axes[0].legend()
        if known:
            self._draw(axes[1], "never_positive", 100)
            axes[1].set(title="Units never above zero: dead, where the slope is 0", ylabel="Percent", ylim=(-3, 103))
        axes[-1].set(xlabel="Slope (alpha)", xscale="log")
        for ax in axes:
            ax.grid(True, alpha=0.4)
        return figure

    def _draw(self, ax: "Axes", what: str, scale: float) -> None:
        """Draw scores or fractions over the slopes searched, and ReLU and 0.01 as lines."""
        for state, color, marker in ((SlopeState.COMPLETE, "tab:blue", "o"), (SlopeState.PRUNED, "0.6", "v")):
            points = [
                (slope.alpha, *_mean_and_deviation(slope, what, scale)) for slope in self._those(state) if slope.alpha
            ]
            points = [point for point in points if isfinite(point[1])]
            if points:
                alphas, means, deviations = zip(*points, strict=True)
                label = f"Leaky ReLU, {state}"
                ax.errorbar(alphas, means, deviations, fmt=marker, color=color, capsize=3, label=label)
        if self.relu is not None:
            mean, deviation = _mean_and_deviation(self.relu, what, scale)
            if isfinite(mean):
                ax.axhline(mean, color="tab:red", label="ReLU")
                ax.axhspan(mean - deviation, mean + deviation, color="tab:red", alpha=0.12, lw=0)
        if self.baseline is not None:
            ax.axvline(BASELINE, color="0.4", ls=":", label="0.01")


def _mean_and_deviation(slope: Slope, what: str, scale: float) -> tuple[float, float]:
    """Mean and standard deviation of the slope's scores or fractions; NaN if there are none, and 0 for one alone."""
    values = scale * np.array(list(getattr(slope, what).values()))
    if not len(values):
        return nan, nan
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0


def _named(alpha: float) -> str:
    return f"{alpha:.4g}" if alpha else "ReLU (0)"


def _score(slope: Slope) -> str:
    return _digits(slope.mean, 4) + (f" ± {_digits(slope.spread, 2)}" if isfinite(slope.spread) else "")


def _digits(value: float, significant: int, sign: str = "") -> str:
    """Rounded, and without an exponent up to a million: 150, not 1.5e+02."""
    return f"{float(f'{value:.{significant}g}'):{sign}g}"

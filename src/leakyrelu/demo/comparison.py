"""Trains both networks for each seed, and says what the difference is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from leakyrelu._shared.digits import Digits, load_digits
from leakyrelu._shared.intervals import paired_difference
from leakyrelu._shared.progress import Progress, unseen
from leakyrelu.demo.networks import Floats, Integers, Run, Setting, train

__all__ = ["DemoResult", "Final", "conclusions", "final", "run"]


@dataclass(frozen=True, eq=False)
class DemoResult:
    """The runs of both networks, in the order of the seeds."""

    setting: Setting
    relu: tuple[Run, ...]
    leaky_relu: tuple[Run, ...]


def run(
    setting: Setting | None = None,
    digits: Digits | None = None,
    progress: Progress = unseen,
) -> DemoResult:
    """Train a ReLU and a Leaky ReLU network for each seed.

    Parameters
    ----------
    setting : Setting, optional
        By default the one that `leakyrelu.demo.networks` describes.
    digits : Digits, optional
        By default those of scikit-learn.
    progress : callable, optional
        Called with the epochs done and the epochs in all, after each epoch.

    Raises
    ------
    ImportError
        scikit-learn is missing: ``pip install 'leakyrelu[demo]'``.
    """
    setting = Setting() if setting is None else setting
    digits = load_digits() if digits is None else digits
    total = 2 * len(setting.seeds) * setting.epochs
    done = 0

    def on_epoch() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    pairs = [
        (train(setting, 0, seed, digits, on_epoch), train(setting, setting.alpha, seed, digits, on_epoch))
        for seed in setting.seeds
    ]
    relu, leaky = zip(*pairs, strict=True)
    return DemoResult(setting, relu, leaky)


class Final(NamedTuple):
    """How the networks of one kind ended, in percent: one row per seed; for units, one column per layer and a total."""

    accuracy: Floats
    never_positive: Floats
    without_gradient: Floats


def final(runs: Sequence[Run], hidden: tuple[int, ...]) -> Final:
    """How these networks ended; `hidden` holds the sizes of their hidden layers."""

    def percent(counts: list[Integers]) -> Floats:
        by_layer = np.array(counts)
        return 100 * np.column_stack([by_layer / hidden, by_layer.sum(axis=1) / sum(hidden)])

    return Final(
        np.array([100 * run.accuracy[-1] for run in runs]),
        percent([run.never_positive[-1] for run in runs]),
        percent([run.without_gradient for run in runs]),
    )


def conclusions(result: DemoResult) -> list[str]:
    """What the runs show, in sentences: a difference is claimed only where it exceeds the spread over the seeds.

    The spread is the 95 % confidence interval that `paired_difference` gives.
    """
    alpha, hidden = result.setting.alpha, result.setting.hidden
    relu, leaky = final(result.relu, hidden), final(result.leaky_relu, hidden)
    sentences = [
        f"Differences over {len(result.relu)} seeds, seed by seed, with their 95 % confidence intervals:",
        _compare("Test accuracy", relu.accuracy, leaky.accuracy, "{} is better"),
        _compare("Units never positive", leaky.never_positive[:, -1], relu.never_positive[:, -1], "fewer with {},"),
        _compare(
            "Units without gradient", leaky.without_gradient[:, -1], relu.without_gradient[:, -1], "fewer with {},"
        ),
        "Networks that gave one answer to every test image: " + _count(result, "one_answer"),
        "Networks that overflowed: " + _count(result, "overflowed"),
    ]
    if any(run.overflowed for run in (*result.relu, *result.leaky_relu)):
        sentences.append("A unit that is NaN after an overflow counts as never positive and without gradient.")
    if alpha:
        sentences.append(
            "A Leaky ReLU unit that is never positive is linear on this data, and not dead: "
            f"it passes on {alpha:g} times its gradient."
        )
    return sentences


def _compare(what: str, first: Floats, second: Floats, verdict: str) -> str:
    """A sentence on percentages by seed, arranged so that `second` is larger where Leaky ReLU does better."""
    mean, spread = paired_difference(first, second)
    if np.isinf(spread):
        return f"{what}: one seed has no spread, so no difference is claimed."
    if abs(mean) <= spread:
        return f"{what}: no difference beyond the spread (mean {abs(mean):.1f}, spread ± {spread:.1f} points)."
    winner = "Leaky ReLU" if mean > 0 else "ReLU"
    return f"{what}: {verdict.format(winner)} by {abs(mean):.1f} ± {spread:.1f} points."


def _count(result: DemoResult, what: str) -> str:
    relu, leaky = (sum(getattr(run, what) for run in runs) for runs in (result.relu, result.leaky_relu))
    return f"{relu} of {len(result.relu)} with ReLU, {leaky} of {len(result.leaky_relu)} with Leaky ReLU."

"""One call of an activation: what is counted per unit, and what follows from it (dead, rare, dormant and so on)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "DORMANT",
    "KINDS",
    "LISTS",
    "RARE",
    "WITHOUT_RATES",
    "Bools",
    "Floats",
    "Integers",
    "Site",
    "Totals",
    "larger",
    "rates_by_kind",
    "totals",
]

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

RARE = 0.01  # a unit that fires less often than this is rare
DORMANT = 0.025  # tau of Sokar et al. 2023
LISTS = ("dead", "one_sided", "rare", "always_on", "dormant", "nan")  # the attributes of `Site` that list units
KINDS = ("dead", "one_sided", "rare", "firing", "always_on", "nan")  # "firing": all other units
WITHOUT_RATES = ("dead", "one_sided", "nan")  # kinds whose firing rates are all zero, or not known


@dataclass(frozen=True, eq=False)
class Site:
    """One call of an activation in a model, and counts of what entered it; arrays have one entry per unit.

    A unit is a channel of a convolution, or a feature of a linear layer or of tokens. It fires where the value that
    enters the activation is above zero (for `threshold`: above its threshold). The properties `dead`, `one_sided`,
    `rare`, `always_on`, `dormant` and `nan` are arrays of the numbers of units, ascending from 0.

    Attributes
    ----------
    name : str
        The name of the module that is the activation, such as ``features.1``; or of the module that calls it, followed
        by the operation, such as ``features.relu``. ``:2`` is appended for the second call, and so on.
    operation : str
        ``"relu"``, ``"leaky_relu"``, ``"gelu"`` and so on.
    examples : int
        How many examples were seen.
    values : int
        How many values were seen per unit: for a convolution, examples times positions.
    fired : (units,) int64
        How many of the values were above zero.
    below : (units,) bool
        Whether any value was below zero; where `maximum` is None, whether any was zero or below.
    maximum : (units,) float64 or None
        The largest value, minus the threshold; NaN if a value was NaN. None if only the output was counted, as in
        compiled code.
    mean_output : (units,) float64
        The mean absolute value of the activation's output.
    flat : bool
        Whether the activation is flat below zero, as ReLU is, so that no gradient passes there.

    See Also
    --------
    Diagnosis : all sites of a model, with an example.
    """

    name: str
    operation: str
    examples: int
    values: int
    fired: Integers
    below: Bools
    maximum: Floats | None
    mean_output: Floats
    flat: bool

    @property
    def units(self) -> int:
        """How many units the site has."""
        return len(self.fired)

    @property
    def firing_rate(self) -> Floats:
        """The fraction of values above zero, for each unit."""
        return self.fired / self.values

    @property
    def nan(self) -> Integers:
        """The units that had a NaN; nothing else is said of them."""
        return np.flatnonzero(self._nan)

    @property
    def dead(self) -> Integers:
        """The units never above zero, if the activation is flat below zero.

        Their output is constant, and no gradient passes.
        """
        return np.flatnonzero(self._never & self.flat)

    @property
    def one_sided(self) -> Integers:
        """The units never above zero, if the activation is not flat below zero. A gradient still passes."""
        return np.flatnonzero(self._never & (not self.flat))

    @property
    def rare(self) -> Integers:
        """The units above zero at least once, but in less than 1 % of the values."""
        return np.flatnonzero((self.fired > 0) & (self.firing_rate < RARE) & ~self._nan)

    @property
    def always_on(self) -> Integers:
        """The units never below zero. If the activation is the identity above zero, they are linear on these data."""
        return np.flatnonzero(~(self.below | self._never | self._nan))

    @property
    def dormant(self) -> Integers:
        """The units whose `dormancy` is at most 0.025 (Sokar et al. 2023)."""
        return np.flatnonzero(self.dormancy <= DORMANT)

    @property
    def dormancy(self) -> Floats:
        """The mean absolute output of each unit, divided by its mean over the site; NaN for units with NaN."""
        finite = np.isfinite(self.mean_output) & ~self._nan
        mean = self.mean_output[finite].mean() if finite.any() else 0.0
        scores: Floats = np.where(finite, self.mean_output / mean if mean else 0.0, np.nan)
        return scores

    @property
    def bound(self) -> float:
        """With 95 % confidence, a unit that fired on none of N examples fires on less than 3/N of all; this is 3/N."""
        return min(1.0, 3 / self.examples)

    @property
    def _nan(self) -> Bools:
        nan: Bools = np.isnan(self.mean_output)
        return nan if self.maximum is None else nan | np.isnan(self.maximum)

    @property
    def _never(self) -> Bools:
        never: Bools = (self.fired == 0) & ~self._nan
        return never


def larger(one: Floats | None, other: Floats | None) -> Floats | None:
    """The larger of the largest values of several parts of the data; None if it is not known of both."""
    return None if one is None or other is None else np.maximum(one, other)


class Totals(NamedTuple):
    """How many units several sites have together."""

    units: int
    dead: int
    nan: int  # units that had a NaN, so that nothing is known of them

    @property
    def judged(self) -> int:
        """How many units something is known of."""
        return self.units - self.nan

    @property
    def dead_fraction(self) -> float:
        """The fraction of all units that are dead; NaN where no unit was judged."""
        return self.dead / self.units if self.judged else nan


def totals(sites: Sequence[Site]) -> Totals:
    """The units of all these sites together."""
    return Totals(
        sum(site.units for site in sites),
        sum(len(site.dead) for site in sites),
        sum(len(site.nan) for site in sites),
    )


def rates_by_kind(site: Site) -> list[tuple[str, Floats]]:
    """The firing rates of each kind of units, in ascending order; each unit is of one kind, and no kind is empty."""
    kinds = np.full(site.units, "firing", "U9")
    for kind in ("always_on", "rare", "one_sided", "dead", "nan"):
        kinds[getattr(site, kind)] = kind
    parts = [(kind, np.sort(site.firing_rate[kinds == kind])) for kind in KINDS]
    return [(kind, rates) for kind, rates in parts if len(rates)]

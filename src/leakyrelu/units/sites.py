"""One call of an activation: what is counted per unit, and what follows from it (dead, rare, dormant and so on)."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    "rates_by_kind",
    "totals",
]

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

RARE = 0.01  # a unit that fires less often than this is rare
DORMANT = 0.025  # tau of Sokar et al. 2023
LISTS = ("dead", "one_sided", "rare", "always_on", "dormant", "nan")  # the attributes of `Site` that list units
KINDS = ("dead", "one_sided", "rare", "firing", "always_on", "nan")  # "firing" are all others
WITHOUT_RATES = ("dead", "one_sided", "nan")  # the kinds whose firing rates are all zero, or not known


@dataclass(frozen=True, eq=False)
class Site:
    """One call of an activation in a model, and what entered it; arrays have one entry per unit.

    A unit is a channel of a convolution, a feature of a linear layer or of tokens. It fires where what enters the
    activation is above zero (for `threshold`: above its threshold).

    Attributes
    ----------
    name : str
        Of the module that is the activation, or in which it is called; ``name:2`` for its second call, and so on.
    operation : str
        ``"relu"``, ``"leaky_relu"``, ``"gelu"`` and so on.
    examples : int
        Examples seen.
    values : int
        Values seen per unit: for a convolution, examples times positions.
    fired : (units,) int64
        How many of them were above zero.
    below : (units,) bool
        Whether one of them was below zero.
    maximum : (units,) float64
        The largest of them, less the threshold; NaN where one was NaN.
    mean_output : (units,) float64
        The mean of the absolute value of what left the activation.
    flat : bool
        Whether the activation is flat below zero, as ReLU is: no gradient passes there.
    """

    name: str
    operation: str
    examples: int
    values: int
    fired: Integers
    below: Bools
    maximum: Floats
    mean_output: Floats
    flat: bool

    @property
    def units(self) -> int:
        """How many units."""
        return len(self.fired)

    @property
    def firing_rate(self) -> Floats:
        """The fraction of values above zero, per unit."""
        return self.fired / self.values

    @property
    def nan(self) -> Integers:
        """The units that had a NaN; nothing else is said of them."""
        return np.flatnonzero(self._nan)

    @property
    def dead(self) -> Integers:
        """The units never above zero, where the activation is flat there: a constant output, and no gradient."""
        return np.flatnonzero(self._never & self.flat)

    @property
    def one_sided(self) -> Integers:
        """The units never above zero where the activation is not flat there: not dead, but all on one side."""
        return np.flatnonzero(self._never & (not self.flat))

    @property
    def rare(self) -> Integers:
        """The units above zero in less than 1 % of the values, but at least once."""
        return np.flatnonzero((self.fired > 0) & (self.firing_rate < RARE) & ~self._nan)

    @property
    def always_on(self) -> Integers:
        """The units never below zero: where the activation is the identity above it, these are linear."""
        return np.flatnonzero(~(self.below | self._never | self._nan))

    @property
    def dormant(self) -> Integers:
        """The units whose mean absolute output is at most 0.025 of the mean over the site (Sokar et al. 2023)."""
        finite = np.isfinite(self.mean_output) & ~self._nan
        mean = self.mean_output[finite].mean() if finite.any() else 0.0
        return np.flatnonzero(finite & (self.mean_output <= DORMANT * mean))

    @property
    def bound(self) -> float:
        """A unit that fired on none of N examples fires on a fraction below this, 3/N, with 95 % confidence."""
        return min(1.0, 3 / self.examples)

    @property
    def _nan(self) -> Bools:
        nan: Bools = np.isnan(self.maximum) | np.isnan(self.mean_output)
        return nan

    @property
    def _never(self) -> Bools:
        never: Bools = (self.fired == 0) & ~self._nan
        return never


class Totals(NamedTuple):
    """Units of several sites, counted."""

    units: int
    dead: int
    nan: int  # had a NaN, so that nothing is known of them

    @property
    def dead_fraction(self) -> float:
        """The fraction of all units that are dead."""
        return self.dead / self.units if self.units else 0.0


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

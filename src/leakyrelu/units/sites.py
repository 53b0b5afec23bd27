"""What is counted per unit, and what follows from it: dead, rare, always on, dormant, and how sure that is.

For any framework: one that has counted makes `Site` and `Diagnosis` of its counts. Needs NumPy alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DORMANT", "RARE", "Diagnosis", "Site", "merge"]

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

RARE = 0.01  # a unit that fires less often than this is rare
DORMANT = 0.025  # tau of Sokar et al. 2023


@dataclass(frozen=True, eq=False)
class Site:
    """One call of an activation in a model, and what entered it; arrays have one entry a unit.

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
    samples : int
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
    samples: int
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
        return self.fired / self.samples

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


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The units of a model: which are dead, and how sure that is.

    Attributes
    ----------
    sites : sequence of Site
        The calls of activations, in the order of their execution.
    samples : int
        Examples seen.
    notes : sequence of str
        What could not be seen, and other remarks.
    """

    sites: Sequence[Site]
    samples: int
    notes: Sequence[str] = ()

    @property
    def units(self) -> int:
        """All units, of all sites."""
        return sum(site.units for site in self.sites)

    @property
    def dead(self) -> int:
        """How many of them are dead."""
        return sum(len(site.dead) for site in self.sites)

    @property
    def dead_fraction(self) -> float:
        """The dead ones' part of all units."""
        return self.dead / self.units if self.units else 0.0

    def __str__(self) -> str:
        from leakyrelu import report

        return report.as_text(self)

    def to_dict(self) -> dict[str, Any]:
        """All of it as numbers, strings, lists and dictionaries, for JSON."""
        from leakyrelu import report

        return report.as_dict(self)

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write `to_dict` to a file, whole or not at all."""
        from leakyrelu import report

        report.write_json(self, Path(path))

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write one page, which needs no other file: the firing rates of each site, what the words mean, what to do."""
        from leakyrelu import report

        report.write_html(self, Path(path))

    def plot(self) -> "Figure":
        """Draw the firing rates, a strip a site.

        Raises
        ------
        ImportError
            matplotlib is missing: ``pip install 'leakyrelu[plot]'``.
        """
        from leakyrelu import report

        return report.draw(self)


def merge(parts: Iterable[Diagnosis]) -> Diagnosis:
    """One diagnosis of the same model from several parts of the data, as of the processes of a distributed training."""
    parts = list(parts)
    sites: dict[tuple[str, str, int], Site] = {}
    for part in parts:
        for site in part.sites:
            key = site.name, site.operation, site.units
            sites[key] = _together(sites[key], site) if key in sites else site
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return Diagnosis(tuple(sites.values()), sum(part.samples for part in parts), tuple(notes))


def _together(one: Site, other: Site) -> Site:
    samples = one.samples + other.samples
    return replace(
        one,
        examples=one.examples + other.examples,
        samples=samples,
        fired=one.fired + other.fired,
        below=one.below | other.below,
        maximum=np.maximum(one.maximum, other.maximum),
        mean_output=(one.mean_output * one.samples + other.mean_output * other.samples) / samples,
    )

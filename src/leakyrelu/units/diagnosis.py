"""A diagnosis: the sites of a model together, shown as text, JSON, a page or a picture."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from leakyrelu._shared.files import write_text
from leakyrelu.units import json, text
from leakyrelu.units.html import as_html
from leakyrelu.units.picture import draw
from leakyrelu.units.sites import Site, totals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Diagnosis", "merge"]


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The units of a model: which are dead, and how sure that is.

    Attributes
    ----------
    sites : sequence of Site
        The calls of activations, in the order of their execution.
    examples : int
        Examples seen.
    notes : sequence of str
        What could not be seen, and other remarks.
    """

    sites: Sequence[Site]
    examples: int
    notes: Sequence[str] = ()

    @property
    def units(self) -> int:
        """All units, of all sites."""
        return totals(self.sites).units

    @property
    def dead(self) -> int:
        """How many of them are dead."""
        return totals(self.sites).dead

    @property
    def dead_fraction(self) -> float:
        """The fraction of all units that are dead."""
        return totals(self.sites).dead_fraction

    def __str__(self) -> str:
        return text.as_text(self.sites, self.notes)

    def to_dict(self) -> dict[str, Any]:
        """All of it as numbers, strings, lists and dictionaries, for JSON.

        None stands for NaN, for infinity, and for the firing rate of a unit that had a NaN. ``"format"`` is 1; it
        changes when the meaning of a key does.
        """
        return json.as_dict(self.sites, self.examples, self.notes)

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write `to_dict` to a file, whole or not at all."""
        write_text(Path(path), json.as_json(self.sites, self.examples, self.notes))

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write one page, which needs no other file: the firing rates of each site, what the words mean, what to do."""
        write_text(Path(path), as_html(self.sites, self.notes))

    def plot(self) -> "Figure":
        """Draw the firing rates, one strip per site: its units from left to right, the dead ones first.

        Returns
        -------
        matplotlib.figure.Figure
            Save it with ``figure.savefig("units.png")``; no window shows it, and `pyplot` does not know it.

        Raises
        ------
        ImportError
            matplotlib is missing: ``pip install 'leakyrelu[plot]'``.
        """
        return draw(self.sites)


def merge(parts: Iterable[Diagnosis]) -> Diagnosis:
    """One diagnosis of the same model from several parts of the data, as of the processes of a distributed training."""
    parts = list(parts)
    sites: dict[tuple[str, str, int], Site] = {}
    for part in parts:
        for site in part.sites:
            key = site.name, site.operation, site.units
            sites[key] = _together(sites[key], site) if key in sites else site
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return Diagnosis(tuple(sites.values()), sum(part.examples for part in parts), tuple(notes))


def _together(one: Site, other: Site) -> Site:
    values = one.values + other.values
    return replace(
        one,
        examples=one.examples + other.examples,
        values=values,
        fired=one.fired + other.fired,
        below=one.below | other.below,
        maximum=np.maximum(one.maximum, other.maximum),
        mean_output=(one.mean_output * one.values + other.mean_output * other.values) / values,
    )

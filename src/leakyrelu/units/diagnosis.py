"""A diagnosis: the sites of a model together, shown as text, JSON, a page or a picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leakyrelu._shared.files import write_text
from leakyrelu.units import json, text
from leakyrelu.units.html import as_html
from leakyrelu.units.picture import draw
from leakyrelu.units.sites import Site, larger, totals

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Diagnosis", "merge"]


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The units of a model: which are dead, and how sure that is.

    ``print`` shows it as a table, with a verdict in sentences.

    Attributes
    ----------
    sites : sequence of Site
        The calls of activations, in the order of their execution.
    examples : int
        How many examples were seen.
    notes : sequence of str
        What could not be seen, and other remarks.

    See Also
    --------
    leakyrelu.torch.diagnose : makes one for a model of PyTorch.
    leakyrelu.jax.diagnose : makes one for a network in JAX.
    leakyrelu.sklearn.diagnose : makes one for a multi-layer perceptron of scikit-learn.
    leakyrelu.keras.diagnose : makes one for a model of Keras.

    Examples
    --------
    The counts may come from any framework. Here, unit 0 is dead and unit 1 fires on 40 of 100 examples:

    >>> import numpy as np
    >>> from leakyrelu.units import Diagnosis, Site
    >>> site = Site(
    ...     name="act",
    ...     operation="relu",
    ...     examples=100,
    ...     values=100,
    ...     fired=np.array([0, 40]),
    ...     below=np.array([True, True]),
    ...     maximum=np.array([-0.5, 2.0]),
    ...     mean_output=np.array([0.0, 0.3]),
    ...     flat=True,
    ... )
    >>> diagnosis = Diagnosis([site], examples=100)
    >>> diagnosis.dead, diagnosis.units, diagnosis.dead_fraction, site.dead.tolist()
    (1, 2, 0.5, [0])
    """

    sites: Sequence[Site]
    examples: int
    notes: Sequence[str] = ()

    @property
    def units(self) -> int:
        """How many units there are, in all sites together."""
        return totals(self.sites).units

    @property
    def dead(self) -> int:
        """How many units are dead, in all sites together."""
        return totals(self.sites).dead

    @property
    def judged(self) -> int:
        """How many units were judged, which are all that had no NaN."""
        return totals(self.sites).judged

    @property
    def dead_fraction(self) -> float:
        """The fraction of all units that are dead; NaN, which is not below any limit, if no unit was judged."""
        return totals(self.sites).dead_fraction

    def __str__(self) -> str:
        return text.as_text(self.sites, self.notes)

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as numbers, strings, lists and dictionaries, for JSON.

        The strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` stand for these numbers in ``maximum`` and
        ``mean_output``. None stands for the firing rate of a unit that had a NaN, and for the dead fraction where no
        unit was judged.

        Returns
        -------
        dict
            The keys are ``format``, ``examples``, ``units``, ``judged``, ``dead``, ``dead_fraction``, ``bound``,
            ``notes`` and ``sites``. ``format`` is 2; it changes when the meaning of a key changes. The reference has
            a JSON schema of it.
        """
        return json.as_dict(self.sites, self.examples, self.notes)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Diagnosis":
        """The diagnosis that `to_dict` made a dictionary of.

        Parameters
        ----------
        data : dict
            What `to_dict` has returned, or what was read from the JSON file that `to_json` has written.

        Returns
        -------
        Diagnosis
            With the same counts. All else, such as which units are dead, is computed from them.

        Raises
        ------
        ValueError
            It is not such a dictionary, is in the format of another version, or says that no diagnosis could be made.

        Examples
        --------
        >>> from leakyrelu.units import Diagnosis
        >>> data = {"format": 2, "examples": 10, "notes": [], "sites": []}
        >>> Diagnosis.from_dict(data).examples
        10
        """
        return cls(*json.from_dict(data))

    def to_json(self, path: str | PathLike[str]) -> None:
        """Write what `to_dict` returns to a JSON file.

        Parameters
        ----------
        path : str or os.PathLike
            The file. It is written whole or not at all, and replaces a file of that name.

        Raises
        ------
        ValueError
            `path` is a directory, a device or the like.
        OSError
            The file cannot be written.
        """
        write_text(Path(path), json.as_json(self.sites, self.examples, self.notes))

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write one HTML page: the firing rates of each site, what the words mean, and what to do.

        Parameters
        ----------
        path : str or os.PathLike
            The file. The page needs no other file, no script and no network. It is written whole or not at all, and
            replaces a file of that name.

        Raises
        ------
        ValueError
            `path` is a directory, a device or the like.
        OSError
            The file cannot be written.
        """
        write_text(Path(path), as_html(self.sites, self.notes))

    def plot(self) -> "Figure":
        """Draw the firing rates, one strip per site: its units from left to right, the dead ones first.

        Returns
        -------
        matplotlib.figure.Figure
            Save it with ``figure.savefig("units.png")``. It is shown in no window, and `pyplot` does not know it.

        Raises
        ------
        ImportError
            matplotlib is missing: ``pip install 'leakyrelu[plot]'``.
        """
        return draw(self.sites)


def merge(parts: Iterable[Diagnosis]) -> Diagnosis:
    """Merge diagnoses of the same model on several parts of the data into one.

    Parameters
    ----------
    parts : iterable of Diagnosis
        For example, one per process of a distributed training.

    Returns
    -------
    Diagnosis
        The counts of sites with the same name, operation and number of units are added up.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import diagnose
    >>> from leakyrelu.units import merge
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    >>> merge(diagnose(model, [torch.randn(100, 4)]) for _ in range(2)).examples
    200
    """
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
        maximum=larger(one.maximum, other.maximum),
        mean_output=(one.mean_output * one.values + other.mean_output * other.values) / values,
    )

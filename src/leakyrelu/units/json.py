"""A diagnosis as numbers, strings, lists and dictionaries: JSON, and back."""

from collections.abc import Mapping, Sequence
from json import dumps
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from leakyrelu.units.sites import LISTS, Floats, Site, totals

__all__ = ["FORMAT", "Parts", "as_dict", "as_json", "failure_as_json", "from_dict"]

FORMAT = 2  # docs/reference/diagnosis.schema.json describes it
_NOT_FINITE = {
    "NaN": np.nan,
    "Infinity": np.inf,
    "-Infinity": -np.inf,
}  # as in protobuf's JSON, which has no numbers for them


class Parts(NamedTuple):
    """What a diagnosis is made of."""

    sites: tuple[Site, ...]
    examples: int
    notes: tuple[str, ...]


def as_dict(sites: Sequence[Site], examples: int, notes: Sequence[str]) -> dict[str, Any]:
    """The diagnosis as a dictionary; the strings NaN, Infinity and -Infinity stand for these numbers."""
    total = totals(sites)
    return {
        "format": FORMAT,
        "examples": int(examples),
        "units": total.units,
        "judged": total.judged,
        "dead": total.dead,
        "dead_fraction": total.dead_fraction if total.judged else None,
        "bound": max((site.bound for site in sites), default=1.0),
        "notes": [str(note) for note in notes],
        "sites": [_site_as_dict(site) for site in sites],
    }


def as_json(sites: Sequence[Site], examples: int, notes: Sequence[str]) -> str:
    """The same as JSON text."""
    return dumps(as_dict(sites, examples, notes), allow_nan=False) + "\n"


def failure_as_json(reason: str) -> str:
    """The JSON text that stands for a diagnosis where none could be made."""
    return dumps({"format": FORMAT, "error": reason}) + "\n"


def from_dict(data: Any) -> Parts:
    """The parts of the diagnosis that `as_dict` made a dictionary of.

    Raises
    ------
    ValueError
        It is not such a dictionary, is in another format, or says that no diagnosis could be made.
    """
    if not isinstance(data, Mapping) or "format" not in data:
        raise ValueError("this is no diagnosis: it must be a dictionary with the key 'format', as to_dict() makes")
    if data["format"] != FORMAT:
        raise ValueError(
            f"the diagnosis has the format {data['format']!r}, and this version of leakyrelu reads {FORMAT}; "
            "make it again with this version"
        )
    if "error" in data:
        raise ValueError(f"no diagnosis could be made: {data['error']}")
    try:
        sites = tuple(_site_from_dict(site) for site in data["sites"])
        return Parts(sites, int(data["examples"]), tuple(str(note) for note in data["notes"]))
    except KeyError as error:
        raise ValueError(f"the diagnosis lacks {error}") from error
    except (TypeError, OverflowError) as error:
        raise ValueError(f"the diagnosis holds something else than numbers or names: {error}") from error


def _site_as_dict(site: Site) -> dict[str, Any]:
    rate = site.firing_rate
    rate[site.nan] = np.nan
    return {
        "name": site.name,
        "operation": site.operation,
        "flat": bool(site.flat),
        "examples": int(site.examples),
        "values": int(site.values),
        "units": site.units,
        "bound": site.bound,
        "firing_rate": [value if isfinite(value) else None for value in rate.tolist()],
        "fired": site.fired.tolist(),
        "below": site.below.tolist(),
        "maximum": None if site.maximum is None else _written(site.maximum),
        "mean_output": _written(site.mean_output),
        **{key: getattr(site, key).tolist() for key in LISTS},
    }


def _site_from_dict(data: Mapping[str, Any]) -> Site:
    site = Site(
        name=str(data["name"]),
        operation=str(data["operation"]),
        examples=int(data["examples"]),
        values=int(data["values"]),
        fired=np.array(data["fired"], np.int64),
        below=np.array(data["below"], bool),
        maximum=None if data["maximum"] is None else _read(data["maximum"]),
        mean_output=_read(data["mean_output"]),
        flat=bool(data["flat"]),
    )
    arrays = [site.fired, site.below, site.mean_output, *([] if site.maximum is None else [site.maximum])]
    if len({array.shape for array in arrays}) > 1 or site.fired.ndim != 1:
        raise ValueError(f"the arrays of the site {site.name!r} must have one entry per unit")
    if site.examples < 1 or site.values < 1:
        raise ValueError(f"the site {site.name!r} must have seen at least one example and one value")
    if site.units and not 0 <= site.fired.min() <= site.fired.max() <= site.values:
        raise ValueError(f"in the site {site.name!r} units fired on less than none or on more than all of the values")
    return site


def _written(values: Floats) -> list[float | str]:
    return [
        value if isfinite(value) else str(float(value)).replace("inf", "Infinity").replace("nan", "NaN")
        for value in values.tolist()
    ]


def _read(values: Sequence[Any]) -> Floats:
    return np.array([_NOT_FINITE[value] if isinstance(value, str) else value for value in values], np.float64)

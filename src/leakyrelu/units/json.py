"""A diagnosis as numbers, strings, lists and dictionaries: JSON."""

from collections.abc import Sequence
from json import dumps
from typing import Any

import numpy as np

from leakyrelu.units.sites import LISTS, Floats, Site, totals

__all__ = ["as_dict", "as_json"]


def as_dict(sites: Sequence[Site], examples: int, notes: Sequence[str]) -> dict[str, Any]:
    """The diagnosis as a dictionary. None stands for NaN, infinity, and the firing rate of a unit that had a NaN."""
    total = totals(sites)
    return {
        "format": 1,
        "examples": int(examples),
        "units": total.units,
        "dead": total.dead,
        "dead_fraction": total.dead_fraction,
        "bound": max((site.bound for site in sites), default=1.0),
        "notes": [str(note) for note in notes],
        "sites": [_site_as_dict(site) for site in sites],
    }


def as_json(sites: Sequence[Site], examples: int, notes: Sequence[str]) -> str:
    """The same as JSON text, which holds no NaN and no infinity."""
    return dumps(as_dict(sites, examples, notes), allow_nan=False) + "\n"


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
        "firing_rate": _finite(rate),
        "maximum": None if site.maximum is None else _finite(site.maximum),
        "mean_output": _finite(site.mean_output),
        **{key: getattr(site, key).tolist() for key in LISTS},
    }


def _finite(values: Floats) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]

"""A diagnosis as a picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from leakyrelu._shared.extras import needs
from leakyrelu.units.sites import WITHOUT_RATES, Site, rates_by_kind
from leakyrelu.units.text import HEADINGS, site_name, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw"]

_HATCHES = {"dead": ("tab:red", "////"), "one_sided": ("tab:orange", "---"), "nan": ("black", "xxxx")}


def draw(sites: Sequence[Site]) -> "Figure":
    """Draw the firing rates, one strip per site: its units from left to right, the dead ones first."""
    with needs("leakyrelu[plot]", "the picture"):
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize
        from matplotlib.figure import Figure
    figure = Figure(figsize=(10, min(2 + 0.45 * max(len(sites), 1), 400)), layout="constrained")
    ax = figure.subplots()
    for y, site in enumerate(sites):
        left = 0.0
        for kind, rates in rates_by_kind(site):
            width = 100 * len(rates) / site.units
            if kind in WITHOUT_RATES:
                color, hatch = _HATCHES[kind]
                ax.barh(y, width, 0.7, left, color="white", edgecolor=color, hatch=hatch, label=HEADINGS[kind])
            else:
                place = (left, left + width, y + 0.35, y - 0.35)
                ax.imshow(100 * rates[np.newaxis], "viridis", vmin=0, vmax=100, aspect="auto", extent=place)
            left += width
    ax.set(xlim=(-1, 101), ylim=(max(len(sites), 1) - 0.4, -0.6))
    ax.set_xlabel("Units of the site, ascending by firing rate (percent)")
    labels = [f"{site_name(site)[-40:]}\n{len(site.dead):,} of {site.units:,} dead" for site in sites]
    ax.set_yticks(range(len(sites)), labels, parse_math=False)
    ax.set_title(title(sites))
    figure.colorbar(ScalarMappable(Normalize(0, 100), "viridis"), ax=ax, label="Firing rate (percent)")
    handles, words = ax.get_legend_handles_labels()
    if words:
        unique = dict(zip(words, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside lower right", ncols=3)
    return figure

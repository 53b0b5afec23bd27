"""A diagnosis as text: a table, the verdict in sentences, and the words that the page uses too."""

from collections.abc import Iterable, Sequence

import numpy as np

from leakyrelu._shared.tables import text_table
from leakyrelu._shared.wording import count, printable
from leakyrelu.units.sites import RARE, Integers, Site, totals

__all__ = ["HEADINGS", "as_text", "ranges", "site_name", "table_of", "title", "verdict"]

HEADINGS = {
    "dead": "Dead",
    "one_sided": "One-sided",
    "rare": "Rare",
    "always_on": "Always on",
    "dormant": "Dormant",
    "nan": "NaN",
}
_RANGES = 100  # how many ranges of units are written out


def as_text(sites: Sequence[Site], notes: Sequence[str]) -> str:
    """A table with a row per site, the verdict, and the notes.

    The table is Markdown, aligned where rich is installed, and complete whatever the width of the terminal.
    """
    table = f"{text_table(*table_of(sites))}\n\n" if sites else ""
    return table + "\n".join([*verdict(sites), *(f"Note: {printable(note)}" for note in notes)])


def verdict(sites: Sequence[Site]) -> list[str]:
    """The verdict in sentences; the first one says whether units are dead."""
    units, dead, nan = totals(sites)
    if not units:
        return ["No activation was seen: nothing can be said of any unit."]
    killed = [site for site in sites if len(site.dead)]
    least = min(site.examples for site in killed or sites)
    examples = count(least, "example")
    if killed:
        part, are, they, each = (
            _percent(dead / units),
            *(("is", "it fires", "it") if dead == 1 else ("are", "they fire", "each")),
        )
        first = f"{dead:,} of {count(units, 'unit')} ({part}) {are} dead: {they} on none of {examples}"
        bound = max(site.bound for site in killed)
        if bound < 1:
            first += f"; with 95 % confidence {each} fires on less than {_percent(bound)} of all examples (3/N)"
    elif nan == units:
        first = f"Nothing can be said: {nan:,} of {count(units, 'unit')} had a NaN"
    else:
        first = f"None of {count(units - nan, 'unit')}{' without NaN' if nan else ''} is dead, on {examples}"
    return [f"{first}.", *_warnings(sites, least)]


def title(sites: Sequence[Site]) -> str:
    """How many units are dead, as a heading."""
    units, dead, nan = totals(sites)
    return f"{dead:,} of {count(units, 'unit')} dead{f', {nan:,} with NaN' if nan else ''}"


def _warnings(sites: Sequence[Site], examples: int) -> Iterable[str]:
    collapsed = [site_name(site) for site in sites if 0 < site.units == len(site.dead)]
    if collapsed:
        yield f"All units are dead in {', '.join(collapsed)}: no signal and no gradient passes there."
    one_sided = sum(len(site.one_sided) for site in sites)
    if one_sided:
        yield f"One-sided, not dead: {count(one_sided, 'unit')}, never above zero where a gradient still passes."
    for site in sites:
        if len(site.nan):
            part = f"{len(site.nan):,} of {count(site.units, 'unit')}"
            yield f"NaN in {site_name(site)}, {part}, not judged: {ranges(site.nan)}."
    if totals(sites).dead and examples < 3 / RARE:
        missed = _percent((1 - RARE) ** examples)
        seen = count(examples, "example")
        yield f"On only {seen}, a unit that fires on 1 % of all examples looks dead {missed} of the time."


def table_of(sites: Sequence[Site]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows; the first two columns are words, all others numbers."""
    always = {"dead", "rare", "always_on", "dormant"}
    lists = [key for key in HEADINGS if key in always or any(len(getattr(site, key)) for site in sites)]
    headings = [
        "Site",
        "Operation",
        "Units",
        "Values per unit",
        *(HEADINGS[key] for key in lists),
        "Median firing rate",
    ]
    rows = []
    for site in sites:
        rates = np.delete(site.firing_rate, site.nan)
        numbers = site.units, site.values, *(len(getattr(site, key)) for key in lists)
        median = _percent(float(np.median(rates))) if len(rates) else "-"
        rows.append([site_name(site), printable(site.operation), *(f"{number:,}" for number in numbers), median])
    return headings, rows


def site_name(site: Site) -> str:
    """The name of a site as it is shown."""
    return printable(site.name) or "(model)"


def _percent(fraction: float) -> str:
    percent = 100 * fraction
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def ranges(units: Integers) -> str:
    """``0-3, 7`` for 0, 1, 2, 3 and 7."""
    runs = np.split(units, np.flatnonzero(np.diff(units) > 1) + 1)
    written = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs[:_RANGES]]
    more = sum(map(len, runs[_RANGES:]))
    return ", ".join(written) + (f" and {more:,} more" if more else "")

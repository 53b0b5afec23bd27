"""A diagnosis for people and for programs: text, JSON, and a picture; `page` makes the page of HTML."""

import json
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from leakyrelu.files import written_whole
from leakyrelu.units import RARE, Diagnosis, Floats, Integers, Site

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["as_dict", "as_text", "draw", "text_table", "write_html", "write_json"]

LISTS = {
    "dead": "Dead",
    "one_sided": "One-sided",
    "rare": "Rare",
    "always_on": "Always on",
    "dormant": "Dormant",
    "nan": "NaN",
}
STRIP = ("dead", "one_sided", "rare", "firing", "always_on", "nan")  # from left to right; "firing" are all others
HATCHES = {"dead": ("tab:red", "////"), "one_sided": ("tab:orange", "---"), "nan": ("black", "xxxx")}
_RANGES = 100  # ranges of units that are written out


def as_text(diagnosis: Diagnosis) -> str:
    """A table with a row per site, the verdict, and the notes.

    The table is Markdown, aligned where rich is installed, and complete whatever the width of the terminal.
    """
    table = f"{text_table(*table_of(diagnosis))}\n\n" if diagnosis.sites else ""
    return table + "\n".join([*verdict(diagnosis), *(f"Note: {shown(note)}" for note in diagnosis.notes)])


def as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """All of it as numbers, strings, lists and dictionaries.

    None stands for NaN, for infinity, and for the firing rate of a unit that had a NaN. ``"format"`` is 1; it changes
    when the meaning of a key does.
    """
    return {
        "format": 1,
        "samples": int(diagnosis.samples),
        "units": diagnosis.units,
        "dead": diagnosis.dead,
        "dead_fraction": diagnosis.dead_fraction,
        "bound": max((site.bound for site in diagnosis.sites), default=1.0),
        "notes": [str(note) for note in diagnosis.notes],
        "sites": [_site_as_dict(site) for site in diagnosis.sites],
    }


def _site_as_dict(site: Site) -> dict[str, Any]:
    rate = site.firing_rate
    rate[site.nan] = np.nan
    return {
        "name": site.name,
        "operation": site.operation,
        "flat": bool(site.flat),
        "examples": int(site.examples),
        "samples": int(site.samples),
        "units": site.units,
        "bound": site.bound,
        "firing_rate": _finite(rate),
        **{key: _finite(getattr(site, key)) for key in ("maximum", "mean_output")},
        **{key: getattr(site, key).tolist() for key in LISTS},
    }


def _finite(values: Floats) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]


def write_json(diagnosis: Diagnosis, path: Path) -> None:
    """Write `as_dict` to a file, whole or not at all."""
    _write(json.dumps(as_dict(diagnosis), allow_nan=False) + "\n", path)


def write_html(diagnosis: Diagnosis, path: Path) -> None:
    """Write the page to a file, whole or not at all."""
    from leakyrelu.page import as_html

    _write(as_html(diagnosis), path)


def _write(text: str, path: Path) -> None:
    with written_whole(path) as file:
        file.write(text.encode())


def verdict(diagnosis: Diagnosis) -> list[str]:
    """Sentences; the first one says whether units are dead."""
    if not diagnosis.units:
        return ["No activation was seen: nothing can be said of any unit."]
    dead, units, nan = diagnosis.dead, diagnosis.units, sum(len(site.nan) for site in diagnosis.sites)
    killed = [site for site in diagnosis.sites if len(site.dead)]
    least = min(site.examples for site in killed or diagnosis.sites)
    examples = count(least, "example")
    if killed:
        part, are, each = _percent(dead / units), *(("is", "it") if dead == 1 else ("are", "each"))
        first = f"{dead:,} of {count(units, 'unit')} ({part}) {are} dead: on none of {examples}"
        bound = max(site.bound for site in killed)
        if bound < 1:
            first += f"; with 95 % confidence {each} fires on less than {_percent(bound)} of examples (3/N)"
    elif nan == units:
        first = f"Nothing can be said: {nan:,} of {count(units, 'unit')} had a NaN"
    else:
        first = f"None of {count(units - nan, 'unit')}{' without NaN' if nan else ''} is dead, on {examples}"
    return [f"{first}.", *_warnings(diagnosis, least)]


def title(diagnosis: Diagnosis) -> str:
    nan = sum(len(site.nan) for site in diagnosis.sites)
    return f"{diagnosis.dead:,} of {count(diagnosis.units, 'unit')} dead{f', {nan:,} with NaN' if nan else ''}"


def _warnings(diagnosis: Diagnosis, examples: int) -> Iterable[str]:
    collapsed = [site_name(site) for site in diagnosis.sites if 0 < site.units == len(site.dead)]
    if collapsed:
        yield f"All units are dead in {', '.join(collapsed)}: no signal and no gradient passes there."
    one_sided = sum(len(site.one_sided) for site in diagnosis.sites)
    if one_sided:
        yield f"One-sided, not dead: {count(one_sided, 'unit')}, never above zero where a gradient still passes."
    for site in diagnosis.sites:
        if len(site.nan):
            part = f"{len(site.nan):,} of {count(site.units, 'unit')}"
            yield f"NaN in {site_name(site)}, {part}, not judged: {ranges(site.nan)}."
    if diagnosis.dead and examples < 3 / RARE:
        missed = _percent((1 - RARE) ** examples)
        yield f"Examples are few, {examples:,}: a unit that fires on 1 % of them looks dead {missed} of the time."


def table_of(diagnosis: Diagnosis) -> tuple[list[str], list[list[str]]]:
    """Headings and rows; the first two columns are words, all others numbers."""
    always = {"dead", "rare", "always_on", "dormant"}
    lists = [key for key in LISTS if key in always or any(len(getattr(site, key)) for site in diagnosis.sites)]
    headings = ["Site", "Operation", "Units", "Values per unit", *(LISTS[key] for key in lists), "Median firing rate"]
    rows = []
    for site in diagnosis.sites:
        rates = np.delete(site.firing_rate, site.nan)
        numbers = site.units, site.samples, *(len(getattr(site, key)) for key in lists)
        median = _percent(float(np.median(rates))) if len(rates) else "-"
        rows.append([site_name(site), shown(site.operation), *(f"{number:,}" for number in numbers), median])
    return headings, rows


def text_table(headings: list[str], rows: list[list[str]]) -> str:
    """Markdown: aligned where rich is installed, the first two columns to the left."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows))
    table = Table(box=box.MARKDOWN)
    for i, heading in enumerate(headings):
        table.add_column(Text(heading), justify="left" if i < 2 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(file=StringIO(), width=10_000, color_system=None, force_jupyter=False, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines() if line.strip())


def strip_of(site: Site) -> list[tuple[str, Floats]]:
    """The firing rates by kind, in ascending order; each unit is of one kind, and no kind is empty."""
    kinds = np.full(site.units, "firing", "U9")
    for kind in ("always_on", "rare", "one_sided", "dead", "nan"):
        kinds[getattr(site, kind)] = kind
    parts = [(kind, np.sort(site.firing_rate[kinds == kind])) for kind in STRIP]
    return [(kind, rates) for kind, rates in parts if len(rates)]


def draw(diagnosis: Diagnosis) -> "Figure":
    """Draw the firing rates, a strip a site: its units from left to right, the dead ones first.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``figure.savefig("units.png")``; no window shows it, and `pyplot` does not know it.

    Raises
    ------
    ImportError
        matplotlib is missing: ``pip install 'leakyrelu[plot]'``.
    """
    try:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("the picture needs matplotlib: pip install 'leakyrelu[plot]'") from error
    sites = diagnosis.sites
    figure = Figure(figsize=(10, min(2 + 0.45 * max(len(sites), 1), 400)), layout="constrained")
    ax = figure.subplots()
    for y, site in enumerate(sites):
        left = 0.0
        for kind, rates in strip_of(site):
            width = 100 * len(rates) / site.units
            if kind in HATCHES:
                color, hatch = HATCHES[kind]
                ax.barh(y, width, 0.7, left, color="white", edgecolor=color, hatch=hatch, label=LISTS[kind])
            else:
                place = (left, left + width, y + 0.35, y - 0.35)
                ax.imshow(100 * rates[np.newaxis], "viridis", vmin=0, vmax=100, aspect="auto", extent=place)
            left += width
    ax.set(xlim=(-1, 101), ylim=(max(len(sites), 1) - 0.4, -0.6))
    ax.set_xlabel("Units of the site, ascending by firing rate (percent)")
    labels = [f"{site_name(site)[-40:]}\n{len(site.dead):,} of {site.units:,} dead" for site in sites]
    ax.set_yticks(range(len(sites)), labels, parse_math=False)
    ax.set_title(title(diagnosis))
    figure.colorbar(ScalarMappable(Normalize(0, 100), "viridis"), ax=ax, label="Firing rate (percent)")
    handles, words = ax.get_legend_handles_labels()
    if words:
        unique = dict(zip(words, handles, strict=True))
        figure.legend(unique.values(), unique.keys(), loc="outside lower right", ncols=3)
    return figure


def site_name(site: Site) -> str:
    return shown(site.name) or "(model)"


def shown(text: str) -> str:
    """The text with line breaks, control characters and the like spelled out."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _percent(fraction: float) -> str:
    percent = 100 * fraction
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def ranges(units: Integers) -> str:
    """``0-3, 7`` for 0, 1, 2, 3 and 7."""
    runs = np.split(units, np.flatnonzero(np.diff(units) > 1) + 1)
    written = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs[:_RANGES]]
    more = sum(map(len, runs[_RANGES:]))
    return ", ".join(written) + (f" and {more:,} more" if more else "")

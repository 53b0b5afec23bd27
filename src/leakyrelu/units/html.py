"""A diagnosis as one page of HTML that needs no other file, no script and no network."""

from collections.abc import Sequence
from html import escape

import numpy as np

from leakyrelu._shared.html import table
from leakyrelu._shared.wording import count, printable
from leakyrelu.units.sites import KINDS, WITHOUT_RATES, Floats, Site, rates_by_kind
from leakyrelu.units.text import HEADINGS, ranges, site_name, table_of, title, verdict

__all__ = ["as_html"]

_CELLS = 64  # a strip of at most so many units shows each of them apart
_BINS = 200  # a strip of more units than that has so many columns, each for several units


def as_html(sites: Sequence[Site], notes: Sequence[str]) -> str:
    """One page that needs no other file, no script and no network."""
    first, *others = map(escape, verdict(sites))
    items = "".join(f"<li>{escape(printable(note))}</li>" for note in notes)
    parts = [
        f"{_HEAD}<title>{title(sites)}</title>",
        f'{_STYLE}<h1>Dead units</h1>\n<p class="verdict">{first}</p>',
        *(f"<p>{sentence}</p>" for sentence in others),
        f"<h2>Notes</h2>\n<ul>{items}</ul>" if items else "",
        _html_strips(sites) + "<h2>Counts</h2>\n" + table("Units by site", *table_of(sites)) if sites else "",
        _END,
    ]
    return "\n".join(parts)


def _html_strips(sites: Sequence[Site]) -> str:
    present = {kind for site in sites for kind, _ in rates_by_kind(site)}
    words = {kind: HEADINGS.get(kind, "Firing") for kind in KINDS if kind in present}
    keys = (f'<li><span class="key {kind}"></span>{word}</li>' for kind, word in words.items())
    return (
        f"<h2>Firing rates</h2>\n<p>There is one column per unit, in ascending order; above {_BINS} units, a column "
        "shows the mean of several. The height is the firing rate, from 0 % at the bottom to 100 % at the top.</p>\n"
        f'<ul class="legend">{"".join(keys)}</ul>\n{"".join(map(_html_strip, sites))}'
    )


def _html_strip(site: Site) -> str:
    strip, name = rates_by_kind(site), escape(site_name(site))
    counts = ", ".join(f"{len(rates):,} {HEADINGS.get(kind, 'firing').lower()}" for kind, rates in strip)
    about = f"{escape(printable(site.operation))}, {count(site.units, 'unit')}: {counts}".replace(" nan", " with NaN")
    units = {heading: ranges(getattr(site, key)) for key, heading in HEADINGS.items() if len(getattr(site, key))}
    items = "".join(f"<li>{heading}: {listed}</li>" for heading, listed in units.items())
    return (
        f'<section>\n<h3>{name}</h3>\n<p>{about}</p>\n<div class="strip" role="img" aria-label="{name}: {about}">'
        + "".join(_html_part(kind, rates, site.units) for kind, rates in strip)
        + (f"</div>\n<details><summary>Which units</summary><ul>{items}</ul></details>" if items else "</div>")
        + "\n</section>\n"
    )


def _html_part(kind: str, rates: Floats, units: int) -> str:
    """One kind's part of a strip, as wide as it has units."""
    cells = " cells" if units <= _CELLS else ""
    if kind in WITHOUT_RATES:
        return f'<span class="{kind}{cells}" style="--n:{len(rates)}"></span>'
    columns = np.array_split(rates, min(len(rates), _BINS))
    tops = (100 - max(round(100 * column.mean()), 3) for column in columns)
    gap = 0.08 if cells else 0
    path = "".join(f"M{i + gap:g} 100V{top}H{i + 1 - gap:g}V100" for i, top in enumerate(tops))
    box = f'viewBox="0 0 {len(columns)} 100" preserveAspectRatio="none"'
    return f'<svg class="{kind}" style="--n:{len(rates)}" {box} aria-hidden="true"><path d="{path}"/></svg>'


_HEAD = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
"""
_STYLE = """<style>
:root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --soft: #57606a; --line: #c4ccd4; --strip: #eef1f4;
  --red: #b3202a; --amber: #8a5a00; --blue: #1f6feb; --teal: #0f766e; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --ink: #e6e8ea; --soft: #a3abb3; --line: #3f4851;
  --strip: #22272d; --red: #ff7b72; --amber: #e3b341; --blue: #6cb0ff; --teal: #4fd1c5; } }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: auto; padding: 1rem; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.25; margin: 1.2em 0 .3em; }
p, li, dd { max-width: 45rem; } dt { font-weight: 600; } dd { margin: 0 0 .6em 1rem; }
section p { margin: 0 0 .4em; } section p, details, caption { color: var(--soft); }
.verdict { font-size: 1.25rem; font-weight: 600; }
.strip { display: flex; height: 4.5rem; margin-bottom: .3em; background: var(--strip); border: 1px solid var(--line); }
.strip > * { flex: var(--n) 1 0; min-width: 6px; width: 0; height: 100%; }
.strip, .key { print-color-adjust: exact; forced-color-adjust: none; }
.key { width: 1.4em; height: 1em; margin-right: .4em; border: 1px solid var(--line); }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; list-style: none; }
.legend li { display: flex; align-items: center; }
.dead { --mark: repeating-linear-gradient(45deg, var(--red) 0 4px, var(--page) 4px 7px); }
.one_sided { --mark: repeating-linear-gradient(var(--amber) 0 2px, var(--page) 2px 7px); }
.nan { --mark: repeating-linear-gradient(45deg, var(--soft) 0 1px, transparent 1px 6px),
  repeating-linear-gradient(-45deg, var(--soft) 0 1px, var(--page) 1px 6px); }
.rare { --mark: radial-gradient(var(--amber) 1px, transparent 1.5px) 0 0 / 7px 7px; fill: var(--amber); }
.dead, .one_sided, .nan, .rare { background: var(--mark); }
.cells { background: linear-gradient(90deg, var(--strip) 2px, transparent 0) 0 / calc(100% / var(--n)), var(--mark); }
.firing { fill: var(--blue); } .key.firing { background: var(--blue); }
.always_on { fill: var(--teal); } .key.always_on { background: var(--teal); }
.wide { overflow-x: auto; } caption { text-align: left; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .35rem .6rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
tr > :nth-child(-n+2) { text-align: left; } thead th { vertical-align: bottom; }
th:first-child { position: sticky; left: 0; min-width: 8rem; background: var(--page); overflow-wrap: anywhere; }
</style>
<main>
"""
_END = """<h2>What the words mean</h2>
<dl>
<dt>Fires</dt><dd>A unit fires where the value that enters its activation is above zero (for <code>threshold</code>:
above its threshold). The firing rate is the fraction of values where it fires. A unit is a channel of a convolution or
a feature of a linear layer; a convolution has one value per example and position.</dd>
<dt>Dead</dt><dd>The unit fires on none of the examples seen, and its activation is flat below zero, as ReLU is: the
output does not change, and no gradient passes.</dd>
<dt>3/N</dt><dd>A unit that fires on none of N examples drawn at random fires on less than 3/N of all such examples,
with 95 % confidence. On only 64 examples, a unit that fires on 1 % of all examples looks dead 53 % of the time.</dd>
<dt>One-sided</dt><dd>The unit does not fire either, but its activation is not flat below zero: a gradient still
passes.</dd>
<dt>Rare</dt><dd>The unit fires at least once, but on less than 1 % of the values.</dd>
<dt>Always on</dt><dd>No value is below zero: with ReLU, such a unit is linear on these data.</dd>
<dt>Dormant</dt><dd>The unit's mean absolute output is at most 0.025 times the mean over its site (Sokar et al. 2023).
Most dead units are dormant as well.</dd>
<dt>NaN</dt><dd>At least one value is not a number; nothing else is said of such a unit.</dd>
</dl>
<h2>What to do</h2>
<p>A few dead units are normal: in our experiment, ReLU networks that were trained well ended with 0 to 9 % dead units,
depending on the data and the depth. If a whole layer is dead, or accuracy suffers, try these:</p>
<ul>
<li>Train with a smaller learning rate: large steps kill units.</li>
<li>Normalise the inputs, or put BatchNorm before the activations from the start.</li>
<li>Replace ReLU by Leaky ReLU, which passes a gradient below zero: <code>leakyrelu.torch.replace_relu</code>.</li>
<li>Revive the dead units of a trained network: <code>leakyrelu.torch.revive</code>.</li>
<li>If units had a NaN, find its source first.</li>
</ul>
<p>None of this promises accuracy: in a network with 45 % dead units and no collapsed layer, revival did not improve it.
Compare on data that were held out.</p>
</main>
</html>
"""

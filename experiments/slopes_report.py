"""The page and the picture of the experiment with slopes. Every sentence that states a result is computed from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from experiments.networks import PRELU_START
from experiments.text import BESIDE, LIMITS, OVERFITTING, OVERVIEW, RESULTS, SETTING, SOURCES
from leakyrelu._shared.intervals import paired_difference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMPARISONS = 6  # how many activations are compared with one other; the intervals are corrected for that
UNTRAINED = 0.2  # a network with a lower training accuracy, which is twice chance, did not train
COLORS = {1: "tab:blue", 0: "tab:gray", -1: "tab:red"}


@dataclass(frozen=True)
class Difference:
    """The difference of two means over the seeds, in percentage points, and half the width of its interval."""

    mean: float
    spread: float

    @property
    def sign(self) -> int:
        """1 for better, -1 for worse, 0 for no difference beyond the spread."""
        return int(np.sign(self.mean)) if abs(self.mean) > self.spread else 0

    def __str__(self) -> str:
        return f"{_tidy(self.mean):+.2f} ± {_tidy(self.spread):.2f}"


def _tidy(value: float) -> float:
    """Drop the last bits, in which platforms differ: means of accuracies often lie midway between two decimals."""
    return float(round(value, 6)) + 0.0  # which also makes -0.0 a zero without sign


class Block:
    """The cells of one data set at one depth."""

    def __init__(self, data: str, depth: int, cells: Sequence[dict[str, Any]]) -> None:
        self.cells = {cell["activation"]: cell for cell in cells if (cell["data"], cell["depth"]) == (data, depth)}
        self.title = f"{data}, {depth} layers"

    def percent(self, activation: str, what: str) -> npt.NDArray[np.float64]:
        """A figure of an activation in percent, one entry per seed."""
        return 100 * np.array(self.cells[activation][what], float)

    def gap(self, activation: str) -> npt.NDArray[np.float64]:
        """By how much the training accuracy exceeds the test accuracy."""
        return self.percent(activation, "training_accuracy") - self.percent(activation, "test_accuracy")

    def mean_loss(self, activation: str) -> float:
        """The mean training loss; infinite if a network overflowed."""
        losses = self.cells[activation]["training_loss"]
        return float(np.mean([np.inf if loss is None else loss for loss in losses]))

    def less(self, first: str, second: str) -> Difference:
        """Test accuracy of the first minus that of the second, seed by seed."""
        accuracies = (self.percent(activation, "test_accuracy") for activation in (second, first))
        return Difference(*paired_difference(*accuracies, comparisons=COMPARISONS))

    def less_gap(self, first: str, second: str) -> Difference:
        """The same for the gaps between training and test accuracy."""
        return Difference(*paired_difference(self.gap(second), self.gap(first), comparisons=COMPARISONS))

    def others(self, reference: str) -> list[str]:
        """All activations but one."""
        return [activation for activation in self.cells if activation != reference]

    def untrained(self, activation: str) -> int:
        """How many networks did not train."""
        return int((self.percent(activation, "training_accuracy") < 100 * UNTRAINED).sum())


def blocks(document: dict[str, Any]) -> list[Block]:
    """One for each data set and depth."""
    setting = document["setting"]
    return [Block(*kind, document["cells"]) for kind in product(setting["data"], setting["depths"])]


def page(document: dict[str, Any]) -> str:
    """The whole page, in Markdown."""
    setting, every = document["setting"], blocks(document)
    count = len(setting["seeds"])
    described = SETTING.format(
        **setting["training"],
        rates=", ".join(f"{rate:g}" for rate in setting["rates"]),
        seeds=_range(setting["seeds"]),
        tuning_seeds=_range(setting["tuning_seeds"]),
        versions=", ".join(f"{name} {version}" for name, version in setting["versions"].items()),
    )
    parts = [
        "# Which slope? Seven activations on two small data sets",
        OVERVIEW.format(count=count, comparisons=COMPARISONS),
        _overview(every),
        "![Differences to ReLU in test accuracy](slopes.png)",
        _bullets(in_short(every)),
        f"## The setting\n\n{described}",
        f"## Results\n\n{RESULTS.format(count=count)}",
        *(_section(block, setting["rates"]) for block in every),
        f"## Beside Xu et al. 2015\n\n{BESIDE}",
        "\n".join(beside(every)),
        SOURCES,
        f"## What this cannot say\n\n{LIMITS.format(comparisons=COMPARISONS, blocks=len(every))}",
    ]
    return "\n\n".join(parts) + "\n"


def _section(block: Block, rates: Sequence[float]) -> str:
    return f"### {block.title}\n\n{table(block)}\n\n{_bullets(conclusions(block, rates))}"


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _range(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])


def _overview(every: Sequence[Block]) -> str:
    lines = ["| | " + " | ".join(block.title for block in every) + " |", "|---" * (len(every) + 1) + "|"]
    lines += [
        f"| {name} | " + " | ".join(_marked(block.less(name, "ReLU")) for block in every) + " |"
        for name in every[0].others("ReLU")
    ]
    return "\n".join(lines)


def _marked(difference: Difference) -> str:
    return f"**{difference}**" if difference.sign else str(difference)


def table(block: Block) -> str:
    """The table of all activations on one data set at one depth."""
    lines = [
        "| | rate | test accuracy, % | less ReLU | less 0.01 | training accuracy, % | training loss | never > 0, % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, cell in block.cells.items():
        test, training = (block.percent(name, f"{part}_accuracy") for part in ("test", "training"))
        less = ["" if name == other else _marked(block.less(name, other)) for other in ("ReLU", "0.01")]
        columns = (
            name,
            f"{cell['rate']:g}",
            f"{_tidy(test.mean()):.2f} ± {_tidy(_deviation(test)):.2f}",
            *less,
            f"{_tidy(training.mean()):.2f}",
            f"{block.mean_loss(name):.2g}",
            f"{_tidy(block.percent(name, 'never_positive').mean()):.2f}",
        )
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join(lines)


def _deviation(values: npt.NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def conclusions(block: Block, rates: Sequence[float]) -> list[str]:
    """What one block shows, in sentences."""
    slopes = [slope for slope in block.cells["PReLU"]["slope"] if slope is not None]
    sentences = [_versus(block, "ReLU"), _versus(block, "0.01")]
    if slopes:
        low, high, mean = (_tidy(figure) for figure in (min(slopes), max(slopes), np.mean(slopes)))
        sentences.append(
            f"PReLU's slopes, averaged over the layers, ended between {low:.2f} and {high:.2f}, {mean:.2f} on average; "
            f"they began at {PRELU_START:g}."
        )
    if untrained := [f"{count} with {name}" for name in block.cells if (count := block.untrained(name))]:
        sentences.append(f"Networks that did not train (training accuracy below 20 %): {', '.join(untrained)}.")
    for edge, beyond in ((min(rates), "smaller"), (max(rates), "larger")):
        if at_edge := [name for name, cell in block.cells.items() if cell["rate"] == edge]:
            sentences.append(f"At the edge of the rates tried, a {beyond} one may be better: {', '.join(at_edge)}.")
    return sentences


def _versus(block: Block, reference: str) -> str:
    kinds: dict[int, list[str]] = {1: [], -1: [], 0: []}
    for name in block.others(reference):
        difference = block.less(name, reference)
        kinds[difference.sign].append(name + (f" ({difference})" if difference.sign else ""))
    words = {1: "better", -1: "worse", 0: "no difference beyond the spread"}
    told = "; ".join(f"{words[sign]}: {', '.join(names)}" for sign, names in kinds.items() if names)
    return f"Beside {reference}, {told}."


def in_short(every: Sequence[Block]) -> list[str]:
    """What all blocks together show, in sentences."""
    sentences = []
    for block in every:
        best = max(block.cells, key=lambda name: block.percent(name, "test_accuracy").mean())
        equals = [name for name in block.others(best) if not block.less(best, name).sign]
        told = f"no difference beyond the spread to {', '.join(equals)}" if equals else "better than all others"
        accuracy = _tidy(block.percent(best, "test_accuracy").mean())
        sentences.append(f"{block.title}: the highest mean is that of {best}, {accuracy:.2f} %; {told}.")
    dead = ", ".join(f"{_dead(block):.1f} % ({block.title})" for block in every)
    untrained = sum(block.untrained(name) for block in every for name in block.cells)
    total = sum(len(cell["test_accuracy"]) for block in every for cell in block.cells.values())
    return [
        *sentences,
        f"Dead ReLU units at the end: {dead}.",
        *_largest(every),
        f"Of {total} networks {untrained or 'none'} did not train (training accuracy below 20 %).",
    ]


def _largest(every: Sequence[Block]) -> list[str]:
    """A sentence if dead units can hardly be the reason for the largest difference; otherwise none."""
    found = [(block.less(name, "ReLU"), name, block) for block in every for name in block.others("ReLU")]
    difference, name, block = max(found, key=lambda one: one[0].mean)
    if difference.sign < 1 or _dead(block) > 5:
        return []
    sentence = f"The largest difference to ReLU, {difference} ({name} on {block.title}), is where {_dead(block):.1f} % "
    return [sentence + "of ReLU's hidden units were dead at the end: dead units alone hardly explain it."]


def _dead(block: Block) -> float:
    return _tidy(block.percent("ReLU", "never_positive").mean())


def beside(every: Sequence[Block]) -> list[str]:
    """A table of what Xu et al. 2015 report, and in how many comparisons it is so here."""
    leaky = every[0].others("ReLU")
    kept = [name for name in leaky if name != "RReLU"]
    claims = {
        "A slope other than zero improves on ReLU": [[block.less(name, "ReLU") for name in leaky] for block in every],
        "1/5.5 does better than 0.01": [[block.less("1/5.5", "0.01")] for block in every],
        "RReLU does better than 1/5.5": [[block.less("RReLU", "1/5.5")] for block in every],
        "RReLU does better than 1/3 (not in the paper)": [[block.less("RReLU", "1/3")] for block in every],
        "RReLU does better than PReLU": [[block.less("RReLU", "PReLU")] for block in every],
        OVERFITTING: [[block.less_gap(name, "ReLU") for name in kept] for block in every],
    }
    lines = ["| they report | " + " | ".join(block.title for block in every) + " | in all |"]
    lines.append("|---" * (len(every) + 2) + "|")
    plainly = []
    for claim, found in claims.items():
        lines.append(f"| {claim} | {' | '.join(map(_counts, found))} | {_verdict(list(chain(*found)))} |")
        plainly.append(_plainly(claim, every, [_verdict(differences) for differences in found]))
    lowest = [min(block.cells, key=block.mean_loss) for block in every]
    so = ["agrees" if name == "PReLU" else "disagrees" for name in lowest]
    verdict = so[0] if len(set(so)) == 1 else "mixed"
    claim = "PReLU has the lowest training loss"
    lines.append(f"| {claim} | {' | '.join(lowest)} | {verdict} |")
    return [*lines, "", "Plainly:", "", *plainly, _plainly(claim, every, so)]


def _plainly(claim: str, every: Sequence[Block], verdicts: Sequence[str]) -> str:
    """Where a claim holds and where it does not: the blocks of each verdict."""
    told = []
    for verdict in dict.fromkeys(verdicts):
        titles = [block.title for block, own in zip(every, verdicts, strict=True) if own == verdict]
        told.append(f"{verdict} on {' and '.join(titles)}")
    return f"- {claim}: {'; '.join(told)}."


def _counts(differences: Sequence[Difference]) -> str:
    signs = [difference.sign for difference in differences]
    if len(differences) == 1:
        return _marked(differences[0])
    return f"{signs.count(1)} so, {signs.count(-1)} contrary, {signs.count(0)} undecided"


def _verdict(differences: Sequence[Difference]) -> str:
    """The verdict on the claim that all differences are above zero; those within their spread decide nothing."""
    signs = {difference.sign for difference in differences}
    if signs == {0}:
        return "undecided"
    if signs >= {1, -1}:
        return "mixed"
    if 1 in signs:
        return "agrees in part" if 0 in signs else "agrees"
    return "disagrees in part" if 0 in signs else "disagrees"


def picture(document: dict[str, Any]) -> Figure:
    """Draw the differences to ReLU with their intervals, one panel per data set and depth."""
    data, depths = (document["setting"][name] for name in ("data", "depths"))
    figure = Figure(figsize=(9, 1 + 4 * len(data)), layout="constrained")
    axes = figure.subplots(len(data), len(depths), squeeze=False).flat
    for block, ax in zip(blocks(document), axes, strict=True):
        _panel(ax, block)
    figure.suptitle("Test accuracy less that of ReLU, in points of percent", fontsize=17)
    figure.supxlabel(
        f"mean over {len(document['setting']['seeds'])} seeds, 95 % intervals corrected for {COMPARISONS} comparisons\n"
        "blue: better than ReLU, red: worse, gray: no difference beyond the spread; scales differ",
        fontsize=13,
    )
    return figure


def _panel(ax: "Axes", block: Block) -> None:
    names = block.others("ReLU")
    for place, name in enumerate(names):
        difference = block.less(name, "ReLU")
        width = difference.spread if np.isfinite(difference.spread) else 0
        ax.errorbar(
            difference.mean,
            place,
            xerr=width,
            fmt="o",
            color=COLORS[difference.sign],
            ms=9,
            lw=3,
            capsize=6,
            capthick=3,
        )
    ax.axvline(0, color="black", lw=1.5)
    ax.set_yticks(range(len(names)), names, fontsize=15)
    ax.set_ylim(len(names) - 0.5, -0.5)  # in the order of the table
    ax.tick_params(axis="x", labelsize=13)
    relu = block.percent("ReLU", "test_accuracy").mean()
    ax.set_title(f"{block.title} (ReLU: {relu:.1f} %)", fontsize=15)
    ax.grid(visible=True, axis="x", alpha=0.4)

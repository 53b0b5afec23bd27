"""The pieces of the page that are neither prose nor pictures: networks as cells, and the verdict on the exercise."""

from collections.abc import Sequence
from html import escape

from leakyrelu.check import Report, Result
from leakyrelu.demo.networks import Floats
from leakyrelu.functions import leaky_relu, leaky_relu_derivative
from leakyrelu.lesson.pictures import RELATIVES, accuracies, function_at, relative
from leakyrelu.lesson.training import EPOCHS, NETWORKS, Snapshot

__all__ = ["at", "networks", "relatives", "verdict"]

_WORDS = {"passed": "Right", "hint": "Right, with a remark", "failed": "Wrong", "reported": "Noted"}


def at(alpha: float, x: float) -> str:
    """Value and derivative at one point, in words and drawn."""
    value, derivative = leaky_relu(x, alpha) + 0.0, leaky_relu_derivative(x, alpha)  # + 0.0: no -0 for a beginner
    return (
        f'<div class="lesson"><p id="at" aria-live="polite">At x = {x:g} with alpha = {alpha:g}: value '
        f"<strong>{value:g}</strong>, derivative <strong>{derivative:g}</strong></p>"
        f"{function_at(alpha, x, value, derivative)}</div>"
    )


def relatives() -> str:
    """Leaky ReLU among its relatives, each drawn."""
    cards = (
        f"<figure>{relative(name)}<figcaption><strong>{name}</strong>: {escape(formula)}. {escape(difference)}"
        "</figcaption></figure>"
        for name, (formula, difference, *_) in RELATIVES.items()
    )
    return f'<div class="lesson relatives">{"".join(cards)}</div>'


def networks(history: Sequence[tuple[Snapshot, ...]]) -> str:
    """The networks side by side after the last epoch of a history, and their accuracies so far."""
    panels = "".join(map(_network, NETWORKS, history[-1]))
    return (
        f'<div class="lesson"><p class="epoch">Epoch {history[-1][0].epoch} of {EPOCHS}</p>'
        f'<div class="networks">{panels}</div>{_KEY}{accuracies(history)}</div>'
    )


_KEY = (
    '<ul class="key"><li><span class="cell" style="--rate:100%"></span> above zero on every training image</li>'
    '<li><span class="cell" style="--rate:20%"></span> on few of them</li>'
    '<li><span class="cell dead"></span> on none, and no gradient: dead</li>'
    '<li><span class="cell leaks"></span> on none, but alpha times the gradient passes</li></ul>'
)


def _network(name: str, state: Snapshot) -> str:
    kind, what = ("leaks", "never above zero") if state.alpha else ("dead", "dead")
    count = f"{state.never_positive} of {state.units} units {what}"
    by_layer = ", ".join(f"{int((rates == 0).sum())} of {len(rates)}" for rates in state.firing)
    description = f"Units {what}, by hidden layer: {by_layer}"
    if state.overflowed:
        kind = "lost"
        description = count = "Overflowed: its weights are no longer numbers, for the steps were too large"
    layers = "".join(f'<div class="layer">{_cells(rates, kind)}</div>' for rates in state.firing)
    return (
        f'<section class="network"><h3>{name}</h3>'
        f"<p><strong>{state.accuracy:.1%}</strong> accuracy, slope {state.alpha:g}</p>"
        f'<div role="img" aria-label="{description}">{layers}</div><p>{count}</p></section>'
    )


def _cells(rates: Floats, kind: str) -> str:
    lit = '<span class="cell" style="--rate:{:.0%}"></span>'  # by the root of the rate: few images are seen, too
    return "".join(lit.format(rate**0.5) if rate else f'<span class="cell {kind}"></span>' for rate in rates)


def verdict(report: Report) -> str:
    """What the check said, case by case; the wrong ones first."""
    cause = f"<p><strong>Likely cause:</strong> {escape(report.cause)}.</p>" if report.cause else ""
    if report.error is not None:
        return _box("failed", "Could not be run", f"<p>{escape(report.error)}</p>{cause}")
    wrong, all_of_them = len(report.failures), len(report.cases)
    count = f"{wrong} of {all_of_them} calls" if wrong else f"All {all_of_them} calls"
    cases = sorted(report.cases, key=lambda case: case.passed)
    items = "".join(_case(case, report.cause) for case in cases)
    content = f'<p>{count} came out {"wrong" if wrong else "right"}.</p>{cause}<ol class="cases">{items}</ol>'
    return _box("failed", "Not yet", content) if wrong else _box("passed", "Right!", content)


def _box(state: str, title: str, content: str) -> str:
    return f'<div class="lesson verdict {state}" role="status"><h3>{title}</h3>{content}</div>'


def _case(case: Result, cause: str) -> str:
    state = f'<span class="state">{_WORDS[case.state]}</span>'
    lines = [f"{state} <code>{escape(case.call)}</code> → <code>{escape(case.got)}</code>"]
    if case.state == "failed":
        lines.append(f"wanted: <code>{escape(case.expected)}</code>, because {escape(case.why)}")
    if case.hint and case.hint != cause:
        lines.append(f"<strong>Hint:</strong> {escape(case.hint)}")
    return f'<li class="{case.state}">{"<br>".join(lines)}</li>'

"""Asks a function in its own way: with its default slope, or at a slope that is fixed, and as its calls are written."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from leakyrelu._shared.wording import in_one_line, printable
from leakyrelu.check.cases import EXERCISES, Case
from leakyrelu.check.causes import of_ending, of_exception
from leakyrelu.check.judging import report
from leakyrelu.check.reporting import Report
from leakyrelu.check.sandbox.calling import Json, decode, encode

__all__ = ["DEFAULT", "inputs_of", "judged", "request_of", "told", "with_default"]

DEFAULT = 0.01


def with_default(cases: Sequence[Case], default: float | None) -> list[Case]:
    """The cases for a function of another default slope; None: it has none, and is always given one.

    Raises
    ------
    ValueError
        The slope is not finite.
    """
    if default is None:
        return [replace(case, alpha=case.slope) for case in cases]
    if not math.isfinite(default):
        raise ValueError(f"default must be finite or None, got {default}")
    return [_of_slope(case, default) for case in cases]


def _of_slope(case: Case, slope: float) -> Case:
    why = case.why.replace(f"{DEFAULT:g} where none is given", f"{slope:g} where none is given")
    return replace(case, default=slope, why=why)


def inputs_of(case: Case) -> int:
    """How many arguments come before the slope."""
    return 2 if case.is_list else 1


def request_of(case: Case) -> Json:
    """The call as plain data, for `sandbox`."""
    inputs = [encode(case.x) | {"layout": case.layout}]
    if case.is_list:
        inputs.insert(0, encode(case.gradients))
    return {"of": case.of, "inputs": inputs, "alpha": case.alpha, "positional": case.positional}


def told(level: str, name: str, asked: Sequence[Case], first: Json, answers: Sequence[Json]) -> Report:
    """The report on what `sandbox` says: at first whether the code was loaded, then the answers."""
    if "error" not in first:
        return judged(level, name, asked, answers, first.get("called", {}))
    text = first["error"]
    cause = of_ending(text)
    if "type" in first:
        cause = of_exception(first["type"], first["text"], first.get("code", ""), asked[0].of)
    return Report(level, error=printable(in_one_line(text)), cause=printable(first.get("hidden") or cause))


def judged(level: str, name: str, asked: Sequence[Case], answers: Sequence[Json], called: Json) -> Report:
    """The report on all answers; `called` says how the function and its derivative took their slopes.

    It comes from the process of the code, and is not trusted: a part that is missing stands for a parameter alpha.
    """
    hows: dict[str, Json] = {of: called[of] if isinstance(called.get(of), dict) else {} for of in EXERCISES}
    asked, answers = _without_slopes(asked, answers, hows)
    asked = [_of_tensors(case) if hows[case.of].get("tensors") else case for case in asked]
    found = report(level, name, asked, answers)
    results = tuple(
        replace(result, call=_written(case, result.call.partition("(")[0], hows[case.of]))
        for case, result in zip(asked, found.cases, strict=True)
    )
    hidden = next((str(answer["hidden"]) for answer in answers if answer.get("hidden")), "")
    return replace(found, cases=results, cause=found.cause if found.passed or not hidden else hidden)


def _of_tensors(case: Case) -> Case:
    """A function of tensors need not take integers."""
    is_integer = case.is_array and getattr(case.x, "dtype", None) is not None and case.x.dtype.kind in "iu"
    return replace(case, optional=True) if is_integer else case


def _without_slopes(
    asked: Sequence[Case], answers: Sequence[Json], hows: dict[str, Json]
) -> tuple[list[Case], list[Json]]:
    """What was asked of functions of x alone: nothing about other slopes, and nothing twice."""
    fixed = {of for of, how in hows.items() if how.get("slope_name", "") is None}
    own = _own_slope(asked, answers) if "function" in fixed else None
    kept: dict[object, tuple[Case, Json]] = {}
    for i, (case, answer) in enumerate(zip(asked, answers, strict=True)):
        if case.of not in fixed:
            kept[i] = case, answer
        elif case.alpha is None or (0 < case.alpha < 1 and "slope" not in case.name):
            one = _of_slope(case, own) if own is not None and case.default == DEFAULT else case
            kept.setdefault((case.of, case.text, case.layout), (replace(one, alpha=one.default), answer))
    return [case for case, _ in kept.values()], [answer for _, answer in kept.values()]


def _own_slope(asked: Sequence[Case], answers: Sequence[Json]) -> float | None:
    """The slope of a function that takes none, by its first value at -1, -2 or -0.5, where the quotient is exact.

    It is None if that is the slope of no leaky ReLU.
    """
    for case, answer in zip(asked, answers, strict=True):
        try:
            for x, value in _elements(case.x, decode(answer["value"])):
                if case.of == "function" and x in {-1, -2, -0.5}:
                    slope = float(value) / x
                    return slope if 0 < slope < 1 else None
        except (KeyError, TypeError, ValueError, OverflowError):  # it raised, or gave no numbers
            continue
    return None


def _elements(x: Any, value: Any) -> list[tuple[float, Any]]:
    if type(x) in {int, float}:
        return [(x, value)]
    import numpy as np  # here: numbers do not need it

    if np.shape(x) != np.shape(value):
        return []
    return list(zip(np.ravel(x).tolist(), np.ravel(value).tolist(), strict=True))


def _written(case: Case, name: str, how: Json) -> str:
    """The call as one would type it."""
    form = str(how.get("written") or f"{name}({{x}}, {{slope}})")
    if case.alpha is None or how.get("slope_name", "") is None:
        return form.replace(", {slope}", "").replace("{slope}", "").replace("{x}", case.text)
    by_position = how.get("by_position") == "always" or (case.positional and how.get("by_position") != "never")
    keyword = "" if by_position else f"{how.get('slope_name', 'alpha')}="
    return form.replace("{slope}", f"{keyword}{case.alpha:.15g}").replace("{x}", case.text)

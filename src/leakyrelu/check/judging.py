"""Compares the answers with the right ones, and says what is wrong with each and with all of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from math import copysign, isclose, isinf, isnan, trunc, ulp
from sys import float_info
from typing import Any

from leakyrelu._shared.wording import in_one_line, printable
from leakyrelu.check import causes, lists
from leakyrelu.check.cases import EXERCISES, Case
from leakyrelu.check.explaining import explain
from leakyrelu.check.reporting import CaseState, Report, Result
from leakyrelu.check.sandbox.calling import Json, decode

__all__ = ["report"]


@dataclass(frozen=True)
class _Verdict:
    state: CaseState
    hint: str = ""
    brief: str = ""
    example: str = ""  # one wrong element of a large array
    is_number: bool = False  # whether a number or an array of the right kind came back, be its value right or wrong
    has_no_value: bool = False  # whether it raised an exception of arithmetic: too large, or divided by zero


_PASSED = _Verdict("passed", is_number=True)
_MOST = 0.75  # the fraction of failed calls that causes must explain to be named
_FEW = 3  # more causes than that are no explanation
_NOT_ASKED = "not asked"
_CHANGING = "the same call gives different results: keep nothing between two calls, and draw no random numbers"
_KEPT = "it returns the result of an earlier call with another slope: a result depends on z and on alpha"
_TWO_ZEROS = "it tells -0.0 from 0.0, which are the same number: compare with z >= 0, and leave the sign of zero alone"
_AT_ZERO = "the derivative is alpha at zero, as in PyTorch; here it is 1, z >= 0, and both are conventions"
_AT_ZERO_WRONG = "at zero the derivative is 1 or alpha, which are conventions, and nothing else"
_PRECISION = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def report(level: str, name: str, asked: Sequence[Case], answers: Sequence[Json]) -> Report:
    """Judge all answers, and look for the cause of the wrong ones."""
    values = [_value(answer) for answer in answers]
    verdicts = [_judge(*each) for each in zip(asked, answers, values, strict=True)]
    _compare_zeros(asked, values, verdicts)
    found = []
    several = len({case.of for case in asked}) > 1
    for of in EXERCISES:
        places = [i for i, case in enumerate(asked) if case.of == of]
        _explain_numbers(places, asked, values, verdicts)
        cause = _cause([asked[i] for i in places], [verdicts[i] for i in places])
        numbers = [i for i in places if not asked[i].is_array and verdicts[i].is_number]
        if any(verdicts[i].state == "failed" for i in places):
            cause = _CHANGING if _is_changing(numbers, asked, values) else cause
            cause = cause or _kept([i for i in numbers if verdicts[i].state == "failed"], numbers, asked, values)
        if cause:
            found.append(f"of the derivative: {cause}" if several and of == "derivative" else cause)
    results = tuple(_result(name, *each) for each in zip(asked, answers, values, verdicts, strict=True))
    return Report(level, results, cause="; ".join(found))


def _explain_numbers(
    places: Sequence[int], asked: Sequence[Case], values: Sequence[Any], verdicts: list[_Verdict]
) -> None:
    """Put into each verdict the mistake that gives its number; of several, the one that explains the most answers.

    Where all wrong numbers have one mistake, that is also why others have no value: ``z / alpha`` at a slope of 0.
    """
    numbers = [i for i in places if verdicts[i].is_number and asked[i].rule != "reported"]
    explained = explain([(asked[i], values[i], verdicts[i].state == "failed") for i in numbers])
    often = Counter(text for texts in explained for text in texts)
    for i, texts in zip(numbers, explained, strict=True):
        if texts:  # of equals, max takes the first, in the order of the table
            verdicts[i] = replace(verdicts[i], hint=max(texts, key=often.__getitem__))
    hints = {verdicts[i].hint for i, texts in zip(numbers, explained, strict=True) if texts}
    if len(hints) == 1 and all(verdicts[i].hint in hints for i in numbers if verdicts[i].state == "failed"):
        for i in places:
            if verdicts[i].has_no_value:
                verdicts[i] = replace(verdicts[i], hint=next(iter(hints)))


def _compare_zeros(asked: Sequence[Case], values: Sequence[Any], verdicts: list[_Verdict]) -> None:
    """The derivative may be 1 or alpha at zero, but it is the same at 0.0 and at -0.0."""
    first: dict[float, float] = {}
    for i, case in enumerate(asked):
        if case.rule == "either" and case.is_number and verdicts[i].is_number:
            value = float(values[i])
            if verdicts[i].state != "failed" and first.setdefault(case.slope, value) != value:
                verdicts[i] = _Verdict("failed", _TWO_ZEROS, "1 of 1")  # no number that `explaining` explains


def _is_changing(numbers: Sequence[int], asked: Sequence[Case], values: Sequence[Any]) -> bool:
    """Whether one call gave two results."""
    first: dict[tuple[str, float], Any] = {}
    for i in numbers:
        earlier = first.setdefault((asked[i].text, asked[i].slope), values[i])
        if earlier != values[i] and str(earlier) != str(values[i]):  # NaN is written as NaN
            return True
    return False


def _kept(wrong: Sequence[int], numbers: Sequence[int], asked: Sequence[Case], values: Sequence[Any]) -> str:
    """What to say if each wrong result is that of an earlier call, with the same number and another slope."""

    def is_kept(i: int) -> bool:
        earlier = (j for j in numbers if j < i and asked[j].text == asked[i].text and asked[j].slope != asked[i].slope)
        return any(values[j] == values[i] for j in earlier)

    return _KEPT if wrong and all(map(is_kept, wrong)) else ""


def _cause(asked: Sequence[Case], verdicts: Sequence[_Verdict]) -> str:
    """What explains the failures: one mistake, or up to three; otherwise what the failed calls have in common."""
    failed = [i for i, verdict in enumerate(verdicts) if verdict.state == "failed" and verdict.brief != _NOT_ASKED]
    hints = [text for text, _ in Counter(verdicts[i].hint for i in failed).most_common()]
    if len(hints) > (1 if causes.PRINTED in hints else 2) and all(verdicts[i].brief == "NoneType" for i in failed):
        return "it returns nothing: end each branch with return"
    if _multiplies_on([(asked[i], verdicts[i]) for i in failed]):
        return "`while` multiplies on and on, until nothing is left: `if` multiplies once"
    by_name = [i for i, case in enumerate(asked) if case.alpha is not None and not case.positional]
    if by_name and all("the number first" in verdicts[i].hint for i in by_name):
        return verdicts[by_name[0]].hint
    explained = sum(verdicts[i].hint != "" for i in failed)
    if explained >= _MOST * len(failed) and len(set(hints) - {""}) <= _FEW:
        return "; and ".join(filter(None, hints))
    passed = [case for case, verdict in zip(asked, verdicts, strict=True) if verdict.state in {"passed", "hint"}]
    return causes.of_place([asked[i] for i in failed], passed)


def _multiplies_on(failed: Sequence[tuple[Case, _Verdict]]) -> bool:
    """Whether below zero nothing is left, or it goes on without end: ``while z < 0: z = alpha * z``.

    With a slope above 0.5 the smallest number of all is rounded to itself, so that the loop does not end.
    """
    endless = [case.slope for case, verdict in failed if verdict.hint == causes.ENDLESS]
    others = {verdict.hint for _, verdict in failed} - {causes.ENDLESS}
    return endless != [] and min(endless) > 0.5 and len(others) == 1 and "the ReLU" in others.pop()


def _value(answer: Json) -> Any:
    """The number or the array that came back; None for anything else. The answer of a process is not trusted."""
    try:
        value = decode(answer["value"])
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float):
                float(number)  # fails if an integer is too large
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return value


def _result(name: str, case: Case, answer: Json, value: Any, verdict: _Verdict) -> Result:
    if case.level == "derivative":
        name = f"{name}_derivative"
    expected = case.expected
    shown = str(expected) if case.rule == "printed" else _shown(expected)
    return Result(
        name=case.name,
        level=case.level,
        call=case.call(name),
        got=printable(in_one_line(_got(case, answer, value))),
        expected="a convention, not judged" if case.rule == "reported" else shown,
        why=case.why,
        hint="; ".join(filter(None, [verdict.hint, verdict.example])),
        state=verdict.state,
        brief=verdict.brief,
    )


def _got(case: Case, answer: Json, value: Any) -> str:
    printed = str(answer.get("printed", "")).strip()
    if "ended" in answer:
        return str(answer["ended"])
    if "raised" in answer:
        raised = answer["raised"]
        line = f" in line {raised['line']}" if raised.get("line") else ""
        return f"raised {raised['type']}{line}: {raised['text']}".removesuffix(": ")
    as_printed = case.rule == "printed" and answer["value"]["type"] != "str"  # repr shows the quotes of a str
    text = str(answer["value"]["text" if as_printed else "repr"])
    if hasattr(value, "dtype") and not (case.rule == "printed" and value.ndim == 0):
        text = _shown(value)
    return f"printed {printed[:60]!r} and returned {text}" if printed else text


def _shown(value: Any) -> str:
    return _arrays().shown(value) if hasattr(value, "dtype") else repr(value)


def _arrays() -> Any:
    """What needs NumPy, which numbers do not."""
    return import_module("leakyrelu.check.arrays")


def _judge(case: Case, answer: Json, value: Any) -> _Verdict:
    verdict = _judge_value(case, answer, value)
    if case.optional and verdict.state == "failed":
        hint = verdict.hint or "a list comes out wrong"
        if not isinstance(case.x, list):
            hint = "functions of PyTorch refuse integers, or give its default float type"
        return replace(verdict, state="hint", is_number=False, hint=f"not needed: {hint}")
    return verdict


def _judge_value(case: Case, answer: Json, value: Any) -> _Verdict:
    if "ended" in answer:
        ended = str(answer["ended"])
        return _Verdict("failed", causes.of_ending(ended), ended.partition(":")[0])
    if "raised" in answer:
        raised = answer["raised"]
        cause = causes.of_exception(str(raised["type"]), str(raised["text"]), exercise=case.of, raised=raised)
        return _Verdict("failed", cause, "refuses", has_no_value=str(raised["type"]) in causes.ARITHMETIC)
    of_kind = lists.of_kind if case.is_list else causes.of_kind
    if odd := of_kind(answer["value"], str(answer.get("printed", "")), value, case):
        return _Verdict("failed", odd, str(answer["value"]["type"]))
    if case.rule == "reported":
        low, high = sorted((case.slope, 1.0))
        if not (low <= float(value) <= high or float(value) == 0 or isnan(float(value))):
            return _Verdict("failed", _AT_ZERO_WRONG, "1 of 1")
        return _Verdict("reported", _convention(case, value), f"{float(value):g}")
    compare = _compare_list if case.is_list else _compare_number if case.is_number else _compare_array
    verdict = compare(case, value)
    return _side_effects(case, answer, verdict) or (_remark(case, answer, value) if verdict == _PASSED else verdict)


def _side_effects(case: Case, answer: Json, verdict: _Verdict) -> _Verdict | None:
    """What is wrong even if the right value came back."""
    if answer.get("children"):
        hint = "it starts processes that still run when it has returned: it needs none"
        return _Verdict("failed", hint, "processes")
    if answer.get("changed"):
        hint = "it changes its input: work on a copy, or return a new array"
        if case.is_list:
            hint = "it changes a list that it was given, which others still need: make a new list, result = []"
        return _Verdict("failed", hint, "input changed", verdict.example)
    if answer.get("overwrites"):
        kind = "list" if case.is_list else "array"
        hint = f"it writes over what it returned before, which may still be needed: make a new {kind} in each call"
        return _Verdict("failed", hint, "overwrites", verdict.example)
    return None


def _remark(case: Case, answer: Json, value: Any) -> _Verdict:
    """The remark on an answer that is right, if there is one."""
    if case.rule == "exact" and not case.may_warn and answer.get("warnings"):
        hint = f"it warns ({answer['warnings'][0]}): it makes products that it then does not use"
        return replace(_PASSED, state="hint", hint=hint, brief="warns")
    if str(answer.get("printed", "")).strip():
        return replace(_PASSED, state="hint", hint="it also prints: returning the value is enough")
    if answer["value"]["type"] == "ndarray" and case.is_number:
        hint = "the number comes back as an array of no dimension: .item() makes a number of it"
        return replace(_PASSED, state="hint", hint=hint)
    hint = _remark_on_value(case, answer, value)
    return replace(_PASSED, state="hint", hint=hint) if hint else _PASSED


def _remark_on_value(case: Case, answer: Json, value: Any) -> str:
    at_zero = lists.takes_slope_at_zero(case, value) if case.is_list else case.rule == "either" and value != 1
    if at_zero:
        return _AT_ZERO
    text, expected = answer["value"]["text"], str(case.expected)
    if case.level == "exercise" and value != case.expected:
        alone = "alpha * z alone gives the last digits, too" if case.of == "function" else "round nothing on the way"
        return f"nearly right: it gives {text} and not {expected}; {alone}"
    if case.rule == "printed" and text != expected:
        return f"it prints {text} where the textbook prints {expected}: return z itself where z >= 0"
    return ""


def _convention(case: Case, value: Any) -> str:
    number = float(value)
    if number == 1:
        return "the derivative is 1 here, as in this library and in JAX"
    if number == case.slope:
        return "the derivative is alpha here, as in PyTorch" if case.x == 0 else "the derivative is alpha here"
    return f"the derivative is {number:g} here"


def _compare_list(case: Case, value: Any) -> _Verdict:
    if lists.is_right(case, value) or lists.takes_slope_at_zero(case, value):
        return _PASSED
    return _Verdict("failed", brief="wrong numbers", is_number=True)


def _compare_array(case: Case, value: Any) -> _Verdict:
    wrong = _arrays().compare(case, value)
    if wrong is None:
        return _PASSED
    return _Verdict("failed", wrong.hint, wrong.brief, wrong.example, is_number=wrong.is_number)


def _compare_number(case: Case, value: Any) -> _Verdict:
    actual, expected = float(value), float(case.expected)
    if _same(case, actual, expected, value):
        return _PASSED
    hint = ""
    kind = str(getattr(value, "dtype", ""))
    near = isclose(actual, expected, rel_tol=16 * _PRECISION.get(kind, 0)) or actual == 0 or isinf(actual)
    if kind in _PRECISION and near:
        hint = f"the result is a {kind}, which has too few digits: keep the numbers of Python"
    elif case.of == "derivative" and case.level == "exercise" and isclose(actual, expected, rel_tol=1e-3):
        hint = "it is nearly right, as a quotient of differences is: return 1 or alpha itself"
    elif case.of == "function" and type(case.x) is int and case.x < 0 and actual == trunc(expected):
        hint = (
            "for integers alpha * z is cut to an integer: in NumPy, make an array of floats, np.asarray(z, dtype=float)"
        )
    elif isclose(actual, expected, rel_tol=1e-9):
        hint = "the result is nearly right: alpha * z alone gives the last digits, too"
    zeros = actual == expected == 0
    brief = "sign of 0" if zeros else "NaN" if isnan(actual) else "not NaN" if isnan(expected) else "1 of 1"
    return _Verdict("failed", hint, brief, is_number=True)


def _same(case: Case, actual: float, expected: float, value: Any) -> bool:
    """Whether the number is right; at the level ``exercise`` up to two units in the last place of what was given."""
    if isnan(actual) or isnan(expected):
        return isnan(actual) and isnan(expected)
    if case.rule == "exact":
        return actual == expected and copysign(1, actual) == copysign(1, expected)
    if case.rule == "either" and actual == case.slope:
        return True
    if case.level == "exercise":
        return abs(actual - expected) <= 2 * ulp(case.x if case.of == "function" else 1)
    precision = _PRECISION.get(str(getattr(value, "dtype", "")), float_info.epsilon)
    return isclose(actual, expected, rel_tol=4 * precision)

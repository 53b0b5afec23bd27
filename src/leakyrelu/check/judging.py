"""Compares the answers with the right ones, and says what is wrong with each and with all of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from leakyrelu._shared.wording import in_one_line, printable
from leakyrelu.check import causes
from leakyrelu.check.cases import Case
from leakyrelu.check.mistakes import explain, precision
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


_PASSED = _Verdict("passed", is_number=True)
_MOST = 0.75  # the fraction of failed calls that causes must explain to be named
_FEW = 3  # more causes than that are no explanation
_NOT_ASKED = "not asked"


def report(level: str, name: str, asked: Sequence[Case], answers: Sequence[Json]) -> Report:
    """Judge all answers, and look for the cause of the wrong ones."""
    values = [_value(answer) for answer in answers]
    verdicts = [_judge(*each) for each in zip(asked, answers, values, strict=True)]
    found = []
    for of in ("function", "derivative"):
        places = [i for i, case in enumerate(asked) if case.of == of]
        _explain_numbers(places, asked, values, verdicts)
        if cause := _cause([asked[i] for i in places], [verdicts[i] for i in places]):
            found.append(cause if of == "function" else f"of the derivative: {cause}")
    results = tuple(_result(name, *each) for each in zip(asked, answers, values, verdicts, strict=True))
    return Report(level, results, cause="; ".join(found))


def _explain_numbers(
    places: Sequence[int], asked: Sequence[Case], values: Sequence[Any], verdicts: list[_Verdict]
) -> None:
    """Put into each verdict the mistake that gives its number; of several, the one that explains the most answers."""
    numbers = [i for i in places if verdicts[i].is_number and asked[i].rule != "reported"]
    explained = explain([(asked[i], values[i], verdicts[i].state == "failed") for i in numbers])
    often = Counter(text for texts in explained for text in texts)
    for i, texts in zip(numbers, explained, strict=True):
        if texts:  # of equals, max takes the first, in the order of the table
            verdicts[i] = replace(verdicts[i], hint=max(texts, key=often.__getitem__))


def _cause(asked: Sequence[Case], verdicts: Sequence[_Verdict]) -> str:
    """What explains the failures: one mistake, or up to three; otherwise what the failed calls have in common."""
    failed = [i for i, verdict in enumerate(verdicts) if verdict.state == "failed" and verdict.brief != _NOT_ASKED]
    hints = [text for text, _ in Counter(verdicts[i].hint for i in failed).most_common()]
    if len(hints) > 2 and all(verdicts[i].brief == "NoneType" for i in failed):
        return "it returns nothing: end each branch with return"
    explained = sum(verdicts[i].hint != "" for i in failed)
    if explained >= _MOST * len(failed) and len(set(hints) - {""}) <= _FEW:
        return "; and ".join(filter(None, hints))
    passed = [case for case, verdict in zip(asked, verdicts, strict=True) if verdict.state in {"passed", "hint"}]
    return causes.of_place([asked[i] for i in failed], passed)


def _value(answer: Json) -> Any:
    """The number or the array that came back; None for anything else. The answer of a process is not trusted."""
    try:
        value = decode(answer["value"])
        np.asarray(value, np.float64 if isinstance(value, int | list) else None)  # fails if an integer is too large
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    return value


def _result(name: str, case: Case, answer: Json, value: Any, verdict: _Verdict) -> Result:
    if case.of == "derivative":
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
    if isinstance(value, np.ndarray | np.generic) and not (case.rule == "printed" and value.ndim == 0):
        text = _shown(value)
    return f"printed {printed[:60]!r} and returned {text}" if printed else text


def _shown(value: Any) -> str:
    """A number or an array, and the type of the array where it is not float64."""
    if not isinstance(value, np.ndarray | np.generic):
        return repr(value)
    text = np.array2string(np.asarray(value), separator=", ", threshold=8, edgeitems=2, max_line_width=10_000)
    text = in_one_line(text)
    if value.size > 8:
        text += f" of shape {value.shape}"
    return text if value.dtype == np.float64 else f"{text} {value.dtype.name}"


def _judge(case: Case, answer: Json, value: Any) -> _Verdict:
    if "ended" in answer:
        ended = str(answer["ended"])
        return _Verdict("failed", causes.of_ending(ended), ended.partition(":")[0])
    if "raised" in answer:
        raised = answer["raised"]
        return _Verdict("failed", causes.of_exception(str(raised["type"]), str(raised["text"])), "refuses")
    if odd := causes.of_kind(answer["value"], str(answer.get("printed", "")), value, case):
        return _Verdict("failed", odd, str(answer["value"]["type"]))
    if case.rule == "reported":
        return _Verdict("reported", _convention(case, value), f"{float(value):g}")
    verdict = _compare(case, answer, value)
    return _side_effects(answer, verdict) or (_remark(case, answer, value) if verdict == _PASSED else verdict)


def _side_effects(answer: Json, verdict: _Verdict) -> _Verdict | None:
    """What is wrong even if the right value came back."""
    if answer.get("children"):
        hint = "it starts processes that still run when it has returned: it needs none"
        return _Verdict("failed", hint, "processes")
    if answer.get("changed"):
        hint = "it changes its input: work on a copy, or return a new array"
        return _Verdict("failed", hint, "input changed", verdict.example)
    return None


def _remark(case: Case, answer: Json, value: Any) -> _Verdict:
    """The remark on an answer that is right, if there is one."""
    if case.rule == "exact" and not case.may_warn and answer.get("warnings"):
        hint = f"it warns ({answer['warnings'][0]}): it makes products that it then does not use"
        return replace(_PASSED, state="hint", hint=hint, brief="warns")
    if str(answer.get("printed", "")).strip():
        return replace(_PASSED, state="hint", hint="it also prints: returning the value is enough")
    if isinstance(value, np.ndarray) and type(case.x) in {int, float}:
        hint = "the number comes back as an array of no dimension: .item() makes a number of it"
        return replace(_PASSED, state="hint", hint=hint)
    text, expected = answer["value"]["text"], str(case.expected)
    if case.rule == "printed" and text != expected:
        hint = f"it prints {text} where the textbook prints {expected}: return z itself where z >= 0"
        return replace(_PASSED, state="hint", hint=hint)
    return _PASSED


def _convention(case: Case, value: Any) -> str:
    number = float(value)
    if number == 1:
        return "the derivative is 1 here, as in this library and in JAX"
    if number == case.slope:
        return "the derivative is alpha here, as in PyTorch" if case.x == 0 else "the derivative is alpha here"
    return f"the derivative is {number:g} here"


def _compare(case: Case, answer: Json, value: Any) -> _Verdict:
    expected, actual = np.asarray(case.expected), np.asarray(value)
    if isinstance(case.expected, np.ndarray):
        if actual.shape != expected.shape:
            hint, example = causes.of_shape(actual.shape, expected.shape)
            return _Verdict("failed", hint, f"shape {actual.shape}", example)
        if isinstance(value, np.ndarray | np.generic) and actual.dtype != expected.dtype:
            hint, example = causes.of_type(np.asarray(case.x).dtype, actual.dtype)
            return _Verdict("failed", hint, actual.dtype.name, example)
    wrong = _wrong(actual, expected, exact=case.rule == "exact")
    if wrong.any():
        return _different(case, actual, expected, wrong)
    if case.rule == "printed" and actual != expected:
        return _Verdict("failed", _nearly(value), "rounding", f"it prints {answer['value']['text']}", is_number=True)
    return _PASSED


def _nearly(value: Any) -> str:
    if isinstance(value, np.ndarray | np.generic) and value.dtype != np.float64:
        return f"the result is a {value.dtype.name}, which has too few digits: keep the numbers of Python"
    return "nearly right: alpha * z alone gives the last digits, too"


def _different(case: Case, actual: Any, expected: Any, wrong: Any) -> _Verdict:
    if isinstance(case.expected, np.ndarray):
        hint = causes.of_elements(actual[wrong], expected[wrong])
    else:
        hint = _nearly(actual) if np.isclose(float(actual), float(expected), rtol=1e-9, atol=0) else ""
    example = ""
    if actual.size > 8:
        first = np.flatnonzero(wrong)[0]
        x, got, right = (array.reshape(-1)[first] for array in (np.asarray(case.x), actual, expected))
        example = (
            f"{np.count_nonzero(wrong):,} of {actual.size:,} are wrong: at {x!s} it gives {got!s}, right is {right!s}"
        )
    brief = _brief(actual, expected, wrong)
    return _Verdict("failed", hint, brief, example, is_number=True)


def _wrong(actual: Any, expected: Any, *, exact: bool) -> Any:
    """Which elements are wrong."""
    with np.errstate(all="ignore"):
        if exact:
            same = (actual == expected) & (np.signbit(actual) == np.signbit(expected))
        else:
            kinds = [array.dtype for array in (actual, expected) if array.dtype.kind not in "biu"] or [np.float64]
            digits = max(precision(kind) for kind in kinds)
            actual, expected = actual.astype(np.float64), expected.astype(np.float64)
            same = (actual == expected) | (np.abs(actual - expected) <= 4 * digits * np.abs(expected))
        return ~(same | (np.isnan(actual) & np.isnan(expected)))


def _brief(actual: Any, expected: Any, wrong: Any) -> str:
    """What is wrong, in a word or two, for a table."""
    actual, expected = actual[wrong], expected[wrong]
    if np.all((actual == 0) & (expected == 0)):
        return "sign of 0"
    if np.all(np.isnan(actual)):
        return "NaN"
    if np.all(np.isnan(expected)):
        return "not NaN"
    return f"{len(actual):,} of {wrong.size:,}"

"""Compares arrays, which the level ``exercise`` does not ask; so NumPy is needed here alone and in `array_cases`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from leakyrelu._shared.wording import in_one_line
from leakyrelu.check import causes
from leakyrelu.check.arithmetic import Formula
from leakyrelu.check.cases import Case
from leakyrelu.check.rounding import ROUNDING_MISTAKES, precision, round_once, slope_for

__all__ = [
    "ROUNDING_MISTAKES",
    "Difference",
    "agree",
    "compare",
    "in_its_type",
    "kind_of",
    "rounded_once",
    "shown",
    "wrong_elements",
]


@dataclass(frozen=True)
class Difference:
    """What is wrong with an array: the cause, a word or two for a table, and one wrong element of a large one."""

    hint: str
    brief: str
    example: str = ""
    is_number: bool = False  # whether the array is of the right kind, so that only its values are wrong


def shown(value: Any) -> str:
    """An array or a scalar, and its type where that is not float64."""
    text = np.array2string(np.asarray(value), separator=", ", threshold=8, edgeitems=2, max_line_width=10_000)
    text = in_one_line(text)
    if value.size > 8:
        text += f" of shape {value.shape}"
    return text if value.dtype == np.float64 else f"{text} {value.dtype.name}"


def compare(case: Case, value: Any) -> Difference | None:
    """What is wrong with the array that came back; None if nothing is."""
    expected, actual = case.expected, np.asarray(value)
    if actual.shape != expected.shape:
        hint, example = causes.of_shape(actual.shape, expected.shape)
        return Difference(hint, f"shape {actual.shape}", example)
    if hasattr(value, "dtype") and actual.dtype != expected.dtype:
        hint, example = causes.of_type(np.asarray(case.x).dtype, actual.dtype)
        # Integers may also come of another mistake, such as that of a ReLU, which has no products.
        is_number = actual.dtype.kind in "iu" and bool(_wrong(actual, expected, exact=False).any())
        if actual.dtype.kind in "iu" and not _is_cut(actual, np.asarray(case.x)):
            hint = ""
        return Difference(hint, actual.dtype.name, example, is_number)
    wrong = _wrong(actual, expected, exact=case.rule == "exact")
    return _different(case, actual, expected, wrong) if wrong.any() else None


def _is_cut(actual: Any, x: Any) -> bool:
    """Whether integers may be products with a slope from 0 to 1, without their fractions."""
    return bool(np.all(np.where(x < 0, (x <= actual) & (actual <= 0), actual == x)))


def _different(case: Case, actual: Any, expected: Any, wrong: Any) -> Difference:
    example = ""
    if actual.size > 8:
        first = np.flatnonzero(wrong)[0]
        x, got, right = (array.reshape(-1)[first] for array in (np.asarray(case.x), actual, expected))
        example = (
            f"{np.count_nonzero(wrong):,} of {actual.size:,} are wrong: at {x!s} it gives {got!s}, right is {right!s}"
        )
    hint = _of_elements(actual[wrong], expected[wrong])
    return Difference(hint, _brief(actual, expected, wrong), example, is_number=True)


def _of_elements(actual: Any, expected: Any) -> str:
    """What the wrong elements have in common."""
    if np.all(np.isnan(expected)):
        return "NaN is lost: what is not a number must stay so"
    if np.all(np.isnan(actual)):
        return "NaN comes out where a number belongs: 0 * inf and inf - inf are NaN"
    if np.all((actual == 0) & (expected == 0)):
        return "a zero lost its sign: -0.0 + 0.0 is 0.0, and a negative slope turns it"
    if np.all(actual == 0) and actual.dtype.kind == "f" and np.all(np.abs(expected) < np.finfo(actual.dtype).tiny):
        return "the smallest numbers are flushed to zero"
    return ""


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


def wrong_elements(case: Case, value: Any) -> int:
    """How many elements are wrong."""
    actual, expected = (np.asarray(array).astype(np.float64) for array in (value, case.expected))
    same = (actual == expected) & (np.signbit(actual) == np.signbit(expected))
    return int(np.count_nonzero(~(same | (np.isnan(actual) & np.isnan(expected)))))


def rounded_once(formula: Formula, case: Case) -> Any:
    """What a mistake gives that is not a mistake of rounding."""
    kind = kind_of(case)
    with np.errstate(all="ignore"):
        exact = formula(np.asarray(case.x).astype(np.float64), slope_for(kind, case.slope), case.alpha is not None)
        return round_once(np.asarray(exact, np.float64), kind)


def in_its_type(formula: Formula, case: Case) -> Any:
    """What a mistake of rounding gives."""
    with np.errstate(all="ignore"):
        return formula(np.asarray(case.x).astype(kind_of(case)), case.slope, case.alpha is not None)


def kind_of(case: Case) -> Any:
    """The type in which the answer is computed."""
    kind = np.asarray(case.x).dtype
    return np.dtype(np.float64) if kind.kind in "biu" or case.rule != "exact" else kind


def agree(case: Case, one: Any, other: Any) -> bool:
    """Whether two results are the same; a few roundings are allowed, unless the case asks for exact rounding."""
    exact, kind = case.rule == "exact", np.asarray(case.x).dtype
    digits = 0.0 if exact and kind != np.float64 else 8 * precision(np.float64 if kind.kind in "biu" else kind)
    with np.errstate(all="ignore"):
        one, other = (np.asarray(array).astype(np.float64) for array in (one, other))
        if one.shape != other.shape:
            return False
        close = np.isclose(one, other, rtol=digits, atol=0, equal_nan=True)
        same_zero = (np.signbit(one) == np.signbit(other)) | (one != 0) | (not exact)
        return bool(np.all(close & same_zero))

"""Computes what typical mistakes would give: wrong numbers that came back tell which of them was made.

To add a mistake, add a row to one of the tables. A mistake is named only if it gives what came back, and
would not have changed an answer that was right. If the wrong answers are single numbers, it must explain all of them.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from leakyrelu.check.cases import Case, round_once, slope_for

__all__ = ["DERIVATIVE_MISTAKES", "MISTAKES", "ROUNDING_MISTAKES", "Answered", "explain", "precision"]

_ENOUGH = 3  # fewer numbers than that fit many mistakes
_INTEGER = "cut or rounded to an integer: drop int(), round() and //"

# A function of x, the slope, and whether the slope was given.
Formula = Callable[[Any, Any, bool], Any]
Mistake = tuple[str, Formula]
Answered = tuple[Case, Any, bool]  # a case, the value that came back, and whether it is wrong


def _other_default(slope: float) -> Mistake:
    text = f"the default slope is {slope:g}; it must be 0.01"
    return text, lambda x, a, given: np.where(x > 0, x, (a if given else slope) * x)


def _other_threshold(threshold: float) -> Mistake:
    small = (
        "small positive numbers are multiplied by alpha, too" if threshold > 0 else "not all negative numbers change"
    )
    text = f"{small}: compare z with 0"
    return text, lambda x, a, given: np.where(x > threshold, x, a * x)


def _rounded_to(digits: int) -> Mistake:
    text = "the result is rounded: drop round(), and return the number as it is"
    return text, lambda x, a, given: np.round(np.where(x > 0, x, a * x), digits)


def _made_integer(cut: Callable[[Any], Any]) -> Mistake:
    return f"the result is {_INTEGER}", lambda x, a, given: cut(np.where(x > 0, x, a * x))


def _product_made_integer(cut: Callable[[Any], Any]) -> Mistake:
    return f"alpha * z is {_INTEGER}", lambda x, a, given: np.where(x > 0, x, cut(a * x))


def _positive_made_integer(cut: Callable[[Any], Any]) -> Mistake:
    return f"above zero z is {_INTEGER}", lambda x, a, given: np.where(x > 0, cut(x), a * x)


# These are computed in float64, and rounded once to the type of the array.
MISTAKES: tuple[Mistake, ...] = (
    *map(_other_default, (0.1, 0.2, 0.3, 0.001, 0.02, 0.05, 0.25, 0.5, 0.0, 1.0, -0.01)),
    ("alpha is ignored, the slope is always 0.01: multiply by alpha", lambda x, a, given: np.where(x > 0, x, 0.01 * x)),
    ("alpha is ignored, the slope is always 0.1: multiply by alpha", lambda x, a, given: np.where(x > 0, x, 0.1 * x)),
    (
        "it returns alpha for every number: is the number the first parameter, and alpha the second?",
        lambda x, a, given: a + 0 * x,
    ),
    ("it returns alpha for negative numbers: multiply it by z", lambda x, a, given: np.where(x >= 0, x, a)),
    ("it returns alpha for negative numbers: multiply it by z", lambda x, a, given: np.where(x > 0, x, a)),
    ("it returns -alpha for negative numbers: multiply alpha by z", lambda x, a, given: np.where(x >= 0, x, -a)),
    ("the sign is turned: alpha * z is negative where z is", lambda x, a, given: np.where(x >= 0, x, -a * x)),
    ("it returns alpha * z for all numbers: above zero return z itself", lambda x, a, given: a * x),
    (
        "the two sides are swapped, or min(z, alpha * z) is taken: return z above zero, alpha * z below",
        lambda x, a, given: np.where(x > 0, a * x, x),
    ),
    ("it is the ReLU, max(0, z): below zero return alpha * z", lambda x, a, given: np.where(x > 0, x, 0 * x)),
    ("it returns the absolute value: below zero return alpha * z", lambda x, a, given: np.abs(x)),
    ("it returns z unchanged: below zero return alpha * z", lambda x, a, given: x),
    ("it returns -z: return z above zero, alpha * z below", lambda x, a, given: -x),
    ("it returns 1 above zero: that is the derivative; return z there", lambda x, a, given: np.where(x > 0, 1, a * x)),
    ("it returns 1 above zero: that is the derivative; return z there", lambda x, a, given: np.where(x >= 0, 1, a * x)),
    (
        "it returns the derivative, 1 or alpha: return the value, z or alpha * z",
        lambda x, a, given: np.where(x > 0, 1, a),
    ),
    ("it returns 0 for every number: return z above zero, alpha * z below", lambda x, a, given: 0 * x),
    ("it returns 0 above zero: return z there", lambda x, a, given: np.where(x > 0, 0, a * x)),
    (
        "above zero alpha * z is added to z: write max(0, z) + alpha * min(0, z), or choose with if and else",
        lambda x, a, given: np.maximum(0, x) + a * x,
    ),
    (
        "above zero alpha * z is subtracted from z: return z there",
        lambda x, a, given: np.where(x > 0, x, 0) - a * x,
    ),
    ("alpha is added: below zero return alpha * z, above zero z", lambda x, a, given: np.maximum(x, 0) + a),
    ("below zero the result is z + alpha * z: return alpha * z", lambda x, a, given: np.where(x > 0, x, x + a * x)),
    ("below zero the result is z - alpha * z: return alpha * z", lambda x, a, given: np.where(x > 0, x, x - a * x)),
    ("it is max(alpha, z): below zero return alpha * z", lambda x, a, given: np.maximum(x, a)),
    ("it is max(-alpha, z): below zero return alpha * z", lambda x, a, given: np.maximum(x, -a)),
    (
        "it is max(z, alpha * z), which is right for slopes from 0 to 1 only: compare z with 0",
        lambda x, a, given: np.maximum(x, a * x),
    ),
    (
        "it is Python's max(z, alpha * z), which loses NaN and is right for slopes up to 1 only: compare z with 0",
        lambda x, a, given: np.where(a * x > x, a * x, x),
    ),
    (
        "it is Python's max(alpha * z, z), which loses NaN and is right for slopes up to 1 only: compare z with 0",
        lambda x, a, given: np.where(x > a * x, x, a * x),
    ),
    (
        "it adds products with masks, and 0 * inf is NaN: choose with np.where(x >= 0, x, alpha * x)",
        lambda x, a, given: x * (x > 0) + a * x * (x <= 0),
    ),
    (
        "it adds products with masks, and 0 * inf is NaN: choose with np.where(x >= 0, x, alpha * x)",
        lambda x, a, given: x * (x >= 0) + a * x * (x < 0),
    ),
    (
        "it adds max(0, x) and alpha * min(0, x), which loses the sign of zeros: use np.where(x >= 0, x, alpha * x)",
        lambda x, a, given: np.maximum(0, x) + a * np.minimum(0, x),
    ),
    (
        "NaN is replaced by 0: let it stay NaN",
        lambda x, a, given: np.where(np.isnan(x), 0, np.where(x >= 0, x, a * x)),
    ),
    *map(_other_threshold, (1.0, 0.999, 0.5, 0.1, -0.1, -0.5, -0.501, -1.0, -1.001)),
    ("z is compared with alpha: compare it with 0", lambda x, a, given: np.where(x > a, x, a * x)),
    *(_made_integer(cut) for cut in (np.trunc, np.floor, np.round, np.ceil)),
    *(_product_made_integer(cut) for cut in (np.trunc, np.floor, np.round, np.ceil)),
    *(_positive_made_integer(cut) for cut in (np.trunc, np.floor, np.round, np.ceil)),
    (f"z is {_INTEGER}", lambda x, a, given: np.where(x > 0, np.trunc(x), a * np.trunc(x))),
    *map(_rounded_to, (1, 2, 3, 4)),
    ("it divides by alpha: multiply by it", lambda x, a, given: np.where(x >= 0, x, x / a)),
    ("it divides alpha by z: multiply them", lambda x, a, given: np.where(x >= 0, x, a / x)),
    ("it adds alpha: multiply by it", lambda x, a, given: np.where(x >= 0, x, x + a)),
    ("it subtracts alpha: multiply by it", lambda x, a, given: np.where(x >= 0, x, x - a)),
    ("alpha is applied twice: multiply once", lambda x, a, given: np.where(x >= 0, x, a * a * x)),
    ("z is squared: ** is a power, * multiplies", lambda x, a, given: np.where(x >= 0, x, x**2 * a)),
    ("alpha is raised to the power of z: ** is a power, * multiplies", lambda x, a, given: np.where(x >= 0, x, a**x)),
    (
        "it is the ELU, alpha * (exp(z) - 1): below zero return alpha * z",
        lambda x, a, given: np.where(x >= 0, x, a * np.expm1(x)),
    ),
    ("it is the hyperbolic tangent: return z or alpha * z", lambda x, a, given: np.tanh(x)),
    ("it is the sigmoid: return z or alpha * z", lambda x, a, given: 1 / (1 + np.exp(-x))),
    ("it is the softplus: return z or alpha * z", lambda x, a, given: np.logaddexp(0, x)),
    ("it is the SiLU: return z or alpha * z", lambda x, a, given: x / (1 + np.exp(-x))),
    ("it returns 0 or 1: return z or alpha * z", lambda x, a, given: np.where(x > 0, 1, 0)),
    ("alpha is held between 0 and 1: take it as it is", lambda x, a, given: np.where(x >= 0, x, np.clip(a, 0, 1) * x)),
    ("the absolute value of alpha is taken: take alpha as it is", lambda x, a, given: np.where(x >= 0, x, abs(a) * x)),
    (
        "with a negative slope zeros change their sign: compare with x >= 0, not x > 0",
        lambda x, a, given: np.where(x > 0, x, a * x),
    ),
)

# Mistakes of rounding. These are computed in the type of the array.
ROUNDING_MISTAKES: tuple[Mistake, ...] = (
    (
        "it multiplies in float32, which has seven digits: keep float64",
        lambda x, a, given: np.where(x >= 0, x, np.float32(a) * x.astype(np.float32)),
    ),
    (
        "it works in float32, which has seven digits: keep float64",
        lambda x, a, given: np.where(x >= 0, x.astype(np.float32), np.float32(a) * x.astype(np.float32)),
    ),
    (
        "alpha is taken in 16 bits, which have two or three digits: take it as float32, and round the product",
        lambda x, a, given: np.where(x >= 0, x, x.dtype.type(a) * x),
    ),
    (
        "the product is rounded twice, to float32 and then to 16 bits: compute it in float64 and round once",
        lambda x, a, given: np.where(x >= 0, x, (np.float32(a) * x.astype(np.float32)).astype(x.dtype)),
    ),
    (
        "the product is computed with alpha in float64: take alpha as float32",
        lambda x, a, given: np.where(x >= 0, x, np.float64(a) * x.astype(np.float64)).astype(x.dtype),
    ),
    (
        "alpha is taken as float32, which has seven digits: take it as float64",
        lambda x, a, given: np.where(x >= 0, x, (np.float64(np.float32(a)) * x.astype(np.float64)).astype(x.dtype)),
    ),
    (
        "subnormal numbers are flushed to zero: keep them",
        lambda x, a, given: _flushed(np.where(x >= 0, _flushed(x), a * _flushed(x))),
    ),
    ("subnormal results are flushed to zero: keep them", lambda x, a, given: _flushed(np.where(x >= 0, x, a * x))),
)

DERIVATIVE_MISTAKES: tuple[Mistake, ...] = (
    *(
        (
            f"its default slope is {slope:g}; it must be 0.01",
            lambda x, a, given, slope=slope: np.where(x > 0, 1, a if given else slope),
        )
        for slope in (0.1, 0.2, 0.3, 0.001)
    ),
    ("it is 0 below zero, as the ReLU's: return alpha there", lambda x, a, given: np.where(x > 0, 1, 0 * a)),
    ("it returns the value: return 1 above zero, alpha below", lambda x, a, given: np.where(x > 0, x, a * x)),
    (
        "it returns alpha * z below zero: the derivative of alpha * z is alpha",
        lambda x, a, given: np.where(x > 0, 1, a * x),
    ),
    ("it returns z above zero: the derivative of z is 1", lambda x, a, given: np.where(x > 0, x, a)),
    ("it is 1 everywhere: return alpha below zero", lambda x, a, given: np.where(x > 0, 1, 1)),
    ("it is alpha everywhere: return 1 above zero", lambda x, a, given: np.where(x > 0, a, a)),
    ("the two sides are swapped: 1 above zero, alpha below", lambda x, a, given: np.where(x > 0, a, 1)),
    ("the sign is turned: below zero it is alpha", lambda x, a, given: np.where(x > 0, 1, -a)),
    ("it is -1 below zero, as the absolute value's: return alpha there", lambda x, a, given: np.where(x > 0, 1, -1)),
    ("alpha is ignored, it is always 0.01: return alpha below zero", lambda x, a, given: np.where(x > 0, 1, 0.01)),
    ("it is 0 above zero: return 1 there", lambda x, a, given: np.where(x > 0, 0, a)),
    ("it is 1 + alpha above zero: return 1 there", lambda x, a, given: np.where(x > 0, 1 + a, a)),
    (
        "it uses the sign of alpha * x, which a negative slope turns and an underflow loses: use the sign of x",
        lambda x, a, given: np.where(np.where(x >= 0, x, a * x) >= 0, 1, a),
    ),
    (
        "it uses the sign of alpha * x, which a negative slope turns: use the sign of x",
        lambda x, a, given: np.where(np.where(x >= 0, x, a * x) > 0, 1, a),
    ),
    ("it is the ELU's, alpha * exp(x): below zero it is alpha", lambda x, a, given: np.where(x > 0, 1, a * np.exp(x))),
    ("it is the sigmoid's: it is 1 above zero, alpha below", lambda x, a, given: np.exp(-x) / (1 + np.exp(-x)) ** 2),
)


def _flushed(x: Any) -> Any:
    if x.dtype.kind != "f":  # bfloat16: NumPy does not know its smallest normal number
        return x
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, np.copysign(0, x), x).astype(x.dtype)


def precision(kind: Any) -> float:
    """The distance from 1 to the next number of a type."""
    return 2.0**-7 if np.dtype(kind).name == "bfloat16" else float(np.finfo(kind).eps)


def explain(answered: Sequence[Answered]) -> list[list[str]]:
    """For each wrong answer the mistakes that give it, without those that a right answer rules out.

    All answers are of the function, or all are of its derivative.
    """
    found: list[list[str]] = [[] for _ in answered]
    if len(answered) < _ENOUGH or not any(wrong for _, _, wrong in answered):
        return found
    derivative = any(case.of == "derivative" for case, _, _ in answered)
    for group in _groups(answered, _is_array):
        _explain(group, answered, found, DERIVATIVE_MISTAKES if derivative else MISTAKES, _rounded_once)
    for group in _groups(answered, lambda case: (_is_array(case), _kind(case))):
        _explain(group, answered, found, () if derivative else ROUNDING_MISTAKES, _in_its_type)
    return found


def _groups(answered: Sequence[Answered], key: Callable[[Case], Hashable]) -> list[list[int]]:
    """The places of the answers, by group. A right answer rules out mistakes in its group: a number not for arrays."""
    groups: dict[Hashable, list[int]] = {}
    for i, (case, _, _) in enumerate(answered):
        groups.setdefault(key(case), []).append(i)
    return list(groups.values())


def _is_array(case: Case) -> bool:
    return type(case.x) not in {int, float}


def _explain(
    group: Sequence[int],
    answered: Sequence[Answered],
    found: list[list[str]],
    mistakes: Sequence[Mistake],
    result_of: Callable[[Formula, Case], Any],
) -> None:
    wrong = [i for i in group if answered[i][2]]
    right = [answered[i] for i in group if not answered[i][2]]
    for text, formula in mistakes:
        if all(_agree(case, value, result_of(formula, case)) for case, value, _ in right):
            explained = [i for i in wrong if _is_explained(*answered[i][:2], result_of(formula, answered[i][0]))]
            if len(explained) == len(wrong) or _size(answered, explained) >= _ENOUGH:
                for i in explained:
                    found[i] += [text] if text not in found[i] else []  # two rows may have the same text


def _is_explained(case: Case, value: Any, result: Any) -> bool:
    return _agree(case, value, result) and not _agree(case, case.expected, result)


def _size(answered: Sequence[Answered], places: Sequence[int]) -> int:
    """How many elements of arrays are wrong there. Single numbers do not count: they fit many mistakes by chance."""
    return sum(_wrong_elements(*answered[i][:2]) for i in places if _is_array(answered[i][0]))


def _wrong_elements(case: Case, value: Any) -> int:
    actual, expected = (np.asarray(array).astype(np.float64) for array in (value, case.expected))
    same = (actual == expected) & (np.signbit(actual) == np.signbit(expected))
    return int(np.count_nonzero(~(same | (np.isnan(actual) & np.isnan(expected)))))


def _rounded_once(formula: Formula, case: Case) -> Any:
    """What a mistake gives that is not a mistake of rounding."""
    kind = _kind(case)
    with np.errstate(all="ignore"):
        exact = formula(np.asarray(case.x).astype(np.float64), slope_for(kind, case.slope), case.alpha is not None)
        return round_once(np.asarray(exact, np.float64), kind)


def _in_its_type(formula: Formula, case: Case) -> Any:
    with np.errstate(all="ignore"):
        return formula(np.asarray(case.x).astype(_kind(case)), case.slope, case.alpha is not None)


def _kind(case: Case) -> Any:
    kind = np.asarray(case.x).dtype
    return np.dtype(np.float64) if kind.kind in "biu" or case.rule != "exact" else kind


def _agree(case: Case, one: Any, other: Any) -> bool:
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

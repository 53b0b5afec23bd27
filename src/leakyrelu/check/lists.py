"""Judges lists, for the exercise ``backward``: its typical mistakes, and what a wrong list or an exception means."""

import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from math import isclose, isnan, ulp
from sys import float_info
from typing import Any

from leakyrelu.check.arithmetic import divide
from leakyrelu.check.cases import Case

__all__ = [
    "MISTAKES",
    "ListFormula",
    "agree",
    "is_right",
    "of_exception",
    "of_kind",
    "read_off",
    "takes_slope_at_zero",
]

# Of the gradients, the numbers z, the slope, and whether the slope was given.
ListFormula = Callable[[list[float], list[float], float, bool], list[float]]

_PAIRS = "take both in pairs, for gradient, z in zip(gradients, zs)"

_KINDS = {
    "tuple": "a tuple came back: return a list, [...], without a comma behind it",
    "set": "a set came back, which keeps no order and no number twice: return a list, [...]",
    "dict": "a dictionary came back: return a list, [...]",
    "generator": "a generator came back: return a list, [... for ... in ...] in square brackets, and write no yield",
    "str": "a text came back: return a list of numbers, without str(), format or quotation marks",
    "bool": "a truth value came back: return a list of numbers",
    "ndarray": "an array came back, and a list is wanted: .tolist() makes one of it",
    **dict.fromkeys(("map", "filter", "zip"), "what comes back is no list yet: list(...) makes one of it"),
    **dict.fromkeys(
        ("int", "float", "float64"), "one number came back: return a list with one number for each gradient"
    ),
    **dict.fromkeys(
        ("function", "method", "builtin_function_or_method"), "a function came back: call it, and return what it gives"
    ),
}

_EXCEPTIONS = (
    (
        r"TypeError",
        r"missing .* '?alpha'?",
        "alpha needs a default: def leaky_relu_backward(gradients, zs, alpha=0.01)",
    ),
    (
        r"TypeError",
        r"missing .* argument|positional arguments? but|multiple values for",
        "it must take the gradients, then zs, then the slope: def leaky_relu_backward(gradients, zs, alpha=0.01)",
    ),
    (r"TypeError", r"multiply sequence", f"it multiplies a whole list: {_PAIRS}, and multiply the numbers"),
    (r"TypeError", r"not supported between .*list", f"it compares a whole list with a number: {_PAIRS}"),
    (r"TypeError", r"operand type.*list|bad operand type", f"it calculates with a whole list: {_PAIRS}"),
    (r"TypeError", r"list indices must be integers", f"it takes a number for an index: {_PAIRS}"),
    (
        r"AttributeError",
        r"'NoneType' object",
        "append(), sort() and the like return nothing: do not keep what they return",
    ),
    (r"AttributeError", r"'list' object", "a list has no such method; append() adds a number to its end"),
    (r"AttributeError", r"'(int|float)' object", "append() and the like belong to a list: result = [] makes one"),
    (r"IndexError", "", f"an index goes past the end of a list, which may be empty: {_PAIRS}"),
    (r"(TypeError|ValueError)", r"unpack", "one list alone holds no pairs: zip(gradients, zs) makes them"),
    (r"(StopIteration|ValueError)", r"empty|^$", "an empty list gives an empty list: take nothing out of it first"),
)


def of_exception(name: str, text: str) -> str:
    """The cause of an exception that only lists explain; empty if there is none."""
    matches = (cause for kind, part, cause in _EXCEPTIONS if re.fullmatch(kind, name) and re.search(part, text))
    return next(matches, "")


def of_kind(encoded: dict[str, Any], printed: str, value: Any, case: Case) -> str:
    """What is wrong with an answer that is no list of as many numbers as there are gradients; empty if it is one."""
    name = str(encoded.get("type"))
    if name == "NoneType":
        if any(map(str.isdigit, printed)):
            return "it prints the result and returns nothing: write return instead of print"
        return "it returns nothing: make a new list, and return it at the end (append() and sort() return nothing)"
    if isinstance(value, list) and all(type(item) in {int, float} for item in value):
        return _of_length(len(value), len(case.x))
    if name == "list":
        return "the list holds something other than plain numbers: put a float for each gradient in it"
    return _KINDS.get(name, f"a value of type {name} came back, a list of numbers is wanted")


def _of_length(length: int, wanted: int) -> str:
    if length < wanted:
        return "numbers are missing: there is one for each gradient, whatever the sign of z; return after the loop"
    if length > wanted:
        return "there are too many numbers: begin each call with a new list, and add one number for each gradient"
    return ""


def agree(one: list[float], other: list[float]) -> bool:
    """Whether two lists are the same but for a few roundings."""
    return len(one) == len(other) and all(map(_same, one, other))


def _same(one: float, other: float) -> bool:
    if isnan(one) or isnan(other):
        return isnan(one) and isnan(other)
    return isclose(one, other, rel_tol=8 * float_info.epsilon)


def is_right(case: Case, value: list[float], *, slope_at_zero: bool = False) -> bool:
    """Whether each number is right, up to two units in the last place of its gradient."""
    right = case.expected
    if slope_at_zero:
        right = [g if z > 0 else case.slope * g for g, z in zip(case.gradients or [], case.x, strict=True)]
    return all(abs(one - two) <= 2 * ulp(g) for one, two, g in zip(value, right, case.gradients or [], strict=True))


def takes_slope_at_zero(case: Case, value: list[float]) -> bool:
    """Whether the list is right with alpha for the derivative at zero, and not with 1."""
    return is_right(case, value, slope_at_zero=True) and not is_right(case, value)


def _each(formula: Callable[[float, float, float], float]) -> ListFormula:
    """A mistake that is made with each gradient by itself."""
    return lambda gs, zs, a, given: [formula(g, z, a) for g, z in zip(gs, zs, strict=True)]


def _value(z: float, a: float) -> float:
    return z if z >= 0 else a * z


def _slope(z: float, a: float) -> float:
    return 1 if z > 0 else a


def other_default(slope: float) -> tuple[str, ListFormula]:
    text = f"the default slope is {slope:.6g}; it must be {{default:g}}"
    return text, lambda gs, zs, a, given: [g * _slope(z, a if given else slope) for g, z in zip(gs, zs, strict=True)]


def fixed_slope(slope: float) -> tuple[str, ListFormula]:
    text = f"alpha is ignored, the slope is always {slope:.6g}: multiply by alpha below zero"
    return text, _each(lambda g, z, a: g * _slope(z, slope))


def read_off(wrong: list[tuple[Case, list[float]]]) -> Iterator[tuple[str, ListFormula]]:
    """Other slopes, which the wrong answers tell."""
    for case, value in wrong:
        for g, z, result in zip(case.gradients or [], case.x, value, strict=False):
            if z < 0 and g != 0:
                yield other_default(divide(result, g))
                yield fixed_slope(divide(result, g))


_VALUE = "it multiplies by the function's value: multiply by its derivative, 1 above zero and alpha below"

MISTAKES: tuple[tuple[str, ListFormula], ...] = (
    (_VALUE, _each(lambda g, z, a: g * _value(z, a))),
    (
        "it returns the derivative alone: multiply each gradient by it",
        _each(lambda g, z, a: 1 if z >= 0 else a),
    ),
    ("it returns the derivative alone: multiply each gradient by it", _each(lambda g, z, a: _slope(z, a))),
    (
        "it returns the function's values: multiply each gradient by the derivative, 1 or alpha",
        _each(lambda g, z, a: _value(z, a)),
    ),
    ("it returns the gradients unchanged: below zero multiply by alpha", _each(lambda g, z, a: g)),
    ("it multiplies every gradient by alpha: above zero it stays as it is", _each(lambda g, z, a: a * g)),
    ("it is the ReLU's, 0 below zero: multiply by alpha there", _each(lambda g, z, a: g if z > 0 else 0)),
    (
        "the two sides are swapped: above zero the gradient stays, below it is multiplied by alpha",
        _each(lambda g, z, a: a * g if z > 0 else g),
    ),
    (
        "it looks at the sign of the gradient: look at the sign of z",
        _each(lambda g, z, a: _value(g, a)),
    ),
    (
        "the two lists are swapped: the gradients come first, the numbers z second",
        _each(lambda g, z, a: z * (1 if g >= 0 else a)),
    ),
    (
        "the two lists are swapped: the gradients come first, the numbers z second",
        _each(lambda g, z, a: z * _slope(g, a)),
    ),
    ("it multiplies the gradient by z: multiply it by the derivative at z", _each(lambda g, z, a: g * z)),
    (
        "below zero it multiplies by alpha * z: the derivative there is alpha",
        _each(lambda g, z, a: g if z > 0 else g * a * z),
    ),
    (
        "above zero it multiplies by z: the derivative there is 1",
        _each(lambda g, z, a: g * z if z > 0 else g * a),
    ),
    (
        "below zero it returns alpha * z: multiply alpha by the gradient there",
        _each(lambda g, z, a: g if z > 0 else a * z),
    ),
    ("it returns alpha below zero: multiply it by the gradient", _each(lambda g, z, a: g if z > 0 else a)),
    ("it returns 1 above zero: multiply it by the gradient", _each(lambda g, z, a: 1 if z > 0 else a * g)),
    ("it adds the derivative: multiply by it", _each(lambda g, z, a: g + (1 if z >= 0 else a))),
    ("it adds alpha below zero: multiply by it", _each(lambda g, z, a: g if z > 0 else g + a)),
    ("it divides by alpha below zero: multiply by it", _each(lambda g, z, a: g if z > 0 else divide(g, a))),
    ("alpha is applied twice: multiply once", _each(lambda g, z, a: g if z > 0 else a * a * g)),
    ("the sign is turned below zero: multiply by alpha, not by -alpha", _each(lambda g, z, a: g if z > 0 else -a * g)),
    ("every sign is turned: the step downhill comes later, not here", _each(lambda g, z, a: -g * _slope(z, a))),
    (
        "at zero the gradient is lost: choose a side there, z >= 0",
        _each(lambda g, z, a: g * (_slope(z, a) if z else 0)),
    ),
    ("it is the absolute value's, -1 below zero: multiply by alpha there", _each(lambda g, z, a: g if z > 0 else -g)),
    ("z is compared with alpha: compare it with 0", _each(lambda g, z, a: g if z > a else a * g)),
    ("z is compared with 1: compare it with 0", _each(lambda g, z, a: g if z > 1 else a * g)),
    ("the result is cut to an integer: drop int() and //", _each(lambda g, z, a: int(g * _slope(z, a)))),
    *(
        (
            "the result is rounded: drop round(), and return the number as it is",
            _each(lambda g, z, a, digits=digits: round(g * _slope(z, a), digits)),  # type: ignore[misc]
        )
        for digits in range(1, 13)
    ),
    (
        "only the first z is looked at: each gradient has a z of its own",
        lambda gs, zs, a, given: [g * _slope(zs[0], a) for g in gs],
    ),
    (
        "only the last z is looked at: each gradient has a z of its own",
        lambda gs, zs, a, given: [g * _slope(zs[-1], a) for g in gs],
    ),
    (
        "all take the slope of one: each z has a derivative of its own",
        lambda gs, zs, a, given: [g * (1 if all(z >= 0 for z in zs) else a) for g in gs],
    ),
    (
        "it looks numbers up with index(), which finds the first of equals: " + _PAIRS,
        lambda gs, zs, a, given: [gs[zs.index(z)] * _slope(z, a) for z in zs],
    ),
    (
        "it looks numbers up with index(), which finds the first of equals: " + _PAIRS,
        lambda gs, zs, a, given: [g * _slope(zs[gs.index(g)], a) for g in gs],
    ),
    (
        "the results are added up on the way: each number stands for itself",
        lambda gs, zs, a, given: list(accumulate(g * _slope(z, a) for g, z in zip(gs, zs, strict=True))),
    ),
    (
        "the order is turned: the first result belongs to the first gradient",
        lambda gs, zs, a, given: [g * _slope(z, a) for g, z in zip(gs, zs, strict=True)][::-1],
    ),
    (
        "every place holds the last result: make a new list, and append one number for each gradient",
        lambda gs, zs, a, given: [gs[-1] * _slope(zs[-1], a)] * len(gs),
    ),
    (
        "the results are sorted: the first result belongs to the first gradient",
        lambda gs, zs, a, given: sorted(g * _slope(z, a) for g, z in zip(gs, zs, strict=True)),
    ),
)

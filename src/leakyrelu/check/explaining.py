"""Finds the mistakes that give the wrong answers, and would not have changed the right ones.

A mistake must explain all wrong answers that are single numbers, for these fit many mistakes by chance.
"""

from collections.abc import Callable, Hashable, Sequence
from importlib import import_module
from math import copysign, isclose, isnan
from sys import float_info
from typing import Any

from leakyrelu.check import lists
from leakyrelu.check.arithmetic import Formula
from leakyrelu.check.cases import Case
from leakyrelu.check.families import Mistake, read_off, read_off_derivative
from leakyrelu.check.mistakes import DERIVATIVE_MISTAKES, MISTAKES, NUMBER_MISTAKES, WHOLE_ARRAY_MISTAKES

__all__ = ["Answered", "explain"]

Answered = tuple[Case, Any, bool]  # a case, the value that came back, and whether it is wrong

_ENOUGH = 3  # fewer numbers than that fit many mistakes


def explain(answered: Sequence[Answered]) -> list[list[str]]:
    """For each wrong answer the mistakes that give it, without those that a right answer rules out.

    All answers are of the function, or all are of its derivative.
    """
    found: list[list[str]] = [[] for _ in answered]
    if len(answered) < _ENOUGH or not any(wrong for _, _, wrong in answered):
        return found
    if answered[0][0].is_list:
        wrong = [(case, value) for case, value, is_wrong in answered if is_wrong]
        # What is done at zero is asked by one case, and tells nothing where others are wrong.
        places = [i for i, (case, _, _) in enumerate(answered) if case.rule != "either"]
        if not any(answered[i][2] for i in places):
            places = list(range(len(answered)))
        _explain(places, answered, found, (*lists.MISTAKES, *lists.read_off(wrong)), _of_lists)
        return found
    derivative = any(case.of == "derivative" for case, _, _ in answered)
    for group in _groups(answered, lambda case: case.is_number):
        is_number = answered[group[0]][0].is_number
        mistakes = DERIVATIVE_MISTAKES if derivative else MISTAKES
        if is_number:
            mistakes = (*mistakes, *_of_numbers(group, answered, derivative=derivative))
        else:
            mistakes = _for_arrays(mistakes, [each for each in answered if each[0].is_number and not each[2]])
        _explain(group, answered, found, mistakes, _of_number if is_number else _arrays().rounded_once)
    if not derivative and any(not case.is_number for case, _, _ in answered):
        arrays = _arrays()
        for group in _groups(answered, lambda case: "" if case.is_number else arrays.kind_of(case).name):
            if not answered[group[0]][0].is_number:
                _explain(group, answered, found, arrays.ROUNDING_MISTAKES, arrays.in_its_type)
    return found


def _arrays() -> Any:
    """What needs NumPy, which numbers do not."""
    return import_module("leakyrelu.check.arrays")


def _of_numbers(group: Sequence[int], answered: Sequence[Answered], *, derivative: bool) -> tuple[Mistake, ...]:
    asked = [float(answered[i][0].x) for i in group]
    wrong = [
        (float(case.x), case.slope, float(value)) for case, value, wrong in map(answered.__getitem__, group) if wrong
    ]
    if derivative:
        return tuple(read_off_derivative(asked, wrong))
    return (*read_off(asked, wrong), *NUMBER_MISTAKES) if wrong else ()


def _for_arrays(mistakes: tuple[Mistake, ...], right: Sequence[Answered]) -> tuple[Mistake, ...]:
    """The mistakes for arrays; where numbers come out right that a mistake would have changed, it is one of arrays."""
    right = [each for each in right if each[0].rule != "either"]
    general, special = [], []
    for text, formula in mistakes:
        if all(_agree(case, value, _of_number(formula, case)) for case, value, _ in right):
            general.append((text, formula))
        else:
            special.append((f"for arrays: {text}", formula))
    whole = WHOLE_ARRAY_MISTAKES if right and mistakes is MISTAKES else ()
    return (*whole, *general, *special)


def _groups(answered: Sequence[Answered], key: Callable[[Case], Hashable]) -> list[list[int]]:
    """The places of the answers, by group. A right answer rules out mistakes in its group: a number not for arrays."""
    groups: dict[Hashable, list[int]] = {}
    for i, (case, _, _) in enumerate(answered):
        groups.setdefault(key(case), []).append(i)
    return list(groups.values())


def _explain(
    group: Sequence[int],
    answered: Sequence[Answered],
    found: list[list[str]],
    mistakes: Sequence[tuple[str, Any]],
    result_of: Callable[[Any, Case], Any],
) -> None:
    wrong = [i for i in group if answered[i][2]]
    right = [answered[i] for i in group if not answered[i][2] and answered[i][0].rule != "either"]
    for text, formula in mistakes:
        if all(_agree(case, value, result_of(formula, case)) for case, value, _ in right):
            explained = [i for i in wrong if _is_explained(*answered[i][:2], result_of(formula, answered[i][0]))]
            if len(explained) == len(wrong) or _size(answered, explained) >= _ENOUGH:
                for i in explained:
                    said = text.replace("{default:g}", f"{answered[i][0].default:g}")
                    found[i] += [said] if said not in found[i] else []  # two rows may have the same text


def _is_explained(case: Case, value: Any, result: Any) -> bool:
    return _agree(case, value, result) and not _agree(case, case.expected, result)


def _size(answered: Sequence[Answered], places: Sequence[int]) -> int:
    """How many elements of arrays are wrong there. Single numbers do not count: they fit many mistakes by chance."""
    arrays = [answered[i][:2] for i in places if answered[i][0].is_array]
    return sum(_arrays().wrong_elements(*each) for each in arrays)


def _of_number(formula: Formula, case: Case) -> float:
    return float(formula(float(case.x), float(case.slope), case.alpha is not None))


def _of_lists(formula: lists.ListFormula, case: Case) -> list[float]:
    try:
        return formula(case.gradients or [], case.x, case.slope, case.alpha is not None)
    except IndexError:  # of an empty list there is no first number
        return []


def _agree(case: Case, one: Any, other: Any) -> bool:
    """Whether two results are the same; a few roundings are allowed, unless the case asks for exact rounding."""
    if case.is_list:
        return lists.agree(one, other)
    if not case.is_number:
        return bool(_arrays().agree(case, one, other))
    one, other = float(one), float(other)
    if isnan(one) or isnan(other):
        return isnan(one) and isnan(other)
    same_sign = case.rule != "exact" or one != 0 or copysign(1, one) == copysign(1, other)
    return same_sign and isclose(one, other, rel_tol=8 * float_info.epsilon)

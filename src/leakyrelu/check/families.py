"""Mistakes that differ by a number: another default slope, another threshold, bounds, rounding.

Each function makes one of them, with its text. `read_off` finds the numbers in wrong answers.
"""

from collections.abc import Callable, Iterator, Sequence
from math import isnan
from typing import Any

from leakyrelu.check.arithmetic import Formula, clip, divide, maximum, minimum, round_to, where

__all__ = [
    "Mistake",
    "below_zero",
    "between",
    "fixed_slope",
    "for_the_whole",
    "input_made_integer",
    "made_integer",
    "other_default",
    "other_threshold",
    "positive_made_integer",
    "product_made_integer",
    "quotients",
    "read_off",
    "read_off_derivative",
    "rounded_input",
    "rounded_product",
    "rounded_slope",
    "rounded_to",
    "significant",
    "slope_instead_of_0",
    "slope_made_integer",
]

Mistake = tuple[str, Formula]

_INTEGER = "cut or rounded to an integer: drop int(), round() and //"


def below_zero(text: str, formula: Callable[[Any, Any], Any]) -> tuple[Mistake, Mistake]:
    """Another formula below zero, of x and the slope: zero is on either side."""
    return (
        (text, lambda x, a, given: where(x >= 0, x, formula(x, a))),
        (text, lambda x, a, given: where(x > 0, x, formula(x, a))),
    )


def other_default(slope: float) -> Mistake:
    """The slope where none is given. `explaining` writes the one that is asked for in place of ``{default}``."""
    text = f"the default slope is {slope:.6g}; it must be {{default:g}}"
    return text, lambda x, a, given: where(x > 0, x, (a if given else slope) * x)


def fixed_slope(slope: float) -> Mistake:
    """A slope that is always the same."""
    text = f"alpha is ignored, the slope is always {slope:.6g}: multiply by alpha"
    return text, lambda x, a, given: where(x > 0, x, slope * x)


def slope_instead_of_0(slope: float) -> Mistake:
    """Another slope where 0 is given."""
    text = f"a slope of 0 is replaced by {slope:.6g}: 0 is a slope; `alpha or ...` and `if alpha:` take it for missing"
    return text, lambda x, a, given: where(x > 0, x, (a or slope) * x)


def slope_at_least(least: float) -> Mistake:
    return f"alpha is never below {least:.6g}: take it as it is", lambda x, a, given: where(x > 0, x, max(a, least) * x)


def slope_at_most(most: float) -> Mistake:
    return f"alpha is never above {most:.6g}: take it as it is", lambda x, a, given: where(x > 0, x, min(a, most) * x)


def other_threshold(threshold: float) -> Mistake:
    """Another place of the bend."""
    small = (
        "small positive numbers are multiplied by alpha, too" if threshold > 0 else "not all negative numbers change"
    )
    text = f"{small}: compare z with 0"
    return text, lambda x, a, given: where(x > threshold, x, a * x)


def constant(number: float) -> Mistake:
    """One number, whatever is asked."""
    text = f"it returns {number:.6g} for every number: return z where z >= 0, alpha * z below"
    return text, lambda x, a, given: number + 0 * a


def for_the_whole(is_above: Callable[[Any], Any]) -> Mistake:
    """One condition of a whole array, where each element has a sign of its own."""
    text = "one condition is asked of the whole array: work element by element, np.where(x >= 0, x, alpha * x)"
    return text, lambda x, a, given: x if is_above(x) else a * x


def largest(bound: float) -> Mistake:
    text = f"the result is never above {bound:.6g}: a leaky ReLU has no largest value"
    return text, lambda x, a, given: minimum(where(x > 0, x, a * x), bound)


def smallest(bound: float) -> Mistake:
    text = f"the result is never below {bound:.6g}: a leaky ReLU has no smallest value"
    return text, lambda x, a, given: maximum(where(x > 0, x, a * x), bound)


def between(low: float, high: float) -> Mistake:
    """Two bounds of the result."""
    text = f"the result is held between {low:.6g} and {high:.6g}: a leaky ReLU has no bounds"
    return text, lambda x, a, given: clip(where(x > 0, x, a * x), low, high)


def constant_below_zero(constant: float) -> Mistake:
    text = f"it returns {constant:.6g} for every negative number: return alpha * z there"
    return text, lambda x, a, given: where(x >= 0, x, constant)


def factor_above_zero(factor: float) -> Mistake:
    text = f"above zero z is multiplied by {factor:.6g}: return z itself there"
    return text, lambda x, a, given: where(x > 0, factor * x, a * x)


def factor_below_zero(factor: float) -> Mistake:
    text = f"below zero the result is {factor:.6g} times as large as it should be: return alpha * z there"
    return text, lambda x, a, given: where(x > 0, x, factor * a * x)


def added_below_zero(number: float) -> tuple[Mistake, Mistake]:
    """A number that is added to the product."""
    text = f"below zero {abs(number):.6g} is {'added to' if number > 0 else 'subtracted from'} alpha * z: drop it"
    return below_zero(text, lambda x, a: a * x + number)


def slope_instead_of_0_and_1(slope: float) -> Mistake:
    text = f"slopes of 0 and 1 are replaced by {slope:.6g}: both are slopes"
    return text, lambda x, a, given: where(x > 0, x, (a if 0 < a < 1 else slope) * x)


def threshold_above(threshold: float) -> Mistake:
    text = "large numbers are multiplied by alpha, too: compare z with 0 alone"
    return text, lambda x, a, given: where(x > 0, where(x < threshold, x, a * x), a * x)


def input_at_least(least: float) -> Mistake:
    text = f"z is never below {least:.6g}: a leaky ReLU has no smallest value"
    return text, lambda x, a, given: where(x > 0, x, a * maximum(x, least))


def rounded_to(digits: int) -> Mistake:
    """Digits of the result."""
    text = "the result is rounded: drop round(), and return the number as it is"
    return text, lambda x, a, given: round_to(where(x > 0, x, a * x), digits)


def rounded_input(digits: int) -> Mistake:
    """Digits of the number."""
    text = "z is rounded: drop round(), and take the number as it is"
    return text, lambda x, a, given: where(x > 0, round_to(x, digits), a * round_to(x, digits))


def rounded_product(digits: int) -> Mistake:
    """Digits of the product."""
    text = "alpha * z is rounded: drop round(), and return the number as it is"
    return text, lambda x, a, given: where(x > 0, x, round_to(a * x, digits))


def rounded_slope(digits: int) -> Mistake:
    """Digits of the slope."""
    text = "alpha is rounded: drop round(), and take it as it is"
    return text, lambda x, a, given: where(x > 0, x, round_to(a, digits) * x)


def significant(digits: int) -> Mistake:
    """Digits of the result, by a format."""
    text = "the result is rounded: drop the format, and return the number as it is"
    return text, lambda x, a, given: float(f"{where(x > 0, x, a * x):.{digits}g}")


def made_integer(cut: Callable[[Any], Any]) -> Mistake:
    """An integer instead of the result."""
    return f"the result is {_INTEGER}", lambda x, a, given: cut(where(x > 0, x, a * x))


def product_made_integer(cut: Callable[[Any], Any]) -> Mistake:
    """An integer instead of the product."""
    return f"alpha * z is {_INTEGER}", lambda x, a, given: where(x > 0, x, cut(a * x))


def positive_made_integer(cut: Callable[[Any], Any]) -> Mistake:
    """An integer instead of a positive number."""
    return f"above zero z is {_INTEGER}", lambda x, a, given: where(x > 0, cut(x), a * x)


def input_made_integer(cut: Callable[[Any], Any]) -> Mistake:
    """An integer instead of the number."""
    return f"z is {_INTEGER}", lambda x, a, given: where(x > 0, cut(x), a * cut(x))


def slope_made_integer(cut: Callable[[Any], Any]) -> Mistake:
    """An integer instead of the slope."""
    return f"alpha is {_INTEGER}", lambda x, a, given: where(x > 0, x, cut(a) * x)


def read_off(asked: Sequence[float], wrong: Sequence[tuple[float, float, float]]) -> Iterator[Mistake]:
    """Mistakes with a number of their own, such as another default, which the wrong answers tell.

    `asked` are all numbers that were asked; `wrong` are those that came out wrong, each with its slope and its result.
    """
    yield from map(other_threshold, sorted(set(asked)))
    yield from map(threshold_above, sorted({x for x in asked if x > 0}))
    results = [result for _, _, result in wrong if not isnan(result)]
    yield constant(wrong[0][2])
    if results:
        yield largest(max(results))
        yield smallest(min(results))
        yield between(min(results), max(results))
    for x, slope, result in wrong:
        ratio = divide(result, x)
        if x < 0:
            yield from (family(ratio) for family in (other_default, fixed_slope, slope_at_least, slope_at_most))
            yield factor_below_zero(divide(ratio, slope))
            if slope == 0 and ratio > 0:
                yield slope_instead_of_0(ratio)
            yield from added_below_zero(result - slope * x)
            if divide(result, slope) > x:
                yield input_at_least(divide(result, slope))
            if slope in {0, 1}:
                yield slope_instead_of_0_and_1(ratio)
            yield constant_below_zero(result)
        else:
            yield factor_above_zero(ratio)


def quotients(step: float) -> Iterator[Mistake]:
    """Quotients of differences, forward and central, for the derivative."""
    text = "it is a quotient of differences, which is wrong near zero and far from it: return 1 or alpha itself"

    def value(x: Any, a: Any) -> Any:
        return where(x > 0, x, a * x)

    yield text, lambda x, a, given: (value(x + step, a) - value(x, a)) / step
    yield text, lambda x, a, given: (value(x + step, a) - value(x - step, a)) / (2 * step)


def _derivative_of(slope: float, *, always: bool) -> Mistake:
    text = f"its default slope is {slope:.6g}; it must be {{default:g}}"
    if always:
        text = f"alpha is ignored, it is always {slope:.6g}: return alpha below zero"
    return text, lambda x, a, given: where(x > 0, 1, slope if always or not given else a)


def read_off_derivative(asked: Sequence[float], wrong: Sequence[tuple[float, float, float]]) -> Iterator[Mistake]:
    """As `read_off`, for the derivative."""
    for threshold in sorted(set(asked)):
        small = "it is alpha for small positive numbers" if threshold > 0 else "it is 1 for some negative numbers"
        yield f"{small}: compare z with 0", lambda x, a, given, t=threshold: where(x > t, 1, a)  # type: ignore[misc]
    for _, _, result in wrong[:1]:
        text = f"it is {result:.6g} everywhere: return 1 above zero, alpha below"
        yield text, lambda x, a, given, result=result: result + 0 * a  # type: ignore[misc]
    for x, _, result in wrong:
        if x < 0:
            yield _derivative_of(result, always=False)
            yield _derivative_of(result, always=True)

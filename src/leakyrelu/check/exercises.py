"""The calls of the level ``exercise``, which needs no NumPy: of the function, its derivative and its backward pass."""

from collections.abc import Callable, Iterator
from typing import Any

from leakyrelu.check.cases import Case

__all__ = ["backward", "derivative", "function"]

_AGAIN = "the same call gives the same result, whatever was called before"


def function() -> Iterator[Case]:
    """``leaky_relu(z, alpha=0.01)``."""

    def ask(name: str, text: str, why: str, alpha: float | None = None, **more: Any) -> Case:
        return Case("exercise", name, text, _number(text), why, alpha, **more)

    positive, negative = "a number that is zero or more comes back as it is", "a negative number is multiplied by alpha"
    default = f"{negative}, and alpha is 0.01 where none is given"
    yield ask("zero", "0", positive, rule="printed")
    yield ask("one", "1", positive, rule="printed")
    yield ask("minus one", "-1", default, rule="printed")
    yield ask("a slope by name", "-2", negative, 0.1, rule="printed")
    yield from _floats(ask, positive, negative, default)
    yield ask("zero and a slope", "0.0", "zero is zero on both sides", 0.3)
    # The rest is for functions that are right for the numbers above, and wrong for others.
    yield ask("a large integer", "1000", positive)
    yield ask("a negative integer", "-2", default)
    yield ask("many digits", "0.1234567890123456", positive)
    yield ask("many digits below zero", "-0.1234567890123456", f"{negative}, and not rounded", 0.3)
    yield ask("near zero", "0.004", f"{positive}, however small it is")
    yield ask("near zero and negative", "-0.004", default)
    yield ask("very large", "1e200", f"{positive}: the function has no largest value")
    yield ask("very large and negative", "-1e200", f"{default}: the function has no smallest value")
    yield ask("very small", "1e-200", f"{positive}, however small it is")
    yield ask("very small and negative", "-1e-200", f"{negative}, however small it is", 0.5)
    yield ask("slope 0 above zero", "3.0", f"{positive}, whatever alpha is", 0.0)
    yield ask("slope 0 below zero", "-3.0", "a slope of 0 is a slope: 0 * z is 0", 0.0)
    yield ask("slope 1 below zero", "-4.0", "with a slope of 1 the function returns what it is given", 1.0)
    yield ask("a large slope", "-4.5", negative, 0.95)
    yield ask("a small slope", "-4.5", f"{negative}, which is not rounded", 0.000123456789)
    yield ask("the default again", "-1", _AGAIN)
    yield ask("one again", "1", _AGAIN)
    yield ask("the same number and another slope", "-2", negative, 0.25)


def derivative() -> Iterator[Case]:
    """``leaky_relu_derivative(z, alpha=0.01)``."""

    def ask(name: str, text: str, why: str, alpha: float | None = None, **more: Any) -> Case:
        return Case("exercise", name, text, _number(text), why, alpha, of="derivative", **more)

    positive, negative = "above zero the function is z, whose derivative is 1", "below zero it is alpha * z: alpha"
    default = f"{negative}, and alpha is 0.01 where none is given"
    zero = "at zero there is no derivative; by convention it is 1 here, and alpha in PyTorch"
    yield ask("one", "1", positive)
    yield ask("minus one", "-1", default)
    yield ask("zero", "0", zero, rule="either")
    yield ask("a slope by name", "-2", negative, 0.1)
    yield from _floats(ask, positive, negative, default)
    yield ask("zero and a slope", "0.0", zero, 0.3, rule="either")
    yield ask("minus zero", "-0.0", "-0.0 and 0.0 are the same number", 0.3, rule="either")
    # The rest is for functions that are right for the numbers above, and wrong for others.
    yield ask("a large integer", "1000", positive)
    yield ask("a negative integer", "-7", negative, 0.3)
    yield ask("near zero", "0.004", f"{positive}, however small z is")
    yield ask("near zero and negative", "-0.004", default)
    yield ask("very large", "1e100", f"{positive}, however large z is")
    yield ask("very large and negative", "-1e100", default)
    yield ask("very small", "1e-100", f"{positive}, however small z is")
    yield ask("very small and negative", "-1e-100", f"{negative}, however small z is", 0.5)
    yield ask("slope 0 above zero", "3.0", f"{positive}, whatever alpha is", 0.0)
    yield ask("slope 0 below zero", "-3.0", "a slope of 0 is a slope: the derivative of 0 * z is 0", 0.0)
    yield ask("slope 1 below zero", "-4.0", negative, 1.0)
    yield ask("a large slope", "-4.5", negative, 0.95)
    yield ask("many digits", "-4.5", f"{negative}, and not rounded", 0.12345)
    yield ask("the default again", "-1", _AGAIN)
    yield ask("the same number and another slope", "-2", negative, 0.25)


def backward() -> Iterator[Case]:
    """``leaky_relu_backward(gradients, zs, alpha=0.01)``."""

    def ask(
        name: str, gradients: list[float], zs: list[float], why: str, alpha: float | None = None, **more: Any
    ) -> Case:
        text = f"{gradients}, {zs}"
        return Case("exercise", name, text, zs, why, alpha, of="backward", gradients=gradients, **more)

    each = "each gradient is multiplied by the derivative at its z: 1 above zero, alpha below"
    default = f"{each}, and alpha is 0.01 where none is given"
    yield ask("one of each", [1.0, 1.0], [2.0, -3.0], default)
    yield ask("other gradients", [4.0, -2.0, 0.5], [0.5, -1.0, -2.0], default)
    yield ask("a slope by name", [4.0, -2.0, 3.0], [-0.5, 1.0, -2.0], each, 0.1)
    yield ask("a slope by position", [-2.0, 8.0], [-2.0, 0.3], "alpha is the third argument", 0.5, positional=True)
    yield ask("all above zero", [3.0, -1.5], [0.25, 7.0], "above zero the gradients pass as they are")
    yield ask("all below zero", [3.0, -1.5], [-0.25, -7.0], each, 0.2)
    yield ask("one number", [-4.0], [-3.0], "a list of one gives a list of one", 0.25)
    yield ask("no number", [], [], "nothing in, nothing out: an empty list gives an empty list")
    yield ask(
        "a zero among them",
        [2.0, 5.0],
        [0.0, -1.0],
        "at zero the derivative is 1 or, in PyTorch, alpha",
        0.3,
        rule="either",
    )
    yield ask("a gradient of zero", [0.0, 6.0], [-1.0, 1.0], f"{each}; 0 stays 0")
    yield ask("equal numbers", [1.0, 2.0, 3.0, 2.0], [-1.0, -1.0, 4.0, 4.0], "each gradient belongs to its own z", 0.5)
    # The rest is for functions that are right for the lists above, and wrong for others.
    yield ask("integers", [3, -2], [-7, 1000], each, 0.3)
    yield ask("near zero", [1.0, 1.0], [0.004, -0.004], f"{each}, however small z is")
    yield ask("very large", [1.0, -1.0], [1e100, -1e100], f"{each}, however large z is")
    yield ask("very large gradients", [1e100, -1e100], [1.0, -1.0], f"{each}, however large the gradient is")
    yield ask("slope 0", [2.0, -3.0], [-3.0, 3.0], "a slope of 0 is a slope: 0 times the gradient is 0", 0.0)
    yield ask("slope 1", [2.0, -3.0], [-3.0, 3.0], "with a slope of 1 the gradients pass as they are", 1.0)
    yield ask("a long list", [1.0, -2.0, 3.0, -4.0, 5.0, -6.0], [-1.0, 2.0, -3.0, -4.0, 5.0, 6.0], each, 0.25)
    yield ask("many digits", [0.1234567890123456, 1.0], [-2.0, -2.0], f"{each}, and not rounded", 0.3)
    yield ask("the first again", [1.0, 1.0], [2.0, -3.0], _AGAIN)
    yield ask("the same lists and another slope", [-4.0], [-3.0], each, 0.75)


def _floats(ask: Callable[..., Case], positive: str, negative: str, default: str) -> Iterator[Case]:
    """Numbers on both sides, which the function and its derivative are asked for."""
    yield ask("a positive float", "2.5", positive)
    yield ask("a small positive float", "0.25", positive)
    yield ask("a negative float", "-0.5", negative, 0.2)
    yield ask("a large negative float", "-250.0", default)
    yield ask("a small negative float", "-0.03", default)
    yield ask("a slope and a positive number", "0.3", f"{positive}, whatever alpha is", 0.5)
    yield ask("a slope by position", "-2", "alpha is the second argument", 0.5, positional=True)


def _number(text: str) -> float:
    return float(text) if set(text) & {".", "e"} else int(text)

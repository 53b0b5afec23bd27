"""The calls that are made at each level, and the right answers. The level ``exercise`` needs no NumPy."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import takewhile
from typing import Any, Literal

__all__ = ["LEVELS", "Case", "cases_of"]

LEVELS = ("exercise", "array", "ieee", "derivative")

Rule = Literal["printed", "close", "exact", "reported"]


@dataclass(frozen=True)
class Case:
    """One call: its argument, how it is written, and the rule by which its answer is judged.

    The rules: ``printed``, as ``close``, with a remark if Python prints it otherwise; ``close``, equal within a few
    roundings; ``exact``, rounded once, with zeros of the right sign; ``reported``, not judged. If a case is
    `optional`, a wrong answer is a remark.
    """

    level: str
    name: str
    text: str
    x: Any
    why: str
    alpha: float | None = None
    rule: Rule = "close"
    positional: bool = False
    layout: str = ""
    of: Literal["function", "derivative"] = "function"
    may_warn: bool = False
    optional: bool = False
    default: float = 0.01

    @property
    def slope(self) -> float:
        """The slope of the call, which is the default slope if none is given."""
        return self.default if self.alpha is None else self.alpha

    @property
    def is_number(self) -> bool:
        """Whether the argument is a number of Python; otherwise it is an array, or stands for one."""
        return type(self.x) in {int, float}

    def call(self, name: str) -> str:
        """The call, as one would type it."""
        slope = "" if self.alpha is None else f", {'' if self.positional else 'alpha='}{self.alpha:g}"
        return f"{name}({self.text}{slope})"

    @property
    def expected(self) -> Any:
        """The right answer, a number for a number and an array for anything else."""
        if not self.is_number:
            rounding = import_module("leakyrelu.check.rounding")
            return rounding.right_array(self.x, self.slope, derivative=self.of == "derivative")
        if self.of == "derivative":
            return 1 if self.x >= 0 else self.slope
        return self.x if self.x >= 0 else self.slope * self.x


def cases_of(level: str) -> list[Case]:
    """All cases of a level: those of the levels before it, then its own.

    Raises
    ------
    ValueError
        There is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
    cases = list(_exercise())
    if level != "exercise":
        of_arrays = import_module("leakyrelu.check.array_cases")
        makers = {"array": of_arrays.arrays, "ieee": of_arrays.ieee, "derivative": of_arrays.derivative}
        for one in [*takewhile(lambda one: one != level, makers), level]:
            cases += makers[one]()
    return cases


def _exercise() -> Iterator[Case]:
    def ask(name: str, text: str, why: str, alpha: float | None = None, **more: Any) -> Case:
        return Case("exercise", name, text, _number(text), why, alpha, **more)

    positive, negative = "a number that is zero or more comes back as it is", "a negative number is multiplied by alpha"
    default = f"{negative}, and alpha is 0.01 where none is given"
    yield ask("zero", "0", positive, rule="printed")
    yield ask("one", "1", positive, rule="printed")
    yield ask("minus one", "-1", default, rule="printed")
    yield ask("a slope by name", "-2", negative, 0.1, rule="printed")
    yield ask("a positive float", "2.5", positive)
    yield ask("a small positive float", "0.25", positive)
    yield ask("a negative float", "-0.5", negative, 0.2)
    yield ask("a large negative float", "-250.0", default)
    yield ask("a small negative float", "-0.03", default)
    yield ask("a slope and a positive number", "0.3", f"{positive}, whatever alpha is", 0.5)
    yield ask("a slope by position", "-2", "alpha is the second argument", 0.5, positional=True)
    yield ask("zero and a slope", "0.0", "zero is zero on both sides", 0.3)
    # The rest is for functions that are right for the numbers above, and wrong for others.
    yield ask("a large integer", "1000", positive)
    yield ask("a negative integer", "-7", negative, 0.3)
    yield ask("many digits", "0.1234567890123456", positive)
    yield ask("many digits below zero", "-0.1234567890123456", f"{negative}, and not rounded", 0.3)
    yield ask("near zero", "0.004", f"{positive}, however small it is")
    yield ask("near zero and negative", "-0.004", default)
    yield ask("very large", "1e100", f"{positive}: the function has no largest value")
    yield ask("very large and negative", "-1e100", f"{default}: the function has no smallest value")
    yield ask("very small", "1e-100", f"{positive}, however small it is")
    yield ask("very small and negative", "-1e-100", f"{negative}, however small it is", 0.5)
    yield ask("slope 0 above zero", "3.0", f"{positive}, whatever alpha is", 0.0)
    yield ask("slope 0 below zero", "-3.0", "a slope of 0 is a slope: 0 * z is 0", 0.0)
    yield ask("slope 1 below zero", "-4.0", "with a slope of 1 the function returns what it is given", 1.0)
    yield ask("a large slope", "-4.5", negative, 0.95)
    yield ask("a small slope", "-4.5", negative, 0.0003)
    again = "the same call gives the same result, whatever was called before"
    yield ask("the default again", "-1", again)
    yield ask("one again", "1", again)
    yield ask("the same number and another slope", "-2", negative, 0.25)


def _number(text: str) -> float:
    return float(text) if set(text) & {".", "e"} else int(text)

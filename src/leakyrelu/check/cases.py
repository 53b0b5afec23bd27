"""The calls that are made at each level, and the right answers; `exercises` and `array_cases` list them."""

from dataclasses import dataclass
from importlib import import_module
from itertools import takewhile
from typing import Any, Literal

__all__ = ["EXERCISES", "LEVELS", "Case", "Exercise", "cases_of", "name_of"]

LEVELS = ("exercise", "array", "ieee", "derivative")

Exercise = Literal["function", "derivative", "backward"]
Rule = Literal["printed", "close", "exact", "either", "reported"]

EXERCISES: dict[Exercise, str] = {  # what is to be written, and how its definition begins
    "function": "leaky_relu(z, alpha=0.01)",
    "derivative": "leaky_relu_derivative(z, alpha=0.01)",
    "backward": "leaky_relu_backward(gradients, zs, alpha=0.01)",
}


@dataclass(frozen=True)
class Case:
    """One call: its argument, how it is written, and the rule by which its answer is judged.

    The rules: ``printed``, as ``close``, with a remark if Python prints it otherwise; ``close``, equal within a few
    roundings; ``exact``, rounded once, with zeros of the right sign; ``either``, the derivative at zero: 1, or alpha
    with a remark; ``reported``, not judged. If a case is `optional`, a wrong answer is a remark. `gradients` are given
    to a backward pass alone, before `x`, which is a list as long.
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
    of: Exercise = "function"
    may_warn: bool = False
    optional: bool = False
    default: float = 0.01
    gradients: list[float] | None = None

    @property
    def slope(self) -> float:
        """The slope of the call, which is the default slope if none is given."""
        return self.default if self.alpha is None else self.alpha

    @property
    def is_number(self) -> bool:
        """Whether the argument is a number of Python."""
        return type(self.x) in {int, float}

    @property
    def is_array(self) -> bool:
        """Whether the argument is an array, or stands for one."""
        return not (self.is_number or self.is_list)

    @property
    def is_list(self) -> bool:
        """Whether the arguments are two lists of numbers, and the answer is one."""
        return self.gradients is not None

    def call(self, name: str) -> str:
        """The call, as one would type it."""
        slope = "" if self.alpha is None else f", {'' if self.positional else 'alpha='}{self.alpha:.15g}"
        return f"{name}({self.text}{slope})"

    @property
    def expected(self) -> Any:
        """The right answer, a number for a number, a list for two lists, and an array for anything else."""
        if self.gradients is not None:
            return [g if z >= 0 else self.slope * g for g, z in zip(self.gradients, self.x, strict=True)]
        if not self.is_number:
            rounding = import_module("leakyrelu.check.rounding")
            return rounding.right_array(self.x, self.slope, derivative=self.of == "derivative")
        if self.of == "derivative":
            return 1 if self.x >= 0 else self.slope
        return self.x if self.x >= 0 else self.slope * self.x


def name_of(exercise: str) -> str:
    """The name of what an exercise asks for.

    Raises
    ------
    ValueError
        There is no such exercise.
    """
    for key, definition in EXERCISES.items():
        if key == exercise:
            return definition.partition("(")[0]
    raise ValueError(f"exercise must be one of {', '.join(EXERCISES)}, got {exercise!r}")


def cases_of(level: str, exercise: str = "function") -> list[Case]:
    """All cases of a level: those of the levels before it, then its own.

    Raises
    ------
    ValueError
        There is no such level or exercise, or the exercise has no such level.
    """
    name_of(exercise)
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, got {level!r}")
    if level != "exercise" and exercise != "function":
        raise ValueError(f"the exercise {exercise!r} is asked at the level 'exercise' alone, got {level!r}")
    cases: list[Case] = list(getattr(import_module("leakyrelu.check.exercises"), exercise)())
    if level != "exercise":
        of_arrays = import_module("leakyrelu.check.array_cases")
        makers = {"array": of_arrays.arrays, "ieee": of_arrays.ieee, "derivative": of_arrays.derivative}
        for one in [*takewhile(lambda one: one != level, makers), level]:
            cases += makers[one]()
    return cases

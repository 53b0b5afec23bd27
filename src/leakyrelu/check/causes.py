"""Says in plain words what causes a wrong type or shape, or a call that does not end; `exceptions` has the rest."""

import re
from math import isclose
from typing import TYPE_CHECKING, Any

from leakyrelu.check.cases import EXERCISES, Case
from leakyrelu.check.exceptions import ARITHMETIC, of_exception
from leakyrelu.check.sandbox.calling import Json

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ARITHMETIC",
    "ENDLESS",
    "PRINTED",
    "of_ending",
    "of_exception",
    "of_kind",
    "of_place",
    "of_shape",
    "of_type",
]

_BY_ELEMENT = "work element by element, np.where(x >= 0, x, alpha * x)"

PRINTED = "it prints the value and returns nothing: write return instead of print"
ENDLESS = "it does not come to an end: look at the condition of each loop, and wait for nothing"

_ENDINGS = (
    (
        " s while the code was being loaded",
        "loading takes too long: leave out what the function does not need, or put it under if __name__ == '__main__':",
    ),
    ("stopped after it printed", "it prints too much: return the value, and look at the condition of each loop"),
    ("stopped after it started", "it starts too many processes or threads: it needs none"),
    ("stopped after its processes took", "its processes ask for more memory than they are given: it needs one process"),
    ("stopped after it wrote", "it writes too much to files: it needs none"),
    ("stopped after", ENDLESS),
    ("broke Python", "it replaces or closes something that Python itself needs: leave builtins, json and files alone"),
    ("exit code", "it ends the whole process: return the value, and call neither exit nor os._exit"),
    ("SIGSEGV", "it crashed Python: a recursion without end, or memory that is not its own"),
    ("SIGABRT", "it aborts the whole process: return the value instead"),
    ("SIGKILL", "it was killed, by itself or because memory ran out"),
    ("SIGXCPU", "it used up its processor time: look at the condition of each loop"),
    ("supervises", "it ends processes that are not its own: leave them alone"),
    ("crashed", "it crashed Python, or ended its own process"),
    ("not asked", "mend what is wrong with the calls before"),
)

_BY_CHANCE = 0.25  # right answers in a place, for each wrong one
_KINDS = {
    "str": "a text came back: return the number itself, without str(), format or quotation marks",
    "bool": "a truth value came back: return the number, not the comparison",
    "bool_": "a truth value came back: return the number, not the comparison",
    "function": "a function came back: call it, and return what it gives",
    "method": "a method came back: call it, and return what it gives",
    "builtin_function_or_method": "a function came back: call it, and return what it gives",
    "type": "a class came back: return a number",
    "tuple": "a tuple came back: return the value alone; look for a comma where none belongs, as in 0,01 for 0.01",
    "set": "a set came back: return the value alone, without { }",
    "dict": "a dictionary came back: return the value alone",
    "generator": "a generator came back: write return, not yield",
    "coroutine": "a coroutine came back: write def, not async def",
    "async_generator": "a generator came back: write def and return, not async def and yield",
    "complex": "a complex number came back: return a real one; a power of a negative number, z ** alpha, is complex",
    "Decimal": "a Decimal came back: return a float or an integer, the result of alpha * z itself",
    "Fraction": "a Fraction came back: return a float or an integer, the result of alpha * z itself",
    "Tensor": "a tensor came back: .item() makes a number of it, .numpy() an array",
}


def of_ending(text: str) -> str:
    """The cause why a call did not return."""
    return _of_name(text) or next((cause for part, cause in _ENDINGS if part in text), "")


def _of_name(text: str) -> str:
    """The cause why there is no function of the name, by what is said of the file."""
    if found := re.match(r"there is no '(\w+)' in .*; (its definition stands inside .*)", text):
        return f"{found[2]}, where Python does not find it: write def {found[1]} at the start of a line"
    found = re.match(r"there is no '(\w+)' in .*; functions there: (.*)", text)
    alike = [name for name in found[2].split(", ") if _plain(name) == _plain(found[1])] if found else []
    return f"{alike[0]} must be called {found[1]}, letter by letter" if found and alike else ""


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def of_kind(encoded: Json, printed: str, value: Any, case: Case) -> str:
    """What is wrong with an answer that is not a number or an array; empty if it is one."""
    name = str(encoded.get("type"))
    wanted = "a number" if case.is_number else "an array"
    if name == "NoneType":
        return _of_nothing(printed, case)
    if name in _KINDS:
        return _KINDS[name]
    if name == "list":
        return f"a list came back, {wanted} is wanted"
    if value is None or (hasattr(value, "dtype") and not _is_real(value)):
        array = "an array" if wanted == "a number" else "an array, too large or not of real numbers,"
        kinds = {"ndarray": array, "int": "an integer too large for a float"}
        what = kinds.get(name, f"a value of type {name}")
        advice = ": return the number alone, z or alpha * z" if wanted == "a number" else ""
        return f"{what} came back, {wanted.replace(' number', ' plain number')} is wanted{advice}"
    if wanted == "a number" and getattr(value, "ndim", 0) > 0:
        return f"an array of shape {value.shape} came back for a number: return the number alone, z or alpha * z"
    return ""


def _of_nothing(printed: str, case: Case) -> str:
    if _is_printed(printed, case):
        return PRINTED
    if not case.is_number:
        return "it returns nothing for an array: end each branch with return"
    if case.x == 0:
        return "it returns nothing for zero, for which no branch is written: compare with >= 0, or end with else"
    side = "above" if case.x > 0 else "below"
    return f"it returns nothing for numbers {side} zero: write return there, and let a branch be taken for each number"


def _is_printed(printed: str, case: Case) -> bool:
    """Whether the right number, perhaps with few digits, is among what was printed."""
    if not case.is_number:
        return any(map(str.isdigit, printed))
    numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?", printed)]
    return any(isclose(number, case.expected, rel_tol=0.01, abs_tol=0.05) for number in numbers)


def _is_real(value: Any) -> bool:
    """Whether an array or a scalar holds real numbers."""
    return value.dtype.kind in "biuf" or value.dtype.name == "bfloat16"


_OF_SQUARES = "is there a square or a quotient on the way, which a float cannot hold?"


def of_place(failed: list[Case], passed: list[Case]) -> str:
    """What the wrong calls, and only these, have in common, if nothing else tells the cause."""
    failed, passed = ([case for case in cases if case.is_number] for cases in (failed, passed))
    if failed and passed and all(case.positional for case in failed):
        return f"alpha must be the second parameter: def {EXERCISES[failed[0].of]}"
    places: tuple[tuple[str, Callable[[Case], bool]], ...] = (
        ("calls other than those of the textbook come", lambda case: case.rule != "printed"),
        ("zero comes", lambda case: case.x == 0),
        ("numbers above zero come", lambda case: case.x > 0),
        ("numbers below zero come", lambda case: case.x < 0),
        ("calls without alpha come", lambda case: case.alpha is None and case.x < 0),
        ("calls with alpha come", lambda case: case.alpha is not None and case.x < 0),
        ("calls with a slope of 0 come", lambda case: case.alpha == 0 and case.x < 0),
        ("calls with a slope of 1 come", lambda case: case.alpha == 1 and case.x < 0),
        ("integers come", lambda case: type(case.x) is int),
        ("floats come", lambda case: type(case.x) is float),
        ("large numbers come", lambda case: abs(case.x) > 100),
        ("very large numbers come", lambda case: abs(case.x) > 1e50),
        ("small numbers come", lambda case: 0 < abs(case.x) < 0.1),
        ("very small numbers come", lambda case: 0 < abs(case.x) < 1e-50),
        ("very large and very small numbers come", lambda case: case.x != 0 and not 1e-50 < abs(case.x) < 1e50),
    )
    for place, is_there in places:
        right = sum(map(is_there, passed))  # some are right by chance: z ** 3 at -1
        if failed and passed and all(map(is_there, failed)) and right <= _BY_CHANCE * len(failed):
            return f"only {place} out wrong: {_OF_SQUARES if 'large and' in place else 'look at that part'}"
    return ""


def of_shape(shape: tuple[int, ...], expected: tuple[int, ...]) -> tuple[str, str]:
    """The cause of a wrong shape, and which shapes these are."""
    if shape == () and expected != ():
        return f"one number came back for a whole array: {_BY_ELEMENT}", ""
    return "the shape of the input must be kept", f"the shape is {shape}, it must be {expected}"


def of_type(given: Any, got: Any) -> tuple[str, str]:
    """The cause of a wrong type, and which types these are."""
    if given.kind not in "biu":
        return (
            "the type of the input must be kept: .astype(x.dtype) at the end does it",
            f"{given.name} became {got.name}",
        )
    if got.kind in "biu":
        return f"the products are cut to integers: make an array of floats, {_BY_ELEMENT}", ""
    return "integers must become float64: x.astype(np.float64) first", f"{given.name} became {got.name}"

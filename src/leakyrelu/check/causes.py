"""Says in plain words what causes an exception, a wrong type or shape, or a call that does not end."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from leakyrelu.check.cases import Case
from leakyrelu.check.sandbox.calling import Json

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["of_elements", "of_ending", "of_exception", "of_kind", "of_place", "of_shape", "of_type"]

_BY_ELEMENT = "work element by element, np.where(x >= 0, x, alpha * x)"

_ENDINGS = (
    ("stopped after it printed", "it prints without end: return the value, and look at the condition of each loop"),
    ("stopped after it started", "it starts processes or threads without end: it needs none"),
    ("stopped after", "it does not come to an end: look at the condition of each loop, and wait for nothing"),
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

# The name of the exception, a part of its text (both as regular expressions), and the cause.
_EXCEPTIONS = (
    (r"RecursionError", "", "it calls itself without end: a leaky ReLU needs no recursion"),
    (r"SystemExit", "", "it calls exit: return the value instead"),
    (r"MemoryError|_ArrayMemoryError", "", "it asks for more memory than it is given: one number needs none"),
    (r"NotImplementedError", "^$", "it is not written yet: replace the line with raise by the function's body"),
    (r"AssertionError", "", "an assert of its own does not hold"),
    (
        r"TypeError",
        r"unexpected keyword argument '(alpha|negative_slope)'",
        "the slope must be a parameter called alpha: def leaky_relu(z, alpha=0.01)",
    ),
    (r"TypeError", r"missing .* '?alpha'?", "alpha needs a default: def leaky_relu(z, alpha=0.01)"),
    (
        r"TypeError",
        r"(missing .* argument|positional arguments? but|multiple values for)",
        "it must take two arguments, the number first and then the slope: def leaky_relu(z, alpha=0.01)",
    ),
    (r"TypeError", r"Tensor", "it takes tensors only, and was given something else"),
    (r"TypeError", r"NoneType", "it calculates with None: something it calls returns nothing"),
    (
        r"TypeError",
        r"'(int|float|numpy\.\w+)' object is not callable",
        "it calls a number as if it were a function: alpha(z) must be alpha * z",
    ),
    (r"TypeError", r"'str'|to str|\bstr\b", "it mixes text with numbers: keep numbers, without quotation marks"),
    (
        r"TypeError",
        r"multiply sequence",
        "it multiplies a list or a text: np.asarray(x) makes an array of a list, and numbers have no quotation marks",
    ),
    (
        r"(TypeError|AttributeError|IndexError)",
        r"'?(int|float)'? object|type '(int|float)'|unsized|index to scalar|0-d array|too many indices",
        "it takes only arrays or lists that have elements: one number has none; use the number itself, or np.where",
    ),
    (r"(TypeError|AttributeError)", r"list|sequence", "a list is no array: np.asarray(x) makes it one"),
    (r"TypeError", r"only .* scalar arrays|scalar array", f"it takes one number only: {_BY_ELEMENT}"),
    (r"TypeError", r"not iterable", "it loops over something that has no elements"),
    (
        r"_?UFunc\w*Error",
        r"[Cc]ast",
        f"it writes floats into integers: {_BY_ELEMENT}",
    ),
    (
        r"ValueError",
        r"truth value",
        "`if`, max() and min() want one truth value, and an array has many: use np.where(x >= 0, x, alpha * x)",
    ),
    (r"ValueError", r"read-only|not writeable", "it changes its input: work on a copy, or return a new array"),
    (r"ImportError", "", "the module has no such name: look at its spelling"),
    (r"ModuleNotFoundError", "", "a module is not installed, or its name is misspelt"),
    (
        r"UnboundLocalError",
        "",
        "a variable is used before it has a value: set it in each branch, and mind how it is spelt",
    ),
    (r"NameError", r"name '(np|numpy|math)'", "a module is used that was not imported: write the import at the top"),
    (r"NameError", "", "a name is used that does not exist: look at its spelling"),
    (r"ZeroDivisionError", "", "it divides by its argument or by alpha: multiply"),
    (r"EOFError", "", "it reads input, and there is none: take the number from the argument"),
    (r"BlockingIOError", "", "it starts processes or threads without end: it needs none"),
    (r"RuntimeError", r"start new thread", "it starts processes or threads without end: it needs none"),
    (r"OSError", r"too large", "it prints or writes without end"),
    (r"(IndentationError|TabError)", "", "the lines of a function start with the same number of spaces"),
    (r"SyntaxError", r"leading zeros", "numbers are written with a point: 0.01"),
    (r"SyntaxError", r"instead of '='", "= sets a value, == compares"),
    (r"SyntaxError", "", "Python cannot read this line: look for a missing bracket, colon or operator, there or above"),
)

_KINDS = {
    "str": "a text came back: return the number itself, without str(), format or quotation marks",
    "bool": "a truth value came back: return the number, not the comparison",
    "bool_": "a truth value came back: return the number, not the comparison",
    "function": "a function came back: call it, and return what it gives",
    "method": "a method came back: call it, and return what it gives",
    "builtin_function_or_method": "a function came back: call it, and return what it gives",
    "type": "a class came back: return a number",
    "tuple": "a tuple came back: return the value alone; look for a comma where none belongs",
    "set": "a set came back: return the value alone, without { }",
    "dict": "a dictionary came back: return the value alone",
    "generator": "a generator came back: write return, not yield",
    "coroutine": "a coroutine came back: write def, not async def",
    "async_generator": "a generator came back: write def and return, not async def and yield",
    "complex": "a complex number came back: return a real one",
    "Tensor": "a tensor came back: .item() makes a number of it, .numpy() an array",
}


def of_ending(text: str) -> str:
    """The cause why a call did not return."""
    return next((cause for part, cause in _ENDINGS if part in text), "")


def of_exception(name: str, text: str) -> str:
    """The cause why a call raised an exception."""
    matches = (cause for kind, part, cause in _EXCEPTIONS if re.fullmatch(kind, name) and re.search(part, text))
    return next(matches, "")


def of_kind(encoded: Json, printed: str, value: Any, case: Case) -> str:
    """What is wrong with an answer that is not a number or an array; empty if it is one."""
    name = str(encoded.get("type"))
    wanted = "an array" if isinstance(case.expected, np.ndarray) else "a number"
    if name == "NoneType":
        return _of_nothing(printed, case)
    if name in _KINDS:
        return _KINDS[name]
    if name == "list":
        return f"a list came back, {wanted} is wanted"
    if value is None or (isinstance(value, np.ndarray | np.generic) and not _is_real(value)):
        array = "an array" if wanted == "a number" else "an array, too large or not of real numbers,"
        kinds = {"ndarray": array, "int": "an integer too large for a float"}
        what = kinds.get(name, f"a value of type {name}")
        return f"{what} came back, {wanted.replace(' number', ' plain number')} is wanted"
    if wanted == "a number" and np.ndim(value) > 0:
        return f"an array of shape {np.shape(value)} came back for a number"
    return ""


def _of_nothing(printed: str, case: Case) -> str:
    if printed.strip():
        return "it prints the value and returns nothing: write return instead of print"
    if type(case.x) not in {int, float}:
        return "it returns nothing for an array: end each branch with return"
    side = "zero" if case.x == 0 else "numbers above zero" if case.x > 0 else "numbers below zero"
    return f"it returns nothing for {side}: end each branch with return"


def _is_real(value: Any) -> bool:
    """Whether an array or a scalar holds real numbers."""
    return value.dtype.kind in "biuf" or value.dtype.name == "bfloat16"


def of_elements(actual: Any, expected: Any) -> str:
    """What the wrong elements of an array have in common."""
    if np.all(np.isnan(expected)):
        return "NaN is lost: what is not a number must stay so"
    if np.all(np.isnan(actual)):
        return "NaN comes out where a number belongs: 0 * inf and inf - inf are NaN"
    if np.all((actual == 0) & (expected == 0)):
        return "a zero lost its sign: -0.0 + 0.0 is 0.0, and a negative slope turns it"
    if np.all(actual == 0) and actual.dtype.kind == "f" and np.all(np.abs(expected) < np.finfo(actual.dtype).tiny):
        return "the smallest numbers are flushed to zero"
    return ""


def of_place(failed: list[Case], passed: list[Case]) -> str:
    """What the wrong calls, and only these, have in common, if nothing else tells the cause."""
    places: tuple[tuple[str, Callable[[Case], bool]], ...] = (
        ("zero", lambda case: case.x == 0),
        ("numbers above zero", lambda case: case.x > 0),
        ("numbers below zero", lambda case: case.x < 0),
        ("calls without alpha", lambda case: case.alpha is None and case.x < 0),
        ("calls with alpha", lambda case: case.alpha is not None and case.x < 0),
    )
    failed, passed = ([case for case in cases if type(case.x) in {int, float}] for cases in (failed, passed))
    for place, is_there in places:
        if failed and passed and all(map(is_there, failed)) and not any(map(is_there, passed)):
            return f"only {place} come out wrong: look at that part" if place != "zero" else "only zero comes out wrong"
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

"""Says in plain words what causes an exception; `syntax` has those that Python raises when it reads the code."""

import builtins
import re

from leakyrelu.check import lists
from leakyrelu.check.cases import EXERCISES, Exercise
from leakyrelu.check.sandbox.calling import Json
from leakyrelu.check.syntax import of_syntax

__all__ = ["ARITHMETIC", "of_exception"]

# Exceptions of arithmetic: what was computed has no value.
ARITHMETIC = frozenset({"OverflowError", "ZeroDivisionError", "FloatingPointError"})

_UNREADABLE = frozenset({"SyntaxError", "IndentationError", "TabError"})
_HIDDEN = "a variable is called {0}, as a function of Python that is needed: give the variable another name"
_BY_ELEMENT = "work element by element, np.where(x >= 0, x, alpha * x)"

_NOT_THERE = (
    "it looks up an element that is not there, while the file runs: leave out what the function does not need, or put "
    "it under if __name__ == '__main__':"
)
_NO_ARRAY = "it takes only arrays or lists that have elements: one number has none; use the number itself, or np.where"
_NOT_WRITTEN = "it is not written yet: replace the line with raise by the function's body"

# Parts of the exception's name, of its text and of the line (all regular expressions), and the cause.
_LINES = (
    (
        r"TypeError",
        r"unsupported operand type\(s\) for [&|]",
        r"[<>=]=?[^&|]*[&|][^&|]*[<>=]",
        "& and | calculate with bits, before > and < compare: two conditions are joined by and, or by or",
    ),
    (
        r"(TypeError|AxisError)",
        r"interpreted as an integer|out of bounds",
        r"\b(np|numpy)\.(a?max|a?min)\(",
        "np.max looks for the largest element of one array: np.maximum compares two",
    ),
    (
        r"TypeError",
        r"'(int|float)' object is not iterable",
        r"\b(max|min)\([^,()]*\)",
        "max() and min() compare at least two numbers: max(z, alpha * z)",
    ),
    (
        r"IndexError",
        "",
        r"\bargv\b",
        "it reads the command line, on which there is nothing: put that under if __name__ == '__main__':",
    ),
)

# Methods and parts of arrays, tensors and lists, which somebody expects of a number.
_OF_ARRAYS = (
    "shape|size|ndim|dtype|T|clip|copy|sum|min|max|mean|std|any|all|astype|reshape|ravel|flatten|flat|tolist|item|fill|"
    "apply|map|where|mask|loc|iloc|values|index|append|extend|count|sort|abs|numpy|clamp|relu|detach|device|view|float"
)

# The name of the exception, a part of its text (both as regular expressions), and the cause.
_EXCEPTIONS = (
    (r"RecursionError", "", "it calls itself without end: a leaky ReLU needs no recursion"),
    (r"SystemExit", "", "it calls exit: return the value instead"),
    (r"MemoryError|_ArrayMemoryError", "", "it asks for more memory than it is given: one number needs none"),
    (r"NotImplementedError", "^$", _NOT_WRITTEN),
    (
        r"\w*(Error|Exception)",
        r"(?i)\btodo\b|\bimplement (me|this|it|here)|not (yet )?implemented( yet)?$",
        _NOT_WRITTEN,
    ),
    (r"AssertionError", "", "an assert of its own does not hold"),
    (
        r"(AttributeError|ImportError)",
        r"partially initialized module|circular import|renaming",
        "the file, or one beside it, has the name of a module that it imports, such as numpy.py: rename the file",
    ),
    (
        r"(AttributeError|ImportError)",
        r"was removed|deprecated alias|expired attribute|has been removed",
        "the module had this name in an older version: read what came back; for np.float write float, for np.int int",
    ),
    (r"AttributeError", r"^module '.*' has no attribute", "the module has no such name: look at its spelling"),
    (
        r"ImportError",
        r"attempted relative import",
        "a dot before a module's name means the package of the file, and a single file has none: from util import x",
    ),
    (
        r"TypeError",
        r"unsupported operand type\(s\) for (\^|\||&|<<|>>|@|\*\* or)",
        "this operator is no product: * multiplies, and for powers, which are not needed here, there is **",
    ),
    (
        r"TypeError",
        r"[Dd]ecimal|Fraction",
        "Decimal and Fraction do not mix with floats: keep the numbers of Python as they are",
    ),
    (
        r"TypeError",
        r"'(function|method|builtin_function_or_method|type|ufunc|numpy\.ufunc|_ArrayFunctionDispatcher)'",
        "it calculates with a function: call it, with parentheses, or look for a name that is used twice",
    ),
    (r"TypeError", r"'module' object is not callable", "it calls a module: name its function after a dot"),
    (r"TypeError", r"Tensor", "it takes tensors only, and was given something else"),
    (
        r"TypeError",
        r"NoneType",
        "it calculates with None: a variable is set to it, or something that it calls returns nothing",
    ),
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
    (r"AttributeError", rf"'(int|float)' object has no attribute '({_OF_ARRAYS})'", _NO_ARRAY),
    (
        r"AttributeError",
        r"'(int|float)' object has no attribute",
        "a number of Python has no such part after a dot: compare with >= and <, multiply with *",
    ),
    (
        r"TypeError",
        r"'float' object cannot be interpreted as an integer",
        "it calls something that takes integers only, such as range() or math.factorial(): z may be any number",
    ),
    (r"TypeError", r"'(int|float)' object (is not (iterable|subscriptable)|does not support item)", _NO_ARRAY),
    (
        r"(TypeError|IndexError)",
        r"non-iterable (int|float) object|of type '(int|float)'|unsized|index to scalar|0-d array|too many indices",
        _NO_ARRAY,
    ),
    (
        r"TypeError",
        r"unhashable type: '(numpy\.)?ndarray'",
        "a cache or a dictionary takes no array as its key: do without",
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
    (
        r"ValueError",
        r"nonzero on 0d",
        "np.where with a condition alone looks for places: write np.where(z >= 0, z, alpha * z)",
    ),
    (r"ValueError", r"read-only|not writeable", "it changes its input: work on a copy, or return a new array"),
    (r"ImportError", "", "the module has no such name: look at its spelling"),
    (r"ModuleNotFoundError", "", "a module is not installed, or its name is misspelt"),
    (
        r"UnboundLocalError",
        "",
        "a variable is used before it has a value: set it in each branch, and mind how it is spelt",
    ),
    (
        r"NameError",
        r"name '(np|numpy|math|torch|tf|F|nn|jnp|jax|random|sys|os)'",
        "a module is used that was not imported: write the import at the top",
    ),
    (r"NameError", r"name '(true|false|null|nil|none)'", "Python writes True, False and None"),
    (r"NameError", r"name 'self'", "a function outside a class has no self: use its parameters"),
    (r"NameError", r"name '(raw_input|xrange|unicode|long)'", "that is Python 2: this is Python 3"),
    (r"NameError", "", "a name is used that does not exist: look at its spelling"),
    (r"ZeroDivisionError", "", "it divides by its argument or by alpha: multiply"),
    (r"OverflowError", "", "a number becomes too large: a power or an exponential function is not needed"),
    (
        r"ValueError",
        r"math domain|expected a \w+ input",
        "it takes a root or a logarithm of a negative number: neither is needed",
    ),
    (r"ValueError", r"could not convert|invalid literal", "it makes a number of a text that is none: use the argument"),
    (
        r"ValueError",
        r"(?i)alpha|slope|negative|positive|must|invalid",
        "it refuses a call that it must take: any number, and any slope from 0 to 1, both included",
    ),
    (
        r"TypeError",
        r"indices must be integers",
        "it looks up an element, and the number is no index: calculate the result, without a table",
    ),
    (r"(KeyError|IndexError)", "", "it looks up an element that is not there: calculate the result, without a table"),
    (r"FileNotFoundError", "", "it opens a file that is not there: it needs none"),
    (r"EOFError", "", "it reads input, and there is none: take the number from the argument"),
    (r"BlockingIOError", "", "it starts too many processes or threads: it needs none"),
    (r"RuntimeError", r"start new thread", "it starts too many processes or threads: it needs none"),
    (
        r"OSError",
        r"too large",
        "it prints or writes too much: return the value, and look at the condition of each loop",
    ),
)


# What an exception says of the call of the function itself, and the cause.
_SIGNATURE = (
    (
        r"unexpected keyword argument '(alpha|negative_slope)'",
        "the slope must be a parameter called alpha: def leaky_relu(z, alpha=0.01)",
    ),
    (r"missing .* '?alpha'?$", "alpha needs a default: def leaky_relu(z, alpha=0.01)"),
    (
        r"",
        "it must take two arguments, the number first and then the slope: def leaky_relu(z, alpha=0.01)",
    ),
)
_WRONG_CALL = re.compile(
    r"(?:(\w+)\(\) )?(?:missing .* argument|takes .* positional arguments?|got multiple values for"
    r"|got an unexpected keyword|takes no (?:keyword )?arguments"
    r"|.*positional arguments? but)"
)


def of_exception(
    name: str, text: str, code: str = "", exercise: Exercise = "function", *, raised: Json | None = None
) -> str:
    """The cause why a call raised an exception, or why the code could not be read: `code` is the line that is wrong.

    `raised` is what the process of the code says of a call, and of where it failed; None while the code was loaded.
    """
    if name in _UNREADABLE:
        return of_syntax(text, code).replace(EXERCISES["function"], EXERCISES[exercise])
    around = raised or {}
    code = code or str(around.get("code", ""))
    if name == "TypeError" and (found := _WRONG_CALL.search(text)):
        called, asked = found[1] or "", EXERCISES[exercise].partition("(")[0]
        is_asked = raised is not None and not raised.get("line")
        return _of_wrong_call(text, called, exercise, is_asked=is_asked, is_alpha=is_asked or called == asked)
    cause = _of_names(name, text, code, around, exercise)
    if raised is None and name in {"KeyError", "IndexError"} and "argv" not in code:
        return _NOT_THERE
    cause = cause or (lists.of_exception(name, text) if exercise == "backward" else "")
    return cause or _of_table(name, text, code).replace(EXERCISES["function"], EXERCISES[exercise])


def _of_wrong_call(text: str, called: str, exercise: Exercise, *, is_asked: bool, is_alpha: bool) -> str:
    """The cause of a call with wrong arguments: of what was asked for, or of something that it calls."""
    if is_asked and exercise == "backward" and (cause := lists.of_exception("TypeError", text)):
        return cause
    for part, cause in _SIGNATURE[: 3 if is_asked else 2 if is_alpha else 0]:
        if re.search(part, text):
            return cause.replace(EXERCISES["function"], EXERCISES[exercise])
    what = f"{called}()" if called else "something"
    return f"{what} is called with other arguments than it takes: look at its parameters"


def _of_names(name: str, text: str, code: str, around: Json, exercise: Exercise) -> str:
    """What the variables tell of an exception: one is None, or hides a function of Python, or a dot stands for *."""
    if "alpha" in _listed(around, "none") and "NoneType" in text and re.search(r"\balpha\b", code):
        return f"alpha is None where none is given, and stays so: write def {EXERCISES[exercise]}"
    found = re.search(r"^'(?:int|float)' object has no attribute '(\w+)'", text)
    if found and found[1] in _listed(around, "variables") and re.search(rf"\w\.{found[1]}\b", code):
        return "a dot takes a part of something: alpha.z must be alpha * z"
    if "object is not callable" in text:
        hiding = [one for one in _listed(around, "hiding") if re.search(rf"\b{re.escape(one)}\s*\(", code)]
        if hiding:
            return _HIDDEN.format(hiding[0])
    if name == "UnboundLocalError" and (found := re.search(r"variable '(\w+)'", text)):
        if callable(getattr(builtins, found[1], None)) and re.search(rf"\b{found[1]}\s*\(", code):
            return _HIDDEN.format(found[1])
        if found[1] in _listed(around, "globals") and re.match(rf"{found[1]}\s*([-+*/]|//|\*\*)?=[^=]", code):
            return f"{found[1]} belongs to the module, and the function sets it: use a variable of the function instead"
    return ""


def _listed(around: Json, key: str) -> list[str]:
    """The names there; the process that sends them is not trusted."""
    names = around.get(key)
    return [str(name) for name in names] if isinstance(names, list) else []


def _of_table(name: str, text: str, code: str) -> str:
    for kind, part, line, cause in _LINES:
        if re.fullmatch(kind, name) and re.search(part, text) and re.search(line, code):
            return cause
    matches = (cause for kind, part, cause in _EXCEPTIONS if re.fullmatch(kind, name) and re.search(part, text))
    return next(matches, "")

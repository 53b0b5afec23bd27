"""A program of the corpus, and short ways to write one."""

from dataclasses import dataclass
from textwrap import dedent


@dataclass(frozen=True)
class Program:
    """What somebody wrote, and what the check must say of it.

    `verdict` is ``right``; ``remark``, if it passes with a remark; or ``wrong``. A program is right at `level`; a wrong
    one fails there, and passes the level below. `exercise` is what was to be written. `cause` are words of the cause or the remark, which right programs lack.
    """

    name: str
    source: str
    verdict: str
    cause: str = ""
    level: str = "exercise"
    exercise: str = "function"


def _verdict(cause):
    return "wrong" if cause else "right"


def one_line(name, expression, cause="", verdict=None, level="exercise"):
    """A function of one expression of `z` and `alpha`."""
    source = f"import math\nimport numpy as np\ndef leaky_relu(z, alpha=0.01):\n    return {expression}\n"
    return Program(name, source, verdict or _verdict(cause), cause, level)


def program(name, source, cause="", verdict=None, level="exercise"):
    """A whole program."""
    return Program(name, dedent(source), verdict or _verdict(cause), cause, level)


def body(name, source, cause="", verdict=None):
    """The lines below ``def leaky_relu(z, alpha=0.01):``, indented by four spaces."""
    lines = "".join(f"    {line}\n" for line in dedent(source).strip().splitlines())
    return Program(name, f"def leaky_relu(z, alpha=0.01):\n{lines}", verdict or _verdict(cause), cause)


def derivative(name, expression, cause="", verdict=None):
    """The body of ``leaky_relu_derivative(z, alpha=0.01)``: an expression, or several lines."""
    return _exercise(name, "derivative", "leaky_relu_derivative(z, alpha=0.01)", expression, cause, verdict)


def backward(name, expression, cause="", verdict=None):
    """As `derivative`, for ``leaky_relu_backward(gradients, zs, alpha=0.01)``."""
    return _exercise(name, "backward", "leaky_relu_backward(gradients, zs, alpha=0.01)", expression, cause, verdict)


def _exercise(name, exercise, definition, expression, cause, verdict):
    lines = (
        expression.splitlines()
        if "\n" in expression or expression.startswith(("return", "raise"))
        else [f"return {expression}"]
    )
    source = "\n".join(["import math", f"def {definition}:", *(f"    {line}" for line in lines), ""])
    return Program(name, source, verdict or _verdict(cause), cause, exercise=exercise)

"""Faulty implementations, as learners write them, with the level that finds each and the cause that must be named."""

from dataclasses import dataclass
from textwrap import dedent


@dataclass(frozen=True)
class Fault:
    """A program, the lowest level at which it fails, and words of the cause that the report must name."""

    name: str
    level: str
    source: str
    cause: str


def _one_line(name, level, expression, cause):
    return Fault(name, level, f"import numpy as np\ndef leaky_relu(z, alpha=0.01):\n    return {expression}\n", cause)


def _program(name, level, source, cause):
    return Fault(name, level, dedent(source), cause)


def _derivative(name, expression, cause):
    source = f"""\
import numpy as np
from leakyrelu import leaky_relu
def leaky_relu_derivative(z, alpha=0.01):
    return {expression}
"""
    return Fault(name, "derivative", source, cause)


_CHOICE = "np.where(z >= 0, z, alpha * z)"

EXERCISE = (
    _program(
        "default of 0.1",
        "exercise",
        "def leaky_relu(z, alpha=0.1): return z if z > 0 else alpha * z",
        "the default slope is 0.1",
    ),
    _program(
        "default of 0.2",
        "exercise",
        "def leaky_relu(z, alpha=0.2): return z if z > 0 else alpha * z",
        "the default slope is 0.2",
    ),
    _program(
        "default of 0.001",
        "exercise",
        "def leaky_relu(z, alpha=0.001): return z if z > 0 else alpha * z",
        "the default slope is 0.001",
    ),
    _one_line("alpha ignored", "exercise", "z if z > 0 else 0.01 * z", "alpha is ignored"),
    _program(
        "a global slope",
        "exercise",
        """\
        SLOPE = 0.01
        def leaky_relu(z, alpha=SLOPE):
            if z > 0:
                return z
            return SLOPE * z
        """,
        "alpha is ignored",
    ),
    _program(
        "no alpha", "exercise", "def leaky_relu(z): return z if z > 0 else 0.01 * z", "must be a parameter called alpha"
    ),
    _program(
        "alpha without default",
        "exercise",
        "def leaky_relu(z, alpha): return z if z > 0 else alpha * z",
        "alpha needs a default",
    ),
    _program(
        "another name",
        "exercise",
        "def leaky_relu(z, slope=0.01): return z if z > 0 else slope * z",
        "must be a parameter called alpha",
    ),
    _program(
        "PyTorch's name",
        "exercise",
        "def leaky_relu(z, negative_slope=0.01): return z if z > 0 else negative_slope * z",
        "must be a parameter called alpha",
    ),
    _program(
        "alpha first", "exercise", "def leaky_relu(alpha, z=0.01): return z if z > 0 else alpha * z", "the number first"
    ),
    _program("no parameter", "exercise", "def leaky_relu(): return 0", "must take two arguments"),
    _program(
        "nothing for zero",
        "exercise",
        """\
        def leaky_relu(z, alpha=0.01):
            if z > 0:
                return z
            elif z < 0:
                return alpha * z
        """,
        "returns nothing for zero",
    ),
    _program(
        "nothing below zero",
        "exercise",
        """\
        def leaky_relu(z, alpha=0.01):
            if z >= 0:
                return z
            alpha * z
        """,
        "returns nothing for numbers below zero",
    ),
    _program(
        "nothing at all",
        "exercise",
        """\
        def leaky_relu(z, alpha=0.01):
            result = z if z >= 0 else alpha * z
        """,
        "returns nothing: end each branch with return",
    ),
    _program("not begun", "exercise", "def leaky_relu(z, alpha=0.01): ...", "returns nothing: end each branch"),
    _program(
        "prints",
        "exercise",
        """\
        def leaky_relu(z, alpha=0.01):
            if z >= 0:
                print(z)
            else:
                print(alpha * z)
        """,
        "write return instead of print",
    ),
    _program(
        "recursion",
        "exercise",
        """\
        def leaky_relu(z, alpha=0.01):
            if z >= 0:
                return leaky_relu(z, alpha)
            return leaky_relu(alpha * z, alpha)
        """,
        "calls itself without end",
    ),
    _one_line("sides swapped", "exercise", "alpha * z if z > 0 else z", "two sides are swapped"),
    _one_line("text", "exercise", "str(z if z > 0 else alpha * z)", "a text came back"),
    _one_line("formatted", "exercise", "f'{z if z > 0 else alpha * z:.2f}'", "a text came back"),
    _one_line("truth value", "exercise", "z > 0 or alpha * z < 0", "a truth value came back"),
    _one_line("tuple", "exercise", "(z if z > 0 else alpha * z),", "a tuple came back"),
    _one_line("list", "exercise", "[z if z > 0 else alpha * z]", "a list came back"),
    _one_line("lambda", "exercise", "lambda: z if z > 0 else alpha * z", "a function came back"),
    _one_line("rounded to 2", "exercise", "round(z if z > 0 else alpha * z, 2)", "the result is rounded"),
    _one_line("rounded to 3", "exercise", "round(z, 3) if z > 0 else round(alpha * z, 3)", "the result is rounded"),
    _one_line("integers", "exercise", "int(z if z > 0 else alpha * z)", "the result is cut or rounded to an integer"),
    _one_line(
        "integer product", "exercise", "z if z > 0 else int(alpha * z)", "alpha * z is cut or rounded to an integer"
    ),
    _one_line("floored", "exercise", "z if z > 0 else alpha * z // 1", "alpha * z is cut or rounded to an integer"),
    _one_line("ReLU", "exercise", "max(0, z)", "it is the ReLU"),
    _one_line("absolute value", "exercise", "abs(z)", "absolute value"),
    _one_line("identity", "exercise", "z", "z unchanged"),
    _one_line("min", "exercise", "min(z, alpha * z)", "min(z, alpha * z) is taken"),
    _one_line("max with alpha", "exercise", "max(alpha, z)", "max(alpha, z)"),
    _one_line("product everywhere", "exercise", "alpha * z", "alpha * z for all numbers"),
    _one_line("alpha itself", "exercise", "z if z >= 0 else alpha", "returns alpha for negative numbers"),
    _one_line("minus alpha", "exercise", "z if z >= 0 else -alpha", "returns -alpha for negative numbers"),
    _one_line("sign turned", "exercise", "z if z >= 0 else -alpha * z", "sign is turned"),
    _one_line("sum", "exercise", "z if z >= 0 else alpha + z", "adds alpha"),
    _one_line("difference", "exercise", "z if z >= 0 else z - alpha", "subtracts alpha"),
    _one_line("quotient", "exercise", "z if z >= 0 else z / alpha", "divides by alpha"),
    _one_line("power", "exercise", "z if z >= 0 else alpha * z ** 2", "z is squared"),
    _one_line("ELU", "exercise", "z if z >= 0 else alpha * (np.exp(z) - 1)", "it is the ELU"),
    _one_line("derivative", "exercise", "1 if z > 0 else alpha", "it returns the derivative"),
    _one_line("max plus product", "exercise", "max(0, z) + alpha * z", "added to z"),
    _one_line("threshold of 1", "exercise", "z if z > 1 else alpha * z", "compare z with 0"),
    _one_line("threshold of alpha", "exercise", "z if z > alpha else alpha * z", "compared with alpha"),
    _one_line("misspelt", "exercise", "z if z > 0 else alhpa * z", "look at its spelling"),
    _program(
        "no import",
        "exercise",
        "def leaky_relu(z, alpha=0.01): return np.where(z > 0, z, alpha * z)",
        "write the import at the top",
    ),
    _program(
        "unset in a branch",
        "exercise",
        """\
        def leaky_relu(z, alpha=0.01):
            if z < 0:
                result = alpha * z
            return result
        """,
        "before it has a value",
    ),
    _one_line("called like a function", "exercise", "z if z > 0 else alpha(z)", "alpha(z) must be alpha * z"),
    _one_line("arrays only", "exercise", "np.array([v if v > 0 else alpha * v for v in z])", "only arrays or lists"),
    _one_line("an index", "exercise", "z[0] if z[0] > 0 else alpha * z[0]", "only arrays or lists"),
    _one_line("divides by z", "exercise", "z if z / abs(z) > 0 else alpha * z", "divides by its argument"),
    _one_line(
        "float32",
        "exercise",
        "float(np.float32(z)) if z > 0 else float(np.float32(alpha) * np.float32(z))",
        "works in float32",
    ),
    _program(
        "asks",
        "exercise",
        "def leaky_relu(z, alpha=0.01): z = float(input()); return z if z > 0 else alpha * z",
        "reads input",
    ),
    _program(
        "stops the program",
        "exercise",
        "def leaky_relu(z, alpha=0.01): print(z if z > 0 else alpha * z); exit()",
        "calls exit",
    ),
    _program(
        "not written",
        "exercise",
        """\
        def leaky_relu(z, alpha=0.01):
            raise NotImplementedError
        """,
        "not written yet",
    ),
    _program(
        "generator",
        "exercise",
        "def leaky_relu(z, alpha=0.01): yield z if z > 0 else alpha * z",
        "write return, not yield",
    ),
    _program(
        "coroutine",
        "exercise",
        "async def leaky_relu(z, alpha=0.01): return z if z > 0 else alpha * z",
        "not async def",
    ),
)

ARRAY = (
    _one_line("if", "array", "z if z > 0 else alpha * z", "np.where(x >= 0, x, alpha * x)"),
    _one_line("max of Python", "array", "max(0, z) + alpha * min(0, z)", "one truth value, and an array has many"),
    _program(
        "in place",
        "array",
        """\
        import numpy as np
        def leaky_relu(z, alpha=0.01):
            if not isinstance(z, np.ndarray) or z.ndim == 0 or z.dtype.kind == "i":
                return np.where(np.asarray(z) >= 0, z, alpha * np.asarray(z))[()]
            z[z < 0] *= alpha
            return z
        """,
        "changes its input",
    ),
    _one_line(
        "a list for an array",
        "array",
        f"[v if v >= 0 else alpha * v for v in z] if np.ndim(z) else {_CHOICE}[()]",
        "a list came back",
    ),
    _one_line(
        "flattened",
        "array",
        f"(lambda z: {_CHOICE})(np.ravel(z)) if np.ndim(z) else {_CHOICE}[()]",
        "the shape of the input must be kept",
    ),
    _one_line(
        "summed",
        "array",
        f"np.sum({_CHOICE}) if np.ndim(z) else {_CHOICE}[()]",
        "one number came back for a whole array",
    ),
    _one_line(
        "float32 for all",
        "array",
        "(lambda y: y.astype(np.float32) if np.ndim(z) else y[()])(np.where(np.asarray(z) >= 0, z, alpha * np.asarray(z)))",
        "the type of the input must be kept",
    ),
    _one_line(
        "float64 for all",
        "array",
        "(lambda x: np.where(x >= 0, x, alpha * x)[()])(np.asarray(z, dtype=float))",
        "the type of the input must be kept",
    ),
    _one_line(
        "integers stay",
        "array",
        "(lambda x: np.where(x >= 0, x, alpha * x).astype(x.dtype)[()] if x.ndim else (z if z >= 0 else alpha * z))(np.asarray(z))",
        "cut to integers",
    ),
    _program(
        "integers in place",
        "array",
        """\
        import numpy as np
        def leaky_relu(z, alpha=0.01):
            if np.ndim(z) == 0:
                return z if z >= 0 else alpha * z
            y = np.array(z)
            y[y < 0] *= y.dtype.type(alpha) if y.dtype.kind == "f" else alpha
            return y
        """,
        "writes floats into integers",
    ),
    _one_line("no list", "array", "np.where(z >= 0, z, alpha * z)[()]", "a list is no array"),
    _program(
        "loop over one dimension",
        "array",
        """\
        import numpy as np
        def leaky_relu(z, alpha=0.01):
            if np.ndim(z) == 0:
                return z if z >= 0 else alpha * z
            out = np.zeros(len(z), getattr(z, "dtype", float))
            for i in range(len(z)):
                out[i] = z[i] if z[i] >= 0 else alpha * z[i]
            return out
        """,
        "one truth value",
    ),
)

_AS_ARRAY = """\
import numpy as np
from leakyrelu import leaky_relu as right
def leaky_relu(z, alpha=0.01):
    if type(z) in (int, float):
        return z if not z < 0 else alpha * z
    z = np.asarray(z)
    if z.dtype.name == "bfloat16":
        return right(z, alpha)
    if z.dtype.kind in "biu":
        z = z.astype(np.float64)
    slope = np.float64(alpha if z.dtype == np.float64 else np.float32(alpha))
    with np.errstate(all="ignore"):
        exact = slope * z.astype(np.float64)
        return np.asarray({}).astype(z.dtype)
"""


def _ieee(name, expression, cause):
    """`exact` is the product; the result is then rounded once."""
    return Fault(name, "ieee", _AS_ARRAY.format(expression), cause)


IEEE = (
    _ieee("maximum", "np.maximum(z, exact)", "slopes from 0 to 1 only"),
    _ieee("max of Python", "np.where(exact > z, exact, z)", "loses NaN"),
    _ieee("alpha as a half", "np.where(z >= 0, z, z.dtype.type(alpha) * z)", "alpha is taken in 16 bits"),
    _ieee(
        "rounded twice", "np.where(z >= 0, z, exact.astype(np.float32) if z.itemsize < 4 else exact)", "rounded twice"
    ),
    _ieee("alpha as float64", "np.where(z >= 0, z, np.float64(alpha) * z.astype(np.float64))", "alpha in float64"),
    _ieee("NaN lost", "np.where(z >= 0, z, np.where(z < 0, exact, 0))", "NaN is replaced by 0"),
    _ieee("masks", "z * (z >= 0) + exact * (z < 0)", "masks, and 0 * inf is NaN"),
    _ieee("sum of two", "np.maximum(z, 0) + slope * np.minimum(z, 0).astype(np.float64)", "loses the sign of zeros"),
    _ieee("> at zero", "np.where(z > 0, z, exact)", "zeros change their sign"),
    _ieee(
        "subnormals flushed",
        "(lambda y: np.where(np.abs(y) < np.finfo(z.dtype).tiny, np.copysign(0, y), y))"
        "(np.where(z >= 0, z, exact.astype(z.dtype)))",
        "flushed to zero",
    ),
    _ieee("slope clipped", "np.where(z >= 0, z, np.clip(slope, 0, 1) * z.astype(np.float64))", "held between 0 and 1"),
    _ieee("slope made positive", "np.where(z >= 0, z, abs(slope) * z.astype(np.float64))", "absolute value of alpha"),
    _ieee("negative zero lost", "np.where(z >= 0, z, exact) + 0", "a zero lost its sign"),
)

ARRAY += (
    Fault(
        "alpha as float32",
        "array",
        _AS_ARRAY.format("np.where(z >= 0, z, np.float64(np.float32(alpha)) * z)"),
        "alpha is taken as float32",
    ),
    Fault(
        "float32 inside",
        "array",
        _AS_ARRAY.format("np.where(z >= 0, z, np.float32(alpha) * z.astype(np.float32))"),
        "float32, which has seven digits",
    ),
)

DERIVATIVE = (
    _derivative(
        "0 below zero", "np.where(np.asarray(z) > 0, 1, 0).astype(np.asarray(z).dtype)", "0 below zero, as the ReLU's"
    ),
    _derivative("value", "leaky_relu(z, alpha)", "returns the value"),
    _derivative("1 everywhere", "np.ones_like(z)", "1 everywhere"),
    _derivative("alpha everywhere", "np.full_like(z, alpha)", "alpha everywhere"),
    _derivative("swapped", "np.where(np.asarray(z) > 0, alpha, 1).astype(np.asarray(z).dtype)", "sides are swapped"),
    _derivative(
        "sign turned", "np.where(np.asarray(z) > 0, 1, -alpha).astype(np.asarray(z).dtype)", "the sign is turned"
    ),
    _derivative(
        "alpha * z below zero",
        "np.where(np.asarray(z) > 0, 1, alpha * np.asarray(z)).astype(np.asarray(z).dtype)",
        "the derivative of alpha * z is alpha",
    ),
    _derivative(
        "by the value's sign",
        "np.where(leaky_relu(z, alpha) >= 0, 1, alpha).astype(np.asarray(z).dtype)",
        "uses the sign of alpha * x",
    ),
    _derivative(
        "alpha ignored", "np.where(np.asarray(z) > 0, 1, 0.01).astype(np.asarray(z).dtype)", "alpha is ignored"
    ),
    _derivative("float64 for float32", "np.where(np.asarray(z) > 0, 1, alpha)", "the type of the input must be kept"),
    _derivative("of one number only", "1 if z > 0 else alpha", "one truth value"),
)

FAULTS = (*EXERCISE, *ARRAY, *IEEE, *DERIVATIVE)

"""Programs that are right for numbers, and wrong at a level above ``exercise``."""

from test_check.corpus.program import Program, one_line, program


def _one_line(name, expression, cause):
    return one_line(name, expression, cause, level="array")


def _program(name, source, cause):
    return program(name, source, cause, level="array")


def _derivative(name, expression, cause):
    source = f"""\
import numpy as np
from leakyrelu import leaky_relu
def leaky_relu_derivative(z, alpha=0.01):
    return {expression}
"""
    return Program(name, source, "wrong", cause, "derivative")


_WHOLE = tuple(
    _one_line(
        f"the whole array: {condition}", f"z if {condition} else alpha * z", "one condition is asked of the whole"
    )
    for condition in (
        "np.sum(z) > 0",
        "np.sum(z) >= 0",
        "np.mean(z) > 0",
        "np.all(z >= 0)",
        "np.any(z > 0)",
        "np.ravel(z).tolist()[:1] > [0]",
    )
)

_CHOICE = "np.where(z >= 0, z, alpha * z)"

ARRAY = (
    *_WHOLE,
    _one_line(
        "alpha ignored in arrays",
        "np.where(z > 0, z, (0.01 if isinstance(z, np.ndarray) else alpha) * z)",
        "for arrays: alpha is ignored, the slope is always 0.01",
    ),
    _one_line("if", "z if z > 0 else alpha * z", "np.where(x >= 0, x, alpha * x)"),
    _one_line("squeeze", f"np.squeeze({_CHOICE})", "the shape of the input must be kept"),
    _one_line("max of Python", "max(0, z) + alpha * min(0, z)", "one truth value, and an array has many"),
    _program(
        "in place",
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
        f"[v if v >= 0 else alpha * v for v in z] if np.ndim(z) else {_CHOICE}[()]",
        "a list came back",
    ),
    _one_line(
        "flattened",
        f"(lambda z: {_CHOICE})(np.ravel(z)) if np.ndim(z) else {_CHOICE}[()]",
        "the shape of the input must be kept",
    ),
    _one_line(
        "summed",
        f"np.sum({_CHOICE}) if np.ndim(z) else {_CHOICE}[()]",
        "one number came back for a whole array",
    ),
    _one_line(
        "float32 for all",
        "(lambda y: y.astype(np.float32) if np.ndim(z) else y[()])(np.where(np.asarray(z) >= 0, z, alpha * np.asarray(z)))",
        "the type of the input must be kept",
    ),
    _one_line(
        "float64 for all",
        "(lambda x: np.where(x >= 0, x, alpha * x)[()])(np.asarray(z, dtype=float))",
        "the type of the input must be kept",
    ),
    _one_line(
        "integers stay",
        "(lambda x: np.where(x >= 0, x, alpha * x).astype(x.dtype)[()] if x.ndim else (z if z >= 0 else alpha * z))(np.asarray(z))",
        "cut to integers",
    ),
    _program(
        "one array for all results of a shape",
        """\
        import numpy as np
        kept = {}
        def leaky_relu(z, alpha=0.01):
            y = np.asarray(np.where(np.asarray(z) >= 0, z, alpha * np.asarray(z)))
            if y.ndim == 0 or isinstance(z, list):
                return y[()]
            out = kept.setdefault((y.shape, y.dtype), np.empty_like(y))
            out[...] = y
            return out
        """,
        "it writes over what it returned before",
    ),
    _program(
        "integers in place",
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
    _program(
        "loop over one dimension",
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
    return Program(name, _AS_ARRAY.format(expression), "wrong", cause, "ieee")


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
    Program(
        "alpha as float32",
        _AS_ARRAY.format("np.where(z >= 0, z, np.float64(np.float32(alpha)) * z)"),
        "wrong",
        "alpha is taken as float32",
        "array",
    ),
    Program(
        "float32 inside",
        _AS_ARRAY.format("np.where(z >= 0, z, np.float32(alpha) * z.astype(np.float32))"),
        "wrong",
        "float32, which has seven digits",
        "array",
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

ARRAYS = (
    one_line("no list", "np.where(z >= 0, z, alpha * z)[()]", "a list is no array", "remark", "array"),
    one_line("np.maximum, and no list", "np.maximum(z, alpha * z)", "a list", "remark", "array"),
    *ARRAY,
    *IEEE,
    *DERIVATIVE,
)

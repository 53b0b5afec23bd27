"""Programs that return wrong numbers at the level ``exercise``."""

from test_check.corpus.program import body, one_line, program

_R = "z if z >= 0 else alpha * z"


def _default(slope):
    source = f"def leaky_relu(z, alpha={slope}): return z if z > 0 else alpha * z"
    return program(f"default of {slope}", source, f"the default slope is {slope}")


_SLOPES = [
    *map(_default, (0.1, 0.2, 0.001, 0.3, 0.05, 0.02, 0.07, 1)),
    one_line("alpha ignored", "z if z > 0 else 0.01 * z", "alpha is ignored"),
    one_line("z / 100", "z if z > 0 else z / 100", "alpha is ignored, the slope is always 0.01"),
    one_line("always 0.2", "max(0.2 * z, z)", "alpha is ignored, the slope is always 0.2"),
    one_line("always 0.00001", "np.where(z > 0, z, z * 0.00001)", "the slope is always 1e-05"),
    program("a global slope", "SLOPE = 0.01\ndef leaky_relu(z, alpha=SLOPE): return z if z > 0 else SLOPE * z", "alpha is ignored"),
    body("alpha overwritten", "alpha = 0.01\nreturn z if z >= 0 else alpha * z", "alpha is ignored"),
    one_line("alpha or 0.01", "z if z >= 0 else (alpha or 0.01) * z", "a slope of 0 is replaced by 0.01"),
    body("if alpha", "if not alpha:\n    alpha = 0.2\nreturn z if z >= 0 else alpha * z", "a slope of 0 is replaced by 0.2"),
    one_line("alpha at least 0.001", "z if z >= 0 else max(alpha, 0.001) * z", "never below 0.001"),
    one_line("alpha at most 0.5", "z if z >= 0 else min(alpha, 0.5) * z", "never above 0.5"),
    one_line("int(alpha)", "z if z >= 0 else int(alpha) * z", "alpha is cut or rounded to an integer"),
    one_line("round(alpha, 2)", "z if z >= 0 else round(alpha, 2) * z", "alpha is rounded"),
    one_line("a percentage", "z if z >= 0 else alpha / 100 * z", "0.01 times as large"),
    one_line("twice", "z if z >= 0 else alpha * alpha * z", "applied twice"),
    one_line("twice the slope", "z if z >= 0 else 2 * alpha * z", "2 times as large"),
]  # fmt: skip

_EXTREMES = [
    one_line(
        "a square root of a square",
        "(z + math.sqrt(z * z)) / 2 + alpha * (z - math.sqrt(z * z)) / 2",
        "a float cannot hold",
    ),
    one_line("a square over z", "z and z * (z if z > 0 else alpha * z) / z", "only very"),
    one_line("a cube over a square", "z if z >= 0 else alpha * z**3 / z**2", "a number becomes too large"),
    one_line("four digits of the slope", "z if z >= 0 else round(alpha, 4) * z", "alpha is rounded"),
]

_FORMULAS = [
    one_line("sides swapped", "alpha * z if z > 0 else z", "two sides are swapped"),
    one_line("min", "min(z, alpha * z)", "min(z, alpha * z) is taken"),
    one_line("ReLU", "max(0, z)", "it is the ReLU"),
    one_line("ReLU by if", "z if z > 0 else 0", "it is the ReLU"),
    body("ReLU first", "z = max(0, z)\nreturn max(z, alpha * z)", "it is the ReLU"),
    one_line("max of 0 and the product", "max(0, alpha * z)", "it is max(0, alpha * z)"),
    one_line("min of 0 and the product", "min(0, alpha * z)", "it returns 0 above zero"),
    one_line("max with alpha", "max(alpha, z)", "max(alpha, z)"),
    one_line("max with minus alpha", "max(-alpha, z)", "max(-alpha, z)"),
    one_line("absolute value", "abs(z)", "absolute value"),
    one_line("identity", "z", "z unchanged"),
    one_line("minus z", "-z", "it returns -z"),
    one_line("zero", "0", "it returns 0 for every number"),
    one_line("product everywhere", "alpha * z", "alpha * z for all numbers"),
    one_line("alpha everywhere", "alpha", "it returns alpha for every number"),
    one_line("alpha itself", "z if z >= 0 else alpha", "returns alpha for negative numbers"),
    one_line("0.01 itself", "z if z >= 0 else 0.01", "it returns 0.01 for every negative number"),
    one_line("-0.01 itself", "z if z >= 0 else -0.01", "it returns -0.01 for every negative number"),
    one_line("minus alpha", "z if z >= 0 else -alpha", "returns -alpha for negative numbers"),
    one_line("sign turned", "z if z >= 0 else -alpha * z", "sign is turned"),
    one_line("the absolute value below zero", "z if z >= 0 else alpha * abs(z)", "sign is turned"),
    one_line("max minus min", "max(0, z) - alpha * min(0, z)", "sign is turned"),
    one_line("max plus product", "max(0, z) + alpha * z", "added to z"),
    one_line("max minus product", "max(0, z) - alpha * z", "subtracted from z"),
    one_line("1 - alpha above zero", "(1 - alpha) * z if z > 0 else alpha * z", "multiplied by 1 - alpha"),
    one_line("1 + alpha above zero", "(1 + alpha) * z if z > 0 else alpha * z", "added to z"),
    one_line("1 - alpha below zero", "z if z > 0 else (1 - alpha) * z", "below zero the result is z - alpha * z"),
    one_line("doubled above zero", "2 * z if z > 0 else alpha * z", "above zero z is multiplied by 2"),
    one_line("one above zero", "1 if z > 0 else alpha * z", "it returns 1 above zero"),
    one_line("derivative", "1 if z > 0 else alpha", "it returns the derivative"),
    one_line("z + alpha * z below zero", "z if z >= 0 else z + alpha * z", "below zero the result is z + alpha * z"),
    one_line("z - alpha * z below zero", "z if z >= 0 else z - alpha * z", "below zero the result is z - alpha * z"),
    one_line("z + alpha * z", "z + alpha * z", "z + alpha * z for all numbers"),
    one_line("z - alpha * z", "z - alpha * z", "z - alpha * z for all numbers"),
    one_line("a number added", "z if z >= 0 else alpha * z - 7", "7 is subtracted from alpha * z"),
]

_OPERATORS = [
    one_line("sum", "z if z >= 0 else alpha + z", "adds alpha"),
    one_line("sum everywhere", "alpha + z", "alpha + z for all numbers"),
    one_line("difference", "z if z >= 0 else z - alpha", "subtracts alpha"),
    one_line("difference everywhere", "z - alpha", "z - alpha for all numbers"),
    one_line("quotient", "z if z >= 0 else z / alpha", "divides by alpha"),
    one_line("quotient, turned", "z if z >= 0 else alpha / z", "divides alpha by z"),
    one_line("remainder", "z if z >= 0 else alpha % z", "remainder of a division, alpha % z"),
    one_line("remainder, turned", "z if z >= 0 else z % alpha", "remainder of a division, z % alpha"),
    one_line("floor division", "z if z >= 0 else z // alpha", "divides by alpha and cuts"),
    one_line("floor division, turned", "z if z >= 0 else alpha // z", "divides alpha by z and cuts"),
    one_line("power", "z if z >= 0 else alpha ** z", "alpha is raised to the power of z"),
    one_line("power everywhere", "alpha ** z", "alpha ** z, a power"),
    one_line("square", "z if z >= 0 else alpha * z ** 2", "z is squared"),
    one_line("square of the product", "z if z >= 0 else (alpha * z) ** 2", "alpha * z is squared"),
    one_line("square above zero", "z * z if z > 0 else alpha * z", "z is squared above zero"),
]

_PLACES = [
    one_line("threshold of 1", "z if z > 1 else alpha * z", "small positive numbers are multiplied"),
    one_line("threshold of 0.2", "z if z > 0.2 else alpha * z", "small positive numbers are multiplied"),
    one_line("threshold of 1e-6", "z if z > 1e-6 else alpha * z", "small positive numbers are multiplied"),
    one_line("threshold of alpha", "z if z > alpha else alpha * z", "compared with alpha"),
    one_line("threshold of -1", "z if z > -1 else alpha * z", "not all negative numbers change"),
    one_line("threshold of -1e-9", "z if z > -1e-9 else alpha * z", "not all negative numbers change"),
    one_line("bound at 6", f"min(6, {_R})", "never above 6"),
    one_line("bound at 1e6", f"min({_R}, 1e6)", "never above 1e+06"),
    one_line("bound at 1", f"min(1, {_R})", "never above 1:"),
    one_line("bound at -1", f"max(-1, {_R})", "never below -1:"),
    one_line("bounds at 5", f"max(-5, min(5, {_R}))", "held between -5 and 5"),
    one_line("np.clip", f"np.clip({_R}, -100, 100)", "held between -100 and 100"),
    one_line("only zero is wrong", "z if z > 0 else alpha * z if z < 0 else 7", "only zero comes out wrong"),
    one_line("cube", "z if z >= 0 else alpha * z ** 3", "only numbers below zero come out wrong"),
]

_ROUNDED = [
    one_line("rounded to 2", f"round({_R}, 2)", "the result is rounded"),
    one_line("rounded to 3", "round(z, 3) if z > 0 else round(alpha * z, 3)", "the result is rounded"),
    one_line("rounded to 4", f"round({_R}, 4)", "the result is rounded"),
    one_line("rounded to 10", f"round({_R}, 10)", "the result is rounded"),
    one_line("product rounded", "z if z > 0 else round(alpha * z, 5)", "alpha * z is rounded"),
    one_line("ten digits", f"float(f'{{({_R}):.10g}}')", "the result is rounded: drop the format"),
    one_line("two digits by a format", f"float('%.2f' % ({_R}))", "the result is rounded"),
    one_line("z rounded", "round(z, 2) if z >= 0 else alpha * round(z, 2)", "z is rounded"),
    one_line("integers", f"int({_R})", "the result is cut or rounded to an integer"),
    one_line("integer product", "z if z > 0 else int(alpha * z)", "alpha * z is cut or rounded to an integer"),
    one_line("integer z", "int(z) if z > 0 else alpha * int(z)", "z is cut or rounded to an integer"),
    one_line("integer above zero", "int(z) if z > 0 else alpha * z", "above zero z is cut or rounded"),
    one_line("floored", "z if z > 0 else alpha * z // 1", "alpha * z is cut or rounded to an integer"),
    one_line("float32", "float(np.float32(z)) if z > 0 else float(np.float32(alpha) * np.float32(z))", "works in float32"),
    one_line("float32 of NumPy", f"np.float32({_R})", "float32, which has too few digits"),
    one_line("float16 of NumPy", f"np.float16({_R})", "float16, which has too few digits"),
]  # fmt: skip

_OTHERS = [
    one_line("ELU", "z if z >= 0 else alpha * (np.exp(z) - 1)", "it is the ELU"),
    one_line("ELU of math", "z if z >= 0 else alpha * (math.exp(z) - 1)", "it is the ELU"),
    one_line("ELU by expm1", "z if z >= 0 else alpha * math.expm1(z)", "it is the ELU"),
    one_line("sigmoid", "1 / (1 + np.exp(-z))", "it is the sigmoid"),
    one_line("sigmoid of math", "1 / (1 + math.exp(-z))", "it is the sigmoid"),
    one_line("tanh", "math.tanh(z)", "it is the hyperbolic tangent"),
    one_line("softplus", "np.log1p(np.exp(-np.abs(z))) + max(z, 0)", "it is the softplus"),
    one_line("SiLU", "z / (1 + np.exp(-z))", "it is the SiLU"),
    one_line("softsign", "z / (1 + abs(z))", "it is the softsign"),
    one_line("hard tanh", "max(-1, min(1, z))", "it holds z between -1 and 1"),
    one_line("step", "1 if z > 0 else 0", "it returns 0 or 1"),
    one_line("sign", "1 if z > 0 else -1", "it returns the sign"),
]

_MEMORY = [
    program(
        "a slope drawn at random",
        """\
        import random
        def leaky_relu(z, alpha=0.01):
            return z if z >= 0 else random.uniform(0.1, 0.3) * z
        """,
        "different results",
    ),
    program(
        "a slope that is kept",
        """\
        slope = 0.01
        def leaky_relu(z, alpha=None):
            global slope
            slope = slope if alpha is None else alpha
            return z if z >= 0 else slope * z
        """,
        "different results",
    ),
    program(
        "a cache without the slope",
        """\
        seen = {}
        def leaky_relu(z, alpha=0.01):
            if z not in seen:
                seen[z] = z if z >= 0 else alpha * z
            return seen[z]
        """,
        "of an earlier call with another slope",
    ),
    program(
        "only the calls of the textbook",
        """\
        def leaky_relu(z, alpha=0.01):
            return {(0, 0.01): 0, (1, 0.01): 1, (-1, 0.01): -0.01, (-2, 0.1): -0.2}[z, alpha]
        """,
        "calculate the result",
    ),
    program(
        "the calls of the textbook, and 0",
        """\
        def leaky_relu(z, alpha=0.01):
            return {(0, 0.01): 0, (1, 0.01): 1, (-1, 0.01): -0.01, (-2, 0.1): -0.2}.get((z, alpha), 0)
        """,
        "other than those of the textbook",
    ),
    one_line("only integers", "(z if z >= 0 else alpha * z) if isinstance(z, int) else 0.0", "only floats come out wrong"),
    one_line("only floats", "(z if z >= 0 else alpha * z) if isinstance(z, float) else 3", "only integers come out wrong"),
    one_line("only small ones", "(z if z >= 0 else alpha * z) if abs(z) < 5000 else 0", "only very large numbers"),
]  # fmt: skip

_CONSTANTS = [
    one_line("five", "5", "it returns 5 for every number"),
    one_line("minus a half", "-0.5", "it returns -0.5 for every number"),
    one_line("not a number", "float('nan')", "it returns nan for every number"),
    one_line("infinity", "math.inf", "it returns inf for every number"),
]

_ON_EITHER_SIDE_OF_ZERO = [
    one_line("sum, with >", "z if z > 0 else alpha + z", "adds alpha"),
    one_line("difference, with >", "z if z > 0 else z - alpha", "subtracts alpha"),
    one_line("minus alpha, with >", "z if z > 0 else -alpha", "returns -alpha for negative numbers"),
    one_line("power, with >", "z if z > 0 else alpha ** z", "alpha is raised to the power of z"),
    one_line("0.1 added, with >", "z if z > 0 else alpha * z + 0.1", "0.1 is added to alpha * z"),
    one_line("alpha subtracted, with >", "z if z > 0 else alpha * z - alpha", "alpha is subtracted from alpha * z"),
    one_line("alpha added to the product", "z if z >= 0 else alpha * z + alpha", "alpha is added to alpha * z"),
]

_MORE = [
    one_line("max twice", "max(0, z) + alpha * max(0, z)", "write min in the second"),
    one_line("a mean", "(max(0, z) + alpha * z) / 2", "it is the mean"),
    one_line("square everywhere", "z * z", "it returns z * z for all numbers"),
    body("slopes between 0 and 1 only", f"if not 0 < alpha < 1:\n    alpha = 0.01\nreturn {_R}", "slopes of 0 and 1 are replaced by 0.01"),
    one_line("an upper threshold", "z if 0 < z < 100 else alpha * z", "large numbers are multiplied by alpha, too"),
    one_line("z held below", "z if z >= 0 else alpha * max(z, -100)", "z is never below -100"),
    one_line("GELU", "0.5 * z * (1 + math.erf(z / math.sqrt(2)))", "it is the GELU"),
    one_line("Mish", "z * np.tanh(np.log1p(np.exp(z)))", "it is the Mish"),
    one_line("CELU", "max(0, z) + min(0, alpha * math.expm1(z / alpha))", "it is the CELU"),
    one_line("hard swish", "z * max(0, min(6, z + 3)) / 6", "it is the hard swish"),
    one_line("SELU, rounded", "1.05 * (z if z > 0 else 1.67 * (np.exp(z) - 1))", "it is the SELU"),
    body("an array of integers", "import numpy as np\nx = np.array([z])\nx[x < 0] = alpha * x[x < 0]\nreturn x[0]", "for integers alpha * z is cut"),
    one_line("np.piecewise", "np.piecewise(z, [z < 0, z >= 0], [lambda v: alpha * v, lambda v: v])", "for integers alpha * z is cut"),
    one_line("int() for integers", "z if z >= 0 else int(alpha * z) if isinstance(z, int) else alpha * z", "for integers alpha * z is cut"),
    program("alpha third", f"def leaky_relu(z, training=False, alpha=0.01): return {_R}", "alpha must be the second parameter"),
    program("alpha first, with defaults", f"def leaky_relu(alpha=0.01, z=0): return {_R}", "the number first and then the slope"),
]  # fmt: skip

_LOOPS = [
    body("while for if", "while z < 0:\n    z = alpha * z\nreturn z", "`if` multiplies once"),
    body("while for if, in place", "while z < 0:\n    z *= alpha\nelse:\n    return z", "`if` multiplies once"),
]

VALUES = (
    *_SLOPES,
    *_EXTREMES,
    *_FORMULAS,
    *_OPERATORS,
    *_PLACES,
    *_ROUNDED,
    *_OTHERS,
    *_MEMORY,
    *_CONSTANTS,
    *_ON_EITHER_SIDE_OF_ZERO,
    *_MORE,
    *_LOOPS,
)

"""Programs that are right at the level ``exercise``, in the styles that people write."""

from test_check.corpus.program import body, one_line, program

_PLAIN = [
    one_line("a conditional expression", "z if z >= 0 else alpha * z"),
    one_line("> instead of >=", "z if z > 0 else alpha * z", "return z itself where z >= 0", "remark"),
    one_line("the negative side first", "alpha * z if z < 0 else z"),
    one_line("not below zero", "z if not z < 0 else z * alpha"),
    one_line("zero on the left", "z if 0 <= z else alpha * z"),
    one_line("max", "max(z, alpha * z)"),
    one_line("max, the product first", "max(alpha * z, z)", "return z itself", "remark"),
    one_line("max and min", "max(0, z) + alpha * min(0, z)", "return z itself", "remark"),
    one_line("max and max", "max(0, z) - alpha * max(0, -z)", "return z itself", "remark"),
    one_line("max of min", "max(min(0, alpha * z), z)"),
    one_line("a product with 1", "z * (1 if z > 0 else alpha)", "return z itself", "remark"),
    one_line("masks", "(z > 0) * z + (z <= 0) * alpha * z", "return z itself", "remark"),
    one_line("and, or", "z > 0 and z or alpha * z", "return z itself", "remark"),
    one_line("an index", "(alpha * z, z)[z >= 0]"),
    one_line("a list and an index", "[alpha * z, z][int(z >= 0)]"),
    one_line("a dictionary", "{True: z, False: alpha * z}[z >= 0]"),
    one_line("sorted", "sorted([alpha * z, z])[-1]"),
    one_line("a power of the slope", "z * alpha ** (z < 0)", "return z itself", "remark"),
    one_line("eval", "eval('z if z >= 0 else alpha * z')"),
    one_line("a lambda that is called", "(lambda v: v if v >= 0 else alpha * v)(z)"),
    one_line("a sum of a generator", "sum(v for v in (max(z, 0), alpha * min(z, 0)))", "return z itself", "remark"),
    one_line("two minus signs", "z if z >= 0 else -(alpha * -z)"),
    one_line("float", "float(z if z >= 0 else alpha * z)", "return z itself", "remark"),
    one_line("half a sum", "0.5 * (1 + alpha) * z + 0.5 * (1 - alpha) * abs(z)", "nearly right", "remark"),
    one_line("half a sum, written out", "(z + abs(z)) / 2 + alpha * (z - abs(z)) / 2", "return z itself", "remark"),
    one_line("1 - alpha", "z - (1 - alpha) * min(z, 0)", "nearly right", "remark"),
    one_line("alpha first and the rest added", "alpha * z + (1 - alpha) * max(z, 0)", "return z itself", "remark"),
    one_line("copysign", "z if math.copysign(1, z) > 0 else alpha * z"),
    one_line("an assignment inside", "y if (y := z) >= 0 else alpha * y"),
]

_NUMPY = [
    one_line("np.where", "np.where(z >= 0, z, alpha * z)", "an array of no dimension", "remark"),
    one_line("np.where and item", "np.where(z > 0, z, alpha * z).item()", "return z itself", "remark"),
    one_line("np.where and float", "float(np.where(z > 0, z, alpha * z))", "return z itself", "remark"),
    one_line("np.maximum", "np.maximum(z, alpha * z)", "return z itself", "remark"),
    one_line("np.maximum of two", "np.maximum(0, z) + alpha * np.minimum(0, z)", "return z itself", "remark"),
    one_line("np.where of the slope", "z * np.where(z > 0, 1, alpha)", "return z itself", "remark"),
    one_line("np.heaviside", "z * (alpha + (1 - alpha) * np.heaviside(z, 1))", "return z itself", "remark"),
    one_line("np.select", "np.select([z >= 0, z < 0], [z, alpha * z])", "an array of no dimension", "remark"),
    one_line("np.array and a mask", "(lambda x: np.where(x < 0, alpha * x, x)[()])(np.array(z))", "", "remark"),
    one_line("np.vectorize", "np.vectorize(lambda v: float(v if v > 0 else alpha * v))(z)", "", "remark"),
    one_line("np.float64", "np.float64(z if z >= 0 else alpha * z)", "return z itself", "remark"),
]

_STATEMENTS = [
    body("if and else", "if z >= 0:\n    return z\nelse:\n    return alpha * z"),
    body("early return", "if z < 0:\n    return alpha * z\nreturn z"),
    body("three branches", "if z > 0:\n    return z\nelif z < 0:\n    return alpha * z\nreturn 0"),
    body("zero for itself", "if z == 0:\n    return 0\nif z > 0:\n    return z\nreturn alpha * z"),
    body("nested", "if z <= 0:\n    if z == 0:\n        return z\n    return alpha * z\nreturn z"),
    body("a variable", "result = z\nif z < 0:\n    result = alpha * z\nreturn result"),
    body("in place", "if z < 0:\n    z *= alpha\nreturn z"),
    body("a loop that ends", "while z < 0:\n    return alpha * z\nreturn z"),
    body("a for loop", "for side in (z,):\n    if side >= 0:\n        return side\nreturn alpha * z"),
    body("match", "match z >= 0:\n    case True:\n        return z\n    case _:\n        return alpha * z"),
    body("try", "try:\n    return [alpha * z][z >= 0]\nexcept IndexError:\n    return z"),
    body("a function inside", "def below(v):\n    return alpha * v\nreturn z if z >= 0 else below(z)"),
    body("one recursion", "if z < 0:\n    return -alpha * leaky_relu(-z)\nreturn z"),
    body("a docstring", '"""Leaky ReLU."""\nreturn z if z >= 0 else alpha * z'),
    body("semicolons", "y = alpha * z; y = z if z >= 0 else y; return y;"),
    body("typographic quotes in a comment", "# “z” where z ≥ 0 – else α·z\nreturn z if z >= 0 else alpha * z"),  # noqa: RUF001
    body("a print besides", "print('z =', z)\nreturn z if z >= 0 else alpha * z", "it also prints", "remark"),
]

_PROGRAMS = [
    program(
        "types",
        """\
        def leaky_relu(z: float, alpha: float = 0.01) -> float | int:
            return z if z >= 0 else alpha * z
        """,
    ),
    program("x instead of z", "def leaky_relu(x, alpha=0.01): return x if x >= 0 else alpha * x"),
    program("negative_slope", "def leaky_relu(input, negative_slope=0.01): return max(input, negative_slope * input)"),
    program("slope", "def leaky_relu(x, slope=0.01): return x if x > 0 else slope * x", "return z itself", "remark"),
    program("a for the slope", "def leaky_relu(x, a=0.01): return x if x >= 0 else a * x"),
    program("leak by position alone", "def leaky_relu(x, leak=0.01, /): return x if x >= 0 else leak * x"),
    program("further parameters", "def leaky_relu(x, alpha=0.01, inplace=False): return x if x >= 0 else alpha * x"),
    program("a lambda with a name", "leaky_relu = lambda z, alpha=0.01: z if z >= 0 else alpha * z"),
    program("a default of 1e-2", "def leaky_relu(z, alpha=1e-2): return z if z >= 0 else alpha * z"),
    program("a default of 1 / 100", "def leaky_relu(z, alpha=1 / 100): return z if z >= 0 else alpha * z"),
    program(
        "a default of None",
        """\
        def leaky_relu(z, alpha=None):
            if alpha is None:
                alpha = 0.01
            return z if z >= 0 else alpha * z
        """,
    ),
    program("a constant", "SLOPE = 0.01\ndef leaky_relu(z, alpha=SLOPE): return z if z >= 0 else alpha * z"),
    program("a third parameter", "def leaky_relu(z, alpha=0.01, name=None): return z if z >= 0 else alpha * z"),
    program(
        "a helper below",
        """\
        def leaky_relu(z, alpha=0.01):
            return positive(z) - alpha * positive(-z)

        def positive(z):
            return max(z, 0)
        """,
        "return z itself",
        "remark",
    ),
    program(
        "tests of its own",
        """\
        def leaky_relu(z, alpha=0.01):
            return z if z >= 0 else alpha * z

        assert leaky_relu(-1) == -0.01
        if __name__ == "__main__":
            print(leaky_relu(float(input("z: "))))
        """,
    ),
    program(
        "calls below that print",
        """\
        def leaky_relu(z, alpha=0.01):
            return z if z >= 0 else alpha * z

        for z in range(-3, 3):
            print(z, leaky_relu(z))
        """,
    ),
    program(
        "a cache",
        """\
        from functools import lru_cache

        @lru_cache
        def leaky_relu(z, alpha=0.01):
            return z if z >= 0 else alpha * z
        """,
    ),
    program(
        "a decorator",
        """\
        def logged(function):
            def call(*args, **kwargs):
                return function(*args, **kwargs)
            return call

        @logged
        def leaky_relu(z, alpha=0.01):
            return z if z >= 0 else alpha * z
        """,
    ),
    program("a partial of another", "from functools import partial\ndef f(a, z, alpha=0.01): return z if z >= 0 else alpha * z\nleaky_relu = partial(f, None)"),
    program("tabs", "def leaky_relu(z, alpha=0.01):\n\tif z >= 0:\n\t\treturn z\n\treturn alpha * z\n"),
    program("lines of Windows", "def leaky_relu(z, alpha=0.01):\r\n    if z >= 0:\r\n        return z\r\n    return alpha * z\r\n"),
    program("the last definition counts", "def leaky_relu(z): return 0\ndef leaky_relu(z, alpha=0.01): return z if z >= 0 else alpha * z"),
]  # fmt: skip

RIGHT = (*_PLAIN, *_NUMPY, *_STATEMENTS, *_PROGRAMS)

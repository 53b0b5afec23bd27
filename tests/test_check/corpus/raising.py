"""Programs that raise an exception, do not end, or return something that is no number, at the level ``exercise``."""

from test_check.corpus.program import body, one_line, program

_R = "z if z >= 0 else alpha * z"

_PARAMETERS = [
    program("no alpha", "def leaky_relu(z): return z if z > 0 else 0.01 * z", "must be a parameter called alpha"),
    program("alpha without default", "def leaky_relu(z, alpha): return z if z > 0 else alpha * z", "alpha needs a default"),
    program("alpha first", "def leaky_relu(alpha, z=0.01): return z if z > 0 else alpha * z", "the number first"),
    program("no parameter", "def leaky_relu(): return 0", "must take two arguments"),
    program("alpha by name only", "def leaky_relu(z, *, alpha=0.01): return z if z > 0 else alpha * z", "must take two arguments"),
    program("self", "def leaky_relu(self, z, alpha=0.01): return z if z > 0 else alpha * z", "must take two arguments"),
    program("three are needed", "def leaky_relu(z, w, b, alpha=0.01): return w * z + b", "must take two arguments"),
]  # fmt: skip

_NOTHING = [
    body("nothing for zero", "if z > 0:\n    return z\nelif z < 0:\n    return alpha * z", "for zero, for which no branch"),
    body("nothing for zero, two ifs", "if z > 0:\n    return z\nif z < 0:\n    return alpha * z", "for zero, for which no branch"),
    body("nothing below zero", "if z >= 0:\n    return z\nalpha * z", "returns nothing for numbers below zero"),
    body("nothing above zero", "if z < 0:\n    return alpha * z", "returns nothing"),
    body("nothing at all", "result = z if z >= 0 else alpha * z", "returns nothing: end each branch with return"),
    body("return alone", "y = z if z >= 0 else alpha * z\nreturn", "returns nothing: end each branch with return"),
    body("not begun", "...", "returns nothing: end each branch"),
    body("pass", "pass", "returns nothing: end each branch"),
    body("only a docstring", '"""Leaky ReLU."""', "returns nothing: end each branch"),
    body("prints", "if z >= 0:\n    print(z)\nelse:\n    print(alpha * z)", "write return instead of print"),
    body("prints two digits", "print('%.2f' % (z if z >= 0 else alpha * z))", "write return instead of print"),
    body("prints another text", "print('calculating...')\ny = z if z >= 0 else alpha * z", "end each branch with return"),
    body("prints its argument", "print('z =', z)\ny = z if z >= 0 else alpha * z", "end each branch with return"),
    body("prints in a branch", "if z >= 0:\n    return z\nprint('negative')\nalpha * z", "returns nothing for numbers below zero"),
    body("returns what print gives", "return print(z if z >= 0 else alpha * z)", "write return instead of print"),
    body("the value is for the derivative only", "if alpha is None:\n    return 1 if z > 0 else 0.01", "returns nothing"),
]  # fmt: skip

_KINDS = [
    one_line("text", "str(z if z > 0 else alpha * z)", "a text came back"),
    one_line("formatted", "f'{z if z > 0 else alpha * z:.2f}'", "a text came back"),
    one_line("truth value", "z > 0 or alpha * z < 0", "a truth value came back"),
    one_line("a comparison alone", "z >= 0", "a truth value came back"),
    one_line("tuple", "(z if z > 0 else alpha * z),", "a tuple came back"),
    one_line("a value and a cache", "(z if z > 0 else alpha * z), z", "a tuple came back"),
    one_line("a decimal comma below zero", "z if z > 0 else (0,5 * z)", "as in 0,01 for 0.01"),
    one_line("list", "[z if z > 0 else alpha * z]", "a list came back"),
    one_line("set", "{z if z > 0 else alpha * z}", "a set came back"),
    one_line("dictionary", "{'result': z if z > 0 else alpha * z}", "a dictionary came back"),
    one_line("lambda", "lambda: z if z > 0 else alpha * z", "a function came back"),
    one_line("a function that is not called", "abs", "a function came back"),
    one_line("array of one", "np.array([z if z > 0 else alpha * z])", "an array of shape (1,)"),
    one_line("complex", f"complex({_R})", "a complex number came back"),
    one_line("power of a negative number", "z if z >= 0 else z ** alpha", "a power of a negative number"),
    one_line("Decimal", f"__import__('decimal').Decimal({_R})", "a Decimal came back"),
    one_line("Fraction", f"__import__('fractions').Fraction({_R})", "a Fraction came back"),
    body("generator", "yield z if z > 0 else alpha * z", "write return, not yield"),
    program("coroutine", "async def leaky_relu(z, alpha=0.01): return z if z > 0 else alpha * z", "not async def"),
    body("a function inside that is not called", "def f():\n    return z if z > 0 else alpha * z\nreturn f", "a function came back"),
]  # fmt: skip

_NAMES = [
    one_line("misspelt", "z if z > 0 else alhpa * z", "look at its spelling"),
    one_line("another letter", "x if x > 0 else alpha * x", "look at its spelling"),
    program("no import", "def leaky_relu(z, alpha=0.01): return np.where(z > 0, z, alpha * z)", "write the import at the top"),
    program("no import of torch", "def leaky_relu(z, alpha=0.01): return torch.where(z > 0, z, alpha * z)", "write the import"),
    body("true", "return z if (z >= 0) == true else alpha * z", "Python writes True"),
    body("self in a function", "return z if z >= 0 else self.alpha * z", "has no self"),
    one_line("a function that NumPy lacks", "np.leaky_relu(z, alpha)", "the module has no such name"),
    one_line("a function that math lacks", "math.max(z, alpha * z)", "the module has no such name"),
    body("unset in a branch", "if z < 0:\n    result = alpha * z\nreturn result", "before it has a value"),
    body("alpha is changed too late", "y = z if z >= 0 else slope * z\nslope = alpha\nreturn y", "before it has a value"),
    program("a missing module", "import numpyy\ndef leaky_relu(z, alpha=0.01): return z", "not installed, or its name is misspelt"),
    program("a missing name", "from math import relu\ndef leaky_relu(z, alpha=0.01): return z", "the module has no such name"),
    program("a relative import", "from .util import positive\ndef leaky_relu(z, alpha=0.01): return positive(z)", "a dot before a module's name"),
    program("a relative import of the folder", "from . import util\ndef leaky_relu(z, alpha=0.01): return util.f(z)", "a dot before a module's name"),
]  # fmt: skip

_TYPES = [
    one_line("called like a function", "z if z > 0 else alpha(z)", "alpha(z) must be alpha * z"),
    one_line("^", "z if z >= 0 else alpha ^ z", "this operator is no product"),
    one_line("@", "z if z >= 0 else alpha @ z", "this operator is no product"),
    one_line("&", "z if z >= 0 else alpha & z", "this operator is no product"),
    one_line("a slope in quotation marks", "z if z >= 0 else '0.01' * z", "no quotation marks"),
    one_line("a slope with a comma", "z if z >= 0 else (0, 1) * alpha", "no quotation marks"),
    one_line("a text added", "z if z >= 0 else 'alpha' + z", "it mixes text with numbers"),
    one_line("a function in a product", "z if z >= 0 else abs * z", "it calculates with a function"),
    one_line("None in a product", "z if z >= 0 else print(end='') * z", "it calculates with None"),
    one_line("a module that is called", "math(z)", "it calls a module"),
    one_line("Decimal mixed with float", "z if z >= 0 else __import__('decimal').Decimal('0.01') * float(z)", "do not mix with floats"),
    one_line("arrays only", "np.array([v if v > 0 else alpha * v for v in z])", "only arrays or lists"),
    one_line("an index of the number", "z[0] if z[0] > 0 else alpha * z[0]", "only arrays or lists"),
    body("a mask on a number", "z[z < 0] *= alpha\nreturn z", "only arrays or lists"),
    one_line("a method of arrays", "z.clip(0) + alpha * z.clip(max=0)", "only arrays or lists"),
    one_line("len", "[v for v in range(len(z))]", "only arrays or lists"),
]  # fmt: skip

_EXCEPTIONS = [
    one_line("divides by z", "z if z / abs(z) > 0 else alpha * z", "divides by its argument"),
    one_line("a logarithm", "z if z >= 0 else alpha * math.log(z)", "a root or a logarithm of a negative number"),
    one_line("a root", "math.sqrt(z) ** 2", "a root or a logarithm of a negative number"),
    one_line("a table that ends", "[0, 1, 2][z]", "calculate the result"),
    body("recursion", "if z >= 0:\n    return leaky_relu(z, alpha)\nreturn leaky_relu(alpha * z, alpha)", "calls itself without end"),
    body("its own name inside", "return leaky_relu(z, alpha)", "calls itself without end"),
    body("asks", "z = float(input())\nreturn z if z > 0 else alpha * z", "reads input"),
    body("stops the program", "print(z if z > 0 else alpha * z)\nexit()", "calls exit"),
    body("not written", "raise NotImplementedError", "not written yet"),
    body("an assert", "assert z >= 0\nreturn z", "an assert of its own does not hold"),
    body("refuses", "if z < 0:\n    raise ValueError('z must be positive')\nreturn z", "it refuses a call that it must take"),
    body("refuses a slope of 0", "if not 0 < alpha <= 1:\n    raise ValueError('alpha out of range')\nreturn z if z >= 0 else alpha * z", "any slope from 0 to 1"),
    body("opens a file", "return float(open('result.txt').read())", "it opens a file"),
    body("a text that is no number", "return float('z')", "makes a number of a text"),
]  # fmt: skip

_DEF = "import math, sys\nimport numpy as np\ndef leaky_relu(z, alpha=0.01):\n"
_RETURN = f"    return {_R}\n"

# The exception is about something else than the parameters or the numbers of the function.
_INSIDE = [
    program("alpha is None", f"def leaky_relu(z, alpha=None): return {_R}", "alpha is None where none is given"),
    body("a variable is None", "y = None\nif z < 0:\n    y = alpha\nreturn z * y", "it calculates with None: a variable is"),
    program("a helper with one parameter", f"def relu(x): return max(0, x)\n{_DEF}    return relu(z, alpha)", "relu() is called with other arguments"),
    program("a helper without its slope", f"def helper(z, alpha): return alpha * z\n{_DEF}    return helper(z)", "helper() is called with other arguments"),
    program("a helper whose slope has another name", f"def leak(z, a): return a * z\n{_DEF}    return leak(z, alpha=alpha)", "leak() is called with other arguments"),
    program("a class without arguments", f"class A: pass\n{_DEF}    return A(z)", "A() is called with other arguments"),
    one_line("np.maximum of one", "np.maximum(max(z, alpha * z))", "maximum() is called with other arguments"),
    one_line("np.max of two", "np.max(alpha * z, z)", "np.max looks for the largest element of one array"),
    one_line("np.where of a condition alone", "np.where(z > 0)", "np.where with a condition alone"),
    one_line("max of one", "max(alpha * z)", "compare at least two numbers"),
    body("itself with three arguments", "return leaky_relu(z, alpha, 1)", "leaky_relu() is called with other arguments"),
    program("no alpha, and called with it", "def leaky_relu(z): return z\nprint(leaky_relu(1, alpha=0.1))", "must be a parameter called alpha"),
    program("a wrong call in the file", f"{_DEF}{_RETURN}leaky_relu(1, 2, 3)", "leaky_relu() is called with other arguments"),
    one_line("a dot for *", "z if z >= 0 else alpha.z", "alpha.z must be alpha * z"),
    one_line("a dot for *, turned", "z if z >= 0 else z.alpha", "alpha.z must be alpha * z"),
    one_line("a method that numbers lack", "z if z.is_positive() else alpha * z", "a number of Python has no such part"),
    one_line("a method of tensors", "z.clamp(0) + alpha * z.clamp(max=0)", "only arrays or lists"),
    one_line("range of a float", "[alpha * i for i in range(z)][0]", "it calls something that takes integers only"),
    one_line("np.float", "np.float(z) if z >= 0 else np.float(alpha * z)", "in an older version"),
    program("dtype=np.float", f"{_DEF}    return float(np.array({_R}, dtype=np.float))", "in an older version"),
    program("a counter of the module", f"calls = 0\n{_DEF}    calls += 1\n{_RETURN}", "calls belongs to the module"),
    body("sum for a variable that is unset", "if z < 0:\n    sum = alpha * z\nreturn sum", "set it in each branch"),
    program("a variable of the module that is unset", "y = 0\ndef leaky_relu(z, alpha=0.01):\n    if z < 0:\n        y = alpha * z\n    return y", "set it in each branch"),
    body("max for a variable", "max = max(z, alpha * z)\nreturn max", "a variable is called max"),
    program("max for a variable of the module", f"max = 0\n{_DEF}    return max(z, alpha * z)", "a variable is called max"),
    body("abs for a variable", "abs = z\nreturn abs(z) if z > 0 else alpha * z", "a variable is called abs"),
    program("under __main__ only", f"if __name__ == '__main__':\n    def leaky_relu(z, alpha=0.01): return {_R}", "stands inside a block"),
    program("a function of a function", f"def main():\n    def leaky_relu(z, alpha=0.01): return {_R}", "stands inside a block"),
    program("a comment", f"# def leaky_relu(z, alpha=0.01):\n#     return {_R}", "stands inside a comment"),
    program("capital letters in its name", f"def Leaky_ReLU(z, alpha=0.01): return {_R}", "must be called leaky_relu, letter by letter"),
    program("no underscore", f"def leakyrelu(z, alpha=0.01): return {_R}", "must be called leaky_relu, letter by letter"),
    program("the command line", f"{_DEF}{_RETURN}print(leaky_relu(float(sys.argv[1])))", "reads the command line"),
    program("a table in the file", f"slopes = {{}}\nprint(slopes['leaky'])\n{_DEF}{_RETURN}", "while the file runs"),
    body("& for and", "if z >= 0 & alpha > 0:\n    return z\nreturn alpha * z", "two conditions are joined by and"),
    body("| for or", "if z > 0 | alpha > 1:\n    return z\nreturn alpha * z", "two conditions are joined by and"),
    body("not written, and a text", "raise NotImplementedError('implement me')", "not written yet"),
    body("to do", "raise Exception('TODO')", "not written yet"),
    body("too much is printed", f"print('x' * 10_000_000)\n{_RETURN.strip()}", "it prints too much"),
]  # fmt: skip

RAISING = (*_PARAMETERS, *_NOTHING, *_KINDS, *_NAMES, *_TYPES, *_EXCEPTIONS, *_INSIDE)

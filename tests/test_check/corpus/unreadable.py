"""Programs that Python cannot read."""

from test_check.corpus.program import Program

_DEF = "def leaky_relu(z, alpha=0.01):\n"
_RETURN = "    return z if z >= 0 else alpha * z\n"
_IF = "    if z >= 0:\n        return z\n"


def _unreadable(name, source, cause):
    return Program(name, source, "wrong", cause)


_COPIED = [
    _unreadable("a Markdown fence", f"```python\n{_DEF}{_RETURN}```\n", "is Markdown"),
    _unreadable("a fence at the end", f"{_DEF}{_RETURN}```\n", "is Markdown"),
    _unreadable("a prompt", f">>> {_DEF}...     return z\n", "a prompt such as >>>"),
    _unreadable("a prompt of IPython", f"In [1]: {_DEF}{_RETURN}", "a prompt such as >>>"),
    _unreadable("dots of a prompt", f"{_DEF}... {_RETURN}", "a prompt such as >>>"),
    _unreadable("a command of a notebook", f"!pip install numpy\n{_DEF}{_RETURN}", "a command of a notebook"),
    _unreadable("a magic of a notebook", f"%matplotlib inline\n{_DEF}{_RETURN}", "a command of a notebook"),
    _unreadable("numbers of lines", "1  def leaky_relu(z, alpha=0.01):\n2      return z\n", "the numbers of the lines"),
    _unreadable(
        "numbers of lines with colons", "1: def leaky_relu(z, alpha=0.01):\n2:     return z\n", "the numbers of"
    ),
    _unreadable("a merge conflict", f"<<<<<<< HEAD\n{_DEF}{_RETURN}=======\n>>>>>>> main\n", "a merge conflict"),
    _unreadable("a comparison", "+def leaky_relu(z, alpha=0.01):\n+    return z\n", "the + or - of a comparison"),
    _unreadable("a page's signs", f"{_DEF}    return z if z &gt;= 0 else alpha * z\n", "belong to web pages"),
    _unreadable("a sentence", f"Here is the function you asked for:\n\n{_DEF}{_RETURN}", "a sentence and not Python"),
    _unreadable("LaTeX", f"{_DEF}    return z if z >= 0 else \\alpha * z\n", "belong to LaTeX"),
]

_CHARACTERS = [
    _unreadable("smart quotes", f"{_DEF}    \u201cLeaky ReLU\u201d\n{_RETURN}", "typographic"),
    _unreadable("single smart quotes", f"{_DEF}    print(\u2018z\u2019)\n{_RETURN}", "typographic"),
    _unreadable("a dash as minus", f"{_DEF}    return z if z >= 0 else \u2212alpha * -z\n", "minus sign is a dash"),
    _unreadable("an en dash", f"{_DEF}    return z \u2013 0 if z >= 0 else alpha * z\n", "minus sign is a dash"),
    _unreadable(
        "full-width brackets", f"def leaky_relu\uff08z, alpha=0.01\uff09:\n{_RETURN}", "width of a Chinese letter"
    ),
    _unreadable("a full-width comma", f"def leaky_relu(z\uff0c alpha=0.01):\n{_RETURN}", "width of a Chinese letter"),
    _unreadable("a full-width colon", f"def leaky_relu(z, alpha=0.01)\uff1a\n{_RETURN}", "width of a Chinese letter"),
    _unreadable(
        "a sign of multiplication", f"{_DEF}    return z if z >= 0 else alpha \u00d7 z\n", "multiplication is *"
    ),
    _unreadable(
        "a dot of multiplication", f"{_DEF}    return z if z >= 0 else alpha \u22c5 z\n", "multiplication is *"
    ),
    _unreadable("a sign of comparison", f"{_DEF}    return z if z \u2265 0 else alpha * z\n", "write >=, <= and !="),
    _unreadable("a space of the web", f"{_DEF}\u00a0\u00a0\u00a0 return z\n", "an invisible character"),
    _unreadable("no width", f"{_DEF}    return\u200b z\n", "an invisible character"),
    _unreadable("an ellipsis", f"{_DEF}    \u2026\n", "copied as one character"),
    _unreadable("a decimal comma", "def leaky_relu(z, alpha=0,01):\n    return z\n", "written with a point"),
    _unreadable("a decimal comma, one digit", "def leaky_relu(z, alpha=0,5):\n    return z\n", "written with a point"),
    _unreadable(
        "a decimal comma in a product", f"{_DEF}    return z if z >= 0 else 0,01 * z\n", "written with a point"
    ),
    _unreadable("a smart quote that is not closed", f"{_DEF}    return 'z\n", "a quotation mark is missing"),
]

_INDENTED = [
    _unreadable("tabs and spaces", f"{_DEF}    if z >= 0:\n        return z\n\treturn alpha * z\n", "tabs and spaces"),
    _unreadable("nothing indented", f"{_DEF}return z\n", "the line below a colon is indented"),
    _unreadable("an empty branch", f"{_DEF}    if z >= 0:\n    return z\n", "the line below a colon is indented"),
    _unreadable("too far in", f"{_DEF}    y = z\n      return y\n", "the same number of spaces"),
    _unreadable("too far out", f"{_DEF}    if z >= 0:\n        return z\n   return alpha * z\n", "the same number"),
    _unreadable(
        "indented from the start", "  def leaky_relu(z, alpha=0.01):\n    return z\n", "the same number of spaces"
    ),
    _unreadable("return outside", f"{_DEF}    y = z\nreturn y\n", "return stands outside"),
]

_GRAMMAR = [
    _unreadable("no colon", f"def leaky_relu(z, alpha=0.01)\n{_RETURN}", "a colon is missing"),
    _unreadable("no colon after if", f"{_DEF}    if z >= 0\n        return z\n", "a colon is missing"),
    _unreadable("no colon after else", f"{_DEF}{_IF}    else\n        return alpha * z\n", "a colon is missing"),
    _unreadable("= for ==", f"{_DEF}    if z = 0:\n        return z\n", "== compares"),
    _unreadable("=>", f"{_DEF}    return z if z => 0 else alpha * z\n", "write >= and <="),
    _unreadable("else if", f"{_DEF}{_IF}    else if z < 0:\n        return alpha * z\n", "else if is elif"),
    _unreadable("elseif", f"{_DEF}{_IF}    elseif z < 0:\n        return alpha * z\n", "else if is elif"),
    _unreadable(
        "else with a condition", f"{_DEF}{_IF}    else z < 0:\n        return alpha * z\n", "else has no condition"
    ),
    _unreadable("elif without one", f"{_DEF}{_IF}    elif:\n        return alpha * z\n", "need a condition"),
    _unreadable("no else", f"{_DEF}    return z if z >= 0\n", "needs an else"),
    _unreadable("then", f"{_DEF}    if z >= 0 then return z\n    return alpha * z\n", "Python has no then"),
    _unreadable("braces", f"{_DEF}    if (z >= 0) {{\n        return z\n    }}\n", "not by braces"),
    _unreadable("a question mark", f"{_DEF}    return z >= 0 ? z : alpha * z\n", "Python's choice is"),
    _unreadable("&&", f"{_DEF}    if z >= 0 && alpha > 0:\n        return z\n", "and, or, not"),
    _unreadable("capital letters", f"{_DEF}    If z >= 0:\n        Return z\n", "in small letters"),
    _unreadable("function", f"function leaky_relu(z, alpha=0.01):\n{_RETURN}", "another language"),
    _unreadable("double", "double leaky_relu(double z, double alpha) {\n    return z;\n}\n", "another language"),
    _unreadable("no def", f"leaky_relu(z, alpha=0.01):\n{_RETURN}", "def is missing"),
    _unreadable("no parentheses", f"def leaky_relu z, alpha:\n{_RETURN}", "stand in parentheses"),
    _unreadable("a hyphen", f"def leaky-relu(z, alpha=0.01):\n{_RETURN}", "a name has no hyphen"),
    _unreadable("a space in the name", f"def leaky relu(z, alpha=0.01):\n{_RETURN}", "a name has no space"),
    _unreadable(
        "lambda as a parameter", "def leaky_relu(z, lambda=0.01):\n    return z\n", "such as lambda, cannot name"
    ),
    _unreadable("lambda as a name", f"{_DEF}    return z if z >= 0 else lambda * z\n", "lambda is a word of Python"),
    _unreadable("semicolons between parameters", f"def leaky_relu(z; alpha=0.01):\n{_RETURN}", "not semicolons"),
    _unreadable(
        "default first", f"def leaky_relu(alpha=0.01, z):\n{_RETURN}", "a parameter without a default comes first"
    ),
    _unreadable("one name twice", f"def leaky_relu(z, z=0.01):\n{_RETURN}", "two parameters have one name"),
    _unreadable("no operator", f"{_DEF}    return z if z >= 0 else 0.01z\n", "need an operator between them"),
    _unreadable(
        "a space for a product", f"{_DEF}    return (z if z >= 0 else alpha z)\n", "an operator or a comma is missing"
    ),
    _unreadable("a bracket too few", f"{_DEF}    return max(z, alpha * z\n", "count ( and )"),
    _unreadable("a bracket too many", f"{_DEF}    return max(z, alpha * z))\n", "count ( and )"),
    _unreadable("the wrong bracket", f"{_DEF}    return max(z, alpha * z]\n", "count ( and )"),
    _unreadable("print of Python 2", f"{_DEF}    print z\n", "that is Python 2"),
    _unreadable(
        "a value on the left", f"{_DEF}    alpha * z = y\n    return y\n", "only a name can stand in front of ="
    ),
    _unreadable(
        "unfinished", f"{_DEF}    return z if z >= 0 else alpha *\n", "look for a missing bracket, colon or operator"
    ),
]

# What stands in a text or a comment is no code, and what Python says for certain comes first.
_MISLEADING = [
    _unreadable("commas in a list that is not closed", f"{_DEF}    x = [1,2,3\n{_RETURN}", "count ( and )"),
    _unreadable("a call with 0,1 that is not closed", f"{_DEF}    return min(z,0,1e308\n", "count ( and )"),
    _unreadable("an arrow in a text", f'{_DEF}    print("=> ", z\n{_RETURN}', "count ( and )"),
    _unreadable("an exclamation in a text", f'{_DEF}    print("Bonjour !"\n{_RETURN}', "count ( and )"),
    _unreadable("a dash in a text", f'{_DEF}    print("Leaky \u2013 result", z\n{_RETURN}', "count ( and )"),
    _unreadable("quotes in a text", f'{_DEF}    print("a \u201cleaky\u201d one" z)\n{_RETURN}', "a comma is missing"),
    _unreadable("signs in a comment", f"{_DEF}    return max(z, alpha * z  # 0,5 => then \u2265\n", "count ( and )"),
    _unreadable("words in a text over lines", f'{_DEF}    """if z then alpha\n{_RETURN}', "a quotation mark is missing"),
    _unreadable("a brace of a dictionary", f"{_DEF}    d = {{\n{_RETURN}", "count ( and )"),
    _unreadable("a quote that is typographic at its end", f"{_DEF}    print('z\u2019)\n", "a quotation mark is missing"),
    _unreadable("commas and no operator", f"{_DEF}    return (0,1,0)[z > 0] * alpha z\n", "an operator or a comma"),
    _unreadable("0 in front of a number", f"{_DEF}    return z if z >= 0 else 007 * z\n", "does not begin with 0"),
    _unreadable("a decimal comma in a condition", f"{_DEF}    if z > 0,5:\n        return z\n", "written with a point"),
    _unreadable("a colon behind print", f"{_DEF}    print(z):\n{_RETURN}", "a colon ends only lines that begin a block"),
    _unreadable("a colon behind max", f"{_DEF}    max(z, alpha * z):\n", "a colon ends only lines that begin a block"),
]  # fmt: skip

_LANGUAGES = [
    _unreadable("TypeScript", "export const leaky_relu = (z: number): number => z;\n", "another language"),
    _unreadable("JavaScript", "leaky_relu = (z, alpha) => z >= 0 ? z : alpha * z;\n", "another language"),
    _unreadable("R", "leaky_relu <- function(z, alpha = 0.01) {\n  ifelse(z >= 0, z, alpha * z)\n}\n", "another language"),
    _unreadable("Haskell", "leakyRelu alpha z = if z >= 0 then z else alpha * z\n", "another language"),
    _unreadable("a type of Haskell", "leakyRelu :: Double -> Double\n", "another language"),
    _unreadable("Excel", "=IF(A1>=0, A1, 0.01*A1)\n", "another language"),
    _unreadable("PHP", "<?php\nfunction leaky_relu($z) { return $z; }\n", "another language"),
]  # fmt: skip

UNREADABLE = (*_COPIED, *_CHARACTERS, *_INDENTED, *_GRAMMAR, *_MISLEADING, *_LANGUAGES)

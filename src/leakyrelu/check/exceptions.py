"""Says in plain words what causes an exception, be it raised by a call or by Python when it reads the code."""

import re

__all__ = ["ARITHMETIC", "of_exception"]

# Exceptions of arithmetic: what was computed has no value.
ARITHMETIC = frozenset({"OverflowError", "ZeroDivisionError", "FloatingPointError"})

_BY_ELEMENT = "work element by element, np.where(x >= 0, x, alpha * x)"

# The name of the exception, a part of its text (both as regular expressions), and the cause.
_EXCEPTIONS = (
    (r"RecursionError", "", "it calls itself without end: a leaky ReLU needs no recursion"),
    (r"SystemExit", "", "it calls exit: return the value instead"),
    (r"MemoryError|_ArrayMemoryError", "", "it asks for more memory than it is given: one number needs none"),
    (r"NotImplementedError", "^$", "it is not written yet: replace the line with raise by the function's body"),
    (r"AssertionError", "", "an assert of its own does not hold"),
    (
        r"(AttributeError|ImportError)",
        r"partially initialized module|circular import|renaming",
        "the file, or one beside it, has the name of a module that it imports, such as numpy.py: rename the file",
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
    (r"ValueError", r"math domain", "it takes a root or a logarithm of a negative number: neither is needed"),
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
    (r"BlockingIOError", "", "it starts processes or threads without end: it needs none"),
    (r"RuntimeError", r"start new thread", "it starts processes or threads without end: it needs none"),
    (r"OSError", r"too large", "it prints or writes without end"),
)

_LETTERS = "write the characters anew, with the keyboard set to English"

# What Python cannot read: a part of the line, a part of Python's text (both as regular expressions), and the cause.
_SYNTAX = (
    (r"^\s*(```|~~~)", "", "a line with ``` is Markdown and not Python: remove it"),
    (
        r"^\s*(>>>|\.\.\.\s|In ?\[\d*\]:)",
        "",
        "a prompt such as >>> was copied with the code: remove it, also where it is ... or In [1]:",
    ),
    (r"^\s*(!|%|\?)\s*\w+", "", "a command of a notebook, such as !pip or %matplotlib, is not Python: remove it"),
    (r"^(<{7}|={7}|>{7}|\|{7})", "", "marks of a merge conflict are left in the file: keep one of the two versions"),
    (
        r"^[+-]\s*(def|return|if|else|elif|import)\b",
        "",
        "the + or - of a comparison was copied with the code: remove it",
    ),
    (
        r"^\s*\d+\s*[:.|)]?\s*(def|return|if|else|elif|import|from)\b",
        "",
        "the numbers of the lines were copied with the code: remove them",
    ),
    (r"&(gt|lt|amp|quot|nbsp|#\d+);", "", "&gt; and the like belong to web pages: write >, < and & themselves"),
    (
        r"[\u2018-\u201f\u2039\u203a\u00ab\u00bb]",
        "",
        f"the quotation marks are typographic ones: {_LETTERS}",
    ),
    (r"[\u2010-\u2015\u2212]", "", "the minus sign is a dash or another character that looks like it: type -"),
    (r"[\u00b7\u00d7\u2217\u2219\u22c5]", "", "the sign of multiplication is *"),
    (r"[\u2260\u2264\u2265\u2a7d\u2a7e]", "", "write >=, <= and !="),
    (
        r"[\u3000-\u3002\uff01-\uff5e]",
        "",
        f"a bracket or another sign has the width of a Chinese letter: {_LETTERS}",
    ),
    (
        r"[\u00a0\u00ad\u2000-\u200f\u2028-\u202f\u2060\ufeff]",
        "",
        "an invisible character came with the code, often from a web page: type the line anew",
    ),
    (r"\u2026", "", "... was copied as one character: write the code that it stands for"),
    (
        r"\\(alpha|cdot|times|geq?|leq?|frac|begin|text)\b",
        "",
        r"\alpha and the like belong to LaTeX: write alpha, * and >=",
    ),
    ("", r"inconsistent use of tabs", "tabs and spaces are mixed: use four spaces, and no tabs"),
    ("", r"expected an indented block", "the line below a colon is indented: put four spaces in front of it"),
    ("", r"unindent|unexpected indent", "the lines of a block start with the same number of spaces"),
    (r"\belse\s+if\b|\belse?if\b", "", "Python's word for else if is elif"),
    (r"^\s*else\s+[^:\s]", "", "else has no condition: write elif with the condition, or else: alone"),
    (r"^\s*(el)?if\s*:", "", "if and elif need a condition; else has none"),
    (r"\bthen\b", "", "Python has no then: a colon ends the condition"),
    (
        r"^\s*(Def|Return|If|Else|Elif|Import|From|For|While|DEF|RETURN|IF|ELSE|ELIF)\b",
        "",
        "the words of Python are written in small letters: def, if, else, return",
    ),
    (
        r"^\s*(function|func|fn|fun|public|private|static|float|double|void|var|let|const|int|local)\s+\w+",
        "",
        "this is another language: in Python a function begins with def leaky_relu(z, alpha=0.01):",
    ),
    (r"\bdef\s+\w+-\w", "", "a name has no hyphen: leaky_relu"),
    (r"\bdef\s+\w+\s+\w+\s*\(", "", "a name has no space: leaky_relu"),
    (r"\bdef\s+\w+\s*[^(\s\w]|\bdef\s+\w+\s+\w", "", "the parameters of a function stand in parentheses"),
    (
        r"\bdef\b.*[(,]\s*(lambda|in|is|from|class|def|if|else|or|and|not|pass|with|as|import|None|True|False)\s*[=,):]",
        "",
        "a word of Python, such as lambda, cannot name a parameter: call the slope alpha",
    ),
    (r"\blambda\s*([*/+)-]|$)", "", "lambda is a word of Python and no name: call the slope alpha"),
    (r"\bdef\b[^)]*;", "", "commas separate parameters, not semicolons"),
    (r"&&|\|\||(?<![\w'\"])!(?!=)", "", "the words of Python are and, or, not"),
    (r"=>|=<", "", "write >= and <=, with = at the end"),
    (r"\?[^:]*:", "", "Python's choice is: z if z >= 0 else alpha * z"),
    (r"\{\s*$|^\s*\}", "", "Python marks a block by a colon and spaces, not by braces"),
    ("", r"leading zeros", "numbers are written with a point: 0.01"),
    (r"\b\d,\d", "", "numbers are written with a point: 0.01"),
    (
        "",
        r"invalid (decimal|imaginary|hexadecimal) literal",
        "a number and a name need an operator between them: 0.01 * z",
    ),
    ("", r"cannot assign|cannot delete", "only a name can stand in front of =; to compare, write =="),
    ("", r"instead of '='", "= sets a value, == compares"),
    (
        "",
        r"[Mm]issing parentheses in call to",
        "that is Python 2: in Python 3 print is a function, and return gives the value",
    ),
    ("", r"outside function", "return stands outside the function: put four spaces in front of it"),
    (
        r"^\s*(?!(if|elif|else|for|while|with|class|return|lambda|try|except|match|case)\b)\w+\s*\(.*\)\s*(->.*)?:\s*$",
        "",
        "def is missing in front of the function's name",
    ),
    (
        "",
        r"non-default argument|without a default",
        "a parameter without a default comes first: def leaky_relu(z, alpha=0.01)",
    ),
    ("", r"duplicate argument", "two parameters have one name"),
    ("", r"never closed|unmatched|does not match", "a bracket is missing, or there is one too many: count ( and )"),
    ("", r"unterminated|EOL while|EOF while", "a quotation mark is missing, or there is one too many"),
    ("", r"expected 'else'", "z if z >= 0 needs an else: z if z >= 0 else alpha * z"),
    ("", r"expected ':'", "a colon is missing at the end of the line, after def, if, elif or else"),
    ("", r"forgot a comma", "an operator or a comma is missing: alpha * z"),
    (
        r"^\s*[A-Z][\w']*,?( [\w'`]+,?){2,}[.:!?]?\s*$",
        "",
        "this line is a sentence and not Python: put # in front of it",
    ),
    ("", "", "Python cannot read this line: look for a missing bracket, colon or operator, there or above"),
)


def of_exception(name: str, text: str, code: str = "") -> str:
    """The cause why a call raised an exception, or why the code could not be read: `code` is the line that is wrong."""
    if name in {"SyntaxError", "IndentationError", "TabError"}:
        code = code.partition("#")[0]
        return next(cause for line, part, cause in _SYNTAX if re.search(line, code) and re.search(part, text))
    matches = (cause for kind, part, cause in _EXCEPTIONS if re.fullmatch(kind, name) and re.search(part, text))
    return next(matches, "")

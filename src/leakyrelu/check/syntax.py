"""Says in plain words why Python cannot read a program, by the line and by what Python says of it.

What Python says for certain comes before what the line looks like; and what stands in a text or a comment is no code.
"""

import re

__all__ = ["of_syntax"]

_LETTERS = "write the characters anew, with the keyboard set to English"
_BRACKETS = "a bracket is missing, or there is one too many: count ( and )"
_OPERATOR = "an operator or a comma is missing: alpha * z"
_QUOTES = "a quotation mark is missing, or there is one too many"
_BRACES = "Python marks a block by a colon and spaces, not by braces"
_LANGUAGE = "this is another language: in Python a function begins with def leaky_relu(z, alpha=0.01):"
_POINT = "numbers are written with a point: 0.01"

# What was copied with the code: how the line looks, texts and comments included, and the cause.
_COPIED = (
    (r"^\s*(```|~~~)", "a line with ``` is Markdown and not Python: remove it"),
    (
        r"^\s*(>>>|\.\.\.\s|In ?\[\d*\]:)",
        "a prompt such as >>> was copied with the code: remove it, also where it is ... or In [1]:",
    ),
    (r"^\s*(!|%|\?)\s*\w+", "a command of a notebook, such as !pip or %matplotlib, is not Python: remove it"),
    (r"^(<{7}|={7}|>{7}|\|{7})", "marks of a merge conflict are left in the file: keep one of the two versions"),
    (r"^[+-]\s*(def|return|if|else|elif|import)\b", "the + or - of a comparison was copied with the code: remove it"),
    (
        r"^\s*\d+\s*[:.|)]?\s*(def|return|if|else|elif|import|from)\b",
        "the numbers of the lines were copied with the code: remove them",
    ),
    (
        r"^\s*(?!(Def|Return|If|Else|Elif|Import|From|For|While)\b)[A-Z][\w']*,?( [\w'`]+,?){2,}[.:!?]?\s*$",
        "this line is a sentence and not Python: put # in front of it",
    ),
)

# A character that Python refuses, as a regular expression, and the cause.
_CHARACTERS = (
    (r"[\u2018-\u201f\u2039\u203a\u00ab\u00bb]", f"the quotation marks are typographic ones: {_LETTERS}"),
    (r"[\u2010-\u2015\u2212]", "the minus sign is a dash or another character that looks like it: type -"),
    (r"[\u00b7\u00d7\u2217\u2219\u22c5]", "the sign of multiplication is *"),
    (r"[\u2260\u2264\u2265\u2a7d\u2a7e]", "write >=, <= and !="),
    (r"[\u3000-\u3002\uff01-\uff5e]", f"a bracket or another sign has the width of a Chinese letter: {_LETTERS}"),
    (
        r"[\u00a0\u00ad\u2000-\u200f\u2028-\u202f\u2060\ufeff]",
        "an invisible character came with the code, often from a web page: type the line anew",
    ),
    (r"\u2026", "... was copied as one character: write the code that it stands for"),
)

# A part of the line, a part of Python's text (both as regular expressions), and the cause.
_SYNTAX = (
    (
        r"[\u2018-\u201f]",
        r"unterminated",
        f"{_QUOTES}; a typographic one ends no text that \" or ' began",
    ),
    ("", r"unterminated|EOL while|EOF while", _QUOTES),
    (r"&(gt|lt|amp|quot|nbsp|#\d+);", "", "&gt; and the like belong to web pages: write >, < and & themselves"),
    (
        r"\\(alpha|cdot|times|geq?|leq?|frac|begin|text)\b",
        "",
        r"\alpha and the like belong to LaTeX: write alpha, * and >=",
    ),
    ("", r"inconsistent use of tabs", "tabs and spaces are mixed: use four spaces, and no tabs"),
    ("", r"expected an indented block", "the line below a colon is indented: put four spaces in front of it"),
    ("", r"unindent|unexpected indent", "the lines of a block start with the same number of spaces"),
    (
        (
            r"^\s*(export|function|func|fn|fun|public|private|static|float|double|void|var|let|const|int|local|auto|using"
            r"|template)\s+\w+"
        ),
        "",
        _LANGUAGE,
    ),
    (r"<-\s*function\b|^\s*\w+\s+::\s|^\s*\w+(\s+\w+)+\s*=\s*if\b.*\bthen\b", "", _LANGUAGE),  # R, Haskell
    (r"^\s*=\s*[A-Z]+\(|^\s*<(\?php|script|html|!DOCTYPE)|=\s*\([^()]*\)[^()]*=>", "", _LANGUAGE),  # Excel, web pages
    (r"(\)|\belse|\belse\s*:|\bdo|\btry)\s*\{\s*$", "", _BRACES),
    ("", r"never closed|unmatched|does not match", _BRACKETS),
    (r"\belse\s+if\b|\belse?if\b", "", "Python's word for else if is elif"),
    (r"^\s*else\s+[^:\s]", "", "else has no condition: write elif with the condition, or else: alone"),
    (r"^\s*(el)?if\s*:", "", "if and elif need a condition; else has none"),
    (r"\bthen\b", "", "Python has no then: a colon ends the condition"),
    (
        r"^\s*(Def|Return|If|Else|Elif|Import|From|For|While|DEF|RETURN|IF|ELSE|ELIF)\b",
        "",
        "the words of Python are written in small letters: def, if, else, return",
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
    (r"^\s*\{\s*$|^\s*\}", "", _BRACES),
    (r"\d,0\d", r"leading zeros", _POINT),
    ("", r"leading zeros", "a whole number does not begin with 0: write 1 for 01"),
    (r"\bdef\b[^)]*=\s*\d+,\d|\b(if|elif|while)\b[^(\[]*[<>=]\s*-?\d+,\d+\s*:", "", _POINT),
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
        r"(?i)^\s*\w*(relu|leak)\w*\s*\(\s*[a-z_].*\)\s*(->.*)?:\s*$",
        "",
        "def is missing in front of the function's name",
    ),
    (
        r"^\s*(?!(if|elif|else|for|while|with|class|return|lambda|try|except|match|case)\b)[\w.]+\s*\(.*\)\s*:\s*$",
        "",
        "a colon ends only lines that begin a block, with if, else, def and the like: remove it, or write that word",
    ),
    (
        "",
        r"non-default argument|without a default",
        "a parameter without a default comes first: def leaky_relu(z, alpha=0.01)",
    ),
    ("", r"duplicate argument", "two parameters have one name"),
    ("", r"expected 'else'", "z if z >= 0 needs an else: z if z >= 0 else alpha * z"),
    ("", r"expected ':'", "a colon is missing at the end of the line, after def, if, elif or else"),
    ("", r"forgot a comma", _OPERATOR),
    (r"\b(alpha\s+[a-z]|[a-z]\s+alpha)\b", "", _OPERATOR),
    ("", "", "Python cannot read this line: look for a missing bracket, colon or operator, there or above"),
)

_NO_CODE = re.compile(r"""\#.*|("{3}|'{3}|"|')(?:\\.|(?!\1).)*(?:\1|$)""")
_REFUSED = re.compile(r"invalid (?:character '(.)'|non-printable character U\+([0-9A-F]+))")


def of_syntax(text: str, code: str) -> str:
    """The cause why Python cannot read the line `code`, of which it says `text`."""
    code = code.rstrip("\n")
    if found := next((cause for line, cause in _COPIED if re.search(line, code)), ""):
        return found
    if refused := _REFUSED.search(text):
        character = refused[1] or chr(int(refused[2], 16))
        if found := next((cause for kind, cause in _CHARACTERS if re.match(kind, character)), ""):
            return found
    line = code if "unterminated" in text else _NO_CODE.sub(_emptied, code)
    return next(cause for part, said, cause in _SYNTAX if re.search(part, line) and re.search(said, text))


def _emptied(found: re.Match[str]) -> str:
    """Two quotation marks for a text, nothing for a comment."""
    return '""' if found[1] else ""

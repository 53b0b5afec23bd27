"""Of a notebook what defines the function runs, and what that needs."""

import json

import pytest

from leakyrelu.check import check_named
from leakyrelu.check.notebooks import cells_for


def notebook(*cells, language="python"):
    cells = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    cells.insert(0, {"cell_type": "markdown", "source": ["def leaky_relu(z): a title\n"]})
    return json.dumps({"cells": cells, "metadata": {"kernelspec": {"language": language}}, "nbformat": 4})


def check_cells(folder, *cells, name="", **keywords):
    (folder / "homework.ipynb").write_text(notebook(*cells), encoding="utf-8")
    return check_named(f"{folder / 'homework.ipynb'}{name}", **keywords)


RIGHT = "def leaky_relu(z, alpha=0.01):\n    return z if z >= 0 else alpha * z"
WRONG = "def leaky_relu(z, alpha=0.01):\n    return z"

PASSING = {
    "one cell": [RIGHT],
    "the last definition counts": [WRONG, RIGHT],
    "a call that would never end": [RIGHT, "while True:\n    leaky_relu(1)"],
    "data that is not there": ["rows = open('data.csv').read()\nmodel = rows[0]", RIGHT],
    "data called like a parameter or a variable": [
        "z = open('data.csv').read()\nresult = z.split()",
        "def leaky_relu(z, alpha=0.01):\n    result = max(z, alpha * z)\n    return result",
    ],
    "an import from a cell above": [
        "import math as m\nimport no_such_module",
        RIGHT.replace("z >=", "m.fabs(0) + z >="),
    ],
    "a helper in a cell below": ["def leaky_relu(z, alpha=0.01): return f(z, alpha)", RIGHT.replace("leaky_relu", "f")],
    "a constant of a constant": ["A = 0.1\nB = A / 10", "def leaky_relu(z, alpha=B):\n    return max(z, alpha * z)"],
    "a constant that changes": ["S = [0.5]", "S[0] = 0.01", "leaky_relu = lambda z, alpha=S[0]: max(z, alpha * z)"],
    "an import in a try": [
        "try:\n    import nothing as m\nexcept ImportError:\n    import math as m",
        RIGHT + " + m.sin(0)",
    ],
    "an import of everything": ["from math import *", RIGHT.replace("alpha * z", "fabs(alpha) * z")],
    "a decorator": ["def same(f):\n    return f", f"@same\n{RIGHT}"],
    "a line magic": [f"%matplotlib inline\n{RIGHT}"],
    "a line magic with a value": [f"found = %who_ls\nlines = !ls -l\n{RIGHT}"],
    "a shell line that goes on": ["!pip install \\\n    numpy\nimport math", RIGHT + " + math.sin(0)"],
    "a question": [f"print?\n?print\nleaky_relu??\n{RIGHT}"],
    "magics in a function": ["def leaky_relu(z, alpha=0.01):\n    %time 1\n    !ls\n    return max(z, alpha * z)"],
    "a remainder that goes on in the next line": ["N = (7\n  % 4)", RIGHT.replace("z >= 0", "z >= N - 3")],
    "a cell that is timed": [f"%%time\n{RIGHT}"],
    "a cell of another language": [RIGHT, "%%bash\ndef leaky_relu(", "%%writefile x.py\ndef leaky_relu(z): return 7"],
    "a cell that is broken and another": ["for x in", RIGHT, "x = leaky_relu("],
}


@pytest.mark.parametrize("cells", PASSING.values(), ids=PASSING)
def test_a_right_function_passes_whatever_is_around_it(cells, tmp_path):
    report = check_cells(tmp_path, *cells)
    assert report.passed, report


def test_the_last_definition_is_judged(tmp_path):
    assert "it returns z unchanged" in check_cells(tmp_path, RIGHT, WRONG).cause


def test_lines_are_those_of_the_cell(tmp_path):
    report = check_cells(tmp_path, "import math", "%matplotlib inline\n\n" + RIGHT.replace("alpha * z", "alhpa * z"))
    assert report.failures[0].got == "raised NameError in line 4: name 'alhpa' is not defined"
    report = check_cells(tmp_path, "x = 1\ny = 2", "# mine\ndef leaky_relu(z, alpha=0.01)\n    return z")
    assert report.error == "SyntaxError in line 2: expected ':'"


def test_the_derivative_and_methods_are_found(tmp_path):
    cells = [
        "import numpy as np",
        "def rule(x): return np.asarray(x) >= 0",
        "class Net:\n    def lrelu(self, x, alpha=0.01): return np.where(rule(x), x, alpha * np.asarray(x))",
        "def slope(x, alpha=0.01): return np.where(rule(x), 1, alpha)",
        "lrelu_derivative = slope",
    ]
    assert check_cells(tmp_path, *cells, name=":Net.lrelu").passed
    for derivative in (None, "slope"):
        report = check_cells(tmp_path, *cells, name=":Net.lrelu", level="derivative", derivative=derivative)
        assert report.error is None
        assert not any(case.got.startswith("raised") for case in report.cases)


def test_old_notebooks_are_read_and_what_is_none_is_refused(tmp_path):
    old = {"metadata": {}, "worksheets": [{"cells": [{"cell_type": "code", "input": [RIGHT]}]}], "nbformat": 3}
    file = tmp_path / "a.ipynb"
    file.write_text(json.dumps(old))
    assert check_named(str(file)).passed
    for text in ("", "[]", "{}", RIGHT, '{"cells": [3], "metadata": {}}'):
        file.write_text(text)
        assert check_named(str(file)).error.startswith("a.ipynb cannot be read: it is not a Jupyter notebook")
    file.write_text(notebook("x <- 1", language="R"))
    assert (
        check_named(str(file)).error == "a.ipynb cannot be read: it is a notebook of R, and only Python can be checked"
    )
    file.write_text(notebook("x = 1"))
    assert "there is no 'leaky_relu' in a.ipynb" in check_named(str(file)).error


def test_what_is_not_needed_is_left_out():
    function = "def f(z):\n    y = z\n    return math.sin(z)"
    text = notebook("import math\nimport json\nx = math.pi", f"y = 2\n{function}\ny = 3\nprint(f(y))")
    assert cells_for(text, {"f"}) == ["import math", f"\n{function}"]

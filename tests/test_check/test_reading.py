"""A file is read as Python reads it, and finds what Python would find."""

import codecs
import io
import json
import subprocess
import sys

import pytest
from commands import invoke

from leakyrelu.check import check_named, check_source

RIGHT = "def leaky_relu(z, alpha=0.01):\n    return z if z >= 0 else alpha * z\n"
CHINESE = "# \u6d4b\u8bd5\n"

READABLE = {
    "a byte order mark": codecs.BOM_UTF8 + RIGHT.encode(),
    "a byte order mark and a declaration": codecs.BOM_UTF8 + b"# coding: utf-8\n" + RIGHT.encode(),
    "UTF-8 without a declaration": (CHINESE + RIGHT).encode(),
    "GBK": ("# -*- coding: gbk -*-\n" + CHINESE + RIGHT).encode("gbk"),
    "cp1252, declared in the second line": "#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\n# \u20ac\n".encode(
        "cp1252"
    )
    + RIGHT.encode(),
    "line ends of Windows": RIGHT.replace("\n", "\r\n").encode(),
    "line ends of old Macs": RIGHT.replace("\n", "\r").encode(),
    "a form feed": b"\x0c\n" + RIGHT.encode(),
}


@pytest.mark.parametrize("source", READABLE.values(), ids=READABLE)
def test_what_python_reads_is_read(source, tmp_path):
    compile(source, "answer.py", "exec")
    (tmp_path / "answer.py").write_bytes(source)
    assert check_named(str(tmp_path / "answer.py")).passed
    assert check_source(source).passed


def test_a_text_may_begin_with_the_byte_order_mark():
    assert check_source("\ufeff" + RIGHT).passed
    assert check_source("# coding: gbk\n" + CHINESE + RIGHT).passed  # it is decoded already


UNREADABLE = {
    "latin-1 without a declaration": (b"# caf\xe9\n", "byte 0xe9 in line 1 is not UTF-8", "# coding: latin-1"),
    "latin-1 further down": (b"x = 1\n\n# caf\xe9\n", "byte 0xe9 in line 3 is not UTF-8", "# coding: latin-1"),
    "UTF-16 with its mark": (RIGHT.encode("utf-16"), "as a file in UTF-16 has", "save the file as UTF-8"),
    "UTF-16 without": (RIGHT.encode("utf-16-be"), "as a file in UTF-16 has", "save the file as UTF-8"),
    "an encoding that there is not": (b"# coding: klingon\n", "unknown encoding: klingon", "name its encoding"),
    "a mark and another encoding": (codecs.BOM_UTF8 + b"# coding: gbk\n", "encoding problem", "save the file as UTF-8"),
    "a declaration that does not hold": (b"# coding: ascii\n# \xff", "byte 0xff in line 2", "save the file as UTF-8"),
}


@pytest.mark.parametrize(("source", "error", "cause"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_python_does_not_read_says_why(source, error, cause, tmp_path):
    (tmp_path / "answer.py").write_bytes(source)
    assert subprocess.run([sys.executable, tmp_path / "answer.py"], check=False, capture_output=True).returncode == 1
    for report, name in ((check_source(source), "the text"), (check_named(str(tmp_path / "answer.py")), "answer.py")):
        assert report.error.startswith(f"{name} is no text that Python can read: ")
        assert error in report.error
        assert cause in report.cause
    printed = invoke("check", "answer.py", "--json", cwd=tmp_path)
    assert printed.exit_code == 2
    assert json.loads(printed.stdout)["error"] == report.error


def test_standard_input_is_a_file_too(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for spec, name in (("-", "leaky_relu"), ("-:lrelu", "lrelu")):
        source = codecs.BOM_UTF8 + RIGHT.replace("leaky_relu", name).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source)))
        assert check_named(spec).passed
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x = 1")))
    assert check_named("-").error == "there is no 'leaky_relu' in standard input; no function is defined there"


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


LEAKY = "def leaky_relu(z, alpha=0.01): return positive(z) - alpha * positive(-z)\n"
POSITIVE = "def positive(z): return max(z, 0)\n"
PACKAGES = {
    "beside it": {
        "net/__init__.py": "",
        "net/util.py": POSITIVE,
        "net/answer.py": f"from .util import positive\n{LEAKY}",
    },
    "two levels up": {
        "net/__init__.py": "",
        "net/util.py": POSITIVE,
        "net/a/__init__.py": "",
        "net/a/answer.py": f"from ..util import positive\n{LEAKY}",
    },
    "the package itself": {
        "net/__init__.py": "from .util import positive",
        "net/util.py": POSITIVE,
        "net/answer.py": f"from . import positive\n{LEAKY}",
    },
    "a package that imports the file": {
        "net/__init__.py": "from .answer import leaky_relu",
        "net/util.py": POSITIVE,
        "net/answer.py": f"from .util import positive\n{LEAKY}",
    },
    "no __init__.py": {"util.py": POSITIVE, "a/answer.py": f"from ..util import positive\n{LEAKY}"},
    "by its whole name": {
        "net/__init__.py": "",
        "net/util.py": POSITIVE,
        "net/answer.py": f"from net.util import positive\n{LEAKY}",
    },
    "a module of Python's name in the package": {
        "net/__init__.py": "",
        "net/random.py": POSITIVE,
        "net/answer.py": f"import random\nrandom.seed(0)\nfrom .random import positive\n{LEAKY}",
    },
    "without a package": {"util.py": POSITIVE, "answer.py": f"from util import positive\n{LEAKY}"},
    "without a relative import, in a package": {
        "net/__init__.py": "",
        "net/util.py": POSITIVE,
        "net/answer.py": f"from util import positive\n{LEAKY}",
    },
}


@pytest.mark.parametrize("files", PACKAGES.values(), ids=PACKAGES)
def test_a_file_finds_the_modules_of_its_package(files, tmp_path):
    write(tmp_path, files)
    report = check_named(str(next(tmp_path.rglob("answer.py"))))
    assert report.passed, report


SHADOWS = {
    "itself, by an import from it": ("fractions.py", {"fractions.py": f"from fractions import Fraction\n{RIGHT}"}),
    "itself, by an attribute": ("calendar.py", {"calendar.py": f"import calendar\ncalendar.month_name\n{RIGHT}"}),
    "itself, when it is called": (
        "numpy.py",
        {"numpy.py": "import numpy as np\ndef leaky_relu(z, alpha=0.01): return np.where(z >= 0, z, alpha * z)\n"},
    ),
    "itself, by an import in the function": (
        "statistics.py",
        {"statistics.py": "def leaky_relu(z, alpha=0.01):\n    import statistics\n    return statistics.mean([z])\n"},
    ),
    "another file": (
        "colorsys.py",
        {"answer.py": f"from colorsys import rgb_to_hsv\n{RIGHT}", "colorsys.py": "x = 1"},
    ),
    "another file that fails": (
        "decimal.py",
        {"answer.py": f"import fractions\n{RIGHT}", "decimal.py": "1 / 0"},
    ),
    "a folder": (
        "fractions",
        {"answer.py": f"from fractions import Fraction\n{RIGHT}", "fractions/__init__.py": ""},
    ),
}


@pytest.mark.parametrize(("hidden", "files"), SHADOWS.values(), ids=SHADOWS)
def test_a_file_in_place_of_a_module_is_to_be_renamed(hidden, files, tmp_path):
    write(tmp_path, files)
    report = check_named(str(tmp_path / ("answer.py" if "answer.py" in files else hidden)))
    assert not report.passed
    what = "file" if hidden.endswith(".py") else "folder"
    name = hidden.removesuffix(".py")
    assert report.cause == f"your {what} {hidden} is imported in place of the module {name}: rename your {what}"


def test_at_arrays_a_file_called_numpy_is_to_be_renamed_even_if_it_imports_nothing(tmp_path):
    write(tmp_path, {"numpy.py": RIGHT})
    assert check_named(str(tmp_path / "numpy.py")).passed
    assert "rename your file" in check_named(str(tmp_path / "numpy.py"), level="array").cause


def test_a_name_of_python_that_does_no_harm_is_not_mentioned(tmp_path):
    write(
        tmp_path,
        {
            "code.py": POSITIVE,
            "answer.py": f"from code import positive\n{LEAKY}",
            "wrong.py": f"import code\n{RIGHT.replace('0.01', '0.2')}",
        },
    )
    assert check_named(str(tmp_path / "answer.py")).passed
    assert "the default slope is 0.2" in check_named(str(tmp_path / "wrong.py")).cause

"""The exercise is judged with the standard library alone; a report is shown in a notebook."""

import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import leakyrelu
from leakyrelu.check import check, check_source
from leakyrelu.check.arithmetic import in_single
from leakyrelu.check.cases import cases_of

EXERCISE = """
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"numpy", "torch", "jax"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv[1])
from leakyrelu.check import check

assert sys.modules["leakyrelu"].__file__ is None  # no root was executed
assert check(lambda z, alpha=0.01: z if z >= 0 else alpha * z).passed
report = check(lambda z, alpha=0.2: z if z > 0 else alpha * z)
assert report.cause == "the default slope is 0.2; it must be 0.01", report
assert "<table>" in report._repr_html_()
assert report.to_dict()["passed"] is False
"""


def test_the_exercise_needs_neither_numpy_nor_the_root_of_the_package(tmp_path):
    package = Path(leakyrelu.__file__).parent
    for folder in ("check", "_shared"):
        shutil.copytree(package / folder, tmp_path / "leakyrelu" / folder)
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", EXERCISE, tmp_path], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("x", [0.1, -0.3, 1e100, -1e-100, 0.0, 3.0])
def test_numbers_are_rounded_to_float32_as_numpy_does(x):
    with np.errstate(over="ignore"):
        assert in_single(x) == float(np.float32(x))


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_report_is_shown_in_a_notebook_without_scripts_and_escaped():
    report = check_source("def leaky_relu(z, alpha=0.01): return '<script>alert(1)</script>'")
    page = Tags(report._repr_html_())
    assert page.open == []
    assert "script" not in page.tags
    assert page.text.startswith("\n30 of 30 cases failed at level exercise.\nLikely cause: a text came back")
    assert "<script>alert(1)</script>" in page.text
    assert page.tags.count("caption") == page.tags.count("table") == 2
    assert page.tags.count("tr") == 2 * (1 + 30)


def test_a_notebook_shows_what_failed_first_and_folds_the_rest():
    passed = Tags(check(leakyrelu.leaky_relu)._repr_html_())
    assert passed.tags.count("table") == passed.tags.count("details") == 1
    refused = Tags(check(3)._repr_html_())
    assert refused.tags == ["section", "p", "strong"]
    assert refused.text.strip() == "Could not be checked: a function is wanted, got int."


def test_a_list_that_comes_out_wrong_is_a_remark_and_rules_out_no_cause():
    report = check(lambda x, alpha=0.01: np.where(x > 0, x, alpha * x), level="array")
    case = next(case for case in report.cases if case.call.endswith("([-2, 0, 3])"))
    assert report.passed
    assert (case.state, case.hint) == ("hint", "not needed: a list is no array: np.asarray(x) makes it one")
    wrong = check(lambda x, alpha=0.2: np.maximum(x, alpha * np.asarray(x)), level="array")
    assert wrong.cause == "the default slope is 0.2; it must be 0.01"


def test_the_exercise_asks_on_both_sides_near_and_far_and_with_slopes_from_0_to_1():
    asked = cases_of("exercise")
    assert {case.slope for case in asked} >= {0.0, 0.01, 1.0}
    assert all(0 <= case.slope <= 1 for case in asked)
    assert max(case.x for case in asked) == -min(case.x for case in asked) == 1e200
    assert min(abs(case.x) for case in asked if case.x) == 1e-200


@pytest.mark.parametrize(
    ("at_zero", "passes"), [(1, True), (0.25, True), (0, True), (0.5, True), (77, False), (-1, False)]
)
def test_at_zero_any_convention_will_do_and_nothing_else(at_zero, passes):
    def derivative(x, alpha=0.25):
        return np.where(x > 0, 1.0, np.where(x < 0, alpha, at_zero))

    function = leakyrelu.leaky_relu
    cause = check(
        lambda x, alpha=0.25: function(x, alpha), level="derivative", derivative=derivative, default=0.25
    ).cause
    assert ("at zero the derivative is 1 or alpha" in cause) != passes

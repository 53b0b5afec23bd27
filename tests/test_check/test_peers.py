"""The matrix of the peers finds what is known to differ, and nothing in this library; docs/explanation/peers.md shows it."""

import platform
import re
from pathlib import Path

import pytest
from commands import run

from leakyrelu.check import check_named
from leakyrelu.check.cases import cases_of
from leakyrelu.check.peers import installed_peers

pytest.importorskip("jax")
pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs/explanation/peers.md").read_text()


@pytest.fixture(scope="module")
def answers():
    return {peer.name: peer.answers() for peer in installed_peers()}


@pytest.fixture(scope="module")
def printed():
    return run("check", "--peers")


def test_all_peers_that_are_installed_are_asked(answers):
    assert list(answers) == ["leakyrelu", "PyTorch", "JAX", "ONNX Runtime", "np.where", "np.maximum"]


def test_this_library_differs_nowhere(answers):
    judged = {case.name for case in cases_of("derivative") if case.rule != "reported"}
    assert {answers["leakyrelu"][name] for name in judged} == {"ok"}


def test_maximum_differs_at_slope_2_and_at_infinity_with_slope_0(answers):
    assert answers["np.maximum"]["slope 2"] == "4 of 4"
    assert answers["np.maximum"]["slope 0 at infinity"] == "NaN"
    assert answers["np.maximum"]["slope 1"] == answers["np.where"]["slope 2"] == "ok"


def test_jax_rounds_the_slope_for_16_bit_types(answers):
    assert answers["JAX"]["float16 rounded once, 0.01"] == "7,765 of 31,743"
    assert answers["JAX"]["float16 rounded once, 0.3"] == "6,896 of 31,743"
    assert answers["JAX"]["float32 rounded"] == answers["JAX"]["an array"] == "ok"


def test_pytorch_and_onnx_runtime_round_a_half_twice(answers):
    for name in ("PyTorch", "ONNX Runtime"):
        assert answers[name]["float16 rounded once, 0.01"] == "20 of 31,743"
        assert answers[name]["float16 rounded once, 0.3"] == "63 of 31,743"


def test_conventions_at_zero(answers):
    at_zero = {name: words.get("the derivative at zero") for name, words in answers.items()}
    assert at_zero == {
        "leakyrelu": "1",
        "PyTorch": "0.25",
        "JAX": "1",
        "ONNX Runtime": None,
        "np.where": "1",
        "np.maximum": None,
    }


def test_the_command_prints_one_row_per_case_and_the_versions(printed):
    head, _, *rows, _, versions = printed.splitlines()
    assert [word.strip() for word in head.strip("|").split("|")][:3] == ["Level", "Case", "leakyrelu"]
    assert len(rows) == len(cases_of("derivative"))
    assert versions.startswith("Versions: leakyrelu ")
    assert "torch 2" in versions


def test_a_function_of_jax_keeps_float64_in_a_process_of_its_own():
    report = check_named("jax.nn:leaky_relu", level="array")
    assert report.passed, report
    assert report.cases[-1].level == "array"
    assert [case.hint for case in report.cases if case.name == "a list"] == [
        "not needed: a list is no array: np.asarray(x) makes it one"
    ]


PACKAGES = ["leakyrelu", "torch", "jax", "onnxruntime", "numpy", "numpy"]


def columns(text):
    """The cases, and the answers of each library with the version that gave them."""
    rows = [[cell.strip() for cell in line.split("|")[2:-1]] for line in text.splitlines() if line.count("|") == 9]
    versions = dict(re.findall(r"(\w+) (\d[\w.+]*)[,.]", re.search("^Versions: .*$", text, re.MULTILINE)[0]))
    cases, *answers = zip(*(row for row in rows if row[0].strip("-")), strict=True)
    return cases, [(versions[package], answer) for package, answer in zip(PACKAGES, answers, strict=True)]


def test_the_page_shows_the_matrix_as_it_is(printed):
    """Compares libraries whose version is that of the page, on the page's kind of processor."""
    (cases, shown), (cases_now, now) = columns(PAGE), columns(printed)
    assert cases == cases_now
    assert now[0] == shown[0]
    for (version, answer), (version_now, answer_now) in zip(shown, now, strict=True):
        if version == version_now and platform.machine() == "x86_64":
            assert answer == answer_now

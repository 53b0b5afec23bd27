"""The lesson's parts: what is trained, drawn, asked and shown; the page itself is in test_page.py."""

import contextlib
import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

from leakyrelu.check import check_source
from leakyrelu.demo import Setting, load_digits
from leakyrelu.demo import train as train_demo
from leakyrelu.lesson import fragments, pictures, training
from leakyrelu.lesson.examples import EXAMPLES
from leakyrelu.lesson.exercise import EXERCISE, SOLUTION, START

FOR_X = np.linspace(-4, 4, 161)


@pytest.fixture(scope="module")
def history():
    return list(training.train(0.1, 0.5, 0, load_digits()))


def texts(fragment):
    """The text of a piece of HTML, which must be well nested."""
    open_tags, found = [], []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in {"br", "path", "use"}:
                open_tags.append(tag)

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

        def handle_data(self, data):
            found.append(data)

    Parser().feed(re.sub(r"<svg.*?</svg>", "", fragment, flags=re.DOTALL))
    assert not open_tags
    return " ".join(" ".join(found).split())


# Training


def test_the_first_two_networks_are_those_of_the_demonstration(history):
    setting = Setting(epochs=training.EPOCHS, learning_rate=0.5)
    for i, alpha in enumerate((0, 0.1)):
        run = train_demo(setting, alpha, 0, load_digits())
        states = [states[i] for states in history]
        assert [state.accuracy for state in states] == list(run.accuracy)
        assert [state.never_positive for state in states] == run.never_positive.sum(axis=1).tolist()


def test_the_third_network_is_the_first_one_until_the_middle(history):
    middle = training.EPOCHS // 2
    for epoch, (relu, _, changed) in enumerate(history):
        assert changed.alpha == (0 if epoch <= middle else 0.1)
        if epoch <= middle:
            assert changed.accuracy == relu.accuracy
            assert all(map(np.array_equal, changed.firing, relu.firing))
    assert not all(map(np.array_equal, changed.firing, relu.firing))


def test_more_units_come_back_with_the_leak_than_without():
    back = np.zeros(2)
    for seed in range(6):
        states = list(training.train(0.1, 0.5, seed, load_digits()))
        dead = [rates == 0 for rates in states[training.EPOCHS // 2][2].firing]
        for i, end in enumerate((states[-1][0], states[-1][2])):
            back[i] += sum(int((was & (now > 0)).sum()) for was, now in zip(dead, end.firing, strict=True))
    assert back[1] > 2 * back[0] > 0  # a layer before it may move a dead unit, too


def test_what_overflows_is_said_and_does_not_end_the_training():
    *_, last = training.train(0.3, 3.0, 0, load_digits())
    assert last[1].overflowed
    shown = fragments.networks([last])
    assert "Overflowed" in texts(shown)
    panel = shown[shown.index("<h3>Leaky ReLU</h3>") : shown.index("<h3>ReLU, then")]
    assert panel.count('"cell lost"') == 48  # of which nobody knows whether a gradient would pass


# Pictures


@pytest.mark.parametrize("picture", [pictures.function_at(0.01, -5, -0.05, 0.01), pictures.relative("GELU")])
def test_pictures_are_svg_in_the_colours_of_the_page_with_a_description(picture):
    root = ET.fromstring(picture)
    assert root.get("role") == "img"
    assert len(root.get("aria-label")) > 40
    assert set(re.findall(r"#[0-9a-f]{6}", picture)) == set()
    assert "var(--blue)" in picture


def test_the_description_says_the_numbers():
    assert "at x = -5: value -1, derivative 0.2." in fragments.at(0.2, -5)
    assert texts(fragments.at(0.2, -5)) == "At x = -5 with alpha = 0.2: value -1 , derivative 0.2"
    assert texts(fragments.at(0.2, 0)) == "At x = 0 with alpha = 0.2: value 0 , derivative 1"
    assert texts(fragments.at(0.0, -5)) == "At x = -5 with alpha = 0: value 0 , derivative 0"


def test_marked_points_move_with_the_sliders():
    assert len({fragments.at(alpha, x) for alpha in (0.1, 0.5) for x in (-5, 5)}) == 4


def test_relatives_are_what_pytorch_has_under_their_names():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    modules = {
        "ReLU": nn.ReLU(),
        "Leaky ReLU": nn.LeakyReLU(0.1),
        "PReLU": nn.PReLU(init=0.05),
        "RReLU": nn.RReLU(1 / 8, 1 / 8),
        "ELU": nn.ELU(),
        "GELU": nn.GELU(),
    }
    assert modules.keys() == pictures.RELATIVES.keys()
    for name, module in modules.items():
        drawn = pictures.RELATIVES[name].at(FOR_X, pictures.RELATIVES[name].slopes[0])
        with torch.no_grad():
            np.testing.assert_allclose(drawn, module.double()(torch.from_numpy(FOR_X)), atol=1e-12, err_msg=name)


def test_all_relatives_are_shown_and_drawn():
    shown = fragments.relatives()
    assert shown.count("<svg") == 6
    assert all(name in texts(shown) for name in pictures.RELATIVES)


# Cells


def test_a_cell_for_each_unit_and_a_mark_for_each_that_never_fires(history):
    shown = fragments.networks(history)
    cells = re.findall(r'<div class="layer">(.*?)</div>', shown)
    assert [layer.count("<span") for layer in cells] == [16] * 9
    dead, leaking = (sum(layer.count(f'"cell {kind}"') for layer in cells) for kind in ("dead", "leaks"))
    relu, leaky, changed = history[-1]
    assert (dead, leaking) == (relu.never_positive, leaky.never_positive + changed.never_positive)
    assert f"{dead} of 48 units dead" in texts(shown)


def test_the_description_counts_by_layer(history):
    assert 'aria-label="Units dead, by hidden layer: ' in fragments.networks(history)
    assert 'aria-label="Units never above zero, by hidden layer: ' in fragments.networks(history)


# The exercise


def test_the_solution_passes_and_the_beginning_does_not():
    assert check_source(SOLUTION).passed
    report = check_source(START)
    assert not report.passed
    assert report.error is None
    assert "return" in report.cause


def test_the_exercise_asks_for_what_is_checked():
    calls = re.findall(r"\| `(.+?)` \| `(.+?)` \|", EXERCISE)
    asked = {case.call: case.expected for case in check_source(SOLUTION).cases}
    assert len(calls) == 4
    assert all(asked[call] == result for call, result in calls)


def test_the_verdict_shows_the_wrong_cases_first_with_their_hints():
    shown = fragments.verdict(check_source("def leaky_relu(z, alpha=0.1):\n    return z if z >= 0 else alpha * z"))
    words = texts(shown)
    assert words.startswith("Not yet 6 of 30 calls came out wrong. Likely cause: the default slope is 0.1")
    assert "Hint" not in words  # it would only say so again
    assert words.index("Wrong leaky_relu(-1) → -0.1 wanted: -0.01") < words.index("Right leaky_relu(0) → 0")


def test_the_verdict_on_a_right_solution_has_no_wrong_case():
    words = texts(fragments.verdict(check_source(SOLUTION)))
    assert words.startswith("Right!")
    assert "Wrong" not in words


def test_a_case_has_a_hint_of_its_own_where_the_cause_does_not_say_it():
    words = texts(
        fragments.verdict(check_source("def leaky_relu(z, alpha=0.01):\n    return str(z if z > 0 else alpha * z)"))
    )
    assert "Hint" not in words
    assert "leaky_relu(1) → '1' wanted: 1 , because a number that is zero or more comes back as it is" in words
    mixed = "def leaky_relu(z, alpha=0.01):\n    return None if z == 0 else z if z > 0 else round(alpha * z)"
    assert "Hint: it returns nothing for zero" in texts(fragments.verdict(check_source(mixed)))


def test_the_verdict_escapes_what_the_function_returns():
    shown = fragments.verdict(check_source("def leaky_relu(z, alpha=0.01):\n    return '<script>alert(1)</script>'"))
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


def test_the_verdict_on_what_cannot_be_run_says_why():
    words = texts(fragments.verdict(check_source("def leaky_relu(z, alpha=0.01) return z")))
    assert words.startswith(
        "Could not be run SyntaxError in line 1: expected ':' Likely cause: a colon is missing"
    )


# Examples


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_print_what_their_comments_say(name):
    if library := {"PyTorch": "torch", "JAX": "jax", "Tuning the slope": "optuna"}.get(name):
        pytest.importorskip(library)
    code = EXAMPLES[name]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, name, "exec"), {"__name__": name})
    expected = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert expected
    assert printed.getvalue().splitlines() == expected


# Loading


def test_without_its_extra_the_lesson_says_how_to_get_it():
    code = "import sys; sys.modules['marimo'] = None\nfrom leakyrelu.lesson import serve_lesson\nserve_lesson(open_browser=None)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        result.stderr.splitlines()[-1]
        == "ImportError: the lesson needs marimo, which is missing: pip install 'leakyrelu[learn]'"
    )


def test_importing_the_lesson_loads_neither_marimo_nor_matplotlib():
    code = (
        "import sys, leakyrelu.lesson.fragments\n"
        "assert not {'marimo', 'matplotlib', 'sklearn', 'torch', 'uvicorn'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

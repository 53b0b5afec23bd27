"""The editor's habits, the verdicts, what the solutions give, and the code that the page shows."""

import contextlib
import html
import io
import re
import textwrap

import pytest
from playwright.sync_api import expect
from test_lesson.pages import needs_a_browser
from test_lesson.test_page.conftest import PAGE

from leakyrelu.check import check_source

TEXT = (PAGE / "index.html").read_text("utf-8")
EXERCISES = ("function", "derivative", "backward")


def code_of(pattern):
    return html.unescape(re.search(pattern, TEXT, re.DOTALL)[1])


def solution_of(exercise):
    return code_of(rf'data-exercise="{exercise}".*?<details.*?<code\s*>(.*?)</code')


def start_of(exercise):
    return code_of(rf'<textarea\s+id="{exercise}-code"[^>]*>\n?(.*?)</textarea')


# What the page shows as code


@pytest.mark.parametrize("name", re.findall(r'data-example="([^"]+)"', TEXT))
def test_examples_print_what_their_comments_say(name):
    if library := {"PyTorch": "torch", "JAX": "jax", "Tuning the slope": "optuna"}.get(name):
        pytest.importorskip(library)
    code = code_of(rf'data-example="{name}"\s*>(.*?)</code')
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, name, "exec"), {"__name__": name})
    expected = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert expected
    assert printed.getvalue().splitlines() == expected


def test_the_solution_passes_and_the_start_does_not():
    solution = check_source(solution_of("function"))
    assert solution.passed
    assert not any(case.hint for case in solution.cases)
    assert not check_source(start_of("function")).passed


def test_the_other_solutions_are_right():
    names = {}
    exec(solution_of("derivative") + solution_of("backward"), names)
    derivative, backward = names["leaky_relu_derivative"], names["leaky_relu_backward"]
    assert [derivative(z) for z in (-2, 0, 3)] == [0.01, 1, 1]
    zs = [3.0, -2.0]
    assert backward([1.0, 1.0], zs, alpha=0.1) == [1.0, 0.1]
    assert zs == [3.0, -2.0]


@pytest.mark.parametrize("exercise", EXERCISES)
def test_start_and_solution_have_the_signature_of_the_text(exercise):
    prose = re.search(rf'data-exercise="{exercise}".*?<label', TEXT, re.DOTALL)[0]
    (signature,) = re.findall(r"<code\s*>(leaky_relu\w*\(\w+: .*?)</code", prose, re.DOTALL)
    wanted = re.sub(r"\s", "", f"def {html.unescape(signature)}:")
    for code in (start_of(exercise), solution_of(exercise)):
        assert re.sub(r"\s", "", code).startswith(wanted)


# The editor


browsing = [pytest.mark.slow, needs_a_browser]


def marked(test):
    for mark in browsing:
        test = mark(test)
    return test


@pytest.fixture
def exercise(page):
    exercise = page.locator("[data-exercise=function]")
    exercise.get_by_role("button", name="Reset").click()
    page.evaluate("[window.verdict, window.lost, window.stopped] = []")
    return exercise


@pytest.fixture
def editor(exercise, page):
    editor = exercise.locator("textarea")
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    return editor


@marked
def test_enter_and_tab_indent_as_python_programmers_expect(editor, page):
    page.keyboard.type("def f(z):\nif z:\nreturn 1\nelse:")
    expect(editor).to_have_value("def f(z):\n    if z:\n        return 1\n    else:")
    page.keyboard.press("Enter")
    page.keyboard.type("y = 2\n")
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("z")
    expect(editor).to_have_value("def f(z):\n    if z:\n        return 1\n    else:\n        y = 2\n    z")
    page.keyboard.press("Tab")
    page.keyboard.type("# two")
    assert editor.input_value().endswith("\n    z   # two")  # to the next stop


@marked
def test_backspace_takes_a_whole_indent_and_a_selection_moves_together(editor, page):
    page.keyboard.type("if a:\nb\nc")
    page.keyboard.press("Control+A")
    page.keyboard.press("Tab")
    expect(editor).to_have_value("    if a:\n        b\n        c")
    page.keyboard.press("Shift+Tab")
    expect(editor).to_have_value("if a:\n    b\n    c")
    page.keyboard.press("Control+End")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    expect(editor).to_have_value("if a:\n    b\n")


@marked
def test_undo_takes_back_what_the_keys_did(editor, page):
    page.keyboard.type("if a:")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(editor).to_have_value("if a:\n        ")
    for _ in range(3):
        page.keyboard.press("Control+Z")
    assert len(editor.input_value()) < len("if a:\n    ")
    for _ in range(3):
        page.keyboard.press("Control+Shift+Z")
    expect(editor).to_have_value("if a:\n        ")


@marked
def test_escape_then_tab_leaves_the_editor(editor, page):
    page.keyboard.press("Tab")
    expect(editor).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(editor).not_to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(editor).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Tab")
    expect(editor).not_to_be_focused()


@marked
def test_code_is_kept_and_reset_brings_the_start_back(opened):
    page = opened()
    areas = page.locator("[data-exercise] textarea")
    for i, exercise in enumerate(EXERCISES):
        expect(areas.nth(i)).to_have_value(start_of(exercise))
        areas.nth(i).fill(f"mine = {i}\n")
    page.reload()
    for i in range(3):
        expect(areas.nth(i)).to_have_value(f"mine = {i}\n")
    reset = page.locator("[data-exercise=derivative]").get_by_role("button", name="Reset")
    reset.click()
    expect(areas.nth(1)).to_have_value(start_of("derivative"))
    page.reload()
    expect(areas.nth(1)).to_have_value(start_of("derivative"))
    expect(areas.nth(2)).to_have_value("mine = 2\n")


# The verdict


def asked(page, exercise, source):
    """Run this code; the answer is what the library's own check says of it."""
    page.evaluate("verdict => { window.verdict = verdict; }", check_source(source).to_dict())
    exercise.locator("textarea").fill(source)
    exercise.get_by_role("button", name="Run").click()
    return exercise.locator(".verdict")


@marked
def test_a_wrong_answer_is_told_with_cause_and_hint(exercise, page):
    verdict = asked(page, exercise, "def leaky_relu(z, alpha=0.1):\n    return z if z > 0 else alpha * z\n")
    expect(verdict.get_by_role("heading")).to_have_text("Not yet")
    expect(verdict).to_contain_text("Likely cause: the default slope is 0.1; it must be 0.01")
    expect(verdict.locator("li").first).to_contain_text("Wrong leaky_relu(-1) → -0.1")
    expect(verdict.locator("li").first).to_contain_text("wanted: -0.01, because")
    expect(verdict.locator("li.hint")).to_contain_text("Right, with a remark leaky_relu(0) → 0.0")
    expect(verdict.locator("li.hint")).to_contain_text("Hint: it prints 0.0")
    more, right = verdict.locator("details").all()  # as many as all 30 calls may be wrong, for the same reason
    expect(more.locator("summary")).to_have_text(re.compile(r"^\d+ more that came out wrong$"))
    expect(right.locator("li").first).not_to_be_visible()
    right.locator("summary").click()
    expect(right.locator("li").first).to_contain_text("Right leaky_relu")


@marked
def test_a_right_answer_is_right(exercise, page):
    source = solution_of("function")
    verdict = asked(page, exercise, source)
    expect(verdict.get_by_role("heading")).to_have_text("Right!")
    expect(verdict).to_have_attribute("role", "status")
    assert page.evaluate("window.asked") == ["function", source]


@marked
def test_what_cannot_be_run_and_markup_are_shown_as_text(exercise, page):
    verdict = asked(page, exercise, "def leaky_relu(z, alpha=0.01)\n    return z\n")
    expect(verdict.get_by_role("heading")).to_have_text("It could not be run")
    expect(verdict).to_contain_text("SyntaxError")
    verdict = asked(page, exercise, "def leaky_relu(z, alpha=0.01):\n    return '<img src=x>'\n")
    expect(verdict).to_contain_text("<img src=x>")
    assert verdict.locator("img").count() == 0


@marked
def test_a_run_shows_that_it_runs_and_can_be_stopped(exercise, page):
    run, stop = (exercise.get_by_role("button", name=name) for name in ("Run", "Stop"))
    exercise.locator("textarea").press("Control+Enter")
    expect(exercise.locator(".verdict")).to_contain_text("Python is loading …")
    expect(exercise.get_by_role("progressbar")).to_be_visible()
    expect(run).to_be_disabled()
    stop.click()
    expect(exercise.locator(".verdict")).to_contain_text("You stopped it")
    assert page.evaluate("window.stopped")
    expect(run).to_be_enabled()
    expect(stop).to_be_disabled()
    verdict = asked(page, exercise, solution_of("function"))
    expect(verdict.get_by_role("heading")).to_have_text("Right!")


@marked
def test_without_a_judge_the_page_says_so_and_lives_on(exercise, page):
    page.evaluate("window.lost = true")
    exercise.get_by_role("button", name="Run").click()
    expect(exercise.locator(".verdict")).to_contain_text("The judge no longer answers.Your code is kept")
    page.locator("[data-slope='0.3']").click()
    expect(page.locator("#derivative")).to_contain_text("= 0.3")
    page.evaluate("window.lost = false")
    verdict = asked(page, exercise, solution_of("function"))
    expect(verdict.get_by_role("heading")).to_have_text("Right!")


@marked
def test_code_and_solution_are_copied(exercise, page):
    copied = "navigator.clipboard.readText()"
    exercise.get_by_role("button", name="Copy", exact=True).click()
    expect(exercise.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate(copied) == start_of("function")
    exercise.get_by_text("Show solution").click()
    exercise.get_by_role("button", name="Copy solution").click()
    page.wait_for_function(f"{copied}.then(text => text.includes('return'))")
    assert page.evaluate(copied) == solution_of("function")
    page.locator("button.copy").first.click()
    page.wait_for_function(f"{copied}.then(text => text.startsWith('import numpy'))")
    exercise.get_by_text("Show solution").click()


@marked
def test_a_unit_is_revived_by_two_numbers(page):
    exercise = page.locator("#revive")
    shift, outgoing = page.locator("#revive-shift"), page.locator("#revive-outgoing")
    check, verdict = exercise.get_by_role("button", name="Check"), exercise.locator(".verdict")

    def judged(bias, weight):
        for slider, value in ((shift, bias), (outgoing, weight)):
            slider.fill(str(value))
        check.click()
        return [state.text_content() for state in verdict.locator(".state").all()]

    assert judged(0, 0) == ["Wrong", "Right"]
    expect(verdict).to_contain_text("a unit that fires on nothing gets no gradient")
    assert judged(2.35, 0.8) == ["Right", "Wrong"]
    expect(verdict).to_contain_text("With which weight does this add nothing?")
    assert judged(4, 0) == ["Wrong", "Right"]
    assert judged(2.35, 0) == ["Right", "Right"]
    expect(verdict.get_by_role("heading")).to_have_text("Right!")
    expect(page.locator("#revive-firing")).to_have_text("50 %")
    assert page.locator("#revive-dots .fires").count() == 24
    expect(page.locator("#revive-dots")).to_have_attribute("aria-label", "It fires on 24 of the 48 examples")
    solution = textwrap.dedent(exercise.locator(".solution p").text_content())
    assert "2.35" in solution
    exercise.get_by_role("button", name="Reset").click()
    expect(verdict).to_be_empty()
    expect(shift).to_have_value("0")

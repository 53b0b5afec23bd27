"""The exercises besides the function: its derivative, and the backward pass over lists of numbers."""

import json
import os
import threading
import time

import pytest
from commands import fails, invoke

import leakyrelu
from leakyrelu.check import Cancellation, check, check_named, check_source, grade
from leakyrelu.check.cases import EXERCISES, LEVELS, cases_of, name_of
from leakyrelu.check.inside import Inside, report

DERIVATIVE = "def leaky_relu_derivative(z, alpha=0.01):\n    return 1 if z >= 0 else alpha\n"
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="programs of others are run on systems with fork()")


def backward(gradients, zs, alpha=0.01):
    return leakyrelu.leaky_relu_backward(gradients, zs, alpha).tolist()


def test_the_librarys_own_functions_pass():
    assert check(leakyrelu.leaky_relu_derivative, exercise="derivative").passed
    assert check(backward, exercise="backward").passed


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_right_answers_are_those_of_the_library(exercise):
    for case in cases_of("exercise", exercise):
        if case.is_list:
            assert case.expected == pytest.approx(backward(case.gradients, case.x, case.slope), rel=1e-15)
        else:
            function = leakyrelu.leaky_relu if exercise == "function" else leakyrelu.leaky_relu_derivative
            assert case.expected == function(case.x, case.slope)
    assert name_of(exercise) == next(iter(cases_of("exercise", exercise))).call(name_of(exercise)).partition("(")[0]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="exercise must be one of function, derivative, backward, got 'revive'"):
        check(backward, exercise="revive")
    with pytest.raises(ValueError, match="'backward' is asked at the level 'exercise' alone, got 'array'"):
        check(backward, exercise="backward", level="array")
    assert {level for level in LEVELS if len(cases_of(level))} == set(LEVELS)


def test_both_sides_of_zero_pass_and_two_kinds_of_zero_do_not():
    assert {
        case.state for case in check(lambda z, alpha=0.01: 1 if z >= 0 else alpha, exercise="derivative").cases
    } == {"passed"}
    slope = check(lambda z, alpha=0.01: 1 if z > 0 else alpha, exercise="derivative")
    assert slope.passed
    assert {case.name for case in slope.cases if case.state == "hint"} == {"zero", "zero and a slope", "minus zero"}
    sign = check(lambda z, alpha=0.01: alpha if str(z).startswith("-") else 1, exercise="derivative")
    assert [case.name for case in sign.failures] == ["minus zero"]
    pairs = check(
        lambda gs, zs, alpha=0.01: [g if z > 0 else alpha * g for g, z in zip(gs, zs, strict=True)], exercise="backward"
    )
    assert [case.name for case in pairs.cases if case.state == "hint"] == ["a zero among them"]
    assert pairs.passed


def test_a_call_is_written_as_one_would_type_it():
    calls = [case.call for case in check(backward, exercise="backward").cases]
    assert calls[0] == "backward([1.0, 1.0], [2.0, -3.0])"
    assert calls[2] == "backward([4.0, -2.0, 3.0], [-0.5, 1.0, -2.0], alpha=0.1)"
    assert calls[3] == "backward([-2.0, 8.0], [-2.0, 0.3], 0.5)"


@needs_fork
def test_the_command_line_and_a_class(tmp_path):
    (tmp_path / "a.py").write_text(DERIVATIVE)
    (tmp_path / "b.py").write_text(DERIVATIVE.replace("alpha\n", "alpha * z\n"))
    result = invoke("check", tmp_path / "a.py", "--exercise", "derivative", "--json")
    assert (result.exit_code, json.loads(result.stdout)["passed"]) == (0, True)
    assert "exercise must be one of" in fails("check", tmp_path / "a.py", "--exercise", "revive")
    assert check_named(str(tmp_path / "a.py"), exercise="derivative").passed
    grades = grade([tmp_path], exercise="derivative")
    assert [row.passed for row in grades.rows] == [True, False]
    assert len(grades.cases) == len(cases_of("exercise", "derivative")) == grades.rows[0].most
    assert grades.rows[1].cause == "it returns alpha * z below zero: the derivative of alpha * z is alpha"


@needs_fork
def test_another_thread_ends_a_check():
    cancellation = Cancellation()
    threading.Timer(0.5, cancellation.cancel).start()
    started = time.monotonic()
    check_source("while True: pass", cancellation=cancellation)
    assert time.monotonic() - started < 12  # loading alone may take 15 seconds
    started = time.monotonic()
    check_source("while True: pass", cancellation=cancellation)  # cancelled before it begins
    assert time.monotonic() - started < 12


@pytest.mark.parametrize(
    ("exercise", "source"),
    [
        ("derivative", DERIVATIVE),
        ("derivative", DERIVATIVE.replace(">=", "<")),
        ("function", DERIVATIVE),
        ("function", "def leaky_relu(z, alpha=0.01): print('x' * 2_000_000)"),
        ("backward", "def leaky_relu_backward(gradients, zs, alpha=0.01):\n    gradients.sort()\n    return gradients"),
        ("backward", "def leaky_relu_backward("),
    ],
)
@needs_fork
def test_one_interpreter_gives_the_verdict_of_a_process(exercise, source):
    inside = Inside(exercise, source)
    messages = [json.loads(inside.load(5.0))]
    messages += [json.loads(inside.ask(place, 5.0)) for place in range(messages[0].get("calls", 0))]
    told, right = json.loads(report(exercise, json.dumps(messages))), check_source(source, exercise=exercise).to_dict()
    told["cases"], right["cases"] = (
        [(c["name"], c["state"], c["hint"]) for c in it["cases"][:3]] for it in (told, right)
    )
    assert told == right

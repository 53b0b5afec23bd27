"""The check passes what is right, and says what is wrong with everything else."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import oracle
import pytest
from commands import invoke
from hypothesis import given
from hypothesis import strategies as st
from test_check.corpus import PROGRAMS

import leakyrelu
from leakyrelu.check import Report, check, check_named, check_source
from leakyrelu.check.cases import EXERCISES, LEVELS, Case, cases_of
from leakyrelu.check.explaining import explain
from leakyrelu.check.mistakes import DERIVATIVE_MISTAKES, MISTAKES, NUMBER_MISTAKES
from leakyrelu.check.sandbox.calling import decode, encode

RIGHT = "def leaky_relu(z, alpha=0.01):\n    return z if z >= 0 else alpha * z\n"


@pytest.mark.parametrize("level", LEVELS)
def test_the_librarys_own_function_passes_in_this_process_and_in_another(level):
    here, apart = check(leakyrelu.leaky_relu, level=level), check_named("leakyrelu:leaky_relu", level=level)
    assert here.passed, here
    assert apart.passed, apart
    assert [case.got for case in here.cases] == [case.got for case in apart.cases]
    assert not any(case.state == "hint" for case in here.cases)


def ask(program, level):
    """Check what is asked at the exercise, which may do anything, in a process of its own; the rest here, for speed."""
    if program.level == "exercise":
        return check_source(program.source, exercise=program.exercise)
    names = {}
    exec(program.source, names)
    return check(names["leaky_relu"], level=level, derivative=names.get("leaky_relu_derivative"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: f"{program.level} {program.exercise}: {program.name}")
def test_a_program_of_the_corpus_gets_its_verdict_and_its_cause(program):
    report = ask(program, program.level)
    remarks = "; ".join(case.hint for case in report.cases if case.state == "hint")
    assert ("wrong" if not report.passed else "remark" if remarks else "right") == program.verdict, report
    assert program.cause in (remarks if report.passed else report.cause), report
    assert bool(report.cause) == (not report.passed)


@pytest.mark.parametrize(
    "program",
    [program for program in PROGRAMS if program.level != "exercise" and program.verdict == "wrong"],
    ids=lambda program: program.name,
)
def test_a_wrong_program_passes_the_levels_below_its_own(program):
    report = ask(program, LEVELS[LEVELS.index(program.level) - 1])
    assert report.passed, report


def test_the_corpus_is_large_and_names_each_program_once():
    names = [(program.level, program.exercise, program.name) for program in PROGRAMS]
    assert len(names) == len(set(names))
    assert len(names) >= 200
    assert all(sum(of == exercise for _, of, _ in names) >= 25 for exercise in EXERCISES)
    assert {program.level for program in PROGRAMS} == set(LEVELS)
    assert all(program.cause for program in PROGRAMS if program.verdict == "wrong")


def test_zero_printed_as_a_float_passes_with_a_hint():
    report = check_source("def leaky_relu(z, alpha=0.01): return z if z > 0 else alpha * z")
    zero, *others = report.cases
    assert (zero.call, zero.got, zero.expected, zero.state) == ("leaky_relu(0)", "0.0", "0", "hint")
    assert "return z itself where z >= 0" in zero.hint
    assert {case.state for case in others} == {"passed"}


def test_a_function_that_prints_and_returns_passes_with_a_hint():
    report = check_source("def leaky_relu(z, alpha=0.01):\n    print(z)\n    return z if z >= 0 else alpha * z")
    assert report.passed
    assert all("it also prints" in case.hint for case in report.cases)
    assert report.cases[1].got == "printed '1' and returned 1"


def test_other_last_digits_pass_with_a_remark():
    report = check_source("def leaky_relu(z, alpha=0.01): return z - (1 - alpha) * min(z, 0)")
    assert report.passed
    one = report.cases[2]
    assert (one.got, one.state) == ("-0.010000000000000009", "hint")
    assert one.hint.startswith("nearly right: it gives -0.010000000000000009 and not -0.01; ")


def test_each_case_says_what_was_called_came_back_and_is_right_and_why():
    report = check(lambda z, alpha=0.1: z if z >= 0 else alpha * z)
    assert report.failures[0].call == "<lambda>(-1)"
    assert str(report.failures[0]).splitlines() == [
        "failed    <lambda>(-1) -> -0.1",
        "          expected: -0.01",
        "          why:      a negative number is multiplied by alpha, and alpha is 0.01 where none is given",
        "          hint:     the default slope is 0.1; it must be 0.01",
    ]
    assert str(report.cases[0]) == "passed    <lambda>(0) -> 0"
    assert str(report).endswith(
        "7 of 30 cases failed at level exercise.\nLikely cause: the default slope is 0.1; it must be 0.01."
    )


def test_a_mistake_is_not_named_if_a_right_answer_rules_it_out():
    report = check(lambda z, alpha=0.01: z if z >= 0 else 0.0 if z == -0.5 else alpha * z)  # a ReLU at one number
    (failure,) = report.failures
    assert failure.call == "<lambda>(-0.5, alpha=0.2)"
    assert (failure.hint, report.cause) == ("", "")


def test_without_a_known_cause_the_place_is_named():
    assert "only numbers below zero" in check(lambda z, alpha=0.01: z if z >= 0 else alpha * z**3).cause
    assert "only zero" in check(lambda z, alpha=0.01: z if z > 0 else alpha * z if z < 0 else 7).cause


def test_two_causes_are_both_named():
    report = check_source(
        "import numpy as np\ndef leaky_relu(x, alpha=0.2):\n    x = np.asarray(x)\n"
        "    return np.where(x > 0, x, alpha * x).astype(float if x.ndim == 0 and x.dtype.kind == 'i' else x.dtype)",
        level="array",
    )
    assert "the default slope is 0.2" in report.cause
    assert "the products are cut to integers" in report.cause


@pytest.mark.parametrize(
    ("expression", "cause"),
    [("np.maximum(z, 0)", "it is the ReLU, max(0, z)"), ("np.abs(z)", "it returns the absolute value")],
)
def test_integers_that_come_of_no_product_are_not_said_to_be_cut(expression, cause):
    report = check_source(f"import numpy as np\ndef leaky_relu(z, alpha=0.01): return {expression}", level="array")
    assert report.cause == f"{cause}: below zero return alpha * z"


def test_exceptions_have_the_line_of_the_code():
    report = check_source("def leaky_relu(z, alpha=0.01):\n    if z >= 0:\n        return z\n    return alhpa * z\n")
    assert report.failures[0].got == "raised NameError in line 4: name 'alhpa' is not defined"


@pytest.mark.parametrize(
    ("source", "error", "cause"),
    [
        ("def leaky_relu(z, alpha=0.01)\n    return z", "SyntaxError in line 1: expected ':'", "colon is missing"),
        ("def leaky_relu(z, alpha=0.01):\nreturn z", "IndentationError in line 2: ", "put four spaces"),
        ("def leaky_relu(z, alpha=0,01):\n    return z", "SyntaxError in line 1: ", "written with a point"),
        ("def leaky_relu(z):\n    if z = 0: return z", "SyntaxError in line 2: ", "== compares"),
        ("import numpyy", "ModuleNotFoundError in line 1: No module named 'numpyy'", "not installed"),
        ("z = float(input('z? '))", "EOFError in line 1: ", "take the number from the argument"),
        ("import sys\nsys.exit('bye')", "SystemExit in line 2: bye", "calls exit"),
        ("import os\nos._exit(7)", "ended its process, with exit code 7 while the code was being loaded", "os._exit"),
        ("def lrelu(z): ...", "there is no 'leaky_relu' in the text; functions there: lrelu", ""),
        ("", "there is no 'leaky_relu' in the text; no function is defined there", ""),
        ("leaky_relu = 3", "leaky_relu must be a function, it is 3, of type int", ""),
        ("class leaky_relu: ...", "leaky_relu is a class without __call__; it has no methods either", ""),
        ("leaky_relu = 1 / 0", "ZeroDivisionError in line 1: division by zero", "multiply"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_says_why(source, error, cause):
    report = check_source(source)
    assert not report.passed
    assert report.error.startswith(error)
    assert cause in report.cause
    assert report.cases == ()
    assert str(report).startswith("Could not be checked: ")


def test_the_derivative_is_found_beside_the_function_or_named_or_missing():
    derivative = (
        "import numpy as np\ndef {}(x, alpha=0.01): return np.where(x >= 0, 1, alpha).astype(np.asarray(x).dtype)\n"
    )
    function = "from leakyrelu import leaky_relu\n"
    assert check_source(function + derivative.format("leaky_relu_derivative"), level="derivative").passed
    assert check_source(function + derivative.format("slope"), level="derivative", derivative="slope").passed
    assert "there is no 'slope' in the text" in check_source(function, level="derivative", derivative="slope").error
    assert "needs the derivative too" in check_source(function, level="derivative").error
    assert "needs the derivative too" in check(lambda x, alpha: x, level="derivative").error
    assert check(leakyrelu.leaky_relu, level="derivative", derivative=leakyrelu.leaky_relu_derivative).passed


def test_conventions_at_zero_are_reported_and_not_judged():
    def by_the_slope(x, alpha=0.01):
        x = np.asarray(x)
        return np.where(x > 0, 1, alpha).astype(x.dtype)[()]

    report = check(leakyrelu.leaky_relu, level="derivative", derivative=by_the_slope)
    assert report.passed
    reported = {case.name: case for case in report.cases if case.state == "reported"}
    assert "alpha here, as in PyTorch" in reported["the derivative at zero"].hint
    assert reported["the derivative at zero"].expected == "a convention, not judged"
    ours = {case.name: case for case in check(leakyrelu.leaky_relu, level="derivative").cases}
    assert "1 here, as in this library" in ours["the derivative at zero"].hint
    assert report.verdict == "All 78 cases passed at level derivative, 3 reported and not judged."


def test_no_function_and_no_level_are_refused():
    assert check(3).error == "a function is wanted, got int"
    with pytest.raises(ValueError, match="level must be one of exercise, array, ieee, derivative, got 'all'"):
        check(leakyrelu.leaky_relu, level="all")
    for seconds in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="seconds must be above zero and finite"):
            check_source(RIGHT, seconds=seconds)
    for spec in ("leaky_relu", ":leaky_relu", "leakyrelu:"):
        with pytest.raises(ValueError, match="MODULE:NAME"):
            check_named(spec)


def test_a_report_goes_through_json_whole():
    for report in (check(lambda z, alpha: z), check_source("def leaky_relu(")):
        data = report.to_dict()
        assert json.loads(json.dumps(data)) == data
        assert data["format"] == 1
        assert (data["passed"], data["error"], data["cause"]) == (report.passed, report.error, report.cause)
        assert [case["got"] for case in data["cases"]] == [case.got for case in report.cases]
    assert Report("exercise").to_dict()["passed"] is True


def test_a_file_finds_the_modules_beside_it(tmp_path):
    (tmp_path / "helper.py").write_text("def positive(z):\n    return max(z, 0)\n")
    file = tmp_path / "answer.py"
    file.write_text("from helper import positive\ndef f(z, alpha=0.01): return positive(z) - alpha * positive(-z)\n")
    assert check_named(f"{file}:f").passed
    assert "there is no 'leaky_relu' in answer.py; functions there: positive, f" in check_named(str(file)).error


def test_pytorch_is_asked_with_tensors_and_its_gradient():
    pytest.importorskip("torch")
    report = check_named("torch.nn.functional:leaky_relu", level="derivative")
    states = {case.name: case for case in report.cases}
    assert states["the derivative with a slope"].passed
    assert states["the derivative at zero"].got == "0.25"
    assert "63 of 31,743 are wrong" in states["float16 rounded once, 0.3"].hint
    assert "rounded twice" in states["float16 rounded once, 0.3"].hint


FORMULAS = [*((text, formula, "function") for text, formula in (*MISTAKES, *NUMBER_MISTAKES))]
FORMULAS += [(text, formula, "derivative") for text, formula in DERIVATIVE_MISTAKES]


@pytest.mark.parametrize(("text", "formula", "of"), FORMULAS)
def test_each_mistake_is_named_where_its_numbers_are_wrong(text, formula, of):
    asked = [
        case
        for case in cases_of("derivative")
        if case.of == of and case.rule != "reported" and type(case.x) in {int, float}
    ]
    with np.errstate(all="ignore"):
        values = [float(formula(float(case.x), case.slope, case.alpha is not None)) for case in asked]
    answered = [
        (case, value, not np.isclose(value, case.expected, rtol=1e-15, atol=0, equal_nan=True))
        for case, value in zip(asked, values, strict=True)
    ]
    told = explain(answered)
    for (_, _, wrong), texts in zip(answered, told, strict=True):
        assert (text.replace("{default:g}", "0.01") in texts) == wrong


@given(
    st.floats(width=32) | st.floats(width=64) | st.integers(-(10**6), 10**6),
    st.floats(-10, 10).map(lambda alpha: alpha or 0.0),
)
def test_what_is_expected_of_a_number_is_what_the_oracle_gives(x, alpha):
    for of, function in (("function", oracle.leaky_relu), ("derivative", oracle.leaky_relu_derivative)):
        expected = Case("ieee", "", "", x, "", alpha, of=of).expected
        oracle.assert_same(np.float64(expected), function(np.float64(x), alpha))


@given(
    st.lists(st.integers(0, 0xFFFF), min_size=1), st.floats(-4, 4, width=32), st.sampled_from(["float16", "bfloat16"])
)
def test_what_is_expected_of_a_half_is_rounded_once(bits, alpha, name):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = np.dtype(np.float16 if name == "float16" else ml_dtypes.bfloat16)
    x = np.array(bits, np.uint16).view(kind)
    with np.errstate(all="ignore"):
        numbers = np.arange(0x7C00 if name == "float16" else 0x7F80, dtype=np.uint16).view(kind).astype(np.float64)
        exact = np.float64(np.float32(alpha)) * x.astype(np.float64)
        rounded = oracle.round_to(numbers, exact).astype(kind)
        oracle.assert_same(Case("ieee", "", "", x, "", alpha).expected, np.where(x >= 0, x, rounded))


@given(st.integers() | st.floats() | st.lists(st.integers() | st.floats(), max_size=5))
def test_numbers_and_lists_are_sent_whole(value):
    sent = decode(json.loads(json.dumps(encode(value))))
    assert repr(sent) == repr(value)


@pytest.mark.parametrize("case", cases_of("derivative"), ids=lambda case: case.name)
def test_arguments_are_sent_whole(case):
    sent = decode(json.loads(json.dumps(encode(case.x))))
    oracle.assert_same(np.asarray(sent), np.asarray(case.x))
    assert type(sent) is type(case.x)


def test_names_of_cases_are_unique_and_levels_contain_those_before():
    for lower, level in itertools.pairwise(LEVELS):
        names = [case.name for case in cases_of(level)]
        assert len(names) == len(set(names))
        assert names[: len(cases_of(lower))] == [case.name for case in cases_of(lower)]


def run(*words, cwd=None):
    return invoke("check", *words, cwd=cwd)


def test_the_exit_code_of_the_command_tells_the_result(tmp_path):
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(RIGHT.replace("0.01", "0.2"))
    (tmp_path / "broken.py").write_text("def leaky_relu(")
    right, wrong, broken = (run(f"{name}.py", cwd=tmp_path) for name in ("right", "wrong", "broken"))
    assert (right.exit_code, wrong.exit_code, broken.exit_code) == (0, 1, 2)
    assert right.stdout.endswith("All 30 cases passed at level exercise.\n")
    assert wrong.stdout.endswith("Likely cause: the default slope is 0.2; it must be 0.01.\n")
    assert broken.stdout.startswith("Could not be checked: SyntaxError in line 1: '(' was never closed.\n")
    assert right.stderr == wrong.stderr == ""
    assert broken.stderr == "leakyrelu: broken.py could not be checked; the report says why\n"


def test_the_command_prints_json(tmp_path):
    (tmp_path / "wrong.py").write_text("def f(z, alpha=0.01): return abs(z)")
    result = run("wrong.py:f", "--json", "--level", "array", "--seconds", 2, cwd=tmp_path)
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (report["level"], report["passed"]) == ("array", False)
    assert "absolute value" in report["cause"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a function is needed"),
        (["missing.py"], "No such file or directory: missing.py"),
        (["leaky_relu"], "MODULE:NAME"),
        (["leakyrelu:leaky_relu", "--level", "all"], "level must be one of"),
        (["leakyrelu:leaky_relu", "--seconds", "0"], "seconds must be above zero"),
    ],
)
def test_the_command_refuses_in_one_line(words, message, tmp_path):
    result = run(*words, cwd=tmp_path)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("leakyrelu: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_a_module_is_found_from_the_working_directory(tmp_path):
    (tmp_path / "mine.py").write_text(RIGHT + "def slope(x, alpha=0.01): return leaky_relu(x, alpha)")
    assert run("mine:leaky_relu", cwd=tmp_path).exit_code == 0
    result = run("mine:leaky_relu", "--level", "derivative", "--derivative", "slope", "--json", cwd=tmp_path)
    assert "of the derivative: " in json.loads(result.stdout)["cause"]


def test_a_check_imports_no_framework_and_the_package_no_check():
    code = """
import sys, leakyrelu
assert "leakyrelu.check" not in sys.modules
assert leakyrelu.check.check(leakyrelu.leaky_relu, level="derivative").passed
assert leakyrelu.check.check_source("leaky_relu = lambda z, alpha=0.01: z if z >= 0 else alpha * z").passed
assert not {"torch", "jax", "onnxruntime", "matplotlib", "typer"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONWARNINGS": "error"})

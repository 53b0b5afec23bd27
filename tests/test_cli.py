"""The command line, as a person types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import fails, invoke, run

import leakyrelu
from leakyrelu import leaky_relu, leaky_relu_derivative

COMMAND = Path(sys.executable).with_name("leakyrelu")


def in_a_process(*words, cwd=None):
    """Run the command as a shell does."""
    command = [sys.executable, "-m", "leakyrelu", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("eval -- -2 1", 0, "-0.02\n1\n"),
        ("eval -a nan 1", 2, "leakyrelu: alpha must be finite, got nan\n"),
        ("apply in.npy out.npy", 0, ""),
        ("plot -o figure.png", 0, ""),
        ("diagnose nets:make --data x.npy", 0, "1 of 4 units (25.0 %) is dead"),
        ("check answer.py", 0, "All 30 cases passed at level exercise.\n"),
        ("born-dead --width 2 --depth 3 --networks 100", 0, "0.15625, known exactly"),
        ("tune objective:f --trials 3 --seeds 2", 0, "Best of 3 slopes"),
        ("learn --port 99999", 2, "65535"),
        ("demo -o x.npy", 2, "leakyrelu: File exists: x.npy\n"),
    ],
)
def test_each_command_works_in_a_process_of_its_own(patient, words, code, said):
    if words.startswith("diagnose"):
        pytest.importorskip("torch")
    np.save(patient / "in.npy", np.ones(3))
    (patient / "answer.py").write_text("def leaky_relu(z, alpha=0.01): return z if z >= 0 else alpha * z\n")
    (patient / "objective.py").write_text("def f(alpha, seed): return alpha + seed\n")
    result = in_a_process(*words.split(), cwd=patient)
    assert result.returncode == code, result.stderr
    assert said in (result.stderr if code else result.stdout)
    assert "Traceback" not in result.stderr
    assert code or not result.stderr


@pytest.mark.parametrize(
    ("words", "missing"),
    [("plot", "--output"), ("apply", "IN.npy"), ("apply x.npy", "OUT.npy"), ("born-dead --width 3", "--depth")],
)
def test_what_is_missing_is_named(words, missing):
    result = in_a_process(*words.split())
    assert result.returncode == 2
    assert f"Missing {'option' if '--' in missing else 'argument'} '{missing}'" in result.stderr


def test_eval_prints_the_values():
    assert run("eval", "--", -2, -1, 0, 1, 2) == "-0.02\n-0.01\n0\n1\n2\n"
    assert run("eval", "--alpha", 0.1, "--", -2, 0.5) == "-0.2\n0.5\n"
    assert run("eval", "--alpha", -0.5, "--", -2.5) == "1.25\n"
    assert run("eval", "--derivative", "--", -2, 0, 3) == "0.01\n1\n1\n"
    assert run("eval", "nan", "inf", "1e3") == "nan\ninf\n1000.0\n"


def test_eval_takes_negative_numbers_as_they_are():
    assert run("eval", -2, -1, 0, "-1e2", "-inf") == "-0.02\n-0.01\n0\n-1.0\n-inf\n"
    assert run("eval", -12, "-.5", "--alpha", 0.25) == "-3.0\n-0.125\n"
    assert run("eval", "-d", -3, "-a", 0.25) == "0.25\n"
    assert (
        fails("eval", "--alhpa", 0.1, -2)
        == "leakyrelu: '--alhpa' is neither a number nor an option; see leakyrelu eval --help\n"
    )


def test_eval_reads_standard_input_when_no_numbers_are_given():
    assert run("eval", stdin="-2 -1\n\n3\n") == "-0.02\n-0.01\n3\n"
    assert run("eval", stdin="") == ""


def test_eval_names_what_is_not_a_number():
    assert fails("eval", "1.5.2") == "leakyrelu: '1.5.2' is not a number\n"
    assert "'x' is not a number" in fails("eval", stdin="x")
    assert "alpha must be finite, got nan" in fails("eval", "--alpha", "nan", "1")


@pytest.mark.parametrize("command", ["tune", "diagnose --data x.npy"])
def test_a_file_in_place_of_a_module_is_told_how_to_be_named(command):
    if command.startswith("diagnose"):
        pytest.importorskip("torch")
    error = fails(*command.split(), "./nets/mlp.py:make")
    assert error.endswith("got './nets/mlp.py:make', which names a file; write nets.mlp:make\n")


def test_eval_without_numbers_still_checks_the_slope_and_its_input():
    assert "alpha must be finite" in fails("eval", "--alpha", "nan", stdin="")
    assert "int too large" in fails("eval", "--", f"-1{'0' * 400}")
    command = f"{sys.executable} -m leakyrelu eval <&-"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


def test_eval_ends_quietly_when_nobody_reads_on():
    command = f"yes 1 | {sys.executable} -m leakyrelu eval | head -n 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("1\n", "")


def test_apply_warns_in_one_line(tmp_path):
    np.save(tmp_path / "in.npy", np.array([-1e300]))
    result = in_a_process("apply", "in.npy", "out.npy", "--alpha", "1e30", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "leakyrelu: warning: overflow encountered in leaky_relu\n")


OLD = """
import sys, warnings
def warn(category):
    warnings.warn(f"{category.__name__} for the caller", category, stacklevel=2)
class OurDeprecationWarning(DeprecationWarning):
    pass
"""
LIBRARY = """
import warnings
from old import *
warnings.filterwarnings("always", module="library")  # as scikit-learn does
for category in (DeprecationWarning, OurDeprecationWarning, PendingDeprecationWarning, FutureWarning):
    warn(category)
"""
OBJECTIVE = """
import warnings
import library
from old import warn
def f(alpha, seed):
    if alpha == seed == 0:
        for category in (UserWarning, RuntimeWarning, FutureWarning, DeprecationWarning):
            warn(category)
    return alpha
"""


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], ["UserWarning", "RuntimeWarning", "FutureWarning"]),
        (["-W", "ignore::FutureWarning"], ["UserWarning", "RuntimeWarning"]),
        (["-W", "ignore", "-W", "default::DeprecationWarning:objective"], ["DeprecationWarning"]),
    ],
)
def test_of_deprecations_only_those_of_the_users_own_code_are_shown(tmp_path, options, shown):
    libraries = tmp_path / "site-packages"
    libraries.mkdir()
    (libraries / "old.py").write_text(OLD)
    (libraries / "library.py").write_text(LIBRARY)
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    command = [sys.executable, *options, "-m", "leakyrelu", "tune", "objective:f", "--trials", "3", "--seeds", "1"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    environment["PYTHONPATH"] = str(libraries)
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    own = [f"leakyrelu: warning: {name} for the caller" for name in shown]
    told = [line for line in result.stderr.splitlines() if "for the caller" in line]
    assert told[-len(own) :] == own
    assert options or told == own


def test_whoever_asks_for_warnings_of_libraries_sees_them(tmp_path):
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages/old.py").write_text(OLD)
    (tmp_path / "site-packages/library.py").write_text(LIBRARY.replace("warnings.filter", "# "))
    (tmp_path / "objective.py").write_text(OBJECTIVE)
    environment = os.environ | {"PYTHONWARNINGS": "default", "PYTHONPATH": str(tmp_path / "site-packages")}
    command = [sys.executable, "-m", "leakyrelu", "tune", "objective:f", "--trials", "3", "--seeds", "1"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "leakyrelu: warning: OurDeprecationWarning for the caller\n" in result.stderr


def test_apply(tmp_path):
    x = np.linspace(-3, 3, 1000, dtype=np.float32)
    np.save(tmp_path / "in.npy", x)
    assert run("apply", "in.npy", "out.npy", "--alpha", 0.1, cwd=tmp_path) == ""
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), leaky_relu(x, 0.1))
    assert "exists already; use --force" in fails("apply", "in.npy", "out.npy", cwd=tmp_path)
    run("apply", "in.npy", "out.npy", "--force", "--derivative", cwd=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), leaky_relu_derivative(x))


def test_apply_says_in_one_line_what_is_wrong(tmp_path):
    np.save(tmp_path / "in.npy", np.ones(100))
    np.save(tmp_path / "complex.npy", np.ones(3, complex))
    (tmp_path / "short.npy").write_bytes((tmp_path / "in.npy").read_bytes()[:-8])
    (tmp_path / "foreign.npy").write_text("hello")
    (tmp_path / "directory").mkdir()
    for arguments, text in {
        ("short.npy", "out.npy"): "short.npy is truncated",
        ("foreign.npy", "out.npy"): "foreign.npy is not a .npy file",
        ("complex.npy", "out.npy"): "got complex128",
        ("none.npy", "out.npy"): "No such file or directory: none.npy",
        ("directory", "out.npy"): "directory is not a regular file",
        ("in.npy", "in.npy"): "are the same file",
        ("in.npy", "directory", "--force"): "directory is not a regular file",
        ("in.npy", "out.npy", "--alpha", "inf"): "alpha must be finite, got inf",
    }.items():
        assert text in fails("apply", *arguments, cwd=tmp_path)
    assert not (tmp_path / "out.npy").exists()


@pytest.fixture
def interruptible():
    """What a shell runs in the background ignores SIGINT, and so would the processes it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


SLOWLY = """
import sys, time
from leakyrelu._shared import files
from leakyrelu.__main__ import main
real, files._BLOCK_BYTES = files.read_header, 800
def read_header(source):
    print(".", flush=True)
    return real(source)
files.read_header = read_header
main()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("wait", [0, 0.01, 0.05, 0.1])
def test_apply_stopped_from_outside_leaves_nothing(tmp_path, name, wait):
    np.save(tmp_path / "in.npy", np.zeros(3_000_000))
    heeded = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"  # the tests may run under nohup
    words = [sys.executable, "-c", heeded + SLOWLY, "apply", "in.npy", "out.npy"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(wait)
        process.send_signal(getattr(signal, name))
        process.send_signal(getattr(signal, name))  # impatience must not stop the tidying
        assert process.stderr.read() == b""
    assert process.returncode == -getattr(signal, name)
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    np.save(tmp_path / "in.npy", np.zeros(300_000))
    words = ["nohup", sys.executable, "-c", SLOWLY, "apply", "in.npy", "out.npy"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.communicate()
    assert process.returncode == 0
    assert (tmp_path / "out.npy").exists()


@pytest.mark.usefixtures("interruptible")
def test_apply_interrupted_leaves_nothing(tmp_path):
    with open(tmp_path / "in.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"shape": (2**31,), "fortran_order": False, "descr": "<f8"})
        file.truncate(file.tell() + 2**34)  # 16 GiB of nothing: it cannot have finished
    command = [sys.executable, "-m", "leakyrelu", "apply", "in.npy", "out.npy"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        while not list(tmp_path.glob(".*.part")):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        message = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "PNG"])
def test_plot(tmp_path, ending):
    run("plot", "-o", f"figure.{ending}", "--alpha", 0.01, "--alpha", 0.1, cwd=tmp_path)
    start = (tmp_path / f"figure.{ending}").read_bytes()[:200]
    assert {"png": b"PNG", "svg": b"<svg", "pdf": b"%PDF"}[ending.lower()] in start or b"<?xml" in start


def test_plot_refuses_what_it_cannot_write(tmp_path):
    assert "figure.txt must end in .png, .svg, .pdf" in fails("plot", "-o", "figure.txt", cwd=tmp_path)
    assert "alpha must be finite" in fails("plot", "-o", "figure.png", "-a", "nan", cwd=tmp_path)
    assert "directory: nowhere/figure.png" in fails("plot", "-o", "nowhere/figure.png", cwd=tmp_path)
    assert "choose smaller slopes" in fails("plot", "-o", "figure.png", "-a", "1e308", cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_version_and_help():
    assert run("--version") == f"leakyrelu {leakyrelu.__version__}\n"
    text = run("--help")
    assert "leakyrelu eval -2 -1 0 1 2" in " ".join(text.split())
    for command in ("eval", "apply", "plot", "demo", "diagnose", "born-dead", "tune"):
        assert command in text
        assert "Examples" in run(command, "--help")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("leakyrelu ", ["eval", "apply", "plot", "demo", "diagnose", "compare", "check", "born-dead", "tune", "learn"]),
        ("leakyrelu d", ["demo", "diagnose"]),
        ("leakyrelu plot --a", ["--alpha"]),
        ("leakyrelu check --level ", ["exercise", "array", "ieee", "derivative"]),
        ("leakyrelu check --level a", ["array"]),
        ("leakyrelu check ans", []),  # then the shell offers files
    ],
)
def test_a_shell_completes_commands_options_and_levels(typed, offered):
    asked = {"_LEAKYRELU_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    command = [sys.executable, "-X", "importtime", COMMAND]
    result = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True)
    assert (result.returncode, result.stdout.split()) == (0, offered)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}
    assert "typer" in loaded
    assert not {"matplotlib", "optuna", "scipy", "sklearn", "torch"} & loaded  # they take seconds


def test_completion_is_installed_for_the_shell_that_asks(tmp_path):
    script = """
leakyrelu --install-completion
. .bash_completions/leakyrelu.sh
COMP_WORDS=(leakyrelu di) COMP_CWORD=1
_leakyrelu_completion leakyrelu
echo "offered: ${COMPREPLY[@]}"
"""
    environment = {"HOME": str(tmp_path), "PATH": f"{COMMAND.parent}:/usr/bin:/bin"}
    result = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "offered: diagnose", result.stderr


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("complete_tcsh", {"_LEAKYRELU_COMPLETE": "complete_tcsh"}),
        ("yes", {"_LEAKYRELU_COMPLETE": "yes"}),
        ("COMP_WORDS", {"_LEAKYRELU_COMPLETE": "complete_bash"}),
        ("'three'", {"_LEAKYRELU_COMPLETE": "complete_bash", "COMP_WORDS": "leakyrelu", "COMP_CWORD": "three"}),
    ],
)
def test_what_no_shell_asks_for_is_refused(name, given):
    result = subprocess.run([COMMAND, "eval", "1"], env=os.environ | given, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "_LEAKYRELU_COMPLETE" in result.stderr
    assert name in result.stderr
    assert "unset it" in result.stderr


def test_unknown_options_end_with_code_2():
    assert "No such option" in run("apply", "--nonsense", code=2)
    assert "neither a number nor an option" in run("eval", "--nonsense", code=2)
    assert "No such command" in run("nonsense", code=2)


@pytest.mark.parametrize("missing", ["typer", "rich", "matplotlib"])
def test_without_an_extra_it_says_what_to_install(tmp_path, missing):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {missing!r}:\n"
        f"            raise ModuleNotFoundError('No module named {missing}', name={missing!r})\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "leakyrelu", "plot", "-o", str(tmp_path / "x.png")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 2
    extra = "plot" if missing == "matplotlib" else "cli"
    assert f"pip install 'leakyrelu[{extra}]'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture
def patient(tmp_path):
    """A model of which one unit in four is dead, and its data."""
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))\n"
        "    model[0].weight.data.fill_(1.0)\n"
        "    model[0].bias.data.zero_()[2] = -100\n"
        "    return model\n"
    )
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(400, 2)))
    return tmp_path


def test_diagnose_prints_a_table_and_writes_both_reports(patient):
    pytest.importorskip("torch")
    text = run("diagnose", "nets:make", "--data", "x.npy", "--html", "r.html", "--json", "r.json", cwd=patient)
    assert "1 of 4 units (25.0 %) is dead: it fires on none of 400 examples" in text
    report = json.loads((patient / "r.json").read_text())
    assert (report["examples"], report["sites"][0]["dead"]) == (400, [2])
    assert "1 of 4 units" in (patient / "r.html").read_text()


def test_diagnose_counts_only_what_the_mask_calls_real(patient):
    pytest.importorskip("torch")
    tokens = np.full((3, 5, 2), 1.0)
    tokens[:, 2:] = 1000.0
    real = np.zeros((3, 5), bool)
    real[:, :2] = True
    np.savez(patient / "x.npz", input=tokens, attention_mask=real)
    given = "diagnose", "nets:make", "--data", "x.npz"
    assert "None of 4 units is dead" in run(*given, cwd=patient)  # padding makes the dead one fire
    run(*given, "--mask", "attention_mask", "--json", "r.json", cwd=patient)
    site = json.loads((patient / "r.json").read_text())["sites"][0]
    assert (site["values"], site["dead"]) == (6, [2])
    message = fails(*given, "--mask", "padding", cwd=patient)
    assert "x.npz holds input, attention_mask, and no mask 'padding'; name one of its arrays" in message
    for way in ("--revive", "--remove"):
        assert "--mask cannot be given" in fails(*given, "--mask", "attention_mask", way, "new.pt", cwd=patient)


@pytest.mark.parametrize(("most", "code"), [(0.24, 1), (0.25, 0)])
def test_diagnose_fails_above_a_fraction_of_dead_units(patient, most, code):
    pytest.importorskip("torch")
    message = run("diagnose", "nets:make", "--data", "x.npy", "--fail-above", most, cwd=patient, code=code)
    assert code == 0 or message == "leakyrelu: 25.0% of the units are dead, more than 24.0%\n"


UNRULY = """
import os, sys
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

class Nan(Net):
    def __init__(self):
        super().__init__()
        self[0].weight.data.fill_(float("nan"))

class OneNan(Net):
    def __init__(self):
        super().__init__()
        self[0].bias.data.fill_(100)
        self[0].weight.data[0].fill_(float("nan"))

class Exits(Net):
    def forward(self, x):
        sys.exit(0)

class ExitsSilently(Net):
    def forward(self, x):
        raise SystemExit

class Own(Net):
    def forward(self, x):
        raise type("Own", (BaseException,), {})("mine")

class Closes(Net):
    def forward(self, x):
        raise GeneratorExit

class Mute(Net):
    def forward(self, x):
        raise type("Mute", (Exception,), {"__str__": lambda self: 1 / 0})

class Nothing(Net):
    def forward(self, x):
        return x

class ExitsWhenLoaded(Net):
    def load_state_dict(self, state):
        sys.exit(0)

class Vanishes(Net):
    def forward(self, x):
        os._exit(0)

class VanishesWithOne(Net):
    def __init__(self):
        os._exit(1)

class Forks(Net):
    def forward(self, x):
        if not (child := os.fork()):
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        return super().forward(x)

def exits():
    sys.exit(0)

def ends():
    raise GeneratorExit
"""


@pytest.fixture
def unruly(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "unruly.py").write_text(UNRULY)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(50, 4)))
    (tmp_path / "report.json").write_text("of an earlier run")
    return tmp_path


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("Exits", "it called sys.exit(0)"),
        ("ExitsSilently", "it called sys.exit()"),
        ("Own", "Own: mine"),
        ("Closes", "GeneratorExit"),
        ("Mute", "Mute"),
        ("Nothing", "called no activation"),
        ("exits", "SystemExit: 0"),
        ("ends", "GeneratorExit"),
    ],
)
@pytest.mark.parametrize("gate", [(), ("--fail-above", "1")])
def test_diagnose_fails_if_there_is_no_diagnosis_and_the_report_says_why(unruly, model, reason, gate):
    words = ["diagnose", f"unruly:{model}", "--data", "x.npy", "--json", "report.json", *gate]
    assert reason in fails(*words, cwd=unruly)
    report = json.loads((unruly / "report.json").read_text())
    assert report["format"] == 2
    assert reason in report["error"]


@pytest.mark.parametrize("model", ["Vanishes", "VanishesWithOne"])
def test_diagnose_fails_if_the_model_ends_the_process_at_once(unruly, model):
    words = ["diagnose", f"unruly:{model}", "--data", "x.npy", "--json", "report.json", "--fail-above", "1"]
    result = subprocess.run([COMMAND, *words], cwd=unruly, capture_output=True, text=True)
    reason = "the code that was run ended the process: it called os._exit"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"leakyrelu: {reason}\n")
    assert json.loads((unruly / "report.json").read_text()) == {"format": 2, "error": reason}


def test_tune_fails_if_the_objective_ends_the_process_at_once(tmp_path):
    (tmp_path / "train.py").write_text("import os\n\ndef score(alpha, seed):\n    os._exit(0)\n")
    result = subprocess.run([COMMAND, "tune", "train:score"], cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert "it called os._exit" in result.stderr.splitlines()[-1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_model_may_fork_and_end_its_child(unruly):
    words = ["diagnose", "unruly:Forks", "--data", "x.npy", "--fail-above", "1"]
    result = subprocess.run([COMMAND, *words], cwd=unruly, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "3 units" in result.stdout


@pytest.mark.parametrize("most", ["0", "0.5", "1"])
def test_diagnose_fails_if_no_unit_was_judged_and_the_report_says_so(unruly, most):
    words = ["diagnose", "unruly:Nan", "--data", "x.npy", "--json", "report.json", "--fail-above", most]
    assert "3 of 3 units had a NaN and were not judged" in fails(*words, cwd=unruly)
    report = json.loads((unruly / "report.json").read_text())
    assert (report["units"], report["judged"], report["dead"], report["dead_fraction"]) == (3, 0, 0, None)


@pytest.mark.parametrize(("most", "code"), [("0", 2), ("0.3", 2), ("0.34", 0), ("1", 0)])
def test_diagnose_fails_if_the_units_that_were_not_judged_could_be_too_many(unruly, most, code):
    result = invoke("diagnose", "unruly:OneNan", "--data", "x.npy", "--fail-above", most, cwd=unruly)
    assert result.exit_code == code
    assert ("1 of 3 units had a NaN" in result.stderr) == bool(code)


def test_diagnose_fails_if_the_weights_end_the_process_when_they_are_loaded(unruly):
    torch = pytest.importorskip("torch")
    torch.save({"0.weight": torch.ones(1)}, unruly / "net.pt")
    words = ["diagnose", "unruly:ExitsWhenLoaded", "--data", "x.npy", "--weights", "net.pt", "--fail-above", "1"]
    assert "ended the process: it called sys.exit(0)" in fails(*words, cwd=unruly)


@pytest.mark.parametrize("option", ["--html", "--json"])
def test_diagnose_refuses_a_report_that_cannot_be_written_before_the_model_runs(unruly, option):
    message = fails("diagnose", "unruly:Exits", "--data", "x.npy", option, "nowhere/report", cwd=unruly)
    assert message == "leakyrelu: No such file or directory: nowhere/report\n"


@pytest.mark.parametrize("name", ["new.pt", "new.safetensors"])
def test_diagnose_writes_the_weights_of_the_revived_model(patient, name):
    torch = pytest.importorskip("torch")
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")
    command = "diagnose", "nets:make", "--data", "x.npy", "--revive", name, "--fail-above", 0.24, "--json", "r.json"
    text = run(*command, cwd=patient)
    before, after = text.split("After, in")
    assert before.startswith("Before:\n")
    assert "1 of 4 units (25.0 %) is dead" in before
    assert "1 of 1 dead units revived; the outputs on the batches are exactly the same" in before
    assert "None of 4 units is dead" in after
    assert json.loads((patient / "r.json").read_text())["sites"][0]["dead"] == []
    again = run("diagnose", "nets:make", "--weights", name, "--data", "x.npy", cwd=patient)
    assert "None of 4 units is dead" in again
    if name.endswith("pt"):
        state = torch.load(patient / name, weights_only=True)
        assert (state["2.weight"][:, 2] == 0).all()
    written = (patient / name).read_bytes()
    assert "exists already; name another file, or add --force" in fails(*command, cwd=patient)
    assert (patient / name).read_bytes() == written
    run(*command, "--force", cwd=patient)
    assert sorted(path.name for path in patient.iterdir() if path.is_file()) == sorted(
        ["nets.py", "x.npy", "r.json", name]
    )


@pytest.mark.parametrize("name", ["small.pt", "small.safetensors"])
def test_diagnose_writes_the_weights_of_the_smaller_model_and_its_plan(patient, name):
    pytest.importorskip("torch")
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")
    given = "diagnose", "nets:make", "--data", "x.npy"
    command = *given, "--remove", name, "--fail-above", 0.24, "--json", "r.json", "--html", "r.html"
    text = run(*command, cwd=patient)
    before, after = text.split(f"After, in {name} (the plan is in small.plan.json):\n")
    assert before.startswith("Before:\n")
    assert "1 of 4 units (25.0 %) is dead" in before
    assert "\n1 dead unit removed; the output" in before
    assert "parameters: 17 -> 13 (76 %)" in before
    assert "None of 3 units is dead" in after
    assert json.loads((patient / "r.json").read_text())["sites"][0]["units"] == 3
    assert "None of 3 units is dead" in (patient / "r.html").read_text()
    new = sorted(["nets.py", "x.npy", "r.json", "r.html", name, "small.plan.json"])
    assert sorted(path.name for path in patient.iterdir() if path.is_file()) == new

    again = *given, "--weights", name, "--plan", "small.plan.json"
    assert run(*again, cwd=patient) == after
    assert "add --plan small.plan.json" in fails(*given, "--weights", name, cwd=patient)
    assert "nothing removed" in run(*again, "--remove", "same.pt", cwd=patient)
    twice = *again, "--plan", "same.plan.json"
    assert run(*twice, cwd=patient) == after

    plan = (patient / "small.plan.json").read_bytes()
    advice = "name another file, or add --force to overwrite it"
    assert f"{name} exists already; {advice}" in fails(*command, cwd=patient)
    (patient / name).unlink()
    assert f"small.plan.json exists already; {advice}" in fails(*command, cwd=patient)
    assert not (patient / name).exists()
    (patient / "small.plan.json").write_text("old")
    run(*command, "--force", cwd=patient)
    assert (patient / "small.plan.json").read_bytes() == plan
    assert run(*again, cwd=patient) == after


def test_diagnose_with_remove_fails_above_what_is_dead_afterwards(patient):
    pytest.importorskip("torch")
    source = (patient / "nets.py").read_text()
    (patient / "nets.py").write_text(
        source.replace("nn.ReLU(), ", "nn.ReLU(), nn.Unflatten(1, (2, 2)), nn.Flatten(), ")
    )
    result = invoke("diagnose", "nets:make", "--data", "x.npy", "--remove", "s.pt", "--fail-above", 0.24, cwd=patient)
    assert (result.exit_code, result.stderr) == (1, "leakyrelu: 25.0% of the units are dead, more than 24.0%\n")
    assert "\nnothing removed\n  left alone, 1: " in result.stdout
    assert "(the plan is in s.plan.json and keeps all of the weights, which are as they were):" in result.stdout
    assert json.loads((patient / "s.plan.json").read_text())["keep"] == {}


@pytest.mark.parametrize("way", ["--revive", "--remove"])
def test_diagnose_replaces_its_own_weights_only_by_force(patient, way):
    pytest.importorskip("torch")
    run("diagnose", "nets:make", "--data", "x.npy", "--revive", "net.pt", cwd=patient)
    before = (patient / "net.pt").read_bytes()
    command = "diagnose", "nets:make", "--data", "x.npy", "--weights", "net.pt", way, "net.pt"
    assert "net.pt exists already" in fails(*command, cwd=patient)
    assert (patient / "net.pt").read_bytes() == before
    run(*command, "--force", cwd=patient)


@pytest.mark.parametrize(
    ("words", "one", "other"),
    [
        ("--revive x.npy", "--revive", "--data"),
        ("--remove x.npy", "--remove", "--data"),
        ("--remove link.npy", "--remove", "--data"),
        ("--remove s.pt --json s.plan.json", "--json", "the plan of --remove"),
        ("--remove s.pt --html ./s.plan.json", "--html", "the plan of --remove"),
        ("--remove s.pt --html s.pt", "--remove", "--html"),
        ("--revive s.pt --json s.pt", "--revive", "--json"),
        ("--weights a.pt --plan a.plan.json --remove a.pt", "the plan of --remove", "--plan a.plan.json"),
        ("--plan a.plan.json --plan b.json --remove b.json", "--remove", "--plan b.json"),
        ("--weights a.plan.json --remove a.pt", "the plan of --remove", "--weights"),
        ("--remove linked.pt", "--remove", "the plan of --remove"),
        ("--weights a.pt --json a.pt", "--json", "--weights"),
        ("--json x.npy", "--json", "--data"),
    ],
)
def test_diagnose_writes_over_no_other_of_its_files(patient, words, one, other):
    pytest.importorskip("torch")
    for name in ("a.pt", "a.plan.json", "b.json"):
        (patient / name).write_text(name)
    (patient / "link.npy").symlink_to("x.npy")
    (patient / "linked.plan.json").symlink_to("linked.pt")
    before = {path: path.read_bytes() for path in patient.iterdir() if path.is_file()}
    force = ["--force"] if "--re" in words else []
    message = fails("diagnose", "nets:make", "--data", "x.npy", *words.split(), *force, cwd=patient)
    assert message.startswith(f"leakyrelu: {one} and {other} are the same file, ")
    assert {path: path.read_bytes() for path in patient.iterdir() if path.is_file()} == before


def test_diagnose_takes_force_with_a_file_only_and_one_way_to_treat_units(patient):
    pytest.importorskip("torch")
    given = "diagnose", "nets:make", "--data", "x.npy"
    assert "of --revive or --remove may be overwritten; no such file is given" in fails(*given, "--force", cwd=patient)
    both = fails(*given, "--revive", "r.pt", "--remove", "s.pt", cwd=patient)
    assert both == "leakyrelu: --revive brings dead units back, and --remove takes them out; give one of the two\n"


@pytest.mark.parametrize("way", ["", "--revive new.pt", "--remove new.pt"])
@pytest.mark.parametrize("error", ["ValueError", "TypeError", "RuntimeError", "KeyError"])
def test_diagnose_tells_in_one_line_what_the_model_raises_and_writes_nothing(patient, way, error):
    pytest.importorskip("torch")
    with (patient / "nets.py").open("a") as file:
        file.write(f"class Failing(nn.Module):\n    def forward(self, x):\n        raise {error}('it is\\nbroken')\n")
    before = sorted(patient.iterdir())
    assert "it is" in fails("diagnose", "nets:Failing", "--data", "x.npy", *way.split(), cwd=patient)
    assert [path for path in sorted(patient.iterdir()) if path.name != "__pycache__"] == before


def test_diagnose_says_what_is_wrong_with_its_input(patient):
    pytest.importorskip("torch")
    assert "a model and its data are needed" in fails("diagnose", "nets:make", cwd=patient)
    assert "no such file" in fails("diagnose", "nets:make", "--data", "y.npy", cwd=patient).lower()
    assert "nets has no 'nothing'" in fails("diagnose", "nets:nothing", "--data", "x.npy", cwd=patient)
    assert "from 0 to 1, got 2" in fails("diagnose", "nets:make", "--data", "x.npy", "--fail-above", 2, cwd=patient)


def test_diagnose_without_torch_says_how_to_install_it(patient):
    (patient / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')")
    result = in_a_process("diagnose", "nets:make", "--data", "x.npy", cwd=patient)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "needs PyTorch, which is missing: pip install 'leakyrelu[torch]'" in result.stderr


def test_born_dead_prints_theory_simulation_and_a_width():
    text = run("born-dead", "--width", 2, "--depth", 10, "--networks", 2000)
    assert "at least 0.8703, at most 0.9249" in text
    assert "standard error, 2,000 networks" in text
    assert "risk of at most 0.01 at this depth:  width 10 or more" in text
    assert text == run("born-dead", "--width", 2, "--depth", 10, "--networks", 2000, "--seed", 0)
    text = run("born-dead", "--width", 2, "--depth", 10, "--networks", 2000, "--alpha", 0.01, "--risk", 0.5)
    assert "none of 2,000 networks, so below 0.0015 with 95 % confidence" in text
    assert "risk of at most 0.5 at this depth:  any width" in text


def test_born_dead_draws(tmp_path):
    run("born-dead", "--width", 3, "--depth", 5, "--networks", 10, "-o", "picture.svg", cwd=tmp_path)
    assert b"<svg" in (tmp_path / "picture.svg").read_bytes()[:500]


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("--width", 0, "width must be at least 1, got 0"),
        ("--width", 10**7, "Unable to allocate"),
        ("--depth", -1, "depth must be at least 1, got -1"),
        ("--networks", 0, "networks must be at least 1, got 0"),
        ("--alpha", "nan", "alpha must be finite, got nan"),
        ("--risk", 1, "risk must be a number between 0 and 1, got 1.0"),
        ("--seed", -1, "non-negative"),
        ("--output", "picture.txt", "picture.txt must end in .png, .svg, .pdf"),
        ("--output", "nowhere/picture.png", "directory: nowhere/picture.png"),
    ],
)
def test_born_dead_says_in_one_line_what_is_wrong(tmp_path, option, value, text):
    options = {"--width": 2, "--depth": 3, "--networks": 10} | {option: value}
    assert text in fails("born-dead", *(word for pair in options.items() for word in pair), cwd=tmp_path)
    assert not list(tmp_path.iterdir())

"""Whatever a program does is a finding; nothing of it remains, and we are unharmed."""

import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from leakyrelu.check import check, check_source, runner

if sys.platform != "linux":
    pytest.skip("what is left behind is looked for in /proc", allow_module_level=True)

RIGHT = "return z if z >= 0 else alpha * z"


def function(body, before=""):
    return f"{before}\ndef leaky_relu(z, alpha=0.01):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"


def running(mark):
    """Processes with the mark in their environment: all that a check has started."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0] if entry.name.isdigit() else "Z"
            if state != "Z" and mark in (entry / "environ").read_bytes():
                found.add(int(entry.name))
        except OSError:
            continue
    return found - {os.getpid()}


def ends(processes):
    """Whether all end; what is killed takes a moment to go."""
    for _ in range(500):
        if not processes():
            return True
        time.sleep(0.01)
    return False


def open_files():
    return {file.name for file in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def checked(monkeypatch, tmp_path):
    """Check a program, and see that nothing of it remains: no process, no file, no change of ours."""
    mark = f"LEAKYRELU_TEST_{os.getpid()}_{time.monotonic_ns()}"
    monkeypatch.setenv(mark, "1")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def run(source, **keywords):
        files = open_files()
        report = check_source(source, **({"seconds": 0.3} | keywords))
        assert ends(lambda: running(mark.encode()))
        assert list(tmp_path.iterdir()) == []
        assert open_files() == files
        return report

    return run


ENDINGS = {
    "an endless loop": ("while True: pass", "stopped after 0.3 s", "does not come to an end"),
    "a long sleep": ("import time; time.sleep(1000)", "stopped after 0.3 s", "wait for nothing"),
    "sys.exit": ("import sys; sys.exit(3)", "raised SystemExit in line 3: 3", "calls exit"),
    "os._exit": ("import os; os._exit(0)", "ended its process, with exit code 0", "ends the whole process"),
    "os.abort": ("import os; os.abort()", "crashed: SIGABRT", "aborts"),
    "a crash": ("import ctypes; ctypes.string_at(0)", "crashed: SIGSEGV", "crashed Python"),
    "a signal": ("import os; os.kill(os.getpid(), 15)", "crashed: SIGTERM", "crashed Python, or ended"),
    "a stopped process": ("import os; os.kill(os.getpid(), 19)", "stopped after 0.3 s", "does not come to an end"),
    "10 GB of output": (
        "for _ in range(10**6): print('x' * 10**4)",
        "stopped after it printed 1024 KiB",
        "prints too much",
    ),
    "output past its end": (
        """
        import os
        while True:
            try:
                os.write(1, b"x" * 10**4)
            except OSError:
                pass
        """,
        "stopped after it printed 1024 KiB",
        "prints too much",
    ),
    "more memory than there is": ("bytearray(10**13)", "raised MemoryError in line 3", "more memory"),
    "a fork bomb": (
        "import os\nwhile True: os.fork()",
        "raised BlockingIOError|32 processes",
        "too many processes or threads",
    ),
    "threads without end": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(1000,)).start()",
        "raised RuntimeError in line 4: can't start new thread",
        "too many processes or threads",
    ),
    "recursion": ("return leaky_relu(z, alpha)", "raised RecursionError in line 3", "calls itself without end"),
    "input": ("return float(input())", "raised EOFError in line 3", "reads input"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "raised KeyboardInterrupt in line 3", ""),
    "its supervisor killed": (
        "import os; os.kill(os.getppid(), 9)",
        "ended the process that supervises it",
        "not its own",
    ),
    "an exception without text": (
        "raise type('Odd', (Exception,), {'__str__': lambda self: 1 / 0})",
        "raised Odd in line 3: <text that raises ZeroDivisionError>",
        "",
    ),
}


@pytest.mark.parametrize(("body", "got", "cause"), ENDINGS.values(), ids=ENDINGS)
def test_it_is_a_finding(body, got, cause, checked):
    report = checked(function(body))
    assert not report.passed
    assert report.error is None
    assert any(part in report.cases[0].got for part in got.split("|")), report.cases[0].got
    assert cause in report.cause


VALUES = {
    "an integer of 100,000 digits": ("return 10**10**5", "too large for a float", "an integer of 332,193 bits"),
    "an integer beyond floats": ("return 10**400", "too large for a float", "1000"),
    "a text of 10 MB": ("return '9' * 10**7", "a text came back", "999..."),
    "an array of 1 GB": (
        "import numpy as np; return np.zeros(10**9, np.int8)",
        "an array came back",
        "[0 0 0 ... 0 0 0]",
    ),
    "complex numbers": ("return complex(z)", "a complex number", "0j"),
    "objects": ("import numpy as np; return np.array([z, None])", "an array came back", "None"),
    "a dictionary": ("return {z: alpha}", "a dictionary came back", "{0: 0.01}"),
    "a class of its own": ("return type('Odd', (), {})()", "a value of type Odd came back", "Odd object"),
    "a subclass of float": ("return type('Odd', (float,), {})(z)", "a value of type Odd came back", "0.0"),
    "a generator": ("yield z", "write return, not yield", "generator object"),
    "NotImplemented": ("return NotImplemented", "a value of type NotImplementedType", "NotImplemented"),
}


@pytest.mark.parametrize(("body", "cause", "got"), VALUES.values(), ids=VALUES)
def test_it_comes_back_as_text(body, cause, got, checked):
    report = checked(function(body), seconds=5)
    assert got in report.cases[0].got
    assert len(report.cases[0].got) < 400
    assert cause in report.cause


def test_a_class_that_misbehaves_is_named_and_harms_nobody(checked):
    source = """
class Odd:
    def __repr__(self): raise ValueError
    def __eq__(self, other): raise ValueError
    def __float__(self): raise ValueError
    def __array__(self, *a, **k): raise ValueError
    __class__ = property(lambda self: 1 / 0)
"""
    report = checked(function("return Odd()", source))
    assert report.cases[0].got == "<text that raises ValueError>"
    assert "a value of type Odd came back" in report.cause


PASSING = {
    "a thread that lives on": function(
        f"import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n{RIGHT}"
    ),
    "standard output closed": function(f"import sys\nsys.stdout.close()\n{RIGHT}"),
    "standard output replaced": function(f"import sys\nsys.stdout = sys.stderr = 7\n{RIGHT}"),
    "all open files closed": function(RIGHT, "import os\nos.closerange(0, 500)"),
    "json replaced": function(RIGHT, "import json, os\njson.dumps = json.loads = os.write = None"),
    "print replaced": function(RIGHT, "import builtins\nbuiltins.print = builtins.open = None"),
    "signals ignored": function(RIGHT, "import signal\nfor s in (1, 2, 13, 15): signal.signal(s, signal.SIG_IGN)"),
    "its directory locked": function(RIGHT, "import os\nopen('file', 'w').close()\nos.chmod('.', 0)"),
    "warnings as errors": function(RIGHT, "import warnings\nwarnings.simplefilter('error')"),
}


@pytest.mark.parametrize("source", PASSING.values(), ids=PASSING)
def test_what_is_right_passes_all_the_same(source, checked):
    report = checked(source, seconds=5)
    assert report.passed, report


@pytest.mark.parametrize(
    "text", ['{"loaded": true}', '{"token": "x", "answer": {"value": {"int": "0x0"}}}', "junk", "[[[["]
)
def test_lines_like_ours_are_not_believed(text, checked):
    body = f"""
    import os
    for descriptor in range(1, 700):
        try:
            os.write(descriptor, {text.encode()!r} + b"\\n{{")
        except OSError:
            pass
    return z if z >= 0 else 7
    """
    report = checked(function(body), seconds=5)
    assert report.error is None
    assert [case.passed for case in report.cases] == ["(-" not in case.call for case in report.cases]
    assert report.cases[1].got.endswith("and returned 1")


CHILDREN = {
    "a program": "import subprocess\nsubprocess.Popen(['sleep', '1000'])",
    "a program in a session of its own": "import subprocess\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)",
    "a daemon": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n    time.sleep(1000)\nos.wait()",
    "a fork that goes on": "import os\nif os.fork() == 0:\n    while True: pass",
}


@pytest.mark.parametrize("body", CHILDREN.values(), ids=CHILDREN)
def test_a_process_left_behind_is_ended_and_told(body, checked):
    report = checked(function(f"{body}\n{RIGHT}"), seconds=5)
    assert "starts processes that still run" in report.cause
    assert {case.state for case in report.cases} == {"failed"}


FOREVER = "\nwhile True: time.sleep(1)"
FORK = "for _ in range(8):\n    if os.fork() == 0:\n        {}\n        time.sleep(1000)"
# The programs take what is refused (64 MiB of disk, 512 MiB of memory) in pieces that no limit per process refuses.
TOO_MUCH = {
    "files": ("while True: Path(str(time.monotonic_ns())).write_bytes(bytes(10**6))", "wrote 64 MiB"),
    "one file again and again": ("while True: Path('file').write_bytes(bytes(10**6))", "wrote 64 MiB"),
    "files that are removed": (
        "while True:\n    with tempfile.NamedTemporaryFile() as file: file.write(bytes(10**6))",
        "wrote 64 MiB",
    ),
    "files elsewhere": (
        "for _ in range(1000): Path(ELSEWHERE, 'file').write_bytes(bytes(10**6))" + FOREVER,
        "wrote 64 MiB",
    ),
    "files in folders": (
        "for i in range(1000):\n    os.makedirs(f'{i}/deep')\n    Path(f'{i}/deep/file').write_bytes(bytes(10**6))"
        + FOREVER,
        "wrote 64 MiB",
    ),
    "files that are reserved": (
        "for i in range(500):\n    with open(str(i), 'wb') as file: os.posix_fallocate(file.fileno(), 0, 10**6)"
        + FOREVER,
        "wrote 64 MiB",
    ),
    "files that are mapped": (
        "for i in range(500):\n    with open(str(i), 'wb+') as file:\n        file.truncate(10**6)\n"
        "        with mmap.mmap(file.fileno(), 0) as memory: memory[:] = bytes(10**6)" + FOREVER,
        "wrote 64 MiB",
    ),
    "files of children": (
        FORK.format("for i in range(20): Path(f'{os.getpid()}-{i}').write_bytes(bytes(10**6))") + FOREVER,
        "wrote 64 MiB",
    ),
    "files of children that have ended": (
        "for i in range(1000):\n    if os.fork() == 0:\n        Path(ELSEWHERE, 'file').write_bytes(bytes(10**6))\n"
        "        os._exit(0)\n    os.wait()" + FOREVER,
        "wrote 64 MiB",
    ),
    "memory": ("kept = bytearray(b'x') * (600 << 20)" + FOREVER, "took 512 MiB of memory"),
    "memory of children": (FORK.format("kept = b'x' * (100 << 20)") + FOREVER, "took 512 MiB of memory"),
    "memory of daemons": (
        FORK.format("os.setsid()\n        if os.fork(): os._exit(0)\n        kept = b'x' * (100 << 20)") + FOREVER,
        "took 512 MiB of memory",
    ),
    "files in memory": (
        "for i in range(700):\n    file = os.memfd_create('file')\n    os.truncate(file, 1 << 20)\n"
        "    with mmap.mmap(file, 0) as memory: memory[:] = bytes([1]) * (1 << 20)" + FOREVER,
        "took 512 MiB of memory",
    ),
    "anonymous memory that children share": (
        "kept = mmap.mmap(-1, 600 << 20)\nkept[:] = b'x' * (600 << 20)\nos.fork()" + FOREVER,
        "took 512 MiB of memory",
    ),
}


@pytest.fixture
def little(monkeypatch):
    """A check may take less than usual, so that a test needs not take that much."""
    monkeypatch.setattr(runner, "_TOGETHER", {"memory": 512 << 20, "disk": 64 << 20})


@pytest.mark.parametrize(("body", "said"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_all_processes_together_take_no_more_than_they_may(body, said, checked, little, tmp_path_factory):
    before = "import mmap, os, tempfile, time\nfrom pathlib import Path\n"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    report = checked(function(body, f"{before}ELSEWHERE = {str(elsewhere)!r}"), seconds=60)
    assert report.cases[0].got.startswith("stopped after")
    assert report.cases[0].got.endswith(said)
    assert "than they are given" in report.cause or "writes too much" in report.cause


def test_what_is_taken_call_by_call_adds_up(checked, little):
    report = checked(function(f"open(str(z), 'wb').write(bytes(10**6))\nopen('b', 'wb').write(bytes(10**6))\n{RIGHT}"))
    assert report.passed, report  # a few megabytes
    twenty = "for i in range(20): open(f'{z}-{i}', 'wb').write(bytes(10**6))"
    report = checked(function(f"{twenty}\n{RIGHT}"), seconds=60)
    assert [case.passed for case in report.cases[:3]] == [True, True, True]
    assert report.cases[3].got == "stopped after it wrote 64 MiB"


def test_memory_that_processes_share_counts_once(checked, little):
    body = f"for _ in range(6):\n    if os.fork() == 0:\n        time.sleep(0.2)\n        os._exit(0)\nfor _ in range(6): os.wait()\n{RIGHT}"
    report = checked(function(body, "import os, time\nshared = b'x' * (200 << 20)"), seconds=60)
    assert report.passed, report


def test_temporary_files_are_removed_with_the_folder(checked):
    report = checked(function(f"import tempfile\ntempfile.mkstemp()\ntempfile.mkdtemp()\n{RIGHT}"), seconds=5)
    assert report.passed, report


def test_a_fork_that_returns_does_not_answer_a_second_time(checked):
    report = checked(function(f"import os\nif os.fork(): os.wait()\n{RIGHT}"), seconds=5)
    assert report.passed, report


def test_a_child_that_was_waited_for_is_no_fault(checked):
    report = checked(function(f"import subprocess\nsubprocess.run(['true'])\n{RIGHT}"), seconds=5)
    assert report.passed, report


def test_after_three_stops_no_more_is_asked(checked):
    report = checked(function("while True: pass"))
    assert [case.got for case in report.cases[:3]] == ["stopped after 0.3 s"] * 3
    assert {case.got for case in report.cases[3:]} == {"not asked: 3 calls before it had to be stopped"}


def test_a_crash_at_one_number_leaves_the_others_to_be_asked(checked):
    report = checked(function(f"import os\nif z == -250: os.abort()\n{RIGHT}"))
    assert [case.call for case in report.failures] == ["leaky_relu(-250.0)"]


def test_loading_has_a_limit_of_its_own(checked, monkeypatch):
    assert checked(function(RIGHT, "import time\ntime.sleep(0.6)")).passed  # a call may take 0.3 s only
    monkeypatch.setattr("leakyrelu.check.runner._SECONDS_TO_LOAD", 0.3)
    for before in ("while True: pass", "import time\ntime.sleep(1000)"):
        report = checked(function(RIGHT, before), seconds=5)
        assert report.error == "stopped after 0.3 s while the code was being loaded, before any call"
        assert "loading takes too long" in report.cause
        assert "condition of each loop" not in report.cause


def test_code_that_breaks_python_while_it_is_loaded_is_told(checked):
    assert "broke Python itself" in checked("import os\nos.closerange(0, 5000)").error


def test_code_of_ours_that_is_broken_is_told(checked):
    report = checked(function(RIGHT, "import builtins\nbuiltins.len = None"))
    assert report.cases[0].got == "broke Python itself, or the files that it has open"
    assert "leave builtins, json and files alone" in report.cause


def test_everything_ends_with_whoever_asked(tmp_path):
    mark = f"LEAKYRELU_TEST_{os.getpid()}_{time.monotonic_ns()}"
    source = function("print('asked', file=open(PATH, 'w'))\nwhile True: pass", f"PATH = {str(tmp_path / 'asked')!r}")
    code = f"from leakyrelu.check import check, check_source\ncheck_source({source!r}, seconds=100)"
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {mark: "1"})
    while not (tmp_path / "asked").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert ends(lambda: running(mark.encode()))


def test_nothing_reaches_a_terminal_but_text(checked):
    report = checked(function("return '\\x1b[2J\\ud800\\n'"))
    assert report.cases[0].got == r"'\x1b[2J\ud800\n'"
    report = checked("raise ValueError('\\x1b[2J\\n\\ud800')")
    assert report.error == "ValueError in line 1: \\x1b[2J \\ud800"


def test_without_fork_a_text_cannot_be_asked_and_a_function_can(monkeypatch):
    monkeypatch.delattr(os, "fork")
    assert "leakyrelu.check.check(function)" in check_source(function(RIGHT)).error
    assert check(lambda z, alpha=0.01: z if z >= 0 else alpha * z).passed

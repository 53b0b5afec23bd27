"""A class is graded: a row per student whatever they hand in, in a table for people, spreadsheets and programs."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from commands import fails, invoke, run

from leakyrelu.check import Report, check_named, grade, grading
from leakyrelu.check.cases import LEVELS, cases_of
from leakyrelu.check.submissions import submissions_in

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="programs of others are run on systems with fork()")

RIGHT = "def leaky_relu(z, alpha=0.01):\n    return z if z >= 0 else alpha * z\n"
RELU = "def leaky_relu(z, alpha=0.01):\n    return max(0, z)\n"
OF_RELU = "it is the ReLU, max(0, z): below zero return alpha * z"


def write(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def body(line, before=""):
    return f"{before}\ndef leaky_relu(z, alpha=0.01):\n    {line}\n"


# What students hand in, and a part of the cause that their row must tell.
BROKEN = {
    "empty": ("", "there is no 'leaky_relu' in empty.py"),
    "blank": (" \n", "there is no 'leaky_relu' in blank.py"),
    "syntax": ("def leaky_relu(z, alpha=0.01) return z", "SyntaxError in line 1: expected ':'"),
    "loop": (body("while True: pass"), "does not come to an end"),
    "loading": ("while True: pass", "while the code was being loaded"),
    "bomb": (body("while True: os.fork()", "import os"), "starts too many processes"),
    "exits": (body("os._exit(0)", "import os"), "ends the whole process"),
    "kills": (body("os.kill(os.getppid(), 9)", "import os"), "ends processes that are not its own"),
    "prints": (body("while True: print('x' * 1000)"), "prints too much"),
    "removes": (body("shutil.rmtree(os.getcwd()); return 1", "import os, shutil"), ""),
}


@pytest.fixture
def everything(tmp_path):
    folder = tmp_path / "everything"
    folder.mkdir()
    write(folder, **{name: text for name, (text, _) in BROKEN.items()}, aaron=RIGHT, zoe=RIGHT)
    (folder / "bytes.py").write_bytes(b"# \xff\xfe\n" + RIGHT.encode())
    (folder / "directory.py").mkdir()
    (folder / "link.py").symlink_to("aaron.py")
    (folder / "lost.py").symlink_to("nowhere.py")
    os.mkfifo(folder / "pipe.py")
    with (folder / "huge.py").open("wb") as file:
        file.truncate(1 << 30)
    return folder


@pytest.mark.slow
def test_one_broken_file_never_stops_the_rest(everything, tmp_path):
    table = tmp_path / "grades.csv"
    result = invoke(
        "check", "missing.py", everything, "no.such.module:f", "--seconds", 0.5, "--csv", table, cwd=tmp_path
    )
    assert result.exit_code == 1
    assert result.stdout.strip().endswith("could not be asked.")
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    inside = sorted(path.name for path in everything.iterdir())
    assert list(rows) == ["missing.py", *inside, "no.such.module:f"]
    for name in ("aaron.py", "zoe.py"):
        assert rows[name]["passed"] == "True"
        assert rows[name]["cause"] == ""
    causes = {f"{name}.py": cause for name, (_, cause) in BROKEN.items()} | {
        "missing.py": "No such file",
        "bytes.py": "byte 0xff in line 1 is not UTF-8",
        "directory.py": "no Python file in the folder",
        "link.py": "symbolic link",
        "lost.py": "symbolic link",
        "pipe.py": "not a regular file",
        "huge.py": "1,024 MiB",
        "no.such.module:f": "No module named",
    }
    for name, cause in causes.items():
        assert cause in rows[name]["cause"], rows[name]
        assert rows[name]["cause"]
        assert rows[name]["passed"] == "False", name


def test_what_may_not_be_read_is_told(tmp_path, monkeypatch):
    """Root may read everything, so the errors are made here."""
    write(tmp_path, mine=RIGHT, theirs=RIGHT)

    def refused(spec, **options):
        if "theirs" in spec:
            raise PermissionError(13, "Permission denied", spec)
        return check_named(spec, **options)

    def closed(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(grading, "check_named", refused)
    grades = grade([tmp_path])
    assert [row.passed for row in grades.rows] == [True, False]
    assert grades.rows[1].cause.startswith("Permission denied: ")
    monkeypatch.setattr(Path, "iterdir", closed)
    (row,) = grade([tmp_path]).rows
    assert row.cause == "the folder cannot be read: Permission denied"


def test_a_row_has_a_point_per_case_and_their_sum(tmp_path):
    table = tmp_path / "grades.csv"
    grade([write(tmp_path, relu=RELU, right=RIGHT)]).to_csv(table)
    with table.open(encoding="utf-8-sig", newline="") as file:
        relu, right = csv.DictReader(file)
    cases = [case.name for case in cases_of("exercise")]
    assert list(relu) == ["name", "file", *cases, "total", "passed", "cause"]
    assert {right[case] for case in cases} == {"1"}
    assert right["total"] == str(len(cases))
    assert relu["minus one"] == "0"
    assert relu["one"] == "1"
    assert int(relu["total"]) == sum(int(relu[case]) for case in cases) < len(cases)
    assert relu["cause"] == OF_RELU


@pytest.mark.parametrize("level", LEVELS)
def test_the_names_of_cases_tell_them_apart(level):
    names = [case.name for case in cases_of(level)]
    assert len(names) == len(set(names))


def test_what_is_reported_only_gives_no_point():
    grades = grade(["leakyrelu:leaky_relu"], level="derivative")
    (row,) = grades.rows
    assert row.passed
    assert row.total == len(grades.cases) < len(row.report.cases)
    assert tuple(row.points) == grades.cases


def test_the_table_for_people(tmp_path):
    write(tmp_path, relu=RELU, right=RIGHT)
    (tmp_path / "notes.txt").touch()
    said = invoke("check", tmp_path, cwd=tmp_path).stdout
    assert f"relu.py   14 of 30  {OF_RELU}\nright.py  30 of 30  passed\n" in said
    assert "1 of 2 submissions passed at level exercise." in said
    assert f"Not a Python file, notebook or folder: {tmp_path / 'notes.txt'}." in said


def test_all_right_is_exit_code_0(tmp_path):
    said = run("check", write(tmp_path, a=RIGHT, b=RIGHT), code=0)
    assert "2 of 2 submissions passed" in said


@pytest.mark.parametrize("words", [["."], ["relu.py", "right.py"], ["missing.py"], ["bytes.py"], ["right.py"]])
def test_json_is_always_json(tmp_path, words):
    write(tmp_path, relu=RELU, right=RIGHT)
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe" + RIGHT.encode())
    result = invoke("check", *words, "--json", cwd=tmp_path)
    told = json.loads(result.stdout)
    assert told["passed"] is (words == ["right.py"])
    assert result.exit_code == (0 if told["passed"] else 1 if "rows" in told else 2)
    if "rows" in told:
        by_name = {row["name"]: row for row in told["rows"]}
        assert by_name["relu.py"]["cause"] == OF_RELU
        assert by_name["right.py"]["report"]["passed"] is True
        assert by_name["right.py"]["total"] == by_name["right.py"]["of"]


def test_names_tell_students_apart(tmp_path):
    for name in ("ann/1", "bea/1", "bea/2"):
        (tmp_path / name).mkdir(parents=True)
        write(tmp_path / name, answer=RIGHT)
    files = [str(tmp_path / name / "answer.py") for name in ("ann/1", "bea/1", "bea/2")]
    found, _ = submissions_in([*files, files[0], tmp_path / "ann/../ann/1/answer.py"], "leaky_relu")
    assert [it.name for it in found] == ["ann/1/answer.py", "bea/1/answer.py", "2/answer.py"]
    found, _ = submissions_in([tmp_path / "ann", tmp_path / "bea"], "leaky_relu")
    assert [it.name for it in found] == ["ann/1", "bea/1", "2"]


def test_the_order_is_that_of_the_words_and_of_the_names(tmp_path):
    write(tmp_path, b=RIGHT, c=RIGHT, a=RIGHT, B=RIGHT)
    found, _ = submissions_in([tmp_path / "c.py", tmp_path], "leaky_relu")
    assert [it.name for it in found] == ["c.py", "B.py", "a.py", "b.py"]


def test_results_come_in_order_whoever_is_done_first(monkeypatch):
    taken = threading.Barrier(2, timeout=10)

    def slow_first(spec, **options):
        if spec in {"m:a", "m:b"}:
            taken.wait()  # both are asked at one time
        time.sleep(0.2 if spec == "m:a" else 0)
        return Report(options["level"], error=spec)

    monkeypatch.setattr(grading, "check_named", slow_first)
    seen = []
    grades = grade(["m:a", "m:b", "m:c"], workers=2, progress=lambda done, total: seen.append((done, total)))
    assert [row.cause for row in grades.rows] == ["m:a", "m:b", "m:c"]
    assert seen == [(1, 3), (2, 3), (3, 3)]


FOLDERS = {
    "the only file, whatever it defines": ({"q.py": "def lrelu(x): return x"}, "q.py", ""),
    "the file that defines it": ({"a.py": "x = 1", "b.py": RIGHT, "test_b.py": "from b import leaky_relu"}, "b.py", ""),
    "a file in a folder": ({"README.md": "", "src/net/act.py": RIGHT, "src/net/__init__.py": ""}, "src/net/act.py", ""),
    "the nearest of several": ({"b.py": RIGHT, "old/a.py": RIGHT}, "b.py", ""),
    "a file with a mistake in its syntax": ({"a.py": "import b", "b.py": "def leaky_relu(z) return z"}, "b.py", ""),
    "an assignment": ({"a.py": "x = 1", "b.py": "leaky_relu = lambda z, alpha=0.01: z"}, "b.py", ""),
    "a notebook": ({"a.py": "x = 1", "b.ipynb": '{"source": [\n    "def leaky_relu(z):\\n"]}'}, "b.ipynb", ""),
    "none of several": ({"a.py": "", "b.py": "leaky_relu(1)"}, "", "defined in none of its 2 files (a.py, b.py)"),
    "several": ({"b.py": RIGHT, "a.py": RIGHT}, "", "defined in several of its files (a.py, b.py): leave one"),
    "nothing": ({"a.txt": RIGHT}, "", "there is no Python file in the folder"),
    "files of an archiver": ({"a.py": RIGHT, "._a.py": "leaky_relu = 1", "__MACOSX/a.py": RIGHT}, "a.py", ""),
    "other people's": (
        {"src/a.py": RIGHT, "venv/pyvenv.cfg": "", "venv/x.py": RIGHT, "site-packages/y.py": RIGHT},
        "src/a.py",
        "",
    ),
    "copies of an editor": ({"a.py": RIGHT, ".ipynb_checkpoints/a.py": RIGHT, "__pycache__/a.py": RIGHT}, "a.py", ""),
}


@pytest.mark.parametrize(("files", "taken", "problem"), FOLDERS.values(), ids=FOLDERS)
def test_of_a_folder_one_file_is_taken(files, taken, problem, tmp_path):
    for name, text in files.items():
        (tmp_path / "class/ann" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "class/ann" / name).write_text(text)
    (found,), others = submissions_in([tmp_path / "class"], "leaky_relu")
    assert found.name == "ann"
    assert found.file == (str(tmp_path / "class/ann" / taken) if taken else "")
    assert problem in found.problem
    assert bool(problem) == bool(found.problem)
    assert not others


def test_links_in_a_folder_lead_to_nobody_elses_work(tmp_path):
    for name in ("ann", "bob", "cid"):
        (tmp_path / "class" / name).mkdir(parents=True)
    write(tmp_path / "class/ann", answer=RIGHT)
    (tmp_path / "class/bob/answer.py").symlink_to("../ann/answer.py")
    (tmp_path / "class/cid/src").symlink_to("../ann")
    (tmp_path / "class/cid/loop").symlink_to("..")
    (tmp_path / "class/dan").symlink_to("ann")
    found, _ = submissions_in([tmp_path / "class"], "leaky_relu")
    assert [it.name for it in found if not it.problem] == ["ann"]
    (tmp_path / "mine.py").symlink_to("class/ann/answer.py")
    found, _ = submissions_in([tmp_path / "mine.py"], "leaky_relu")
    assert not found[0].problem  # whoever names a link means it


def test_the_name_of_the_function_may_be_another(tmp_path):
    (tmp_path / "ann").mkdir()
    write(tmp_path / "ann", a=RIGHT.replace("leaky_relu", "lrelu"), b=RIGHT)
    grades = grade([tmp_path, f"{tmp_path}/ann/b.py:leaky_relu"], name="lrelu")
    assert [(row.name, row.passed) for row in grades.rows] == [("ann", True), ("b.py:leaky_relu", True)]
    assert grades.rows[0].file.endswith("a.py")
    with pytest.raises(ValueError, match="name must be the name of a function, got 'no name'"):
        grade([tmp_path], name="no name")


FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "＝1"]  # noqa: RUF001


def test_no_cell_is_a_formula(tmp_path):
    for text in FORMULAS:
        write(tmp_path, **{text: f"raise ValueError\n{RIGHT}"})
    (tmp_path / "line\nbreak,\"'.py").write_text(RIGHT)
    odd = f"raise type({'=cmd()'!r}, (Exception,), {{}})({'=1'!r})\n"
    write(tmp_path, odd=odd)
    grades = grade([tmp_path])
    grades.to_csv(tmp_path / "grades.csv")
    with (tmp_path / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + len(FORMULAS) + 2
    assert not [cell for row in rows for cell in row if cell.startswith(grading._FORMULA)]
    assert {f"'{text}.py" for text in FORMULAS} < {row[0] for row in rows}
    assert "line\\nbreak,\"'.py" in {row[0] for row in rows}
    assert next(row[-1] for row in rows if row[0] == "odd.py").startswith("'=cmd()")


def test_the_csv_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write(tmp_path, a=RIGHT)
    table = tmp_path / "grades.csv"
    table.write_text("before")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(grading, "check_named", interrupted)
        assert invoke("check", tmp_path, "--csv", table).exit_code not in {0, 1}
    assert table.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.py", "grades.csv"]
    grade([tmp_path]).to_csv(table)
    assert table.read_text(encoding="utf-8-sig").startswith("name,file,")


def test_the_csv_is_refused_before_the_work(tmp_path):
    write(tmp_path, a=RIGHT)
    assert "a.py must end in .csv" in fails("check", "a.py", "--csv", "a.py", cwd=tmp_path)
    assert (tmp_path / "a.py").read_text() == RIGHT
    assert "No such file" in fails("check", "a.py", "--csv", "no/folder.csv", cwd=tmp_path)
    (tmp_path / "folder.csv").mkdir()
    assert "not a regular file" in fails("check", "a.py", "--csv", "folder.csv", cwd=tmp_path)


def test_what_makes_no_sense_is_refused(tmp_path):
    assert "there is no submission" in fails("check", tmp_path)
    write(tmp_path, a=RIGHT)
    assert "level" in fails("check", tmp_path, "--level", "expert")
    assert "seconds must be above zero" in fails("check", tmp_path, "--seconds", "0")
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        grade([tmp_path], workers=0)


def running(mark):
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                found |= {int(entry.name)} if state != "Z" else set()
        except OSError:
            continue
    return found - {os.getpid()}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="what is left is looked for in /proc")
def test_an_interrupt_leaves_no_process_and_no_file(tmp_path):
    mark = f"LEAKYRELU_TEST_{os.getpid()}_{time.monotonic_ns()}"
    begun = tmp_path / "begun"
    begun.mkdir()
    before = "import os, time, pathlib"
    loop = body(
        "pathlib.Path(BEGUN, str(os.getpid())).touch(); os.fork(); time.sleep(1000)",
        f"{before}\nBEGUN = {str(begun)!r}",
    )
    (tmp_path / "class").mkdir()
    write(tmp_path / "class", a=loop, b=loop, c=loop, d=loop)
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-m", "leakyrelu", "check", "class", "--seconds", "600", "--csv", "grades.csv"]
    environment = os.environ | {mark: "1", "TMPDIR": str(tmp_path / "temporary")}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    try:
        while not any(begun.iterdir()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
    finally:
        process.kill()
    end = time.monotonic() + 30
    while (left := running(mark.encode())) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left
    assert not list((tmp_path / "temporary").iterdir())
    assert not (tmp_path / "grades.csv").exists()


def test_a_check_of_one_file_is_as_before(tmp_path):
    write(tmp_path, a=RIGHT)
    assert run("check", tmp_path / "a.py") == f"{check_named(str(tmp_path / 'a.py'))}\n"


def test_what_is_not_asked_of_a_fixed_slope_is_no_lost_point(tmp_path):
    fixed = "import numpy as np\ndef leaky_relu(x):\n    return np.where(x >= 0, x, 0.01 * x)"
    table = tmp_path / "grades.csv"
    grades = grade([write(tmp_path, fixed=fixed, right=fixed.replace("x)", "x, alpha=0.01)", 1))], level="array")
    fixed, right = grades.rows
    assert fixed.passed
    assert fixed.total == fixed.most < right.most == len(grades.cases)
    assert f"{fixed.most} of {fixed.most}  passed" in str(grades)
    assert [row["of"] for row in grades.to_dict()["rows"]] == [fixed.most, right.most]
    grades.to_csv(table)
    with table.open(encoding="utf-8-sig", newline="") as file:
        row, _ = csv.DictReader(file)
    assert row["a slope by name"] == ""
    assert row["an array"] == "1"


@pytest.mark.parametrize("name", ["lrelu", "Leaky.forward"])
def test_the_function_of_a_class_may_have_another_name(tmp_path, name):
    source = (
        "def lrelu(x, alpha=0.01):\n    return x if x >= 0 else alpha * x\n"
        "class Leaky:\n    def forward(self, x, alpha=0.01):\n        return lrelu(x, alpha)\n"
    )
    folder = write(tmp_path, mine=source, theirs=RIGHT)
    said = invoke("check", folder, "--name", name, cwd=tmp_path)
    assert said.exit_code == 1
    assert "mine.py    30 of 30  passed" in said.stdout
    assert f"there is no '{name.partition('.')[0]}'" in said.stdout
    assert invoke("check", folder / "mine.py", "--name", name, cwd=tmp_path).exit_code == 0

"""Every command but `learn` and `demo`, given anything: 0, 1 or 2, an error in one line, and never a traceback."""

import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from commands import working_in
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from leakyrelu.cli import app
from leakyrelu.tuning import storage

torch = pytest.importorskip("torch")

PROGRAMS = {
    "good.py": "def leaky_relu(x, alpha=0.01):\n    return x if x >= 0 else alpha * x\n",
    "exits.py": "import sys\nsys.exit(0)\n",
    "wrong.py": "def leaky_relu(x, alpha=0.01):\n    return\n",
    "syntax.py": "def leaky_relu(x:\n",
    "hostile.py": "def leaky_relu(x, alpha=0.01):\n    raise BaseException('a\\nb\\x1b[31m')\n",
    "nets.py": """
import sys
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))

class Exits(Net):
    def forward(self, x):
        sys.exit(0)

class Shouts(Net):
    def forward(self, x):
        raise BaseException("a\\nb\\x1b[31m")

class Nan(Net):
    def forward(self, x):
        return super().forward(x * float("nan"))

def exits():
    sys.exit(0)

number = 3

def objective(seed, alpha):
    return -alpha

def fails(alpha, seed):
    sys.exit(0)

def misnamed(a, b):
    return 0.0
""",
}


@cache
def contents():
    """Hostile files by name; those whose content is a program, an array, weights or JSON, and what only looks like it."""
    saved = {name: text.encode() for name, text in PROGRAMS.items()}
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("f4")
    arrays = {
        "x": x,
        "long": x.astype(np.longdouble),
        "complex": x.astype(complex),
        "text": x.astype(str),
        "raw": x.astype("f2").view("V2"),
        "records": np.zeros(3, "f4,f4"),
        "none": np.empty((0, 4)),
        "scalar": np.array(-1.0),
        "deep": np.zeros((1,) * 40 + (4,)),
    }
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        saved[f"{name}.npy"] = buffer.getvalue()
    saved["two.npy"] = saved["x.npy"] * 2
    saved["cut.npy"] = saved["x.npy"][:-1]
    saved["version.npy"] = b"\x93NUMPY\x09\x09" + saved["x.npy"][8:]
    saved["header.npy"] = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{"
    buffer = io.BytesIO()
    np.savez_compressed(buffer, input=x, mask=np.ones(20))
    saved["x.npz"] = buffer.getvalue()
    saved["broken.npz"] = saved["x.npz"][:200] + bytes(50) + saved["x.npz"][250:]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("input.npy", "no array")
    saved["other.npz"] = buffer.getvalue()
    state = {
        "0.weight": torch.ones(3, 4),
        "0.bias": torch.ones(3),
        "2.weight": torch.ones(2, 3),
        "2.bias": torch.ones(2),
    }
    for name, kept in (("good.pt", state), ("keys.pt", {1: 2}), ("list.pt", [1]), ("code.pt", {"0.weight": print})):
        buffer = io.BytesIO()
        torch.save(kept, buffer)
        saved[name] = buffer.getvalue()
    saved["bad.safetensors"] = struct.pack("<Q", 2**60) + b"{}"
    saved["good.json"] = json.dumps(
        {
            "format": 2,
            "examples": 1,
            "units": 0,
            "judged": 0,
            "dead": 0,
            "dead_fraction": None,
            "notes": [],
            "sites": [],
        }
    ).encode()
    saved["deep.json"] = b"[" * 50_000
    saved["numbers.json"] = b'{"format": 2, "sites": [{"fired": ["x"]}], "examples": 1e999, "notes": 3}'
    saved["journal"] = b'{"op_code": 0'
    saved["a\nb\x1b[31m.npy"] = b"no array"
    return saved | dict.fromkeys(("empty.npy", "empty.npz", "empty.pt", "empty.json", "empty.py", "empty.ipynb"), b"")


SPECIAL = (
    "loop",
    "folder",
    "folder.npy",
    "pipe.npy",
    "missing",
    "nowhere/out.npy",
    "x" * 300,
    ".",
    "/",
    "/dev/null",
    "-",
)


def fill(folder, mutated):
    for name, content in (contents() | mutated).items():
        (folder / name).write_bytes(content)
    (folder / "loop").symlink_to("loop")
    (folder / "folder").mkdir()
    (folder / "folder.npy").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.npy")


@st.composite
def mutations(draw):
    """A file with some bytes changed, cut off or put in."""
    name = draw(st.sampled_from([name for name in contents() if not name.endswith(".py")]))
    content = bytearray(contents()[name])
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 20))] = draw(st.binary(max_size=20))
    return {name: bytes(content)}


words = st.text(st.characters(blacklist_characters="\0"), max_size=12)
files = st.one_of(st.sampled_from([*contents(), *SPECIAL]), words)
numbers = st.sampled_from(
    [
        "0",
        "1",
        "-1",
        "3",
        "0.5",
        "1e-300",
        "1e999",
        "-inf",
        "nan",
        "0x10",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "",
        " ",
        "9" * 400,
        "x",
    ]
)
sizes = st.sampled_from(["0", "1", "-1", "2", "3", "0.5", "nan", "9" * 30, "", "x"])  # none that takes long
few = sizes.filter(lambda size: len(size) < 9)  # a search for ever is what somebody has asked for
specs = st.one_of(
    st.sampled_from(
        [
            *(
                f"nets:{name}"
                for name in ("Net", "Exits", "Shouts", "Nan", "exits", "number", "objective", "fails", "misnamed")
            ),
            "nets",
            ":",
            "nets:",
            "nets:none",
            "nets.Net",
            "nets.py:Net",
            "exits:x",
            "syntax:x",
            "no.such:thing",
            "os:abort.x",
            "..:x",
        ]
    ),
    words,
)
storages = st.sampled_from(
    [
        "sqlite:///t.db",
        "sqlite://",
        "journal",
        "good.json",
        "folder",
        "loop",
        "x.npy",
        "nowhere/t",
        "sqlite:///nowhere/t.db",
        "postgresql:me:S3CRET@x/y",
        "redis://:S3CRET/pw@x",
        "postgresql+psycopg://me:S3CRET@127.0.0.1:p/x",
        "a://S3CRET@b",
        "redis://:S3CRET@127.0.0.1:1",
        "postgresql+psycopg://me:S3CRET@127.0.0.1:1/x",
        "sqlite:///x.npy",
        "",
        "://",
        "mysql://x",
    ]
)

OPTIONS = {
    "eval": {"--alpha": numbers, "-a": numbers, "--derivative": None, "": st.one_of(numbers, words)},
    "apply": {"--alpha": numbers, "-d": None, "--force": None, "": files},
    "plot": {"--alpha": numbers, "--output": files, "--no-derivative": None, "": words},
    "diagnose": {
        "": specs,
        **dict.fromkeys(("--data", "--weights", "--plan", "--html", "--json", "--revive", "--remove"), files),
        **dict.fromkeys(("--fail-above", "--batch-size"), numbers),
        "--mask": st.sampled_from(["mask", "input", "none", ""]),
        "--force": None,
    },
    "compare": {"": files, "--tolerance": numbers},
    "check": {
        "": st.one_of(files, specs),
        "--level": st.sampled_from(["exercise", "array", "derivative", "none", ""]),
        "--derivative": words,
        "--slope-name": st.sampled_from(["none", "auto", "alpha", "x", ""]),
        "--default": numbers,
        "--seconds": numbers,
        "--csv": files,
        "--json": None,
    },
    "born-dead": {
        **dict.fromkeys(("--width", "--depth", "--networks", "--seed"), sizes),
        **dict.fromkeys(("--alpha", "--risk"), numbers),
        "--output": files,
    },
    "tune": {
        "": st.sampled_from(["nets:objective", "nets:fails", "nets:misnamed", "nets:number", "exits:f", "nets", ":"]),
        **dict.fromkeys(("--trials", "--seeds"), few),
        "--storage": storages,
        "--study-name": words,
        "--output": files,
    },
}
ALWAYS = {"tune": ("--patience", "0"), "check": ("--seconds", "0.5"), "born-dead": ("--networks", "50")}
NEEDED = {
    "diagnose": [("nets:Net", "--data"), ("nets:Nan", "--data"), ("nets:Exits", "--data", "x.npy", "--fail-above")],
    "born-dead": [("--width", "2", "--depth", "3"), ("--width", "2", "--depth")],
    "tune": [("nets:objective",), ("nets:objective", "--trials", "3", "--seeds", "1", "--storage")],
    "check": [(), ("good.py", "--level"), ("hostile.py",)],
    "apply": [(), ("x.npy",), ("x.npy", "out.npy", "-f")],
    "plot": [("-o", "x.svg"), ("-o",)],
    "compare": [(), ("good.json",)],
    "eval": [(), ("--",), ("1",)],
}


@st.composite
def command_lines(draw, command):
    """Words for a command: its options with hostile values, in any number and order, and words from nowhere."""
    chosen = draw(st.lists(st.sampled_from(list(OPTIONS[command])), max_size=4))
    line = [*ALWAYS.get(command, ()), *draw(st.sampled_from(NEEDED[command]))]
    for option in chosen:
        value = OPTIONS[command][option]
        line += [option] * bool(option) + ([] if value is None else [draw(value)])
    if command == "tune" and not line[2:]:
        line.append("nets:objective")  # the default trains networks
    if draw(st.integers(0, 9)) == 0:
        line.insert(draw(st.integers(0, len(line))), draw(words.filter(lambda word: "completion" not in word)))
    return line


environments = st.dictionaries(
    st.sampled_from(
        [
            "COLUMNS",
            "LINES",
            "TERM",
            "NO_COLOR",
            "LANG",
            "LC_ALL",
            "HOME",
            "MPLBACKEND",
            "LEAKYRELU_STORAGE",
        ]
    ),
    st.one_of(
        st.sampled_from(["", "0", "-1", "x", "/dev/null", "9" * 30, "redis://:S3CRET@x:y"]),
        words.filter(str.isprintable),
    ),
    max_size=3,
)


def judge(code, output, errors):
    assert code in (0, 1, 2)
    assert "Traceback" not in output + errors
    assert "S3CRET" not in output + errors
    lines = [line for line in errors.splitlines() if not line.startswith("leakyrelu: warning: ")]
    assert all(line.startswith("leakyrelu: ") for line in lines), errors
    assert len(lines) == 1 if code == 2 else len(lines) <= code, errors
    assert all(character.isprintable() or character == "\n" for character in errors), errors
    assert "leakyrelu: unexpected" not in errors, errors  # an error that nobody has thought of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "examples"),
    [
        ("eval", 150),
        ("apply", 150),
        ("compare", 100),
        ("diagnose", 100),
        ("plot", 20),
        ("born-dead", 30),
        ("tune", 30),
        ("check", 15),
    ],
)
def test_whatever_is_given_a_command_ends_with_0_1_or_2_and_one_line(command, examples, monkeypatch):
    monkeypatch.setattr(storage, "_WAIT_SECONDS", 0.001)

    @settings(
        max_examples=examples,
        deadline=None,
        phases=(Phase.reuse, Phase.generate),  # to shrink an example would take minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(command_lines(command), mutations(), environments, st.one_of(st.none(), st.binary(max_size=50)))
    def drive(line, mutated, environment, stdin):
        with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
            warnings.simplefilter("default")  # as in a process; in the tests, warnings are errors
            fill(Path(name), mutated)
            with working_in(name):
                result = CliRunner().invoke(
                    app, [command, *line], input=stdin or b"", env=environment, prog_name="leakyrelu"
                )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        judge(result.exit_code, result.stdout, result.stderr)

    drive()


@pytest.mark.parametrize(
    "line", [["--nope"], ["nope"], ["", "x"], ["apply"], ["plot", "-o"], ["compare", "a"], ["eval", "--alpha", "x"]]
)
def test_what_is_wrong_with_the_words_is_said_in_one_line(line, tmp_path):
    with working_in(tmp_path):
        result = CliRunner().invoke(app, line, prog_name="leakyrelu")
    judge(result.exit_code, result.stdout, result.stderr)
    assert result.exit_code == 2
    assert "--help" in result.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"LEAKYRELU_NUM_THREADS": "abc"},
        {"LEAKYRELU_NUM_THREADS": "0"},
        {"LEAKYRELU_INSTRUCTION_SET": "abacus"},
        {"TERMINAL_WIDTH": "wide"},
        {"COLUMNS": "x", "TERM": "none", "LC_ALL": "C", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ],
)
@pytest.mark.parametrize(
    "way",
    [["-m", "leakyrelu"], ["-c", "import sys; sys.argv[0] = 'leakyrelu'; from leakyrelu.__main__ import main; main()"]],
)
def test_the_environment_of_a_process_may_be_anything(environment, way, tmp_path):
    words = [sys.executable, *way, "apply", "no\nfile\x1b[31mé.npy", "out.npy"]
    result = subprocess.run(words, cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True)
    judge(result.returncode, result.stdout, result.stderr)
    assert result.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("words", [["--version"], ["--help"], ["eval", "1"], ["eval", "x"]])
def test_output_that_cannot_be_written_is_said(words):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "leakyrelu", *words]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)

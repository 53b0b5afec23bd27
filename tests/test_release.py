"""What a release says of itself is said in one place, or the same in each."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MESON = (ROOT / "meson.build").read_text()


def texts():
    """Every file of text that is no code of ours."""
    folders = [ROOT, *(ROOT / name for name in (".github", "docs"))]
    found = [path for folder in folders for path in folder.glob("*" if folder == ROOT else "**/*")]
    return [path for path in found if path.suffix in {".cff", ".md", ".py", ".toml", ".yml"} and path.is_file()]


def test_the_version_stands_in_meson_build_alone():
    (version,) = re.findall(r"^  version: '(.+?)'", MESON, re.MULTILINE)
    assert "version" in PROJECT["project"]["dynamic"]
    assert "version" not in PROJECT["project"]
    own = re.compile(rf"\b{re.escape(version)}\b")
    lines = {
        line
        for name in (
            "pyproject.toml",
            "CITATION.cff",
            "RELEASING.md",
            "SECURITY.md",
            "noxfile.py",
            "src/leakyrelu/__init__.py",
        )
        for line in (ROOT / name).read_text().splitlines()
        if own.search(line)
    }
    assert not lines


def test_the_addresses_of_the_project_are_those_of_pyproject():
    source, site = (PROJECT["project"]["urls"][name] for name in ("Source", "Homepage"))
    assert not source.endswith("/")
    assert site.endswith("/")
    found = {}
    for path in texts():
        for address in re.findall(
            r"https?://[\w.-]*(?:github\.com/leakyrelu|leakyrelu\.github)[\w./-]*", path.read_text()
        ):
            found.setdefault(address, path.name)
    assert len(found) > 3
    for address, name in found.items():
        assert address == source or address.startswith((f"{source}/", site)), f"{address} in {name}"


def test_the_oldest_python_is_the_same_everywhere(build_backend):
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    (limited_api,) = re.findall(r"^  limited_api: '(.+?)'", MESON, re.MULTILINE)
    (macro,) = re.findall(r"-DPy_LIMITED_API=(0x\w+)", MESON)
    major, minor = map(int, oldest.split("."))
    assert limited_api == oldest
    assert int(macro, 16) == major << 24 | minor << 16
    assert f"cp{major}{minor}" == build_backend.OLDEST


def test_no_macro_returns_a_constant_without_a_reference():
    # With the headers of Python 3.12 and later these take none: there the constants are immortal. In 3.11 they are not.
    for path in (ROOT / "src/leakyrelu/_ufuncs").glob("*.[ch]pp"):
        assert not re.search(
            r"^\s*(return\s+Py_(None|True|False|NotImplemented)|Py_RETURN_)", path.read_text(), re.MULTILINE
        )


def test_the_pythons_that_are_claimed_are_those_that_are_tested():
    name = "Programming Language :: Python :: 3."
    claimed = [entry.removeprefix(name[:-2]) for entry in PROJECT["project"]["classifiers"] if entry.startswith(name)]
    (tested,) = re.findall(r"^PYTHONS = \[(.+?)\]", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    tested = re.findall(r"3\.\d+", tested)
    assert claimed == tested[: len(claimed)]
    assert claimed[0] == PROJECT["project"]["requires-python"].removeprefix(">=")
    assert re.findall(r"3\.\d+(?=\")", (ROOT / ".github/workflows/tests.yml").read_text())[: len(tested)] == tested


def test_the_sessions_that_the_texts_and_workflows_name_exist():
    noxfile = (ROOT / "noxfile.py").read_text()
    sessions = set(re.findall(r"^def (\w+)\(session", noxfile, re.MULTILINE))
    for path in texts():
        named = re.findall(
            r"`nox -s ([\w-]+)|&& nox -s \"?([\w-]+)|session: \[(.+)\]|session: (\w+)$", path.read_text(), re.MULTILINE
        )
        for name in re.findall(r"\w[\w-]*", " ".join(" ".join(groups) for groups in named)):
            assert name.partition("-")[0] in sessions, f"{name} in {path.name}"


def test_wheels_are_tested_by_the_tests_of_the_kernels():
    (kernels,) = re.findall(r"^KERNELS = \[(.+?)\]", (ROOT / "noxfile.py").read_text(), re.MULTILINE | re.DOTALL)
    command = PROJECT["tool"]["cibuildwheel"]["test-command"].split()
    assert [word for word in command if word.startswith("tests/")] == re.findall(r"tests/[\w/.]+", kernels)


@pytest.fixture
def build_backend(monkeypatch):
    """The build backend, with a stand-in for meson-python, which need not be installed here."""
    names = ("build_sdist", "build_editable", "build_wheel")
    names += tuple(f"get_requires_for_{name}" for name in names)
    monkeypatch.setitem(sys.modules, "mesonpy", SimpleNamespace(**dict.fromkeys(names)))
    spec = importlib.util.spec_from_file_location("build_backend", ROOT / "tools" / "build_backend.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("built", "named"),
    [
        ("leakyrelu-1.0-cp313-abi3-linux_x86_64.whl", "leakyrelu-1.0-cp311-abi3-linux_x86_64.whl"),
        ("leakyrelu-1.0-cp311-abi3-win_amd64.whl", "leakyrelu-1.0-cp311-abi3-win_amd64.whl"),
        ("leakyrelu-1.0-cp314-cp314t-macosx_11_0_arm64.whl", "leakyrelu-1.0-cp314-cp314t-macosx_11_0_arm64.whl"),
        ("leakyrelu-1.0-cp313-cp313-linux_x86_64.whl", "leakyrelu-1.0-cp313-cp313-linux_x86_64.whl"),
    ],
)
def test_only_a_wheel_of_the_stable_abi_is_named_after_the_oldest_python(build_backend, monkeypatch, built, named):
    def tags(command, *, cwd, **_keywords):
        assert cwd == "directory"
        assert command[1:] == ["-m", "wheel", "tags", "--remove", "--python-tag", "cp311", built]
        return SimpleNamespace(stdout=f"directory/{built.replace('cp313', 'cp311')}\n")

    monkeypatch.setattr(build_backend.mesonpy, "build_wheel", lambda *_arguments: built)
    monkeypatch.setattr(subprocess, "run", tags)
    assert build_backend.build_wheel("directory") == named


@pytest.mark.parametrize("given", [None, {}, {"setup-args": "-Da=b"}, {"setup-args": ["-Da=b"], "builddir": "build"}])
@pytest.mark.parametrize("hook", ["build_wheel", "build_editable"])
def test_a_free_threaded_python_is_built_for_without_the_stable_abi(build_backend, monkeypatch, hook, given):
    asked = []

    def build(_directory, settings, _metadata):
        asked.append(settings)
        return "leakyrelu-1.0-cp314-cp314t-linux_x86_64.whl"

    monkeypatch.setattr(build_backend.mesonpy, hook, build)
    getattr(build_backend, hook)("directory", given)
    monkeypatch.setattr(build_backend, "FREE_THREADED", True)
    getattr(build_backend, hook)("directory", given)
    with_the_gil, free_threaded = asked
    assert with_the_gil == given
    own = ["-Da=b"] if given else []
    assert free_threaded == {**(given or {}), "setup-args": ["-Dpython.allow_limited_api=false", *own]}

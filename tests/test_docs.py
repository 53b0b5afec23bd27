"""What the README and the docstrings show is what happens."""

import doctest
import importlib.metadata
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import leakyrelu

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MODULES = sorted(module.name for module in pkgutil.walk_packages(leakyrelu.__path__, "leakyrelu."))


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_every_code_block_has_a_language_that_is_run():
    assert set(re.findall(r"^```(.+)$", README, re.MULTILINE)) == {"python", "console", "sh"}
    assert README.count("\n```") == 2 * sum(len(blocks(language)) for language in ("python", "console", "sh"))


@pytest.mark.slow
def test_python_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = doctest.DocTestParser().get_doctest("\n".join(blocks("python")), {}, "README.md", "README.md", 0)
    assert len(example.examples) > 15
    failures = []
    doctest.DocTestRunner().run(example, out=failures.append)
    assert not failures, "".join(failures)


@pytest.mark.slow
def test_console_of_the_readme(tmp_path):
    commands = Path(sys.executable).parent
    assert shutil.which("leakyrelu", path=str(commands)), "the command is not installed beside this Python"
    environment = {"PATH": f"{commands}:/usr/bin:/bin", "HOME": str(tmp_path)}
    for block in blocks("console"):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = step.partition("\n")
            result = subprocess.run(
                command,
                shell=True,
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert result.stdout == expected, command


def test_the_two_commands_are_run_by_ci():
    (block,) = blocks("sh")
    install_and_demo, install_and_test = block.splitlines()
    assert install_and_demo == "python -m pip install '.[demo]' && leakyrelu demo"
    assert install_and_test == "python -m pip install '.[test]' && python -m pytest"
    ci = (ROOT / ".ci/run").read_text()
    for command in (install_and_demo, install_and_test):
        assert re.search(f"^{re.escape(command)}", ci, re.MULTILINE)


def test_pictures_and_files_the_readme_names_exist():
    for path in re.findall(r"\]\((.+?)\)", README) + re.findall(r"`([\w./]+\.(?:py|hpp|cpp|md))`", README):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_public_functions_have_docstrings_with_an_example():
    for name in leakyrelu.__all__:
        function = getattr(leakyrelu, name)
        text = inspect.getdoc(function)
        sections = ["Parameters"] if inspect.signature(function).parameters else []
        sections += ["Raises", "Examples"] if "set" in name or "relu" in name else ["Examples"]
        sections += ["Returns"] if "get" in name or "relu" in name else []
        for section in sections:
            assert f"\n{section}\n---" in text, (name, section)


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_they_do_and_define_what_they_name(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public)


def test_version_is_the_packages():
    assert leakyrelu.__version__ == importlib.metadata.version("leakyrelu")

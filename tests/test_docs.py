"""What the README, the site and the docstrings show is what happens."""

import doctest
import functools
import importlib.metadata
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import leakyrelu

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(path for path in DOCS.rglob("*.md") if not path.name.startswith("_"))]
MODULES = sorted(module.name for module in pkgutil.walk_packages(leakyrelu.__path__, "leakyrelu."))

# Shell commands that another test runs, or `.ci/run`: they install, need several processes or several machines.
RUN_ELSEWHERE = {
    "python -m pip install '.[demo]' && leakyrelu demo": ".ci/run",
    "python -m pip install '.[test]' && python -m pytest": ".ci/run",
    "dask scheduler --port 8786": "tests/test_backends/test_dask.py",
    "dask worker tcp://SCHEDULER:8786 --nworkers 2 --nthreads 1 --memory-limit 1GB": "tests/test_backends/test_dask.py",
}
NO_CODE = {"{eval-rst}", "{include} ../CHANGELOG.md", "{include} _commands.md", "{toctree}"}
# Networks are trained in these pages, and what becomes of them depends on the processor: figures may differ there.
APPROXIMATE = {"docs/tutorials/dying-units.md"}


@dataclass(frozen=True)
class Block:
    """A block of code: its language, the name of the file that it is, its text, and its line in the page."""

    language: str
    file: str | None
    text: str
    line: int


def blocks(page):
    """All code of a page, wherever it stands, but for MyST's directives that hold none."""
    for token in MarkdownIt().parse(page.read_text()):
        if token.type not in {"fence", "code_block"} or token.info in NO_CODE:
            continue
        directive = re.fullmatch(r"\{code-block\} (\w+)", token.info)
        file = re.match(r":caption: (\S+)\n\n", token.content) if directive else None
        yield Block(
            directive[1] if directive else token.info,
            file and file[1],
            token.content[file.end() :] if file else token.content,
            token.map[0] + 2,
        )


def same(page, expected, got):
    """Whether this is what the page shows."""
    if str(page.relative_to(ROOT)) in APPROXIMATE:
        expected, got = (re.sub(r"[\d.,]+|(?<=[|]) +| +(?=[|])", "0", text) for text in (expected, got))
    return expected == got


class Checker(doctest.OutputChecker):
    """Compares by `same`."""

    def __init__(self, page):
        self.page = page

    def check_output(self, want, got, optionflags):
        return super().check_output(want, got, optionflags) or same(self.page, want.replace("<BLANKLINE>", ""), got)


def run_python(page, block, variables):
    example = doctest.DocTestParser().get_doctest(block.text, variables, page.name, str(page), block.line)
    failures = []
    doctest.DocTestRunner(Checker(page)).run(example, out=failures.append, clear_globs=False)
    assert not failures, "".join(failures)
    variables.update(example.globs)


def run_console(page, block, directory):
    commands = Path(sys.executable).parent
    assert shutil.which("leakyrelu", path=str(commands)), "the command is not installed beside this Python"
    environment = {"PATH": f"{commands}:/usr/bin:/bin", "HOME": str(directory)}
    for step in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, expected = step.partition("\n")
        result = subprocess.run(
            command,
            shell=True,
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert same(page, expected, result.stdout), f"{page}:{block.line}: $ {command}\n{result.stdout}"
        assert result.returncode == 0, f"{page}:{block.line}: $ {command} ended with {result.returncode}"


@pytest.mark.filterwarnings("ignore:.*LeafSpec|.*does not have many workers")  # Lightning's own
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_the_page(page, tmp_path, monkeypatch):
    """Python with prompts is run, with what came before on the page; files are written; commands are run beside them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    variables = {}
    for block in blocks(page):
        if block.file:
            Path(block.file).write_text(block.text)
            monkeypatch.setitem(sys.modules, Path(block.file).stem, None)  # taken back at the end
            del sys.modules[Path(block.file).stem]
        elif block.language == "python":
            assert ">>> " in block.text, f"{page}:{block.line}: neither prompts nor the name of a file"
            run_python(page, block, variables)
        elif block.language == "console":
            assert block.text.startswith("$ "), f"{page}:{block.line}: no command"
            run_console(page, block, tmp_path)
        else:
            assert block.language == "sh", f"{page}:{block.line}: nothing runs {block.language!r}"
            for command in block.text.splitlines():
                assert command in RUN_ELSEWHERE, f"{page}:{block.line}: nothing runs {command!r}"


def test_no_code_of_a_page_escapes(tmp_path):
    """Code that is indented, in a list, between tildes or in another directive is found, too."""
    for page in PAGES:
        assert not re.search(r"^\s*:::", page.read_text(), re.MULTILINE), f"{page}: write directives with backticks"
    page = tmp_path / "page.md"
    page.write_text("    a\n\n- list\n\n  ```sh\n  b\n  ```\n\n~~~python\nc\n~~~\n\n```{code} python\nd\n```\n")
    found = [(block.language, block.text, block.line) for block in blocks(page)]
    assert found == [("", "a\n", 2), ("sh", "b\n", 6), ("python", "c\n", 10), ("{code} python", "d\n", 14)]


def test_a_file_of_a_page_is_used_there():
    for page in PAGES:
        text = page.read_text()
        for block in blocks(page):
            if block.file:
                assert text.count(Path(block.file).stem) > 1, (page, block.file)


def test_the_harness_sees_what_is_wrong(tmp_path):
    """A changed output, a failing command and a language that nothing runs do not pass."""
    page = tmp_path / "page.md"
    page.write_text("```python\n>>> 1 + 1\n3\n```\n\n```console\n$ echo 1\n2\n```\n")
    python, console = blocks(page)
    with pytest.raises(AssertionError):
        run_python(README, python, {})
    with pytest.raises(AssertionError):
        run_console(README, console, tmp_path)
    page.write_text("```{code-block} python\n:caption: a.py\n\nx = 1\n```\n\n```{toctree}\na\n```\n")
    assert list(blocks(page)) == [Block("python", "a.py", "x = 1\n", 2)]


def test_what_runs_elsewhere_runs_there():
    ci = (ROOT / ".ci/run").read_text()
    for command, where in RUN_ELSEWHERE.items():
        if where == ".ci/run":
            assert re.search(f"^{re.escape(command)}", ci, re.MULTILINE), command
        else:
            assert command.split()[1] in (ROOT / where).read_text(), command


def test_the_readme_begins_with_the_two_commands_and_fits_on_two_screens():
    text = README.read_text()
    assert text.count("\n") <= 120
    (block,) = (block for block in blocks(README) if block.language == "sh")
    assert block.text.splitlines() == list(RUN_ELSEWHERE)[:2]
    assert block.line < 30


def test_every_page_is_on_the_site():
    index = (DOCS / "index.md").read_text()
    for page in PAGES[1:]:
        name = str(page.relative_to(DOCS).with_suffix(""))
        assert name == "index" or f"\n{name}\n" in index, name


def test_addresses_of_the_project_lead_somewhere():
    """An index page shows no relative link, so the README has addresses: of a page of the site, or a file."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    site, source = urls["Documentation"], urls["Source"]
    raw = source.replace("github.com", "raw.githubusercontent.com") + "/main/"
    assert not [link for link in re.findall(r"\]\((.+?)\)", README.read_text()) if not link.startswith("https://")]
    links = {
        link
        for page in [*PAGES, *ROOT.glob("*.md")]
        for link in re.findall(r"https://[\w./-]+", page.read_text())
        if link.startswith((site, raw, f"{source}/blob/"))
    }
    assert len(links) > 10
    for link in links - {site, f"{site}play/"}:  # the page to play with is put there by tools/site_page.py
        if link.startswith(site):
            assert (DOCS / link.removeprefix(site).replace(".html", ".md")).is_file(), link
        else:
            assert (ROOT / link.removeprefix(raw).removeprefix(f"{source}/blob/main/")).is_file(), link


def test_files_that_the_texts_name_exist():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for path in re.findall(r"`((?:src|tests|docs|benchmarks|experiments)/[\w./-]+\.\w+)`", page.read_text()):
            assert (ROOT / path).exists(), (page, path)


def test_every_public_name_is_in_the_reference():
    text = "".join(page.read_text() for page in sorted((DOCS / "reference").glob("*.md")))
    for module in (leakyrelu, *(importlib.import_module(f"leakyrelu.{part}") for part in _PUBLIC_PARTS)):
        automatic = f"automodule:: {module.__name__}\n" in text
        for name in module.__all__:
            is_of_units = name in leakyrelu.units.__all__  # whose page describes it
            described = automatic or is_of_units or f"{module.__name__}.{name}\n" in text
            assert described, (module.__name__, name)


_PUBLIC_PARTS = [
    *("check", "demo", "jax", "keras", "lesson", "lightning", "plot", "sklearn", "theory", "torch", "transformers"),
    *("tuning", "units"),
]


def test_every_environment_variable_is_in_the_reference():
    page = (DOCS / "reference/environment.md").read_text()
    package = ROOT / "src/leakyrelu"
    read = {
        name
        for path in [*package.rglob("*.py"), *package.rglob("*.cpp")]
        for name in re.findall(r"\"(LEAKYRELU_[A-Z_]+)\"", path.read_text())
    }
    assert read
    for name in read:
        assert f"`{name}`" in page, name


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
def test_the_reference_takes_no_sentence_for_a_type(name):
    """Sphinx takes what is before a colon, in the first line of a property's docstring, for the property's type."""
    for kind in vars(importlib.import_module(name)).values():
        for attribute in vars(kind).values() if inspect.isclass(kind) and kind.__module__ == name else ():
            if isinstance(attribute, property | functools.cached_property) and attribute.__doc__:
                assert ": " not in attribute.__doc__.partition("\n")[0], attribute.__doc__


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_they_do_and_define_what_they_name(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public)


def test_version_is_the_packages():
    assert leakyrelu.__version__ == importlib.metadata.version("leakyrelu")

"""Where files lie, which modules may import an optional dependency, and that no file is missing from the installation.

import-linter checks which of our own modules may import which (`nox -s lint`; the contract is in pyproject.toml).
"""

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import leakyrelu

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "leakyrelu"
MODULES = sorted(module.name for module in pkgutil.walk_packages(leakyrelu.__path__, "leakyrelu."))
NOT_INSTALLED = {".cpp", ".hpp", ".pyc"}  # sources that are compiled, and files that Python makes

# The modules that may import a framework when they are imported: those under its name, and the command line.
ON_IMPORT = {
    "torch": r"leakyrelu\.(torch|_backends\.torch(_private)?)(\..*)?",
    "jax": r"leakyrelu\._backends\.jax",
    "typer": r"leakyrelu\.cli",
    "marimo": r"leakyrelu\.lesson\.page",
}

IMPORT_ALL = """
import importlib, json, sys

allowed = {*sys.stdlib_module_names, "numpy", "leakyrelu"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_leakyrelu"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
missing = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except ImportError as error:
        missing[name] = error.name
print(json.dumps(missing))
"""


def test_every_file_of_the_package_is_installed():
    listed = re.findall(r"'(leakyrelu/.+?)'", (SOURCE / "meson.build").read_text())
    found = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in NOT_INSTALLED]
    assert listed == sorted(str(path.relative_to(SOURCE)) for path in found)


def test_files_are_listed_for_installation_in_one_place():
    lists = [path for path in ROOT.rglob("meson.build") if "install_sources" in path.read_text()]
    assert lists == [SOURCE / "meson.build"]


def test_no_module_imports_an_optional_dependency_when_it_is_imported():
    command = [sys.executable, "-c", IMPORT_ALL, json.dumps(MODULES)]
    missing = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for name, dependency in missing.items():
        assert re.fullmatch(ON_IMPORT.get(dependency.partition(".")[0], ""), name), (name, dependency)
    assert {"leakyrelu.cli", "leakyrelu.torch", "leakyrelu._backends.jax"} <= missing.keys()


@pytest.mark.parametrize("name", ["leakyrelu", *MODULES])
def test_no_function_or_class_shares_its_name_with_a_module_beside_it(name):
    package = importlib.import_module(name)
    for module in pkgutil.iter_modules(getattr(package, "__path__", [])):
        attribute = getattr(package, module.name, None)
        assert attribute is None or inspect.ismodule(attribute), f"{name}.{module.name}"
    for public in getattr(package, "__all__", ()):
        if inspect.isroutine(attribute := getattr(package, public)):
            assert attribute.__module__.rpartition(".")[2] != public, f"{name}.{public}"


def test_private_names_of_pytorch_are_used_in_one_place():
    private = re.compile(
        r"torch\._\w|has_torch_function_(unary|variadic)|_jit_internal|forward_ad\._|_pytree|\._version\b|\._base\b|_compiled_call_impl"
    )
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(private.search(line) for line in path.read_text().splitlines() if "startswith" not in line)
    }
    assert found == {"_backends/torch_private.py"}


def test_the_methods_of_optunas_storages_are_used_in_one_place():
    private = re.compile(r"BaseStorage|get_trial_id_from|set_trial_|remove_session|get_study_id")
    found = {path.name for path in PACKAGE.rglob("*.py") if private.search(path.read_text())}
    assert found == {"storage.py", "search.py"}  # the latter names the type that `tune` takes


def test_the_tests_lie_as_what_they_test():
    folders = [path for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name.startswith("test_")]
    for folder in folders:
        tested = folder.name.removeprefix("test_")
        assert {PACKAGE / tested, PACKAGE / f"_{tested}"} & set(PACKAGE.iterdir()), folder.name


def test_optional_parts_are_seen_by_dir_and_loaded_on_first_use():
    assert {"check", "demo", "plot", "theory", "torch", "tuning", "units"} <= set(dir(leakyrelu))
    assert inspect.ismodule(leakyrelu.plot)
    assert not hasattr(leakyrelu, "leaky_rlu")


def test_a_part_whose_framework_is_missing_is_no_attribute_and_its_import_says_what_to_install():
    code = """
import sys
sys.modules["torch"] = None
import leakyrelu
assert not hasattr(leakyrelu, "torch")
assert getattr(leakyrelu, "torch", None) is None
assert "torch" in dir(leakyrelu)
for attempt in ("leakyrelu.torch", "import leakyrelu.torch", "from leakyrelu import torch", "from leakyrelu.torch import LeakyReLU"):
    try:
        exec(attempt)
    except (AttributeError, ImportError) as error:
        assert "needs PyTorch, which is missing: pip install 'leakyrelu[torch]'" in str(error), str(error)
        assert isinstance(error, AttributeError if attempt == "leakyrelu.torch" else ImportError)
    else:
        raise SystemExit(attempt)
"""
    subprocess.run([sys.executable, "-c", code], check=True)

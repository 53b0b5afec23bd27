"""What developers run: `nox -s lint`, `tests`, `oldest`, and so on; `nox --list` names them all."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "tests"]

KERNELS = [f"tests/test_{name}.py" for name in ("activation", "direct", "threads", "ufuncs")]


@nox.session
def lint(session):
    """Style and types."""
    session.install(".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy", "--strict", "src", "tests/typing")


@nox.session
def tests(session):
    """All tests, or those named: nox -s tests -- tests/test_plot.py."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def oldest(session):
    """The function and its ufuncs, with the oldest NumPy supported."""
    session.install(".", "numpy==2.0.*", "hypothesis", "ml_dtypes", "pytest")
    session.run("python", "-m", "pytest", *KERNELS, "tests/test_files.py")


@nox.session(python="3.14t")
def free_threaded(session):
    """The same without the interpreter's lock; such a Python has no limited API."""
    session.install("hypothesis", "ml_dtypes", "pytest")
    session.install("-Csetup-args=-Dpython.allow_limited_api=false", ".")
    session.run("python", "-c", "import sys, leakyrelu; assert not sys._is_gil_enabled()")
    session.run("python", "-m", "pytest", *KERNELS)


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
    session.run(".ci/sanitizers", external=True)


@nox.session
def arm64(session):
    """The C++ tests, compiled for arm64 and run by an emulator."""
    session.install("hypothesis", "pytest")
    session.run(".ci/arm64", external=True)


@nox.session
def bench(session):
    """Beside the peers."""
    session.install(".[bench]")
    session.run("python", "-m", "benchmarks", *session.posargs)

"""The kernel headers by themselves: compiled and run without Python, by whatever CXX, CXXFLAGS and CXX_RUNNER say.

`nox -s sanitizers` and `nox -s arm64` set these. Without CXXFLAGS, under a sanitizer and in an emulator, the
tests of the kernels take fewer slopes and fewer lengths.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "src" / "leakyrelu" / "_ufuncs"
COMPILER = shlex.split(os.environ.get("CXX", "c++"))
FLAGS = shlex.split(os.environ.get("CXXFLAGS", ""))
PROCESSOR = Path("/proc/cpuinfo")
RUNNER = shlex.split(os.environ.get("CXX_RUNNER", ""))

pytestmark = pytest.mark.skipif(shutil.which(COMPILER[0]) is None, reason="no C++ compiler")

# As in meson.build.
INSTRUCTION_SETS = {
    "baseline": [],
    "avx2": ["-mavx2", "-mfma", "-mf16c"],
    "avx512": ["-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl"],
}


def compiled(source, target, *flags):
    """Compile, or where the target is a program, compile and link."""
    always = shlex.split("-std=c++17 -ffp-contract=off -fopenmp-simd -pthread -Wall -Wextra -Wpedantic -Werror")
    if "clang" in COMPILER[0]:
        always.append("-Wno-pass-failed")  # longdouble has no vector form, and Clang warns of that
    subprocess.run([*COMPILER, *always, *FLAGS, f"-I{KERNELS}", source, *flags, "-o", target], check=True)
    return target


@pytest.fixture(scope="module")
def thread_pool(tmp_path_factory):
    """The thread pool, which all programs need, compiled once."""
    return compiled(KERNELS / "thread_pool.cpp", tmp_path_factory.mktemp("objects") / "thread_pool.o", "-c")


def run(program, *arguments):
    result = subprocess.run([*RUNNER, program, *arguments], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


def can_run(instruction_set):
    """Whether the compiler makes programs with these instructions, and this processor has them."""
    needs = {flag.removeprefix("-m") for flag in INSTRUCTION_SETS[instruction_set]}
    if not needs or shutil.which(COMPILER[0]) is None or not PROCESSOR.exists():
        return not needs
    target = subprocess.run([*COMPILER, "-dumpmachine"], capture_output=True, text=True, check=True).stdout
    return target.startswith("x86_64") and needs <= set(PROCESSOR.read_text().split())


SETS = list(filter(can_run, INSTRUCTION_SETS))


@pytest.mark.slow
@pytest.mark.parametrize("instruction_set", SETS)
def test_kernels(instruction_set, thread_pool, tmp_path):
    flags = [f"-DLEAKYRELU_ISA={instruction_set}", *INSTRUCTION_SETS[instruction_set]]
    if "CXXFLAGS" not in os.environ:  # -O1 compiles in two thirds of the time
        flags.append("-O2" if instruction_set == SETS[-1] else "-O1")
    program = compiled(HERE / "cpp" / "test_kernels.cpp", tmp_path / "program", *flags, thread_pool)
    quick = RUNNER or "CXXFLAGS" not in os.environ or "-fsanitize" in " ".join(FLAGS)
    run(program, *(["--quick"] if quick else []))


@pytest.mark.slow
def test_thread_pool(thread_pool, tmp_path):
    program = compiled(HERE / "cpp" / "test_thread_pool.cpp", tmp_path / "program", thread_pool)
    # Neither ThreadSanitizer nor QEMU starts threads in the child of a fork.
    run(program, *(["--no-fork"] if RUNNER or "thread" in " ".join(FLAGS) else []))

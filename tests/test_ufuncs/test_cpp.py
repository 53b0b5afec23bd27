"""The kernel headers by themselves, compiled and run without Python.

The environment variable CXX names the compiler, CXXFLAGS its options, and CXX_RUNNER the program that runs what it makes.
`nox -s sanitizers`, `arm64`, `x86_32` and `windows` set them. Without CXXFLAGS, under a sanitizer and with a CXX_RUNNER,
the tests of the kernels take fewer slopes and fewer lengths.
"""

import os
import re
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
        always.append("-Wno-pass-failed")  # longdouble has no vector form, and Clang warns about that
    subprocess.run([*COMPILER, *always, *FLAGS, f"-I{KERNELS}", source, *flags, "-o", target], check=True)
    return target


@pytest.fixture(scope="module")
def thread_pool(tmp_path_factory):
    """The thread pool, which all programs need, compiled once."""
    return compiled(KERNELS / "thread_pool.cpp", tmp_path_factory.mktemp("objects") / "thread_pool.o", "-c")


def run(program, *arguments):
    result = subprocess.run([*RUNNER, program, *arguments], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


def preprocessed(*flags, header="elementwise.hpp"):
    """What the preprocessor makes of a header and those it includes: the finished process, with its text and its errors."""
    command = [*COMPILER, "-std=c++17", *FLAGS, *flags, "-E", "-x", "c++", KERNELS / header]
    return subprocess.run(command, capture_output=True, text=True)


def predefined_macros():
    """The names of the macros that the compiler defines by itself."""
    if shutil.which(COMPILER[0]) is None:
        return set()
    command = [*COMPILER, *FLAGS, "-dM", "-E", "-x", "c++", os.devnull]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {line.split()[1] for line in lines}


def can_run(instruction_set):
    """Whether the compiler makes programs with these instructions, and this processor has them."""
    needs = {flag.removeprefix("-m") for flag in INSTRUCTION_SETS[instruction_set]}
    if not needs or shutil.which(COMPILER[0]) is None or not PROCESSOR.exists():
        return not needs
    target = subprocess.run([*COMPILER, "-dumpmachine"], capture_output=True, text=True, check=True).stdout
    return target.startswith("x86_64") and needs <= set(PROCESSOR.read_text().split())


SETS = list(filter(can_run, INSTRUCTION_SETS))
MACROS = predefined_macros()

# Options that give up the arithmetic which the kernels need, and what the compiler's error says to do.
REFUSED = [("-ffast-math", "Compile without these options"), ("-ffinite-math-only", "Compile without these options")]
if "__clang__" not in MACROS:
    REFUSED.append(("-fno-signed-zeros", "Compile without these options"))
    if MACROS & {"__x86_64__", "__i386__"}:
        REFUSED.append(("-mfpmath=387", "compile with -msse2 -mfpmath=sse"))


@pytest.mark.slow
@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("name", ["kernels", "counting", "slope_gradient"])
def test_kernels(name, instruction_set, thread_pool, tmp_path):
    flags = [f"-DLEAKYRELU_ISA={instruction_set}", *INSTRUCTION_SETS[instruction_set]]
    if "CXXFLAGS" not in os.environ:  # -O1 compiles in two thirds of the time
        flags.append("-O2" if instruction_set == SETS[-1] else "-O1")
    program = compiled(HERE / "cpp" / f"test_{name}.cpp", tmp_path / "program.exe", *flags, thread_pool)
    quick = RUNNER or "CXXFLAGS" not in os.environ or "-fsanitize" in " ".join(FLAGS)
    run(program, *(["--quick"] if quick else []))


# As MSVC with /arch:AVX512 and /fp:contract: it defines the macros of the instruction set, but has no vector extensions, and
# it may make one instruction of a product and a sum, which rounds once instead of twice.
WITHOUT_VECTOR_EXTENSIONS = ["-DLEAKYRELU_VECTOR_EXTENSIONS=0", *INSTRUCTION_SETS[SETS[-1]]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kernels", "counting", "slope_gradient"])
def test_kernels_without_vector_extensions_and_with_contraction(name, thread_pool, tmp_path):
    flags = [*WITHOUT_VECTOR_EXTENSIONS, "-ffp-contract=fast", "-O1"]
    run(compiled(HERE / "cpp" / f"test_{name}.cpp", tmp_path / "program.exe", *flags, thread_pool), "--quick")


@pytest.mark.parametrize("header", ["elementwise.hpp", "counting.hpp", "slope_gradient.hpp"])
def test_without_vector_extensions_the_headers_use_no_other_extension(header):
    result = preprocessed(*WITHOUT_VECTOR_EXTENSIONS, header=header)
    assert result.returncode == 0, result.stderr
    file, names = "", {}
    for line in result.stdout.splitlines():
        if marker := re.match(r'# \d+ "(.*?)"', line):
            file = Path(marker[1])
        elif file.parent == KERNELS:
            names.setdefault(file.name, set()).update(re.findall(r"\b(?:__\w+|asm|gnu::\w+)", line))
    assert {"half.hpp", "half_simd.hpp", "memory.hpp", "scalar.hpp", "slopes.hpp"} <= names.keys()
    # MSVC has __restrict and the types of its intrinsics, and isa.hpp gives it its own words for the two attributes.
    assert set().union(*names.values()) <= {
        "__restrict",
        "__m128i",
        "__m256i",
        "__m512i",
        "gnu::always_inline",
        "gnu::noinline",
    }


@pytest.mark.parametrize(("option", "advice"), REFUSED)
def test_arithmetic_that_would_give_wrong_numbers_is_refused(option, advice):
    assert preprocessed().returncode == 0
    result = preprocessed(option)
    assert result.returncode != 0
    assert result.stderr.count(" error: ") == 1
    assert advice in result.stderr


@pytest.mark.slow
def test_thread_pool(thread_pool, tmp_path):
    program = compiled(HERE / "cpp" / "test_thread_pool.cpp", tmp_path / "program.exe", thread_pool)
    # Neither ThreadSanitizer nor QEMU starts threads in the child of a fork.
    run(program, *(["--no-fork"] if RUNNER or "thread" in " ".join(FLAGS) else []))

"""Several threads give the same bits, no call waits for another, and a process can fork and end at any time."""

import itertools
import multiprocessing
import os
import struct
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import oracle
import pytest
from oracle import assert_same, bits

import leakyrelu
from leakyrelu import _ufuncs, leaky_relu, leaky_relu_backward, leaky_relu_derivative, threads

TYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.longdouble, np.int8, np.int32]
LARGE = 3_000_000  # elements: many blocks for several threads


@pytest.fixture
def threads_for_all():
    """Let helpers work on every array, however small it is."""
    before = _ufuncs.set_threading_threshold(0)
    yield
    _ufuncs.set_threading_threshold(before)


@pytest.fixture
def streams_for_all():
    """Stream every result, however small it is."""
    before = _ufuncs.set_streaming_threshold(0)
    yield
    _ufuncs.set_streaming_threshold(before)


@pytest.fixture(autouse=True)
def keep_number_of_threads():
    before = leakyrelu.get_num_threads()
    yield
    leakyrelu.set_num_threads(before)


def numbers(size, dtype, seed=0):
    return (np.random.default_rng(seed).standard_normal(size) * 100).astype(dtype)


def run(code, seconds=60, **environment):
    """Run the code in a Python process of its own, which fails if it hangs."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def with_threads(count, function, *arguments):
    with leakyrelu.num_threads(count):
        return function(*arguments)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", [1, 63, 5_000, 300_001])
def test_any_number_of_threads_gives_the_same_bits(dtype, size, threads_for_all):
    x, grad = numbers(size, dtype), numbers(size, dtype, seed=1)
    for function, arguments in [
        (leaky_relu, (x, 0.3)),
        (leaky_relu_derivative, (x, 0.3)),
        (leaky_relu_backward, (grad, x, 0.3)),
        (leaky_relu, (x[::-2], 0.3)),
        (leaky_relu, (x, np.linspace(0.1, 0.5, size))),
    ]:
        alone = with_threads(1, function, *arguments)
        for count in (2, 7):
            assert bits(with_threads(count, function, *arguments)) == bits(alone)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_overlapping_results_are_written_in_order(count, threads_for_all):
    x = np.arange(-100_000.0, 0.0)
    out = np.lib.stride_tricks.as_strided(np.zeros(1), x.shape, (0,), writeable=True)
    with_threads(count, _ufuncs.leaky_relu, x, 0.5, out)
    assert out[0] == -0.5


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.longdouble])
@pytest.mark.parametrize("count", [1, 2])
def test_streamed_results_are_the_same_at_every_alignment(dtype, count, threads_for_all, streams_for_all):
    x = numbers(20_000, dtype)
    expected = oracle.leaky_relu(x, 0.5)
    expected = expected.astype(leaky_relu(x, 0.5).dtype)
    itemsize = expected.dtype.itemsize
    leakyrelu.set_num_threads(count)
    for head, size in itertools.product([0, 1, 3, 64 // itemsize], [0, 1, 5, 63, 64, 1023, 4096, 4097, 20_000]):
        memory = np.full(size + 2 * 64, 77, expected.dtype)
        out = memory[head : head + size]
        leaky_relu(x[:size], 0.5, out=out)
        assert_same(out, expected[:size])
        assert (memory[:head] == 77).all()
        assert (memory[head + size :] == 77).all()


@pytest.mark.parametrize("step", [1, 2, -1])
@pytest.mark.parametrize("shift", [1, 100_000, -1, -100_000])
@pytest.mark.parametrize("function", [leaky_relu, _ufuncs.leaky_relu])
def test_large_results_that_overlap_their_input(step, shift, function):
    leakyrelu.set_num_threads(2)
    size = 1_000_000
    for _ in range(5):
        memory = -np.arange(1, size * abs(step) + 300_001, dtype=np.float32)
        x, out = (memory[150_000 + offset :][: size * abs(step)][::step] for offset in (shift, 0))
        expected = leaky_relu(x.copy(), 0.5)
        function(x, 0.5, out=out)
        assert_same(out, expected)


def test_large_results_that_overlap_a_strided_input_or_the_slopes():
    leakyrelu.set_num_threads(2)
    memory = -np.arange(1.0, 2_000_001.0)
    expected = leaky_relu(memory[::2].copy(), 0.5)
    leaky_relu(memory[::2], 0.5, out=memory[:1_000_000])
    assert_same(memory[:1_000_000].copy(), expected)
    for shift in (0, 1, 100_000):
        x, memory = np.full(1_000_000, -1.0), np.arange(1_100_000.0)
        alpha = memory[shift:][:1_000_000]
        expected = -alpha
        expected[alpha == 0] = -0.0
        leaky_relu(x, alpha, out=memory[:1_000_000])
        assert_same(memory[:1_000_000].copy(), expected)


def test_in_place_with_threads_and_streaming(threads_for_all, streams_for_all):
    x = numbers(1_000_001, np.float32)
    expected = oracle.leaky_relu(x, np.float32(0.5))
    assert leaky_relu(x, 0.5, out=x) is x
    assert_same(x, expected)


@pytest.mark.parametrize("function", [leaky_relu, _ufuncs.leaky_relu])
def test_an_overflow_in_any_block_warns(function):
    leakyrelu.set_num_threads(2)
    x = np.full(LARGE, -1, np.float32)
    for place in (0, LARGE // 2, LARGE - 1):
        with warnings.catch_warnings():
            function(x, 1e38)  # no warning
        x[place] = -10
        for _ in range(20):
            with pytest.warns(RuntimeWarning, match="overflow encountered in leaky_relu"):
                function(x, 1e38)
        with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
            function(x, 1e38)
        x[place] = -1


def test_many_callers_while_the_number_of_threads_changes():
    x = numbers(100_000, np.float32)
    expected = leaky_relu(x, 0.5).tobytes()
    done = threading.Event()

    def change():
        for count in itertools.cycle([1, 2, 3, 7, 2]):
            if done.is_set():
                return
            leakyrelu.set_num_threads(count)

    def call(_):
        out = np.empty_like(x)
        return sum(leaky_relu(x, 0.5, out=out).tobytes() != expected for _ in range(1250))

    changing = threading.Thread(target=change)
    changing.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(call, range(8))) == 0
    finally:
        done.set()
        changing.join()


LARGE_CALL = f"""
import numpy as np, leakyrelu
leakyrelu.set_num_threads(4)
def large():
    x = np.full({LARGE}, -2, np.float32)
    y = leakyrelu.leaky_relu(x, 0.5)
    assert y.min() == y.max() == -1
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_the_child_of_a_fork_works():
    code = f"""
import os, warnings
{LARGE_CALL}
large()
warnings.simplefilter("ignore", DeprecationWarning)  # Python's, about threads and fork
for _ in range(20):
    child = os.fork()
    if child == 0:
        large()
        grandchild = os.fork()
        large()
        if grandchild:
            assert os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 0
        os._exit(0)
    large()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    assert run(code).returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_the_child_of_a_fork_in_the_middle_of_a_call_works():
    code = f"""
import os, threading, warnings
{LARGE_CALL}
warnings.simplefilter("ignore", DeprecationWarning)
stop = threading.Event()
def calls():
    while not stop.is_set():
        large()
threads = [threading.Thread(target=calls) for _ in range(2)]
for thread in threads: thread.start()
x, out = np.ones({LARGE}, np.float32), np.empty({LARGE}, np.float32)
for _ in range(20):
    child = os.fork()
    if child == 0:
        for _ in range(3): leakyrelu.leaky_relu(x, 0.5, out=out)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
for thread in threads: thread.join()
"""
    assert run(code).returncode == 0


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_multiprocessing_after_a_large_call(method, tmp_path):
    script = tmp_path / "work.py"
    script.write_text(f"""
import multiprocessing, warnings
{LARGE_CALL}
def work(_):
    large()
    return 1
if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    large()
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        assert sum(pool.map(work, range(6))) == 6
    large()
""")
    if method not in __import__("multiprocessing").get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    "end",
    [
        "sys.exit(3)",
        "os._exit(3)",
        "atexit.register(large); atexit.register(lambda: time.sleep(0.05)); sys.exit(3)",
        "threading.Thread(target=lambda: [large() for _ in range(3)]).start(); sys.exit(3)",
    ],
)
def test_the_process_ends_during_a_large_call_in_a_daemon_thread(end):
    code = f"""
import atexit, os, sys, threading, time
{LARGE_CALL}
def forever():
    x = np.ones(20_000_000, np.float32)
    out = np.empty_like(x)
    while True:
        leakyrelu.leaky_relu(x, 0.5, out=out)
        leakyrelu.leaky_relu(x[::20], 0.5)
        leakyrelu.leaky_relu(x[:1_000_000], 0.5)
for _ in range(2):
    threading.Thread(target=forever, daemon=True).start()
time.sleep(0.3)
{end}
"""
    assert run(code).returncode == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_the_parent_of_a_killed_child_ends():
    code = f"""
import os, signal, time, warnings
{LARGE_CALL}
large()
warnings.simplefilter("ignore", DeprecationWarning)
child = os.fork()
if child == 0:
    while True: large()
time.sleep(0.2)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
large()
"""
    assert run(code).returncode == 0


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc on this system")
def test_signals_are_left_to_the_threads_of_the_program():
    code = f"""
import os, signal, threading
{LARGE_CALL}
before = set(os.listdir("/proc/self/task"))
large()
helpers = set(os.listdir("/proc/self/task")) - before
assert helpers
for helper in helpers:
    status = dict(line.split(":", 1) for line in open(f"/proc/self/task/{{helper}}/status"))
    blocked = int(status["SigBlk"], 16)
    assert blocked >> signal.SIGINT - 1 & 1 and blocked >> signal.SIGALRM - 1 & 1
assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
"""
    assert run(code).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")
def test_the_caller_does_the_work_where_no_thread_can_be_had():
    code = f"""
import resource
{LARGE_CALL}
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
leakyrelu.set_num_threads(1024)  # their stacks of 8 MiB each take more than that
large()
"""
    assert run(code, OPENBLAS_NUM_THREADS="1").returncode == 0


# How many threads


def test_the_number_of_threads_is_set_and_restored():
    leakyrelu.set_num_threads(3)
    with leakyrelu.num_threads(1):
        assert leakyrelu.get_num_threads() == 1
        with leakyrelu.num_threads(np.int64(5)):
            assert leakyrelu.get_num_threads() == 5
        with pytest.raises(TypeError), leakyrelu.num_threads(5):
            leakyrelu.set_num_threads("an error within")
        assert leakyrelu.get_num_threads() == 1
    assert leakyrelu.get_num_threads() == 3


@pytest.mark.parametrize(
    ("n", "error"), [(0, ValueError), (-1, ValueError), (1025, ValueError), (1.0, TypeError), ("2", TypeError)]
)
def test_a_wrong_number_of_threads_is_refused(n, error):
    before = leakyrelu.get_num_threads()
    with pytest.raises(error, match=r"^n must be .*got"):
        leakyrelu.set_num_threads(n)
    with pytest.raises(error, match=r"^n must be .*got"), leakyrelu.num_threads(n):
        pass
    assert leakyrelu.get_num_threads() == before


@pytest.mark.parametrize(("text", "expected"), [("1", "1"), (" 5 ", "5"), ("", None)])
def test_the_environment_sets_the_number_of_threads(text, expected):
    result = run("import leakyrelu; print(leakyrelu.get_num_threads())", LEAKYRELU_NUM_THREADS=text)
    assert result.stdout.strip() == (expected or str(threads._initial_threads()))


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "99999"])
def test_a_wrong_number_in_the_environment_is_refused(text):
    result = run("import leakyrelu", LEAKYRELU_NUM_THREADS=text)
    assert result.returncode == 1
    assert f"LEAKYRELU_NUM_THREADS must be an integer from 1 to 1024, got '{text}'" in result.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_limits_the_threads():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import leakyrelu; print(leakyrelu.get_num_threads())"
    assert run(code, LEAKYRELU_NUM_THREADS="").stdout.strip() == "1"


def group(root, line, **files):
    """Make a file system with control groups, and return the limit.

    The keys of `files` are paths, with __ in place of each slash and - in place of each dot.
    """
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(line)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("-", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return threads._control_group_limit(root)


@pytest.mark.parametrize(
    ("line", "files", "limit"),
    [
        ("0::/\n", {}, 1024),
        ("0::/\n", {"cpu-max": "max 100000\n"}, 1024),
        ("0::/\n", {"cpu-max": "150000 100000\n"}, 2),
        ("0::/a/b\n", {"a__b__cpu-max": "max 100000\n", "a__cpu-max": "300000 100000\n"}, 3),
        ("0::/not/seen/from/here\n", {"cpu-max": "50000 100000\n"}, 1),
        ("4:cpu,cpuacct:/a\n", {"cpu__a__cpu.cfs_quota_us": "200000\n", "cpu__a__cpu.cfs_period_us": "100000\n"}, 2),
        ("4:cpu:/\n", {"cpu__cpu.cfs_quota_us": "-1\n", "cpu__cpu.cfs_period_us": "100000\n"}, 1024),
    ],
)
def test_control_groups_limit_the_threads(tmp_path, line, files, limit):
    assert group(tmp_path, line, **files) == limit


def test_without_control_groups_there_is_no_limit(tmp_path):
    assert threads._control_group_limit(tmp_path) == 1024


def test_the_last_level_cache_is_the_largest_that_holds_data(tmp_path):
    for i, (kind, size) in enumerate(
        [("Data", "32K"), ("Instruction", "64M"), ("Unified", "1024K"), ("Unified", "32M")]
    ):
        folder = tmp_path / f"index{i}"
        folder.mkdir()
        (folder / "type").write_text(kind + "\n")
        (folder / "size").write_text(size + "\n")
    assert threads._last_level_cache(tmp_path) == 32 << 20
    assert threads._last_level_cache(tmp_path / "none") == 0


def test_the_last_level_cache_on_windows_is_the_largest_that_holds_data():
    core, cache = 0, 2
    unified, instruction, data = 0, 1, 2
    records = [
        (0b11, core, 1, 0, 0, 0, 0),
        (0b01, cache, 1, 8, 64, 32 << 10, data),
        (0b01, cache, 1, 8, 64, 64 << 20, instruction),
        (0b01, cache, 2, 8, 64, 1 << 20, unified),
        (0b11, cache, 3, 16, 64, 32 << 20, unified),
    ]
    information = b"".join(struct.pack("@Ni0qBBHIi0q", *record) for record in records)
    assert threads._windows_last_level_cache(information) == 32 << 20
    assert threads._windows_last_level_cache(b"") == 0

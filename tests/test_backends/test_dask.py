"""Dask arrays: lazy, chunk by chunk, on worker processes of their own, also where the whole is larger than their memory."""

import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import dask
import dask.array as da
import ml_dtypes
import numpy as np
import pytest
from distributed import Client, LocalCluster
from oracle import assert_same

from benchmarks import larger_than_memory
from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_derivative

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "docs/how-to/cluster.md"
TYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.longdouble, np.int8, np.int64, bool]
FUNCTIONS = [leaky_relu, leaky_relu_derivative, lambda x, alpha: leaky_relu_backward(x[::-1], x, alpha)]
LIMIT = 400_000_000  # bytes, of each worker


@pytest.fixture(scope="module", autouse=True)
def client():
    """Two worker processes, on which all here is computed. One that breaks its limit is not started again."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=LIMIT, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def numbers(dtype, shape=(6, 5, 8), seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 10).astype(dtype)


def uncomputable():
    """An array whose chunks cannot be computed."""

    def fail(block_id):
        raise RuntimeError(f"chunk {block_id} was computed")

    return da.map_blocks(fail, chunks=((2, 2), (3,)), dtype=np.float32, meta=np.empty((0, 0), np.float32))


@pytest.mark.parametrize("function", FUNCTIONS, ids=["value", "derivative", "backward"])
def test_nothing_is_computed_before_it_is_asked_for(function):
    result = function(uncomputable(), 0.1)
    assert isinstance(result, da.Array)
    with pytest.raises(RuntimeError, match="was computed"):
        result.compute()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("function", FUNCTIONS, ids=["value", "derivative", "backward"])
def test_bits_types_and_chunks_are_as_in_numpy(function, dtype):
    x = numbers(dtype)
    lazy = da.from_array(x, chunks=(3, 2, 8))
    result = function(lazy, 0.3)
    assert result.chunks == lazy.chunks
    assert result.dtype == (x.dtype if x.dtype.kind not in "biu" else np.float64)
    assert_same(result.compute(), function(x, 0.3))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32])
@pytest.mark.parametrize("chunks", [None, (5, 1), (2, 1)])
def test_a_slope_for_each_channel_keeps_type_and_chunks(dtype, chunks):
    x, slopes = numbers(dtype), np.linspace(-0.5, 2, 5).reshape(5, 1)
    lazy = da.from_array(x, chunks=(3, 2, 8))
    lazy_slopes = slopes if chunks is None else da.from_array(slopes, chunks=chunks)
    for function in FUNCTIONS:
        result = function(lazy, lazy_slopes)
        assert result.chunks == lazy.chunks
        assert_same(result.compute(), function(x, slopes))


def test_a_slope_may_be_computed_too():
    x, slope = numbers(np.float32), np.float64(0.3)
    assert_same(leaky_relu(da.from_array(x), da.from_array(slope)).compute(), leaky_relu(x, slope))


def test_a_gradient_may_be_an_array_or_a_number():
    x, grad = numbers(np.float32), numbers(np.float32, seed=1)
    lazy = da.from_array(x, chunks=4)
    for one in (grad, da.from_array(grad, chunks=5), 2.0):
        expected = leaky_relu_backward(2.0 if isinstance(one, float) else grad, x)
        assert_same(leaky_relu_backward(one, lazy).compute(), expected)


def test_chunks_of_unknown_size():
    x = numbers(np.float32)
    lazy = da.from_array(x, chunks=4)
    result = leaky_relu(lazy[lazy < 1], 0.3)
    assert np.isnan(result.shape[0])
    # Dask takes the chosen ones chunk by chunk, so in another order than NumPy.
    assert_same(np.sort(result.compute()), np.sort(leaky_relu(x[x < 1], 0.3)))


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0)])
def test_no_axis_and_no_element(shape):
    x = np.full(shape, -2, np.float32)
    for function in (leaky_relu, leaky_relu_derivative):
        result = function(da.from_array(x, chunks=2), 0.5)
        assert result.shape == shape
        assert_same(result.compute(), function(x, 0.5))


def test_a_call_adds_one_layer_and_no_task():
    """One layer, block by block; Dask makes one task of a chunk's generation, our function and what comes after."""
    x = larger_than_memory.integers(1e6, 100_000)
    for function in (leaky_relu, leaky_relu_derivative, lambda x: leaky_relu_backward(x, x)):
        result = function(x)
        (added,) = result.dask.layers.keys() - x.dask.layers.keys()
        assert added.startswith("leaky_relu")
        (optimized,) = dask.optimize(result + 1)
        assert len(dict(optimized.dask)) == x.npartitions


@pytest.mark.parametrize("function", FUNCTIONS, ids=["value", "derivative", "backward"])
def test_what_is_wrong_is_said_at_the_call(function):
    x = uncomputable()
    for alpha in (np.nan, np.inf):
        with pytest.raises(ValueError, match="alpha must be finite"):
            function(x, alpha)
    with pytest.raises(TypeError, match="complex64"):
        function(x.astype(np.complex64), 0.1)
    with pytest.raises(TypeError, match="alpha must be real, got complex128"):
        function(x, np.ones((4, 1), complex))
    with pytest.raises(ValueError, match="could not be broadcast"):
        function(x, np.ones(7))


def test_into_another_dask_array():
    x = numbers(np.float32)
    out = da.zeros(x.shape, np.float32, chunks=4)
    assert leaky_relu(da.from_array(x, chunks=4), 0.3, out=out) is out
    assert_same(out.compute(), leaky_relu(x, 0.3))


def test_an_array_five_times_the_workers_memory_is_reduced_within_it(client):
    x = larger_than_memory.integers(4e9, 32_000_000)
    workers = client.run(larger_than_memory.memory)
    assert x.nbytes > 4.9 * LIMIT * len(workers)
    total = leaky_relu(x, larger_than_memory.SLOPE).sum(dtype=np.float64).compute()
    assert total == larger_than_memory.known_sum(x, larger_than_memory.SLOPE)
    peaks = client.run(larger_than_memory.memory)
    assert peaks.keys() == workers.keys()
    assert all(resident < LIMIT for resident, _ in peaks.values())


def test_the_benchmark_tells_time_sum_and_memory():
    options = ["--gigabytes", "0.1", "--memory-limit", "4GB", "--chunk", "10MB", "--rounds", "2"]
    result = subprocess.run(
        [sys.executable, "-m", larger_than_memory.__name__, *options], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(", exact\n") == 2
    assert result.stdout.count("tcp://127.0.0.1") == 2


def test_the_commands_of_the_documentation_make_a_cluster(tmp_path):
    (block,) = re.findall(r"^```sh\n(dask scheduler .*?)^```$", CLUSTER.read_text(), re.DOTALL | re.MULTILINE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    commands = block.replace("SCHEDULER", "127.0.0.1").replace("8786", port).splitlines()
    assert len(commands) == 2
    x = numbers(np.float32)
    with ExitStack() as stack:
        for command in commands:
            program, *arguments = command.split()
            process = subprocess.Popen(
                [Path(sys.executable).parent / program, *arguments, "--dashboard-address", ":0"],
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
        client = stack.enter_context(Client(f"tcp://127.0.0.1:{port}", timeout=60, set_as_default=False))
        client.wait_for_workers(2, timeout=60)
        future = client.compute(leaky_relu(da.from_array(x, chunks=2), 0.3))
        assert_same(future.result(), leaky_relu(x, 0.3))

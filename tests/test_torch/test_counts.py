"""Counting on the CPU: one pass of the kernel gives what PyTorch's operations give, wherever the values lie."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from leakyrelu.torch import LeakyReLU, counts, diagnose, leaky_relu
from leakyrelu.torch.capture import Call
from leakyrelu.torch.counts import Counts
from leakyrelu.torch.operations import activation_of
from leakyrelu.torch.sharding import Share
from leakyrelu.units.layout import Part

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
# Functions, and the calls of the kernel that they take: one, or another one for the output.
FUNCTIONS = {
    "relu": (functional.relu, {}, 1),
    "clamp": (torch.clamp, {"min": 0}, 1),
    "leaky_relu": (functional.leaky_relu, {"negative_slope": 0.2}, 1),
    "leaky_relu, -1": (functional.leaky_relu, {"negative_slope": -1}, 1),
    "leaky_relu, 3": (functional.leaky_relu, {"negative_slope": 3.0}, 2),
    "our leaky_relu": (leaky_relu, {"negative_slope": 0.2}, 1),
    "threshold": (functional.threshold, {"threshold": 0.1, "value": -2.0}, 2),
    "relu6": (functional.relu6, {}, 2),
    "gelu": (functional.gelu, {}, 2),
    "prelu": (functional.prelu, {"weight": torch.tensor([0.3])}, 2),
}


class Calls(list):
    """The results of the calls of the kernel."""

    def __init__(self, monkeypatch):
        original = counts.count
        monkeypatch.setattr(counts, "count", lambda *args: self.append(original(*args)) or self[-1])


def called(x, units, name="relu", observer=None, **keywords):
    """The counts after one call."""
    function, arguments, _ = FUNCTIONS[name]
    observer = observer or Counts()
    arguments = {
        key: value.to(x.dtype) if isinstance(value, torch.Tensor) else value for key, value in arguments.items()
    }
    activation = activation_of(function, (x,), arguments)
    observer(Call("a", activation, x, units, len(x) if x.ndim else 1, nn.Identity(), **keywords))(
        function(x, **arguments)
    )
    return observer


def sums(observer):
    (found,) = observer.record(1).sites
    return found


def by_operations(*args, **keywords):
    """The same, counted by PyTorch's operations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "_NUMBERS", {})
        return called(*args, **keywords)


def assert_same(found, wanted):
    found, wanted = sums(found), sums(wanted)
    assert (found.values, found.examples, found.key) == (wanted.values, wanted.examples, wanted.key)
    assert found.fired.tolist() == wanted.fired.tolist()
    assert found.below.tolist() == wanted.below.tolist()
    assert np.array_equal(found.maximum, wanted.maximum, equal_nan=True)
    assert np.allclose(found.magnitude, wanted.magnitude, rtol=1e-6, equal_nan=True)


@settings(max_examples=150)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    data=st.data(),
    dtype=st.sampled_from(DTYPES),
    name=st.sampled_from(list(FUNCTIONS)),
    order=st.randoms(use_true_random=False),
    odd=st.sampled_from([0.0, math.nan, math.inf, -math.inf]),
    step=st.integers(1, 2),
)
def test_the_kernel_gives_what_the_operations_give(shape, data, dtype, name, order, odd, step):
    axis = data.draw(st.integers(0, len(shape)))
    units = () if axis == len(shape) else (Part(axis),)
    permutation = order.sample(range(len(shape)), len(shape))
    x = torch.randn([shape[i] * step for i in permutation])
    x.flatten()[order.randrange(x.numel())] = odd
    x = x.permute(np.argsort(permutation).tolist())[(slice(None, None, step),) * len(shape)].to(dtype)
    assert_same(called(x, units, name), by_operations(x, units, name))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_kernel_takes_what_lies_in_order_without_a_copy(name, dtype, memory_format, monkeypatch):
    x = torch.randn(5, 6, 3, 3).to(dtype).to(memory_format=memory_format)
    wanted, calls = by_operations(x, (Part(1),), name), Calls(monkeypatch)
    monkeypatch.setattr(counts, "_parts", None)
    monkeypatch.setattr(counts, "_selection", None)
    found = called(x, (Part(1),), name)
    rounded = name in ("leaky_relu", "our leaky_relu", "leaky_relu, -1") and dtype in (torch.float16, torch.bfloat16)
    assert calls == [True] * (2 if rounded else FUNCTIONS[name][2])
    assert_same(found, wanted)


def test_diagnose_takes_the_kernel(monkeypatch):
    calls = Calls(monkeypatch)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), LeakyReLU(0.1), nn.Flatten(), nn.GELU())
    assert len(diagnose(model, [torch.randn(5, 3, 8, 8)] * 3).sites) == 3
    assert calls == [True] * 12
    with torch.inference_mode():
        diagnose(model, [torch.randn(5, 3, 8, 8)])
    assert calls == [True] * 16


def test_after_a_value_that_is_not_finite_the_kernel_goes_on(monkeypatch):
    x, odd = torch.randn(20, 6), torch.randn(20, 6)
    odd[3, 2] = math.inf
    wanted = Counts()
    for each in (x, odd, x):
        by_operations(each, (Part(1),), observer=wanted)
    calls, found = Calls(monkeypatch), Counts()
    for each in (x, odd, x):
        called(each, (Part(1),), observer=found)
    # The second call for `odd` is for its output, which is not finite either.
    assert calls == [True, False, False, True]
    assert_same(found, wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["relu", "gelu"])
@pytest.mark.parametrize(("shape", "axis"), [((40, 7), 1), ((10, 4, 70), 2), ((10, 7, 4), 1)])
def test_padding(name, shape, axis, dtype, monkeypatch):
    x = torch.randn(shape).to(dtype)
    real = torch.rand(x.numel() // shape[axis]) < 0.6
    rows = real.nonzero().flatten()
    wanted, calls = by_operations(x, (Part(axis),), name, rows=rows), Calls(monkeypatch)
    assert_same(called(x, (Part(axis),), name, rows=rows), wanted)
    assert calls == [True] * FUNCTIONS[name][2]
    nothing = called(x, (Part(axis),), name, rows=rows[:0])
    assert not nothing.record(1).sites[0].values
    assert not nothing.record(1).sites[0].fired.any()


@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_a_part_of_the_units(name):
    x = torch.randn(30, 8)
    for first, here in ((0, 3), (3, 5)):
        part = Share(8, first, here, repeated=False, measures=first == 0)
        arguments = x[:, first : first + here], (Part(1),), name
        found = called(*arguments, part=part)
        assert_same(found, by_operations(*arguments, part=part))
        inside = np.isin(np.arange(8), range(first, first + here))
        assert (sums(found).fired > 0).tolist() == (sums(found).magnitude > 0).tolist() == inside.tolist()


def test_values_with_a_lazy_sign():
    x = torch.complex(torch.zeros(20, 6), torch.randn(20, 6)).conj().imag
    assert x.is_neg()
    assert_same(called(x, (Part(1),)), by_operations(x, (Part(1),)))


def test_a_slope_that_changes_makes_no_new_site():
    x = torch.randn(20, 6)
    observer, wanted = Counts(), 0.0
    for slope in (0.1, 0.5, 2.0):
        activation = activation_of(functional.leaky_relu, (x, slope), {})
        y = functional.leaky_relu(x, slope)
        observer(Call("a", activation, x, (Part(1),), 20, nn.Identity()))(y)
        wanted += y.double().abs().sum(0).numpy()
    assert sums(observer).values == 60
    assert np.allclose(sums(observer).magnitude, wanted, rtol=1e-6)


def test_shapes_are_forgotten_when_there_are_many(monkeypatch):
    monkeypatch.setattr(counts._Shapes, "_most", 3)
    observer = Counts()
    for n in range(1, 8):
        called(torch.ones(n, 4), (Part(1),), observer=observer)
        assert len(observer._shapes._known) <= 3
    assert sums(observer).fired.tolist() == [28] * 4

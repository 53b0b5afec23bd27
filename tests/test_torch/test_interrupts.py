"""An interrupt, wherever it comes, leaves nothing on the thread that plain PyTorch would meet afterwards."""

import random
import signal
import sys
import threading

import pytest
import torch
from interrupts import Interrupt, interrupted_everywhere
from torch import nn
from torch.overrides import _get_current_function_mode_stack

from leakyrelu.torch import Monitor, fused_leaky_relu, leaky_relu


def hooks():
    """The saved-tensor hooks on this thread, taken off it."""
    found = []
    while (top := torch._C._autograd._top_saved_tensors_default_hooks(True)) is not None:
        torch._C._autograd._pop_saved_tensors_default_hooks()
        found.append(top)
    return found


@pytest.mark.parametrize("function", [leaky_relu, fused_leaky_relu])
def test_interrupted_at_any_place_the_function_leaves_no_hooks(function):
    x = torch.tensor([[-2.0, 3.0]], requires_grad=True)
    places = 0
    for place in interrupted_everywhere(lambda: function(x)):
        assert not hooks(), place
        places += 1
    assert places > 10


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no interval timers")
def test_interrupted_at_random_the_function_leaves_no_hooks():
    assert threading.current_thread() is threading.main_thread()
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    draws, left, is_armed = random.Random(0), 0, False

    def handler(*_):
        if is_armed:
            raise Interrupt

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for _ in range(1000):
            try:
                is_armed = True
                signal.setitimer(signal.ITIMER_REAL, draws.uniform(1e-6, 1e-4))
                while True:
                    leaky_relu(x, 0.1)
            except Interrupt:
                is_armed = False
            left += bool(hooks())
    finally:
        is_armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert left == 0


@pytest.fixture
def observed():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    monitor = Monitor(model).attach()
    yield model, monitor
    monitor.detach()


def test_interrupted_at_any_place_and_detached_the_monitor_leaves_the_modes_of_others_alone(observed):
    model, monitor = observed
    x = torch.randn(3, 4)
    with torch.device("cpu"):
        theirs = _get_current_function_mode_stack()
        for place in interrupted_everywhere(lambda: model(x)):
            monitor.detach()
            assert _get_current_function_mode_stack() == theirs, place
            monitor.attach()


def test_after_an_interrupt_at_any_place_the_next_pass_is_observed(observed):
    model, monitor = observed
    x = torch.randn(3, 4)
    for place in interrupted_everywhere(lambda: model(x)):
        monitor.reset()
        model(x)
        assert _get_current_function_mode_stack() == [], place
        assert monitor.diagnosis().sites[0].values == 3, place

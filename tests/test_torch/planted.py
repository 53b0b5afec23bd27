"""Models with units that are known to be dead."""

import pytest
import torch
from torch import nn

__all__ = ["Model", "norm", "planted", "seeded"]


@pytest.fixture(autouse=True)
def seeded():
    """Random numbers that are the same each time, and one thread, as with small tensors several would wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def planted(layer, dead):
    """The layer or norm, with some units always far below zero, and all others sometimes above it."""
    with torch.no_grad():
        layer.bias.fill_(1)
        layer.bias[dead] = -1000
    return layer


def norm(channels, dead=()):
    """A BatchNorm with statistics that are not those of a new one."""
    made = planted(nn.BatchNorm2d(channels), list(dead))
    with torch.no_grad():
        made.running_mean.normal_()
        made.running_var.uniform_(0.5, 2)
        made.weight.uniform_(0.5, 2)
    return made


class Model(nn.Module):
    """Modules by name, and a forward."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.body = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *args, **kwargs):
        return self.body(self, *args, **kwargs)

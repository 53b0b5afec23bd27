"""Models with units that are known to be dead."""

import torch
from torch import nn

__all__ = ["Model", "planted"]


def planted(layer, dead):
    """The layer or norm, with some units always far below zero, and all others sometimes above it."""
    with torch.no_grad():
        layer.bias.fill_(1)
        layer.bias[dead] = -1000
    return layer


class Model(nn.Module):
    """Modules by name, and a forward."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.body = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *args, **kwargs):
        return self.body(self, *args, **kwargs)

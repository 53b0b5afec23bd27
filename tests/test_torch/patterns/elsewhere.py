"""What models import from another file."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import relu as rectified


def rectify(x):
    return F.relu(x)


def rectify_twice(x):
    return rectify(rectified(x) - 0.5)


ACTIVATION = F.relu
ACT2CLS = {"relu": nn.ReLU, "tanh": nn.Tanh, "inplace": (nn.ReLU, {"inplace": True})}


class ClassInstantier(dict):
    """As in transformers: a class or a pair of class and arguments becomes an object when it is asked for."""

    def __getitem__(self, key):
        content = super().__getitem__(key)
        cls, kwargs = content if isinstance(content, tuple) else (content, {})
        return cls(**kwargs)


ACT2FN = ClassInstantier(ACT2CLS)


class Helper:
    """A plain object that holds activations."""

    def __init__(self):
        self.act = nn.ReLU()
        self.function = F.relu

    def __call__(self, x):
        return self.function(self.act(x) - 0.5)


class Inner(nn.Module):
    def forward(self, x):
        return torch.relu(x)


def build_activation(name):
    if name == "relu":
        return nn.ReLU(inplace=True)
    raise ValueError(name)

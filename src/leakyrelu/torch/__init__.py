"""For PyTorch: Leaky ReLU at ReLU's memory; which units of a model are dead, and their revival."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("leakyrelu.torch needs PyTorch: pip install 'leakyrelu[torch]'") from error

from leakyrelu.torch.activation import LeakyReLU, leaky_relu
from leakyrelu.torch.diagnosis import Monitor, diagnose
from leakyrelu.torch.repair import Revival, Skipped, revive
from leakyrelu.torch.replacement import Replacement, replace_relu
from leakyrelu.units import Diagnosis, Site

__all__ = [
    "Diagnosis",
    "LeakyReLU",
    "Monitor",
    "Replacement",
    "Revival",
    "Site",
    "Skipped",
    "diagnose",
    "leaky_relu",
    "replace_relu",
    "revive",
]

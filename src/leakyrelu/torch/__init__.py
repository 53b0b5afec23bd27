"""For PyTorch: Leaky ReLU with no more memory than ReLU; a diagnosis of dead units, their revival and their removal."""

from leakyrelu._shared.extras import needs

with needs("leakyrelu[torch]", "leakyrelu.torch"):
    import torch as _torch  # noqa: F401

from leakyrelu.torch.activation import LeakyReLU, leaky_relu
from leakyrelu.torch.diagnosis import diagnose
from leakyrelu.torch.fused import FusedLeakyReLU, bias_act, fused_leaky_relu
from leakyrelu.torch.monitor import Monitor
from leakyrelu.torch.removal import Removal, remove_dead
from leakyrelu.torch.replacement import Replacement, replace, replace_relu
from leakyrelu.torch.revival import Revival, revive
from leakyrelu.units.diagnosis import Diagnosis
from leakyrelu.units.sites import Site

__all__ = [
    "Diagnosis",
    "FusedLeakyReLU",
    "LeakyReLU",
    "Monitor",
    "Removal",
    "Replacement",
    "Revival",
    "Site",
    "bias_act",
    "diagnose",
    "fused_leaky_relu",
    "leaky_relu",
    "remove_dead",
    "replace",
    "replace_relu",
    "revive",
]

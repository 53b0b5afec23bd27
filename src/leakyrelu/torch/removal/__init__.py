"""Takes dead units out of a network."""

from leakyrelu.torch.removal.plan import Plan
from leakyrelu.torch.removal.removing import remove_dead
from leakyrelu.torch.removal.report import Removal
from leakyrelu.torch.removal.shrinking import shrink

__all__ = ["Plan", "Removal", "remove_dead", "shrink"]

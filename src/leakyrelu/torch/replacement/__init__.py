"""Puts other activations in place of those of a model."""

from leakyrelu.torch.replacement.replacing import replace, replace_relu
from leakyrelu.torch.replacement.report import Replacement

__all__ = ["Replacement", "replace", "replace_relu"]

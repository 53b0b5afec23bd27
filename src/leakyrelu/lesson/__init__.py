"""Leaky ReLU as a page to play with: `leakyrelu learn`."""

from leakyrelu.lesson.serve import serve

__all__ = ["serve"]

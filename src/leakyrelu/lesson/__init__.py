"""Leaky ReLU as a page to play with: `leakyrelu learn`."""

from leakyrelu.lesson.serve import serve_lesson

__all__ = ["serve_lesson"]

"""Leaky ReLU, completely: the function, its derivative and its backward pass, on any array."""

from leakyrelu.activation import leaky_relu, leaky_relu_backward, leaky_relu_derivative

__all__ = ["leaky_relu", "leaky_relu_backward", "leaky_relu_derivative"]
__version__ = "0.1.0"

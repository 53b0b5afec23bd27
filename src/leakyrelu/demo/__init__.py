"""ReLU beside Leaky ReLU on real digits: `leakyrelu demo`, and what it is made of."""

from leakyrelu._shared.digits import Digits, load_digits
from leakyrelu.demo.comparison import DemoResult, conclusions, run
from leakyrelu.demo.networks import Network, Run, Setting, epochs, train

__all__ = [
    "DemoResult",
    "Digits",
    "Network",
    "Run",
    "Setting",
    "conclusions",
    "epochs",
    "load_digits",
    "run",
    "train",
]

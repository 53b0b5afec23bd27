"""Types of the compiled module."""

from typing import Final

import numpy as np

instruction_set: Final[str]
leaky_relu: Final[np.ufunc]
leaky_relu_derivative: Final[np.ufunc]
leaky_relu_backward: Final[np.ufunc]

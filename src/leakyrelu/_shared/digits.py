"""The handwritten digits that come with scikit-learn."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leakyrelu._shared.extras import needs

__all__ = ["Digits", "load_digits"]


@dataclass(frozen=True, eq=False)
class Digits:
    """Images, of shape (images, pixels), and the digit that each shows."""

    images: npt.NDArray[np.floating[Any]]
    labels: npt.NDArray[np.intp]

    def take(self, index: npt.NDArray[np.intp]) -> "Digits":
        """The images at these places."""
        return Digits(self.images[index], self.labels[index])


def load_digits() -> Digits:
    """Load the 1,797 digits, 8 by 8 pixels scaled to 0..1; scikit-learn's wheel carries them, nothing is downloaded.

    Raises
    ------
    ImportError
        scikit-learn is missing: ``pip install 'leakyrelu[demo]'``.
    """
    with needs("leakyrelu[demo]", "the digits data"):
        from sklearn import datasets
    images, labels = datasets.load_digits(return_X_y=True)
    return Digits((images / 16).astype(np.float32), labels)

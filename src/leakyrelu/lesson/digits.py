"""The handwritten digits as the page reads them."""

import numpy as np

from leakyrelu._shared.digits import load_digits

__all__ = ["digits_bytes"]


def digits_bytes() -> bytes:
    """The 1,797 digits of scikit-learn in its order, 65 bytes each: 64 pixels from 0 to 16, row by row, and the label.

    Returns
    -------
    bytes
        116,805 bytes.

    Raises
    ------
    ImportError
        scikit-learn is missing.
    """
    digits = load_digits()
    pixels = np.rint(digits.images * 16).astype(np.uint8)
    return np.column_stack([pixels, digits.labels.astype(np.uint8)]).tobytes()

"""The inputs on which the peers are compared."""

import numpy as np

SLOPES = [0.0, 0.01, 0.1, 0.2, 1 / 3, 1.0, 2.0, -0.5]


def inputs(dtype):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(2000) * 10).astype(dtype)
    x[:6] = [np.nan, np.inf, 0.0, -0.0, 1e-5, -1e-5]
    return x


def every_negative_half():
    return np.arange(0x8001, 0xFC00, dtype=np.uint16).view(np.float16)

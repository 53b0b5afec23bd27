"""The two data sets: real digits and generated signals, split and standardised by a seed. Nothing is downloaded."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from mnist1d import data as mnist1d  # type: ignore[import-untyped]

from leakyrelu.demo import load_digits

CLASSES = 10
TEST, VALIDATION = {"digits": 500, "mnist1d": 1000}, {"digits": 300, "mnist1d": 1000}
# Each purpose has its own stream of random numbers: if one activation draws more numbers, others still draw the same.
SPLIT, WEIGHTS, BATCHES, SLOPES = range(4)

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Samples of shape (samples, features), and the class of each."""

    x: Floats
    y: Integers


@dataclass(frozen=True)
class Split:
    """One seed's division of a data set."""

    training: Part
    validation: Part
    test: Part


@cache
def load(name: str) -> Part:
    """A whole data set."""
    if name == "digits":
        digits = load_digits()
        return Part(digits.images, digits.labels.astype(np.int64))
    if name == "mnist1d":
        with _global_seeds_kept():
            made = mnist1d.make_dataset(mnist1d.get_dataset_args())
        x, y = (np.concatenate([made[part], made[f"{part}_test"]]) for part in ("x", "y"))
        return Part(x.astype(np.float32), y.astype(np.int64))
    raise ValueError(f"the data set must be one of {', '.join(TEST)}; got {name!r}")


def split(name: str, seed: int, training: int | None = None) -> Split:
    """Shuffle, divide and scale; the training samples alone decide the scale.

    The mean of each feature is subtracted. All features are divided by one number, the standard deviation over all of
    them: some pixels are nearly constant, and dividing by their own deviation would magnify their few values.
    `training` limits the number of training samples.
    """
    whole = load(name)
    order = np.random.default_rng((seed, SPLIT)).permutation(len(whole.y))
    at = TEST[name], TEST[name] + VALIDATION[name]
    test, validation, rest = np.split(order, at)
    rest = rest[:training]
    mean = whole.x[rest].mean(axis=0)
    deviation = (whole.x[rest] - mean).std()
    return Split(*(Part((whole.x[part] - mean) / deviation, whole.y[part]) for part in (rest, validation, test)))


@contextmanager
def _global_seeds_kept() -> Iterator[None]:
    """Keep the states of Python's and NumPy's global generators, which mnist1d seeds although they are not its own."""
    python: Any = random.getstate()
    numpy: Any = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002

"""Trains a network on scikit-learn's digits with fixed slopes and with learned ones, and compares the test accuracy.

The network is that of docs/how-to/learned-slope.md: written in NumPy, 64-32-32-10, one slope per layer or per unit,
plain SGD on the cross-entropy. Slopes that are learned start at 0.25 (He et al. 2015) and get the same learning rate as
the weights. A seed decides the split, the weights and the batches, and all slopes share these.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from leakyrelu import leaky_relu, leaky_relu_backward, leaky_relu_slope_gradient
from leakyrelu._shared.digits import load_digits
from leakyrelu._shared.intervals import paired_difference
from leakyrelu._shared.tables import text_table

SIZES = (64, 32, 32, 10)
RATE, BATCH, TEST = 0.1, 32, 500
START = 0.25

Floats = npt.NDArray[np.floating]


class Slopes(NamedTuple):
    """How the slopes begin, and whether they are learned: not at all, one per layer, or one per unit."""

    start: float
    learned: str = ""

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return f"learned, one per {self.learned}" if self.learned else f"{self.start:g}"


CONTENDERS = (
    Slopes(0),
    Slopes(0.01),
    Slopes(0.1),
    Slopes(0.2),
    Slopes(START),
    Slopes(START, "layer"),
    Slopes(START, "unit"),
)
FIXED = CONTENDERS[1]  # with which the others are compared


class Result(NamedTuple):
    """The test accuracy of one network, and its slopes at the end."""

    accuracy: float
    slopes: Floats


def train(kind: Slopes, seed: int, epochs: int) -> Result:
    """Train one network."""
    rng = np.random.default_rng(seed)
    digits = load_digits()
    order = rng.permutation(len(digits.labels))
    test, rest = digits.take(order[:TEST]), digits.take(order[TEST:])
    weights = [rng.normal(0, np.sqrt(2 / n), (n, m)).astype(np.float32) for n, m in pairwise(SIZES)]
    biases = [np.zeros(n, np.float32) for n in SIZES[1:]]
    slopes = [np.full(n if kind.learned == "unit" else 1, kind.start, np.float32) for n in SIZES[1:-1]]

    def forward(images: Floats) -> tuple[list[Floats], list[Floats]]:
        inputs: list[Floats] = [images]
        preactivations: list[Floats] = []
        for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            preactivations.append(inputs[-1] @ weight + bias)
            if i < len(slopes):
                inputs.append(leaky_relu(preactivations[-1], slopes[i]))
        return inputs, preactivations

    for _ in range(epochs):
        for index in np.array_split(rng.permutation(len(rest.labels)), len(rest.labels) // BATCH):
            batch = rest.take(index)
            inputs, preactivations = forward(batch.images)
            grad = softmax(preactivations[-1])
            grad[np.arange(len(index)), batch.labels] -= 1
            grad /= len(index)
            for i in reversed(range(len(weights))):
                before = grad @ weights[i].T
                weights[i] -= RATE * (inputs[i].T @ grad)
                biases[i] -= RATE * grad.sum(0)
                if i:
                    x, alpha = preactivations[i - 1], slopes[i - 1]
                    grad = leaky_relu_backward(before, x, alpha)
                    if kind.learned:
                        axis = 0 if kind.learned == "unit" else None
                        slopes[i - 1] = alpha - np.float32(RATE) * leaky_relu_slope_gradient(before, x, axis=axis)
    answers = forward(test.images)[1][-1].argmax(1)
    return Result(float((answers == test.labels).mean()), np.concatenate(slopes))


def softmax(logits: Floats) -> Floats:
    """The probabilities, row by row."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: Floats = powers / powers.sum(1, keepdims=True)
    return probabilities


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learned_slopes", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seeds", type=int, default=40, metavar="COUNT", help="how many networks each (default 40)")
    parser.add_argument("--epochs", type=int, default=30, metavar="COUNT", help="for how long (default 30)")
    given = parser.parse_args(arguments)
    results = {kind: [train(kind, seed, given.epochs) for seed in range(given.seeds)] for kind in CONTENDERS}
    print(table(results))


def table(results: dict[Slopes, list[Result]]) -> str:
    """A row per kind of slope: accuracy, its difference to the slope 0.01 seed by seed, and the slopes at the end.

    Of the accuracy it gives the mean and the standard deviation over the seeds; of the difference, the mean and half of
    the confidence interval; of the slopes, the median and the quantiles at 5 and 95 %.
    """
    rows = []
    base = [100 * result.accuracy for result in results[FIXED]]
    for kind, found in results.items():
        accuracy = np.array([100 * result.accuracy for result in found])
        mean, half = paired_difference(base, accuracy, comparisons=len(results) - 1)
        slopes = np.concatenate([result.slopes for result in found])
        low, middle, high = np.quantile(slopes, [0.05, 0.5, 0.95])
        rows.append(
            [
                kind.name,
                f"{accuracy.mean():.2f} ± {accuracy.std(ddof=1):.2f}",
                "" if kind == FIXED else f"{mean:+.2f} ± {half:.2f}",
                f"{middle:.2f} ({low:.2f} to {high:.2f})" if kind.learned else "",
            ]
        )
    return text_table(["slope", "accuracy, %", "less that of 0.01", "slopes at the end"], rows)


if __name__ == "__main__":
    main()

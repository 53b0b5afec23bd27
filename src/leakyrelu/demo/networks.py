"""A small network on real digits, its training, and the setting in which ReLU units die.

The setting was chosen once; `Setting` holds it.

- Data: the 1,797 handwritten digits of scikit-learn, 8 by 8 pixels scaled to 0..1; 500 for the test, the rest to train.
- Network: 64-16-16-16-10, weights normal with standard deviation sqrt(2 / fan_in), the gain for ReLU (He et al. 2015),
  biases zero.
- Training: plain SGD on the cross-entropy, learning rate 0.5, batches of 32, always all 30 epochs.
- Seeds 0 to 19. A seed decides the split, the weights and the batches; its two networks share all three.

Why ReLU units die in it: pixels are never negative, so one image moves all weights of a unit in the first layer the
same way, and the learning rate is large. One step too far down, and the unit is below zero for every image, where no
gradient brings it back. This can be avoided: with each pixel's mean subtracted, 1 % of the units end like this instead
of 39 % (seeds 100 to 139), and both networks reach 97 % accuracy. Leaky ReLU is one cure among several.

How it was chosen: two, three and five hidden layers of 16, 32 or 64 units, learning rates from 0.03 to 0.7, batches of
8 to 64 and 10 to 60 epochs were tried on seeds 100 to 105, and the promising settings on seeds 100 to 139. A setting
was rejected if a network of either kind overflowed, or if a ReLU network ended with one answer to every image. Of the
others, the one with the most dead ReLU units was taken. The accuracy of Leaky ReLU did not count. But rejecting what
overflows favours Leaky ReLU, because it is the less stable of the two at large rates: at 0.5 with layers of 64, 3 of 40
of its networks overflowed, and none with ReLU; in the chosen setting, a slope of 0.3 makes 11 of 20 overflow.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from leakyrelu._shared.arguments import one_slope
from leakyrelu._shared.digits import Digits
from leakyrelu.functions import leaky_relu, leaky_relu_backward

__all__ = ["Floats", "Integers", "Network", "Run", "Setting", "epochs", "train"]

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Integers: TypeAlias = npt.NDArray[np.intp]

_CLASSES = 10


@dataclass(frozen=True)
class Setting:
    """What is trained, and how. Why these values: see the module."""

    hidden: tuple[int, ...] = (16, 16, 16)
    alpha: float = 0.01
    learning_rate: float = 0.5
    batch_size: int = 32
    epochs: int = 30
    seeds: tuple[int, ...] = tuple(range(20))
    test_images: int = 500

    def __post_init__(self) -> None:
        one_slope(self.alpha)
        if not self.seeds or not self.hidden:
            raise ValueError(f"a seed and a hidden layer are needed, got seeds={self.seeds}, hidden={self.hidden}")
        if min(self.batch_size, self.epochs, self.test_images, *self.hidden) < 1:
            raise ValueError(f"sizes and epochs must be at least 1, got {self}")


@dataclass(frozen=True, eq=False)
class Run:
    """One network's training. What is counted by epoch begins before the training and ends after it."""

    alpha: float
    seed: int
    never_positive: Integers  # units by epoch and hidden layer, each at most zero on the whole training set
    accuracy: Floats  # by epoch, on the test images
    without_gradient: Integers  # units by hidden layer that get no gradient from any training image, at the end
    one_answer: bool  # the same to every test image
    overflowed: bool


class Network:
    """A multilayer perceptron, Leaky ReLU after each layer but the last, in the floating-point type of its weights."""

    def __init__(self, sizes: Sequence[int], alpha: float, rng: np.random.Generator) -> None:
        self.alpha = alpha
        # The gain for ReLU, whatever the slope, so that both networks begin with the same weights.
        self.weights: list[Floats] = [
            rng.normal(0, sqrt(2 / fan_in), (fan_in, fan_out)).astype(np.float32) for fan_in, fan_out in pairwise(sizes)
        ]
        self.biases: list[Floats] = [np.zeros(size, np.float32) for size in sizes[1:]]

    def forward(self, images: Floats) -> tuple[list[Floats], list[Floats]]:
        """The input and the preactivation of each layer; the last preactivations are the logits."""
        inputs: list[Floats] = []
        preactivations: list[Floats] = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            inputs.append(leaky_relu(preactivations[-1], self.alpha) if preactivations else images)
            preactivations.append(inputs[-1] @ weight + bias)
        return inputs, preactivations

    def backward(self, preactivations: list[Floats], labels: Integers) -> list[Floats]:
        """Gradient of the mean cross-entropy with respect to the preactivations of each layer."""
        *hidden, logits = preactivations
        # exp of at most zero cannot overflow.
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        probabilities[np.arange(len(labels)), labels] -= 1
        gradients = [probabilities / len(labels)]
        for weight, preactivation in zip(self.weights[:0:-1], hidden[::-1], strict=True):
            gradients.append(leaky_relu_backward(gradients[-1] @ weight.T, preactivation, self.alpha))
        return gradients[::-1]

    def step(self, batch: Digits, learning_rate: float) -> None:
        """One step of SGD."""
        inputs, preactivations = self.forward(batch.images)
        gradients = self.backward(preactivations, batch.labels)
        for i, (layer_input, gradient) in enumerate(zip(inputs, gradients, strict=True)):
            self.weights[i] -= learning_rate * (layer_input.T @ gradient)
            self.biases[i] -= learning_rate * gradient.sum(axis=0)

    def firing_rates(self, images: Floats) -> list[Floats]:
        """For each unit of each hidden layer, the fraction of the images on which it is above zero."""
        return [np.asarray((values > 0).mean(axis=0)) for values in self.forward(images)[1][:-1]]

    def never_positive(self, images: Floats) -> Integers:
        """How many units of each hidden layer are at most zero on every image."""
        return np.array([np.sum(rates == 0) for rates in self.firing_rates(images)])

    def without_gradient(self, digits: Digits) -> Integers:
        """How many units of each hidden layer get no gradient from any image; a NaN counts as none."""
        gradients = self.backward(self.forward(digits.images)[1], digits.labels)
        return np.array([np.sum(~(np.abs(values) > 0).any(axis=0)) for values in gradients[:-1]])

    def answers(self, images: Floats) -> Integers:
        """The digit that the network reads in each image."""
        answers: Integers = self.forward(images)[1][-1].argmax(axis=1)
        return answers

    def accuracy(self, digits: Digits) -> float:
        """The fraction of the images that are read correctly."""
        return float(np.mean(self.answers(digits.images) == digits.labels))


def train(
    setting: Setting, alpha: float, seed: int, digits: Digits, on_epoch: Callable[[], object] = lambda: None
) -> Run:
    """Train one network. What is random depends on the seed alone, so two slopes share weights and batches.

    Parameters
    ----------
    setting, alpha, seed, digits
        As for `epochs`.
    on_epoch : callable, optional
        Called after each epoch.
    """
    never_positive: list[Integers] = []
    accuracy: list[float] = []
    # A network that overflows is counted and reported, so NumPy need not warn.
    with np.errstate(over="ignore", invalid="ignore"):
        for network, training, test in epochs(setting, alpha, seed, digits):  # the last ones are used below
            if never_positive:
                on_epoch()
            never_positive.append(network.never_positive(training.images))
            accuracy.append(network.accuracy(test))
        return Run(
            alpha=alpha,
            seed=seed,
            never_positive=np.array(never_positive),
            accuracy=np.array(accuracy),
            without_gradient=network.without_gradient(training),
            one_answer=len(np.unique(network.answers(test.images))) == 1,
            overflowed=not all(np.isfinite(weight).all() for weight in network.weights),
        )


def epochs(setting: Setting, alpha: float, seed: int, digits: Digits) -> Iterator[tuple[Network, Digits, Digits]]:
    """Train one network; yield it with the training and the test images, before the first epoch and after each.

    Parameters
    ----------
    setting : Setting
        Its own slope and seeds are not used.
    alpha : float
        The slope; 0 is ReLU. To continue with another slope, set the network's `alpha`.
    seed : int
        The seed of the split, the weights and the batches: two slopes with one seed share all three.
    digits : Digits
        More than ``setting.test_images`` of them.
    """
    if not setting.test_images < len(digits.images):
        raise ValueError(
            f"test_images must leave images to train on, got {setting.test_images} of {len(digits.images)}"
        )
    rng = np.random.default_rng(seed)
    test, training = (
        digits.take(part) for part in np.split(rng.permutation(len(digits.images)), [setting.test_images])
    )
    network = Network((digits.images.shape[1], *setting.hidden, _CLASSES), alpha, rng)
    yield network, training, test
    for _ in range(setting.epochs):
        order = rng.permutation(len(training.images))
        for start in range(0, len(order), setting.batch_size):
            network.step(training.take(order[start : start + setting.batch_size]), setting.learning_rate)
        yield network, training, test

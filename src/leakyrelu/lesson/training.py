"""Small networks training on digits, epoch by epoch: what each unit does, and how good the network is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from leakyrelu.demo import Digits, Network, Setting, epochs
from leakyrelu.demo.networks import Floats

__all__ = ["EPOCHS", "NETWORKS", "Snapshot", "train"]

NETWORKS = ("ReLU", "Leaky ReLU", "ReLU, then Leaky ReLU")
EPOCHS = 20


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A network after an epoch.

    Attributes
    ----------
    epoch : int
        0 is before the training.
    alpha : float
        The slope it has been trained with.
    firing : tuple of arrays
        For each hidden layer, the fraction of the training images on which each unit is above zero.
    accuracy : float
        On the test images, from 0 to 1.
    overflowed : bool
        Its weights are no longer finite.
    """

    epoch: int
    alpha: float
    firing: tuple[Floats, ...]
    accuracy: float
    overflowed: bool

    @property
    def units(self) -> int:
        """The units in all hidden layers."""
        return sum(map(len, self.firing))

    @property
    def never_positive(self) -> int:
        """Units that are above zero on no training image; with ReLU they are dead."""
        return sum(int(np.sum(rates == 0)) for rates in self.firing)


def train(alpha: float, learning_rate: float, seed: int, digits: Digits) -> Iterator[tuple[Snapshot, ...]]:
    """Train the three `NETWORKS` side by side, from the same weights on the same batches.

    Yields their states before the training and after each of the `EPOCHS`. The third is a ReLU network up to half of
    the training, and a Leaky ReLU network from there on.

    Parameters
    ----------
    alpha : float
        The slope of Leaky ReLU.
    learning_rate : float
        The learning rate of plain SGD.
    seed : int
        The seed of the split, the weights and the batches.
    digits : Digits
        From `leakyrelu.demo.load_digits`.

    Examples
    --------
    >>> from leakyrelu.demo import load_digits
    >>> *_, (relu, leaky, changed) = train(0.1, 0.5, 0, load_digits())
    >>> relu.never_positive > changed.never_positive, relu.units
    (True, 48)
    """
    setting = Setting(epochs=EPOCHS, learning_rate=learning_rate)
    networks = [epochs(setting, slope, seed, digits) for slope in (0.0, alpha, 0.0)]
    for epoch in range(EPOCHS + 1):
        states = []
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is shown
            for i, steps in enumerate(networks):
                network, training, test = next(steps)
                states.append(_state(epoch, network, training, test))
                if i == 2 and epoch == EPOCHS // 2:
                    network.alpha = alpha
        yield tuple(states)


def _state(epoch: int, network: Network, training: Digits, test: Digits) -> Snapshot:
    return Snapshot(
        epoch=epoch,
        alpha=network.alpha,
        firing=tuple(network.firing_rates(training.images)),
        accuracy=network.accuracy(test),
        overflowed=not all(np.isfinite(weight).all() for weight in network.weights),
    )

"""Trains many multilayer perceptrons at once, one per seed; no network depends on the others.

Parameters are stacked along a first axis, one entry per network, and multiplied by `torch.baddbmm`. So the overhead of
a step, which is most of the step for networks this small, is paid once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, pi, sqrt

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from experiments.data import BATCHES, CLASSES, SLOPES, WEIGHTS, Part, Split, split

LOWER, UPPER = 1 / 8, 1 / 3  # RReLU draws its slopes between them, as torch.nn.RReLU does
PRELU_START = 0.25  # as in He et al. 2015 and torch.nn.PReLU

# The slope of each activation for negative inputs, or the word that it is learned or drawn.
ACTIVATIONS: dict[str, float | str] = {
    "ReLU": 0.0,
    "0.01": 0.01,
    "0.1": 0.1,
    "1/5.5": 1 / 5.5,
    "1/3": 1 / 3,
    "PReLU": "learned",
    "RReLU": "drawn",
}


@dataclass(frozen=True)
class Training:
    """How a network is trained."""

    width: int = 64
    batch_size: int = 32
    momentum: float = 0.9
    epochs: int = 60
    rising_epochs: int = 3  # epochs until the learning rate is reached
    longest_gradient: float = 1.0  # a longer gradient, over all parameters of a network, is shortened to this
    samples: int | None = None  # how many to train on; by default all that validation and test leave


@dataclass(frozen=True)
class Ends:
    """How each network ended, one entry per network. Accuracies and units are fractions; a loss may be NaN."""

    test_accuracy: list[float]
    validation_accuracy: list[float]
    training_accuracy: list[float]
    training_loss: list[float]
    never_positive: list[float]  # hidden units at most zero on the whole training set
    slope: list[float]  # the mean over the layers; only PReLU changes it


def mean_square_slope(activation: str) -> float:
    """The mean of the squared slope for negative inputs, at the start."""
    slope = ACTIVATIONS[activation]
    if slope == "learned":
        return PRELU_START**2
    if slope == "drawn":  # from a uniform distribution
        return (LOWER**2 + LOWER * UPPER + UPPER**2) / 3
    return float(slope) ** 2


def gain(activation: str) -> float:
    """The gain of He et al. 2015: of a symmetric preactivation, one half keeps its square, one half scales it."""
    return sqrt(2 / (1 + mean_square_slope(activation)))


class Stack:
    """Perceptrons of the same sizes and the same activation, one per seed."""

    def __init__(self, activation: str, seeds: Sequence[int], sizes: Sequence[int]) -> None:
        self.kind = ACTIVATIONS[activation]
        drawn = self._drawn(seeds, sizes)
        self.weights = [gain(activation) / sqrt(fan_in) * own for fan_in, own in zip(sizes[:-1], drawn, strict=True)]
        self.biases = [torch.zeros(len(seeds), 1, size) for size in sizes[1:]]
        start = {"learned": PRELU_START, "drawn": (LOWER + UPPER) / 2}.get(str(self.kind), self.kind)
        self.slopes = [torch.full((len(seeds), 1, 1), float(start)) for _ in sizes[1:-1]]  # one per hidden layer
        learned = self.slopes if self.kind == "learned" else []
        self.parameters = [parameter.requires_grad_() for parameter in (*self.weights, *self.biases, *learned)]

    @staticmethod
    def _drawn(seeds: Sequence[int], sizes: Sequence[int]) -> list[Tensor]:
        """Standard normal numbers in the shapes of the weights; a seed gives the same ones for every activation."""
        streams = [np.random.default_rng((seed, WEIGHTS)) for seed in seeds]
        shapes = pairwise(sizes)
        return [torch.from_numpy(np.stack([rng.standard_normal(s, np.float32) for rng in streams])) for s in shapes]

    def preactivations(self, x: Tensor, drawn: Tensor | None = None) -> list[Tensor]:
        """The preactivations of each layer, logits last; `drawn`: slopes of shape (layer, network, sample, unit)."""
        z = []
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z.append(torch.baddbmm(bias, x, weight))
            if layer < len(self.slopes):
                x = self._activate(z[-1], layer, drawn)
        return z

    def _activate(self, z: Tensor, layer: int, drawn: Tensor | None) -> Tensor:
        if isinstance(self.kind, float):
            return functional.leaky_relu(z, self.kind)
        slope = self.slopes[layer] if drawn is None else drawn[layer]
        return torch.where(z >= 0, z, slope * z)


class Batches:
    """The batches of an epoch, and the slopes that RReLU draws for them; each network has random streams of its own."""

    def __init__(self, seeds: Sequence[int], parts: Sequence[Part], size: int) -> None:
        self.x = torch.from_numpy(np.stack([part.x for part in parts]))
        self.y = torch.from_numpy(np.stack([part.y for part in parts]))
        self.size = size
        self.orders = [np.random.default_rng((seed, BATCHES)) for seed in seeds]
        self.noises = [np.random.default_rng((seed, SLOPES)) for seed in seeds]
        self.network = torch.arange(len(seeds))[:, None]

    def __len__(self) -> int:
        return self.x.shape[1] // self.size  # samples that fill no batch are left out in this epoch

    def epoch(self) -> Sequence[Tensor]:
        """Indices of shape (networks, samples), one array per batch."""
        orders = np.stack([rng.permutation(self.x.shape[1]) for rng in self.orders])
        kept = torch.from_numpy(orders[:, : len(self) * self.size])
        return list(kept.reshape(len(orders), -1, self.size).unbind(1))

    def slopes(self, layers: int, width: int) -> Tensor:
        """Slopes that are uniform between the bounds, of shape (layer, network, sample, unit)."""
        noise = np.empty((len(self.noises), layers, self.size, width), np.float32)
        for rng, own in zip(self.noises, noise, strict=True):
            rng.random(dtype=np.float32, out=own)
        return torch.from_numpy(noise).transpose(0, 1).mul_(UPPER - LOWER).add_(LOWER)


def train(
    data: str, depth: int, activation: str, seeds: Sequence[int], rates: Sequence[float], how: Training
) -> tuple[Stack, Ends]:
    """Train one network for each seed and its learning rate, by SGD with momentum on the cross-entropy."""
    splits = [split(data, seed, how.samples) for seed in seeds]
    batches = Batches(seeds, [own.training for own in splits], how.batch_size)
    stack = Stack(activation, seeds, (batches.x.shape[2], *[how.width] * (depth - 1), CLASSES))
    rate = torch.tensor(rates, dtype=torch.float32)[:, None, None]
    momenta = [torch.zeros_like(parameter) for parameter in stack.parameters]
    steps = iter(_schedule(how, len(batches)))
    for _ in range(how.epochs):
        for batch in batches.epoch():
            drawn = batches.slopes(depth - 1, how.width) if stack.kind == "drawn" else None
            logits = stack.preactivations(batches.x[batches.network, batch], drawn)[-1]
            y = batches.y[batches.network, batch]
            # The sum over the networks: the gradient of one network does not depend on how many there are.
            losses = functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") / how.batch_size
            gradients = torch.autograd.grad(losses, stack.parameters)
            with torch.no_grad():
                shortened, now = _shortened(gradients, how.longest_gradient), next(steps) * rate
                for parameter, gradient, momentum in zip(stack.parameters, gradients, momenta, strict=True):
                    momentum.mul_(how.momentum).addcmul_(gradient, shortened)
                    parameter.addcmul_(momentum, now, value=-1)
    return stack, _ends(stack, batches, splits)


def _schedule(how: Training, steps_per_epoch: int) -> Iterator[float]:
    """Factors of the learning rate: they rise, then fall to zero along half a cosine.

    They rise, as the first steps are the most dangerous ones. They fall to zero, so that the networks have settled in
    the last epoch, and no other epoch need be chosen.
    """
    steps, rising = how.epochs * steps_per_epoch, how.rising_epochs * steps_per_epoch
    for step in range(steps):
        yield min(1, (step + 1) / max(1, rising)) * (1 + cos(pi * step / steps)) / 2


def _shortened(gradients: Sequence[Tensor], longest: float) -> Tensor:
    """The factor that each network's gradient must be multiplied by."""
    length = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
    factors: Tensor = (longest / length).clamp(max=1)
    return factors[:, None, None]


@torch.no_grad()
def _ends(stack: Stack, batches: Batches, splits: Sequence[Split]) -> Ends:
    def accuracy(z: Tensor, y: Tensor) -> list[float]:
        return (z.argmax(2) == y).double().mean(1).tolist()

    *hidden, logits = stack.preactivations(batches.x)
    loss = functional.cross_entropy(logits.transpose(1, 2), batches.y, reduction="none").double().mean(1)
    held_out = {}
    for name in ("validation", "test"):
        parts = [getattr(own, name) for own in splits]
        x, y = (torch.from_numpy(np.stack([getattr(part, axis) for part in parts])) for axis in ("x", "y"))
        held_out[name] = accuracy(stack.preactivations(x)[-1], y)
    return Ends(
        test_accuracy=held_out["test"],
        validation_accuracy=held_out["validation"],
        training_accuracy=accuracy(logits, batches.y),
        training_loss=loss.tolist(),
        never_positive=torch.stack([~(z > 0).any(1) for z in hidden]).double().mean((0, 2)).tolist(),
        slope=torch.stack(stack.slopes).double().mean((0, 2, 3)).tolist(),
    )

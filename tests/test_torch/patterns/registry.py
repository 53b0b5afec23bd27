"""The list of patterns: small models as people write them, each with a ReLU somewhere."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["PATTERNS", "Layers", "Pattern", "pattern", "random_tensor"]


def random_tensor(*shape: int) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True)
class Pattern:
    """A model, and what may be expected of its replacement.

    A model may have a method `start`, which resets what it changes, and a method `effects`, which gives it.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (5, 4)
    relus: bool = True  # whether there is a ReLU to be replaced
    may_be_listed: bool = False  # whether a call may be left if it is listed, because nobody could edit it
    graphs: bool = True  # whether gradients are compared
    derivatives: bool = False  # whether the outputs have derivatives, which only the reference by functions knows

    def model(self) -> nn.Module:
        torch.default_generator.manual_seed(0)
        return self.build()

    def sample(self) -> Tensor:
        return random_tensor(*self.shape)


PATTERNS: dict[str, Pattern] = {}


def pattern(build=None, **facts):
    """Enter a class of models, or a function that builds one, in the list."""
    if build is None:
        return lambda build: pattern(build, **facts)
    assert build.__name__ not in PATTERNS, f"{build.__name__} is there twice"
    PATTERNS[build.__name__] = Pattern(build, **facts)
    return build


class Layers(nn.Module):
    """Two layers, of which forwards may make use."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.out = nn.Linear(4, 4)

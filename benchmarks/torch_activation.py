"""Compares our Leaky ReLU for PyTorch with PyTorch's own: what is kept for the backward pass, and the time per call."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import timing
from benchmarks.report import duration, spread
from leakyrelu.torch import LeakyReLU, leaky_relu

Function = Callable[[Tensor], Tensor]

SIZES = (16, 10**4, 10**6, 10**7, 6 * 10**7)
LAYERS = 8
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "`nn.ReLU`": nn.ReLU,
    "`nn.LeakyReLU`": nn.LeakyReLU,
    "`nn.LeakyReLU`, in place": partial(nn.LeakyReLU, inplace=True),
    "ours": LeakyReLU,
}


def main(sizes: Sequence[int] = SIZES, effort: timing.Effort | None = None) -> None:
    for line in (*memory_table(), "", *time_table(sizes, effort or timing.Effort())):
        print(line, flush=True)


def memory_table() -> Iterator[str]:
    """How many activations each model keeps with each activation function."""
    yield f"| Activations kept | {LAYERS} x (Linear, activation) | {LAYERS} x (Conv, BatchNorm, activation) |"
    yield "|---|---|---|"
    for name, activation in ACTIVATIONS.items():
        kept = (activations_kept(model(activation), x) for model, x in ((linear, rows()), (convolutional, images())))
        yield f"| {name} | {' | '.join(map(str, kept))} |"


def time_table(sizes: Sequence[int], effort: timing.Effort) -> Iterator[str]:
    """Our time over the native one's, and the native one's over itself: median, and quartiles in brackets."""
    yield "| float32 | pass | native | native over native | ours over native |"
    yield "|---|---|---|---|---|"
    for size in sizes:
        yield from _times(size, effort)


def _times(size: int, effort: timing.Effort) -> Iterator[str]:
    x, gradient = torch.randn(2, size)
    x.requires_grad_()

    def forward(function: Function) -> object:
        return function(x)

    def both(function: Function) -> object:
        return torch.autograd.grad(function(x), x, gradient)

    for name, call in (("forward", forward), ("forward and backward", both)):
        functions = {"native": nn.functional.leaky_relu, "again": nn.functional.leaky_relu, "ours": leaky_relu}
        contenders = {key: timing.Contender(partial(call, function)) for key, function in functions.items()}
        seconds = timing.interleaved(contenders, effort)
        native = timing.quartiles(seconds["native"])[1]
        ratios = (spread(timing.quartiles(seconds[other] / seconds["native"])) for other in ("again", "ours"))
        yield f"| {size:,} | {name} | {duration(native)} | {' | '.join(ratios)} |"


def linear(activation: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(*(layer for _ in range(LAYERS) for layer in (nn.Linear(32, 32), activation())))


def rows() -> Tensor:
    return torch.randn(64, 32)


def convolutional(activation: Callable[[], nn.Module]) -> nn.Sequential:
    block = (partial(nn.Conv2d, 4, 4, 3, padding=1), partial(nn.BatchNorm2d, 4), activation)
    return nn.Sequential(*(layer() for _ in range(LAYERS) for layer in block))


def images() -> Tensor:
    return torch.randn(8, 4, 8, 8)


def activations_kept(model: nn.Module, x: Tensor) -> int:
    """How many arrays of the size of `x` the graph of the model's output holds."""
    size = x.untyped_storage().nbytes()
    return len({s.data_ptr() for s in storages_kept(model(x)) if s.nbytes() == size})


def storages_kept(output: Tensor) -> Iterator[torch.UntypedStorage]:
    """The memory of all tensors that the nodes of a graph have saved."""
    nodes: list[Any] = [output.grad_fn]
    seen = set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += (following for following, _ in node.next_functions)
        for name in dir(node):
            if name.startswith("_saved_") and isinstance(saved := getattr(node, name), Tensor):
                yield saved.untyped_storage()


if __name__ == "__main__":
    main()

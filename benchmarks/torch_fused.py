"""Compares `fused_leaky_relu` with its formula, also compiled: what is kept for the backward pass, and the time."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional

from benchmarks import timing
from benchmarks.report import duration, spread
from leakyrelu.torch import fused_leaky_relu

Function = Callable[[Tensor, Tensor], Tensor]

SHAPES = ((16, 512, 4, 4), (16, 512, 16, 16), (8, 128, 64, 64), (4, 64, 256, 256))
LAYERS = 8


def formula(x: Tensor, bias: Tensor) -> Tensor:
    """What the published modules compute."""
    result: Tensor = functional.leaky_relu(x + bias[None, :, None, None], 0.2) * 2**0.5
    return result


def main(
    shapes: Sequence[Sequence[int]] = SHAPES, effort: timing.Effort | None = None, backend: str = "inductor"
) -> None:
    functions = {"formula": formula, "compiled formula": torch.compile(formula, backend=backend, dynamic=False)}
    for line in (*memory_table(functions), "", *time_table(functions, shapes, effort or timing.Effort())):
        print(line, flush=True)


def memory_table(others: dict[str, Function]) -> Iterator[str]:
    """How many activations a network keeps with each function."""
    yield f"| Activations kept | {LAYERS} x (Conv, bias and activation) |"
    yield "|---|---|"
    for name, function in (*others.items(), ("`fused_leaky_relu`", fused_leaky_relu)):
        yield f"| {name} | {activations_kept(function)} |"


def activations_kept(function: Function) -> str:
    """The memory that is saved for the backward pass, in activations. That of the input is one of them."""
    x, bias = torch.randn(8, 4, 8, 8), torch.randn(4, requires_grad=True)
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.nbytes() >= x.nbytes / 8:  # weights and biases are smaller; a mask has a byte per value
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        y = x
        for conv in [nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(LAYERS)]:
            y = function(conv(y), bias)
    return f"{sum(saved.values()) / x.nbytes:g}"


def time_table(others: dict[str, Function], shapes: Sequence[Sequence[int]], effort: timing.Effort) -> Iterator[str]:
    """Our time over the others': median, and quartiles in brackets."""
    yield "| float32 | pass | `fused_leaky_relu` | over the formula | over the compiled formula |"
    yield "|---|---|---|---|---|"
    for shape in shapes:
        torch.compiler.reset()  # too many shapes, with gradients and without, would no longer be compiled
        yield from _times({**others, "ours": fused_leaky_relu}, shape, effort)


def _times(functions: dict[str, Function], shape: Sequence[int], effort: timing.Effort) -> Iterator[str]:
    x, gradient = torch.randn(2, *shape)
    bias = torch.randn(shape[1])

    def forward(function: Function) -> object:
        with torch.no_grad():
            return function(x, bias)

    def both(function: Function) -> object:
        given = x.detach().requires_grad_(), bias.detach().requires_grad_()
        return torch.autograd.grad(function(*given), given, gradient)

    for name, call in (("forward", forward), ("forward and backward", both)):
        contenders = {key: timing.Contender(partial(call, function)) for key, function in functions.items()}
        seconds = timing.interleaved(contenders, effort)
        ours = timing.quartiles(seconds["ours"])[1]
        ratios = [spread(timing.quartiles(seconds["ours"] / taken)) for key, taken in seconds.items() if key != "ours"]
        yield f"| {' x '.join(map(str, shape))} | {name} | {duration(ours)} | {' | '.join(ratios)} |"


if __name__ == "__main__":
    main()

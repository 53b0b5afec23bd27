"""What a model costs to run: multiply-adds and seconds."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from leakyrelu.torch.capture import Forward
from leakyrelu.torch.running import copies, evaluating, run_batch

__all__ = ["multiply_adds", "parameters", "seconds"]


def parameters(model: nn.Module) -> int:
    """How many numbers the model's parameters hold; those that are shared count once."""
    return sum(parameter.numel() for parameter in model.parameters())


class _Unfused(TorchFunctionMode):
    """Keeps PyTorch's transformer layers from the fused operation that does not show what it computes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **kwargs or {})


def multiply_adds(model: nn.Module, batch: Any, forward: Forward = run_batch) -> int:
    """How often the model multiplies and adds for a batch: in convolutions and matrix products."""
    attention = sdpa_kernel(SDPBackend.MATH)  # as matrix products, which the counter knows
    from torch.utils.flop_counter import FlopCounterMode  # it needs private names of PyTorch

    with evaluating(model), attention, _Unfused(), FlopCounterMode(display=False) as counter:
        for given in copies([batch]):
            forward(model, given)
    return int(counter.get_total_flops()) // 2


def seconds(
    models: Sequence[nn.Module], batch: Any, forward: Forward = run_batch, repeats: int = 5
) -> tuple[float, ...]:
    """The shortest time that each model takes for a batch, of several by turns, after a call that is not counted."""
    times: list[list[float]] = [[] for _ in models]
    for _ in range(repeats + 1):
        for model, found in zip(models, times, strict=True):
            with evaluating(model):
                (given,) = copies([batch])
                _wait(model)
                start = time.perf_counter()
                forward(model, given)
                _wait(model)
                found.append(time.perf_counter() - start)
    return tuple(min(found[1:]) for found in times)


def _wait(model: nn.Module) -> None:
    for kind in {parameter.device.type for parameter in model.parameters()} - {"cpu", "meta"}:
        torch.get_device_module(kind).synchronize()

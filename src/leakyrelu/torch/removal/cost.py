"""What a model costs to run: multiply-adds and seconds."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from leakyrelu._backends.torch_private import TorchDispatchMode
from leakyrelu.torch.capture import Forward
from leakyrelu.torch.running import copies, evaluating, run_batch
from leakyrelu.torch.wiring.modes import in_parts

__all__ = ["multiply_adds", "parameters", "seconds"]


def parameters(model: nn.Module) -> int:
    """How many numbers the model's parameters hold; those that are shared count once."""
    return sum(parameter.numel() for parameter in model.parameters())


class _Unfused(TorchFunctionMode):
    """Keeps PyTorch's transformer layers from the fused operation that does not show what it computes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **kwargs or {})


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts by PyTorch's own formulas.

    PyTorch's own mode also counts by modules, and fails where one is given a parameter while there are no gradients.
    """

    def __init__(self) -> None:
        from torch.utils.flop_counter import flop_registry  # it needs private names of PyTorch

        super().__init__()  # type: ignore[no-untyped-call]
        self._formulas = flop_registry
        self.total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = in_parts(self, func, args, kwargs)
        if made is not NotImplemented:
            return made
        output = func(*args, **kwargs)
        formula = self._formulas.get(getattr(func, "overloadpacket", None))
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=output))
        return output


def multiply_adds(model: nn.Module, batch: Any, forward: Forward = run_batch) -> int:
    """How often the model multiplies and adds for a batch: in convolutions and matrix products."""
    attention = sdpa_kernel(SDPBackend.MATH)  # as matrix products, which the counter knows
    counter = _Counter()
    with evaluating(model), attention, _Unfused(), counter:
        for given in copies([batch]):
            forward(model, given)
    return counter.total // 2


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

"""What the modes that see a run at the dispatcher have in common."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from leakyrelu._backends.torch_private import TorchDispatchMode
from leakyrelu.torch.wiring.weights import Application, Weights, application

__all__ = ["WeightsMode", "in_parts"]


class WeightsMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees each operation of a run, and which of them apply a weight.

    A subclass says in `operate` what happens at one.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._weights = weights
        self._paused = False
        weights.forget_copies()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens in this block is not seen."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def operate(self, name: str, call: Application | None, func: Any, args: Sequence[Any], kwargs: Any) -> Any:  # noqa: ARG002  # for subclasses
        """Do an operation; `call` is what it applies as a weight."""
        return func(*args, **kwargs)

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._paused:
            return func(*args, **kwargs)
        made = in_parts(self, func, args, kwargs)
        if made is not NotImplemented:
            return made
        name = _name(func)
        return self.operate(name, application(name, args, self._weights), func, args, kwargs)


def in_parts(mode: Any, func: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """Run an operation that is made of others by these, as a mode sees it whole in inference mode alone.

    NotImplemented is returned if it is not made of others, or is not seen whole.
    """
    if not torch.is_inference_mode_enabled() or func is torch.ops.prim.device.default:
        return NotImplemented
    with mode:
        return func.decompose(*args, **kwargs)


def _name(function: Any) -> str:
    """The name of an operation of the dispatcher, as in PyTorch's own tables."""
    packet = getattr(function, "overloadpacket", function)
    return str(getattr(packet, "__name__", packet))

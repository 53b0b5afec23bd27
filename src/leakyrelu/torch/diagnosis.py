"""Which units of a model are dead: once, on given data, or while it trains."""

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.utils._pytree import tree_map_only

from leakyrelu.torch.capture import Call, Capture, Forward
from leakyrelu.torch.counts import Counts
from leakyrelu.units import Diagnosis, merge

__all__ = ["Monitor", "checked", "copies", "diagnose", "evaluating", "run_batch", "seen_through"]


def diagnose(model: nn.Module, batches: Iterable[Any], *, forward: Forward | None = None) -> Diagnosis:
    """Find the units of a model that never fire, with how sure that is.

    The model runs on all batches, in eval mode and without gradients; each call of ReLU, Leaky ReLU, PReLU, RReLU,
    ReLU6, threshold, clamp at zero, GELU, SiLU, ELU, CELU and SELU is a site, whether it is a module, a function or a
    method, in place or not. What is written by hand (``torch.maximum(h, zero)``, ``h * (h > 0)``) is not seen. A unit
    is a channel of a convolution (over batch and space) or a feature of a linear layer (over the batch and all tokens),
    as it enters the activation. Modes and random states are restored, nothing else is changed.

    Parameters
    ----------
    model : nn.Module
        What was compiled by `torch.compile` is run as it was before that, and so is what was wrapped by `DataParallel`
        or `DistributedDataParallel`.
    batches : iterable
        Such as a `DataLoader`. A batch is a tensor, a tuple or list whose first item is the input, or a dictionary of
        keyword arguments; its tensors are moved to the device of the model. Its examples are along the first axis.
    forward : callable, optional
        ``forward(model, batch)`` is called for each batch, which then may be anything.

    Returns
    -------
    Diagnosis
        With a `Site` for each call of an activation in one forward pass: a module that is called twice has two.

    Raises
    ------
    TypeError
        `model` is no module, or scripted; a batch is of another kind, and there is no `forward`.
    ValueError
        `batches` is empty, or without examples, or the model calls no activation that is known.

    See Also
    --------
    Monitor : the same while training.
    revive : gives dead units new life.

    Notes
    -----
    A unit that fires on none of N independent examples fires on less than 3/N of all examples, with 95 % confidence.
    On few examples, rare units look dead: of those that fire 1 % of the time, half look so on 64 examples.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import diagnose
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> _ = model[0].bias.data.copy_(torch.tensor([0.0, -100.0, 100.0]))
    >>> diagnosis = diagnose(model, [torch.randn(100, 4)])
    >>> diagnosis.dead, diagnosis.units, diagnosis.dead_fraction
    (1, 3, 0.3333333333333333)
    >>> site = diagnosis.sites[0]
    >>> site.name, site.dead.tolist(), site.always_on.tolist(), site.bound
    ('1', [1], [2], 0.03)
    """
    model = seen_through(model)
    batches = checked(batches)
    counts = Counts()
    passes = 0
    with evaluating(model), Capture(model, counts) as capture:
        for passes, batch in enumerate(batches, 1):  # noqa: B007  # whether there was any
            with capture.one_pass(batch):
                (forward or run_batch)(model, batch)
    if not passes:
        raise ValueError(
            "batches is empty, and nothing was diagnosed; a generator that was used up before is empty, too"
        )
    diagnosis = counts.diagnosis(capture.examples.total(), tuple(capture.notes))
    if not diagnosis.sites:
        no_examples = "the batches hold no examples, so nothing was diagnosed"
        raise ValueError(_nothing_seen(capture) if capture.examples.total() else no_examples)
    return diagnosis


class Monitor:
    """Counts the units of a model while it trains, as `diagnose` does on given data.

    Observed are the passes in which gradients are recorded, so that validation under `torch.no_grad` does not count. A
    pass is a call of the model, or of a part of it that is called from outside; then each such part has its own passes.
    Use it as a context, or `attach` it and `detach` it.

    Parameters
    ----------
    model : nn.Module
        Not compiled, as compiled code does not show its activations. On the model within `DistributedDataParallel` it
        is the same as on the whole.
    every : int, default 1
        Observe each pass (1), every second one (2), and so on.
    window : int, default 100
        How many observed passes a diagnosis covers.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import Monitor
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> with Monitor(model) as monitor:
    ...     for _ in range(10):
    ...         optimizer.zero_grad()
    ...         model(torch.randn(32, 4)).square().mean().backward()
    ...         optimizer.step()
    >>> monitor.diagnosis().samples
    320
    >>> sorted(monitor.scalars())[:2]
    ['units/always_on_fraction', 'units/dead_fraction']

    With TensorBoard, every hundred steps::

        for name, value in monitor.scalars().items():
            writer.add_scalar(name, value, step)
    """

    def __init__(self, model: nn.Module, *, every: int = 1, window: int = 100) -> None:
        if min(every, window) < 1:
            raise ValueError(f"every and window must be at least 1, got every={every} and window={window}")
        bare = seen_through(model)
        for name, module in model.named_modules():
            if _is_compiled(module):
                raise TypeError(
                    f"{name or 'the model'} is compiled, so its activations cannot be seen while it trains; train it "
                    "without torch.compile, or call diagnose, which does without that, every so often"
                )
            if isinstance(module, DataParallel) and len(module.device_ids) > 1:
                raise TypeError("the replicas of DataParallel cannot be seen; use DistributedDataParallel")
        self._every, self._window = every, window
        self._capture = Capture(bare, self._observe, self._wanted)
        self.reset()

    def attach(self) -> Self:
        """Begin to observe."""
        self._capture.attach()
        return self

    def detach(self) -> None:
        """Observe no more. What was counted stays."""
        self._capture.detach()

    __enter__ = attach

    def __exit__(self, *_: object) -> None:
        self.detach()

    def reset(self) -> None:
        """Forget what was counted: a new window begins."""
        self._calls: Counter[nn.Module] = Counter()
        self._last: Diagnosis | None = None
        self._new_window()

    def _new_window(self) -> None:
        self._counts = Counts()
        self._passes: Counter[nn.Module] = Counter()
        self._capture.examples.clear()

    def _observe(self, call: Call) -> Callable[[Tensor], object]:
        return self._counts(call)

    def _wanted(self, module: nn.Module) -> bool:
        if not torch.is_grad_enabled():
            return False
        self._calls[module] += 1
        if (self._calls[module] - 1) % self._every:
            return False
        if self._passes[module] == self._window:
            self._last = self._counted()
            self._new_window()
        self._passes[module] += 1
        return True

    def _counted(self) -> Diagnosis:
        examples = max(self._capture.examples.values(), default=0)
        return self._counts.diagnosis(examples, tuple(self._capture.notes))

    def diagnosis(self) -> Diagnosis:
        """Diagnose the last full window; before the first is full, what has been observed so far.

        Where `torch.distributed` is initialised, the counts of all ranks are added up, so all ranks must call this.

        Raises
        ------
        ValueError
            Nothing was observed yet, on no rank.
        """
        full = self._window in self._passes.values()
        part = self._counted() if self._last is None or full else self._last
        parts: list[Any] = [part]
        if distributed.is_available() and distributed.is_initialized():
            parts = [None] * distributed.get_world_size()
            distributed.all_gather_object(parts, part)
        diagnosis = merge(parts)
        if not diagnosis.sites:
            raise ValueError(
                _nothing_seen(self._capture)
                if self._passes
                else "no pass was observed yet: attach the monitor, and run the model with gradients, not compiled"
            )
        return diagnosis

    def scalars(self) -> dict[str, float]:
        """Fractions of units for a logger: in all, and the dead ones of each site.

        As `diagnosis`, it must be called on all ranks.
        """
        diagnosis = self.diagnosis()
        fractions = {
            f"units/{kind}_fraction": sum(len(getattr(site, kind)) for site in diagnosis.sites) / diagnosis.units
            for kind in ("dead", "one_sided", "rare", "always_on", "dormant", "nan")
        }
        return fractions | {f"units/dead_fraction/{site.name}": len(site.dead) / site.units for site in diagnosis.sites}


def _nothing_seen(capture: Capture) -> str:
    notes = "".join(f"; {note}" for note in capture.notes)
    model = type(capture.model).__name__
    return f"{model} called no activation that is known (ReLU, Leaky ReLU, GELU and so on){notes}"


def seen_through(model: nn.Module) -> nn.Module:
    """The module in which activations can be seen: what was compiled or replicated, as it was before.

    Raises
    ------
    TypeError
        It is none, or scripted.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    while isinstance(model, DataParallel | DistributedDataParallel) or _is_wrapper_of_compiled(model):
        (model,) = model.children()
    for name, module in model.named_modules():
        parts = [module, *vars(module).values()]
        if any(isinstance(part, torch.jit.ScriptModule | torch.jit.ScriptFunction) for part in parts):
            raise TypeError(
                f"{name or 'the model'} is scripted (TorchScript), so its activations cannot be seen; "
                "use the model from before"
            )
    return model


def _is_wrapper_of_compiled(module: nn.Module) -> bool:
    dynamo = sys.modules.get("torch._dynamo")  # slow to import, and where it is not, nothing is compiled
    return dynamo is not None and isinstance(module, dynamo.OptimizedModule)


def _is_compiled(module: nn.Module) -> bool:
    return _is_wrapper_of_compiled(module) or module._compiled_call_impl is not None  # noqa: SLF001  # by .compile()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In eval mode, without gradients, compiled parts as they were before; modes and random states are restored."""
    modes = {module: module.training for module in model.modules()}
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the state that others draw from
    devices = {value.device for value in (*model.parameters(), *model.buffers()) if value.device.type == "cuda"}
    stance = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
    try:
        with torch.random.fork_rng(devices), torch.no_grad(), stance:
            for module in modes:
                module.training = False  # by .eval(), some change their weights, and some cannot
            yield
    finally:
        for module, training in modes.items():
            module.training = training
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002  # likewise


def checked(batches: Iterable[Any]) -> Iterable[Any]:
    """The batches, unless they are evidently something else."""
    if isinstance(batches, Tensor | Mapping | str) or not isinstance(batches, Iterable):
        raise TypeError(
            "batches must be an iterable of batches, such as a DataLoader, "
            f"got one {type(batches).__name__}: put it in a list"
        )
    return batches


def run_batch(model: Any, batch: Any) -> object:
    """Call the model with a batch."""
    args, kwargs = _arguments(model, batch)
    return model(*args, **kwargs)


def _arguments(model: nn.Module, batch: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """What the model is called with for a batch, on the model's device."""
    item = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(item, Tensor | Mapping):
        inside = "" if item is batch else f" of {type(item).__name__}"
        raise TypeError(
            "a batch must be a tensor, a tuple or list whose first item is one, or a dictionary of keyword arguments, "
            f"got {type(batch).__name__}{inside}"
        )
    if isinstance(item, Mapping):
        item = dict(item)
    some = next(chain(model.parameters(), model.buffers()), None)
    if some is not None:
        item = tree_map_only(Tensor, lambda value: value.to(some.device), item)
    return ((), item) if isinstance(item, Mapping) else ((item,), {})


def copies(batches: Iterable[Any]) -> Iterator[Any]:
    """The batches; a model may change them in place."""
    return (tree_map_only(Tensor, torch.clone, batch) for batch in batches)

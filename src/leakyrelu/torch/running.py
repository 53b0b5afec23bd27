"""Runs a user's model on batches: which models can be run, in which mode, and how a batch is passed."""

import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from leakyrelu._backends.torch_private import (
    dynamo_is_loaded,
    has_own_dispatch,
    is_fake,
    is_managed_by_fsdp,
    is_wrapper_of_compiled,
    tree_map_only,
)
from leakyrelu._shared.wording import kind_of

__all__ = [
    "copies",
    "evaluating",
    "is_parallel",
    "refuse_foreign_weights",
    "refuse_unchangeable",
    "run_batch",
    "seen_through",
    "within",
]


def seen_through(model: nn.Module) -> nn.Module:
    """The module in which activations can be seen: the one within, if the model was compiled or replicated.

    Raises
    ------
    TypeError
        It is not a module, or it is scripted.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {kind_of(model)}")
    model = within(model)
    for name, module in model.named_modules():
        parts = [module, *vars(module).values()]
        if any(isinstance(part, torch.jit.ScriptModule | torch.jit.ScriptFunction) for part in parts):
            raise TypeError(
                f"{name or 'the model'} is scripted (TorchScript), so its activations cannot be seen; "
                "use the model as it was before scripting"
            )
    return model


def within(module: nn.Module) -> nn.Module:
    """What was compiled or replicated, if the module is a wrapper around that."""
    while isinstance(module, DataParallel | DistributedDataParallel) or is_wrapper_of_compiled(module):
        (module,) = module.children()
    return module


def refuse_foreign_weights(model: nn.Module) -> None:
    """Raise a `TypeError` unless the model holds its weights itself, whole and as plain tensors."""
    advice = "do this before the model is wrapped or converted, or load its full state_dict into one that is not"
    for name, module in model.named_modules():
        if is_parallel(module):
            raise TypeError(
                f"{name or 'the model'} ({type(module).__name__}) is wrapped or hooked for parallel training, so its "
                f"weights may lie on other processes or devices, too; {advice}"
            )
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if is_fake(tensor):
            raise TypeError(f"{name} has no values (it is on the device {tensor.device}); load the weights first")
        if has_own_dispatch(tensor):
            kind = type(tensor).__name__
            raise TypeError(f"{name} is a {kind}, not a plain tensor, so its elements cannot be changed; {advice}")


def refuse_unchangeable(model: nn.Module) -> None:
    """Raise a `TypeError` unless the model itself holds its weights: neither compiled, nor replicated, nor sharded."""
    if seen_through(model) is not model:
        raise TypeError("the model is compiled or replicated; give the one within: model._orig_mod, or model.module")
    refuse_foreign_weights(model)


def is_parallel(module: nn.Module) -> bool:
    """Whether `DataParallel` or something of `torch.distributed` manages the module, by its class or by its hooks."""
    hooks = (*module._forward_pre_hooks.values(), *module._forward_hooks.values())  # noqa: SLF001
    kinds = [kind.__module__ for kind in type(module).__mro__]
    return (
        isinstance(module, DataParallel | DistributedDataParallel)
        or is_managed_by_fsdp(module)
        or any(name.startswith("torch.distributed.fsdp") for name in kinds)
        or any(str(getattr(hook, "__module__", "")).startswith("torch.distributed.") for hook in hooks)
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run the block in eval mode, without gradients and without compilation; restore modes and random states."""
    modes = {module: module.training for module in model.modules()}
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the state that a model may draw from
    devices = {value.device for value in (*model.parameters(), *model.buffers()) if value.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices), torch.no_grad(), _uncompiled():
            for module in modes:
                module.training = False  # not by .eval(): some modules change their weights then, and some refuse
            yield
    finally:
        for module, training in modes.items():
            module.training = training
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002  # likewise


def _uncompiled() -> AbstractContextManager[object]:
    return torch.compiler.set_stance("force_eager") if dynamo_is_loaded() else nullcontext()


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
    """Copies of the batches, as a model may change them in place."""
    return (tree_map_only(Tensor, torch.clone, batch) for batch in batches)

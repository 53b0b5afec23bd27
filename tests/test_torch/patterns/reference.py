"""What a model computes, and what it would compute if each ReLU were a Leaky ReLU: by modes, whatever the source is."""

import random
import warnings
from contextlib import redirect_stdout, suppress
from dataclasses import fields, is_dataclass
from io import StringIO

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812  # as everybody calls it
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode  # the only mode that sees into scripted functions

__all__ = ["SLOPE", "Calls", "Forced", "Watched", "gradients", "leaky", "run", "same"]

SLOPE = 0.25


def leaky(x, inplace=False):
    return F.leaky_relu(x, SLOPE, inplace)


def _name(function):
    return getattr(function, "__name__", "").partition(".")[0]


class _Seen(TorchFunctionMode):
    """Does nothing; while it is there, transformers do not take the fused path, into which no mode sees."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class Calls(TorchDispatchMode):
    """Notes for each call of ReLU or Leaky ReLU whether it was leaky.

    Parameters
    ----------
    forced : list of bool, optional
        Which calls of ReLU to compute as Leaky ReLU, in the order of the calls; all others are as they are.
    """

    def __init__(self, forced=()):
        super().__init__()
        self.forced = list(forced)
        self.leaky = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = _name(function)
        if name in {"relu", "relu_"}:
            number = len(self.leaky)
            self.leaky.append(False)
            if number < len(self.forced) and self.forced[number]:
                operation = torch.ops.aten.leaky_relu_ if name == "relu_" else torch.ops.aten.leaky_relu
                return operation(args[0], SLOPE)
        elif name in {"leaky_relu", "leaky_relu_"}:
            self.leaky.append(True)
        return function(*args, **(kwargs or {}))


class Watched:
    """`Calls`, with transformers kept from the fused path."""

    def __init__(self, forced=()):
        self.calls = Calls(forced)

    def __enter__(self):
        self.seen = _Seen()
        self.seen.__enter__()
        return self.calls.__enter__()

    def __exit__(self, *error):
        self.calls.__exit__(*error)
        self.seen.__exit__(*error)


class Forced(TorchFunctionMode):
    """Each ReLU is a Leaky ReLU, for gradients, too; but those within scripted functions are not."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = _name(function)
        if name in {"relu", "relu_"}:
            x = args[0] if args else kwargs["input"]
            inplace = name == "relu_" or kwargs.get("inplace", args[1] if len(args) > 1 else False)
            return leaky(x, inplace)
        return function(*args, **kwargs)


def _seed(seed):
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # what a model may draw from
    torch.default_generator.manual_seed(seed)  # quicker than `torch.manual_seed`, which looks for other devices


def run(model, pattern):
    """All that a model gives: outputs in both modes and for several seeds, what it printed, and its effects."""
    start, effects = getattr(type(model), "start", None), getattr(type(model), "effects", None)
    if start is not None:
        start(model)
    results, text = [], StringIO()
    with redirect_stdout(text), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for training in (True, False):
            with suppress(NotImplementedError):  # an exported program has but one mode
                model.train(training)
            for seed in range(2):
                _seed(seed)
                with torch.set_grad_enabled(training):
                    results.append(_detached(model(pattern.sample())))
    return [results, text.getvalue(), None if effects is None else _detached(effects(model))]


def gradients(model, pattern):
    """The gradients of all parameters; those of the first call, where a model changes from call to call."""
    start = getattr(type(model), "start", None)
    if start is not None:
        start(model)
    with redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.train(True)
        model.zero_grad()
        _seed(0)
        tensors = [each for each in _leaves(model(pattern.sample())) if isinstance(each, torch.Tensor)]
        total = sum(each.sum() for each in tensors if each.requires_grad)
        if isinstance(total, torch.Tensor):
            total.backward()
    found = [None if each.grad is None else each.grad.clone() for each in model.parameters()]
    model.zero_grad()
    return found


def _leaves(value):
    if isinstance(value, dict):
        return [leaf for key in value for leaf in _leaves(value[key])]
    if isinstance(value, list | tuple):
        return [leaf for each in value for leaf in _leaves(each)]
    if is_dataclass(value):
        return [leaf for field in fields(value) for leaf in _leaves(getattr(value, field.name))]
    return [value]


def _detached(value):
    return [each.detach().clone() if isinstance(each, torch.Tensor) else each for each in _leaves(value)]


def same(left, right):
    """Whether two results of `run` are equal to the bit."""
    left, right = _leaves(left), _leaves(right)
    return len(left) == len(right) and all(
        type(one) is type(other) and (torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other)
        for one, other in zip(left, right, strict=True)
    )

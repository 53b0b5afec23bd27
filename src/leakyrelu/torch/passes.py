"""One pass of a model: sees each call of a PyTorch function in it, and knows what enters the activations."""

from collections.abc import Mapping, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from leakyrelu._backends.torch_private import (
    backward_is_running,
    has_own_dispatch,
    is_fake,
    is_within_functorch,
    tree_leaves,
    waited,
    without_subclass_functions,
)
from leakyrelu.torch.axes import Axes
from leakyrelu.torch.calls import is_parameter, tensors_in, traced
from leakyrelu.torch.operations import Activation, SiteNames, activation_inside, activation_of, is_operation, plain_name
from leakyrelu.torch.sharding import Layout, Locals, Share, is_sharded
from leakyrelu.units.layout import Units

if TYPE_CHECKING:
    from leakyrelu.torch.capture import Capture
    from leakyrelu.torch.padding import Padding

__all__ = ["Pass", "Values", "detached", "unseen_kind"]

_MADE = (Tensor, tuple, list)  # what functions return that make tensors
_USUAL = {Tensor, nn.Parameter}


def _plain(value: object) -> Tensor | None:
    """The values of a tensor, or its part on this rank; None if its class computes in a way of its own."""
    if type(value) is Tensor:
        return value
    with torch.no_grad():
        local = value.to_local() if is_sharded(value) else value
    if not isinstance(local, Tensor):
        return None
    local = waited(local)
    if type(local) is Tensor:
        return local
    return None if has_own_dispatch(local) else local.as_subclass(Tensor)


def detached(tensor: Tensor) -> Tensor:
    """The same values without a gradient."""
    return tensor.detach() if tensor.requires_grad else tensor


def _strange(value: object, plain: Tensor | None) -> str:
    """What an activation is called with, if it cannot be counted; empty if it can, or if there is nothing to count."""
    tensor = value if plain is None else plain
    if not isinstance(tensor, Tensor):
        return f"{type(value).__name__} objects" if hasattr(type(value), "__torch_function__") else ""
    kind = unseen_kind(tensor)
    if plain is None:
        kind = kind or type(value).__name__
    return kind and f"{kind} tensors"


def unseen_kind(tensor: Tensor, *, fake: bool = True) -> str:
    """Which kind of tensor that cannot be counted it is, with or without the fake ones; empty if none."""
    if tensor.is_nested:
        return "nested"
    if tensor.layout != torch.strided:
        return "sparse"
    if tensor.is_quantized:
        return "quantized"
    if fake and is_fake(tensor):
        return "fake"
    return "functorch's" if is_within_functorch(tensor) else ""  # of torch.vmap and torch.func.grad


class Values(NamedTuple):
    """What enters an activation."""

    local: Tensor  # without a subclass; of a sharded tensor, the part on this rank
    whole: torch.Size  # the shape of the tensor, on all ranks together
    units: Units
    part: Share | None


class Pass(TorchFunctionMode):
    """One pass of a model: sees every call of a PyTorch function in it."""

    def __init__(self, capture: "Capture", outermost: nn.Module) -> None:
        super().__init__()
        self._capture = capture
        self.outermost = outermost
        self.thread = get_ident()
        self._axes = Axes()
        self._locals = Locals(self._axes)
        self.names = SiteNames()
        self.examples: int | None = None  # in the batch
        self.seen: set[int] = set()  # of the calls
        self.padding: Padding | None = None  # if a mask tells of it
        self.batch: object = None
        self.awaits_mask = False  # whether the first call of a module is to tell it
        self.is_over = False

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.is_over:  # PyTorch, which takes a mode off the stack while it runs, may put it back after an interrupt
            return function(*args, **kwargs)
        name = plain_name(function)
        activation = activation_of(name, args, kwargs) if is_operation(name) else None
        if activation is not None:
            return self._activated(activation, function, args, kwargs)
        output = function(*args, **kwargs)
        if isinstance(output, _MADE):
            self._follow(name, function, args, kwargs, output)
        inside = activation_inside(name)
        if inside:
            self._note(f"{self._caller(name)} computes its {inside} inside; its units are not seen")
        return output

    def _activated(self, activation: Activation, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call an activation, and tell of it."""
        value = args[0] if args else kwargs.get("input", kwargs.get("self"))
        then = None
        with without_subclass_functions():
            values = self._values(activation, value)
            if values is not None:
                if _USUAL.issuperset(map(type, tensors_in((*args, *kwargs.values())))):
                    then = self._capture.see(activation, values, self, value)
                else:  # it is told of afterwards, when it is known what kind of tensor it gives
                    values = values._replace(local=values.local.detach().clone())
        output = function(*args, **kwargs)
        if values is None:
            self._follow(plain_name(function), function, args, kwargs, output)
            return output
        with without_subclass_functions():
            made = _plain(output)
            if made is None or made.shape != values.local.shape:
                self._note(f"{activation.operation} gives {type(output).__name__}; its units are not seen")
                return output
            then = then or self._capture.see(activation, values, self, value)
            then(detached(made))
            self._axes.carry(value, output)
            call = self.padding and traced(activation.operation, function, args, kwargs, output)
            if self.padding and call:
                self.padding.follow(call)
            if is_sharded(output):
                self._made(output)
            elif values.part is not None:
                self._locals.remember(output, values.part)
        return output

    def _values(self, activation: Activation, value: object) -> Values | None:
        """What enters an activation; None, mostly with a note, if it cannot be counted."""
        if is_parameter(value) or backward_is_running():
            return None
        local = _plain(value)
        strange = _strange(value, local)
        if strange or local is None or not isinstance(value, Tensor) or not local.is_floating_point():
            if strange:
                self._note(f"{activation.operation} is called with {strange}; its units are not seen")
            return None
        units = self.units(value)
        if is_sharded(value):
            part = self._made(value).part(local, units)
            known, strange = part is not None, f"DTensors placed as {value.placements}"
        else:
            known, part = self._locals.part(value)
            strange = "a part of a DTensor that could not be followed"
        if not known:
            self._note(f"{activation.operation} is called with {strange}; its units are not seen")
            return None
        return Values(local, value.shape, units, part)

    def _follow(self, name: str, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: object) -> None:
        with without_subclass_functions():
            call = traced(name, function, args, kwargs, output)
            if call is None:
                return
            self._axes.follow(call)
            if self.padding is not None:
                self.padding.follow(call)
            plain = []
            for each in call.results:
                if is_sharded(each) and not is_parameter(each):
                    self._made(each)
                else:
                    plain.append(each)
            if self._capture.meshes:
                self._locals.follow([leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)], plain)

    def _made(self, tensor: Any) -> Layout:
        """Take note of a sharded tensor."""
        layout = self._locals.made(tensor, self.units(tensor))
        self._capture.meshes[layout.mesh] = None
        return layout

    def leave(self, output: object) -> None:
        """Take note of what a module returns."""
        if self._capture.meshes:
            with without_subclass_functions():
                for leaf in tree_leaves(output):
                    if isinstance(leaf, Tensor) and not is_sharded(leaf):
                        self._locals.left(leaf)

    def _caller(self, name: str) -> str:
        """What calls the function of this name, for a reader: the class of PyTorch's, or else the function itself."""
        kind = type(self._capture.running)
        if kind.__module__.startswith("torch.nn."):
            return f"nn.{kind.__name__}"
        return kind.__name__ if kind.__module__.startswith("torch.") else name

    def _note(self, note: str) -> None:
        self._capture.notes[note] = None

    def units(self, value: Tensor) -> Units:
        """Where the units are."""
        return self._axes.found(value, self.examples)

"""What takes the place of an activation: a module of a module, and a function of a function."""

import functools
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Container, Iterable, Mapping
from copy import copy
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, fx, nn
from torch.nn import functional

from leakyrelu.torch.operations import FUNCTION_TYPES, OPERATIONS, function_of, functions_of, module_kind
from leakyrelu.torch.replacement.generated import (
    ARGUMENTS,
    function_for,
    is_generated,
    is_plain,
    maker_for,
    method_for,
    parts,
)
from leakyrelu.torch.replacement.modules import in_place_of, is_new, made_by, works_by_itself

__all__ = ["Substitutes", "items_in", "mapped", "stands_in"]

Table = Mapping[type[nn.Module], nn.Module]

_LARGEST = 200  # containers with more items are not looked into
CONTAINERS = (list, tuple, dict, OrderedDict, defaultdict, deque)  # these, and no subclasses with ways of their own


class Substitutes:
    """For each activation of a table, what takes its place.

    Parameters
    ----------
    table : Mapping of class to Module
        A class of `OPERATIONS`, and the module to put in place of it.
    """

    def __init__(self, table: Table) -> None:
        self.table = dict(table)
        self.rewritten: Callable[[FunctionType], FunctionType] = lambda function: function  # of the user's functions
        self._ready_functions: dict[Any, Callable[..., Any]] = {}
        self._ready_modules: dict[nn.Module, nn.Module] = {}
        self._modules: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()

    @property
    def operation(self) -> str:
        """One of the operations to be replaced, for a site of which only a run tells what it calls."""
        return OPERATIONS[next(iter(self.table))]

    @property
    def has_functions(self) -> bool:
        """Whether functions can stand for all new activations, which then need no place in a module."""
        return all(map(is_plain, self.table.values()))

    def is_function(self, value: object) -> bool:
        """Whether the value is a function to be replaced."""
        known = function_of(value)
        return known is not None and known.kind in self.table

    def is_module(self, value: object) -> bool:
        """Whether the value is a module to be replaced."""
        return isinstance(value, nn.Module) and module_kind(value) in self.table and works_by_itself(value)

    def holds(self, value: object, depth: int = 3) -> bool:
        """Whether the value is, or contains, something to be replaced."""
        if self.is_function(value) or self.is_module(value) or self.is_class(value):
            return True
        if isinstance(value, functools.partial):
            return self.holds(value.func, depth)
        return depth > 0 and any(self.holds(item, depth - 1) for item in items_in(value))

    def is_class(self, value: object) -> bool:
        """Whether the value is a class of modules to be replaced."""
        return isinstance(value, type) and value in self.table

    def function(self, value: Any) -> Callable[..., Tensor]:
        """The function in place of an activation."""
        known: Any = function_of(value)
        return function_for(known.kind, known.in_place, *parts(self.table[known.kind]))

    def method(self, name: str) -> Callable[[Tensor], Tensor]:
        """The function in place of the method ``x.relu()`` or ``x.relu_()``; on what is no tensor, it calls it."""
        return method_for(name, *parts(self.table[nn.ReLU]))

    def module(self, old: nn.Module) -> nn.Module:
        """The module in place of another one: the same for all that hold it, with its hooks and its mode."""
        if old not in self._modules:
            kind: Any = module_kind(old)
            self._modules[old] = in_place_of(old, self.table[kind], kind)
        return self._modules[old]

    def copy_for(self, kind: type[nn.Module], in_place: bool = False) -> nn.Module:
        """A new module for a call of an activation's function."""
        return in_place_of(nn.ReLU(in_place), self.table[kind], kind)

    def forward(self, kind: type[nn.Module]) -> Callable[..., Tensor] | None:
        """The forward in place of that of an activation's class, for ``super().forward(x)``; None if there is none."""
        if not is_plain(self.table[kind]) or kind in (nn.Hardtanh, nn.Threshold, nn.PReLU, nn.RReLU):
            return None  # the functions of these take more than the input
        function = self.function(getattr(functional, OPERATIONS[kind]))
        takes = "inplace" in ARGUMENTS[OPERATIONS[kind]]

        def forward(self: nn.Module, input: Tensor) -> Tensor:  # noqa: A002  # its name in PyTorch
            return function(input, inplace=self.inplace) if takes else function(input)

        return forward

    def made(self, kind: Any) -> Callable[..., nn.Module]:
        """What makes modules in place of a class that does."""
        new = self.table[kind]
        if is_plain(new):
            return maker_for(kind, *parts(new))
        return functools.partial(made_by, kind, new)

    def prepare(self, value: Any, depth: int = 3) -> None:
        """Rewrite now what `either` may be called with, as `torch.compile` cannot see through the rewriting."""
        if isinstance(value, FunctionType) and not function_of(value):
            self._ready_functions[value] = self.rewritten(value)
        elif self.is_module(value):
            self._ready_modules[value] = self.module(value)
        elif depth:
            for item in items_in(value):
                self.prepare(item, depth - 1)

    @functools.cached_property
    def either(self) -> Callable[[Any], Any]:
        """A function that gives what takes the place of an activation, for calls while the forward runs.

        Any other value stays as it is. It is written so that `torch.compile` can see through it.
        """
        functions, modules = self._ready_functions, self._ready_modules
        functions |= {value: self.function(value) for value in functions_of(self.table)}
        classes = {kind: self.made(kind) for kind in self.table}

        def either(value: Any) -> Any:
            if isinstance(value, FUNCTION_TYPES):
                return functions[value] if value in functions else self._of_function(value)
            if isinstance(value, type):
                return classes.get(value, value)
            if isinstance(value, nn.Module):
                return modules[value] if value in modules else self._of_other(value)
            return self._of_other(value)

        return either

    def _of_function(self, value: Any) -> Any:
        """What takes the place of a user's function, or of the method of a tensor."""
        if isinstance(value, FunctionType):
            return value if function_of(value) else self.rewritten(value)
        tensor: Any = getattr(value, "__self__", None)
        is_relu = isinstance(tensor, Tensor) and value.__name__ in ("relu", "relu_") and nn.ReLU in self.table
        return functools.partial(self.method(value.__name__), tensor) if is_relu else value

    def _of_other(self, value: Any) -> Any:
        if isinstance(value, fx.proxy.Attribute):  # a method of what torch.fx traces
            is_relu = value.attr in ("relu", "relu_") and nn.ReLU in self.table
            method: Any = self.method(value.attr) if is_relu else None
            return functools.partial(method, value.root) if is_relu else value
        if self.is_module(value):
            return self.module(value)
        if isinstance(value, functools.partial):
            return functools.partial(self.either(value.func), *value.args, **value.keywords)
        return mapped(value, self.either)


def items_in(value: object) -> Iterable[Any]:
    """What a container holds; nothing if it is none, or if it is not looked into."""
    if not isinstance(value, list | tuple | dict | deque) or len(value) > _LARGEST:
        return ()
    return dict.values(value) if isinstance(value, dict) else value


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The container with its items changed; itself if none is."""
    is_named = isinstance(value, tuple) and hasattr(value, "_fields")
    if type(value) not in CONTAINERS and not is_named:
        return value
    if isinstance(value, dict):
        changed = {key: new for key, item in value.items() if (new := change(item)) is not item}
        if changed:
            value = copy(value)
            value.update(changed)
        return value
    items = [change(item) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    return type(value)(*items) if is_named else type(value)(items)


def stands_in(value: object, kinds: Container[type[nn.Module]]) -> bool:
    """Whether a module or a function was put in place of an activation of one of these kinds."""
    return is_new(value, kinds) or is_generated(value)

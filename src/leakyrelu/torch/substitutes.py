"""What takes the place of an activation: a module of a module, and a function of a function, with the same arguments."""

import functools
import json
import re
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Container, Mapping
from copy import copy, deepcopy
from typing import Any, ClassVar
from types import FunctionType
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.jit import is_scripting  # type: ignore[attr-defined]  # though it is documented
from torch.nn import functional

from leakyrelu._backends.torch import leaky_relu
from leakyrelu.torch.activation import LeakyReLU
from leakyrelu.torch.operations import FUNCTION_TYPES, OPERATIONS, function_of, functions_of, mark, module_kind
from leakyrelu.torch.sources import written

__all__ = ["LARGEST", "Substitutes", "as_replaced", "is_new", "is_plain", "mapped", "stands_in", "works_by_itself"]

Table = Mapping[type[nn.Module], nn.Module]

CONTAINERS = (list, tuple, dict, OrderedDict, defaultdict, deque)  # these, and no subclasses with ways of their own

LARGEST = 200  # containers with more items are not looked into

_ARGUMENTS = {  # of the functions, after the input, as PyTorch has them
    "relu": "inplace: bool = False",
    "relu6": "inplace: bool = False",
    "hardtanh": "min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False",
    "threshold": "threshold: float, value: float, inplace: bool = False",
    "leaky_relu": "negative_slope: float = 0.01, inplace: bool = False",
    "prelu": "weight: Tensor",
    "rrelu": "lower: float = 0.125, upper: float = 0.3333, training: bool = False, inplace: bool = False",
    "elu": "alpha: float = 1.0, inplace: bool = False",
    "celu": "alpha: float = 1.0, inplace: bool = False",
    "selu": "inplace: bool = False",
    "gelu": 'approximate: str = "none"',
    "silu": "inplace: bool = False",
}

_EXPRESSIONS: dict[type[nn.Module], str] = {  # modules without parameters that compute the same in every mode
    LeakyReLU: "leaky_relu(input, {negative_slope!r}, inplace)",
    nn.LeakyReLU: "functional.leaky_relu(input, {negative_slope!r}, inplace)",
    nn.ReLU: "functional.relu(input, inplace)",
    nn.ReLU6: "functional.relu6(input, inplace)",
    nn.Hardtanh: "functional.hardtanh(input, {min_val!r}, {max_val!r}, inplace)",
    nn.Threshold: "functional.threshold(input, {threshold!r}, {value!r}, inplace)",
    nn.ELU: "functional.elu(input, {alpha!r}, inplace)",
    nn.CELU: "functional.celu(input, {alpha!r}, inplace)",
    nn.SELU: "functional.selu(input, inplace)",
    nn.SiLU: "functional.silu(input, inplace)",
    nn.Mish: "functional.mish(input, inplace)",
    nn.Hardswish: "functional.hardswish(input, inplace)",
    nn.GELU: "functional.gelu(input, approximate={approximate!r})",
    nn.Softplus: "functional.softplus(input, {beta!r}, {threshold!r})",
    nn.Tanh: "torch.tanh(input)",
    nn.Sigmoid: "torch.sigmoid(input)",
    nn.Identity: "input",
}

_CONSTRUCTIONS = {  # the same modules, made anew
    **{cls: f"new_class({', '.join(names)})" for cls, names in {
        LeakyReLU: ("{negative_slope!r}", "inplace"),
        nn.LeakyReLU: ("{negative_slope!r}", "inplace"),
        nn.ReLU: ("inplace",),
        nn.ReLU6: ("inplace",),
        nn.Hardtanh: ("{min_val!r}", "{max_val!r}", "inplace"),
        nn.Threshold: ("{threshold!r}", "{value!r}", "inplace"),
        nn.ELU: ("{alpha!r}", "inplace"),
        nn.CELU: ("{alpha!r}", "inplace"),
        nn.SELU: ("inplace",),
        nn.SiLU: ("inplace",),
        nn.Mish: ("inplace",),
        nn.Hardswish: ("inplace",),
        nn.GELU: ("{approximate!r}",),
        nn.Softplus: ("{beta!r}", "{threshold!r}"),
        nn.Tanh: (),
        nn.Sigmoid: (),
        nn.Identity: (),
    }.items()},
}

_HOOKS = tuple(key for key in vars(nn.Module()) if "hook" in key)


def is_plain(module: nn.Module) -> bool:
    """Whether a function can stand for the module: it has no state, no mode and no hooks."""
    return type(module) in _EXPRESSIONS and not any(vars(module).get(key) for key in _HOOKS)


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
        if not isinstance(value, list | tuple | dict | deque) or not depth or len(value) > LARGEST:
            return False
        items = dict.values(value) if isinstance(value, dict) else value
        return any(self.holds(item, depth - 1) for item in items)

    def is_class(self, value: object) -> bool:
        """Whether the value is a class of modules to be replaced."""
        return isinstance(value, type) and value in self.table

    def function(self, value: Any) -> Callable[..., Tensor]:
        """The function in place of an activation."""
        known = function_of(value)
        assert known is not None
        return _function(known.kind, known.in_place, *_parts(self.table[known.kind]))

    def method(self, name: str) -> Callable[[Tensor], Tensor]:
        """The function in place of the method ``x.relu()`` or ``x.relu_()``; on what is no tensor, it calls it."""
        return _method(name, self._expression(nn.ReLU))

    def _expression(self, kind: type[nn.Module]) -> str:
        new, arguments = _parts(self.table[kind])
        return _EXPRESSIONS[new].format(**dict(arguments))

    def module(self, old: nn.Module) -> nn.Module:
        """The module in place of another one: the same for all that hold it, with its hooks and its mode."""
        if old not in self._modules:
            kind = module_kind(old)
            assert kind is not None
            self._modules[old] = _in_place_of(old, self.table[kind], kind)
        return self._modules[old]

    def copy_for(self, kind: type[nn.Module], in_place: bool = False) -> nn.Module:
        """A new module for a call of an activation's function."""
        return _in_place_of(nn.ReLU(in_place), self.table[kind], kind)

    def forward(self, kind: type[nn.Module]) -> Callable[..., Tensor] | None:
        """The forward in place of the one of an activation's class, for ``super().forward(x)``; None if there is none."""
        if not is_plain(self.table[kind]):
            return None
        function = self.function(getattr(functional, OPERATIONS[kind]))
        takes = "inplace" in _ARGUMENTS[OPERATIONS[kind]]

        def forward(self: nn.Module, input: Tensor) -> Tensor:  # noqa: A002  # its name in PyTorch
            return function(input, inplace=self.inplace) if takes else function(input)

        return forward if kind not in (nn.Hardtanh, nn.Threshold, nn.PReLU, nn.RReLU) else None

    def made(self, kind: type[nn.Module]) -> Callable[..., nn.Module]:
        """What makes modules in place of a class that does."""
        new = self.table[kind]
        if is_plain(new):
            return _maker(kind, *_parts(new))
        return functools.partial(_made, kind, new)

    def prepare(self, value: Any, depth: int = 3) -> None:
        """Rewrite now what `either` may be called with, as `torch.compile` cannot see through the rewriting."""
        if isinstance(value, FunctionType) and not function_of(value):
            self._ready_functions[value] = self.rewritten(value)
        elif self.is_module(value):
            self._ready_modules[value] = self.module(value)
        elif isinstance(value, list | tuple | dict) and depth and len(value) <= LARGEST:
            for item in dict.values(value) if isinstance(value, dict) else value:
                self.prepare(item, depth - 1)

    @functools.cached_property
    def either(self) -> Callable[[Any], Any]:
        """A function that is called while the forward runs: it gives what takes the place of an activation.

        Any other value stays as it is. It is written so that `torch.compile` can see through it.
        """
        functions, modules = self._ready_functions, self._ready_modules
        functions |= {value: self.function(value) for value in functions_of(self.table)}
        classes = {kind: self.made(kind) for kind in self.table}

        def either(value: Any) -> Any:
            if isinstance(value, FUNCTION_TYPES):
                return functions[value] if value in functions else rewritten(value)
            if isinstance(value, type):
                return classes.get(value, value)
            if isinstance(value, nn.Module):
                return modules[value] if value in modules else within(value)
            return within(value)

        def rewritten(value: Any) -> Any:
            if isinstance(value, FunctionType):
                return value if function_of(value) else self.rewritten(value)
            of_tensor = isinstance(getattr(value, "__self__", None), Tensor) and nn.ReLU in self.table
            if of_tensor and value.__name__ in ("relu", "relu_"):
                return functools.partial(self.method(value.__name__), value.__self__)
            return value

        def within(value: Any) -> Any:
            if isinstance(value, fx.proxy.Attribute):  # a method of what torch.fx traces
                is_relu = value.attr in ("relu", "relu_") and nn.ReLU in self.table
                return functools.partial(self.method(value.attr), value.root) if is_relu else value
            if self.is_module(value):
                return self.module(value)
            if isinstance(value, functools.partial):
                return functools.partial(either(value.func), *value.args, **value.keywords)
            return mapped(value, either)

        return either


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


def works_by_itself(module: nn.Module) -> bool:
    """Whether an activation's forward is the one of its kind, so that the kind says what it computes."""
    kind = LeakyReLU if isinstance(module, LeakyReLU) else module_kind(module)
    return kind is not None and type(module).forward is kind.forward and "forward" not in vars(module)


def _made(kind: type[nn.Module], new: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    return _in_place_of(kind(*args, **kwargs), new, kind)


def _in_place_of(old: nn.Module, given: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """A copy of the module given, with the hooks, the mode and the further attributes of the old one."""
    new = deepcopy(given)
    own = dict(vars(new))
    vars(new)[_REPLACES] = kind
    kept = {key: value for key, value in vars(old).items() if key not in own or key in (*_HOOKS, "training")}
    vars(new).update(kept)
    new.train(old.training)
    in_place = getattr(old, "inplace", False)
    if "inplace" in own:
        vars(new)["inplace"] = in_place
    elif in_place:
        new.__class__ = _working_in_place(type(new))
    return new


_REPLACES = "_leakyrelu_replaces"


def is_new(value: object, kinds: Container[type[nn.Module]]) -> bool:
    """Whether a module was put in place of an activation of one of these kinds."""
    return isinstance(value, nn.Module) and vars(value).get(_REPLACES) in kinds


def stands_in(value: object, kinds: Container[type[nn.Module]]) -> bool:
    """Whether a module or a function was put in place of an activation of one of these kinds."""
    return is_new(value, kinds) or (isinstance(value, FunctionType) and value.__module__ == __name__)


@functools.cache
def as_replaced(kind: type[nn.Module]) -> type:
    """For ``isinstance``: a class of which modules of this kind are, and those that were put in place of one."""

    class Meta(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, kind) or is_new(value, (kind,))

        def __subclasscheck__(cls, value: type) -> bool:
            return issubclass(value, kind)

    return Meta(kind.__name__, (), {})


class _InPlace(nn.Module):
    """Writes into its input, for a module that cannot; the input is copied first, as its backward pass may need it."""

    _made_of: ClassVar[type]

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # its name in PyTorch
        return input.copy_(super().forward(input.clone()))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _new_in_place, (self._made_of,), self.__getstate__()


@functools.lru_cache(64)
def _working_in_place(cls: type[nn.Module]) -> type[nn.Module]:
    own = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(cls.__name__, (_InPlace, cls), own | {"_made_of": cls})


def _new_in_place(cls: type[nn.Module]) -> nn.Module:
    made: nn.Module = object.__new__(_working_in_place(cls))
    return made


_TENSORS = (Tensor, fx.Proxy)
_NAMES: dict[str, Any] = {
    "Tensor": Tensor,
    "TENSORS": _TENSORS,
    "functional": functional,
    "is_scripting": is_scripting,
    "leaky_relu": leaky_relu,
    "torch": torch,
}


def _parts(new: nn.Module) -> tuple[type[nn.Module], tuple[tuple[str, Any], ...]]:
    """The class of a new module, and the numbers that its expression needs."""
    names = re.findall(r"{(\w+)!r}", _EXPRESSIONS[type(new)])
    return type(new), tuple((name, getattr(new, name)) for name in names)


@functools.lru_cache(256)
def _function(
    kind: type[nn.Module], in_place: bool, new: type[nn.Module], numbers: tuple[tuple[str, Any], ...]
) -> Callable[..., Tensor]:
    """A function with the arguments of the activation's function; all but the first and `inplace` are ignored."""
    expression = _EXPRESSIONS[new].format(**dict(numbers))
    operation = OPERATIONS[kind]
    arguments = _ARGUMENTS[operation]
    if in_place:
        arguments = arguments.removesuffix("inplace: bool = False").removesuffix(", ")
    name = operation + "_" * in_place
    header = f"def {name}(input: Tensor{', ' if arguments else ''}{arguments}) -> Tensor:\n"
    if in_place:
        body = f"    return {_in_place(expression)}\n"
    elif "inplace" in arguments and "inplace" not in expression:
        body = f"    if inplace:\n        return {_in_place(expression)}\n    return {expression}\n"
    else:
        body = f"    return {expression if 'inplace' in arguments else _not_in_place(expression)}\n"
    function: Callable[..., Tensor] = written(header + body, name, _NAMES)
    mark(function, _kind_of(expression), in_place)
    _name(function, operation, in_place, new, numbers)
    return function


def _name(function: Callable[..., Any], operation: str, in_place: bool | None, new: type, numbers: Any) -> None:
    """Give a function a name for pickles, which `__getattr__` reads."""
    text = json.dumps([operation, in_place, list(_EXPRESSIONS).index(new), list(dict(numbers).values())])
    function.__module__, function.__qualname__ = __name__, f"{function.__name__}_{text.encode().hex()}"


def __getattr__(name: str) -> Callable[..., Any]:
    """The function that a pickle names, made anew."""
    try:
        operation, in_place, index, numbers = json.loads(bytes.fromhex(name.rpartition("_")[2]))
        kind = next(kind for kind, other in OPERATIONS.items() if other == operation)
        new = list(_EXPRESSIONS)[index]
        names = re.findall(r"{(\w+)!r}", _EXPRESSIONS[new])
        parts = new, tuple(zip(names, numbers, strict=True))
        return _maker(kind, *parts) if in_place is None else _function(kind, bool(in_place), *parts)
    except (ValueError, TypeError, IndexError, StopIteration):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def _kind_of(expression: str) -> type[nn.Module]:
    name = re.match(r"[a-z.]*?([a-z_0-9]+)\(", expression)
    return next((kind for kind, operation in OPERATIONS.items() if name and name[1] == operation), nn.Module)


def _in_place(expression: str) -> str:
    if "inplace" in expression:
        return expression.replace("inplace", "True")
    return f"input.copy_({re.sub(r'input', 'input.clone()', expression)})"


def _not_in_place(expression: str) -> str:
    return expression.replace("inplace", "False")


_MODULE_ARGUMENTS = _ARGUMENTS | {
    "prelu": "num_parameters: int = 1, init: float = 0.25",
    "rrelu": "lower: float = 0.125, upper: float = 0.3333, inplace: bool = False",
}


@functools.lru_cache(64)
def _maker(
    kind: type[nn.Module], new: type[nn.Module], numbers: tuple[tuple[str, Any], ...]
) -> Callable[..., nn.Module]:
    """A function with the arguments of the activation's class, which makes another module."""
    construction = _CONSTRUCTIONS[new].format(**dict(numbers))
    arguments = _MODULE_ARGUMENTS[OPERATIONS[kind]]
    names = {"new_class": new, "in_place_class": _working_in_place(new), "kind": kind}
    if "inplace" not in arguments:
        value = construction.replace("inplace", "False")
    elif "inplace" in construction:
        value = construction
    else:
        value = f"{construction.replace('new_class', 'in_place_class')} if inplace else {construction}"
    body = f"    new = {value}\n    new.{_REPLACES} = kind\n    return new\n"
    maker: Callable[..., nn.Module] = written(f"def {kind.__name__}({arguments}):\n{body}", kind.__name__, names)
    _name(maker, OPERATIONS[kind], None, new, numbers)
    return maker


@functools.lru_cache(64)
def _method(name: str, expression: str) -> Callable[[Tensor], Tensor]:
    result = _in_place(expression) if name.endswith("_") else _not_in_place(expression)
    source = (
        f"def {name}(input: Tensor) -> Tensor:\n"
        "    if not is_scripting():\n"
        "        if not isinstance(input, TENSORS):\n"
        f"            return input.{name}()\n"
        f"    return {result}\n"
    )
    function: Callable[[Tensor], Tensor] = written(source, name, _NAMES)
    mark(function, _kind_of(expression), name.endswith("_"))
    return function

"""Modules that take the place of others, with their hooks and their mode, in place where the old one was."""

import functools
from collections.abc import Callable, Container
from copy import deepcopy
from typing import Any, ClassVar

from torch import Tensor, nn

from leakyrelu.torch.activation import LeakyReLU
from leakyrelu.torch.operations import module_kind

__all__ = [
    "HOOKS",
    "REPLACES",
    "adapted",
    "adapted_method",
    "as_replaced",
    "in_place_of",
    "is_new",
    "made_by",
    "working_in_place",
    "works_by_itself",
]

HOOKS = tuple(key for key in vars(nn.Module()) if "hook" in key)
REPLACES = "_leakyrelu_replaces"


def is_new(value: object, kinds: Container[type[nn.Module]]) -> bool:
    """Whether a module was put in place of an activation of one of these kinds."""
    return isinstance(value, nn.Module) and vars(value).get(REPLACES) in kinds


@functools.cache
def as_replaced(kind: type[nn.Module]) -> type:
    """For ``isinstance``: a class of which modules of this kind are, and those that were put in place of one."""

    class Meta(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, kind) or is_new(value, (kind,))

        def __subclasscheck__(cls, value: type) -> bool:
            return issubclass(value, kind)

    return Meta(kind.__name__, (), {})


def works_by_itself(module: nn.Module) -> bool:
    """Whether an activation's forward is the one of its kind, so that the kind says what it computes."""
    kind = LeakyReLU if isinstance(module, LeakyReLU) else module_kind(module)
    return kind is not None and type(module).forward is kind.forward and "forward" not in vars(module)


def in_place_of(old: nn.Module, given: nn.Module, kind: type[nn.Module]) -> nn.Module:
    """A copy of the module given, with the hooks, the mode and the further attributes of the old one."""
    new = deepcopy(given)
    own = dict(vars(new))
    vars(new)[REPLACES] = kind
    kept = {key: value for key, value in vars(old).items() if key not in own or key in (*HOOKS, "training")}
    vars(new).update(kept)
    new.train(old.training)
    in_place = getattr(old, "inplace", False)
    if "inplace" in own:
        vars(new)["inplace"] = in_place
    elif in_place:
        cls: Any = type(new)
        new.__class__ = working_in_place(cls)
    return new


def made_by(kind: type[nn.Module], new: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """A module in place of one that would be made with these arguments."""
    return in_place_of(kind(*args, **kwargs), new, kind)


class _InPlace(nn.Module):
    """Writes into its input, for a module that cannot; the input is copied first, as its backward pass may need it."""

    _made_of: ClassVar[type]

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # its name in PyTorch
        return input.copy_(super().forward(input.clone()))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _new_in_place, (self._made_of,), self.__getstate__()  # type: ignore[no-untyped-call]


@functools.lru_cache(64)
def working_in_place(cls: type[nn.Module]) -> type[nn.Module]:
    """A subclass that writes into its input."""
    own = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(cls.__name__, (_InPlace, cls), own | {"_made_of": cls})


def _new_in_place(cls: Any) -> nn.Module:
    made: nn.Module = object.__new__(working_in_place(cls))
    return made


def adapted(in_place: bool) -> Callable[[nn.Module], Callable[..., Tensor]]:
    """What makes a function of a module, with the arguments of an activation's function."""

    def adapt(module: nn.Module) -> Callable[..., Tensor]:
        def call(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: A002  # its name in PyTorch
            overwrite = in_place or kwargs.get("inplace") is True or (bool(args) and args[-1] is True)
            return input.copy_(module(input.clone())) if overwrite else module(input)

        return call

    return adapt


def adapted_method(name: str) -> Callable[[nn.Module], Callable[[Any], Any]]:
    """The same in place of a method; on what is no tensor, it calls the method."""

    def adapt(module: nn.Module) -> Callable[[Any], Any]:
        call = adapted(name.endswith("_"))(module)
        return lambda input: call(input) if isinstance(input, Tensor) else getattr(input, name)()  # noqa: A006

    return adapt

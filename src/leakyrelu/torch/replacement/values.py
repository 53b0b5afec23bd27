"""What takes the place of the values that modules hold: functions, classes, partials, and containers of them."""

from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from torch import nn

from leakyrelu.torch.operations import OPERATIONS, function_of
from leakyrelu.torch.replacement.classes import first_argument
from leakyrelu.torch.replacement.generated import is_plain
from leakyrelu.torch.replacement.rewriting import Rewriter
from leakyrelu.torch.replacement.substitutes import mapped

__all__ = ["Values"]


class Values:
    """Finds what takes the place of values; the same for the same value.

    Parameters
    ----------
    rewriter : Rewriter
        Rewrites the user's functions, and knows the new activations.
    add_child : callable
        Gives a module a new child, for a call in one of its methods.
    found_module : callable
        Is told of each module that is met.

    Attributes
    ----------
    sites : list of (str, str)
        The operation of each activation that was met, and the reason if it is left.
    """

    def __init__(
        self,
        rewriter: Rewriter,
        add_child: Callable[[nn.Module, Any], None],
        found_module: Callable[[nn.Module], None],
    ) -> None:
        self._rewriter, self._new = rewriter, rewriter.substitutes
        self._add_child, self._found_module = add_child, found_module
        self.sites: list[tuple[str, str]] = []
        self._known: dict[int, tuple[Any, Any]] = {}  # by id: the values that were met, and what became of them

    def take_sites(self) -> list[tuple[str, str]]:
        """The sites since this was called last."""
        sites, self.sites = self.sites, []
        return sites

    def of(self, value: Any, is_used: bool) -> Any:
        """What takes the place of a value; `is_used` tells whether a class in it is used when the model runs."""
        if isinstance(value, nn.Module):
            self._found_module(value)
            return self._new.module(value) if self._new.is_module(value) else value
        if id(value) not in self._known:
            self._known[id(value)] = value, value  # in case that it holds itself
            self._known[id(value)] = value, self._changed(value, is_used)
        return self._known[id(value)][1]

    def _changed(self, value: Any, is_used: bool) -> Any:
        inner: Any = value.func if isinstance(value, partial) else value
        if self._new.is_function(inner):
            return self._function(value, inner)
        if self._new.is_class(inner):
            self.sites += [(OPERATIONS[inner], "")] if is_used else []
            return self._new.either(value) if is_used else value
        if isinstance(value, FunctionType | MethodType) and not function_of(value):
            return self.rewritten(value)
        change = partial(self.of, is_used=is_used)
        if not isinstance(value, partial):
            return mapped(value, change)
        function = value.func if isinstance(value.func, type) else change(value.func)
        args, keywords = mapped(value.args, change), mapped(value.keywords, change)
        same = function is value.func and args is value.args and keywords is value.keywords
        return value if same else partial(function, *args, **keywords)

    def _function(self, value: Any, function: Any) -> Any:
        known: Any = function_of(function)
        if is_plain(self._new.table[known.kind]):
            self.sites.append((OPERATIONS[known.kind], ""))
            return self._new.either(value)
        reason = "is held in a container, where the new parameters would not be trained"
        self.sites.append((OPERATIONS[known.kind], reason))
        return value

    def rewritten(self, value: Any) -> Any:
        """A function or a bound method of the user's, rewritten."""
        if isinstance(value, MethodType):
            return self._method(value)
        if not isinstance(value, FunctionType):
            return value
        return value if self._edited(value, "") is value else self._rewriter.held(value)

    def _method(self, value: MethodType) -> Any:
        owner: Any = value.__self__
        function = value.__func__
        if self._new.is_module(owner):  # such as self.relu.forward
            return getattr(self._new.module(owner), value.__name__)
        if not isinstance(function, FunctionType):
            return value
        self_name = first_argument(function, function) if isinstance(owner, nn.Module) else ""
        new = self._edited(function, self_name)
        if new is function:
            return value
        if self_name:
            for each in self._rewriter.all_found(function):
                self._add_child(owner, each)
        return MethodType(new, owner)

    def _edited(self, function: FunctionType, self_name: str) -> FunctionType:
        new = self._rewriter.function(function, self_name)
        sites = [(each.operation, each.reason) for each in self._rewriter.all_found(function)]
        if function in self._rewriter.unread:
            sites.append(
                (self._new.operation, f"{function.__name__} cannot be edited: {self._rewriter.unread[function]}")
            )
        self.sites += sites if new is not function else [site for site in sites if site[1]]
        return new

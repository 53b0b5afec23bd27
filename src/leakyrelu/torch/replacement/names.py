"""Finds what an expression in a function stands for wherever the function runs, without running anything."""

import ast
import builtins
import inspect
import sys
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from leakyrelu.torch.replacement.classes import content
from leakyrelu.torch.replacement.sources import Source

__all__ = ["NOTHING", "Names", "is_space"]

NOTHING: Any = object()  # what it stands for is not known


def is_space(value: object) -> bool:
    """Whether it is a module of PyTorch's that has the activations, for ``getattr``."""
    return value is functional or value is nn


class Names:
    """The names of one function: its variables, closure, imports and globals."""

    def __init__(self, function: FunctionType, source: Source) -> None:
        self.free = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        self.bound, self.imported = _bound_names(source.node)
        self._globals = function.__globals__
        self._node = source.node

    def is_stored(self, name: str) -> bool:
        """Whether the function sets or deletes a variable of this name."""
        return any(isinstance(node, ast.Name) and node.id == name and _is_stored(node) for node in ast.walk(self._node))

    def of(self, node: object) -> Any:  # noqa: PLR0911  # a case per kind of expression
        """What an expression stands for wherever the function runs; `NOTHING` if that is not known."""
        match node:
            case ast.Name(id=name) if name in self.imported:
                return self.imported[name]
            case ast.Name(id=name) if name in self.bound:
                return NOTHING
            case ast.Name(id=name) if name in self.free:
                value = content(self.free[name])
                return NOTHING if value is None else value
            case ast.Name(id=name):
                return self._globals.get(name, getattr(builtins, name, NOTHING))
            case ast.Attribute(value=inner, attr=name):
                return _attribute(self.of(inner), name)
            case ast.Call(func=ast.Name(id="getattr"), args=[inner, ast.Constant(value=str(name))]):
                space = self.of(inner)
                return _attribute(space, name) if is_space(space) or space is torch else NOTHING
            case _:
                return NOTHING


def _is_stored(node: ast.Name) -> bool:
    return not isinstance(node.ctx, ast.Load)


def _bound_names(node: ast.AST) -> tuple[set[str], dict[str, Any]]:  # noqa: C901  # a case per kind of statement
    """The variables of a function and of those in it; and what those stand for that are set by an import."""
    bound: set[str] = set()
    imported: dict[str, Any] = {}
    elsewhere: set[str] = set()
    for each in ast.walk(node):
        match each:
            case ast.arg(arg=name) | ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                bound.add(name)
            case ast.Name(id=name) if _is_stored(each):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name) if (
                each is not node
            ):
                bound.add(name)
            case ast.Import(names=names):
                for alias in names:
                    first = alias.name.partition(".")[0]
                    imported[alias.asname or first] = sys.modules.get(alias.name if alias.asname else first, NOTHING)
            case ast.ImportFrom(names=names, level=0, module=str(module)):
                for alias in names:
                    value = getattr(sys.modules.get(module), alias.name, NOTHING)
                    imported[alias.asname or alias.name] = sys.modules.get(f"{module}.{alias.name}", value)
            case ast.ImportFrom(names=names):
                bound |= {alias.asname or alias.name for alias in names}
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                elsewhere |= set(names)
    return bound | elsewhere, {name: value for name, value in imported.items() if name not in bound}


def _attribute(value: Any, name: str) -> Any:
    """What an attribute is, where looking at it calls nobody's code."""
    if value is Tensor or is_space(value) or type(value).__name__ in ("_OpNamespace", "_Ops"):
        return getattr(value, name, NOTHING)
    if isinstance(value, ModuleType):
        return vars(value).get(name, NOTHING)
    if isinstance(value, type):
        found = inspect.getattr_static(value, name, NOTHING)
        return (
            found.__func__ if isinstance(found, staticmethod) else NOTHING if isinstance(found, classmethod) else found
        )
    if value is NOTHING or isinstance(value, nn.Module) or not hasattr(value, "__dict__"):
        return NOTHING
    return getattr(value, "__dict__", {}).get(name, NOTHING)

"""Changes what modules hold: other modules, functions, their class, and the graph of a traced one."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import parametrize

from leakyrelu._backends.torch_private import copy_of_graph
from leakyrelu.torch.changes import Changes
from leakyrelu.torch.operations import OPERATIONS, activation_of, function_of
from leakyrelu.torch.replacement.classes import takes_more, used_names
from leakyrelu.torch.replacement.editor import Found
from leakyrelu.torch.replacement.generated import is_plain
from leakyrelu.torch.replacement.reasons import OTHERS
from leakyrelu.torch.replacement.rewriting import Rewriter
from leakyrelu.torch.replacement.substitutes import Substitutes, mapped, stands_in
from leakyrelu.torch.replacement.values import Values

__all__ = ["Holder"]


class Holder:
    """Puts new activations where a model holds old ones.

    Parameters
    ----------
    model : nn.Module
        The whole model, which tells the device and the type of new parameters.
    modules : dict of nn.Module to str
        The modules that may be changed, and their paths. Modules that are found in attributes are added.
    top : nn.Module
        Holds the model itself.
    table : dict
        What is to be replaced.
    changes : Changes
        Records what is changed.
    """

    def __init__(
        self,
        model: nn.Module,
        modules: dict[nn.Module, str],
        top: nn.Module,
        table: dict[type[nn.Module], nn.Module],
        changes: Changes,
    ) -> None:
        self.model, self.modules, self.top, self.table, self.changes = model, modules, top, table, changes
        self.new = Substitutes(table)
        self.pending = list(modules.items())  # the modules whose turn comes; those that are found are added
        self._values: Values | None = None

    # Modules.

    def swap(self, old: set[nn.Module]) -> None:
        """Put the new modules in place of the old ones, under all their names."""
        for module in old:
            self.changes.after_undo(partial(_take_mode, module, self.new.module(module)))
        for parent in (self.top, *self.modules):
            children = vars(parent)["_modules"]
            for key, child in list(children.items()):
                if child in old:
                    self.changes.set(children, key, self._like(parent, self.new.module(child)))
            if parent is not self.top:
                for key, value in list(vars(parent).items()):
                    if not _is_internal(key) and (changed := self._swapped(value, old)) is not value:
                        self.changes.set(vars(parent), key, changed)

    def _swapped(self, value: Any, old: set[nn.Module], depth: int = 4) -> Any:
        if isinstance(value, nn.Module):
            return self.new.module(value) if value in old else value
        return mapped(value, partial(self._swapped, old=old, depth=depth - 1)) if depth else value

    def _like(self, owner: nn.Module, new: nn.Module) -> nn.Module:
        """The new module, with its parameters on the owner's device and in its precision."""
        if any(True for _ in new.parameters()):
            like = next((p for m in (owner, self.model) for p in m.parameters() if p.is_floating_point()), None)
            if like is not None:
                new.to(like.device, like.dtype)
        return new

    # Functions and modules that are held in attributes.

    def hold_all(self, module: nn.Module, rewriter: Rewriter) -> Iterator[tuple[str, str]]:
        """Replace what the module holds; for each site, its operation and the reason if it is left."""
        if self._values is None:
            self._values = Values(rewriter, self._add_child, self._found)
        used = used_names(type(module), code=True)
        for key, value in list(vars(module).items()):
            inner = value.func if isinstance(value, partial) else value
            if key in ("_forward_hooks", "_forward_pre_hooks"):
                for number, hook in list(value.items()):
                    self._change(value, number, hook, self._values.rewritten(hook))
            elif _is_internal(key):
                continue
            elif self.new.is_function(inner):
                yield OPERATIONS[function_of(inner).kind], self.hold(module, key, value)  # type: ignore[union-attr]
            else:
                self._change(vars(module), key, value, self._values.of(value, key in used))
            yield from self._values.take_sites()

    def _change(self, mapping: dict[Any, Any], key: Any, old: Any, new: Any) -> None:
        if new is not old:
            self.changes.set(mapping, key, new)

    def _found(self, module: nn.Module) -> None:
        """A module was met in an attribute; if it was never registered, its sites are called after its class."""
        if module not in self.modules:
            for path, each in module.named_modules():
                if each not in self.modules:
                    self.modules[each] = path or type(module).__name__
                    self.pending.append((each, self.modules[each]))

    def hold(self, module: nn.Module, key: str, value: Any) -> str:
        """Something else in place of a function that is an attribute; or why not."""
        function = getattr(value, "func", value)
        kind = function_of(function).kind  # type: ignore[union-attr]
        if is_plain(self.table[kind]):
            self.changes.set(vars(module), key, self.new.either(value))
            return ""
        if _uses_children(module) or hasattr(type(module), key):  # a class attribute would hide a child
            return "there is no place for another child, and the new activation has parameters"
        if takes_more(type(module), key):
            return f"self.{key} is called with further arguments, which a module does not take"
        in_place = function_of(function).in_place or getattr(value, "keywords", {}).get("inplace", False)  # type: ignore[union-attr]
        self.changes.delete(vars(module), key)
        self.changes.set(vars(module)["_modules"], key, self._like(module, self.new.copy_for(kind, bool(in_place))))
        return ""

    # Calls.

    def rewrite(self, module: nn.Module, rewriter: Rewriter) -> list[Found]:
        """Give the module a class whose methods call the new activations; return what was found in the old one."""
        cls = type(module)
        parametrized = parametrize.is_parametrized(module)
        base = cls.__bases__[0] if parametrized else cls
        rewritten = rewriter.cls(base)
        found = list(rewritten.found)
        if rewritten.unread and not rewriter.only_places:
            found += [
                Found(self.new.operation, ("", ()), reason=f"{function.rpartition('.')[2]} cannot be edited: {reason}")
                for function, reason in rewritten.unread.items()
            ]
        children = [each for each in found if each.child]
        if children and _uses_children(module):
            reason = "the module goes through its children, so the new activation, which has parameters, has no place"
            return [each._replace(reason=reason) if not each.reason else each for each in found]
        if rewritten.cls is not base:
            if parametrized:
                self.changes.attribute(cls, "__bases__", (rewritten.cls, *cls.__bases__[1:]))
            else:
                self.changes.attribute(module, "__class__", rewritten.cls)
            for each in children:
                self._add_child(module, each)
        return found

    def _add_child(self, module: nn.Module, found: Found) -> None:
        if found.child and found.child not in module._modules:  # noqa: SLF001  # as nn.Module.add_module does
            kind = next(kind for kind in self.table if OPERATIONS[kind] == found.operation)
            new = self._like(module, self.new.copy_for(kind))
            new.train(module.training)
            self.changes.set(vars(module)["_modules"], found.child, new)

    def edit_graph(self, module: fx.GraphModule, name: Callable[[str], str]) -> tuple[list[str], dict[str, str]]:
        """Replace calls in the graph of a module that `torch.fx` has made."""
        old = module.graph
        values: dict[fx.Node, fx.Node] = {}
        graph = copy_of_graph(old, values)
        replaced: list[str] = []
        skipped: dict[str, str] = {}
        for node in old.nodes:
            operation, known = _operation(node)
            if operation in OTHERS and nn.ReLU in self.table:
                skipped[name(operation)] = OTHERS[operation]
            if known is None or known.kind not in self.table:
                continue
            site = name(operation)
            child = f"replaced_{len(replaced)}"
            while hasattr(module, child):
                child += "_"
            given = {**dict(zip(("input",), node.args, strict=False)), **node.kwargs}
            inplace = known.in_place or given.get("inplace", False) or (len(node.args) > 1 and node.args[1] is True)
            new = self._like(module, self.new.copy_for(known.kind, bool(inplace)))
            self.changes.set(vars(module)["_modules"], child, new)
            with graph.inserting_before(values[node]):
                call = graph.call_module(child, (values[node].args or tuple(values[node].kwargs.values()))[:1])
            values[node].replace_all_uses_with(call)
            graph.erase_node(values[node])
            replaced.append(site)
        if replaced:
            self.changes.attribute(module, "graph", graph)
        return replaced, skipped

    def leave_fast_paths(self) -> None:
        """Turn off the fused kernels of transformers, which compute ReLU if a flag says so."""
        for module in self.modules:
            layers = module.layers if isinstance(module, nn.TransformerEncoder) else [module]
            if not any(stands_in(getattr(layer, "activation", None), self.table) for layer in layers):
                continue
            if isinstance(module, nn.TransformerEncoder):
                self.changes.set(vars(module), "use_nested_tensor", False)  # only the fused layers take nested tensors
            elif isinstance(module, nn.TransformerEncoderLayer):
                self.changes.set(vars(module), "activation_relu_or_gelu", 0)
            elif isinstance(module, nn.TransformerDecoderLayer):
                # its __setstate__ would set F.relu if this were missing
                self.changes.set(vars(module), "activation", module.activation)


def _take_mode(module: nn.Module, other: nn.Module) -> None:
    """Put a module in the mode of another one, as the model's mode may have been changed in the meantime."""
    module.training = other.training


def _is_internal(key: str) -> bool:
    """Whether an attribute of a module is PyTorch's own."""
    return key in _INTERNAL


_INTERNAL = frozenset(vars(nn.Module()))


def _uses_children(module: nn.Module) -> bool:
    """Whether a module goes through its children, so that another child would change what it does."""
    names = used_names(type(module), code=True)
    walking = {"children", "named_children", "modules", "named_modules", "_modules"}
    return isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict) or not names.isdisjoint(walking)


def _operation(node: fx.Node) -> tuple[str, Any]:
    """The activation that a node of a graph calls, and what is known of its function."""
    if node.op not in ("call_function", "call_method"):
        return "", None
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda _: float("nan"))
    activation = activation_of(node.target, args, kwargs)
    known = function_of(getattr(torch.Tensor, node.target, None) if isinstance(node.target, str) else node.target)
    return (activation.operation if activation else ""), known

"""Adds what is counted of activations to a graph of `torch.compile`, as further outputs.

dynamo hands a backend the graph of the functions that a model calls, before anything is fused. The units' axes are
followed through it as through a pass, and each activation gets a few sums beside it.
"""

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count as counter
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import GraphAppendingTracer

from leakyrelu._backends.torch_private import (
    copy_of_module,
    hint_of,
    is_fake,
    is_sub_graph_call,
    module_ids,
    source_of,
    tree_leaves,
)
from leakyrelu.torch.axes import Axes
from leakyrelu.torch.calls import traced
from leakyrelu.torch.graph_sums import Group, Place, Site, SiteSums, count, output_tells, stand_in
from leakyrelu.torch.operations import ACTIVATION_MODULES, activation_inside, activation_of, plain_name
from leakyrelu.torch.passes import unseen_kind

__all__ = ["Counted", "Owner", "add_counts", "results_of"]

_NOT_SEEN = "its units are not seen"

# Calls of a sub-graph that runs once, as it stands there: what is counted in it can come out with its results.
_TRANSPARENT = {"tag_activation_checkpoint", "wrap", "wrap_with_set_grad_enabled"}

# Those that are put together: on one device, and of a number of units that is the same for all inputs.
_Found: TypeAlias = dict[tuple[torch.device, int | None], list[tuple[Site, SiteSums]]]


class Owner(NamedTuple):
    """The module whose code a graph is."""

    module: nn.Module | None  # None if it is the code of no module of the model
    paths: Mapping[nn.Module, str]  # of all modules in the model
    examples: int | None  # that the model is being called with, if that is known


class Counted(NamedTuple):
    """What was added to a graph."""

    groups: list[Group]
    batch: int | None  # the place among the inputs of what seems to be the batch
    examples: int  # in the batch when the graph was made
    ran: set[nn.Module]  # the modules that run in the graph


def add_counts(
    graph: fx.GraphModule,
    owner: Owner,
    numbered: Callable[[Place], Place],
    note: Callable[[str], object],
    *,
    exact: bool,
) -> Counted:
    """Add the sums of all activations in a graph to its outputs.

    Parameters
    ----------
    graph : torch.fx.GraphModule
        As dynamo hands it to a backend. It is changed.
    owner : Owner
        The module whose code it is.
    numbered : callable
        Tells which call of an activation a place is.
    note : callable
        Takes remarks on what cannot be seen.
    exact : bool
        Whether what enters a flat activation is counted, too, which keeps the compiler from fusing it with what is
        before it.

    Returns
    -------
    Counted
        If `groups` is empty, the graph is as it was.
    """
    editor = _Editor(owner, numbered, note, exact)
    editor.examples = owner.examples
    batch = _batch(graph)
    if batch is not None and owner.examples is None:
        inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
        editor.examples = hint_of(inputs[batch].meta["example_value"].shape[0])
    editor.follow(graph, None)
    return Counted(editor.groups, batch, editor.examples or 1, editor.ran)


class _Editor:
    def __init__(
        self, owner: Owner, numbered: Callable[[Place], Place], note: Callable[[str], object], exact: bool
    ) -> None:
        self.groups: list[Group] = []
        self.examples: int | None = None
        self.ran: set[nn.Module] = set() if owner.module is None else {owner.module}
        self._owner, self._numbered, self._note, self._exact = owner, numbered, note, exact
        self._by_id = {id(module): module for module in owner.paths}
        self._axes = Axes()
        self._order = counter()

    def follow(self, graph: fx.GraphModule, inputs: Iterable[Any] | None) -> tuple[Any, list[fx.Node]]:
        """Follow the units through a graph, and add its sums; the values that it gives, and the nodes of the sums."""
        given = None if inputs is None else iter(inputs)
        values: dict[fx.Node, Any] = {}
        added: list[fx.Node] = []
        tracer = GraphAppendingTracer(graph.graph)
        found: _Found = defaultdict(list)
        result: Any = None
        for node in list(graph.graph.nodes):
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            if node.op == "output":
                (result,) = args
                self._finish(tracer, graph, node, found, added)
            elif node.op == "placeholder":
                values[node] = stand_in(node.meta.get("example_value")) if given is None else next(given)
            elif node.op == "get_attr":
                values[node] = operator.attrgetter(node.target)(graph)
            elif is_sub_graph_call(node.target):
                values[node] = self._sub_graph(graph, node, args, added)
            elif node.target is operator.getitem and isinstance(args[0], tuple | list):
                values[node] = args[0][args[1]]
            else:
                values[node] = stand_in(node.meta.get("example_value"))
                self._called(tracer, node, args, kwargs, values[node], found)
            self.ran.update(self._modules(node))
        graph.recompile()
        return result, added

    def _called(
        self,
        tracer: GraphAppendingTracer,
        node: fx.Node,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        output: Any,
        found: _Found,
    ) -> None:
        """Follow the units through a call; if it is an activation, add its sums."""
        function: Any = getattr(Tensor, str(node.target)) if node.op == "call_method" else node.target
        activation = activation_of(function, args, kwargs)
        value = args[0] if args else kwargs.get("input", kwargs.get("self"))
        if activation is None or not isinstance(value, Tensor) or isinstance(value, nn.Parameter):
            name = plain_name(function)
            call = traced(name, function, args, kwargs, output)
            if call is not None and node.op != "call_module":
                self._axes.follow(call)
            inside = activation_inside(name)
            if inside:
                self._note(f"{name} computes its {inside} inside; {_NOT_SEEN}")
            return
        kind = unseen_kind(value, fake=False)
        if kind or not is_fake(value):
            called_with = f"{kind} tensors" if kind else f"{type(value).__name__} objects"
            self._note(f"{activation.operation} is called with {called_with}; {_NOT_SEEN}")
        elif value.numel() and value.is_floating_point() and isinstance(output, Tensor):
            place = self._place(node, activation.operation)
            enters = self._exact or not output_tells(activation, args, kwargs)
            counted = place and count(
                tracer, node, value, self._axes.found(value, self.examples), activation, place, enters
            )
            if counted:
                site, sums = counted
                site = site._replace(order=next(self._order))
                alone = site.order if site.units is None else None
                found[node.meta["example_value"].device, alone].append((site, sums))
            elif place is not None:
                name = place.name(activation)
                self._note(f"{name}: its sizes depend on the inputs in a way that cannot be followed; {_NOT_SEEN}")
        self._axes.carry(value, output)

    def _modules(self, node: fx.Node) -> Iterator[nn.Module]:
        """The modules of the model that run where a node is, the innermost one first."""
        for number in module_ids(node):
            if number in self._by_id:
                yield self._by_id[number]

    def _place(self, node: fx.Node, operation: str) -> Place | None:
        """The place of a call; None if no module of the model makes it."""
        module = next(self._modules(node), self._owner.module)
        if module is None:
            return None
        return self._numbered(
            Place(self._owner.paths[module], "" if isinstance(module, ACTIVATION_MODULES) else operation)
        )

    def _sub_graph(self, graph: fx.GraphModule, node: fx.Node, args: Sequence[Any], added: list[fx.Node]) -> Any:
        """Follow the units through a call of a sub-graph, and have it give its sums, too; the values that it gives."""
        kind, first = plain_name(node.target), node.args[0] if node.args else None
        bodies = [arg for arg in tree_leaves(args) if isinstance(arg, fx.GraphModule)]
        bodies = bodies[:1] if kind == "autograd_function_apply" else bodies  # the second one is the backward pass
        runs_one = len(bodies) == 1 and args[0] is bodies[0] and isinstance(results_of(bodies[0]), tuple | list)
        if kind not in _TRANSPARENT or not runs_one or not isinstance(first, fx.Node):
            for inner in (inner for body in bodies for inner in _calls_in(body)):
                modules = [*self._modules(inner), *filter(None, [self._owner.module])]
                self.ran.update(modules)
                activation = activation_of(inner.target, inner.args, inner.kwargs)
                if modules and activation:
                    if len(bodies) == 1:  # of several, it is not known which one runs
                        self._place(inner, activation.operation)  # so that the calls after it have their numbers
                    path = self._owner.paths[modules[0]] or "the model itself"
                    self._note(f"{path} calls {plain_name(inner.target)} within {kind}; {_NOT_SEEN}")
            return stand_in(node.meta.get("example_value"))
        body = copy_of_module(bodies[0])
        before = len(self.groups)
        result, sums = self.follow(body, args[1:])
        if len(self.groups) > before:
            name = f"{first.target}_counted"
            graph.add_submodule(name, body)
            with graph.graph.inserting_before(node):
                node.replace_input_with(first, graph.graph.get_attr(name))
            with graph.graph.inserting_after(node):
                place = node
                for i in range(len(sums)):
                    with graph.graph.inserting_after(place):
                        place = graph.graph.call_function(operator.getitem, (node, len(result) + i))
                    added.append(place)
        return result

    def _finish(
        self,
        tracer: GraphAppendingTracer,
        graph: fx.GraphModule,
        output: fx.Node,
        found: _Found,
        added: list[fx.Node],
    ) -> None:
        """Put what was counted on each device together, and add it to the outputs of a graph."""
        with output.graph.inserting_before(output):
            for (device, _), sites in found.items():
                enters = [sums for site, sums in sites if site.enters]
                proxies: list[Any] = [
                    torch.cat([getattr(sums, key) for _, sums in sites]) for key in SiteSums._fields[1:3]
                ]
                if enters:
                    proxies += [torch.cat([getattr(sums, key) for sums in enters]) for key in SiteSums._fields[3:]]
                added += [proxy.node for proxy in proxies]
                added += [fx.Proxy(sums.call, tracer).numel().node for site, sums in sites if site.values is None]
                self.groups.append(Group(device, [site for site, _ in sites]))
        if added:
            output.args = ((*results_of(graph), *added),)


def results_of(graph: fx.GraphModule) -> Any:
    """The nodes of what a graph gives."""
    return next(iter(reversed(graph.graph.nodes))).args[0]


def _calls_in(graph: fx.GraphModule) -> Iterator[fx.Node]:
    for part in graph.modules():
        if isinstance(part, fx.GraphModule):
            yield from (node for node in part.graph.nodes if node.op in {"call_function", "call_method"})


def _batch(graph: fx.GraphModule) -> int | None:
    """The place of the first tensor among a graph's inputs that is no parameter or buffer of a module."""
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    for i, node in enumerate(inputs):
        value, source = node.meta.get("example_value"), source_of(node)
        inside = any(word in source for word in ("_parameters[", "_buffers[", "_modules["))
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and value.ndim and not inside:
            return i
    return None

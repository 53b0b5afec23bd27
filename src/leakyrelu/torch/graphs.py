"""Adds what is counted of activations to a graph of `torch.compile`, as further outputs.

dynamo hands a backend the graph of the functions that a model calls, before anything is fused. The units' axes are
followed through it as through a pass, and each activation gets a few sums beside it.
"""

import math
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

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
from leakyrelu.torch.axes import Axes, traced
from leakyrelu.torch.operations import ACTIVATION_MODULES, Activation, activation_inside, activation_of, plain_name
from leakyrelu.units.layout import Part, Units, guessed, refined

__all__ = ["Group", "Owner", "Place", "Site", "add_counts", "results_of"]

# Calls of a sub-graph that runs once, as it stands there: what is counted in it can come out with its results.
_TRANSPARENT = {"tag_activation_checkpoint", "wrap", "wrap_with_set_grad_enabled"}
_ABOVE_ZERO = {"relu", "relu6", "leaky_relu", "hardtanh", "clamp", "clamp_min", "clip"}


class Place(NamedTuple):
    """The module that calls an activation, and which call of it that is."""

    path: str
    operation: str  # "" if the module is the activation
    call: int = 1

    def name(self, activation: Activation) -> str:
        """The name of the site."""
        name = f"{self.path}.{self.operation}".strip(".") or activation.operation
        return name if self.call == 1 else f"{name}:{self.call}"


class Site(NamedTuple):
    """A call of an activation in a graph."""

    order: int  # among the calls in the graph
    place: Place
    activation: Activation
    units: int
    values: int | None  # per unit; None: the graph gives the number of all values, as it depends on the inputs
    has_examples: bool
    enters: bool  # whether what enters is counted, too


class Group(NamedTuple):
    """Sites on one device, whose sums a graph gives together."""

    device: torch.device
    sites: list[Site]

    @property
    def entering(self) -> list[Site]:
        """The sites of which is counted what enters, too."""
        return [site for site in self.sites if site.enters]

    @property
    def outputs(self) -> int:
        """How many outputs the group has."""
        return 2 + 2 * bool(self.entering) + sum(site.values is None for site in self.sites)


class Owner(NamedTuple):
    """The module whose code a graph is."""

    module: nn.Module | None  # None if it is the code of no module of the model
    paths: Mapping[nn.Module, str]  # of all modules in the model


class Counted(NamedTuple):
    """What was added to a graph."""

    groups: list[Group]
    batch: int | None  # the place of the batch among the inputs
    is_argument: bool  # whether the batch is what the module is called with, for all that is known
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
    batch, is_argument = _batch(graph, owner.module)
    if batch is not None:
        inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
        editor.examples = hint_of(inputs[batch].meta["example_value"].shape[0])
    editor.follow(graph, None)
    return Counted(editor.groups, batch, is_argument, editor.examples or 1, editor.ran)


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
        self._order = count()

    def follow(self, graph: fx.GraphModule, inputs: Iterable[Any] | None) -> tuple[Any, list[fx.Node]]:
        """Follow the units through a graph, and add its sums; the values that it gives, and the nodes of the sums."""
        given = None if inputs is None else iter(inputs)
        values: dict[fx.Node, Any] = {}
        added: list[fx.Node] = []
        tracer = GraphAppendingTracer(graph.graph)
        found: dict[torch.device, list[tuple[Site, _Sums]]] = defaultdict(list)
        result: Any = None
        for node in list(graph.graph.nodes):
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            if node.op == "output":
                (result,) = args
                self._finish(tracer, graph, node, found, added)
            elif node.op == "placeholder":
                values[node] = _stand_in(node.meta.get("example_value")) if given is None else next(given)
            elif node.op == "get_attr":
                values[node] = operator.attrgetter(node.target)(graph)
            elif is_sub_graph_call(node.target):
                values[node] = self._sub_graph(graph, node, args, added)
            elif node.target is operator.getitem and isinstance(args[0], tuple | list):
                values[node] = args[0][args[1]]
            else:
                values[node] = _stand_in(node.meta.get("example_value"))
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
        found: dict[torch.device, list[tuple[Site, "_Sums"]]],
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
                self._note(f"{name} computes its {inside} inside; its units are not seen")
            return
        place = self._place(node, activation.operation)
        if not is_fake(value) or value.is_nested or value.layout != torch.strided:
            self._note(f"{activation.operation} is called with {type(value).__name__} objects; its units are not seen")
        elif place is not None and value.numel() and value.is_floating_point() and isinstance(output, Tensor):
            enters = self._exact or not _output_tells(activation, args, kwargs)
            site, sums = _count(tracer, node, value, self._units(value), activation, place, enters)
            site = site._replace(order=next(self._order))
            found[node.meta["example_value"].device].append((site, sums))
        self._axes.carry(value, output)

    def _units(self, value: Tensor) -> Units:
        """Where the units are: as the layers before tell; otherwise as the shape suggests."""
        units = self._axes.of(value)
        if units is None:
            units = guessed(value.shape, self.examples)
            self._axes.remember(value, units)
        return units

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
        bodies = [arg for arg in tree_leaves(args) if isinstance(arg, fx.GraphModule)]
        kind, first = plain_name(node.target), node.args[0] if node.args else None
        runs_one = len(bodies) == 1 and args[0] is bodies[0] and isinstance(results_of(bodies[0]), tuple | list)
        if kind not in _TRANSPARENT or not runs_one or not isinstance(first, fx.Node):
            for inner in (inner for body in bodies for inner in _calls_in(body)):
                modules = [*self._modules(inner), *filter(None, [self._owner.module])]
                self.ran.update(modules)
                if modules and activation_of(inner.target, inner.args, inner.kwargs):
                    path = self._owner.paths[modules[0]] or "the model itself"
                    self._note(f"{path} calls {plain_name(inner.target)} within {kind}; its units are not seen")
            return _stand_in(node.meta.get("example_value"))
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
        found: dict[torch.device, list[tuple[Site, "_Sums"]]],
        added: list[fx.Node],
    ) -> None:
        """Put what was counted on each device together, and add it to the outputs of a graph."""
        with output.graph.inserting_before(output):
            for device, sites in found.items():
                enters = [sums for site, sums in sites if site.enters]
                proxies: list[Any] = [
                    torch.cat([getattr(sums, key) for _, sums in sites]) for key in _Sums._fields[1:3]
                ]
                if enters:
                    proxies += [torch.cat([getattr(sums, key) for sums in enters]) for key in _Sums._fields[3:]]
                added += [proxy.node for proxy in proxies]
                added += [fx.Proxy(sums.call, tracer).numel().node for site, sums in sites if site.values is None]
                self.groups.append(Group(device, [site for site, _ in sites]))
        if added:
            output.args = ((*results_of(graph), *added),)


class _Sums(NamedTuple):
    """What is counted of one site: proxies of tensors with one entry per unit."""

    call: fx.Node
    fired: Any
    magnitude: Any
    below: Any = None
    maximum: Any = None


def _count(
    tracer: GraphAppendingTracer,
    node: fx.Node,
    value: Tensor,
    units: Units,
    activation: Activation,
    place: Place,
    enters: bool,
) -> tuple[Site, _Sums]:
    """Count a call of an activation."""
    if all(part.length is None for part in units):
        lengths, axes, pieces = list(value.shape), [part.axis for part in units], []
    else:
        lengths, axes = refined(units, value.shape)
        pieces = _pieces(units, value.shape)
    total_units = math.prod(lengths[axis] for axis in axes)
    rest = tuple(axis for axis in range(len(lengths)) if axis not in axes)
    order = [sorted(axes).index(axis) for axis in axes]
    exact = torch.float64 if value.dtype == torch.float64 else torch.float32
    threshold = activation.threshold

    def spread(proxy: Any) -> Any:
        """The values, with axes of their own for units."""
        values = proxy.detach()
        for axis, parts in pieces:
            values = values.unflatten(axis, parts)
        return values

    def per_unit(proxy: Any) -> Any:
        return (proxy.permute(order) if order != sorted(order) else proxy).reshape(total_units)

    def total(proxy: Any, dtype: torch.dtype | None = None) -> Any:
        return per_unit(proxy.sum(rest, dtype=dtype) if rest else proxy.to(dtype or torch.int64))

    entering: Any = node.args[0] if node.args else node.kwargs.get("input", node.kwargs.get("self"))
    below = maximum = None
    if enters:
        with node.graph.inserting_before(node):  # it may work in place
            values = spread(fx.Proxy(entering, tracer))
            fired = total(values > threshold)
            below = per_unit(values.amin(rest) if rest else values) < threshold
            maximum = per_unit(values.amax(rest) if rest else values).to(exact)
    with node.graph.inserting_before(node.next):
        left = spread(fx.Proxy(node, tracer))
        if not enters:
            fired = total(left > threshold)
        magnitude = total(left.abs() if enters else left, exact)
    static = _has_plain_sizes(node.meta["example_value"])
    per = None if not static else value.numel() // total_units if total_units else 0
    site = Site(0, place, activation, total_units, per, bool(value.ndim) and units != (Part(0),), enters)
    return site, _Sums(node, fired, magnitude, below, maximum)


def _pieces(units: Units, shape: Sequence[int]) -> list[tuple[int, list[int]]]:
    """The axes that are split, the last one first, and the lengths of their parts; -1 for the first one."""
    found = []
    for axis in range(len(shape) - 1, -1, -1):
        here = tuple(part._replace(axis=0) for part in units if part.axis == axis)
        if here:
            lengths, _ = refined(here, (shape[axis],))
            found.append((axis, [-1, *lengths[1:]]))
    return found


def _output_tells(activation: Activation, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the output is above zero just where what enters is."""
    if not activation.flat or activation.operation not in _ABOVE_ZERO:
        return False
    limit = kwargs.get("max", kwargs.get("max_val"))
    return not any(isinstance(each, Tensor) for each in (*args[1:], limit))


def _has_plain_sizes(value: Tensor) -> bool:
    return all(isinstance(size, int) for size in (*value.shape, *value.stride(), value.storage_offset()))


def _stand_in(value: Any) -> Any:
    """The same with plain numbers for sizes that depend on the inputs: those that the graph was made with."""
    if isinstance(value, tuple | list):
        return type(value)(*map(_stand_in, value)) if hasattr(value, "_fields") else type(value)(map(_stand_in, value))
    if isinstance(value, torch.SymInt):
        return hint_of(value)
    if not isinstance(value, Tensor) or value.is_nested or value.layout != torch.strided or _has_plain_sizes(value):
        return value
    shape = [hint_of(length) for length in value.shape]
    strides = [hint_of(stride) for stride in value.stride()]
    offset = hint_of(value.storage_offset())
    reach = 1 + offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True) if length)
    memory = torch.empty(reach, dtype=value.dtype, device="meta")
    return memory.as_strided(shape, strides, offset)


def results_of(graph: fx.GraphModule) -> Any:
    """The nodes of what a graph gives."""
    return next(iter(reversed(graph.graph.nodes))).args[0]


def _calls_in(graph: fx.GraphModule) -> Iterator[fx.Node]:
    for part in graph.modules():
        if isinstance(part, fx.GraphModule):
            yield from (node for node in part.graph.nodes if node.op in {"call_function", "call_method"})


def _batch(graph: fx.GraphModule, module: nn.Module | None) -> tuple[int | None, bool]:
    """The place among a graph's inputs of the first tensor that its module is called with, and whether it is that."""
    code = getattr(getattr(type(module), "forward", None), "__code__", None)
    names = list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]) if code is not None else []
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    found = []
    for i, node in enumerate(inputs):
        value, source = node.meta.get("example_value"), source_of(node)
        inside = any(word in source for word in ("_parameters[", "_buffers[", "_modules["))
        if isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and value.ndim and not inside:
            name = source.partition("['")[2].partition("']")[0]
            found.append((names.index(name) if name in names else len(names), i))
    first, place = min(found, default=(len(names), None))
    return place, first < len(names)

"""Finds which weights make a unit and which take its output; only what the traced graph proves is returned."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils import parametrize

from leakyrelu._backends.torch_private import tree_leaves, tree_map_only
from leakyrelu._shared.wording import first_line
from leakyrelu.torch.capture import paths
from leakyrelu.torch.operations import ACTIVATION_MODULES, SiteNames, activation_of, plain_name
from leakyrelu.torch.running import attributes_kept

__all__ = ["BATCH_NORMS", "CHANNEL_NORMS", "TRANSPOSED", "Consumer", "Unproven", "Wiring", "wirings"]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS = (nn.Linear, *CONVOLUTIONS, *TRANSPOSED)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
CHANNEL_NORMS = (*BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
NORMS = (*CHANNEL_NORMS, nn.GroupNorm, nn.LayerNorm)
TRANSFORMER_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)

# Names of functions and methods, or of modules in small letters. These neither mix units nor change zeros:
_ELEMENTWISE = {
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alphadropout", "featurealphadropout", "feature_dropout"),
    *("relu", "relu6", "leaky_relu", "leakyrelu"),
    *("identity", "contiguous", "clone", "detach", "to", "float", "double", "half", "bfloat16"),
}
_WITHIN_CHANNELS = re.compile(r"pool\dd|upsampl|interpolate")
_MOVING = {
    *("flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze", "getitem", "pixel_shuffle", "pixelshuffle"),
    *("permute", "transpose", "movedim", "moveaxis", "swapaxes", "swapdims"),
}
_JOINING = {"cat", "concat", "concatenate", "stack"}
_REDUCING = {"mean", "sum", "amax"}
_ASKING = {  # for something else than the values
    *("size", "dim", "numel", "ndimension", "shape", "ndim", "dtype", "device"),
    *("new_zeros", "new_ones", "zeros_like", "ones_like"),
}
_IN_BETWEEN = {"dropout", "identity"}


class Unproven(Exception):  # noqa: N818  # not an error: such units are left alone
    """The reason why it is not certain what makes a unit or where it goes."""


@dataclass(frozen=True)
class Consumer:
    """A module with a weight for each unit."""

    module: nn.Module
    owner: Tensor  # the unit that each feature or channel of the module's input comes from

    def features(self, unit: int) -> Tensor:
        """The features or channels of the module's input that come from the unit."""
        return torch.nonzero(self.owner == unit).flatten()

    def weights(self, unit: int) -> Iterator[tuple[Tensor, Any]]:
        """The weights that multiply the unit's output, as pairs of parameter and index."""
        module: Any = self.module
        features = self.features(unit)
        if isinstance(module, CONVOLUTIONS):
            per_group, outputs = module.in_channels // module.groups, module.out_channels // module.groups
            for feature in features.tolist():
                group, within = divmod(feature, per_group)
                yield module.weight, (slice(group * outputs, (group + 1) * outputs), within)
        else:
            yield module.weight, features if isinstance(module, TRANSPOSED) else (slice(None), features)


@dataclass(frozen=True)
class Wiring:
    """What makes the units of one activation, which axis they are on, and all modules that take their output."""

    layer: nn.Module | None  # None: a norm makes them, and what enters it is not from a layer of their own
    norm: nn.Module | None  # between layer and activation
    axis: int
    consumers: tuple[Consumer, ...]

    def incoming(self, unit: int) -> tuple[Tensor, Any]:
        """The layer's weight, and the index of its part that makes the unit."""
        layer: Any = self.layer
        if not isinstance(layer, TRANSPOSED):
            return layer.weight, unit
        inputs, outputs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        group, within = divmod(unit, outputs)
        return layer.weight, (slice(group * inputs, (group + 1) * inputs), within)


def wirings(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Wiring | Unproven]:
    """The wiring of each activation that the model calls with these arguments, by the name of its site.

    Raises
    ------
    Unproven
        The model cannot be traced.
    """
    tracer = _Tracer(args, kwargs)
    try:
        with attributes_kept(model):
            graph = tracer.trace(model)
        record = _Record(fx.GraphModule(model, graph))
        torch.manual_seed(0)
        traced = record.run(*map(torch.clone, tracer.inputs))  # clones, as they may be changed in place
    except Exception as error:  # a model's code that is called without data may raise anything
        name = type(model).__name__
        raise Unproven(f"{name} cannot be traced by torch.fx ({type(error).__name__}: {first_line(error)})") from error
    torch.manual_seed(0)
    lengths_are_right = all(record.shapes[node][0] == length for node, length in tracer.lengths.items())
    if not lengths_are_right or not _alike(traced, model(*args, **kwargs)):
        raise Unproven(f"{type(model).__name__} as traced by torch.fx computes something else")
    wirer = _Wirer(model, graph, record)
    names, known = SiteNames(), paths(model)
    sites = {node: _site_name(node, model, known, names) for node in graph.nodes}
    found = {name: _or_reason(wirer.wiring, node) for node, name in sites.items() if name}
    for path, module in model.named_modules():
        if type(module) in TRANSFORMER_LAYERS:
            activation: Any = module.activation
            name = "activation" if isinstance(activation, nn.Module) else plain_name(activation)
            found[f"{known[module]}.{name}"] = _or_reason(wirer.transformer_wiring, path, module)
    return found


def _or_reason(wiring: Callable[..., Wiring], *args: Any) -> Wiring | Unproven:
    try:
        return wiring(*args)
    except Unproven as reason:
        return reason


class _Tracer(fx.Tracer):
    """Traces one call of a model: its tensors become the graph's inputs, all else in its arguments stays as it is."""

    proxy_buffer_attributes = True  # the graph must show where buffers are read

    def __init__(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        super().__init__()
        self._arguments = tuple(args), dict(kwargs)
        self.inputs: list[Tensor] = []
        self.lengths: dict[fx.Node, int] = {}

    def create_args_for_root(self, root_fn: Any, *_: Any) -> tuple[Any, list[Any]]:
        args, kwargs = tree_map_only(Tensor, self._input, self._arguments)
        return lambda model: root_fn(model, *args, **kwargs), [self.root]

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def _input(self, value: Tensor) -> fx.Proxy:
        self.inputs.append(value)
        return self.create_proxy("placeholder", f"input_{len(self.inputs)}", (), {})


class _Proxy(fx.Proxy):
    """Has a length. As that must be an integer, it is the length of the batch; `wirings` checks if it was right."""

    def __len__(self) -> int:
        tracer: Any = self.tracer
        return int(tracer.lengths.setdefault(self.node, len(tracer.inputs[0])))


class _Record(fx.Interpreter):
    """Runs the graph once; keeps the shapes of the results that are tensors, and the other results themselves."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[fx.Node, torch.Size] = {}
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n] = result.shape
        else:
            self.values[n] = result
        return result


def _alike(one: object, other: object) -> bool:
    ones, others = ([leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)] for tree in (one, other))
    return [leaf.shape for leaf in ones] == [leaf.shape for leaf in others] and all(
        torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(b[b.isfinite()].abs().amax()) if b.isfinite().any() else 0)
        for a, b in ((a.nan_to_num().double(), b.nan_to_num().double()) for a, b in zip(ones, others, strict=True))
    )


def _site_name(node: fx.Node, model: nn.Module, known: Mapping[nn.Module, str], names: SiteNames) -> str | None:
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        return names.name(known[module], module, "") if isinstance(module, ACTIVATION_MODULES) else None
    if node.op not in ("call_function", "call_method"):
        return None
    activation = activation_of(node.target, node.args, node.kwargs)
    if activation is None:
        return None
    stack = list(node.meta.get("nn_module_stack", {}).values())
    module = model.get_submodule(stack[-1][0] if stack else "")
    return names.name(known[module], module, activation.operation)


class _Wirer:
    """Follows an activation's units through the graph, back to what makes them and on to their consumers."""

    def __init__(self, model: nn.Module, graph: fx.Graph, record: _Record) -> None:
        self._model = model
        self._record = record
        self._calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
        self._read = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
        self._paths = {module: path for path, module in model.named_modules()}
        every = (module.named_parameters(recurse=False, remove_duplicate=False) for module in self._paths)
        self._owners = Counter(id(parameter) for parameters in every for _, parameter in parameters)

    def wiring(self, node: fx.Node) -> Wiring:
        layer, norm, axis = self._made_by(node)
        shape = self._record.shapes[node]
        owner = torch.arange(shape[axis], dtype=torch.int32)
        owner = owner.reshape([-1 if i == axis else 1 for i in range(1, len(shape))]).expand(shape[1:])
        consumers = tuple(self._consumers(node, owner))
        if not consumers:
            raise Unproven("its output is not used")
        return Wiring(layer, norm, axis, consumers)

    def transformer_wiring(self, path: str, module: Any) -> Wiring:
        """The wiring of the two linear layers in one of PyTorch's own transformer layers, which cannot be traced."""
        if sum(calls for target, calls in self._calls.items() if f"{path}.".startswith(f"{target}.")) != 1:
            raise Unproven(f"{path} is not called once")
        for layer in (module.linear1, module.linear2):
            self._own(layer)
            if self._calls[self._paths[layer]]:
                raise Unproven(f"{self._paths[layer]} is called elsewhere, too")
        return Wiring(module.linear1, None, 2, (Consumer(module.linear2, torch.arange(module.linear1.out_features)),))

    def _module(self, node: fx.Node) -> nn.Module | None:
        return self._model.get_submodule(str(node.target)) if node.op == "call_module" else None

    def _own(self, module: nn.Module) -> None:
        """Raise `Unproven` unless the module's weights serve one call of it and nothing else."""
        path = self._paths[module]
        if self._calls[path] > 1:
            raise Unproven(f"{path} is called several times")
        if any(name.startswith(f"{path}.") for name in self._read):
            raise Unproven(f"what {path} holds is read elsewhere, too")
        if parametrize.is_parametrized(module):
            raise Unproven(f"the weight of {path} is computed by a parametrization")
        parameters = dict(module.named_parameters(recurse=False))
        for name in ("weight", "bias"):
            parameter = parameters.get(name)
            if parameter is None:
                if getattr(module, name, None) is not None:
                    raise Unproven(f"the {name} of {path} is computed, not a parameter")
            elif self._owners[id(parameter)] > 1:
                raise Unproven(f"the {name} of {path} is shared")
            elif not parameter.requires_grad:
                raise Unproven(f"the {name} of {path} is frozen (requires_grad is False)")

    def _made_by(self, activation: fx.Node) -> tuple[nn.Module | None, nn.Module | None, int]:
        """The layer and the norm that make what enters the activation, and the axis of the units."""
        node = self._source(activation)
        norm = self._module(node)
        if not isinstance(norm, NORMS):
            return self._layer(node)
        self._own(norm)
        axis = len(self._record.shapes[node]) - 1 if isinstance(norm, nn.LayerNorm) else 1
        of_units = not isinstance(norm, nn.LayerNorm) or len(norm.normalized_shape) == 1
        if norm.weight is None or norm.bias is None or not of_units:
            raise Unproven(f"the norm before it, {node.target}, has no scale and shift for each unit")
        self._check_batch(node, node)
        try:
            layer, _, layer_axis = self._layer(self._source(node))
        except Unproven:
            return None, norm, axis
        return layer if layer_axis == axis else None, norm, axis

    def _source(self, node: fx.Node) -> fx.Node:
        """The node that a node's input comes from; `Unproven` if its output goes elsewhere, too."""
        while True:
            source = node.args[0] if node.args else node.kwargs.get("input")
            if not isinstance(source, fx.Node):
                raise Unproven("its input could not be followed")
            if sum(not _asks(user) for user in source.users) > 1:
                raise Unproven(f"what enters it ({source.name}) is used elsewhere, too")
            node = source
            if _name(node, self._module(node)) not in _IN_BETWEEN:
                return node

    def _layer(self, node: fx.Node) -> tuple[nn.Module, None, int]:
        module = self._module(node)
        if not isinstance(module, LAYERS):
            raise Unproven(f"what enters it comes from {_describe(node)}, not from a layer alone")
        self._own(module)
        self._check_batch(node, node)
        return module, None, len(self._record.shapes[node]) - 1 if isinstance(module, nn.Linear) else 1

    def _check_batch(self, node: fx.Node, user: fx.Node) -> None:
        """Raise `Unproven` if there is no axis of examples: modules would take the next axis for it."""
        axes = len(self._record.shapes[node])
        module = self._module(user)
        spatial = None if isinstance(module, BATCH_NORMS) else re.search(r"(\d)d", _name(user, module))
        if axes < 2 or (spatial and axes != int(spatial[1]) + 2):
            raise Unproven(f"{_describe(user)} is called without a batch")

    def _consumers(self, node: fx.Node, owner: Tensor) -> Iterator[Consumer]:
        """Where the values of `node` go; `owner` says which unit each value of an example comes from."""
        for user in node.users:
            if _asks(user):
                continue
            if user.op == "output":
                raise Unproven("its output is an output of the model")
            module = self._module(user)
            tensors = [value for value in user.all_input_nodes if value in self._record.shapes]
            if tensors != [node] and _name(user, module) not in _JOINING:
                raise Unproven(f"its output meets another in {_describe(user)}")
            if isinstance(module, (*LAYERS, *BATCH_NORMS)):
                yield self._consumer(module, node, user, owner)
            else:
                yield from self._consumers(user, self._passed_on(user, node, owner))

    def _consumer(self, module: Any, node: fx.Node, user: fx.Node, owner: Tensor) -> Consumer:
        self._own(module)
        self._check_batch(node, user)
        if isinstance(module, BATCH_NORMS) and (module.bias is None or module.running_mean is None):
            raise Unproven(f"{user.target}, which its output goes to, has no shift or statistics of its own")
        return Consumer(module, _along(owner, -1 if isinstance(module, nn.Linear) else 0, user))

    def _passed_on(self, user: fx.Node, node: fx.Node, owner: Tensor) -> Tensor:
        """The owners of the values that `user`, which has no weights, makes of those of `node`."""
        name = _name(user, self._module(user))
        if name in _ELEMENTWISE:
            return owner
        if _WITHIN_CHANNELS.search(name) and user in self._record.shapes:
            self._check_batch(node, user)
            shape = self._record.shapes[user][1:]
            return _along(owner, 0, user).reshape([-1] + [1] * (len(shape) - 1)).expand(shape)
        if name in _MOVING | _JOINING:
            return self._call(user, node, owner)
        if name in _REDUCING:
            least, most = (self._call(user, node, owner, reduce) for reduce in (torch.amin, torch.amax))
            if torch.equal(least, most):
                return most
        raise Unproven(f"its output goes to {_describe(user)}, where units may mix")

    def _call(self, user: fx.Node, node: fx.Node, owner: Tensor, function: Any = None) -> Tensor:
        """What `user`, or `function` in its place, makes of the owners, as if they were the values of `node`."""
        shapes = self._record.shapes
        others = {value: torch.tensor(-1, dtype=torch.int32).expand(shapes[value]) for value in shapes}
        batch = owner.expand(shapes[node][0], *owner.shape).contiguous()
        args, kwargs = fx.map_arg((user.args, user.kwargs), {**self._record.values, **others, node: batch}.__getitem__)
        target: Any = function or self._module(user) or user.target
        try:
            result = getattr(batch, target)(*args[1:], **kwargs) if isinstance(target, str) else target(*args, **kwargs)
        except (TypeError, RuntimeError, IndexError) as error:
            raise Unproven(f"its output goes to {_describe(user)}, which could not be followed") from error
        if not isinstance(result, Tensor) or result.ndim < 2 or not len(result) or not (result == result[:1]).all():
            raise Unproven(f"its output goes to {_describe(user)}, which mixes examples")
        return result[0]


def _asks(node: fx.Node) -> bool:
    """Whether a node asks for the shape and the like, not for the values."""
    return (node.args[1] if node.target is getattr else _name(node, None)) in _ASKING


def _name(node: fx.Node, module: nn.Module | None) -> str:
    return type(module).__name__.lower() if module is not None else plain_name(node.target)


def _describe(node: fx.Node) -> str:
    if node.op == "placeholder":
        return "the model's input"
    return str(node.target) if node.op in ("call_module", "call_method") else plain_name(node.target) or node.name


def _along(owner: Tensor, axis: int, user: fx.Node) -> Tensor:
    """The owners along one axis; `Unproven` if they differ along others, too."""
    rows = owner.movedim(axis, 0).flatten(1) if owner.ndim > 1 else owner.unsqueeze(1)
    if not (rows == rows[:, :1]).all():
        raise Unproven(f"its output goes to {_describe(user)}, where units lie on another axis")
    return rows[:, 0]

"""Puts Leaky ReLU in place of every ReLU of a model, whether it is a module or a function that a forward calls.

A module is replaced by a module, and so is a function held as an attribute; a forward that calls one is rewritten.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from leakyrelu._backends.torch_private import is_compiled
from leakyrelu._shared.arguments import one_slope
from leakyrelu._shared.wording import listed
from leakyrelu.torch.activation import LeakyReLU
from leakyrelu.torch.operations import SiteNames, activation_of
from leakyrelu.torch.rewriting import activations_named, is_in_place, rewrite, traced

__all__ = ["Replacement", "replace_relu"]


@dataclass(frozen=True, eq=False)
class Replacement:
    """What `replace_relu` did; ``print`` shows it in a few lines.

    Attributes
    ----------
    model : torch.nn.Module
        The model to use from now on. It is the one given, unless that was itself an `nn.ReLU`.
    replaced : tuple of str
        The names of the sites that compute Leaky ReLU now.
    skipped : Mapping of str to str
        The names of the sites that were left as they were, and the reason for each.
    """

    model: nn.Module
    replaced: tuple[str, ...]
    skipped: Mapping[str, str]

    def __str__(self) -> str:
        if not self.replaced and not self.skipped:
            return "no ReLU found, nothing replaced"
        shown = f" ({listed(self.replaced, 8)})" if self.replaced else ""
        lines = [f"replaced by Leaky ReLU: {len(self.replaced)}{shown}"]
        for reason in dict.fromkeys(self.skipped.values()):
            names = [name for name, other in self.skipped.items() if other == reason]
            lines.append(f"skipped: {listed(names, 8)}: {reason}")
        return "\n".join(lines)


def replace_relu(model: nn.Module, negative_slope: float = 0.01, *, only: Iterable[str] | None = None) -> Replacement:
    """Replace every ReLU of a model by Leaky ReLU; the model itself is changed.

    What is replaced: `nn.ReLU` modules, attributes that hold the function (such as ``activation`` of the transformer
    layers), and calls of ``F.relu``, ``torch.relu`` or ``x.relu()`` in a forward that `torch.fx` can trace. Parameters,
    buffers, hooks and modes stay as they are, and a ReLU that works in place becomes a Leaky ReLU that does.

    Parameters
    ----------
    model : torch.nn.Module
        Any model. Replace first, and script or compile the model afterwards: parts that are scripted or compiled
        already are skipped.
    negative_slope : float, default 0.01
        The slope for negative inputs.
    only : iterable of str, optional
        The names of the sites to replace, as `diagnose` gives them; by default all are replaced. ``"act"`` stands for
        all calls of the module ``act``; its second call (``"act:2"``) cannot be replaced alone.

    Returns
    -------
    Replacement
        The model, the names of the sites that were replaced, and the names of those that were not, with the reasons.

    Raises
    ------
    TypeError
        `model` is not a module, `negative_slope` is not a single real number, or `only` is a single string.
    ValueError
        `negative_slope` is not finite, or `only` has a name that the model does not have.

    See Also
    --------
    diagnose : finds the units that are dead; it names sites in the same way.
    revive : makes dead units of ReLU fire again.

    Notes
    -----
    A forward that calls the function is replaced by its trace, which does the same at every call. So a forward is
    skipped if it depends on ``self.training``, on the data or on an argument being None, makes tensors, sets
    attributes, has a ``with`` or ``try`` block, or has no source that can be read. Where it reads numbers from
    attributes, the trace keeps their present values. An `nn.ReLU` needs no trace, and is replaced unless it has a
    forward of its own.

    Other activations that are flat below zero are listed as skipped: ReLU6, Hardtanh from zero, thresholds, and clamps
    at zero.

    Examples
    --------
    >>> from torch import nn
    >>> from leakyrelu.torch import replace_relu
    >>> replacement = replace_relu(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), 0.1)
    >>> print(replacement)
    replaced by Leaky ReLU: 1 (1)
    >>> replacement.model[1]
    LeakyReLU(negative_slope=0.1)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {model!r}")
    slope = one_slope(negative_slope, "negative_slope")
    if isinstance(only, str):
        raise TypeError(f"only must be a list of names, got a string; write only=[{only!r}]")
    top = nn.ModuleList([model])  # so that the model has a parent, too
    modules, sites = _visible(model)
    names = SiteNames()
    parents = (top, *modules.values())
    for path, module in modules.items():
        sites |= _sites(path, module, partial(names.name, path, module), slope, parents)
    if only is not None:
        sites = _chosen(sites, list(only))
    for replace in sites.values():
        if not isinstance(replace, str):
            replace()
    _leave_fast_paths(modules.values())
    skipped = {name: reason for name, reason in sites.items() if isinstance(reason, str)}
    return Replacement(top[0], tuple(name for name in sites if name not in skipped), skipped)


_Sites = dict[str, str | Callable[[], None]]  # for each name, how to replace the site, or why not

_RELU = (functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


def _is_relu(value: Any) -> bool:
    return inspect.isroutine(value) and value in _RELU


def _visible(model: nn.Module) -> tuple[dict[str, nn.Module], _Sites]:
    """The modules by path; and, as skipped, those that are scripted or compiled, with all that is in them."""
    modules: dict[str, nn.Module] = {}
    opaque: _Sites = {}
    inside: tuple[str, ...] = ()
    for path, module in model.named_modules():
        if path.startswith(inside):
            continue
        if isinstance(module, torch.jit.ScriptModule):
            opaque[path or "model"] = "scripted; replace before torch.jit.script"
        elif is_compiled(module):
            opaque[path or "model"] = "compiled; replace before torch.compile"
        else:
            modules[path] = module
            continue
        inside += (f"{path}." if path else "",)
    return modules, opaque


def _sites(
    path: str, module: nn.Module, name: Callable[[str], str], slope: float, parents: tuple[nn.Module, ...]
) -> _Sites:
    """The ReLUs, and other flat activations, that this module itself computes."""
    if isinstance(module, nn.ReLU):
        own = type(module).forward is not nn.ReLU.forward or "forward" in vars(module)
        return {name("relu"): "its forward is not that of nn.ReLU" if own else partial(_swap, module, slope, parents)}
    if isinstance(module, nn.Hardtanh | nn.Threshold):
        kind = "threshold" if isinstance(module, nn.Threshold) else "relu6" if module.max_val == 6 else "hardtanh"
        return {} if getattr(module, "min_val", 0) else {name(kind): _OTHERS[kind]}
    if isinstance(module, nn.RNN | nn.RNNCell) and module.nonlinearity == "relu":
        return {path or "model": "fused: its ReLU is part of the recurrent kernel"}
    held = {key: is_in_place(value) for key, value in vars(module).items() if _is_relu(value)}
    graph = module.graph if isinstance(module, fx.GraphModule) else traced(module)
    if isinstance(graph, fx.Graph):  # it also shows the calls of functions that are held as attributes
        calls = [(node, _operation(node)) for node in graph.nodes]
        return {
            name(operation): partial(rewrite, module, graph, node, slope) if operation == "relu" else _OTHERS[operation]
            for node, operation in calls
            if operation == "relu" or operation in _OTHERS
        }
    sites: _Sites = {name("relu"): partial(setattr, module, key, LeakyReLU(slope, held[key])) for key in held}
    sites |= {} if graph is None else {name("relu"): graph}
    return sites | {name(each): _OTHERS[each] for each in activations_named(module) if each in _OTHERS}


_BOUNDED = "is bounded above, too, which Leaky ReLU is not"
_CLAMP = "a clamp at zero, which may be meant as a bound; write nn.ReLU where it is an activation"
_OTHERS = {  # other activations that are flat below zero, and why they are left alone
    "relu6": f"ReLU6 {_BOUNDED}",
    "hardtanh": f"Hardtanh {_BOUNDED}",
    "threshold": "a threshold has a place and a value of its own, which Leaky ReLU does not have",
    **dict.fromkeys(("clamp", "clamp_min", "clip"), _CLAMP),
}


def _operation(node: Any) -> str:
    """The flat activation that a node of a graph calls; empty if it calls none."""
    if node.op not in ("call_function", "call_method"):
        return ""
    activation = activation_of(node.target, *fx.map_arg((node.args, node.kwargs), lambda _: math.nan))
    return activation.operation if activation and activation.flat else ""


def _chosen(sites: _Sites, only: list[str]) -> _Sites:
    """The sites with these names; a later call (``"act:2"``) belongs to the first one."""
    chosen: _Sites = {}
    for name in only:
        first, _, number = name.rpartition(":")
        if name in sites or (number.isdecimal() and isinstance(sites.get(first), str)):
            chosen[name] = sites.get(name, sites.get(first, ""))
        elif not number.isdecimal() or first not in sites:
            known = ", ".join(sites) or "none"
            raise ValueError(f"no ReLU is named {name!r}; the names are: {known}")
        elif first not in only:
            chosen[name] = f"a later call cannot be replaced alone; {first!r} stands for all of them"
    return chosen


def _swap(relu: nn.ReLU, slope: float, parents: tuple[nn.Module, ...]) -> None:
    """Put a Leaky ReLU in place of the module, under all its names."""
    leaky = LeakyReLU(slope)
    vars(leaky).update(vars(relu))  # whether it works in place, its mode and its hooks
    for parent in parents:
        children = vars(parent)["_modules"]
        children.update({key: leaky for key, child in children.items() if child is relu})


def _leave_fast_paths(modules: Iterable[nn.Module]) -> None:
    """Turn off the fused kernels of transformers, which compute ReLU if a flag says so, whatever the activation is."""
    for module in modules:
        layers = module.layers if isinstance(module, nn.TransformerEncoder) else [module]
        if not any(isinstance(getattr(layer, "activation", None), LeakyReLU) for layer in layers):
            continue
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # only the fused layers take nested tensors
        elif isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        elif isinstance(module, nn.TransformerDecoderLayer):
            vars(module)["activation"] = module.activation  # its __setstate__ would set F.relu if this were missing

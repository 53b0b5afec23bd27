"""Takes rows and columns out of a model's weights, and everything that depends on their sizes along."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from leakyrelu._shared.wording import listed
from leakyrelu.torch.changes import Changes
from leakyrelu.torch.removal.attributes import changed_sizes, local_name, outputs_of
from leakyrelu.torch.removal.cutting import cut, like, refuse_misfit
from leakyrelu.torch.removal.optimizers import Grown, Shrunk, follow
from leakyrelu.torch.removal.plan import Kept, Plan, tensors_of

__all__ = ["shrink"]


def shrink(
    model: nn.Module,
    plan: Plan,
    *,
    additions: Mapping[str, Tensor] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> Callable[[], None]:
    """Take out of the model, in place, what the plan does not keep.

    Each tensor that shrinks gets a new object in its place: of the same type, device, order in memory and
    ``requires_grad``, with the Python attributes of the old one and with a gradient that is cut alike. The hooks of the
    old one are not on the new one. Weights that are shared stay shared. The attributes that say sizes follow: those of
    PyTorch's layers and norms, ``nx`` and ``nf`` of the Conv1D of transformers, and in other classes integers of the
    old size whose name says what they are, such as ``in_channels`` or ``_out_features``.

    Nothing is run, so this does not tell whether the smaller model still works.

    Parameters
    ----------
    model : torch.nn.Module
        The model, which is changed. It may be newly made: once it has shrunk, the ``state_dict`` of another model that
        shrank by this plan loads into it.
    plan : Plan
        What stays, and which biases are new.
    additions : Mapping of str to torch.Tensor, optional
        What is added to parameters or buffers, by name, before they are cut; new biases can be named, too. The sum is
        computed in double precision. A tensor with several names is named once.
    optimizer : torch.optim.Optimizer, optional
        The optimizer that trains the model. It gets the new parameters in the places of the old ones, and what it keeps
        for them is cut alike. A new bias joins the group of its layer's weight, unless the optimizer takes matrices
        only (Muon). Where the state of a parameter cannot be cut, it starts anew: the history of LBFGS, which is about
        all weights at once, and what is kept in blocks, quantized or nested.

    Returns
    -------
    callable
        Puts everything back: the same parameters and buffers, attributes, and what the optimizer held. It keeps the old
        weights in memory for that. It raises a `RuntimeError` if something else has taken the place of what it put
        there. Training in between is not undone for weights that did not shrink.

    Raises
    ------
    TypeError, ValueError
        The plan is for another model: it names a weight that this model lacks, or one of another size, a bias that this
        model has, or it would separate weights that are shared here. Groups would be left with different sizes. An
        addition has another shape, or none to be added to. Or `optimizer` is not an optimizer, or holds none of the
        weights that shrink. The model is as it was before.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch.removal import Plan, shrink
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> plan = Plan({"0.weight": {"0": [0, 2]}, "0.bias": {"0": [0, 2]}, "2.weight": {"1": [0, 2]}})
    >>> undo = shrink(model, plan)
    >>> model[0], model(torch.ones(5, 4)).shape
    (Linear(in_features=4, out_features=2, bias=True), torch.Size([5, 2]))
    >>> undo()
    >>> model[0]
    Linear(in_features=4, out_features=3, bias=True)
    """
    if not isinstance(plan, Plan):
        raise TypeError(
            f"plan must be a Plan, got {type(plan).__name__}; from a file, it is Plan.from_dict(json.load(file))"
        )
    changes = Changes()
    try:
        with torch.no_grad():
            biases = {name: _new_bias(model, name) for name in plan.new_biases}
            tensors = {**tensors_of(model), **biases}
            added = _checked_additions(additions or {}, tensors)
            shrunk = list(_shrunk(tensors, plan, added))
            for each in shrunk:
                for name in each.names:
                    owner, _, local = name.rpartition(".")
                    changes.attribute(model.get_submodule(owner), local, each.new)
            _resize(model, shrunk, tensors, changes)
            grown = list(_grown(model, plan))
            if optimizer is not None:
                follow(optimizer, [each for each in shrunk if each.names[0] not in biases], grown, changes)
    except BaseException:
        changes.undo()
        raise
    return changes.undo


def _new_bias(model: nn.Module, name: str) -> nn.Parameter:
    """Zeros for a layer without a bias."""
    weight, module = _layer_of(model, name)
    parameters = module._parameters  # noqa: SLF001  # only there is it seen that a layer could have a bias
    local = name.rpartition(".")[2]
    if parameters.get(local) is not None:
        raise ValueError(f"the plan makes a bias {name}, but this model has one; it is for a model without")
    if local not in parameters:
        kind = type(module).__name__
        raise ValueError(f"the plan makes a bias {name}, but that module ({kind}) cannot have one")
    return nn.Parameter(weight.new_zeros(outputs_of(module, weight)), weight.requires_grad)


def _layer_of(model: nn.Module, bias: str) -> tuple[Tensor, nn.Module]:
    """The weight of the layer that a bias is for (or what it is computed from), and the layer."""
    owner, _, local = bias.rpartition(".")
    tensors = tensors_of(model)
    for name, tensor in tensors.items():
        if local_name(name, tensors) == (owner, local.replace("bias", "weight")):
            return tensor, model.get_submodule(owner)
    raise ValueError(f"the plan makes a bias {bias}, but this model has no weight there; it is for another model")


def _checked_additions(additions: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """What is added to each tensor, by its identity."""
    added: dict[int, Tensor] = {}
    for name, addition in additions.items():
        tensor = tensors.get(name)
        if tensor is None:
            raise ValueError(f"there is something to be added to {name}, which this model lacks")
        if tensor.shape != addition.shape or not tensor.is_floating_point():
            raise ValueError(
                f"what is added to {name} must have its shape {tuple(tensor.shape)} before the cut, and {name} must "
                f"hold floats; got {tuple(addition.shape)} for {tensor.dtype}"
            )
        if id(tensor) in added:
            raise ValueError(f"{name} is shared, and something is added to it under another name already")
        added[id(tensor)] = addition
    return added


def _shrunk(tensors: Mapping[str, Tensor], plan: Plan, added: Mapping[int, Tensor]) -> Iterator[Shrunk]:
    """Each tensor that changes, once, with what takes its place."""
    if missing := [name for name in plan.keep if name not in tensors]:
        raise ValueError(f"the plan is for another model: this one lacks {listed(missing, 8)}")
    names: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        names.setdefault(id(tensor), []).append(name)
    changing = dict.fromkeys([*(id(tensors[name]) for name in plan.keep), *added])
    changing |= dict.fromkeys(id(tensors[name]) for name in plan.new_biases)
    for each in changing:
        first, *others = names[each]
        old, kept = tensors[first], plan.keep.get(first, {})
        for other in others:
            if _plain(plan.keep.get(other, {})) != _plain(kept):
                raise ValueError(
                    f"{first} and {other} are one tensor in this model, but the plan cuts them differently"
                )
        for name in names[each]:
            refuse_misfit(name, old, kept, plan.shapes.get(name))
        whole = old.detach()
        if each in added:  # on the CPU, as other devices may lack double precision
            sums = whole.to("cpu", torch.float64) + added[each].to("cpu", torch.float64)
            whole = torch.empty_like(whole).copy_(sums)
        yield Shrunk(names[each], old, like(old, cut(whole, kept), kept), kept)


def _plain(kept: Kept) -> dict[str, list[Any]]:
    """What is kept, in lists, so that it can be compared."""
    return {key: [list(i) if isinstance(i, list | tuple) else i for i in indices] for key, indices in kept.items()}


def _resize(model: nn.Module, shrunk: Iterable[Shrunk], tensors: Mapping[str, Tensor], changes: Changes) -> None:
    """Let the attributes of the modules that hold the tensors follow their sizes."""
    done = set()
    for each in shrunk:
        for name in each.names:
            owner, local = local_name(name, tensors)
            module = model.get_submodule(owner)
            if (module, local) not in done:  # a module that has several names is resized once
                done.add((module, local))
                for attribute, value in changed_sizes(module, local, each.old.shape, each.new.shape, each.kept, name):
                    changes.attribute(module, attribute, value)


def _grown(model: nn.Module, plan: Plan) -> Iterator[Grown]:
    """The new biases, in place, each of which must have the size of its layer."""
    for name in plan.new_biases:
        weight, module = _layer_of(model, name)
        bias = model.get_parameter(name)
        if len(bias) != (outputs := outputs_of(module, weight)):
            raise ValueError(
                f"the plan makes a bias {name} of {len(bias)} values for {outputs} units; keep must say which stay"
            )
        yield Grown(name, bias, weight)

"""An optimizer goes on with weights that have shrunk."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adagrad, Optimizer

from leakyrelu.torch.changes import Changes
from leakyrelu.torch.removal.cutting import cut_state
from leakyrelu.torch.removal.plan import Kept

__all__ = ["Grown", "Shrunk", "follow"]


class Shrunk(NamedTuple):
    """A parameter or buffer, what takes its place, and what was kept of it."""

    names: Sequence[str]
    old: Tensor
    new: Tensor
    kept: Kept


class Grown(NamedTuple):
    """A bias that a layer did not have, and the layer's weight (the new one, if it has shrunk)."""

    name: str
    bias: nn.Parameter
    weight: Tensor


def follow(optimizer: object, shrunk: Iterable[Shrunk], grown: Sequence[Grown], changes: Changes) -> None:
    """Give the optimizer the new parameters in place of the old ones, and cut what it keeps for them alike.

    Raises
    ------
    TypeError
        It is not an optimizer.
    ValueError
        It holds none of the parameters.
    """
    if not isinstance(optimizer, Optimizer):
        kind = type(optimizer).__name__
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {kind}; if it wraps one, give that")
    of = {id(each.old): each for each in shrunk if isinstance(each.old, nn.Parameter)}
    if of and not any(id(parameter) in of for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError(
            "optimizer holds none of the weights that shrink; give the one that trains this model, or none and make it "
            "afterwards"
        )
    changes.after_undo(lambda: _forget(optimizer, [each.new for each in of.values()], [each.bias for each in grown]))
    if isinstance(optimizer, torch.optim.LBFGS):
        # What it keeps are vectors over all weights at once, which are of no use when one of them shrinks.
        for key in list(optimizer.state):
            changes.set(optimizer.state, key, {})
        _forget_size(optimizer)
        changes.after_undo(lambda: _forget_size(optimizer))
    for each in of.values():
        if each.old in optimizer.state:
            state = cut_state(optimizer.state[each.old], tuple(each.old.shape), each.kept)
            changes.delete(optimizer.state, each.old)
            if state:
                changes.set(optimizer.state, each.new, state)
    for group in optimizer.param_groups:
        _renew(optimizer, group, of, grown, changes)


def _renew(
    optimizer: Optimizer, group: dict[str, Any], of: dict[int, Shrunk], grown: Sequence[Grown], changes: Changes
) -> None:
    """Put the new parameters into a group of the optimizer, and new biases beside the weights of their layers."""
    old = group["params"]
    new = [of[id(parameter)].new if id(parameter) in of else parameter for parameter in old]
    held = {id(parameter) for parameter in new}
    joining = [] if _takes_matrices_only(optimizer) else [each for each in grown if id(each.weight) in held]
    if not joining and all(one is other for one, other in zip(old, new, strict=True)):
        return
    changes.set(group, "params", new + [each.bias for each in joining])
    if "param_names" in group:
        changes.set(group, "param_names", [*group["param_names"], *(each.name for each in joining)])
    for name, value in list(vars(optimizer).items()):
        if value is old:  # LBFGS holds the list under a name of its own
            changes.set(vars(optimizer), name, group["params"])
    # Adagrad makes the state of its parameters when it is made itself, so a version may rely on it in each step.
    for each in joining if isinstance(optimizer, Adagrad) else ():
        if beside := optimizer.state.get(each.weight):
            step = torch.zeros_like(beside["step"])
            start = torch.full_like(each.bias.detach(), group["initial_accumulator_value"])
            changes.set(optimizer.state, each.bias, {"step": step, "sum": start})


def _takes_matrices_only(optimizer: Optimizer) -> bool:
    return isinstance(optimizer, getattr(torch.optim, "Muon", ()))


def _forget(optimizer: Optimizer, *parameters: Iterable[Tensor]) -> None:
    """Remove what the optimizer has kept for parameters since they came."""
    for some in parameters:
        for parameter in some:
            optimizer.state.pop(parameter, None)


def _forget_size(optimizer: Any) -> None:
    optimizer._numel_cache = None  # noqa: SLF001  # otherwise it goes on with the number of weights that it had

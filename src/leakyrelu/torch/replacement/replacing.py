"""Puts other activations in place of those of a model, whether they are modules or functions that a forward calls.

A module is replaced by a module, wherever it is held; a call is replaced in the source of the function that makes it.
Nothing is traced: the rest of the model runs as before.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from leakyrelu._shared.arguments import one_slope
from leakyrelu.torch.activation import LeakyReLU
from leakyrelu.torch.operations import OPERATIONS, function_of, module_kind
from leakyrelu.torch.replacement.report import Replacement
from leakyrelu.torch.replacement.work import Work

__all__ = ["replace", "replace_relu"]


def replace_relu(
    model: nn.Module,
    negative_slope: float = 0.01,
    *,
    only: Iterable[str] | None = None,
    batches: Iterable[Any] | None = None,
) -> Replacement:
    """Replace every ReLU of a model by Leaky ReLU; the model itself is changed.

    It is `replace` with ``{nn.ReLU: LeakyReLU(negative_slope)}``.

    Parameters
    ----------
    model : torch.nn.Module
        Any model. Replace first, and script or compile the model afterwards.
    negative_slope : float, default 0.01
        The slope for negative inputs.
    only : iterable of str, optional
        The names of the sites to replace, as `diagnose` gives them; by default all are replaced.
    batches : iterable, optional
        Data to run the model on, as for `diagnose`. Then the report is sure, for what the model does on these batches.

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
    replace : replaces any activation by any other, and says what is replaced and what is not.
    diagnose : finds the units that are dead; it names sites in the same way.
    revive : makes dead units of ReLU fire again.

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
    check_model(model)
    slope = one_slope(negative_slope, "negative_slope")
    return replace(model, {nn.ReLU: LeakyReLU(slope)}, only=only, batches=batches)


def replace(
    model: nn.Module,
    activations: Mapping[type[nn.Module], nn.Module],
    *,
    only: Iterable[str] | None = None,
    batches: Iterable[Any] | None = None,
) -> Replacement:
    """Replace activations of a model by others; the model itself is changed.

    What is replaced: modules, wherever the model holds them (as children, in attributes, lists, dictionaries and
    partials, or as attributes of a class); functions that it holds; and calls, such as ``F.relu(x)``, ``x.relu()``,
    ``nn.ReLU()(x)`` or ``ACTIVATIONS[name](x)``, in its forward and in the functions that this calls. Calls are
    replaced in the source of the function, and nothing else of it changes: what it decides by chance or by its data,
    what it reads from globals and what it changes elsewhere. Parameters, buffers, hooks, modes and ``isinstance`` stay;
    the model can be copied, pickled, compiled, exported and scripted as before.

    Parameters
    ----------
    model : torch.nn.Module
        Any model. Replace first, and script or compile the model afterwards: parts that are scripted or compiled
        already are skipped.
    activations : Mapping of class to torch.nn.Module
        For each kind of activation, the module to put in its place, such as ``{nn.SiLU: LeakyReLU(0.1)}``. A kind is
        `nn.ReLU`, `nn.ReLU6`, `nn.Hardtanh`, `nn.Threshold`, `nn.LeakyReLU`, `nn.PReLU`, `nn.RReLU`, `nn.ELU`,
        `nn.CELU`, `nn.SELU`, `nn.GELU` or `nn.SiLU`, and stands for the functions of that activation, too. Each site
        gets a copy of the module. What works in place is replaced by something that does.
    only : iterable of str, optional
        The names of the sites to replace, as `diagnose` gives them; by default all are replaced. ``"act"`` stands for
        all calls of the module ``act``. Names of calls in a forward need `batches`, as only a run tells which
        expression has which name.
    batches : iterable, optional
        Data to run the model on, as for `diagnose`: before, to see what it calls, and afterwards, to see whether
        anything is left, which `skipped` then lists by file and line. Without it, the report is about what the source
        shows.

    Returns
    -------
    Replacement
        The model, the names of the sites that were replaced, and the names of those that were not, with the reasons;
        `Replacement.undo` takes everything back.

    Raises
    ------
    TypeError
        `model` is not a module, `activations` maps something else, or `only` is a single string.
    ValueError
        `activations` is empty, or `only` has a name that the model does not have.

    See Also
    --------
    replace_relu : the shorthand for Leaky ReLU in place of ReLU.
    diagnose : names sites in the same way.

    Notes
    -----
    A method gets its new source in a subclass of the module's class, which has the same name. If the new activation has
    parameters, they are modules of the module that makes the call, and ``state_dict`` gains them. Where no module
    makes the call (in a function of its own, or through a list), such a site is skipped.

    What is never replaced: functions without source, scripted functions, fused kernels (`nn.RNN`), and classes named
    in ``isinstance``. Where ReLU is replaced, other activations that are flat below zero are listed as skipped.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from torch.nn import functional as F
    >>> from leakyrelu.torch import LeakyReLU, replace
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.SiLU(), nn.Linear(4, 4), nn.ReLU())
    >>> replacement = replace(model, {nn.SiLU: LeakyReLU(0.1), nn.ReLU: nn.PReLU()}, batches=[torch.ones(2, 3)])
    >>> print(replacement)
    replaced by Leaky ReLU, PReLU: 2 (1, 3)
    new parameters: 1 (3.weight); an optimizer needs to be given them
    >>> replacement.undo()[1]
    SiLU()
    """
    check_model(model)
    table = checked_table(activations)
    if isinstance(only, str):
        raise TypeError(f"only must be a list of names, got a string; write only=[{only!r}]")
    work = Work(model, table, None if only is None else list(only), batches)
    return work.done()


def check_model(model: object) -> None:
    """Raise an error if it is no module."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {model!r}")


def checked_table(activations: Any) -> dict[type[nn.Module], nn.Module]:
    """The argument as a dictionary; an error says what is wrong with it."""
    kinds = ", ".join(f"nn.{kind.__name__}" for kind in OPERATIONS)
    if not isinstance(activations, Mapping):
        raise TypeError(
            f"activations must be a mapping such as {{nn.ReLU: LeakyReLU(0.1)}}, got {type(activations).__name__}"
        )
    if not activations:
        raise ValueError(f"activations is empty: name what is to be replaced, one of {kinds}")
    for kind, new in activations.items():
        if not isinstance(kind, type) or kind not in OPERATIONS:
            known = function_of(kind)
            hint = f"; write nn.{known.kind.__name__}, which stands for its function, too" if known else ""
            if isinstance(kind, nn.Module) and module_kind(kind):
                hint = f"; write the class, nn.{module_kind(kind).__name__}"  # type: ignore[union-attr]
            raise TypeError(f"the keys of activations must be among {kinds}, got {kind!r}{hint}")
        if not isinstance(new, nn.Module):
            hint = f"; write {new.__name__}(), an object" if isinstance(new, type) else ""
            raise TypeError(f"the values of activations must be modules such as LeakyReLU(0.1), got {new!r}{hint}")
    return dict(activations)

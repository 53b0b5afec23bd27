"""Which units of a model are dead, on given data."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from leakyrelu.torch.capture import Capture, Forward, nothing_seen
from leakyrelu.torch.counts import Counts
from leakyrelu.torch.running import checked, evaluating, run_batch, seen_through
from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["diagnose"]


def diagnose(model: nn.Module, batches: Iterable[Any], *, forward: Forward | None = None) -> Diagnosis:
    """Find the units of a model that never fire, with how sure that is.

    The model runs on all batches, in eval mode and without gradients; each call of ReLU, Leaky ReLU, PReLU, RReLU,
    ReLU6, threshold, clamp at zero, GELU, SiLU, ELU, CELU and SELU is a site, whether it is a module, a function or a
    method, in place or not. What is written by hand (``torch.maximum(h, zero)``, ``h * (h > 0)``) is not seen. A unit
    is a channel of a convolution (over batch and space) or a feature of a linear layer (over the batch and all tokens),
    as it enters the activation. Modes and random states are restored, nothing else is changed.

    Parameters
    ----------
    model : nn.Module
        What was compiled by `torch.compile` is run as it was before that, and so is what was wrapped by `DataParallel`
        or `DistributedDataParallel`.
    batches : iterable
        Such as a `DataLoader`. A batch is a tensor, a tuple or list whose first item is the input, or a dictionary of
        keyword arguments; its tensors are moved to the device of the model. Its examples are along the first axis.
    forward : callable, optional
        ``forward(model, batch)`` is called for each batch, which then may be anything.

    Returns
    -------
    Diagnosis
        With a `Site` for each call of an activation in one forward pass: a module that is called twice has two.

    Raises
    ------
    TypeError
        `model` is no module, or scripted; a batch is of another kind, and there is no `forward`.
    ValueError
        `batches` is empty, or without examples, or the model calls no activation that is known.

    See Also
    --------
    Monitor : the same while training.
    revive : gives dead units new life.

    Notes
    -----
    A unit that fires on none of N independent examples fires on less than 3/N of all examples, with 95 % confidence.
    On few examples, rare units look dead: of those that fire 1 % of the time, half look so on 64 examples.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import diagnose
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    >>> _ = model[0].bias.data.copy_(torch.tensor([0.0, -100.0, 100.0]))
    >>> diagnosis = diagnose(model, [torch.randn(100, 4)])
    >>> diagnosis.dead, diagnosis.units, diagnosis.dead_fraction
    (1, 3, 0.3333333333333333)
    >>> site = diagnosis.sites[0]
    >>> site.name, site.dead.tolist(), site.always_on.tolist(), site.bound
    ('1', [1], [2], 0.03)
    """
    model = seen_through(model)
    batches = checked(batches)
    counts = Counts()
    passes = 0
    with evaluating(model), Capture(model, counts) as capture:
        for passes, batch in enumerate(batches, 1):  # noqa: B007  # whether there was any
            with capture.one_pass(batch):
                (forward or run_batch)(model, batch)
    if not passes:
        raise ValueError(
            "batches is empty, and nothing was diagnosed; a generator that was used up before is empty, too"
        )
    diagnosis = counts.diagnosis(capture.examples.total(), tuple(capture.notes))
    if not diagnosis.sites:
        no_examples = "the batches hold no examples, so nothing was diagnosed"
        raise ValueError(nothing_seen(capture) if capture.examples.total() else no_examples)
    return diagnosis

"""Finds the units of a model that are dead on given data."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn

from leakyrelu._shared.arguments import checked_batches
from leakyrelu.torch.capture import Call, Capture, Forward, Observer, nothing_seen
from leakyrelu.torch.counts import Counts, together
from leakyrelu.torch.masking import Mask, checked_mask
from leakyrelu.torch.running import evaluating, run_batch, seen_through
from leakyrelu.torch.sharding import gathered, ranks_of
from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["counted", "diagnose"]


def diagnose(
    model: nn.Module, batches: Iterable[Any], *, forward: Forward | None = None, mask: Mask | None = None
) -> Diagnosis:
    """Find the units of a model that never fire on given data, and say how sure that is.

    The model runs on all batches, in eval mode and without gradients. Each call of ReLU, Leaky ReLU, PReLU, RReLU,
    ReLU6, threshold, clamp at zero, GELU, SiLU, ELU, CELU and SELU is a site, whether it is a module, a function or a
    method, in place or not. An activation written by hand (``torch.maximum(h, zero)``, ``h * (h > 0)``) is not seen. A
    unit is a channel of a convolution, counted over batch and space, or a feature of a linear layer, counted over the
    batch and all tokens; what counts is the value that enters the activation. Modes and random states are restored,
    and nothing else is changed.

    Parameters
    ----------
    model : torch.nn.Module
        The model to diagnose. If it was compiled by `torch.compile` or wrapped by `DataParallel` or
        `DistributedDataParallel`, it runs as it was before that.
    batches : iterable
        The data, such as a `DataLoader` or a list of tensors. A batch is a tensor, a tuple or list whose first item is
        the input, or a dictionary of keyword arguments; its tensors are moved to the device of the model. The examples
        lie along the first axis.
    forward : callable, optional
        Runs the model on a batch: ``forward(model, batch)``. With it, a batch may be anything.
    mask : str or callable, optional
        Tells which tokens are real; padding does not count then. A name is that of a key of a batch, or of an argument
        of the model's forward. A function is called with the batch, and returns the mask or None. The mask is a tensor
        of shape (examples, positions) or (examples,), nonzero where a token or an example is real.

    Returns
    -------
    Diagnosis
        It has one `Site` per call of an activation in one forward pass, so a module that is called twice has two.

    Raises
    ------
    TypeError
        `model` is not a module, or is scripted; or a batch is of another kind, and `forward` is not given; or
        `mask` is neither a name nor a function.
    ValueError
        `batches` is empty or has no examples, or the model calls no activation that is known; or
        `mask` names nothing, or does not fit the inputs.

    See Also
    --------
    Monitor : does the same while the model trains.
    revive : makes dead units fire again.

    Notes
    -----
    A unit that fires on none of N independent examples fires on less than 3/N of all examples, with 95 % confidence
    (the rule of three; Hanley and Lippman-Hand 1983). On few examples, units that fire rarely look dead: of the units
    that fire on 1 % of all examples, about half look dead on 64 examples.

    A sharded model runs on all ranks at once, so all of them must call this, with equally many batches; otherwise they
    wait for each other. If tensors are sharded as `torch.distributed.tensor.DTensor`, the counts of the ranks of the
    mesh are added up, and each rank returns the diagnosis of the whole model. Otherwise (`FullyShardedDataParallel`,
    `fully_shard`) each rank returns the diagnosis of its own batches. Sites have the names that they had before the
    model was wrapped. What cannot be told, such as the units of a tensor that holds summands, is in the notes.

    With `mask`, the counts are those of the unpadded sequences. Examples and positions are followed through the
    functions of the model: (N, T, features), (T, N, features), (N * T, features), (N, channels, T), the heads of an
    attention, and tokens that are taken by their indices, such as those of an expert. Where positions were pooled, all
    examples count that have a real token. Padding counts where a site has other positions (after a stride, in a
    decoder), where they were rearranged (by `flip`, `sort`), and in passes without a mask; the notes say so.

    What a mask belongs to is not always certain. These cases are decided as follows:

    - As many examples as positions: the padding of the input tells the order if it has the same value everywhere, or
      other passes do. Otherwise examples are taken to come first, or padding counts if a module has
      ``batch_first=False``; both with a note.
    - Two inputs with equally many positions: they are one sequence, unless the name of one begins with ``decoder``,
      ``tgt``, ``target`` or ``labels``. The mask is that of the others then, or that of these if its own name begins
      so. Nothing is noted if two sequences have other names.
    - An input (N, C, T) or (N, C, F, T) without positions beside the examples: its only other axis of length T has
      them. If another input is (N, T) or (N, T, features), such a length is taken for chance, as that of an image is.
    - Values that cannot be followed, such as those from NumPy or from a kernel of your own: their shape tells, without
      a note if it fits in one way only. If they have as many rows as there are real tokens, they are taken for these,
      with a note.

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
    return counted(seen_through(model), batches, forward or run_batch, mask=checked_mask(mask))


def counted(
    model: nn.Module,
    batches: Iterable[Any],
    forward: Forward,
    beside: Observer | None = None,
    unseen: Callable[[], AbstractContextManager[None]] = nullcontext,
    *,
    mask: Mask | None = None,
) -> Diagnosis:
    """The diagnosis of a model that is neither compiled nor replicated.

    `beside` sees each call, too; the counting happens within `unseen`, which hides it from other modes.
    """
    batches = checked_batches(batches)
    counts = Counts()

    def observe(call: Call) -> Callable[[Tensor], object]:
        with unseen():
            then = counts(call)
        then_beside = beside(call) if beside else None

        def after(output: Tensor) -> None:
            with unseen():
                then(output)
            if then_beside:
                then_beside(output)

        return after

    passes = 0
    with evaluating(model), Capture(model, observe if beside else counts, mask=mask) as capture:
        for passes, batch in enumerate(batches, 1):  # noqa: B007  # asked afterwards, whether there was any
            with capture.one_pass(batch):
                forward(model, batch)
    if not passes:
        raise ValueError(
            "batches is empty, and nothing was diagnosed; a generator that was used up before is empty, too"
        )
    record = counts.record(capture.examples.total(), capture.notes, ranks_of(capture.meshes))
    diagnosis = together(gathered(record, capture.meshes))
    if not diagnosis.sites:
        no_examples = "the batches hold no examples, so nothing was diagnosed"
        raise ValueError(nothing_seen(capture) if diagnosis.examples else no_examples)
    return diagnosis

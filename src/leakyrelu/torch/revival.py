"""Makes dead units fire again, without changing what the network computes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from leakyrelu._shared.arguments import checked_batches
from leakyrelu.torch.capture import Forward
from leakyrelu.torch.edits import states_of
from leakyrelu.torch.running import evaluating, refuse_unchangeable, run_batch
from leakyrelu.torch.surgery import Choice, Outgoing, Surgery, Which, checked_choice, dead_in, frozen_names
from leakyrelu.torch.wiring.proof import Prober
from leakyrelu.torch.wiring.words import change_in_words, in_words
from leakyrelu.units.diagnosis import Diagnosis

__all__ = ["Revival", "revive"]


@dataclass(frozen=True, eq=False)
class Revival:
    """What `revive` did; ``print`` shows it in a few lines.

    Attributes
    ----------
    before : Diagnosis
        The diagnosis before the revival.
    after : Diagnosis
        The diagnosis after it, on the same batches.
    revived : dict of str to tuple of int
        The units that fire again, by the name of their site.
    skipped : Mapping of str to str
        The names of the sites where units were left alone, with the reason; if there are several reasons, each names
        its units. All dead units among them are dead in `after`, too.
    output_change : float
        The largest change of the model's output on the batches, as a fraction of the largest output.
    notes : tuple of str
        What the proof does not cover, such as paths that the model takes on other batches only.
    """

    before: Diagnosis
    after: Diagnosis
    revived: dict[str, tuple[int, ...]]
    skipped: Mapping[str, str]
    output_change: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        count = sum(map(len, self.revived.values()))
        change = change_in_words(self.output_change)
        lines = [f"{count} of {self.before.dead} dead units revived; {change}"]
        lines += [f"  {site}: {in_words(units)}" for site, units in self.revived.items()]
        for name, reason in self.skipped.items():
            left = [unit for site, unit in dead_in(self.after) if site.name == name]
            lines.append(
                f"  left alone, {name}: {in_words(left)}: {reason}" if left else f"  left alone, {name}: {reason}"
            )
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def revive(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    forward: Forward | None = None,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None = None,
    generator: torch.Generator | None = None,
    which: Which = "dead",
    tau: float = 0.025,
    outgoing: Outgoing = "zero",
    frozen: Iterable[str] = (),
) -> Revival:
    """Make dead units fire again, without changing what the network computes on `batches`.

    The outgoing weights of a dead unit become zero. What enters its activation is shifted so that the unit fires on
    about half of the values: their median is subtracted through the bias of the layer or, if a norm follows the layer,
    through the shift of the norm; the norm's scale becomes 1, and a BatchNorm takes its statistics from the data. If
    the values are constant, or the incoming weights have vanished or exploded, new incoming weights are drawn (He et
    al. 2015). From then on the unit can learn; its outgoing weights are the first to change.

    Which weights make a unit and which take its output is proven on the run itself, so the model may be written in any
    way: nothing is traced. While the model runs on the batches, it is followed beside the run what would become of each
    value if the unit gave something else, and if what makes the unit were something else. A unit is revived only if all
    that would differ enters weights at places that never take anything else, and if what makes it makes nothing else.
    After the change, it is followed in the same way that whatever the unit gives, nothing else differs. All other
    units, such as those whose output is added to other values, are left alone and listed with the reason.

    Parameters
    ----------
    model : torch.nn.Module
        The model, which is changed; its mode is restored. It must be neither compiled nor scripted nor sharded, and its
        weights must be plain tensors. If it is wrapped by `DataParallel` or `DistributedDataParallel`, give the model
        within; each rank must then give the same batches and generator, or the ranks end up with different weights.
    batches : iterable
        As in `diagnose`. The batches and the model's outputs are kept in memory, and the model runs on all of them at
        least four times and at most ten times; some thousand examples are enough.
    forward : callable, optional
        As in `diagnose`. The outputs that stay as they are are those of the model, and what this function returns.
    optimizer : torch.optim.Optimizer or a list of them, optional
        The optimizer that trains the model, or several. Its state (momentum, the moments of Adam) is set back to what
        it was at the start, mostly zero, for exactly those of its weights that are changed here. State that it keeps
        for whole rows and columns (Adafactor) stays.
    generator : torch.Generator, optional
        Draws the new weights, on the CPU. By default it is a copy of PyTorch's own generator.
    which : {"dead", "dormant"}, optional
        Which units are revived: the dead ones, or also those whose `Site.dormancy` is at most `tau` (Sokar et al.
        2023). Dormant units are not silent, so `outgoing` must then be "keep" or "init".
    tau : float, optional
        The largest dormancy of a unit that is taken for dormant.
    outgoing : {"zero", "keep", "init"}, optional
        What becomes of the weights that take a unit's output. "zero" is the only choice that leaves the outputs as they
        are. "keep" leaves the weights as they are, and "init" draws new ones, a tenth as large as the others, so that
        the outputs change, and `Revival.output_change` says how much. Take "init" where the model divides these weights
        by their norm, as decoders of sparse autoencoders do: zeros would become NaN.
    frozen : iterable of str, optional
        The names of parameters that may be changed although their `requires_grad` is False.

    Returns
    -------
    Revival
        What was revived and what was not, with a diagnosis before and after.

    Raises
    ------
    TypeError, ValueError
        As for `diagnose`; or an argument is none of its choices; or the model is compiled or replicated, is sharded (by
        FSDP, or as DTensors), or has weights without values or of a subclass of `torch.Tensor`; or `optimizer` is not
        an optimizer, or holds none of the weights that would be changed.
    RuntimeError
        The output would change by more than 1e-5 of its largest value; the model is as it was before.

    See Also
    --------
    diagnose : finds the dead units.
    replace_relu : replaces ReLU by Leaky ReLU, which passes a gradient below zero.

    Notes
    -----
    What is proven holds for the paths through the code that the batches take. If some batches take others, `notes` says
    so; of a branch that no batch takes, nothing is known.

    It promises units that fire, not accuracy: in a network with 45 % dead units and no collapsed layer, accuracy did
    not improve. Test accuracy of a 64-32-32-32-10 network on digits after 20 more epochs, mean +- standard deviation
    over 20 seeds (`benchmarks/torch_revival.py`):

    - killed by SGD at 0.3 (61.9 % dead): 63.0 +- 27.0 % without `revive`, 95.7 +- 1.2 % with it
    - killed by Adam at 0.1 (96.0 % dead): 11.2 +- 7.6 % without, 92.2 +- 4.9 % with it
    - killed by Adam at 0.05 (73.2 % dead): 68.1 +- 19.1 % without, 94.0 +- 1.6 % with it

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import revive
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> _ = model[0].bias.data[:3].fill_(-100)
    >>> revival = revive(model, [torch.randn(256, 4)])
    >>> revival.before.dead, revival.after.dead, revival.revived, revival.output_change < 1e-5
    (3, 0, {'1': (0, 1, 2)}, True)
    """
    refuse_unchangeable(model)
    checked_choice(which, tau, outgoing)
    states, names = states_of(optimizer), frozen_names(model, frozen)
    generator = generator or torch.Generator().set_state(torch.get_rng_state())
    with evaluating(model):  # here the batches are made, too, as a DataLoader draws from PyTorch's generator
        prober = Prober(model, list(checked_batches(batches)), forward or run_batch)
        surgery = Surgery(prober, states, generator, names, Choice(which, tau, outgoing))
        try:
            return Revival(*surgery.performed())
        except BaseException:
            surgery.roll_back()
            raise

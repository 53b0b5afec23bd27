"""What taking dead units out did."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from leakyrelu._shared.wording import count
from leakyrelu.torch.removal.plan import Plan
from leakyrelu.torch.removal.shrinking import shrink
from leakyrelu.torch.wiring.words import change_in_words, in_words

__all__ = ["Removal"]


@dataclass(frozen=True, eq=False)
class Removal:
    """What `remove_dead` did; ``print`` shows it in a few lines.

    Attributes
    ----------
    removed : dict of str to tuple of int
        The units that are gone, by the name of their site, numbered as before.
    skipped : Mapping of str to str
        The names of the sites where dead units were left, with the reason.
    parameters : tuple of int
        The number of the model's parameters before and after.
    multiply_adds : tuple of int
        The number of multiplications, each with an addition, before and after: those of convolutions, linear layers,
        matrix products and attention, for the first batch.
    seconds : tuple of float
        The time for the first batch before and after, the shortest of several, taken by turns.
    output_change : float
        The largest change of the model's output on the batches, as a fraction of the largest output.
    plan : Plan
        What is left of each weight. ``json.dumps(removal.plan.as_dict())`` writes it.
    notes : tuple of str
        What the comparison of the outputs cannot tell about this model.

    Examples
    --------
    >>> from leakyrelu.torch.removal import Plan, Removal
    >>> removed, plan = {"1": (0, 2)}, Plan({"0.weight": {"0": [1]}, "0.bias": {"0": [1]}, "2.weight": {"1": [1]}})
    >>> print(Removal(removed, {}, (23, 9), (18, 6), (2e-05, 1e-05), 0.0, plan))
    2 dead units removed; the outputs on the batches are exactly the same
      parameters: 23 -> 9 (39 %)
      multiply-adds for a batch: 18 -> 6 (33 %)
      time for a batch: 0.02 ms -> 0.01 ms (50 %)
      1: units 0, 2
    """

    removed: dict[str, tuple[int, ...]]
    skipped: Mapping[str, str]
    parameters: tuple[int, int]
    multiply_adds: tuple[int, int]
    seconds: tuple[float, float]
    output_change: float
    plan: Plan
    notes: tuple[str, ...] = ()

    def apply(self, model: nn.Module) -> nn.Module:
        """Shrink a newly made model alike, in place, so that the ``state_dict`` of the model that shrank loads into it.

        Its weights are those that stay of its own; nothing is run, and no constant is folded in.

        Parameters
        ----------
        model : torch.nn.Module
            A model of the sizes before units were removed.

        Returns
        -------
        torch.nn.Module
            The same model.

        Raises
        ------
        ValueError
            The model is another one, or has other sizes; it is as it was before.

        Examples
        --------
        >>> import torch
        >>> from leakyrelu.torch.removal import Plan, Removal
        >>> def make():
        ...     return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        >>> plan = Plan({"0.weight": {"0": [1]}, "0.bias": {"0": [1]}, "2.weight": {"1": [1]}})
        >>> removal = Removal({"1": (0, 2)}, {}, (23, 9), (18, 6), (2e-05, 1e-05), 0.0, plan)
        >>> shrunk = removal.apply(make())
        >>> removal.apply(make()).load_state_dict(shrunk.state_dict())
        <All keys matched successfully>
        """
        shrink(model, self.plan)
        return model

    def __str__(self) -> str:
        units = count(sum(map(len, self.removed.values())), "dead unit")
        change = change_in_words(self.output_change)
        lines = [f"{units} removed; {change}" if self.removed else "nothing removed"]
        if self.removed:
            lines.append(_compared("parameters", "{:,}", self.parameters))
            lines.append(_compared("multiply-adds for a batch", "{:,}", self.multiply_adds))
            before, after = self.seconds
            lines.append(_compared("time for a batch", "{:.3g} ms", (1e3 * before, 1e3 * after)))
        for site, numbers in self.removed.items():
            lines.append(f"  {site}: {in_words(numbers)}")
        lines += [f"  left alone, {name}: {reason}" for name, reason in self.skipped.items()]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def _compared(what: str, form: str, values: tuple[float, float]) -> str:
    """Both values, and what the second is of the first."""
    before, after = values
    share = f" ({after / before:.0%})".replace("%", " %") if before else ""
    return f"  {what}: {form.format(before)} -> {form.format(after)}{share}"

"""What a replacement did, and how it is taken back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from leakyrelu._shared.wording import listed
from leakyrelu.torch.changes import Changes

__all__ = ["Replacement", "names_of", "summary"]


@dataclass(frozen=True, eq=False)
class Replacement:
    """What `replace` did; ``print`` shows it in a few lines.

    Attributes
    ----------
    model : torch.nn.Module
        The model to use from now on. It is the one given, unless that was itself an activation.
    replaced : tuple of str
        The names of the sites that compute the new activation now.
    skipped : Mapping of str to str
        The names of the sites that were left as they were, and the reason for each.
    parameters : tuple of str
        The names of the parameters that the model has gained, as in its ``state_dict``. An optimizer that was made
        before does not know them.
    lost : tuple of str
        The names of the parameters that the model has lost, such as those of a PReLU that was replaced.
    """

    model: nn.Module
    replaced: tuple[str, ...]
    skipped: Mapping[str, str]
    parameters: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    _text: str = field(default="", repr=False)
    _changes: Changes = field(default_factory=Changes, repr=False)
    _given: nn.Module | None = field(default=None, repr=False)

    def undo(self) -> nn.Module:
        """Take everything back, and return the model as it was given.

        Raises
        ------
        RuntimeError
            Something that was replaced has been changed since, for example by another replacement: undo that first.
        """
        self._changes.undo()
        return self.model if self._given is None else self._given

    def __str__(self) -> str:
        return self._text


def names_of(kinds: Iterable[type[nn.Module]]) -> str:
    """The names of the activations to be replaced, for a text."""
    return " or ".join(kind.__name__ for kind in kinds)


def summary(
    table: Mapping[type[nn.Module], nn.Module],
    replaced: Sequence[str],
    skipped: Mapping[str, str],
    gained: Sequence[str],
    lost: Sequence[str],
    ran: bool,
    is_sure: bool,
) -> str:
    """The report in a few lines.

    `ran` is whether the model was run, and `is_sure` whether nothing but a run could show more.
    """
    kinds = names_of(table)
    lines = []
    if replaced:
        news = dict.fromkeys(type(new).__name__.replace("LeakyReLU", "Leaky ReLU") for new in table.values())
        lines.append(f"replaced by {', '.join(news)}: {len(replaced)} ({listed(replaced, 8)})")
    elif not is_sure:
        lines.append(f"nothing replaced; its source does not show whether it calls {kinds}")
    elif not skipped:
        lines.append(f"no {kinds} {'called' if ran else 'found'}, nothing replaced")
    for reason in dict.fromkeys(skipped.values()):
        names = [name for name, other in skipped.items() if other == reason]
        lines.append(f"skipped: {listed(names, 8)}: {reason}")
    if gained:
        lines.append(f"new parameters: {len(gained)} ({listed(gained, 8)}); an optimizer needs to be given them")
    if lost:
        lines.append(f"parameters that are gone: {len(lost)} ({listed(lost, 8)})")
    if not is_sure:
        lines.append("only a run is sure: give batches")
    return "\n".join(lines)

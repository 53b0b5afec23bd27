"""Two diagnoses of a model, such as before and after a change: where more units are dead, and by how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from leakyrelu._shared.tables import text_table
from leakyrelu._shared.wording import count, listed
from leakyrelu.units.diagnosis import Diagnosis
from leakyrelu.units.sites import Site
from leakyrelu.units.text import site_name

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What differs between two diagnoses; ``print`` shows it.

    Attributes
    ----------
    before, after : Diagnosis
        The two diagnoses.
    worse : sequence of (Site, Site)
        The sites that both have, before and after, where a larger fraction of the units is dead or had a NaN.
    """

    before: Diagnosis
    after: Diagnosis
    worse: Sequence[tuple[Site, Site]]

    def grew(self, tolerance: float = 0.0) -> bool | None:
        """Whether the dead fraction grew by more than `tolerance`.

        Parameters
        ----------
        tolerance : float, default 0.0
            By how much it may grow, from 0 to 1.

        Returns
        -------
        bool or None
            None if units that were not judged, because they had a NaN, leave it open, or if there are no units.
        """
        if not (self.before.judged and self.after.judged):
            return None
        allowed = Fraction(str(tolerance))
        least = _dead(self.after) - _dead(self.before, worst=True)
        most = _dead(self.after, worst=True) - _dead(self.before)
        if least > allowed:
            return True
        return None if most > allowed else False

    def __str__(self) -> str:
        parts = []
        if self.worse:
            rows = [
                [
                    site_name(after),
                    *(
                        f"{len(getattr(site, kind)):,} of {site.units:,}"
                        for kind in ("dead", "nan")
                        for site in (before, after)
                    ),
                ]
                for before, after in self.worse
            ]
            parts += [
                text_table(["Site that got worse", "Dead before", "Dead after", "NaN before", "NaN after"], rows),
                "",
            ]
        else:
            parts.append("No site got worse.")
        names = [{site_name(site) for site in each.sites} for each in (self.before, self.after)]
        parts += [
            f"{what}: {listed(sorted(missing), 20)}."
            for what, missing in (("No longer seen", names[0] - names[1]), ("Not seen before", names[1] - names[0]))
            if missing
        ]
        parts.append(f"Dead before: {_share(self.before)}. Dead after: {_share(self.after)}.")
        return "\n".join(parts)


def compare(before: Diagnosis, after: Diagnosis) -> Comparison:
    """Compare two diagnoses of a model.

    Parameters
    ----------
    before, after : Diagnosis
        For example, `Diagnosis.from_dict` of what two runs have written. Sites of the same name and operation are
        compared with each other.

    Returns
    -------
    Comparison
        The sites that got worse, and whether the dead fraction grew.

    Examples
    --------
    >>> import torch
    >>> from leakyrelu.torch import diagnose
    >>> from leakyrelu.units import compare
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
    >>> data = [torch.randn(100, 4)]
    >>> before = diagnose(model, data)
    >>> _ = model[0].bias.data[0].fill_(-100)
    >>> comparison = compare(before, diagnose(model, data))
    >>> comparison.grew(tolerance=0.1), [after.name for _, after in comparison.worse]
    (True, ['1'])
    """
    known = {(site.name, site.operation): site for site in before.sites}
    pairs = [(known[key], site) for site in after.sites if (key := (site.name, site.operation)) in known]
    worse = [
        (one, other)
        for one, other in pairs
        if any(
            len(getattr(other, kind)) * one.units > len(getattr(one, kind)) * other.units for kind in ("dead", "nan")
        )
    ]
    return Comparison(before, after, tuple(worse))


def _dead(diagnosis: Diagnosis, *, worst: bool = False) -> Fraction:
    unknown = diagnosis.units - diagnosis.judged if worst else 0
    return Fraction(diagnosis.dead + unknown, diagnosis.units)


def _share(diagnosis: Diagnosis) -> str:
    share = f"{diagnosis.dead:,} of {count(diagnosis.units, 'unit')}"
    unknown = diagnosis.units - diagnosis.judged
    share += f" ({diagnosis.dead_fraction:.1%})" if diagnosis.judged else ""
    return share + (f", {unknown:,} with NaN" if unknown else "")

"""What a diagnosis tells a logger: numbers by name."""

from collections.abc import Iterable
from math import nan

from leakyrelu.units.diagnosis import Diagnosis
from leakyrelu.units.sites import LISTS

__all__ = ["scalars_of"]


def scalars_of(diagnosis: Diagnosis, *, kinds: Iterable[str] = LISTS, per_site: bool = True) -> dict[str, float]:
    """Fractions of all units, ``"units/dead_fraction"`` and so on, and the dead ones of each site."""
    units = diagnosis.units or nan
    fractions = {
        f"units/{kind}_fraction": sum(len(getattr(site, kind)) for site in diagnosis.sites) / units for kind in kinds
    }
    dead = {f"units/dead_fraction/{site.name}": len(site.dead) / (site.units or nan) for site in diagnosis.sites}
    return fractions | dead if per_site else fractions

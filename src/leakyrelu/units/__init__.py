"""The units of a network: what is counted per unit, which units are dead, and how sure that is; for any framework.

A framework that has counted makes `Site` and `Diagnosis` of its counts. Needs NumPy alone.
"""

from leakyrelu.units.diagnosis import Diagnosis, merge
from leakyrelu.units.sites import DORMANT, RARE, Site

__all__ = ["DORMANT", "RARE", "Diagnosis", "Site", "merge"]

"""The units of a network: what is counted per unit, which units are dead, and how sure that is; for any framework.

The package of a framework counts, and makes `Site` and `Diagnosis` objects of its counts. This one needs NumPy alone.
"""

from leakyrelu.units.comparison import Comparison, compare
from leakyrelu.units.diagnosis import Diagnosis, merge
from leakyrelu.units.sites import DORMANT, RARE, Site

__all__ = ["DORMANT", "RARE", "Comparison", "Diagnosis", "Site", "compare", "merge"]

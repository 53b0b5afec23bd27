"""Programs as people write them, right and wrong, and what the check must say of each."""

from test_check.corpus.arrays import ARRAYS
from test_check.corpus.backward import BACKWARD
from test_check.corpus.derivative import DERIVATIVE
from test_check.corpus.program import Program
from test_check.corpus.raising import RAISING
from test_check.corpus.right import RIGHT
from test_check.corpus.unreadable import UNREADABLE
from test_check.corpus.values import VALUES

__all__ = ["PROGRAMS", "Program"]

PROGRAMS = (*RIGHT, *VALUES, *RAISING, *UNREADABLE, *DERIVATIVE, *BACKWARD, *ARRAYS)

"""Which slope suits a task: found by experiment, on one machine or on many."""

from leakyrelu.tuning.results import Slope, SlopeState, Tuning
from leakyrelu.tuning.search import digits_accuracy, tune

__all__ = ["Slope", "SlopeState", "Tuning", "digits_accuracy", "tune"]

"""The gain for the weights, and networks that are born dead: constant before their first step."""

from leakyrelu.theory.born_dead import (
    BornDead,
    Simulated,
    born_dead_probability,
    gain,
    simulate_born_dead,
    width_for_risk,
)
from leakyrelu.theory.report import born_dead_report, plot_born_dead

__all__ = [
    "BornDead",
    "Simulated",
    "born_dead_probability",
    "born_dead_report",
    "gain",
    "plot_born_dead",
    "simulate_born_dead",
    "width_for_risk",
]

"""How an objective is called: with alpha and seed by their names, whatever their order."""

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from leakyrelu._shared.wording import listed

__all__ = ["Objective", "called_by_name"]

Objective: TypeAlias = Callable[[float, int], float | tuple[float, float]]

_NAMES = ("alpha", "seed")


def called_by_name(objective: Callable[..., Any]) -> Objective:
    """A function of alpha and seed, in this order, that passes them to the objective by name.

    An objective that shows no names, as one in C or with ``*args`` may, is called with alpha first.

    Raises
    ------
    TypeError
        Its parameters have other names, or it needs more of them.
    """
    try:
        parameters = inspect.signature(objective).parameters.values()
    except (TypeError, ValueError):
        return objective
    kinds = {each.kind for each in parameters}
    named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    found = [each.name for each in named if each.name in _NAMES]
    if not named and inspect.Parameter.VAR_KEYWORD not in kinds:
        if inspect.Parameter.VAR_POSITIONAL in kinds:
            return objective
        raise TypeError("the objective must be a function of alpha and seed, and it takes no arguments")
    missing = [name for name in _NAMES if name not in found] if inspect.Parameter.VAR_KEYWORD not in kinds else []
    surplus = [each.name for each in named if each.name not in _NAMES and each.default is each.empty]
    if named and not found and all(each.kind is each.POSITIONAL_ONLY for each in named):
        return objective  # nobody can call them by their names, which are those of a function in C
    if missing or surplus:
        raise TypeError(
            f"the objective's parameters must be called alpha and seed, got {listed(each.name for each in named)}; "
            "rename them, and give all others a default"
        )
    positional = [each.name for each in named if each.kind is each.POSITIONAL_ONLY and each.name in found]

    def call(alpha: float, seed: int) -> Any:
        given = {"alpha": alpha, "seed": seed}
        first = [given.pop(name) for name in positional]
        return objective(*first, **given)

    return call

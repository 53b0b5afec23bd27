"""Tries plans on a copy of a model, and finds which groups of units can go together."""

from collections.abc import Sequence

import torch
from torch import Tensor

from leakyrelu._shared.wording import first_line
from leakyrelu.torch.counts import largest_change
from leakyrelu.torch.removal.drawing import ImpossibleError, drawn
from leakyrelu.torch.removal.planning import Planner
from leakyrelu.torch.removal.shrinking import shrink
from leakyrelu.torch.removal.trials import Group

__all__ = ["Attempts", "shapes"]


class Attempts:
    """Tries plans on the copy of the model."""

    def __init__(self, planner: Planner, tolerance: float, *, in_training: bool) -> None:
        self._planner, self._tolerance, self._in_training = planner, tolerance, in_training

    def largest(self, groups: list[Group]) -> list[Group]:
        """As many of the groups as can go together; the others are refused."""
        return self._largest(self._largest(groups, 1), None)

    def _largest(self, groups: list[Group], batches: int | None) -> list[Group]:
        """The groups without which the copy computes the same; what fails together is halved.

        On some batches alone, they need not all go together: on all batches, that is tried, too.
        """
        reason = self._tried(groups, batches) if groups else ""
        if not reason:
            return groups
        if len(groups) == 1:
            self._planner.refuse(groups[0], reason)
            return []
        middle = len(groups) // 2
        first, second = self._largest(groups[:middle], batches), self._largest(groups[middle:], batches)
        reason = self._tried(first + second, batches) if first and second and batches is None else ""
        if not reason:
            return first + second
        for group in second:
            self._planner.refuse(group, f"together with others, {reason}")
        return first

    def _tried(self, groups: Sequence[Group], batches: int | None) -> str:
        """Why the copy does not compute the same without the units on some batches or on all; empty if it does.

        On all batches, it must run in train mode, too.
        """
        planner = self._planner
        try:
            plan, additions = drawn(planner, groups)
            undo = shrink(planner.model, plan, additions=additions)
        except ImpossibleError as error:
            return str(error)
        except (ValueError, TypeError) as error:
            return f"its weights cannot shrink: {first_line(error)}"
        try:
            after, before = planner.again(batches), planner.outputs[:batches]
            change = largest_change(before, after) if shapes(after) == shapes(before) else 1.0
            is_same = change <= self._tolerance
            fails = planner.failure_in_training() if self._in_training and is_same and batches is None else ""
        except Exception as error:  # noqa: BLE001  # whatever the model's code does with other sizes
            return _failing(first_line(error))
        finally:
            undo()
        if not is_same:
            return f"without it, the output changes by {change:.2g} of its largest value"
        return f"without it, the model fails in train mode ({fails})" if fails else ""


def _failing(error: str) -> str:
    """Why a model fails with other sizes, by its error."""
    if "is invalid for input of size" in error:  # of a view
        cause = "as its code has a size written out, where flatten(1) or -1 would do"
    elif "must match the size" in error or "equal size" in error:
        cause = "as it adds or joins what several layers make, such as in a skip connection"
    else:
        cause = "maybe as its code has a size written out"
    return f"without it, the model fails, {cause} ({error})"


def shapes(outputs: Sequence[Sequence[Tensor]]) -> list[list[torch.Size]]:
    """The shapes of all outputs, by batch."""
    return [[each.shape for each in some] for some in outputs]

"""Why a unit is left alone, in words."""

from collections.abc import Mapping, Sequence

from leakyrelu._shared.wording import listed

__all__ = [
    "NOTHING_TAKES_IT",
    "NOTHING_TO_COMPARE",
    "RANDOM",
    "change_in_words",
    "in_words",
    "joined",
    "makes_more",
    "met",
    "reaching",
]

NOTHING_TAKES_IT = "no weight takes its output"
NOTHING_TO_COMPARE = "neither the model nor forward returned a tensor, so that nothing can be compared"
RANDOM = "two runs of the model on the same batch gave different outputs, so nothing can be proven"

_MIXING = {
    "add": "other values are added to its output (as in a skip connection)",
    "sub": "its output and other values are subtracted",
    "mul": "its output is multiplied by other values",
    "div": "its output and other values are divided",
    "mm": "its output is multiplied by a matrix that is no parameter",
    "bmm": "its output is multiplied by a matrix that is no parameter",
    "addmm": "its output is multiplied by a matrix that is no parameter",
    "mv": "its output is multiplied by a vector that is no parameter",
    "convolution": "a convolution takes its output whose weight is no parameter, but computed",
    "native_layer_norm": "a norm mixes its output with other units",
    "native_group_norm": "a norm mixes its output with other units",
    "native_batch_norm": "a norm without weights of its own makes another constant of it",
    "_softmax": "a softmax mixes its output with other units",
    "mean": "a mean mixes its output with other values",
    "sum": "a sum mixes its output with other values",
}
_VIEWS = {
    *(
        "view",
        "_unsafe_view",
        "squeeze",
        "unsqueeze",
        "select",
        "slice",
        "transpose",
        "permute",
        "t",
        "expand",
        "clone",
    ),
    *("detach", "alias", "as_strided", "split", "unbind", "_to_copy", "cat", "relu", "relu_"),
}


def _mixing(path: Sequence[str]) -> str:
    """The last operation on the way that can have mixed units with other values."""
    return next((name.rstrip("_") for name in reversed(path) if name.rstrip("_") in _MIXING), "")


def met(path: Sequence[str], name: str) -> str:
    """Why the weight of that name cannot be said to take what a unit gives alone."""
    if all(each in _VIEWS for each in path):
        return f"{name} takes its output in columns that take other values at another call or on another batch"
    return f"{_meeting(path)} before {name} takes it"


def _meeting(path: Sequence[str]) -> str:
    """Where what a unit gives met other values, in words."""
    last = next((each for each in reversed(path) if each not in _VIEWS), "")
    if "attention" in last:
        return "attention mixes its output with other values"
    return _MIXING.get(_mixing(path)) or f"its output meets other values{last and f' in {last}'}"


def reaching(path: Sequence[str]) -> str:
    """How what a unit gives comes to an output of the model."""
    if not _mixing(path):
        return "its output is an output of the model, or becomes one without passing a weight"
    return f"{_meeting(path)}, and it reaches an output of the model without passing a weight of its own"


def makes_more(name: str) -> str:
    """Why what makes a unit cannot be changed or go, if the weight of that name takes what it makes, too."""
    return f"the weights that make it also change what {name} takes"


def change_in_words(change: float) -> str:
    """How far the outputs changed, relative to the largest."""
    if not change:
        return "the outputs on the batches are exactly the same"
    return f"the output changed by at most {change:.1g} of its largest value"


def in_words(units: Sequence[int]) -> str:
    """The units, by their numbers."""
    return f"unit{'' if len(units) == 1 else 's'} {listed(units)}"


def joined(reasons: Mapping[str, Sequence[int]]) -> str:
    """The reasons for which units of a site were left; if there are several, each with its units."""
    if len(reasons) == 1:
        return next(iter(reasons))
    return "; ".join(f"{reason} ({in_words(units)})" for reason, units in reasons.items())

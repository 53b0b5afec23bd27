"""Which operations of a jaxpr are activations: functions of `jax.nn` by their names, and a few formulas."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import Literal

from leakyrelu.jax.flow import Info

__all__ = [
    "Activation",
    "by_formula",
    "by_name",
    "inlined",
    "is_a_part",
    "is_backward",
    "is_of_a_norm",
    "names_within",
    "place",
]

_FLAT = {  # whether a function of jax.nn is flat below zero; that of leaky_relu hangs on its slope
    "relu": True,
    "relu6": True,
    "leaky_relu": False,
    "gelu": False,
    "silu": False,
    "elu": False,
    "celu": False,
    "selu": False,
}
# Other functions of JAX, which are made of those above and of max(x, 0); in most networks they belong to the loss.
_MADE_OF_THEM = {"hard_sigmoid", "hard_silu", "logaddexp", "log_sigmoid", "mish", "softplus"}
_OF_JAX = str(Path("jax") / "_src" / "nn" / "functions.py")
_LIBRARIES = ("jax", "flax", "equinox", "haiku", "leakyrelu")  # their lines do not tell a user anything


class Activation(NamedTuple):
    """One call of an activation."""

    operation: str
    flat: bool
    argument: int = 0  # which of the operands enters it


def by_name(eqn: Any, operands: Sequence[Info]) -> Activation | None:
    """The activation that is called as a function of its own, under `jax.jit`."""
    name = eqn.params.get("name")
    if not operands or not eqn.outvars or "jaxpr" not in eqn.params:
        return None
    # With a derivative, further operands and results follow those of the function.
    if name not in {"clip", *_FLAT} or tuple(eqn.outvars[0].aval.shape) != operands[0].shape:
        return None
    if name == "clip":
        # jnp.clip(x, 0, 6) is called with the bounds, jnp.clip(x, 0) with one of the two.
        is_clipped = len(operands) == 3 and operands[1].number == 0
        return Activation("clip", flat=True) if is_clipped else None
    return Activation(name, _FLAT[name] or (name == "leaky_relu" and len(operands) > 1 and operands[1].number == 0))


def by_formula(name: str, operands: Sequence[Info]) -> Activation | None:
    """The activation that a formula computes: `max(x, 0)`, `where(x > 0, x, slope * x)`, or `x * (x > 0)`."""
    if name == "max":
        zeros = [operand.number == 0 for operand in operands]
        return Activation("relu", flat=True, argument=zeros.index(False)) if sum(zeros) == 1 else None
    if name == "select_n" and len(operands) == 3:
        return _selection(operands)
    if name == "mul":
        for i, (x, other) in enumerate((operands, operands[::-1])):
            if other.made_by == "convert_element_type" and _is_above_zero(other.made_of[0], x) is True:
                return Activation("relu", flat=True, argument=i)
    return None


def _selection(operands: Sequence[Info]) -> Activation | None:
    which, *cases = operands
    for above, x in enumerate(cases):
        below = cases[1 - above]
        if x.is_data and _is_above_zero(which, x) is bool(above):
            argument = 1 + above
            if below.number == 0:
                return Activation("relu", flat=True, argument=argument)
            slopes = [each for each in below.made_of if each is not x]
            if below.made_by == "mul" and len(slopes) == 1 and not slopes[0].is_data:
                number = slopes[0].number
                return Activation("prelu" if number is None else "leaky_relu", number == 0, argument)
    return None


def _is_above_zero(which: Info, x: Info) -> bool | None:
    """True for `x > 0` and the like, False for `x < 0`, None for all else."""
    if which.made_by not in {"gt", "ge", "lt", "le"}:
        return None
    left, right = which.made_of
    greater = which.made_by in {"gt", "ge"}
    if left is x and right.number == 0:
        return greater
    if right is x and left.number == 0:
        return not greater
    return None


def inlined(eqns: Sequence[Any], start: int) -> tuple[str, int] | None:
    """An activation whose operations stand in the jaxpr one by one, from `start`: its name, and where it ends.

    `jax.nn.gelu` is of that kind in JAX 0.10. The traceback of each operation tells who called it.
    """
    name = _function_of_jax(eqns[start])
    if name is None:
        return None
    first = _signature(eqns[start])
    end = start + 1
    while end < len(eqns) and _function_of_jax(eqns[end]) == name and _signature(eqns[end]) != first:
        end += 1
    return name, end


def is_a_part(eqn: Any) -> bool:
    """Whether an operation calls a function that is no activation in our sense, but is made of some."""
    jaxpr = getattr(eqn.params.get("call_jaxpr"), "jaxpr", None)  # a custom_jvp has no name of its own
    named = getattr(getattr(jaxpr, "debug_info", None), "func_name", None)
    return eqn.params.get("name", named) in _MADE_OF_THEM


def is_backward(eqn: Any) -> bool:
    """Whether an operation is of a backward pass, where functions have the names that they have in the forward pass."""
    return "transpose(" in str(getattr(getattr(eqn, "source_info", None), "name_stack", ""))


def _function_of_jax(eqn: Any) -> str | None:
    if is_backward(eqn):
        return None
    for frame in _frames(eqn):
        if frame.function_name in _FLAT and frame.file_name.endswith(_OF_JAX):
            return str(frame.function_name)
    return None


def _signature(eqn: Any) -> tuple[object, ...]:
    """What tells the first operation of a function from its others, but not from the first one of its next call."""
    numbers = [str(var.val) for var in eqn.invars if isinstance(var, Literal)]
    return eqn.primitive.name, str(eqn.params), *numbers


def _frames(eqn: Any) -> Sequence[Any]:
    traceback = getattr(getattr(eqn, "source_info", None), "traceback", None)
    return getattr(traceback, "frames", ())  # poorer without: activations that are inlined are not seen


def place(eqn: Any) -> str:
    """The user's line that an operation comes from."""
    folders = _folders()
    for frame in _frames(eqn):
        path = Path(frame.file_name)
        if not frame.file_name.startswith(folders) and path.exists():
            return f"{path.name}, line {frame.line_num}"
    return "an unknown line"


def is_of_a_norm(eqn: Any) -> bool:
    """Whether an operation belongs to a normalization of a library, which keeps its variance above zero by `max`."""
    folders = _folders()
    return any(f.file_name.startswith(folders) and "norm" in Path(f.file_name).name for f in _frames(eqn))


def _folders() -> tuple[str, ...]:
    """Where the libraries lie that are loaded."""
    files = [getattr(sys.modules.get(name), "__file__", None) for name in _LIBRARIES]
    return tuple(str(Path(file).parent) for file in files if file)


def names_within(params: Any) -> set[str]:
    """The activations in the jaxprs that an operation holds as its parameters, however deep."""
    found = set()
    for value in params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            for eqn in getattr(getattr(each, "jaxpr", each), "eqns", ()):
                name = eqn.params.get("name")
                if isinstance(name, str) and name in _FLAT:
                    found.add(name)
                elif _function_of_jax(eqn):
                    found.add(str(_function_of_jax(eqn)))
                elif eqn.primitive.name == "max" and any(_is_zero(var) for var in eqn.invars):
                    found.add("max(x, 0)")
                else:
                    found |= names_within(eqn.params)
    return found


def _is_zero(var: Any) -> bool:
    return isinstance(var, Literal) and np.ndim(var.val) == 0 and var.val == 0

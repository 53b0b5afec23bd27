"""The mask of a batch: finds it in the batch or in a call, and says what comes first in the inputs that it tells of."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from leakyrelu._backends.torch_private import tree_leaves
from leakyrelu.torch.padding import Order, Padding, order_of

__all__ = ["Mask", "Masking", "arguments_of", "checked_mask"]

Mask: TypeAlias = str | Callable[[Any], Tensor | None]  # a name, or a function of the batch or of the arguments
_Key: TypeAlias = tuple[str, Any, int]  # an input: the class of the module, its name, and which tensor in it


def checked_mask(mask: object) -> Mask | None:
    """The mask as a user gave it; a `TypeError` if it is of another kind."""
    if mask is None or isinstance(mask, str) or (callable(mask) and not isinstance(mask, nn.Module)):
        return mask
    raise TypeError(
        "mask must be the name of the mask in a batch or among the arguments of forward, such as 'attention_mask', "
        f"or a function that returns the mask of a batch; got {type(mask).__name__}"
    )


def arguments_of(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The arguments of a call by name, and all names that the module's forward knows; ``**`` if it takes any."""
    signature = inspect.signature(module.forward)
    kinds = {name: each.kind for name, each in signature.parameters.items()}
    try:
        found = dict(signature.bind_partial(*args, **kwargs).arguments)
    except TypeError:  # the call itself will fail, with a better message
        found = dict(kwargs)
    for name, kind in kinds.items():
        if kind is inspect.Parameter.VAR_KEYWORD:
            found |= found.pop(name, {})
    names = ["**" if kind is inspect.Parameter.VAR_KEYWORD else name for name, kind in kinds.items()]
    return found, names


class Masking:
    """Finds the mask of each pass, and remembers what comes first in each input and at each site.

    Parameters
    ----------
    mask : str or callable
    model : nn.Module
    notes : dict
        Its keys are remarks on what is not known; some are added, and removed once it is known.
    """

    def __init__(self, mask: Mask, model: nn.Module, notes: dict[str, None]) -> None:
        self._mask = mask
        self._notes = notes
        self._inputs: dict[_Key, Order] = {}
        self._assumed: set[_Key] = set()  # examples were taken to come first
        self._sites: dict[str, Order] = {}
        self._follows_convention = all(getattr(module, "batch_first", True) for module in model.modules())

    def state(self) -> dict[str, Any]:
        """What is remembered, as plain values."""
        inputs = [(*key, order) for key, order in self._inputs.items()]
        return {"inputs": inputs, "assumed": list(self._assumed), "sites": dict(self._sites)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Remember what another one had."""
        self._inputs.update({(kind, name, i): order for kind, name, i, order in state["inputs"]})
        self._assumed.update((kind, name, i) for kind, name, i in state["assumed"])
        self._sites.update(state["sites"])

    def in_batch(self, batch: object) -> tuple[bool, Tensor | None]:
        """Whether a batch tells its mask, and the mask."""
        if not isinstance(self._mask, str):
            return True, self._mask(batch)
        item = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if isinstance(item, Mapping) and self._mask in item:
            return True, item[self._mask]
        return False, None

    def in_call(
        self, module: nn.Module, found: dict[str, Any], names: Iterable[str], *, outermost: bool, batch: object = None
    ) -> Any:
        """The mask that a call is given; None if there is none, or a note why none can be found.

        `found` and `names` are what `arguments_of` tells of the call.

        Raises
        ------
        ValueError
            The forward of the whole model has no such argument.
        """
        if not isinstance(self._mask, str):
            return self._mask(found)
        if self._mask in found or self._mask in names:
            return found.get(self._mask)
        if "**" in names:
            return None
        if not outermost:
            return f"{type(module).__name__} takes no argument {self._mask!r}, so all values count that it sees"
        where = f"{type(module).__name__}.forward takes {', '.join(names) or 'nothing'}"
        item = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if isinstance(item, Mapping):
            where = f"the batch holds {', '.join(map(str, item)) or 'nothing'}, and {where}"
        raise ValueError(f"there is no mask {self._mask!r}: {where}; give one of these names, or a function as mask")

    @property
    def absent(self) -> str:
        """The note on a pass without a mask."""
        what = f"{self._mask!r} was not given" if isinstance(self._mask, str) else "the mask was None"
        return f"{what} in at least one pass, so all values count there"

    def padding(self, mask: object, inputs: object, module: nn.Module) -> Padding:
        """The padding of a pass: of a batch, or of the arguments of the outermost module by name.

        Raises
        ------
        TypeError, ValueError
            The mask is no tensor that tells which of the inputs are real.
        """
        what = f"the mask {self._mask!r}" if isinstance(self._mask, str) else "the mask"
        wanted = (
            "it must be a tensor of shape (examples,) or (examples, positions) that is nonzero where a token is real"
        )
        if not isinstance(mask, Tensor):
            raise TypeError(f"{what} is of type {type(mask).__name__}; {wanted}")
        real = mask.detach()
        if not real.ndim or real.is_complex() or real.is_nested:
            raise ValueError(f"{what} has shape {tuple(real.shape)} and type {real.dtype}; {wanted}")
        if real.is_floating_point() and bool((real < 0).any()):
            raise ValueError(f"{what} has negative values, as masks have that are added to scores; {wanted}")
        tensors = _tensors(inputs, type(module).__name__)
        others = [leaf.shape for leaf in tensors.values() if leaf.shape != real.shape]
        lengths = {len(real), real.numel()}
        if others and len(others) == len(tensors) and not any(lengths & set(shape[:2]) for shape in others):
            shapes = ", ".join(str(tuple(shape)) for shape in others)
            raise ValueError(f"{what} has shape {tuple(real.shape)}, and the inputs have {shapes}; {wanted}")
        names = self._of_others(mask, tensors)
        ordered = self._ordered(mask, real != 0, tensors)
        return Padding(mask, [(tensors[key], order, names.get(key, "")) for key, order in ordered.items()], self._sites)

    def _of_others(self, mask: Tensor, tensors: Mapping[_Key, Tensor]) -> dict[_Key, str]:
        """The names of inputs that are another sequence than the mask's, though as long: those of a decoder."""
        n, t = mask.shape[0], mask.shape[1] if mask.ndim == 2 else 0
        alike = [key for key, each in tensors.items() if each is not mask and {*each.shape[:2]} == {n, t}]
        theirs = [key for key in alike if _is_decoders(key[1]) != _is_decoders(self._mask)]
        return {key: repr(key[1]) for key in theirs} if len(theirs) < len(alike) else {}

    def _ordered(self, mask: Tensor, real: Tensor, tensors: Mapping[_Key, Tensor]) -> dict[_Key, Order | None]:
        """What comes first in each input: its shape or its padding tells, in this pass or in an earlier one.

        Where nothing tells, inputs with equally many axes are alike, and then convention decides, with a note.
        """
        if real.shape[:1] == real.shape[1:] and bool((real == real.T).all()):
            return {key: "examples" if len(each) == len(real) else None for key, each in tensors.items()}  # both are
        told: dict[_Key, Order | None] = {}
        for key, tensor in tensors.items():
            order = "examples" if tensor is mask else order_of(tensor.shape, real.shape)
            order = order or _order_by_content(tensor, real)
            if order is None and not _may_be_either(tensor, real) and self._follows_convention:
                order = "examples" if len(tensor) == len(real) else None
            if order is not None:
                self._learn(key, order)
            told[key] = self._inputs.get(key) if order is None and _may_be_either(tensor, real) else order
        alike = {tensors[key].ndim: order for key, order in told.items() if order and tensors[key].dtype != torch.bool}
        for key, tensor in tensors.items():
            if told[key] is None and _may_be_either(tensor, real):
                told[key] = alike.get(tensor.ndim)
                if told[key] is None and self._follows_convention:
                    told[key] = "examples"
                    if tensor.dtype != torch.bool:
                        self._assume(key)
        return told

    def _assume(self, key: _Key) -> None:
        if key not in self._assumed:
            self._assumed.add(key)
            self._notes[_assumption(key)] = None

    def _learn(self, key: _Key, order: Order) -> None:
        """Remember what comes first in an input, and tell whether it was assumed rightly before."""
        self._inputs[key] = order
        if key in self._assumed:
            self._assumed.remove(key)
            self._notes.pop(_assumption(key), None)
            if order == "positions":
                self._notes[f"{_assumption(key)}, which was wrong: later passes show that positions do"] = None


def _assumption(key: _Key) -> str:
    where = f"input {key[1]!r}" if isinstance(key[1], str) else "input"
    return (
        "at least one pass had as many examples as positions; in its "
        f"{where}, examples were taken to come first, as nothing told"
    )


def _tensors(inputs: object, module: str) -> dict[_Key, Tensor]:
    """The tensors of a batch or of the arguments of a call."""
    if isinstance(inputs, tuple | list):
        inputs = dict(enumerate(inputs))
    named = inputs.items() if isinstance(inputs, Mapping) else [(0, inputs)]
    return {
        (module, name, i): leaf
        for name, item in named
        for i, leaf in enumerate(tree_leaves(item))
        if isinstance(leaf, Tensor) and not leaf.is_nested and leaf.ndim
    }


def _is_decoders(name: object) -> bool:
    return isinstance(name, str) and name.startswith(("decoder", "tgt", "target", "labels"))


def _may_be_either(tensor: Tensor, real: Tensor) -> bool:
    """Whether the shape fits both orders."""
    n = len(real)
    return tuple(tensor.shape[:2]) == (n, n) and (real.shape == (n, n) or (real.ndim == 1 and tensor.ndim == 3))


def _order_by_content(tensor: Tensor, real: Tensor) -> Order | None:
    """What comes first by the padding, which is mostly the same everywhere: all padding is, in one order alone."""
    if (
        not _may_be_either(tensor, real)
        or real.ndim == 1
        or type(tensor) is not Tensor
        or tensor.layout != torch.strided
    ):
        return None
    values, real = tensor.detach(), real.to(tensor.device)
    same = [bool((padding == padding[:1]).all()) for padding in (values[~real], values[~real.T]) if len(padding) > 1]
    return "examples" if same == [True, False] else "positions" if same == [False, True] else None

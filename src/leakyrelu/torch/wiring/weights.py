"""A model's parameters and buffers, by the memory that they lie in; which operations apply a part of one as a weight.

All places in them are addresses: positions in the flat memory of a storage. So a chunk, a transposition or a copy in
another dtype of a parameter needs no case of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from leakyrelu._backends.torch_private import storage_of

__all__ = [
    "BATCH_NORMS",
    "CONVOLUTIONS",
    "COPYING",
    "PRODUCTS",
    "Application",
    "Place",
    "Weights",
    "add_to",
    "application",
]


class Place(NamedTuple):
    """Where a tensor lies: its storage, and how it is laid out there."""

    storage: int
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> "Place | None":
        """The place of a tensor; None if it has no memory of its own."""
        storage = storage_of(tensor)
        if storage is None:
            return None
        return cls(storage, int(tensor.storage_offset()), tuple(tensor.shape), tuple(tensor.stride()))

    def address(self, coordinates: Sequence[int]) -> int:
        """Where one element lies."""
        return self.offset + sum(at * step for at, step in zip(coordinates, self.stride, strict=True))

    def addresses(self, chosen: Mapping[int, Sequence[int]]) -> Tensor:
        """Where the elements lie whose index on each of these axes is among those that are chosen."""
        found = torch.tensor([self.offset])
        for axis, (length, step) in enumerate(zip(self.size, self.stride, strict=True)):
            index = torch.tensor(chosen[axis]) if axis in chosen else torch.arange(length)
            found = (found[:, None] + index * step).flatten()
        return found

    def coordinates(self, address: int) -> tuple[int, ...] | None:
        """The element that lies at an address; None if there is none."""
        rest, found = address - self.offset, [0] * len(self.size)
        for axis in sorted(range(len(self.size)), key=lambda axis: -self.stride[axis]):
            if self.stride[axis] and self.size[axis] > 1:
                found[axis], rest = divmod(rest, self.stride[axis])
                if found[axis] >= self.size[axis]:
                    return None
        return tuple(found) if rest == 0 else None


class Weights:
    """The parameters and buffers of a model, by the storage that they lie in."""

    def __init__(self, model: nn.Module) -> None:
        self._held: dict[int, list[tuple[str, Tensor]]] = {}
        self._copies: dict[int, tuple[int, int, Tensor]] = {}
        self._scaled: dict[int, set[int]] = {}  # the storages of copies that are multiplied, by what they are copies of
        self.masks: dict[int, set[tuple[int, int]]] = {}  # by storage: those of its masks, and how far they lie off
        for name, tensor in chain(model.named_parameters(), model.named_buffers()):
            storage = storage_of(tensor)
            if storage:
                self._held.setdefault(storage, []).append((name, tensor))
        self._trained = {storage_of(each): 1 + each.requires_grad for each in model.parameters()}  # 2: not frozen

    def __contains__(self, storage: int) -> bool:
        """Whether it is the storage of a parameter or buffer, or of a copy of one."""
        return storage in self._held or storage in self._copies

    def forget_copies(self) -> None:
        """Forget what was copied in an earlier run."""
        self._copies.clear()
        self._scaled.clear()

    def place(self, tensor: object) -> Place | None:
        """Where in a parameter or buffer a tensor lies of which it is a view or a copy; None for other tensors.

        What an element is multiplied by, if it is a number or a mask of the model, makes a copy of it, too.
        """
        found = Place.of(tensor) if isinstance(tensor, Tensor) else None
        if found is None or found.storage in self._held:
            return found
        origin = self._copies.get(found.storage)
        return origin and found._replace(storage=origin[0], offset=origin[1] + found.offset)

    def follow(self, name: str, args: Sequence[Any], output: object) -> Place | None:
        """Take note of a copy, as autocast and masks make them, and of what is written into one or into a weight.

        Returns
        -------
        Place or None
            Where in a weight the copy lay that is none any more, as something else was written into it.
        """
        if name.endswith("_") and isinstance(output, Tensor):
            return self._written(name, args)
        if name not in COPYING or not isinstance(output, Tensor) or not output.numel():
            return None
        copied, factor = (args[0], None) if name not in SCALING else self._factors(name, args)
        origin, made = self.place(copied), Place.of(output)
        if origin and made and made.storage not in self._held and made[2:] == origin[2:]:
            offset = origin.offset - made.offset
            self._copies[made.storage] = origin.storage, offset, output  # it is kept, and its address with it
            if name in SCALING:
                self._scaled.setdefault(origin.storage, set()).add(made.storage)
            self._mask(origin, factor)
        return None

    def _written(self, name: str, args: Sequence[Any]) -> Place | None:
        """Take note of what is written in place; where the copy lay that is none any more, if it was one."""
        storage = storage_of(args[0]) if args and isinstance(args[0], Tensor) else None
        if storage is None or storage not in self:
            return None
        weight, factor = self._factors(name.rstrip("_"), args) if name.rstrip("_") in SCALING else (None, None)
        origin, copy = self.place(weight), self._copies.get(storage)
        if weight is args[0] and origin:
            if copy:
                self._scaled.setdefault(origin.storage, set()).add(storage)
            self._mask(origin, factor)
        elif copy:
            lost = self.place(copy[2])
            del self._copies[storage]
            self._scaled.get(copy[0], set()).discard(storage)
            return lost
        return None

    def _mask(self, origin: Place, factor: object) -> None:
        """Take note of a mask, if the factor of a weight is one."""
        mask = self.place(factor)
        if mask and mask.size == origin.size:
            self.masks.setdefault(origin.storage, set()).add((mask.storage, mask.offset - origin.offset))

    def _factors(self, name: str, args: Sequence[Any]) -> tuple[object, object]:
        """A weight, and the number or the mask that it is multiplied by; None twice if it is something else."""
        one, other = args[:2]
        for weight, factor in [(one, other), (other, one)] if name == "mul" else [(one, other)]:
            place, mask = self.place(weight), self.place(factor)
            is_number = not isinstance(factor, Tensor) or (mask and factor.numel() == 1)
            is_mask = place and mask and place[2:] == mask[2:] and self._rank(place) > self._rank(mask)
            if place and (is_number or is_mask):
                return weight, factor
        return None, None

    def _rank(self, place: Place) -> int:
        """How much it is what training changes: 0 in a buffer, 1 in a frozen parameter, 2 in another one."""
        return self._trained.get(place.storage, 0)

    def is_parameter(self, place: Place) -> bool:
        """Whether it lies in a parameter, not in a buffer."""
        return self._rank(place) > 0

    def is_scaled(self, storage: int) -> bool:
        """Whether the run multiplied what lies there, before it was applied."""
        return bool(self._scaled.get(storage))

    def values(self, place: Place) -> Tensor:
        """The numbers of a place, as the last run applied them."""
        for made in self._scaled.get(place.storage, ()):
            _, offset, output = self._copies[made]
            return output.as_strided(place.size, place.stride, place.offset - offset)
        return self.flat(place.storage).as_strided(place.size, place.stride, place.offset)

    def name(self, storage: int, address: int = 0) -> str:
        """The name of what lies there."""
        return self._found(storage, address)[0]

    def tensor(self, storage: int, address: int = 0) -> Tensor:
        """The parameter or buffer that lies there."""
        return self._found(storage, address)[1]

    def _found(self, storage: int, address: int) -> tuple[str, Tensor]:
        held = self._held[storage]
        later = [each for each in held if each[1].storage_offset() <= address]
        return max(later or held, key=lambda each: each[1].storage_offset())

    def flat(self, storage: int) -> Tensor:
        """All the memory of a storage, in one row; what is written there is written to the parameter."""
        some = self._held[storage][0][1].data
        return some.as_strided((some.untyped_storage().nbytes() // some.element_size(),), (1,), 0)


@dataclass(frozen=True)
class Application:
    """A call in which a part of a parameter multiplies channels of a tensor."""

    kind: str
    position: int  # of the tensor among the arguments
    axes: tuple[int, ...]  # of its channels; () if a weight is multiplied by each element
    place: Place  # of the weight
    groups: int = 1
    bias: int | None = None  # its position among the arguments
    statistics: tuple[Place, ...] = ()  # of a batch norm: shift, mean and variance
    eps: float = 0.0

    @property
    def key(self) -> tuple[object, ...]:
        """The same for all calls with the same weight."""
        return self.kind, self.place, self.groups

    @property
    def rows(self) -> int | None:
        """The axis of the output on which each row of the weight has its own place; None if there is none."""
        return {"conv": 1, "conv transposed": 1, "mm": 1, "mm, left": 0}.get(self.kind)

    @property
    def outputs(self) -> int:
        """How many rows the weight has, each of which makes a channel."""
        size = self.place.size
        return size[1] * self.groups if self.kind == "conv transposed" else size[1 if self.kind == "mm" else 0]

    def channels(self, which: Tensor) -> Tensor:
        """For each channel, whether any of its elements in `which` is true."""
        if not self.axes:
            lead = which.ndim - len(self.place.size)
            which = which.any(tuple(range(lead))) if lead > 0 else which
            ones = [axis for axis, length in enumerate(self.place.size) if length == 1 < which.shape[axis]]
            return which.any(tuple(ones), keepdim=True) if ones else which
        rest = tuple(axis for axis in range(which.ndim) if axis not in self.axes)
        return which.any(rest) if rest else which

    def columns(self, channels: Tensor) -> Tensor:
        """The addresses of the weights that multiply these channels."""
        place, picked = self.place, torch.nonzero(channels).tolist()
        if self.kind in ("conv", "depthwise"):
            inputs, outputs = place.size[1], place.size[0] // self.groups
            found = []
            for (channel,) in picked:
                group, within = divmod(channel, inputs)
                found.append(place.addresses({0: range(group * outputs, (group + 1) * outputs), 1: [within]}))
            return torch.cat(found)
        axes = {"mm, left": (1,), "bmm, left": (0, 2), "mv, left": (1,)}.get(self.kind, tuple(range(channels.ndim)))
        return torch.cat([place.addresses({a: [i] for a, i in zip(axes, at, strict=True)}) for at in picked])

    def row(self, unit: int) -> Tensor:
        """The addresses of the weights that make this channel of the output."""
        if self.kind == "conv transposed":
            outputs, inputs = self.place.size[1], self.place.size[0] // self.groups
            group, within = divmod(unit, outputs)
            return self.place.addresses({0: range(group * inputs, (group + 1) * inputs), 1: [within]})
        return self.place.addresses({(1 if self.kind == "mm" else 0): [unit]})


CONVOLUTIONS = {"convolution", "_convolution", "mkldnn_convolution", "convolution_overrideable"}
PRODUCTS = {  # and the positions of the two factors among the arguments
    "mm": (0, 1),
    "addmm": (1, 2),
    "bmm": (0, 1),
    "baddbmm": (1, 2),
    "_grouped_mm": (0, 1),
    "mv": (0, 1),
    "addmv": (1, 2),
    "dot": (0, 1),
}
SCALING = {"mul", "div"}
COPYING = {"_to_copy", "clone", "detach", *SCALING}  # may give a copy of a weight: in another dtype, or masked
BATCH_NORMS = {
    *("native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit"),
    *("cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_with_update", "_batch_norm_no_update"),
}


def application(name: str, args: Sequence[Any], weights: Weights) -> Application | None:
    """What an operation of PyTorch's dispatcher applies as a weight; None if it applies none."""
    if name in CONVOLUTIONS:
        return _convolution(args, weights.place)
    if name in BATCH_NORMS:
        return _batch_norm(args, weights.place)
    if name in ("mul", "mul_"):
        return _scaling(args, weights.place)
    left, right = PRODUCTS.get(name.rstrip("_"), (0, 0))
    return _product(name, args, left, right, weights) if left != right else None


def _scaling(args: Sequence[Any], place: Callable[[object], Place | None]) -> Application | None:
    for weight, other in ((1, 0), (0, 1)):
        found = place(args[weight])
        if found and isinstance(args[other], Tensor) and not place(args[other]) and len(found.size) <= args[other].ndim:
            return Application("mul", other, (), found)
    return None


def _product(name: str, args: Sequence[Any], left: int, right: int, weights: Weights) -> Application | None:
    one, other = weights.place(args[left]), weights.place(args[right])
    if one and other:  # a layer applied to a part of the model itself, such as a table of positions
        one, other = (None, other) if weights.is_parameter(other) else (one, None)
    bias = 0 if left else None
    if other and not one:
        axes = {1: (0,), 2: (1,)}.get(args[left].ndim, (0, 2))
        return Application(_kind(name, args[right]), left, axes, other, bias=bias)
    if one and not other:
        axes = (0,) if args[right].ndim <= 2 else (0, 1)  # a matrix or a vector
        return Application(_kind(name, args[right]) + ", left", right, axes, one, bias=bias)
    return None


def _kind(name: str, right: Tensor) -> str:
    return "mv" if right.ndim == 1 else "mm" if "bmm" not in name and right.ndim == 2 else "bmm"


def _convolution(args: Sequence[Any], place: Callable[[object], Place | None]) -> Application | None:
    weight = place(args[1])
    if weight is None:
        return None
    return Application("conv transposed" if args[6] else "conv", 0, (1,), weight, args[8], 2)


def _batch_norm(args: Sequence[Any], place: Callable[[object], Place | None]) -> Application | None:
    weight, *others = (place(each) for each in args[1:5])
    found = tuple(each for each in others if each)
    training = next((each for each in args[5:] if isinstance(each, bool)), False)
    if weight is None or len(found) < 3 or training:  # its shift, mean and variance
        return None
    return Application("batch norm", 0, (1,), weight, bias=2, statistics=found, eps=float(args[-1]))


def add_to(masks: dict[Any, Tensor], key: object, mask: Tensor) -> None:
    """What is true in either of two masks: the one that is known under a key, if any, and another."""
    masks[key] = masks[key] | mask if key in masks else mask

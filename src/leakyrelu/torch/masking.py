"""Padding: where the real tokens of a batch are, and which values of an activation belong to them."""

import inspect
import math
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from torch import Tensor, nn

from leakyrelu._backends.torch_private import tree_leaves
from leakyrelu.torch.layout import Units

__all__ = ["Mask", "Masking", "Order", "Padding", "Placed", "arguments_of", "checked_mask"]

Mask: TypeAlias = str | Callable[[Any], Tensor | None]  # a name, or a function of the batch or of the arguments
Order: TypeAlias = Literal["examples", "positions"]  # what the first axis of a tensor counts


class Placed(NamedTuple):
    """Which values of a tensor are real."""

    real: Tensor | None  # has as many axes as the tensor, and can be expanded to its shape; None: all of them
    note: str = ""  # why not all that are real could be told apart


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
    """Finds the mask of each pass, and remembers of each site which axis comes first."""

    def __init__(self, mask: Mask, model: nn.Module) -> None:
        self._mask = mask
        self.orders: dict[str, Order] = {}  # by site; "" is the model's input
        self._follows_convention = all(getattr(module, "batch_first", True) for module in model.modules())

    def in_batch(self, batch: object) -> tuple[bool, Tensor | None]:
        """Whether a batch tells its mask, and the mask."""
        if not isinstance(self._mask, str):
            return True, self._mask(batch)
        item = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if isinstance(item, Mapping) and self._mask in item:
            return True, item[self._mask]
        return False, None

    def in_call(self, module: nn.Module, args: Any, kwargs: Any, *, outermost: bool, batch: object = None) -> Any:
        """The mask that a call is given; None if there is none, or a note why none can be found.

        Raises
        ------
        ValueError
            The forward of the whole model has no such argument.
        """
        found, names = arguments_of(module, args, kwargs)
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

    def padding(self, mask: object, inputs: object) -> "Padding":
        """The padding of a pass.

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
        mask = mask.detach()
        if not mask.ndim or mask.is_complex() or mask.is_nested:
            raise ValueError(f"{what} has shape {tuple(mask.shape)} and type {mask.dtype}; {wanted}")
        if mask.is_floating_point() and bool((mask < 0).any()):
            raise ValueError(f"{what} has negative values, as masks have that are added to scores; {wanted}")
        tensors = [
            leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor) and not leaf.is_nested and leaf.ndim
        ]
        others = [leaf.shape for leaf in tensors if leaf.shape != mask.shape]
        lengths = {len(mask), mask.numel()}
        if others and len(others) == len(tensors) and not any(lengths & set(shape[:2]) for shape in others):
            shapes = ", ".join(str(tuple(shape)) for shape in others)
            raise ValueError(f"{what} has shape {tuple(mask.shape)}, and the inputs have {shapes}; {wanted}")
        return Padding(mask != 0, tensors, self)

    def convention(self) -> Order | None:
        """What comes first in an input whose shape does not tell."""
        return self.orders.get("") or ("examples" if self._follows_convention else None)


class Padding:
    """The padding in one pass.

    Where the shape does not tell whether examples or positions come first, as in (N * T, features) or if there are as
    many examples as positions, the tensors are followed from the inputs on.
    """

    def __init__(self, real: Tensor, inputs: Iterable[Tensor], masking: Masking) -> None:
        self.real = real
        self._masking = masking
        self.by_example = real.flatten(1).any(1) if real.ndim > 1 else real
        self.examples = int(self.by_example.sum())
        self._known: dict[int, tuple[weakref.ref[Tensor], Order | None]] = {}
        for tensor in inputs:
            order = self._told(tensor.shape)
            if order is not None and tensor.shape != real.shape:
                masking.orders[""] = order
            self._remember(tensor, order or masking.convention())

    def _told(self, shape: Sequence[int]) -> Order | None:
        """What the shape alone tells."""
        n, t = len(self.real), self.real.shape[1] if self.real.ndim > 1 else 0
        if n == t:
            return None
        if tuple(shape[:2]) == (t, n):
            return "positions"
        return "examples" if shape and shape[0] == n else None

    def _remember(self, value: Tensor, order: Order | None) -> None:
        self._known[id(value)] = weakref.ref(value), order

    def order(self, value: Tensor) -> Order | None:
        """What comes first in a tensor; None if it is not known."""
        reference, order = self._known.get(id(value), (None, None))
        return order if reference is not None and reference() is value else None

    def follow(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], output: object) -> None:
        """Take note of what a function made of its arguments."""
        sources = [
            each
            for each in tree_leaves((args, kwargs))
            if isinstance(each, Tensor) and not isinstance(each, nn.Parameter) and not each.is_nested
        ]
        known = {self.order(each) for each in sources if each.ndim > 1} - {None}
        inherited = known.pop() if len(known) == 1 else None
        for result in tree_leaves(output):
            if isinstance(result, Tensor) and not result.is_nested and result.ndim:
                order = inherited
                if name in _MOVING and sources:
                    order = _moved(sources[0], result, inherited)
                elif name in _CHANGING and sources and sources[0].ndim > 1 and result.shape[:1] != sources[0].shape[:1]:
                    order = None
                self._remember(result, self._told(result.shape[:2]) if result.ndim > 2 and order is None else order)

    def place(self, value: Tensor, units: Units, site: str) -> Placed:
        """Which values of an activation's input are real."""
        shape = tuple(value.shape)
        free = set(range(len(shape))) - {part.axis for part in units}
        order = self.order(value) or self._masking.orders.get(site)
        first, second = self._examples_first(shape, free), self._positions_first(shape, free, order)
        if first and second and order is None:
            return Placed(None, "there are as many examples as positions, and the first axis may be either")
        found = second if second and (not first or order == "positions") else first
        if found:
            self._masking.orders[site] = "positions" if found is second else "examples"
            return Placed(_spread(*found, len(shape)))
        return self._merged(shape, free, order) if 0 in free else Placed(None, self._strange(shape))

    def _merged(self, shape: Sequence[int], free: set[int], order: Order | None) -> Placed:
        """The same where no axis counts positions: it was merged with that of the examples, or pooled."""
        real = self.real
        if shape[0] == real.numel() and real.ndim > 1:
            if order is None:
                return Placed(None, "whether examples or positions come first is not known")
            flat = real.reshape(-1) if order == "examples" else real.transpose(0, 1).reshape(-1)
            return Placed(_spread(flat, (0,), len(shape)))
        if shape[0] == len(real) and order != "positions":
            pooled = Placed(_spread(self.by_example, (0,), len(shape)))
            return pooled if free == {0} else pooled._replace(note=self._strange(shape))
        is_packed = shape[0] == int(real.sum())  # the padding was taken out before
        return Placed(None, "" if is_packed else self._strange(shape))

    def _strange(self, shape: Sequence[int]) -> str:
        lengths = ", ".join(map(str, shape))
        return f"a mask of shape ({', '.join(map(str, self.real.shape))}) does not fit values of shape ({lengths})"

    def _examples_first(self, shape: Sequence[int], free: set[int]) -> tuple[Tensor, tuple[int, ...]] | None:
        real = self.real
        if 0 not in free or shape[0] != len(real):
            return None
        if real.ndim == 1:
            return real, (0,)
        if real.ndim == 2:
            axes = [axis for axis in sorted(free - {0}) if shape[axis] == real.shape[1]]
            return (real, (0, axes[0])) if len(axes) == 1 else None
        axes = list(range(real.ndim))
        return (real, tuple(axes)) if tuple(shape[: real.ndim]) == real.shape and set(axes) <= free else None

    def _positions_first(
        self, shape: Sequence[int], free: set[int], order: Order | None
    ) -> tuple[Tensor, tuple[int, ...]] | None:
        real = self.real
        if not {0, 1} <= free:
            return None
        if real.ndim == 1:
            return (real, (1,)) if shape[1] == len(real) and (order == "positions" or shape[0] != len(real)) else None
        return (real.T, (0, 1)) if real.ndim == 2 and shape[:2] == (real.shape[1], len(real)) else None


# Functions that permute axes, and those that change their number or lengths.
_MOVING = {"transpose", "permute", "movedim", "moveaxis", "swapaxes", "swapdims", "t", "T", "mT"}
_CHANGING = {"getitem", "select", "unbind", "mean", "sum", "amax", "amin", "max", "min", "index_select", "gather"}


def _moved(before: Tensor, after: Tensor, order: Order | None) -> Order | None:
    """What comes first after axes were permuted, which the strides of the view tell."""
    where = [
        axis
        for axis in range(before.ndim)
        if (before.stride(axis), before.shape[axis]) == (after.stride(0), after.shape[0])
    ]
    if len(where) != 1 or order is None:
        return None
    if where[0] == 0:
        return order
    return ("positions" if order == "examples" else "examples") if where[0] == 1 else None


def _spread(real: Tensor, axes: Sequence[int], ndim: int) -> Tensor:
    """The mask with axes of length 1 where it has none."""
    shape = [1] * ndim
    for axis, length in zip(axes, real.shape, strict=True):
        shape[axis] = length
    return real.reshape(shape) if math.prod(shape) == real.numel() else real

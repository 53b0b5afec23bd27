"""What a run does with a model's weights: which operation applies which, to what, and what each value is made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from leakyrelu._backends.torch_private import WeakTensorKeyDictionary, storage_of, tree_leaves, tree_map_only
from leakyrelu.torch.wiring.modes import WeightsMode
from leakyrelu.torch.wiring.weights import (
    BATCH_NORMS,
    CONVOLUTIONS,
    COPYING,
    PRODUCTS,
    Application,
    Place,
    Weights,
    add_to,
)

__all__ = ["Maker", "Operand", "Tape", "element", "made_last", "makers"]

_HOPS = 60  # how many operations are looked at on the way back from an activation
_NORMS = {"native_layer_norm": (2, 3), "native_group_norm": (1, 2), **dict.fromkeys(BATCH_NORMS, (1, 2))}
_SUMS = {"add", "sub", "addcmul"}


class Operand(NamedTuple):
    """A tensor that an operation was called with."""

    place: Place | None
    node: "Node | None"  # that made it; None for weights and for the inputs of the model
    weight: Place | None  # where in a parameter or buffer it lies, if it is a part of one


@dataclass(eq=False)
class Node:
    """One operation: its arguments, with operands in place of tensors."""

    name: str
    args: tuple[Any, ...]
    applied: Application | None
    is_activation: bool = False


class Maker(NamedTuple):
    """Something in a parameter that makes one unit."""

    role: str  # "shift": is added; "row": multiplies what comes before
    storage: int
    address: int  # of a shift; of the first element of a row
    applied: Application | None = None  # the layer of a row
    row: int = 0
    norm: tuple[tuple[int, int], ...] = ()  # of a shift: storage and address of the norm's scale, mean and variance
    eps: float = 0.0
    is_last: bool = True  # whether what it makes enters the activation as it is


class Tape(WeightsMode):  # type: ignore[no-untyped-call]
    """Takes down one run. It keeps no tensors, only what was done with them.

    Attributes
    ----------
    ever : dict
        For each weight that was applied, which channels of what it was applied to were ever other than zero.
    calls : list
        The applications in their order.
    readers : dict
        For each parameter or buffer that was read, by which applications and operations.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self._nodes: Any = WeakTensorKeyDictionary()
        self.ever: dict[tuple[object, ...], Tensor] = {}
        self.calls: list[tuple[object, ...]] = []
        self.readers: dict[int, dict[object, Place]] = {}

    def operate(self, name: str, call: Application | None, func: Any, args: Sequence[Any], kwargs: Any) -> Any:
        """Do an operation, and take it down."""
        if call is not None:
            self._apply(call, args[call.position])
        node = Node(name, tuple(tree_map_only(Tensor, self.operand, tuple(args))), call)
        output = func(*args, **kwargs)
        lost = self._weights.follow(name, args, output)
        if lost is not None:  # what reads the copy from now on reads the weight, too, but is not seen to
            self.readers.setdefault(lost.storage, {})[name, lost] = lost
        self._read(name, call, args, kwargs, output)
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor) and self._weights.place(leaf) is None:
                self._nodes[leaf] = node
        return output

    def _apply(self, applied: Application, given: Tensor) -> None:
        self.calls.append(applied.key)
        channels = applied.channels(given != 0)
        add_to(self.ever, applied.key, channels)

    def _read(self, name: str, applied: Application | None, args: Any, kwargs: Any, output: Any) -> None:
        """Take note of the weights that an operation reads; to make a view or a copy is no reading."""
        if name in COPYING and self._weights.place(output) is not None:
            return
        made = {storage_of(leaf) for leaf in tree_leaves(output) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves((args, kwargs)):
            place = self._weights.place(leaf)
            if place is not None and storage_of(leaf) not in made:
                mine = applied is not None and place == applied.place
                self.readers.setdefault(place.storage, {})[applied.key if applied and mine else (name, place)] = place

    def mark(self, activated: Tensor) -> None:
        """Take note that a tensor is what an activation gives: what makes it makes no units behind it."""
        node = self.operand(activated).node
        while node is not None and node.name in ("detach", "alias"):
            node = node.args[0].node
        if node is not None:
            node.is_activation = True

    def operand(self, tensor: Tensor) -> Operand:
        """What is known of a tensor."""
        node = self._nodes.get(tensor)
        return Operand(Place.of(tensor), node, None if node else self._weights.place(tensor))


def element(place: Place, shape: Sequence[int], coordinates: Sequence[int]) -> tuple[int, ...]:
    """The element of an operand that is broadcast to a shape, and repeated, at these coordinates of it."""
    lead = len(shape) - len(place.size)
    return tuple(at % length if length else 0 for at, length in zip(coordinates[lead:], place.size, strict=True))


def made_last(operand: Operand) -> str:
    """The operation that has made a tensor, but for views of it and copies."""
    node = operand.node
    while node is not None and node.args and isinstance(node.args[0], Operand):
        before, place, place_before = node.args[0], operand.place, node.args[0].place
        is_view = place is not None and place_before is not None and place.storage == place_before.storage
        if (not is_view or node.name.endswith("_")) and node.name not in ("_to_copy", "clone"):
            break
        operand, node = before, before.node
    return node.name if node is not None else ""


def makers(operand: Operand, coordinates: Sequence[int], role: str = "") -> Iterator[Maker]:
    """What makes one element of a tensor, the nearest first; `role` is that of the tensor itself."""
    queue: list[tuple[Operand, tuple[int, ...], str]] = [(operand, tuple(coordinates), role)]
    for _ in range(_HOPS):
        if not queue:
            return
        (place, node, weight), at, role = queue.pop(0)
        if weight is not None:
            if role:
                yield Maker(role, weight.storage, weight.address(at))
            continue
        if node is None or place is None or node.is_activation:
            continue
        yield from _made_by(node, place, at, queue, role)


def _made_by(
    node: Node, place: Place, at: tuple[int, ...], queue: list[tuple[Operand, tuple[int, ...], str]], role: str
) -> Iterator[Maker]:
    """The makers of an element in the operation that made it; where else it comes from goes into the queue."""
    name, args = node.name.rstrip("_"), node.args
    tensors = [each for each in args if isinstance(each, Operand) and each.place is not None]
    if name in CONVOLUTIONS or name in PRODUCTS:
        yield from _layer(node, place, at)
    elif name in _NORMS:
        yield from _norm(node, at)
        queue.append((args[0], at, role))
    elif name == "cat":
        queue += _joined(args, place, at, role)
    elif tensors and tensors[0].place and tensors[0].place.storage == place.storage and name == node.name:
        before = tensors[0].place.coordinates(place.address(at))  # a view
        if before is not None:
            queue.append((tensors[0], before, role))
    elif name == "repeat":
        queue.append((tensors[0], element(tensors[0].place, place.size, at), role))  # type: ignore[arg-type]
    else:
        queue += _broadcast(name, tensors[1:] if name == "copy" else tensors, place, at, role)


def _joined(
    args: Sequence[Any], place: Place, at: tuple[int, ...], role: str
) -> Iterator[tuple[Operand, tuple[int, ...], str]]:
    """Where an element of a concatenation comes from."""
    axis = (args[1] if len(args) > 1 else 0) % len(place.size)
    start = 0
    for each in args[0]:
        length = each.place.size[axis] if each.place and len(each.place.size) == len(place.size) else 0
        if start <= at[axis] < start + length:
            yield each, (*at[:axis], at[axis] - start, *at[axis + 1 :]), role
        start += length


def _broadcast(
    name: str, tensors: Sequence[Operand], place: Place, at: tuple[int, ...], role: str
) -> Iterator[tuple[Operand, tuple[int, ...], str]]:
    """Where an element comes from in an operation that works by elements."""
    for each in tensors:
        if each.place and _fits(each.place.size, place.size):
            is_shift = name in _SUMS and (each.weight is not None or _is_vector(each.place.size))
            yield each, element(each.place, place.size, at), "shift" if is_shift else role


def _is_vector(size: Sequence[int]) -> bool:
    return sum(length > 1 for length in size) <= 1


def _fits(size: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a tensor of this size can be broadcast to the shape."""
    lead = len(shape) - len(size)
    return lead >= 0 and all(one in (1, other) for one, other in zip(size, shape[lead:], strict=True))


def _layer(node: Node, place: Place, at: tuple[int, ...]) -> Iterator[Maker]:
    applied = node.applied
    bias_at = 2 if node.name in CONVOLUTIONS else 0 if node.name.rstrip("_") in ("addmm", "baddbmm", "addmv") else None
    bias = node.args[bias_at] if bias_at is not None and len(node.args) > bias_at else None
    if isinstance(bias, Operand) and bias.place is not None:
        on = (at[1],) if node.name in CONVOLUTIONS else element(bias.place, place.size, at)
        yield from makers(bias, on, "shift")
    if applied is not None and applied.rows is not None:
        unit = at[applied.rows]
        yield Maker("row", applied.place.storage, int(applied.row(unit)[0]), applied, unit)


def _norm(node: Node, at: tuple[int, ...]) -> Iterator[Maker]:
    name = node.name
    scale, shift = (node.args[i] for i in _NORMS[name])
    on = (at[1],) if name != "native_layer_norm" else at[len(at) - len(node.args[1]) :]
    parts = [scale, *(node.args[3:5] if name in BATCH_NORMS else ())]
    found = [next(makers(part, on, "shift"), None) if isinstance(part, Operand) else None for part in parts]
    norm = tuple((each.storage, each.address) for each in found if each)
    eps = float(node.args[-1]) if name in BATCH_NORMS else 0.0
    if isinstance(shift, Operand):
        for maker in makers(shift, on, "shift"):
            yield maker._replace(norm=norm, eps=eps)

"""Observes a model's calls of activations: their names, where their units are, and which values are padding."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import Signature, signature
from typing import Any

from leakyrelu.keras.axes import RULES, Axes, Units
from leakyrelu.keras.backends import is_symbolic, running_as_keras_does
from leakyrelu.keras.counts import Counts, rows
from leakyrelu.keras.operations import READERS, Activation
from leakyrelu.keras.private import get_keras_mask, in_symbolic_scope, keras

__all__ = ["Capture"]

_ACTIVATION_LAYERS = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
)
_OF_OTHER_LIBRARIES = tuple(
    getattr(keras.layers, name)
    for name in ("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper")
    if hasattr(keras.layers, name)  # not in every version
)
_BODIES = {"scan": "f", "while_loop": "body", "fori_loop": "body_fun"}  # what loops call repeatedly

Original = Callable[..., Any]


@dataclass
class _Frame:
    """A layer that is being called."""

    layer: Any
    path: str
    masks: list[Any]
    sites: int = 0


@dataclass
class _Scope:
    """The masks that may fit: those of the pass, or those of one step of a loop."""

    first: int  # the frames from this one on belong to it
    masks: list[Any] = field(default_factory=list)


class Capture:
    """An observer for `observed_by`; it gives each call of an activation to `counts`."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.notes: dict[str, None] = {}  # in the order of their first appearance
        self._handlers: dict[str, Callable[..., Any]] = {
            "Layer.__call__": self._layer,
            "TimeDistributed.call": self._time_distributed,
            "rnn": self._rnn,
            **dict.fromkeys(("gru", "lstm"), self._recurrent),
            "map": self._map,
            "vectorized_map": self._vectorized_map,
            "remat": lambda _, original, args, kwargs: args[0],  # only gradients need it, and it hides what it runs
            **dict.fromkeys(READERS, self._activation),
            **dict.fromkeys(RULES, self._maker),
            **dict.fromkeys(_BODIES, self._loop),
        }
        self._busy = False  # what is called now is no site, such as the parts of an activation
        self._hidden = ""  # why no activation can be seen now
        self.new_pass()

    def new_pass(self) -> None:
        """Forget what belongs to one call of the model."""
        self._axes = Axes()
        self._calls: Counter[str] = Counter()
        self._frames: list[_Frame] = []
        self._scopes = [_Scope(0)]

    def __call__(self, name: str, original: Original, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Take a call of one of Keras's functions; see `observed_by`."""
        handler = self._handlers.get(name)
        if self._busy or handler is None or in_symbolic_scope() or _is_a_part(name):
            return original(*args, **kwargs)
        return handler(name, original, args, kwargs)

    # Layers

    def _layer(self, _: str, original: Original, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        layer, *given = args
        parent = self._frames[-1].layer if self._frames else None
        if isinstance(parent, keras.layers.RNN) and self._scopes[-1].first < len(self._frames):
            with self._unseen():  # before its loop, Keras calls the cells of a stack once more, for their dropout
                return original(*args, **kwargs)
        with self._inside(layer, given, kwargs):
            return original(*args, **kwargs)

    @contextmanager
    def _unseen(self) -> Iterator[None]:
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    @contextmanager
    def _inside(self, layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[None]:
        tensors = [item for item in keras.tree.flatten((args, kwargs)) if keras.ops.is_tensor(item)]
        masks = [kwargs.get("mask"), *map(get_keras_mask, tensors)]
        masks = [mask for mask in masks if keras.ops.is_tensor(mask)]
        path = "/".join(filter(None, (self._frames[-1].path, layer.name))) if self._frames else ""
        frame = _Frame(layer, path, masks)
        known = {id(mask) for mask in self._scopes[-1].masks}
        self._scopes[-1].masks += [mask for mask in masks if id(mask) not in known]
        self._frames.append(frame)
        try:
            yield
        finally:
            self._frames.pop()
            if self._frames:
                self._frames[-1].sites += frame.sites
        if not frame.sites and (why := _hides(layer)):
            self.notes[f"{path or layer.name}: {why}"] = None

    def _time_distributed(self, _: str, original: Original, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Let each time step be a step of a loop; the wrapped layer's `call` is called with it, not the layer."""
        inner = args[0].layer
        mask = kwargs.get("mask", args[3] if len(args) > 3 else None)
        step = self._steps(None if mask is None else lambda i: mask[:, i])
        attributes = vars(inner)
        before, call = attributes.get("call"), inner.call

        def each(*given: Any, **named: Any) -> Any:
            with step(), self._inside(inner, given, named):
                return call(*given, **named)

        attributes["call"] = each
        try:
            return original(*args, **kwargs)
        finally:
            if before is None:
                del attributes["call"]
            else:
                attributes["call"] = before

    # Loops

    def _steps(self, mask_of_step: Callable[[int], Any] | None = None) -> Callable[[], Any]:
        """A context for each step of a loop: the calls of all steps have the same names, so they are the same sites."""
        before, done = Counter(self._calls), Counter[str]()

        @contextmanager
        def step() -> Iterator[None]:
            self._calls = Counter(before)
            masks = [] if mask_of_step is None else [mask_of_step(done["steps"])]
            done["steps"] += 1
            self._scopes.append(_Scope(len(self._frames), masks))
            try:
                yield
            finally:
                self._scopes.pop()

        return step

    def _loop(self, name: str, original: Original, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        bound = _signature(original).bind(*args, **kwargs)
        body, step = bound.arguments[_BODIES[name]], self._steps()

        def each(*given: Any, **named: Any) -> Any:
            with step():
                return body(*given, **named)

        bound.arguments[_BODIES[name]] = each
        return original(*bound.args, **bound.kwargs)

    def _map(self, _: str, original: Original, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Computed here, as TensorFlow calls the function once more, to see what it returns."""
        given = _arguments(original, args, kwargs)
        length, step, results = len(keras.tree.flatten(given["xs"])[0]), self._steps(), []
        for i in range(length):
            with step():
                results.append(given["f"](keras.tree.map_structure(lambda each, i=i: each[i], given["xs"])))
        return keras.tree.map_structure(lambda *each: keras.ops.stack(each), *results)

    def _rnn(self, _: str, original: Original, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Unrolled, as JAX does not show what is in its loops; and forwards, as PyTorch's unrolled loop needs it."""
        bound = _signature(original).bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        time = 0 if given["time_major"] else 1
        if given["go_backwards"]:
            given["inputs"] = keras.tree.map_structure(lambda each: keras.ops.flip(each, time), given["inputs"])
            given["mask"] = None if given["mask"] is None else keras.ops.flip(given["mask"], time)
            given["go_backwards"] = False
        mask, function = given["mask"], given["step_function"]
        if mask is None:
            step = self._steps()
        else:
            step = self._steps((lambda i: mask[i]) if given["time_major"] else (lambda i: mask[:, i]))

        def each(*given: Any, **named: Any) -> Any:
            with step():
                return function(*given, **named)

        given |= {"step_function": each, "unroll": True}
        return original(*bound.args, **bound.kwargs)

    def _recurrent(self, _: str, original: Original, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Left to `rnn`, unless it calls no activation that counts: a backend's own loop does not tell its steps."""
        given = _arguments(original, args, kwargs)
        within = {given.get("activation"), given.get("recurrent_activation")}
        if within <= {keras.activations.tanh, keras.activations.sigmoid}:
            return original(*args, **kwargs)
        raise NotImplementedError  # this is how Keras's layers are told to take the other way

    def _vectorized_map(self, _: str, original: Original, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        self._hidden, before = "it is called in keras.ops.vectorized_map", self._hidden
        try:
            return original(*args, **kwargs)
        finally:
            self._hidden = before

    # Functions

    def _maker(self, name: str, original: Original, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A function that makes units, or moves them."""
        with running_as_keras_does():
            result = original(*args, **kwargs)
        if not is_symbolic(result):
            self._axes.remember(result, RULES[name](self._axes, _arguments(original, args, kwargs), result))
        return result

    def _activation(self, name: str, original: Original, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        read = READERS[name](_arguments(original, args, kwargs))
        with self._unseen():
            output = original(*args, **kwargs)
            if read and _has_units(read[1]):
                self._count(*read, output)
            return output

    def _count(self, activation: Activation, values: Any, output: Any) -> None:
        name = self._name(activation.operation)
        if self._frames:
            self._frames[-1].sites += 1
        if why := self._hidden or ("it is called in compiled code" if is_symbolic(values) else ""):
            self.notes[f"{name}: {why}, which does not show its values"] = None
            return
        units = self._axes.of(values)
        mask = self._mask(name, values, units)
        self.counts.add(name, activation, values, output, units, mask)

    def _name(self, operation: str) -> str:
        frame = self._frames[-1] if self._frames else _Frame(None, "", [])
        is_activation = frame.path and isinstance(frame.layer, _ACTIVATION_LAYERS)
        name = frame.path if is_activation else f"{frame.path}.{operation}".removeprefix(".")
        self._calls[name] += 1
        return name if self._calls[name] == 1 else f"{name}:{self._calls[name]}"

    def _mask(self, name: str, values: Any, units: Units) -> Any:
        """The mask of the values, of the innermost layer that has a fitting one, or the only one of the whole pass."""
        shape = [values.shape[axis] for axis in rows(values, units)]
        scope = self._scopes[-1]
        near = [mask for frame in reversed(self._frames[scope.first :]) for mask in frame.masks]
        for mask in (get_keras_mask(values), *near):
            if mask is not None and _fits(mask, shape):
                return mask
        fitting = [mask for mask in scope.masks if _fits(mask, shape)]
        if fitting and all(_same(mask, fitting[0]) for mask in fitting[1:]):
            return fitting[0]
        if scope.masks and len(values.shape) > 2:
            why = "several masks fit its values" if fitting else "no mask fits its values"
            self.notes[f"{name}: {why}, so padding counts there"] = None
        return None


def _hides(layer: Any) -> str:
    """Why nothing is known of the activation of a layer that called none that is counted; empty if there is none."""
    if isinstance(layer, _OF_OTHER_LIBRARIES):
        return f"it is a {type(layer).__name__}, whose activations are not Keras's and are not seen"
    if isinstance(layer, keras.layers.Lambda):
        return "it is a Lambda layer that calls no activation of Keras; one that it computes otherwise is not counted"
    activation = getattr(layer, "activation", None)
    if callable(activation) and not str(getattr(activation, "__module__", "")).startswith("keras."):
        name = getattr(activation, "__name__", type(activation).__name__)
        return f"its activation {name} calls none that Keras has, so its units are not counted"
    return ""


def _is_a_part(name: str) -> bool:
    """Whether Keras's own code computes something else by this call.

    A backend makes other functions of these, such as `hard_sigmoid` of `relu6`, and layers call `maximum` and `clip`
    for coordinates and scales.
    """
    if name not in READERS and name not in RULES:
        return False
    if _caller("leakyrelu.keras.").startswith("keras.src.backend."):
        return True
    by_layers = ("keras.src.layers.", "keras.src.quantizers.")
    between = ("leakyrelu.keras.", "keras.src.ops.", "keras.src.utils.")
    return name in {"maximum", "clip"} and _caller(*between).startswith(by_layers)


def _caller(*passed_over: str) -> str:
    """The innermost module that is running, but for these."""
    frame = sys._getframe(1)  # noqa: SLF001  # there is no other fast way
    while frame is not None and frame.f_globals.get("__name__", "").startswith(passed_over):
        frame = frame.f_back  # type: ignore[assignment]  # None at the end
    return "" if frame is None else str(frame.f_globals.get("__name__", ""))


def _has_units(values: Any) -> bool:
    """Whether it is a tensor of numbers that are no weight."""
    return (
        bool(keras.ops.is_tensor(values))
        and not isinstance(values, keras.Variable)
        and len(values.shape) > 0
        and 0 not in tuple(values.shape)
        and "float" in keras.backend.standardize_dtype(values.dtype)
    )


def _fits(mask: Any, shape: Sequence[int]) -> bool:
    return 0 < len(mask.shape) <= len(shape) and tuple(mask.shape) == tuple(shape[: len(mask.shape)])


def _same(one: Any, other: Any) -> bool:
    return tuple(one.shape) == tuple(other.shape) and bool(keras.ops.all(keras.ops.equal(one, other)))


@lru_cache(256)
def _signature(function: Original) -> Signature:
    return signature(function)


def _arguments(function: Original, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    bound = _signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments

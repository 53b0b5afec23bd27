"""Sees each call of an activation (a module, function or method) while a model runs, and finds its units' axis."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.jit import is_tracing  # type: ignore[attr-defined]  # though it is documented
from torch.nn.parallel import DataParallel, DistributedDataParallel

from leakyrelu._backends.torch_private import (
    backward_is_running,
    compiles_here,
    is_entered,
    left_out_of_compiled_code,
    tree_leaves,
    without_functions,
    without_subclass_functions,
)
from leakyrelu.torch.masking import Mask, Masking, arguments_of
from leakyrelu.torch.operations import Activation, SiteNames
from leakyrelu.torch.passes import Pass, Values, detached
from leakyrelu.torch.sharding import Share
from leakyrelu.units.layout import Part, Units

if TYPE_CHECKING:
    from types import FrameType

    from torch.distributed.device_mesh import DeviceMesh
    from torch.utils.hooks import RemovableHandle

__all__ = ["IF_COMPILED", "Call", "Capture", "Forward", "Observer", "examples_in", "nothing_seen", "paths", "watch"]

_FIRST_AXIS = (Part(0),)

IF_COMPILED = (
    "to compile it, make the Monitor first, and call torch.compile(model, backend=monitor.backend('inductor'))"
)


class Call(NamedTuple):
    """One call of an activation."""

    name: str  # of the site
    activation: Activation
    input: Tensor  # as it was before the call; of a sharded tensor, the part on this rank
    units: Units  # where they are; () if all values belong to one unit
    examples: int
    module: nn.Module  # that makes it
    part: Share | None = None  # None: the input is whole
    rows: Tensor | None = None  # those without padding, if all axes but that of the units are one; None: all


Forward = Callable[[Any, Any], object]  # is called with a model and a batch
Observer = Callable[[Call], Callable[[Tensor], object]]  # the function that it returns is called with the output


class Capture:
    """Calls `observe` for each activation while `model` runs, and what that returns with the activation's output.

    While it is attached, hooks on the model's modules tell which module is running. A pass lasts from the call of the
    outermost module to its return; during a pass, a `TorchFunctionMode` sees the calls of functions.

    Parameters
    ----------
    model : nn.Module
        Neither compiled nor scripted.
    observe : callable
        Takes a `Call`. The activation may overwrite its input afterwards.
    wanted : callable, optional
        Takes the outermost module when it is called, and returns whether to observe this pass.
    mask : str or callable, optional
        Tells which tokens are real, as for `diagnose`.

    Attributes
    ----------
    examples : Counter
        How many examples there were in all passes so far, by outermost module.
    notes : dict
        Its keys are remarks on what could not be seen.
    meshes : dict
        Its keys are the device meshes of the sharded tensors that were seen.
    """

    def __init__(
        self,
        model: nn.Module,
        observe: Observer,
        wanted: Callable[[nn.Module], bool] = lambda module: True,
        mask: Mask | None = None,
    ) -> None:
        self.model = model
        self.examples: Counter[nn.Module] = Counter()
        self.notes: dict[str, None] = {}  # in the order of their first appearance
        self.meshes: dict[DeviceMesh, None] = {}
        # Is told of each call in an observed pass that comes from outside of the model, with the pass.
        self.on_call: Callable[[Pass, nn.Module, Any, Any], object] = lambda *call: None
        self._observe = observe
        self._wanted = wanted
        self.masking = None if mask is None else Masking(mask, model, self.notes)
        self._paths = paths(model)
        self._stack: list[nn.Module] = []  # the modules that are running
        self._frame: FrameType | None = None  # where the outermost module was called
        self._mode: Pass | None = None  # while a pass is observed
        self._handles: list[RemovableHandle] = []
        # What the block of `one_pass` is called, if it is a step of a trainer. Sites outside of modules get this name.
        # A step may call the model several times: the sites of each call are numbered on their own, as in passes.
        self.block = ""
        self._block_names: SiteNames | None = None  # of the block, while a module runs that it calls

    def __reduce__(self) -> tuple[Any, ...]:
        return _inert, ()  # a copy of the model has copies of its hooks, which must not count

    def attach(self) -> None:
        """Start observing."""
        if not self._handles:
            for module in self._paths:
                if isinstance(module, torch.jit.ScriptModule):
                    continue  # it takes no hooks, and nothing in it can be seen
                self._handles += [
                    module.register_forward_pre_hook(self._on_call, with_kwargs=True),
                    module.register_forward_hook(self._on_return, always_call=True),
                ]

    def detach(self) -> None:
        """Stop observing."""
        while self._handles:
            self._handles.pop().remove()
        self._end()

    def __enter__(self) -> Self:
        self.attach()
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    @contextmanager
    def one_pass(self, inputs: object) -> Iterator[None]:
        """Observe all that happens in this block as one pass, also outside of the model's modules."""
        if self._mode is None:
            self._stack.clear()  # the block may be within a call that is not observed, as a wrapper makes it
            self._frame = None
        try:
            self._begin(self.model, inputs)
            if self.masking is not None and self._mode is not None:
                self._mode.batch = inputs
                told, mask = self.masking.in_batch(inputs)
                self._mode.awaits_mask = not told
                if told:
                    self._mask(mask, inputs)
            yield
        finally:
            self._end()

    def _on_call(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if compiles_here():
            raise TypeError(f"the model is compiled, so its activations cannot be seen by a Monitor; {IF_COMPILED}")
        if self._is_in_another_thread():
            return
        is_outermost = not self._stack or module is self._stack[0]
        if self._frame is not None and is_outermost and not _is_running(self._frame):
            self._end()  # the last pass was interrupted from the keyboard, in which case no hook is called
        outermost = not self._stack
        from_outside = outermost or (self._frame is None and len(self._stack) == 1)  # or from the block of `one_pass`
        if not from_outside and (self._mode is None or self._mode.examples is not None):
            self._stack.append(module)  # for most calls, there is nothing else to do
            return
        if outermost:
            self._frame = _caller()
        self._begin(module, (args, kwargs))
        if from_outside and self._mode is not None:
            self.on_call(self._mode, module, args, kwargs)
            if self.block:
                self._block_names, self._mode.names = self._mode.names, SiteNames()
        if self.masking is not None and self._mode is not None and (outermost or self._mode.awaits_mask):
            try:
                self._find_mask(self.masking, module, args, kwargs)
            except BaseException:
                self._end()
                raise

    def _find_mask(self, masking: Masking, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Take the mask from the arguments of the outermost call."""
        mode: Any = self._mode
        mode.awaits_mask = False
        is_whole = module is self.model or mode.batch is not None
        given, names = arguments_of(module, args, kwargs)
        found = masking.in_call(module, given, names, outermost=is_whole, batch=mode.batch)
        if isinstance(found, str):
            self.notes[found] = None
        else:
            self._mask(found, given)

    def _mask(self, mask: Any, inputs: Any) -> None:
        masking: Any = self.masking
        if mask is None:
            self.notes[masking.absent] = None
        elif self._mode is not None:
            with torch.no_grad(), without_functions():
                self._mode.padding = masking.padding(mask, inputs, self._mode.outermost)

    def _on_return(self, module: nn.Module, _: object, output: object) -> None:
        if module in self._stack and not self._is_in_another_thread():
            if self._mode is not None:
                self._mode.leave(output)
            while self._stack.pop() is not module:
                pass  # the hook that marks the end of such a module was never called
            if self._block_names is not None and self._mode is not None and len(self._stack) == 1:
                self._mode.names = self._block_names
                self._block_names = None
            if not self._stack:
                self._end()

    def _begin(self, module: nn.Module, inputs: object) -> None:
        # In a backward pass, checkpointing calls modules a second time; a tracer would record the counting, too.
        if not (self._stack or backward_is_running() or is_tracing()) and self._wanted(module):  # type: ignore[no-untyped-call]
            self._mode = Pass(self, module)
            self._mode.__enter__()  # type: ignore[no-untyped-call]
        if self._mode is not None and self._mode.examples is None:
            self._mode.examples = examples_in(inputs)
        self._stack.append(module)

    def _is_in_another_thread(self) -> bool:
        return self._mode is not None and self._mode.thread != get_ident()

    def _end(self) -> None:
        # An interrupt may come between any two lines: what is left then is harmless, and the next call ends it again.
        mode, self._block_names = self._mode, None
        if mode is not None:
            mode.is_over = True
            if is_entered(mode):  # not so if the interrupt came in the moment when it was entered or left
                mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._mode = None
            padding = mode.padding
            seen = max(mode.seen) if mode.seen else mode.examples or 0
            self.examples[mode.outermost] += seen if padding is None else padding.examples
        self._stack.clear()
        self._frame = None

    @property
    def running(self) -> nn.Module:
        """The module that is running."""
        return self._stack[-1]

    def see(self, activation: Activation, values: Values, mode: Pass, value: Tensor) -> Callable[[Tensor], object]:
        """Tell the observer of a call."""
        module = self.running
        path = self.block if self.block and len(self._stack) == 1 else self._path(module)
        name = mode.names.name(path, module, activation.operation)
        local, whole, units, part = values
        if mode.examples is None:
            mode.examples = whole[0] if whole else 1
        alone = not whole or units == _FIRST_AXIS  # where units come first, there is no axis of examples
        examples = 1 if alone else mode.examples
        if not alone and examples == local.shape[0] < whole[0]:
            examples = whole[0]  # each rank was given its own
        rows = None
        if mode.padding is not None and not alone:
            examples = mode.padding.examples
            if part is not None:
                self.notes[f"{name}: the mask cannot be used on DTensors; padding counts there"] = None
            else:
                rows, why = mode.padding.place(value, units, name)
                if why:
                    self.notes[f"{name}: {why}"] = None
        mode.seen.add(examples)
        return self._observe(Call(name, activation, detached(local), units, examples, module, part, rows))

    def _path(self, module: nn.Module) -> str:
        """The module's name in the model, also if it was added later: a replacement takes over the hooks."""
        if module not in self._paths:
            self._paths |= paths(self.model)
        return self._paths.setdefault(module, type(module).__name__)


# The names under which wrappers hold what they wrap: torch.compile, FSDP and activation checkpointing.
WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


def paths(model: nn.Module) -> dict[nn.Module, str]:
    """The path of each module in the model, without the wrappers around it, as it was before anything was wrapped."""
    found: dict[nn.Module, str] = {}
    with_wrappers = dict(model.named_modules())
    for path, module in with_wrappers.items():
        parent, _, name = path.rpartition(".")
        holder = with_wrappers.get(parent)
        wraps = name in WRAPPERS or (name == "module" and isinstance(holder, DataParallel | DistributedDataParallel))
        if holder is None or holder is module:  # the model itself
            found[module] = ""
        else:
            found[module] = found[holder] if wraps else f"{found[holder]}.{name}".removeprefix(".")
    return found


def nothing_seen(capture: Capture) -> str:
    """The message for a model that ran without calling any known activation."""
    notes = "".join(f"; {note}" for note in capture.notes)
    model = type(capture.model).__name__
    return f"{model} called no activation that is known (ReLU, Leaky ReLU, GELU and so on){notes}"


def watch(model: nn.Module, batches: Iterable[Any], forward: Forward, look: Callable[[Call], object]) -> None:
    """Run the model on the batches, and pass each call of an activation to `look`."""

    def observe(call: Call) -> Callable[[Tensor], None]:
        look(call)
        return lambda _: None

    with Capture(model, observe) as capture:
        for batch in batches:
            with capture.one_pass(batch):
                forward(model, batch)


for _hook in (Capture._on_call, Capture._on_return, compiles_here):  # noqa: SLF001
    left_out_of_compiled_code(_hook, f"a Monitor is attached; {IF_COMPILED}")


def _inert() -> Capture:
    return Capture(nn.Module(), lambda call: lambda output: None, lambda module: False)


def _caller() -> "FrameType | None":
    """The frame that called into this file."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    return frame


def _is_running(this: "FrameType") -> bool:
    frame = inspect.currentframe()
    while frame is not None and frame is not this:
        frame = frame.f_back
    return frame is not None


def examples_in(inputs: object) -> int | None:
    """How many examples a batch holds: the length of the first tensor in it, however deep."""
    with without_subclass_functions():
        for leaf in tree_leaves(inputs):
            if isinstance(leaf, Tensor) and not leaf.is_nested and leaf.ndim:
                return leaf.shape[0]
    return None

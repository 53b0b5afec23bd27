"""The private names of PyTorch that the library uses, all imported here.

Another version of PyTorch may lack one of them. What needs that name then works in a slower or poorer way. The comments
say in which way, and `tests/test_backends/test_torch_private.py` tests it.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import nullcontext
from importlib import import_module
from pathlib import PurePath
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.autograd import forward_ad
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.overrides import has_torch_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

__all__ = [
    "ModuleCall",
    "SavedTensors",
    "StorageReference",
    "TorchDispatchMode",
    "WeakTensorKeyDictionary",
    "backward_is_running",
    "base_of",
    "breaks_beside",
    "calls_of_modules",
    "compilation",
    "compiler_of",
    "compiles_here",
    "copy_of_graph",
    "copy_of_module",
    "dynamo_is_loaded",
    "has_own_dispatch",
    "has_own_function",
    "hint_of",
    "is_compiled",
    "is_decided_by_data",
    "is_entered",
    "is_fake",
    "is_known_multiple",
    "is_last_compilation",
    "is_managed_by_fsdp",
    "is_seen_by_a_mode",
    "is_sub_graph_call",
    "is_traced_for_quantization",
    "is_within_functorch",
    "is_wrapper_of_compiled",
    "left_out_of_compiled_code",
    "module_ids",
    "native_leaky_relu",
    "native_prelu",
    "saved_tensors",
    "source_of",
    "storage_of",
    "tree_leaves",
    "tree_map_only",
    "waited",
    "without_functions",
    "without_subclass_functions",
]


_eval_frame: Any = getattr(getattr(torch._C, "_dynamo", None), "eval_frame", None)  # noqa: SLF001


_ACTIVATIONS = ("LeakyReluBackward", "ReluBackward", "HardtanhBackward")  # with 0, or with 1 where it was in place


class SavedTensors(NamedTuple):
    """The functions that decide what an operation saves for its backward pass."""

    hooks_are_enabled: Callable[[], bool]
    top_hooks: Callable[[bool], object]  # None where there are none

    @staticmethod
    def saved_by(output: Tensor) -> Any:
        """What the activation that made a tensor has saved: its input or its output; None below autograd."""
        node = output.grad_fn
        if type(node).__name__[:-1] not in _ACTIVATIONS:  # a mode may compute another operation in its place
            return None
        return getattr(node, "_raw_saved_self", None) or getattr(node, "_raw_saved_result", None)

    @staticmethod
    def version_of(tensor: Tensor) -> int:
        """How often the tensor was changed in place."""
        return tensor._version  # noqa: SLF001  # PyTorch's own check of what is saved

    @staticmethod
    def forward_ad_is_on() -> bool:
        """Whether forward-mode derivatives are being taken."""
        return forward_ad._current_level >= 0  # noqa: SLF001  # there is no other way to ask


def _saved_tensors() -> SavedTensors | None:
    try:
        from torch._C import _autograd, _functions

        of_a_call: Any = _functions
        of_a_call.LeakyReluBackward0._raw_saved_self, _autograd.SavedTensor  # noqa: B018, SLF001
        found = SavedTensors(
            _autograd._saved_tensors_hooks_is_enabled,  # type: ignore[attr-defined]  # noqa: SLF001
            _autograd._top_saved_tensors_default_hooks,  # noqa: SLF001
        )
        found.version_of(torch.empty(0))
        found.forward_ad_is_on()
    except (ImportError, AttributeError):
        return None
    return found


saved_tensors = _saved_tensors()  # None where a name is missing: then leaky_relu works on a copy of its input

try:
    from torch._C._nn import leaky_relu as native_leaky_relu
except ImportError:  # slower: the public function asks first whether the tensor overrides it
    native_leaky_relu = functional.leaky_relu  # type: ignore[assignment]

# What `functional.prelu` calls, for slopes of any shape. Where it is missing, several operations are slower.
native_prelu: Any = getattr(torch.ops.aten, "_prelu_kernel", None)

try:
    from torch.overrides import has_torch_function_unary as has_own_function
except ImportError:  # slower: makes a tuple

    def has_own_function(tensor: object) -> bool:  # type: ignore[misc]
        """Whether the tensor's subclass, or a mode, overrides functions."""
        return has_torch_function((tensor,))


try:
    from torch.overrides import _get_current_function_mode

    def is_entered(mode: object) -> bool:
        """Whether it is the mode that sees the functions that this thread calls next."""
        return _get_current_function_mode() is mode  # type: ignore[no-untyped-call]

except ImportError:  # poorer: an interrupt in the moment when a mode is entered or left may leave one too many or few

    def is_entered(mode: object) -> bool:  # noqa: ARG001
        """True, as it is not known."""
        return True


try:
    from torch._C import _len_torch_dispatch_stack

    def is_seen_by_a_mode() -> bool:
        """Whether a mode sees the operations below autograd."""
        return _len_torch_dispatch_stack() > 0

except ImportError:  # safer, and keeps more

    def is_seen_by_a_mode() -> bool:
        """True, as it is not known."""
        return True


try:
    from torch._C import _current_graph_task_id

    def backward_is_running() -> bool:
        """Whether this thread is in a backward pass."""
        return _current_graph_task_id() != -1

except ImportError:  # poorer: what gradient checkpointing computes again is counted again

    def backward_is_running() -> bool:
        """False, as it is not known."""
        return False


try:
    from torch._C._functorch import is_functorch_wrapped_tensor as is_within_functorch
except ImportError:  # poorer: a call within torch.vmap and the like fails instead of being noted

    def is_within_functorch(tensor: Tensor) -> bool:  # noqa: ARG001
        """False, as it is not known."""
        return False


def is_fake(tensor: Tensor) -> bool:
    """Whether the tensor has a shape but no values."""
    if type(tensor) is Tensor:
        return tensor.is_meta
    kind: Any = getattr(sys.modules.get("torch._subclasses.fake_tensor"), "FakeTensor", ())
    return tensor.is_meta or isinstance(tensor, kind)  # poorer without that name: a call fails instead of being noted


# Poorer without it: a subclass of Tensor that overrides functions is also asked for shapes and the like.
without_subclass_functions: Any = getattr(torch._C, "DisableTorchFunctionSubclass", nullcontext)  # noqa: SLF001

# Slower without it: a mode, such as the one that counts, sees what is done within.
without_functions: Any = getattr(torch._C, "DisableTorchFunction", nullcontext)  # noqa: SLF001


class StorageReference:
    """A weak reference to the memory of a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self._reference = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]

    def __call__(self) -> torch.UntypedStorage | None:
        """The memory; None if it is gone."""
        found: torch.UntypedStorage | None = torch.UntypedStorage._new_with_weak_ptr(self._reference.cdata)  # noqa: SLF001
        return found

    def is_gone(self) -> bool:
        """Whether nothing holds the memory any more."""
        return bool(self._reference.expired())  # type: ignore[no-untyped-call]


def storage_of(tensor: Tensor) -> int | None:
    """What identifies the memory of a tensor while anything, even a weak reference, holds it; None if it has none."""
    if tensor.layout != torch.strided or is_within_functorch(tensor) or has_own_dispatch(tensor):
        return None
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001  # the address of its memory may be given out again


def has_own_dispatch(tensor: Tensor) -> bool:
    """Whether the tensor's class computes in a way of its own, so that its memory does not tell its values."""
    usual = getattr(Tensor, "__torch_dispatch__", None)
    return getattr(type(tensor), "__torch_dispatch__", None) is not usual


def waited(tensor: Tensor) -> Tensor:
    """The values of a tensor that a collective operation may not have finished yet; any other tensor as it is."""
    kind: Any = getattr(sys.modules.get("torch.distributed._functional_collectives"), "AsyncCollectiveTensor", ())
    return tensor.wait() if isinstance(tensor, kind) else tensor  # poorer without that name: its units are not seen


try:
    from torch.utils._pytree import tree_leaves, tree_map_only
except ImportError:  # poorer: sees into tuples, lists and mappings only, and makes plain dictionaries of mappings

    def tree_leaves(tree: Any) -> list[Any]:  # type: ignore[misc]
        """What the containers hold, however deep."""
        return list(_leaves(tree))

    def tree_map_only(kind: type, function: Callable[[Any], Any], tree: Any) -> Any:  # type: ignore[no-redef]
        """The same containers, with the function applied to the items of this kind."""
        if isinstance(tree, Mapping):
            return {key: tree_map_only(kind, function, item) for key, item in tree.items()}
        if isinstance(tree, tuple | list):
            items = [tree_map_only(kind, function, item) for item in tree]
            return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
        return function(tree) if isinstance(tree, kind) else tree


def _leaves(tree: Any) -> Iterator[Any]:
    if not isinstance(tree, tuple | list | Mapping):
        yield tree
        return
    for item in tree.values() if isinstance(tree, Mapping) else tree:
        yield from _leaves(item)


def base_of(tensor: Tensor) -> Tensor:
    """The tensor that this one is a view of; the tensor itself if it is no view, or if that cannot be asked."""
    base = getattr(tensor, "_base", None)
    return tensor if base is None else base


def copy_of_graph(graph: fx.Graph, copies: dict[fx.Node, fx.Node]) -> fx.Graph:
    """A copy of a graph; `copies` gets the new node for each old one."""
    new = fx.Graph()
    new.output(new.graph_copy(graph, copies))
    codegen = getattr(graph, "_codegen", None)
    if codegen is not None:  # otherwise the graph of an exported program takes and returns flat lists
        new.set_codegen(codegen)
    return new


def copy_of_module(module: fx.GraphModule) -> fx.GraphModule:
    """The same with a graph of its own. It shares parameters, buffers and sub-graphs."""
    copied = fx.GraphModule(module, copy_of_graph(module.graph, {}), type(module).__name__)
    copied.meta = dict(getattr(module, "meta", {}))
    return copied


def left_out_of_compiled_code(function: Callable[..., Any], why: str) -> None:
    """Have dynamo call a function as it is, in between of what it compiles; ``fullgraph=True`` fails, and says why."""
    function._torchdynamo_disable = True  # type: ignore[attr-defined]  # noqa: SLF001
    function._torchdynamo_disable_msg = why  # type: ignore[attr-defined]  # noqa: SLF001
    try:
        action = _eval_frame._FrameAction  # noqa: SLF001
        strategy = _eval_frame._FrameExecStrategy(action.SKIP, action.DEFAULT)  # noqa: SLF001
        _eval_frame.set_code_exec_strategy(function.__code__, strategy)
    except AttributeError:  # poorer: dynamo compiles parts of the function, and warns of those that it cannot compile
        pass


_compiling = getattr(_eval_frame, "get_eval_frame_callback", None)


def compiles_here() -> bool:
    """Whether the code that calls this is compiled by dynamo where it can be; False if that cannot be asked."""
    return _compiling is not None and _compiling() not in (None, False)


def compiler_of(backend: Any, mode: str | None, options: Mapping[str, Any] | None) -> Callable[..., Any]:
    """What compiles a graph for the `backend` of `torch.compile`."""
    if (mode is not None or options is not None) and backend != "inductor":
        raise ValueError(f"mode and options are those of the backend 'inductor'; do not give them for {backend!r}")
    if not (callable(backend) or isinstance(backend, str)):
        raise TypeError(f"backend must be a name, such as 'inductor', or a function, got {type(backend).__name__}")
    if mode is None and options is None:
        found: Callable[..., Any] = (
            backend if callable(backend) else import_module("torch._dynamo").lookup_backend(backend)
        )
        return found
    return torch._TorchCompileInductorWrapper(mode, options, None)  # type: ignore[no-untyped-call]  # noqa: SLF001


def compilation() -> tuple[Any, Any]:
    """In a backend of dynamo's: which code is compiled, and which compilation of it this is."""
    context = getattr(sys.modules.get("torch._guards"), "CompileContext", None)
    found = None if context is None else context.try_get()
    identity = getattr(found, "compile_id", None)
    # Poorer without that name: where shapes change, a call is taken for another one.
    return getattr(identity, "frame_id", object()), (
        getattr(identity, "frame_compile_id", None),
        getattr(found, "attempt", None),
    )


def is_last_compilation() -> bool:
    """In a backend of dynamo's: whether this code is not compiled again for further inputs; False if not known."""
    _, (number, _) = compilation()
    limit = getattr(sys.modules.get("torch._dynamo.config"), "recompile_limit", None)  # so named since PyTorch 2.6
    return isinstance(number, int) and isinstance(limit, int) and number + 1 >= limit > 1


def module_ids(node: fx.Node) -> list[int]:
    """The `id` of each module that runs where a node of dynamo's graph is, the innermost one first, as far as known."""
    keys = (str(key).partition("@")[0] for key in node.meta.get("nn_module_stack") or ())
    return [int(key) for key in keys if key.isdigit()][::-1]


def source_of(node: fx.Node) -> str:
    """Where dynamo takes an input of a graph from, such as ``L['x']``; empty if that is not known."""
    source = getattr(node.meta.get("grapharg"), "source", None)
    name = getattr(source, "name", "")  # a method before PyTorch 2.10
    return str(name() if callable(name) else name)


def is_sub_graph_call(function: object) -> bool:
    """Whether a function runs graphs that it is given, as activation checkpointing does."""
    kind = getattr(sys.modules.get("torch._ops"), "HigherOrderOperator", ())
    return isinstance(function, kind)


def hint_of(size: Any) -> int:
    """The size that a graph was made with, where it holds for other sizes, too; 1 where there is none."""
    if isinstance(size, int):
        return size
    try:
        return int(size.node.hint)
    except (AttributeError, TypeError, ValueError):
        return 1


def is_decided_by_data(size: Any) -> bool:
    """Whether a size depends not only on the sizes of the inputs but on their values; so it may be zero."""
    return not isinstance(size, int) and getattr(getattr(size, "node", None), "hint", None) is None


def is_known_multiple(size: Any, divisor: int) -> bool:
    """Whether a size that depends on the inputs is always a multiple of a number; False if that is not known."""
    known = getattr(sys.modules.get("torch.fx.experimental.symbolic_shapes"), "statically_known_true", None)
    return bool(known is not None and known(size % divisor == 0))


def breaks_beside(graph: fx.GraphModule) -> list[str]:
    """The files and lines that dynamo could not compile just before and after a graph of its own, as far as known."""
    reason = getattr(graph, "compile_subgraph_reason", None)
    frames = getattr(reason, "user_stack", None) or []
    after = [frame for frame in frames if frame.name.startswith("torch_dynamo_resume_in_")]
    lines = [(frame, frame.name.rpartition("_at_")[2]) for frame in after]
    if getattr(reason, "graph_break", False):
        lines += [(frame, frame.lineno) for frame in frames[-1:]]
    return [f"{PurePath(frame.filename).name}:{line}" for frame, line in lines if line]


_CALLING = getattr(nn.Module, "_call_impl", nn.Module.__call__).__code__


class ModuleCall(NamedTuple):
    """A call of a module that has not returned yet."""

    module: nn.Module
    args: Any
    kwargs: Any
    memory: MutableMapping[str, Any]  # lives as long as the call


def calls_of_modules() -> Iterator[ModuleCall]:
    """The modules that are running in this thread, the innermost one first."""
    frame: Any = sys._getframe()  # noqa: SLF001  # as `inspect.currentframe`, which is slower
    while frame is not None:
        if frame.f_code is _CALLING:
            found = frame.f_locals
            module = found.get("self")
            # DistributedDataParallel has dynamo split a graph, whose parts are called as modules, maybe wrapped.
            inner = module._orig_mod if is_wrapper_of_compiled(module) else module  # noqa: SLF001
            is_part = isinstance(inner, fx.GraphModule) or type(inner).__module__.startswith("torch._dynamo.")
            if isinstance(module, nn.Module) and not is_part:
                yield ModuleCall(found["self"], found.get("args", ()), found.get("kwargs", {}), found)
        frame = frame.f_back


def is_traced_for_quantization(tensor: object) -> bool:
    """Whether it is no tensor but a proxy, of `torch.ao.quantization`'s tracer; False if that cannot be asked."""
    tracer = getattr(sys.modules.get("torch.ao.quantization.fx.tracer"), "QuantizationTracer", ())
    return isinstance(getattr(tensor, "tracer", None), tracer)


def dynamo_is_loaded() -> bool:
    """Whether anything may have been compiled. `torch._dynamo` is slow to import, so it is not imported for this."""
    return "torch._dynamo" in sys.modules


def is_wrapper_of_compiled(module: nn.Module) -> bool:
    """Whether the module is what `torch.compile(module)` returns; False if that cannot be asked."""
    wrapper = getattr(sys.modules.get("torch._dynamo"), "OptimizedModule", ())
    return isinstance(module, wrapper)


def is_managed_by_fsdp(module: nn.Module) -> bool:
    """Whether the module lies within one that is wrapped by FSDP; False if that cannot be asked."""
    return bool(getattr(module, "_is_fsdp_managed_module", False))


def is_compiled(module: nn.Module) -> bool:
    """Whether the module was compiled by `torch.compile(module)` or, as far as can be asked, by `module.compile()`."""
    return is_wrapper_of_compiled(module) or getattr(module, "_compiled_call_impl", None) is not None

"""Counts units in compiled code: backends for `torch.compile` whose graphs count, and what they have counted."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, NamedTuple

import numpy.typing as npt
import torch
from torch import Tensor, fx, nn

from leakyrelu._backends.torch_private import compilation, copy_of_module, is_fake, running_module
from leakyrelu.torch.capture import paths
from leakyrelu.torch.graphs import Counted, Group, Owner, Place, Site, add_counts, results_of
from leakyrelu.torch.operations import ACTIVATION_MODULES, is_operation
from leakyrelu.torch.running import within
from leakyrelu.units.sums import Sums

__all__ = ["Compiled", "Compiler"]

Compiler = Callable[[fx.GraphModule, Sequence[Any]], Callable[..., Any]]


@dataclass(eq=False)
class _Graph:
    """A graph of dynamo's, with counts."""

    code: Any  # what it was made of; a graph that is made again for other shapes has the same
    root: str | None  # the path of the module whose code it is; None: it is no module's
    outputs: int  # how many it had before
    counted: Counted
    ran: frozenset[str]  # the paths of the modules that run in it


class _Called(NamedTuple):
    """A graph, and the module that runs it, as dynamo makes one graph for all modules of a class."""

    graph: _Graph
    path: str | None  # of the module

    @property
    def code(self) -> tuple[Any, str | None]:
        """What is called, whatever the shapes."""
        return self.graph.code, self.path

    def path_of(self, path: str) -> str:
        """The path, in this module, of what had another path in the module that the graph was made for."""
        root = self.graph.root
        if root is None or self.path is None or not f"{path}.".startswith(f"{root}." if root else ""):
            return path
        return f"{self.path}.{path[len(root) :].removeprefix('.')}".strip(".")


class Compiled:
    """Makes backends for `torch.compile` that count, and keeps what their graphs have counted.

    Parameters
    ----------
    model : torch.nn.Module
        Not replicated.
    wanted : callable
        Takes what is called, and returns whether to observe this call.
    examples : Counter
        Gets how many examples there were, by what is called.
    notes : dict
        Its keys are remarks on what could not be seen.

    Attributes
    ----------
    is_counting : bool
        Whether the calls are counted now.
    """

    def __init__(
        self, model: nn.Module, wanted: Callable[[Any], bool], examples: Counter[Any], notes: dict[str, None]
    ) -> None:
        self.is_counting = False
        self._model = model
        self._wanted = wanted
        self._examples = examples
        self._notes = notes
        self._paths = paths(model)
        self._calls = _Calls()
        self._entered: int | None = None  # the examples that the model was called with last
        self._ran: dict[_Called, frozenset[str]] = {}  # the paths of the modules that ran
        self._counts: dict[_Called, _Counts] = {}

    def clear(self) -> None:
        """Forget what was counted."""
        self._counts.clear()

    def sums(self) -> list[Sums]:
        """What was counted of each site, by graph and module."""
        return [sums for counts in self._counts.values() for sums in counts.sums()]

    def backend(self, compiler: Compiler, *, exact: bool, keeps_bare: bool) -> Compiler:
        """A backend that adds the counts to each graph with gradients before `compiler` compiles it.

        With `keeps_bare`, the graph is compiled without them, too, for the calls that are not observed.
        """

        def count_and_compile(module: fx.GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
            if not torch.is_grad_enabled():
                return compiler(module, inputs)
            self._paths = paths(self._model)
            running = running_module()
            owner = None if running is None else within(running)
            if owner not in self._paths:
                owner = None
            root = None if owner is None else self._paths[owner]
            bare = copy_of_module(module) if keeps_bare else None
            outputs = len(results_of(module))
            counter = self._calls.counter(type(owner), root or "")
            counted = add_counts(module, Owner(owner, self._paths), counter, self._notes.setdefault, exact=exact)
            graph = _Graph(
                self._calls.code,
                root,
                outputs,
                counted,
                frozenset(self._paths[each] for each in counted.ran),
            )
            plain = None if bare is None or not counted.groups else compiler(bare, inputs)
            return self._runner(graph, compiler(module, inputs), plain)

        return count_and_compile

    def _runner(
        self, graph: _Graph, counted: Callable[..., Any], plain: Callable[..., Any] | None
    ) -> Callable[..., Any]:
        """What is called in place of a graph. It gives what the graph gave before the counts were added."""

        def run(*inputs: Any) -> Any:
            some = next((value for value in inputs if isinstance(value, Tensor)), None)
            if not (self.is_counting and torch.is_grad_enabled()) or (some is not None and is_fake(some)):
                return (plain or counted)(*inputs)[: graph.outputs]
            called, examples = self._called(graph), self._examples_in(graph, inputs)
            if not graph.counted.groups or not self._wanted(called.code):
                return (plain or counted)(*inputs)[: graph.outputs]
            results = counted(*inputs)
            if called not in self._counts:
                self._counts[called] = _Counts(called)
            with torch.no_grad():
                self._counts[called].add(examples, results[graph.outputs :])
            self._examples[called.code] += examples
            return results[: graph.outputs]

        return run

    def _called(self, graph: _Graph) -> _Called:
        """Which module runs a graph now."""
        module = None if graph.root is None else running_module()
        called = _Called(graph, graph.root if module is None else self._paths.get(within(module), graph.root))
        if called not in self._ran:
            self._ran[called] = frozenset(map(called.path_of, graph.ran))
        return called

    def _examples_in(self, graph: _Graph, inputs: Sequence[Any]) -> int:
        """How many examples there are in the pass: those that the model was called with, if that is known."""
        counted = graph.counted
        here = counted.examples if counted.batch is None else int(inputs[counted.batch].shape[0])
        if graph.root == "" and counted.is_argument:
            self._entered = here
        return here if self._entered is None else self._entered

    def unseen(self) -> Iterator[str]:
        """A note for each part of the model that ran in no graph with counts."""
        ran = {path for paths in self._ran.values() for path in paths}
        within = {path[:end] for path in ran for end in _ends(path)}
        told: list[str] = []
        for module, path in paths(self._model).items():
            if path in within:
                if path not in ran and _calls_activations(module):
                    yield f"{path or 'the model itself'} ran uncompiled; what it calls besides its modules is not seen"
            elif not any(path.startswith(f"{parent}.") for parent in told):
                told.append(path)
                if any(map(_may_activate, module.modules())):
                    what = path or "the model itself"
                    yield f"{what} ran in no compiled graph that counts; if it ran, its units are not seen"


class _Calls:
    """Numbers the calls of an activation by a module in one pass, which may be made of several graphs.

    A graph that is made again, for other shapes, has the same numbers.
    """

    def __init__(self) -> None:
        self._codes: dict[Any, _Compilation] = {}  # the last one of each code
        self.code: Any = None  # what the graph is made of that is being compiled

    def counter(self, kind: type, root: str) -> Callable[[Place], Place]:
        """A function that numbers the calls in the graph that is being compiled."""
        code, version = compilation()
        if code not in self._codes or self._codes[code].version != version:
            self._codes[code] = _Compilation(version)  # where the code is known, it keeps its place in the order
        here = self._codes[code]
        here.graphs += 1  # there are several where DistributedDataParallel splits them
        self.code = code, here.graphs

        def numbered(place: Place) -> Place:
            key = kind, f"{place.path.removeprefix(root)}.{place.operation}".strip(".")
            before = sum(each.calls[key] for each in takewhile(lambda each: each is not here, self._codes.values()))
            here.calls[key] += 1
            return place._replace(call=before + here.calls[key])

        return numbered


@dataclass(eq=False)
class _Compilation:
    version: Any
    graphs: int = 0
    calls: Counter[Any] = field(default_factory=Counter)


class _Counts:
    """What a graph has counted, for the module that runs it."""

    def __init__(self, called: _Called) -> None:
        self._called = called
        self._examples = self._calls = 0
        self._groups = [_GroupCounts(group) for group in called.graph.counted.groups]

    def add(self, examples: int, results: Sequence[Any]) -> None:
        """Add what a call of the graph gave."""
        self._examples += examples
        self._calls += 1
        first = 0
        for counts in self._groups:
            counts.add(results[first : first + counts.group.outputs])
            first += counts.group.outputs

    def sums(self) -> list[Sums]:
        """The sums of each site, in the order of the calls."""
        found = [each for counts in self._groups for each in counts.sums()]
        return [
            Sums(
                name=site.place._replace(path=self._called.path_of(site.place.path)).name(site.activation),
                operation=site.activation.operation,
                flat=site.activation.flat,
                threshold=site.activation.threshold,
                examples=self._examples if site.has_examples else self._calls,
                **counted,
            )
            for site, counted in sorted(found, key=lambda each: each[0].order)
        ]


class _GroupCounts:
    """What was counted of the sites on one device, one after another in the same tensors."""

    @torch.inference_mode(False)
    def __init__(self, group: Group) -> None:
        device = group.device
        exact = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        units, entering = (sum(site.units for site in sites) for sites in (group.sites, group.entering))
        self.group = group
        self._values = [0] * len(group.sites)
        self._fired = torch.zeros(units, dtype=torch.int64, device=device)
        self._magnitude = torch.zeros(units, dtype=exact, device=device)
        self._below = torch.zeros(entering, dtype=torch.bool, device=device)
        self._maximum = torch.full((entering,), -math.inf, dtype=exact, device=device)

    def add(self, results: Sequence[Any]) -> None:
        fired, magnitude, *others = results
        self._fired += fired
        self._magnitude += magnitude
        if self.group.entering:
            below, maximum, *others = others
            self._below |= below
            torch.maximum(self._maximum, maximum, out=self._maximum)
        for i, site in enumerate(self.group.sites):
            self._values[i] += others.pop(0) // site.units if site.values is None else site.values

    def sums(self) -> Iterator[tuple[Site, dict[str, Any]]]:
        """What was counted of each site."""
        fired, magnitude = self._parts(self.group.sites, self._fired, self._magnitude.double())
        below, maximum = self._parts(self.group.entering, self._below, self._maximum.double())
        for values, site, times, total in zip(self._values, self.group.sites, fired, magnitude, strict=True):
            yield (
                site,
                {
                    "values": values,
                    "fired": times,
                    "below": next(below) if site.enters else times < values,
                    "maximum": next(maximum) if site.enters else None,
                    "magnitude": total,
                },
            )

    def _parts(self, sites: Sequence[Site], *tensors: Tensor) -> list[Iterator[npt.NDArray[Any]]]:
        """The units of each site, of each tensor."""
        lengths = [site.units for site in sites]
        return [iter([part.numpy().copy() for part in torch.split(tensor.cpu(), lengths)]) for tensor in tensors]


def _ends(path: str) -> list[int]:
    """Where the paths of the modules end that a path goes through, that of the model included."""
    return [0, *(i for i, letter in enumerate(path) if letter == "."), len(path)]


def _may_activate(module: nn.Module) -> bool:
    """Whether the module may call an activation: it is one, or somebody's own with weights, or its code names one."""
    own = not type(module).__module__.startswith("torch.nn.") and next(module.parameters(), None) is not None
    return own or isinstance(module, ACTIVATION_MODULES) or _calls_activations(module)


def _calls_activations(module: nn.Module) -> bool:
    """Whether the code of a module, which is no activation itself, names one."""
    code = getattr(type(module).forward, "__code__", None)
    names = getattr(code, "co_names", ())
    return not isinstance(module, ACTIVATION_MODULES) and any(is_operation(name.strip("_")) for name in names)

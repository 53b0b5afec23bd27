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

from leakyrelu._backends.torch_private import (
    ModuleCall,
    backward_is_running,
    breaks_beside,
    calls_of_modules,
    compilation,
    copy_of_module,
    is_fake,
    is_last_compilation,
)
from leakyrelu.torch.capture import examples_in, paths
from leakyrelu.torch.graph_sums import Group, Place, Site
from leakyrelu.torch.graphs import Counted, Owner, add_counts, results_of
from leakyrelu.torch.operations import ACTIVATION_MODULES, is_operation
from leakyrelu.torch.running import within
from leakyrelu.units.sums import Sums

__all__ = ["Compiled", "Compiler"]

Compiler = Callable[[fx.GraphModule, Sequence[Any]], Callable[..., Any]]


@dataclass(eq=False)
class _Graph:
    """A graph of dynamo's, with counts."""

    code: Any  # what it was made of; a graph that is made again for other shapes has the same
    calls_in: Callable[[Place], int]  # how often the code, with what is before and after it, makes the call of a place
    root: str | None  # the path of the module whose code it is; None: it is no module's
    outputs: int  # how many it had before
    counted: Counted
    ran: frozenset[str]  # the paths of the modules that run in it


class _Called(NamedTuple):
    """A graph, and the module that runs it, as dynamo makes one graph for all modules of a class."""

    graph: _Graph
    path: str | None  # of the module
    run: int  # which run of its code in a pass it is

    @property
    def code(self) -> tuple[Any, str | None, int]:
        """What is called, whatever the shapes."""
        return self.graph.code, self.path, self.run

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
        self._observed: dict[Any, bool] = {}  # by what is called: whether its last call was observed
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
            calls = list(calls_of_modules())
            owner = within(calls[0].module) if calls else None
            if owner not in self._paths:
                owner = None
            root = None if owner is None else self._paths[owner]
            bare = copy_of_module(module) if keeps_bare else None
            outputs = len(results_of(module))
            counter, calls_in = self._calls.counters(type(owner), root or "")
            whose = Owner(owner, self._paths, self._called_with(calls))
            counted = add_counts(module, whose, counter, self._notes.setdefault, exact=exact)
            self._note_what_runs_uncompiled(module, root)
            graph = _Graph(
                self._calls.code,
                calls_in,
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
            bare = plain or counted
            if not (self.is_counting and torch.is_grad_enabled()) or (some is not None and is_fake(some)):
                return bare(*inputs)[: graph.outputs]
            calls = list(calls_of_modules())
            called = self._called(graph, calls)
            if called is None or not graph.counted.groups:
                return bare(*inputs)[: graph.outputs]
            repeats = backward_is_running()
            if repeats and called.code in self._observed:  # for a checkpoint, which checks that it saves the same
                return (counted if self._observed[called.code] else bare)(*inputs)[: graph.outputs]
            wanted = self._wanted(called.code)
            if not repeats:  # otherwise it is a reentrant checkpoint, and ran without gradients before
                self._observed[called.code] = wanted
            if not wanted:
                return bare(*inputs)[: graph.outputs]
            examples = self._examples_in(graph, inputs, calls)
            results = counted(*inputs)
            if called not in self._counts:
                self._counts[called] = _Counts(called)
            with torch.no_grad():
                self._counts[called].add(examples, results[graph.outputs :])
            self._examples[called.code] += examples
            return results[: graph.outputs]

        return run

    def _called(self, graph: _Graph, calls: Sequence[ModuleCall]) -> _Called | None:
        """Which module runs a graph now; None if it is one of another model, such as a copy, which shares the graph."""
        path = graph.root
        if path is not None and calls:
            module = within(calls[0].module)
            if module not in self._paths:
                self._paths = paths(self._model)
            if module not in self._paths:
                return None
            path = self._paths[module]
        called = _Called(graph, path, self._run_of(graph.code, path, calls))
        if called not in self._ran:
            self._ran[called] = frozenset(map(called.path_of, graph.ran))
        return called

    def _run_of(self, code: Any, path: str | None, calls: Sequence[ModuleCall]) -> int:
        """Which run of this code it is in the present pass, as far as it is known where that began."""
        outermost = next((call for call in calls[::-1] if within(call.module) in self._paths), None)
        if outermost is None:
            return 1
        runs = outermost.memory.setdefault(f"_leakyrelu_runs_{id(self)}", Counter())
        runs[code, path] += 1
        return int(runs[code, path])

    def _called_with(self, calls: Sequence[ModuleCall]) -> int | None:
        """How many examples the outermost module of the model was called with, or else the next one, if it is known."""
        given = (examples_in((call.args, call.kwargs)) for call in calls[::-1] if within(call.module) in self._paths)
        return next((examples for examples in given if examples is not None), None)

    def _examples_in(self, graph: _Graph, inputs: Sequence[Any], calls: Sequence[ModuleCall]) -> int:
        """How many examples there are in the pass: those that the model was called with, if that is known."""
        counted = graph.counted
        if not any(site.has_examples for group in counted.groups for site in group.sites):
            return 1
        examples = self._called_with(calls)
        if examples is not None:
            return examples
        return counted.examples if counted.batch is None else int(inputs[counted.batch].shape[0])

    def _note_what_runs_uncompiled(self, graph: fx.GraphModule, root: str | None) -> None:
        """Take note of it if dynamo breaks off after a graph, or has compiled a function for the last time."""
        for where in breaks_beside(graph):
            self._notes[f"the graph breaks at {where}; activations that run uncompiled there are not seen"] = None
        if is_last_compilation():
            name = "a function" if root is None else root or "the model itself"
            self._notes[
                f"{name} was compiled as often as dynamo's recompile_limit allows; "
                "passes for which it would have to be compiled again are not seen"
            ] = None

    def unseen(self) -> Iterator[str]:
        """A note for each part of the model that ran in no graph with counts."""
        ran = {path for paths in self._ran.values() for path in paths}
        within = {path[:end] for path in ran for end in _ends(path)}
        told: list[str] = []
        for module, path in paths(self._model).items():
            if path in within:
                if path not in ran and _calls_activations(module):
                    yield f"{path or 'the model itself'} ran uncompiled; what it calls besides its modules is not seen"
            elif "" not in told and not any(path.startswith(f"{parent}.") for parent in told):
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

    def counters(self, kind: type, root: str) -> tuple[Callable[[Place], Place], Callable[[Place], int]]:
        """Two functions for the graph that is being compiled: one numbers a call, the other counts those like it."""
        code, version = compilation()
        if code not in self._codes or self._codes[code].version != version:
            self._codes[code] = _Compilation(version)  # where the code is known, it keeps its place in the order
        here = self._codes[code]
        here.graphs += 1  # there are several where DistributedDataParallel splits them
        self.code = code, here.graphs

        def key(place: Place) -> object:
            return kind, f"{place.path.removeprefix(root)}.{place.operation}".strip(".")

        def numbered(place: Place) -> Place:
            before = takewhile(lambda each: each is not here, self._codes.values())
            here.calls[key(place)] += 1
            return place._replace(call=sum(each.calls[key(place)] for each in before) + here.calls[key(place)])

        def calls_in(place: Place) -> int:
            return sum(each.calls[key(place)] for each in self._codes.values())

        return numbered, calls_in


@dataclass(eq=False)
class _Compilation:
    version: Any
    graphs: int = 0
    calls: Counter[Any] = field(default_factory=Counter)


class _Counts:
    """What a graph has counted, for the module that runs it."""

    def __init__(self, called: _Called) -> None:
        self._called = called
        self._groups: dict[tuple[int, int], _GroupCounts] = {}  # by the place of the group, and the number of its units

    def add(self, examples: int, results: Sequence[Any]) -> None:
        """Add what a call of the graph gave."""
        first = 0
        for i, group in enumerate(self._called.graph.counted.groups):
            here = results[first : first + group.outputs]
            key = i, len(here[0])
            if key not in self._groups:
                self._groups[key] = _GroupCounts(group, key[1])
            self._groups[key].add(examples, here)
            first += group.outputs

    def sums(self) -> list[Sums]:
        """The sums of each site, in the order of the calls."""
        found = [each for counts in self._groups.values() for each in counts.sums()]
        return [
            Sums(
                name=self._place(site).name(site.activation),
                operation=site.activation.operation,
                flat=site.activation.flat,
                threshold=site.activation.threshold,
                **counted,
            )
            for site, counted in sorted(found, key=lambda each: each[0].order)
        ]

    def _place(self, site: Site) -> Place:
        """Where the site is in this run of the graph by this module."""
        before = (self._called.run - 1) * self._called.graph.calls_in(site.place)
        return site.place._replace(path=self._called.path_of(site.place.path), call=site.place.call + before)


class _GroupCounts:
    """What was counted of the sites on one device, one after another in the same tensors."""

    @torch.inference_mode(False)
    def __init__(self, group: Group, units: int) -> None:
        sites = [site if site.units is not None else site._replace(units=units) for site in group.sites]
        self.group = group = group._replace(sites=sites)
        device = group.device
        exact = torch.float32 if device.type == "mps" else torch.float64  # Apple's GPUs have no float64
        entering = sum(site.units or 0 for site in group.entering)
        self._examples = self._calls = 0
        self._values = [0] * len(sites)
        self._fired = torch.zeros(units, dtype=torch.int64, device=device)
        self._magnitude = torch.zeros(units, dtype=exact, device=device)
        self._below = torch.zeros(entering, dtype=torch.bool, device=device)
        self._maximum = torch.full((entering,), -math.inf, dtype=exact, device=device)

    def add(self, examples: int, results: Sequence[Any]) -> None:
        """Add what a call of the graph gave."""
        self._examples += examples
        self._calls += 1
        fired, magnitude, *others = results
        self._fired += fired
        self._magnitude += magnitude
        if self.group.entering:
            below, maximum, *others = others
            self._below |= below
            torch.maximum(self._maximum, maximum, out=self._maximum)
        for i, site in enumerate(self.group.sites):
            self._values[i] += others.pop(0) // (site.units or 1) if site.values is None else site.values

    def sums(self) -> Iterator[tuple[Site, dict[str, Any]]]:
        """What was counted of each site."""
        fired, magnitude = self._parts(self.group.sites, self._fired, self._magnitude.double())
        below, maximum = self._parts(self.group.entering, self._below, self._maximum.double())
        for values, site, times, total in zip(self._values, self.group.sites, fired, magnitude, strict=True):
            yield (
                site,
                {
                    "examples": self._examples if site.has_examples else self._calls,
                    "values": values,
                    "fired": times,
                    "below": next(below) if site.enters else times < values,
                    "maximum": next(maximum) if site.enters else None,
                    "magnitude": total,
                },
            )

    def _parts(self, sites: Sequence[Site], *tensors: Tensor) -> list[Iterator[npt.NDArray[Any]]]:
        """The units of each site, of each tensor."""
        lengths = [site.units or 0 for site in sites]
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

"""Puts other activations in place of those of a model, whether they are modules or functions that a forward calls.

A module is replaced by a module, wherever it is held; a call is replaced in the source of the function that makes it.
Nothing is traced: the rest of the model runs as before.
"""

import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import FrameType, FunctionType, MethodType
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.nn.utils import parametrize

from leakyrelu._backends.torch_private import copy_of_graph, is_compiled
from leakyrelu._shared.arguments import one_slope
from leakyrelu._shared.wording import listed
from leakyrelu.torch.activation import LeakyReLU
from leakyrelu.torch.capture import Call, paths, watch
from leakyrelu.torch.changes import Changes
from leakyrelu.torch.operations import OPERATIONS, SiteNames, activation_of, function_of, module_kind
from leakyrelu.torch.rewriting import Found, Place, Rewriter, is_foreign, place_of, takes_more, used_names
from leakyrelu.torch.running import checked, copies, evaluating, run_batch
from leakyrelu.torch.sources import original_file
from leakyrelu.torch.substitutes import Substitutes, is_new, is_plain, stands_in, mapped, works_by_itself

__all__ = ["Replacement", "replace", "replace_relu"]


@dataclass(frozen=True, eq=False)
class Replacement:
    """What `replace` did; ``print`` shows it in a few lines.

    Attributes
    ----------
    model : torch.nn.Module
        The model to use from now on. It is the one given, unless that was itself an activation.
    replaced : tuple of str
        The names of the sites that compute the new activation now.
    skipped : Mapping of str to str
        The names of the sites that were left as they were, and the reason for each.
    parameters : tuple of str
        The names of the parameters that the model has gained, as in its ``state_dict``. An optimizer that was made
        before does not know them.
    lost : tuple of str
        The names of the parameters that the model has lost, such as those of a PReLU that was replaced.
    """

    model: nn.Module
    replaced: tuple[str, ...]
    skipped: Mapping[str, str]
    parameters: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    _text: str = field(default="", repr=False)
    _changes: Changes = field(default_factory=Changes, repr=False)

    def undo(self) -> nn.Module:
        """Take everything back, and return the model as it was given.

        Raises
        ------
        RuntimeError
            Something that was replaced has been changed since, for example by another replacement: undo that first.
        """
        self._changes.undo()
        return self._changes.given or self.model

    def __str__(self) -> str:
        return self._text


def replace_relu(
    model: nn.Module,
    negative_slope: float = 0.01,
    *,
    only: Iterable[str] | None = None,
    batches: Iterable[Any] | None = None,
) -> Replacement:
    """Replace every ReLU of a model by Leaky ReLU; the model itself is changed.

    It is `replace` with ``{nn.ReLU: LeakyReLU(negative_slope)}``.

    Parameters
    ----------
    model : torch.nn.Module
        Any model. Replace first, and script or compile the model afterwards.
    negative_slope : float, default 0.01
        The slope for negative inputs.
    only : iterable of str, optional
        The names of the sites to replace, as `diagnose` gives them; by default all are replaced.
    batches : iterable, optional
        Data to run the model on, as for `diagnose`. Then the report is sure, for what the model does on these batches.

    Returns
    -------
    Replacement
        The model, the names of the sites that were replaced, and the names of those that were not, with the reasons.

    Raises
    ------
    TypeError
        `model` is not a module, `negative_slope` is not a single real number, or `only` is a single string.
    ValueError
        `negative_slope` is not finite, or `only` has a name that the model does not have.

    See Also
    --------
    replace : replaces any activation by any other, and says what is replaced and what is not.
    diagnose : finds the units that are dead; it names sites in the same way.
    revive : makes dead units of ReLU fire again.

    Examples
    --------
    >>> from torch import nn
    >>> from leakyrelu.torch import replace_relu
    >>> replacement = replace_relu(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), 0.1)
    >>> print(replacement)
    replaced by Leaky ReLU: 1 (1)
    >>> replacement.model[1]
    LeakyReLU(negative_slope=0.1)
    """
    _check_model(model)
    slope = one_slope(negative_slope, "negative_slope")
    return replace(model, {nn.ReLU: LeakyReLU(slope)}, only=only, batches=batches)


def replace(
    model: nn.Module,
    activations: Mapping[type[nn.Module], nn.Module],
    *,
    only: Iterable[str] | None = None,
    batches: Iterable[Any] | None = None,
) -> Replacement:
    """Replace activations of a model by others; the model itself is changed.

    What is replaced: modules, wherever the model holds them (as children, in attributes, lists, dictionaries and
    partials, or as attributes of a class); functions that it holds; and calls, such as ``F.relu(x)``, ``x.relu()``,
    ``nn.ReLU()(x)`` or ``ACTIVATIONS[name](x)``, in its forward and in the functions that this calls. Calls are
    replaced in the source of the function, and nothing else of it changes: what it decides by chance or by its data,
    what it reads from globals and what it changes elsewhere. Parameters, buffers, hooks, modes and ``isinstance`` stay;
    the model can be copied, pickled, compiled, exported and scripted as before.

    Parameters
    ----------
    model : torch.nn.Module
        Any model. Replace first, and script or compile the model afterwards: parts that are scripted or compiled
        already are skipped.
    activations : Mapping of class to torch.nn.Module
        For each kind of activation, the module to put in its place, such as ``{nn.SiLU: LeakyReLU(0.1)}``. A kind is
        `nn.ReLU`, `nn.ReLU6`, `nn.Hardtanh`, `nn.Threshold`, `nn.LeakyReLU`, `nn.PReLU`, `nn.RReLU`, `nn.ELU`,
        `nn.CELU`, `nn.SELU`, `nn.GELU` or `nn.SiLU`, and stands for the functions of that activation, too. Each site
        gets a copy of the module. What works in place is replaced by something that does.
    only : iterable of str, optional
        The names of the sites to replace, as `diagnose` gives them; by default all are replaced. ``"act"`` stands for
        all calls of the module ``act``. Names of calls in a forward need `batches`, as only a run tells which
        expression has which name.
    batches : iterable, optional
        Data to run the model on, as for `diagnose`: before, to see what it calls, and afterwards, to see whether
        anything is left, which `skipped` then lists by file and line. Without it, the report is about what the source
        shows.

    Returns
    -------
    Replacement
        The model, the names of the sites that were replaced, and the names of those that were not, with the reasons;
        `Replacement.undo` takes everything back.

    Raises
    ------
    TypeError
        `model` is not a module, `activations` maps something else, or `only` is a single string.
    ValueError
        `activations` is empty, or `only` has a name that the model does not have.

    See Also
    --------
    replace_relu : the shorthand for Leaky ReLU in place of ReLU.
    diagnose : names sites in the same way.

    Notes
    -----
    A method gets its new source in a subclass of the module's class, which has the same name. If the new activation has
    parameters, they are modules of the module that makes the call, and ``state_dict`` gains them. Where no module
    makes the call (in a function of its own, or through a list), such a site is skipped.

    What is never replaced: functions without source, scripted functions, fused kernels (`nn.RNN`), and classes named
    in ``isinstance``. Where ReLU is replaced, other activations that are flat below zero are listed as skipped.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from torch.nn import functional as F
    >>> from leakyrelu.torch import LeakyReLU, replace
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.SiLU(), nn.Linear(4, 4), nn.ReLU())
    >>> replacement = replace(model, {nn.SiLU: LeakyReLU(0.1), nn.ReLU: nn.PReLU()}, batches=[torch.ones(2, 3)])
    >>> print(replacement)
    replaced by Leaky ReLU, PReLU: 2 (1, 3)
    new parameters: 1 (3.weight); an optimizer needs to be given them
    >>> replacement.undo()[1]
    SiLU()
    """
    _check_model(model)
    table = _table(activations)
    if isinstance(only, str):
        raise TypeError(f"only must be a list of names, got a string; write only=[{only!r}]")
    work = _Work(model, table, None if only is None else list(only), batches)
    return work.done()


def _check_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {model!r}")


def _table(activations: Any) -> dict[type[nn.Module], nn.Module]:
    kinds = ", ".join(f"nn.{kind.__name__}" for kind in OPERATIONS)
    if not isinstance(activations, Mapping):
        raise TypeError(
            f"activations must be a mapping such as {{nn.ReLU: LeakyReLU(0.1)}}, got {type(activations).__name__}"
        )
    if not activations:
        raise ValueError(f"activations is empty: name what is to be replaced, one of {kinds}")
    for kind, new in activations.items():
        if not isinstance(kind, type) or kind not in OPERATIONS:
            known = function_of(kind)
            hint = f"; write nn.{known.kind.__name__}, which stands for its function, too" if known else ""
            if isinstance(kind, nn.Module) and module_kind(kind):
                hint = f"; write the class, nn.{module_kind(kind).__name__}"  # type: ignore[union-attr]
            raise TypeError(f"the keys of activations must be among {kinds}, got {kind!r}{hint}")
        if not isinstance(new, nn.Module):
            hint = f"; write {new.__name__}(), an object" if isinstance(new, type) else ""
            raise TypeError(f"the values of activations must be modules such as LeakyReLU(0.1), got {new!r}{hint}")
    return dict(activations)


class _Seen(NamedTuple):
    """A call of an activation to be replaced, in a run."""

    name: str  # of the site
    path: str  # of the module that made it
    module: nn.Module
    place: Place
    file: str
    line: int
    function: str
    foreign: bool  # whether code of PyTorch made it
    is_new: bool  # whether it is the new activation that was called
    gone: bool = False  # whether it was called in the first run alone


_Reason = str
_BOUNDED = "is bounded above, too, which Leaky ReLU is not"
_CLAMP = "a clamp at zero, which may be meant as a bound; write nn.ReLU where it is an activation"
_OTHERS = {  # other activations that are flat below zero, and why they are left alone
    "relu6": f"ReLU6 {_BOUNDED}",
    "hardtanh": f"Hardtanh {_BOUNDED}",
    "threshold": "a threshold has a place and a value of its own, which Leaky ReLU does not have",
    **dict.fromkeys(("clamp", "clamp_min", "clip"), _CLAMP),
}
_FUSED = "fused: its ReLU is part of the {} kernel"


class _Work:
    """One replacement: sees what is there, changes it, and looks whether anything is left."""

    def __init__(
        self,
        model: nn.Module,
        table: dict[type[nn.Module], nn.Module],
        only: list[str] | None,
        batches: Iterable[Any] | None,
    ) -> None:
        self.model, self.table, self.only = model, table, only
        self.changes = Changes()
        self.top = nn.ModuleList([model])  # so that the model has a parent, too
        self.modules, self.opaque = _visible(model)
        if batches is not None:
            batches = checked(batches)
        self.batches = list(batches) if isinstance(batches, Iterator) else batches
        self.flat: dict[str, _Reason] = {}  # the names of other flat activations that a run called
        self.seen, _ = self._run()  # before anything is changed
        self.parameters = dict(model.named_parameters())
        self.new = Substitutes(table)

    def done(self) -> Replacement:
        """Do it, and report."""
        try:
            replaced, skipped = self._all() if self.only is None else self._only(self.only)
        except BaseException:
            self.changes.undo()
            raise
        model = self.top[0]
        self.changes.given = self.model
        now = dict(model.named_parameters())
        gained = tuple(name for name in now if self.parameters.get(name) is not now[name])
        lost = tuple(name for name in self.parameters if now.get(name) is not self.parameters[name])
        text = self._text(replaced, skipped, gained, lost)
        return Replacement(model, tuple(replaced), skipped, gained, lost, text, self.changes)

    # Everything, and only what is named.

    def _all(self) -> tuple[list[str], dict[str, _Reason]]:
        replaced, skipped = self._apply(Rewriter(self.new))
        if self.batches is None:
            return replaced, skipped
        left = self._left()
        places = {seen.place for seen in self.seen if any(_is_same(seen, other) for other in left) and not seen.foreign}
        if places:  # what the source does not show, a run does
            self.changes.undo()
            self.new = Substitutes(self.table)
            replaced, skipped = self._apply(Rewriter(self.new, places))
            left = self._left()
        still: dict[str, _Reason] = {}
        for other in left:
            for name in [seen.name for seen in self.seen if _is_same(seen, other)] or [other.name]:
                still[name] = _still(other, skipped.get(name, ""))
        scripted = {name: reason for name, reason in skipped.items() if ("is scripted" in reason or "has a cache" in reason) and name not in still}
        static = {name: reason for name, reason in self._module_sites().items() if isinstance(reason, str)}
        ran = {_without_number(seen.name) for seen in self.seen}
        not_run = [name for name in replaced if _without_number(name) not in ran]
        done = [name for name in _in_order(self.seen) if name not in still and name not in scripted]
        return done + not_run, static | self.flat | still | scripted

    def _left(self) -> list[_Seen]:
        """What still calls an activation, or did before and cannot be seen any more."""
        left, new = self._run()
        if not all(map(module_kind, self.table.values())):
            return left  # the new activations cannot be seen
        functions = {(other.file, other.function) for other in (*left, *new)}
        gone = [
            seen
            for seen in self.seen
            if (seen.file, seen.function) not in functions and not seen.file.startswith("<eval_with_key>")
        ]
        return left + [seen._replace(gone=True) for seen in gone]

    def _only(self, only: list[str]) -> tuple[list[str], dict[str, _Reason]]:
        replaced: list[str] = []
        skipped: dict[str, _Reason] = {}
        swap: dict[str, nn.Module] = {}
        static = self._module_sites()
        by_name = {seen.name: seen for seen in self.seen}
        places: dict[nn.Module, set[Place]] = {}
        held: dict[nn.Module, set[str]] = {}
        for name in only:
            first, _, number = name.rpartition(":")
            later = name not in static and number.isdecimal() and first in static
            if name in static or later:
                site = static[name if name in static else first]
                if isinstance(site, str):
                    skipped[name] = site
                elif later and self.batches is not None and name not in by_name:
                    raise ValueError(f"{first!r} is called once on these batches, so there is no {name!r}")
                elif name in static:
                    swap[name] = site
                    replaced.append(name)
                elif first not in only:
                    skipped[name] = f"a later call cannot be replaced alone; {first!r} stands for all of them"
            elif name in self.flat:
                skipped[name] = self.flat[name]
            elif name in by_name:
                seen = by_name[name]
                same = [each.name for each in self.seen if (each.module, each.place) == (seen.module, seen.place)]
                missing = [each for each in same if each not in only]
                if missing:
                    skipped[name] = (
                        f"one of {len(same)} runs of the same expression ({_where(seen)}), which cannot be replaced "
                        f"alone; name all of them: {listed(same, 8)}"
                    )
                elif seen.foreign:
                    held.setdefault(seen.module, set()).add(name)
                else:
                    places.setdefault(seen.module, set()).add(seen.place)
            elif self.batches is None and (self._has_own_code() or name in self._held_names()):
                if name in self._held_names():
                    held.setdefault(self._held_names()[name], set()).add(name)
                else:
                    raise ValueError(
                        f"no module of this kind is named {name!r} (the names of modules are: {listed(list(static), 8) or 'none'}); "
                        "if it is a call in a forward, give batches, as only a run tells which expression it is"
                    )
            else:
                known = listed(list(dict.fromkeys((*static, *self._held_names(), *by_name, *self.flat))), 50) or "none"
                raise ValueError(f"no {self._kinds()} is named {name!r}; the names are: {known}")
        if swap:
            self._swap(set(swap.values()))
        for module, names in held.items():
            for key, value in list(vars(module).items()):
                if self.new.is_function(value):
                    self._hold(module, key, value)
            replaced += names
        for module, wanted in places.items():
            rewriter = Rewriter(self.new, wanted, only_places=True)
            found = self._rewrite(module, rewriter, lambda operation: operation)
            names = [seen.name for seen in self.seen if seen.module is module and seen.place in wanted]
            edited = {each.place for each in found if not each.reason}
            for seen in self.seen:
                if seen.module is module and seen.place in wanted and seen.name not in replaced:
                    if seen.place in edited:
                        replaced.append(seen.name)
                    else:
                        why = next((each.reason for each in found if each.place == seen.place and each.reason), "")
                        skipped[seen.name] = _still(seen, why)
        self._leave_fast_paths()
        order = [name for name in dict.fromkeys(only) if name in replaced]
        return order, {name: skipped[name] for name in dict.fromkeys(only) if name in skipped}

    # What a run shows.

    def _run(self) -> tuple[list[_Seen], list[_Seen]]:
        """Run the batches; the calls of activations to be replaced, and those of new ones."""
        if self.batches is None:
            return [], []
        seen: dict[tuple[str, Place], _Seen] = {}
        new: dict[tuple[str, Place], _Seen] = {}
        kinds = {OPERATIONS[kind] for kind in self.table}
        where = paths(self.top[0])

        def look(call: Call) -> None:
            operation = call.activation.operation
            each = _caller(call, where.get(call.module, ""), self.table)
            if each is not None and each.is_new and self.changes:
                new.setdefault((each.name, each.place), each)
            elif each is not None and operation in kinds:
                seen.setdefault((each.name, each.place), each)
            elif call.activation.flat and nn.ReLU in self.table and operation in _OTHERS:
                self.flat[call.name] = _OTHERS[operation]

        ran = False
        with evaluating(self.top[0]):
            for batch in copies(self.batches):
                ran = True
                watch(self.top[0], [batch], run_batch, look)
        if not ran:
            raise ValueError("batches is empty, so there is nothing to run the model on")
        return list(seen.values()), list(new.values())

    # What there is to replace.

    @property
    def modules_by_name(self) -> dict[str, nn.Module]:
        """The activations that are modules, by the names of their sites."""
        return {name: site for name, site in self._module_sites().items() if isinstance(site, nn.Module)}

    def _module_sites(self) -> dict[str, nn.Module | _Reason]:
        """The modules to be replaced, and the reasons for other sites that are modules."""
        sites: dict[str, nn.Module | _Reason] = dict(self.opaque)
        names = SiteNames()
        for path, module in self.modules.items():
            reason = _reason(module, self.table)
            kind = module_kind(module)
            if reason:
                name = names.name(path, module, OPERATIONS[kind]) if kind else path or "model"
                sites[name] = reason
            elif kind in self.table:
                sites[names.name(path, module, OPERATIONS[kind])] = module  # type: ignore[index]
        return sites

    def _held_names(self) -> dict[str, nn.Module]:
        """The modules of PyTorch that hold an activation as a function, by the names of their sites."""
        names = SiteNames()
        return {
            names.name(path, module, OPERATIONS[function_of(value).kind]): module  # type: ignore[union-attr]
            for path, module in self.modules.items()
            if is_foreign(type(module))
            for value in vars(module).values()
            if self.new.is_function(value)
        }

    def _apply(self, rewriter: Rewriter) -> tuple[list[str], dict[str, _Reason]]:
        """Replace everything that the source shows."""
        self._made: dict[int, tuple[Any, Any]] = {}
        replaced: list[str] = []
        skipped: dict[str, _Reason] = dict(self.opaque)
        names = SiteNames()
        pending = list(self.modules.items())
        known = set(self.modules.values())
        swap: set[nn.Module] = set()
        places = {seen.place for seen in self.seen}
        for path, module in pending:
            name = partial(names.name, path, module)
            kind = module_kind(module)
            if reason := _reason(module, self.table):
                skipped[name(OPERATIONS[kind]) if kind else path or "model"] = reason
            elif kind in self.table:
                replaced.append(name(OPERATIONS[kind]))  # type: ignore[index]
                swap.add(module)
            elif isinstance(module, fx.GraphModule):
                done, left = self._edit_graph(module, name)
                replaced += done
                skipped |= left
            else:
                for operation, reason in self._hold_all(module, rewriter, pending, known):
                    if reason:
                        skipped[name(operation)] = reason
                    else:
                        replaced.append(name(operation))
                for found in self._rewrite(module, rewriter, name):
                    if not found.is_sure and self.batches is not None and found.place not in places:
                        continue  # these batches do not show that it is an activation
                    if found.reason:
                        skipped[name(found.operation)] = _OTHERS.get(found.reason, found.reason)
                    else:
                        replaced.append(name(found.operation))
        self._swap(swap)
        self._leave_fast_paths()
        return list(dict.fromkeys(replaced)), skipped

    # Modules.

    def _swap(self, old: set[nn.Module]) -> None:
        """Put the new modules in place of the old ones, under all their names."""
        for parent in (self.top, *self.modules.values()):
            children = vars(parent)["_modules"]
            for key, child in list(children.items()):
                if child in old:
                    self.changes.set(children, key, self._like(parent, self.new.module(child)))
            if parent is not self.top:
                for key, value in list(vars(parent).items()):
                    if not _is_internal(key) and (changed := self._swapped(value, old)) is not value:
                        self.changes.set(vars(parent), key, changed)

    def _swapped(self, value: Any, old: set[nn.Module], depth: int = 4) -> Any:
        if isinstance(value, nn.Module):
            return self.new.module(value) if value in old else value
        return mapped(value, partial(self._swapped, old=old, depth=depth - 1)) if depth else value

    def _like(self, owner: nn.Module, new: nn.Module) -> nn.Module:
        """The new module, with its parameters on the owner's device and in its precision."""
        if any(True for _ in new.parameters()):
            like = next((p for m in (owner, self.model) for p in m.parameters() if p.is_floating_point()), None)
            if like is not None:
                new.to(like.device, like.dtype)
        return new

    # Functions and modules that are held in attributes.

    def _hold_all(
        self, module: nn.Module, rewriter: Rewriter, pending: list[tuple[str, nn.Module]], known: set[nn.Module]
    ) -> Iterator[tuple[str, _Reason]]:
        """Replace what the module holds; for each site, its operation and the reason if it is left."""
        used = used_names(type(module), code=True)
        for key, value in list(vars(module).items()):
            if key in ("_forward_hooks", "_forward_pre_hooks"):
                for number, hook in list(value.items()):
                    new, found = self._rewritten_function(hook, rewriter)
                    if new is not hook:
                        self.changes.set(value, number, new)
                        yield from found
                continue
            if _is_internal(key):
                continue
            if self.new.is_function(value) or (isinstance(value, partial) and self.new.is_function(value.func)):
                operation = OPERATIONS[function_of(getattr(value, "func", value)).kind]  # type: ignore[union-attr]
                yield operation, self._hold(module, key, value)
                continue
            sites: list[tuple[str, _Reason]] = []
            new = self._held(value, key in used, rewriter, sites, pending, known)
            if new is not value:
                self.changes.set(vars(module), key, new)
            yield from sites

    def _hold(self, module: nn.Module, key: str, value: Any) -> _Reason:
        """Something else in place of a function that is an attribute; or why not."""
        function = getattr(value, "func", value)
        kind = function_of(function).kind  # type: ignore[union-attr]
        if is_plain(self.table[kind]):
            self.changes.set(vars(module), key, self.new.either(value))
            return ""
        if _uses_children(module) or hasattr(type(module), key):  # a class attribute would hide a child
            return "there is no place for another child, and the new activation has parameters"
        if takes_more(type(module), key):
            return f"self.{key} is called with further arguments, which a module does not take"
        in_place = function_of(function).in_place or getattr(value, "keywords", {}).get("inplace", False)  # type: ignore[union-attr]
        self.changes.delete(vars(module), key)
        self.changes.set(vars(module)["_modules"], key, self._like(module, self.new.copy_for(kind, bool(in_place))))
        return ""

    def _held(
        self,
        value: Any,
        is_used: bool,
        rewriter: Rewriter,
        sites: list[tuple[str, _Reason]],
        pending: list[tuple[str, nn.Module]],
        known: set[nn.Module],
    ) -> Any:
        """What takes the place of a value; the same for the same value."""
        if isinstance(value, nn.Module):
            if value not in known:  # it was never registered, so its sites are called after its class
                known.add(value)
                pending.append((type(value).__name__, value))
                if self.new.is_module(value):
                    self.modules.setdefault(f"{type(value).__name__} ({id(value):x})", value)
                else:
                    for path, each in value.named_modules():
                        if each not in known:
                            known.add(each)
                            pending.append((path, each))
                    self.modules |= {f"{id(each):x}": each for each in value.modules()}
            return value if not self.new.is_module(value) else self.new.module(value)
        if id(value) in self._made:
            return self._made[id(value)][1]
        new = value
        if isinstance(value, MethodType) and self.new.is_module(value.__self__):  # such as self.relu.forward
            new = getattr(self.new.module(value.__self__), value.__func__.__name__)
        elif isinstance(value, FunctionType | MethodType) and not function_of(value):
            new, found = self._rewritten_function(value, rewriter)
            sites += found
        elif self.new.is_class(value):
            new = self.new.made(value) if is_used else value
            sites += [(OPERATIONS[value], "")] if is_used else []
        elif self.new.is_function(value) or (isinstance(value, partial) and self.new.is_function(value.func)):
            kind = function_of(getattr(value, "func", value)).kind  # type: ignore[union-attr]
            if is_plain(self.table[kind]):
                new = self.new.either(value)
                sites.append((OPERATIONS[kind], ""))
            else:
                sites.append((OPERATIONS[kind], "is held in a container, where the new parameters would not be trained"))
        elif isinstance(value, partial) and self.new.is_class(value.func):
            new = self.new.either(value) if is_used else value
            sites += [(OPERATIONS[value.func], "")] if is_used else []
        elif isinstance(value, partial):
            change = partial(self._held, is_used=is_used, rewriter=rewriter, sites=sites, pending=pending, known=known)
            function = change(value.func) if not isinstance(value.func, type) else value.func
            args, keywords = mapped(value.args, change), mapped(value.keywords, change)
            if function is not value.func or args is not value.args or keywords is not value.keywords:
                new = partial(function, *args, **keywords)
        else:
            self._made[id(value)] = value, value  # in case that it holds itself
            change = partial(self._held, is_used=is_used, rewriter=rewriter, sites=sites, pending=pending, known=known)
            new = mapped(value, change)
        self._made[id(value)] = value, new
        return new

    def _rewritten_function(self, value: Any, rewriter: Rewriter) -> tuple[Any, list[tuple[str, _Reason]]]:
        """A function that the module holds, rewritten; and the sites in it."""
        function = value.__func__ if isinstance(value, MethodType) else value
        if not isinstance(function, FunctionType):
            return value, []
        is_method = isinstance(value, MethodType) and isinstance(value.__self__, nn.Module)
        name = function.__code__.co_varnames[0] if is_method and function.__code__.co_argcount else ""
        new = rewriter.function(function, name)
        sites = [(each.operation, each.reason) for each in rewriter.all_found(function)]
        if function in rewriter.unread:
            sites.append((OPERATIONS[next(iter(self.table))], f"{function.__name__} {rewriter.unread[function]}"))
        if new is function:
            return value, [site for site in sites if site[1]]
        if is_method:
            for each in rewriter.all_found(function):
                self._add_child(value.__self__, each)
        return (MethodType(new, value.__self__) if isinstance(value, MethodType) else rewriter.held(function)), sites

    # Calls.

    def _rewrite(self, module: nn.Module, rewriter: Rewriter, name: Callable[[str], str]) -> list[Any]:
        """Give the module a class whose methods call the new activations; return what was found in the old one."""
        del name
        cls = type(module)
        parametrized = parametrize.is_parametrized(module)
        base = cls.__bases__[0] if parametrized else cls
        rewritten = rewriter.cls(base)
        found = list(rewritten.found)
        if rewritten.unread and not rewriter.only_places:
            operation = OPERATIONS[next(iter(self.table))]
            found += [
                Found(operation, ("", ()), reason=f"{function.rpartition('.')[2]} cannot be edited: {reason}")
                for function, reason in rewritten.unread.items()
            ]
        children = [each for each in found if each.child]
        if children and _uses_children(module):
            reason = "the module goes through its children, so the new activation, which has parameters, has no place"
            return [each._replace(reason=reason) if not each.reason else each for each in found]
        if rewritten.cls is not base:
            if parametrized:
                self.changes.attribute(cls, "__bases__", (rewritten.cls, *cls.__bases__[1:]))
            else:
                self.changes.attribute(module, "__class__", rewritten.cls)
            for each in children:
                self._add_child(module, each)
        return found

    def _add_child(self, module: nn.Module, found: Any) -> None:
        if found.child and found.child not in module._modules:  # noqa: SLF001  # as nn.Module.add_module does
            kind = next(kind for kind in self.table if OPERATIONS[kind] == found.operation)
            new = self._like(module, self.new.copy_for(kind))
            new.train(module.training)
            self.changes.set(vars(module)["_modules"], found.child, new)

    def _edit_graph(self, module: fx.GraphModule, name: Callable[[str], str]) -> tuple[list[str], dict[str, _Reason]]:
        """Replace calls in the graph of a module that `torch.fx` has made."""
        old = module.graph
        values: dict[fx.Node, fx.Node] = {}
        graph = copy_of_graph(old, values)
        replaced, skipped = [], {}
        for node in old.nodes:
            operation, known = _operation(node)
            if operation in _OTHERS and nn.ReLU in self.table:
                skipped[name(operation)] = _OTHERS[operation]
            if known is None or known.kind not in self.table:
                continue
            site = name(operation)
            child = f"replaced_{len(replaced)}"
            while hasattr(module, child):
                child += "_"
            given = {**dict(zip(("input",), node.args, strict=False)), **node.kwargs}
            inplace = known.in_place or given.get("inplace", False) or (len(node.args) > 1 and node.args[1] is True)
            new = self._like(module, self.new.copy_for(known.kind, bool(inplace)))
            self.changes.set(vars(module)["_modules"], child, new)
            with graph.inserting_before(values[node]):
                call = graph.call_module(child, (values[node].args or tuple(values[node].kwargs.values()))[:1])
            values[node].replace_all_uses_with(call)
            graph.erase_node(values[node])
            replaced.append(site)
        if replaced:
            self.changes.attribute(module, "graph", graph)
        return replaced, skipped

    def _leave_fast_paths(self) -> None:
        """Turn off the fused kernels of transformers, which compute ReLU if a flag says so, whatever the activation is."""
        for module in list(self.modules.values()):
            layers = module.layers if isinstance(module, nn.TransformerEncoder) else [module]
            if not any(stands_in(getattr(layer, "activation", None), self.table) for layer in layers):
                continue
            if isinstance(module, nn.TransformerEncoder):
                self.changes.set(vars(module), "use_nested_tensor", False)  # only the fused layers take nested tensors
            elif isinstance(module, nn.TransformerEncoderLayer):
                self.changes.set(vars(module), "activation_relu_or_gelu", 0)
            elif isinstance(module, nn.TransformerDecoderLayer):
                # its __setstate__ would set F.relu if this were missing
                self.changes.set(vars(module), "activation", module.activation)

    # The report.

    def _has_own_code(self) -> bool:
        """Whether the model has functions that are not PyTorch's, so that only a run shows what they call."""
        return any(
            not is_foreign(type(module)) or "forward" in vars(module) or isinstance(module, fx.GraphModule)
            for module in self.modules.values()
        )

    def _kinds(self) -> str:
        return " or ".join(kind.__name__ for kind in self.table)

    def _text(
        self, replaced: list[str], skipped: dict[str, _Reason], gained: tuple[str, ...], lost: tuple[str, ...]
    ) -> str:
        lines = []
        if replaced:
            news = dict.fromkeys(type(new).__name__.replace("LeakyReLU", "Leaky ReLU") for new in self.table.values())
            lines.append(f"replaced by {', '.join(news)}: {len(replaced)} ({listed(replaced, 8)})")
        elif self.batches is None and self._has_own_code():
            lines.append(f"no {self._kinds()} found in its modules and its source, nothing replaced")
        elif not skipped:
            lines.append(f"no {self._kinds()} {'found' if self.batches is None else 'called'}, nothing replaced")
        for reason in dict.fromkeys(skipped.values()):
            names = [name for name, other in skipped.items() if other == reason]
            lines.append(f"skipped: {listed(names, 8)}: {reason}")
        if gained:
            lines.append(f"new parameters: {len(gained)} ({listed(gained, 8)}); an optimizer needs to be given them")
        if lost:
            lines.append(f"parameters that are gone: {len(lost)} ({listed(lost, 8)})")
        if self.batches is None and self.only is None and self._has_own_code():
            lines.append("only a run is sure: give batches")
        return "\n".join(lines)


def _visible(model: nn.Module) -> tuple[dict[str, nn.Module], dict[str, _Reason]]:
    """The modules by path; and, as skipped, those that are scripted or compiled, with all that is in them."""
    modules: dict[str, nn.Module] = {}
    opaque: dict[str, _Reason] = {}
    inside: tuple[str, ...] = ()
    names = paths(model)
    for path, module in model.named_modules():
        if path.startswith(inside):
            continue
        if isinstance(module, torch.jit.ScriptModule):
            opaque[names[module] or "model"] = "scripted; replace before torch.jit.script"
        elif is_compiled(module):
            opaque[names[module] or "model"] = "compiled; replace before torch.compile"
        else:
            if (wrapper := modules.get(names[module])) is not None:
                modules[f"{names[module]} in a wrapper"] = wrapper
            modules[names[module]] = module
            continue
        inside += (f"{path}." if path else "",)
    return modules, opaque


def _reason(module: nn.Module, table: Mapping[type[nn.Module], nn.Module]) -> _Reason:
    """Why a module that computes an activation is left as it is; empty if nothing keeps it from being replaced."""
    kind = module_kind(module)
    if kind in table:
        return "" if works_by_itself(module) else f"its forward is not that of nn.{kind.__name__}"  # type: ignore[union-attr]
    if nn.ReLU not in table:
        return ""
    if isinstance(module, nn.Hardtanh | nn.Threshold) and not getattr(module, "min_val", 0):
        operation = "threshold" if isinstance(module, nn.Threshold) else "relu6" if module.max_val == 6 else "hardtanh"
        return _OTHERS[operation]
    if isinstance(module, nn.RNN | nn.RNNCell) and module.nonlinearity == "relu":
        return _FUSED.format("recurrent")
    if "ReLU" in type(module).__name__ and type(module).__module__.startswith("torch.ao.nn.") and not module._modules:  # noqa: SLF001  # as children() has it
        return _FUSED.format("quantized")
    return ""


def _is_internal(key: str) -> bool:
    """Whether an attribute of a module is PyTorch's own."""
    return key in _INTERNAL


_INTERNAL = frozenset(vars(nn.Module()))


def _uses_children(module: nn.Module) -> bool:
    """Whether a module goes through its children, so that another child would change what it does."""
    names = used_names(type(module), code=True)
    walking = {"children", "named_children", "modules", "named_modules", "_modules"}
    return isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict) or not names.isdisjoint(walking)


def _operation(node: fx.Node) -> tuple[str, Any]:
    """The activation that a node of a graph calls, and what is known of its function."""
    if node.op not in ("call_function", "call_method"):
        return "", None
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda _: float("nan"))
    activation = activation_of(node.target, args, kwargs)
    known = function_of(getattr(torch.Tensor, node.target, None) if isinstance(node.target, str) else node.target)
    return (activation.operation if activation else ""), known


def _caller(call: Call, path: str, kinds: Container[type[nn.Module]]) -> _Seen | None:
    """Who made a call: the innermost function that is neither PyTorch's nor this library's."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # as inspect.currentframe has it
    new, foreign = is_new(call.module, kinds), False
    while frame is not None:
        names, code, owner = frame.f_globals, frame.f_code, frame.f_locals.get("self")
        if "__name__" not in names and code.co_filename.startswith("<leakyrelu "):
            new = True  # a function in place of the activation's
        elif is_new(owner, kinds) and code is getattr(type(owner).forward, "__code__", None):
            new = True
        elif str(names.get("__name__")).partition(".")[0] not in ("torch", "leakyrelu"):
            break
        foreign = foreign or (owner is call.module and code.co_name == "forward" and not is_new(owner, kinds))
        frame = frame.f_back
    if frame is None:
        return None
    position = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    place, file = place_of(frame.f_globals, position), original_file(frame.f_code.co_filename)
    return _Seen(call.name, path, call.module, place, file, frame.f_lineno, frame.f_code.co_qualname, foreign, new)


def _is_same(one: _Seen, other: _Seen) -> bool:
    """Whether two calls, before and after the replacement, are made by the same line for the same module."""
    return (one.path, one.file, one.line) == (other.path, other.file, other.line)


def _where(seen: _Seen) -> str:
    return f"{seen.file}:{seen.line}"


def _still(seen: _Seen, reason: _Reason) -> _Reason:
    called = "called in the first of two runs alone, so it is not known," if seen.gone else "still called"
    return f"{called} at {_where(seen)}, in {seen.function}" + (f": {reason}" if reason else "")


def _without_number(name: str) -> str:
    first, _, number = name.rpartition(":")
    return first if number.isdecimal() else name


def _in_order(seen: list[_Seen]) -> list[str]:
    return list(dict.fromkeys(each.name for each in seen))

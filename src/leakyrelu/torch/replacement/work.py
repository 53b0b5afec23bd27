"""The steps of a replacement: see what is there, change it, and look whether anything is left."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from leakyrelu._backends.torch_private import is_compiled
from leakyrelu._shared.arguments import checked_batches
from leakyrelu._shared.wording import listed
from leakyrelu.torch.capture import Call, paths, watch
from leakyrelu.torch.changes import Changes
from leakyrelu.torch.operations import OPERATIONS, SiteNames, function_of, module_kind
from leakyrelu.torch.replacement.classes import is_foreign
from leakyrelu.torch.replacement.holding import Holder
from leakyrelu.torch.replacement.reasons import OTHERS, is_hidden, reason_against
from leakyrelu.torch.replacement.report import Replacement, names_of, summary
from leakyrelu.torch.replacement.rewriting import Rewriter
from leakyrelu.torch.replacement.runs import Seen, caller, in_order, is_same, still_called, without_number
from leakyrelu.torch.replacement.selection import Selection
from leakyrelu.torch.running import copies, evaluating, is_parallel, run_batch
from leakyrelu.torch.sharding import is_sharded

if TYPE_CHECKING:
    from leakyrelu.torch.replacement.editor import Place

__all__ = ["Work"]


class Work:
    """One replacement: sees what is there, changes it, and looks whether anything is left."""

    def __init__(
        self,
        model: nn.Module,
        table: dict[type[nn.Module], nn.Module],
        only: list[str] | None,
        batches: Iterable[Any] | None,
    ) -> None:
        self.model, self.table, self.only = model, table, only
        if any(True for new in table.values() for _ in new.parameters()):
            _refuse_wrapped(model)
        self.changes = Changes()
        self.top = nn.ModuleList([model])  # so that the model has a parent, too
        self.modules, self.opaque = _visible(model)
        if batches is not None:
            batches = checked_batches(batches)
        self.batches = list(batches) if isinstance(batches, Iterator) else batches
        self.flat: dict[str, str] = {}  # the names of other flat activations that a run called
        self.seen, _ = self._run()  # before anything is changed
        self.parameters = dict(model.named_parameters())
        self.holder = self._new_holder()

    def _new_holder(self) -> Holder:
        return Holder(self.model, self.modules, self.top, self.table, self.changes)

    def done(self) -> Replacement:
        """Do it, and report."""
        try:
            replaced, skipped = self._all() if self.only is None else self._only(self.only)
        except BaseException:
            self.changes.undo()
            raise
        model = self.top[0]
        now = dict(model.named_parameters())
        gained = tuple(name for name in now if self.parameters.get(name) is not now[name])
        lost = tuple(name for name in self.parameters if now.get(name) is not self.parameters[name])
        ran = self.batches is not None
        is_sure = ran or self.only is not None or not self._has_own_code()
        text = summary(self.table, replaced, skipped, gained, lost, ran, is_sure)
        return Replacement(model, tuple(replaced), skipped, gained, lost, text, self.changes, self.model)

    # Everything, and only what is named.

    def _all(self) -> tuple[list[str], dict[str, str]]:
        replaced, skipped = self._apply(Rewriter(self.holder.new))
        if self.batches is None:
            return replaced, skipped
        left = self._left()
        places = {seen.place for seen in self.seen if any(is_same(seen, other) for other in left) and not seen.foreign}
        if places:  # what the source does not show, a run does
            self.changes.undo()
            self.holder = self._new_holder()
            replaced, skipped = self._apply(Rewriter(self.holder.new, places))
            left = self._left()
        still: dict[str, str] = {}
        for other in left:
            for name in [seen.name for seen in self.seen if is_same(seen, other)] or [other.name]:
                still[name] = still_called(other, skipped.get(name, ""))
        hidden = {name: reason for name, reason in skipped.items() if is_hidden(reason) and name not in still}
        static = {name: reason for name, reason in self._module_sites().items() if isinstance(reason, str)}
        ran = {without_number(seen.name) for seen in self.seen}
        not_run = [name for name in replaced if without_number(name) not in ran]
        done = [name for name in in_order(self.seen) if name not in still and name not in hidden]
        return done + not_run, static | self.flat | still | hidden

    def _left(self) -> list[Seen]:
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

    def _only(self, only: list[str]) -> tuple[list[str], dict[str, str]]:
        chosen = Selection(only, self._module_sites(), self._held_names(), self.seen, self.flat)
        if chosen.unknown:
            self._refuse(chosen)
        self.holder.swap(set(chosen.modules.values()))
        replaced = [*chosen.modules, *chosen.held]
        for module in dict.fromkeys(chosen.held.values()):
            for key, value in list(vars(module).items()):
                if self.holder.new.is_function(value):
                    self.holder.hold(module, key, value)
        for module, seen in chosen.calls.items():
            rewriter = Rewriter(self.holder.new, {each.place for each in seen}, only_places=True)
            found = {each.place: each.reason for each in self.holder.rewrite(module, rewriter)}
            for each in seen:
                if reason := found.get(each.place, "it is not reached from the forward of its module"):
                    chosen.skipped[each.name] = still_called(each, reason)
                else:
                    replaced.append(each.name)
        self.holder.leave_fast_paths()
        order = list(dict.fromkeys(only))
        skipped = {name: chosen.skipped[name] for name in order if name in chosen.skipped}
        return [name for name in order if name in replaced], skipped

    def _refuse(self, chosen: "Selection") -> None:
        """Raise an error, as a name is not known."""
        name = chosen.unknown[0]
        if self.batches is None and self._has_own_code():
            raise ValueError(
                f"no module of this kind is named {name!r}; modules are: {listed(chosen.known, 8) or 'none'}. "
                "If it is a call in a forward, give batches, as only a run tells which expression it is"
            )
        raise ValueError(
            f"no {names_of(self.table)} is named {name!r}; the names are: {listed(chosen.known, 50) or 'none'}"
        )

    # What a run shows.

    def _run(self) -> tuple[list[Seen], list[Seen]]:
        """Run the batches; the calls of activations to be replaced, and those of new ones."""
        if self.batches is None:
            return [], []
        seen: dict[tuple[str, Place], Seen] = {}
        new: dict[tuple[str, Place], Seen] = {}
        kinds = {OPERATIONS[kind] for kind in self.table}
        where = paths(self.top[0])

        def look(call: Call) -> None:
            operation = call.activation.operation
            each = caller(call, where.get(call.module, ""), self.table)
            if each is not None and each.is_new and self.changes:
                new.setdefault((each.name, each.place), each)
            elif each is not None and operation in kinds:
                seen.setdefault((each.name, each.place), each)
            elif call.activation.flat and nn.ReLU in self.table and operation in OTHERS:
                self.flat[call.name] = OTHERS[operation]

        with evaluating(self.top[0]):
            for first in (batches := copies(self.batches)):
                watch(self.top[0], chain([first], batches), run_batch, look)
                break
            else:
                raise ValueError("batches is empty, so there is nothing to run the model on")
        return list(seen.values()), list(new.values())

    # What there is to replace.

    def _module_sites(self) -> dict[str, nn.Module | str]:
        """The modules to be replaced, and the reasons for other sites that are modules."""
        sites: dict[str, nn.Module | str] = dict(self.opaque)
        names = SiteNames()
        for module, path in self.modules.items():
            reason = reason_against(module, self.table)
            kind = module_kind(module)
            if reason:
                name = names.name(path, module, OPERATIONS[kind]) if kind else path or "model"
                sites[name] = reason
            elif kind in self.table:
                sites[names.name(path, module, OPERATIONS[kind])] = module
        return sites

    def _held_names(self) -> dict[str, nn.Module]:
        """The modules of PyTorch that hold an activation as a function, by the names of their sites."""
        names = SiteNames()
        return {
            names.name(path, module, OPERATIONS[function_of(value).kind]): module  # type: ignore[union-attr]
            for module, path in self.modules.items()
            if is_foreign(type(module))
            for value in vars(module).values()
            if self.holder.new.is_function(value)
        }

    def _apply(self, rewriter: Rewriter) -> tuple[list[str], dict[str, str]]:
        """Replace everything that the source shows."""
        replaced: list[str] = []
        skipped: dict[str, str] = dict(self.opaque)
        names = SiteNames()
        swap: set[nn.Module] = set()
        places = {seen.place for seen in self.seen}
        for module, path in self.holder.pending:
            name = partial(names.name, path, module)
            kind = module_kind(module)
            if reason := reason_against(module, self.table):
                skipped[name(OPERATIONS[kind]) if kind else path or "model"] = reason
            elif kind in self.table:
                replaced.append(name(OPERATIONS[kind]))
                swap.add(module)
            elif isinstance(module, fx.GraphModule):
                done, left = self.holder.edit_graph(module, name)
                replaced += done
                skipped |= left
            else:
                for operation, reason in self.holder.hold_all(module, rewriter):
                    if reason:
                        skipped[name(operation)] = reason
                    else:
                        replaced.append(name(operation))
                for found in self.holder.rewrite(module, rewriter):
                    if not found.is_sure and self.batches is not None and found.place not in places:
                        continue  # these batches do not show that it is an activation
                    if found.reason:
                        skipped[name(found.operation)] = found.reason
                    else:
                        replaced.append(name(found.operation))
        self.holder.swap(swap)
        self.holder.leave_fast_paths()
        return list(dict.fromkeys(replaced)), skipped

    # The report.

    def _has_own_code(self) -> bool:
        """Whether the model has functions that are not PyTorch's, so that only a run shows what they call."""
        return any(
            not is_foreign(type(module)) or "forward" in vars(module) or isinstance(module, fx.GraphModule)
            for module in self.modules
        )


def _refuse_wrapped(model: nn.Module) -> None:
    """Raise an error if new parameters would not take part in distributed training."""
    for name, module in model.named_modules():
        if is_parallel(module) or any(map(is_sharded, module.parameters(recurse=False))):
            raise TypeError(
                f"{name or 'the model'} is wrapped for distributed training, which would not see the parameters of the "
                "new activation; replace before you wrap the model"
            )


def _visible(model: nn.Module) -> tuple[dict[nn.Module, str], dict[str, str]]:
    """The modules and their paths; and, as skipped, those that are scripted or compiled, with all that is in them."""
    modules: dict[nn.Module, str] = {}
    opaque: dict[str, str] = {}
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
            modules[module] = names[module]
            continue
        inside += (f"{path}." if path else "",)
    return modules, opaque

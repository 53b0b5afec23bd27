"""Sorts the names that a user gives: modules, held functions, and calls in a forward."""

from collections.abc import Mapping, Sequence

from torch import nn

from leakyrelu._shared.wording import listed
from leakyrelu.torch.replacement.runs import Seen, where

__all__ = ["Selection"]


class Selection:
    """What the names in `only` stand for.

    Parameters
    ----------
    only : sequence of str
        The names, as `diagnose` gives them.
    sites : Mapping
        The sites that are modules, or the reasons for those that are left.
    held : Mapping
        The modules of PyTorch that hold a function, by the names of their sites.
    seen : sequence of Seen
        The calls in a run; none if there was no run.
    flat : Mapping
        The reasons for other flat activations that the run called.

    Attributes
    ----------
    modules, held, calls : dict
        The modules to replace and the modules that hold a function, by name; and the calls, by module.
    skipped : dict
        The reasons, by name.
    unknown, known : list of str
        Names that stand for nothing; and those that stand for something.
    """

    def __init__(
        self,
        only: Sequence[str],
        sites: Mapping[str, nn.Module | str],
        held: Mapping[str, nn.Module],
        seen: Sequence[Seen],
        flat: Mapping[str, str],
    ) -> None:
        self._only, self._sites, self._seen = only, sites, seen
        self.modules: dict[str, nn.Module] = {}
        self.held: dict[str, nn.Module] = {}
        self.calls: dict[nn.Module, list[Seen]] = {}
        self.skipped: dict[str, str] = {}
        self.unknown: list[str] = []
        calls = {each.name: each for each in seen}
        self.known = list(dict.fromkeys((*sites, *held, *calls, *flat)))
        for name in only:
            if name in sites:
                self._module(name, sites[name])
            elif name in flat:
                self.skipped[name] = flat[name]
            elif self._is_later_call(name):
                self._later_call(name)
            elif name in calls and not calls[name].foreign:
                self._call(calls[name])
            elif name in calls or name in held:
                self.held[name] = calls[name].module if name in calls else held[name]
            else:
                self.unknown.append(name)

    def _module(self, name: str, site: nn.Module | str) -> None:
        if isinstance(site, str):
            self.skipped[name] = site
        else:
            self.modules[name] = site

    def _is_later_call(self, name: str) -> bool:
        """Whether it is the second or a later call of a module."""
        first, _, number = name.rpartition(":")
        is_known = not self._seen or any(each.name == name for each in self._seen)
        return number.isdecimal() and first in self._sites and (is_known or isinstance(self._sites[first], str))

    def _later_call(self, name: str) -> None:
        first = name.rpartition(":")[0]
        site = self._sites[first]
        if isinstance(site, str):
            self.skipped[name] = site
        elif first not in self._only:
            self.skipped[name] = f"a later call cannot be replaced alone; {first!r} stands for all of them"

    def _call(self, call: Seen) -> None:
        same = [each.name for each in self._seen if (each.module, each.place) == (call.module, call.place)]
        if all(name in self._only for name in same):
            self.calls.setdefault(call.module, []).append(call)
        else:
            self.skipped[call.name] = (
                f"one of {len(same)} runs of the same expression ({where(call)}), which cannot be replaced alone; "
                f"name all of them: {listed(same, 8)}"
            )

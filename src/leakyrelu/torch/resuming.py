"""What was counted as plain numbers and tensors, for training that is resumed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leakyrelu.torch.capture import paths
from leakyrelu.torch.counts import Record
from leakyrelu.torch.operations import ACTIVATION_MODULES
from leakyrelu.units.sums import Sums

__all__ = ["by_path", "checked_state", "examples_together", "modules_by_path", "packed", "unpacked"]

_FORMAT = "leakyrelu.torch.Monitor, 1"
_WITHOUT_PATH = {each.__name__ for each in ACTIVATION_MODULES}  # those that were in the model for a while alone
_KEYS = {"format", "calls", "passes", "examples", "orders", "window", "last"}


def packed(window: Record, last: Record | None, **others: Mapping[str, object]) -> dict[str, Any]:
    """The state of a monitor, which `torch.load` reads with ``weights_only=True``."""
    return {
        "format": _FORMAT,
        "window": _plain(window),
        "last": None if last is None else _plain(last),
        **{key: dict(each) for key, each in others.items()},
    }


def _plain(record: Record) -> dict[str, Any]:
    sites = [
        {key: torch.from_numpy(each) if isinstance(each, np.ndarray) else each for key, each in asdict(site).items()}
        for site in record.sites
    ]
    return {"sites": sites, "examples": record.examples, "notes": list(record.notes)}


def unpacked(plain: Mapping[str, Any]) -> Record:
    """A record from what `packed` made of it."""
    sites = []
    for site in plain["sites"]:
        fields: Any = {key: each.cpu().numpy() if isinstance(each, Tensor) else each for key, each in site.items()}
        sites.append(Sums(**fields))
    return Record(tuple(sites), plain["examples"], tuple(plain["notes"]))


def by_path(counts: Mapping[nn.Module, int], model: nn.Module) -> dict[str, int]:
    """The counts by the path of the module; those of modules that are not in the model are left out."""
    return {path: counts[module] for module, path in paths(model).items() if module in counts}


def modules_by_path(model: nn.Module) -> dict[str, nn.Module]:
    """The modules by their paths; a wrapper has the same path as what it wraps, and is what is called."""
    return {path: module for module, path in reversed(paths(model).items())}


def examples_together(parts: Iterable[tuple[tuple[int, ...], Mapping[str, int]]]) -> dict[str, int]:
    """The examples of all ranks by path; ranks that share a model have the same examples, which count once."""
    largest: dict[object, Counter[str]] = defaultdict(Counter)
    for i, (ranks, examples) in enumerate(parts):
        largest[ranks or i] |= Counter(examples)
    return dict(sum(largest.values(), Counter()))


def checked_state(state: object, paths: Iterable[str]) -> Mapping[str, Any]:
    """The state of a monitor whose model has modules at these paths.

    Raises
    ------
    TypeError
        It is no mapping.
    ValueError
        It is no state of a monitor, or that of another version of the library, or of another model.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be what Monitor.state_dict() returned, got {type(state).__name__}")
    if state.get("format") != _FORMAT or not state.keys() >= _KEYS:
        keys = ", ".join(map(str, list(state)[:5])) or "nothing"
        raise ValueError(
            f"state must be what Monitor.state_dict() returned, with format={_FORMAT!r}; "
            f"got format={state.get('format')!r}, with the keys {keys}"
        )
    known = set(paths)
    sites = [site for part in (state["window"], state["last"]) if part for site in part["sites"]]
    strange = [site["name"] for site in sites if not _is_in(known, site["name"], site["operation"])]
    strange += [path for path in state["passes"] if path not in known]
    if strange:
        raise ValueError(
            f"the state is of another model: it has counts of {', '.join(map(repr, strange[:3]))}, "
            "which this model does not have; resume with the model that was trained, or without this state"
        )
    return state


def _is_in(known: set[str], name: str, operation: str) -> bool:
    """Whether a site of this name can be in a model that has modules at the known paths; see `SiteNames`."""
    path = name.partition(":")[0]
    if path in known or path in _WITHOUT_PATH:
        return True
    caller, _, called = path.rpartition(".")
    return called == operation and caller in known

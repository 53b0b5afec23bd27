"""Plants dead units in a model, knowing no more of its wiring than the order in which its modules run."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.zoo_models import Batch
from benchmarks.zoo_running import run
from leakyrelu.torch import Diagnosis, Site, diagnose
from leakyrelu.torch.capture import watch

FAR_BELOW = -1000.0
_NEAREST = 3  # modules before a site that are tried
_SITES = (
    40  # that are tried singly per model, evenly spread, where all sites at once did not do; each takes a diagnosis
)
_STEPS = 100  # in the search for a row that is below zero on all inputs


class Planted(NamedTuple):
    """What is known of a model with planted dead units."""

    units: dict[str, tuple[int, ...]]  # that were planted, by site
    without: tuple[str, ...]  # the names of the sites in which none could be planted
    diagnosis: Diagnosis  # of the model as it is now


def plant(model: nn.Module, batches: Sequence[Batch], others: Sequence[Batch] = ()) -> Planted:
    """Make a few units of each site dead on the batches.

    A planting stays only if a fresh diagnosis says that exactly these units of its site are dead now and were not
    before. In deep networks, some sites are left out, as each takes a diagnosis. Where a layer has no bias, its rows
    are made such that they give values below zero on the batches, and if possible on the others, too.
    """
    before = _diagnosed(model, batches)
    sites = _candidates(model, before, batches[0])

    def kill(maker: nn.Module, units: Sequence[int]) -> Callable[[], object]:
        return _kill(maker, units, lambda: _entering(model, maker, (*batches, *others)))

    planted = {site.name: units for site in before.sites if site.name in sites and (units := _chosen(site))}
    while planted:  # at first all sites at once, each in the nearest module, which is fast
        undo = [kill(sites[name][0], units) for name, units in planted.items()]
        after = _diagnosed(model, batches)
        exact = {name: units for name, units in planted.items() if _is_exact(before, after, name, units)}
        if len(exact) == len(planted):
            break
        for take_back in reversed(undo):  # two sites may share what was written
            take_back()
        planted = exact
    now = _diagnosed(model, batches)
    left = [name for name in sites if name not in planted]
    left = left[:: -(-len(left) // _SITES) or 1]
    for name, maker in [(each, maker) for each in left for maker in sites[each]]:
        if name in planted:
            continue
        (site,) = (each for each in now.sites if each.name == name)
        chosen = _chosen(site)  # others than before, if those have died because of what was planted before
        take_back = kill(maker, chosen)
        after = _diagnosed(model, batches)
        kept = all(set(units) <= set(dead_units(after).get(each, ())) for each, units in planted.items())
        if chosen and kept and _is_exact(now, after, name, chosen):
            planted[name], now = chosen, after
        else:
            take_back()
    places = {site.name: planted.get(site.name, ()) for site in before.sites if site.flat}
    without = tuple(name for name, units in places.items() if not units)
    return Planted({name: units for name, units in places.items() if units}, without, now)


def _diagnosed(model: nn.Module, batches: Sequence[Batch]) -> Diagnosis:
    return diagnose(model, batches, forward=run)


def dead_units(diagnosis: Diagnosis) -> dict[str, tuple[int, ...]]:
    """The dead units of each site that has some."""
    return {site.name: tuple(site.dead.tolist()) for site in diagnosis.sites if len(site.dead)}


def _is_exact(before: Diagnosis, after: Diagnosis, name: str, units: tuple[int, ...]) -> bool:
    """Whether exactly these units of the site died, and nothing is NaN that was not."""
    old, new = (set(dead_units(each).get(name, ())) for each in (before, after))
    return new - old == set(units) and old <= new and _nans(after) <= _nans(before)


def _nans(diagnosis: Diagnosis) -> int:
    return sum(len(site.nan) for site in diagnosis.sites)


def _candidates(model: nn.Module, before: Diagnosis, batch: Batch) -> dict[str, list[nn.Module]]:
    """The modules that may make what enters a site, the nearest first."""
    found: dict[str, list[nn.Module]] = {}
    units = {site.name: site.units for site in before.sites if site.flat}
    ran: list[nn.Module] = []

    def look(call: Any) -> None:
        if call.name in units and call.name not in found:
            found[call.name] = list(_nearest(ran, units[call.name]))

    def note(module: nn.Module, *_: object) -> None:
        ran.append(module)  # also when it begins: it may hold a bias of its own, and be running still

    with _hooked(model.modules(), note, note):
        watch(model, [batch], run, look)
    return {name: makers for name, makers in found.items() if makers}


def _entering(model: nn.Module, layer: nn.Module, batches: Iterable[Batch]) -> Tensor:
    """What enters a layer, one row per example or token."""
    rows: list[Tensor] = []
    with _hooked([layer], lambda _, args: rows.append(args[0].detach().flatten(0, -2).double()), lambda *_: None):
        for batch in batches:
            run(model, batch)
    return torch.cat(rows)


@contextmanager
def _hooked(modules: Iterable[nn.Module], enter: Callable[..., None], leave: Callable[..., None]) -> Iterator[None]:
    handles: list[Any] = []
    for module in modules:
        if not isinstance(module, torch.jit.ScriptModule):  # which takes no hooks
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _nearest(ran: Sequence[Any], units: int) -> Iterator[nn.Module]:
    """The last modules that ran and have as many biases, or rows without a bias, as there are units."""
    found: dict[nn.Module, None] = {}
    for module in reversed(ran):
        bias = getattr(module, "bias", None)
        has_bias = isinstance(bias, nn.Parameter) and bias.numel() == units
        if has_bias or (_has_rows_alone(module) and len(module.weight) == units):
            found[module] = None
        if len(found) == _NEAREST:
            break
    yield from found


def _has_rows_alone(module: Any) -> bool:
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return isinstance(module, kinds) and getattr(module, "bias", None) is None and isinstance(module.weight, Tensor)


def _chosen(site: Site) -> tuple[int, ...]:
    """Two to four units, but at most a quarter of them unless that is none; the same for a name in each run."""
    draw = random.Random(site.name)  # noqa: S311  # it need not be secret
    dead = set(site.dead.tolist())
    alive = [unit for unit in range(site.units) if unit not in dead]
    count = min(draw.randint(2, 4), max(1, site.units // 4), max(0, len(alive) - 1))
    return tuple(sorted(draw.sample(alive, count)))


def _kill(maker: Any, units: Sequence[int], entering: Callable[[], Tensor]) -> Callable[[], object]:
    """Set the units' biases, or their rows, far below zero; what is returned takes that back."""
    index = list(units)
    with torch.no_grad():
        if maker.bias is not None:
            target = maker.bias.data.view(-1)
            values = target.new_full((len(index),), FAR_BELOW)
        else:
            target = maker.weight.data
            # A convolution gives at most zero if this row is negative and what enters is not, as behind a ReLU.
            is_linear = isinstance(maker, nn.Linear)
            values = _row_below(entering()).to(target) if is_linear else torch.full_like(target[0], -1.0)
        old = target[index].clone()
        target[index] = values
    return lambda: target.__setitem__(index, old)


def _row_below(values: Tensor) -> Tensor:
    """A row whose products with these values are below zero, if the search of Ho and Kashyap (1965) finds one."""
    inverse, wanted = torch.linalg.pinv(-values), values.new_ones(len(values))
    row: Tensor = inverse @ wanted
    for _ in range(_STEPS):
        wanted += (-values @ row - wanted).clamp_min(0)
        row = inverse @ wanted
    return row / row.abs().max().clamp_min(1e-30)

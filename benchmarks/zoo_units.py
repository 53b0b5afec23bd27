"""Plants dead units in public architectures, and has them revived or removed.

The architectures are those of `benchmarks.zoo_models`, with ReLU where their configuration lets it be set or their
GELU and SiLU can be replaced, and the networks of `benchmarks.zoo_own`. For each planted unit, a fresh diagnosis says
whether it fires afterwards, or the tool lists it with a reason; anything else is a fault. So is a change of the
outputs, on the batches that the tool was given or on others.
"""

import argparse
import copy
import gc
import json
import math
import re
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import leakyrelu.torch
from benchmarks import zoo, zoo_own
from benchmarks.zoo_models import FAMILIES, Architecture, Batch
from benchmarks.zoo_planting import Planted, dead_units, plant
from benchmarks.zoo_running import first_line, listings, run, same, seed, stirred
from leakyrelu._shared.files import written_whole
from leakyrelu._shared.wording import listed
from leakyrelu.torch import Diagnosis, diagnose, replace

TOLERANCE = 1e-5  # the largest change of outputs that the tools allow, relative to the largest output
ROUNDINGS = 4  # or so many times the rounding of the model itself, if that is more
DONE = {"revive": "alive", "remove_dead": "removed"}  # what the tools do to a unit
GROUPS = {  # the rows of the table, and the families in each
    "transformers": ("transformers",),
    "torch_geometric, stable-baselines3": ("torch_geometric", "stable-baselines3"),
    "segmentation-models, MONAI": ("segmentation-models-pytorch", "MONAI"),
    "pytorchcv, timm": ("pytorchcv", "timm"),
    "own": ("own",),
}


@dataclass
class Result:
    """What came out for one architecture."""

    family: str
    name: str
    planted: int = 0
    done: int = 0  # units that are alive or removed
    listed: int = 0  # units that are left, and are listed with a reason
    silent: dict[str, list[int]] = field(default_factory=dict)  # units that are left, and are not listed, by site
    sites: int = 0  # whose activation is flat below zero
    without: tuple[str, ...] = ()  # the sites among them where no unit could be planted
    change: float = 0.0  # of the outputs on the batches, relative to the largest
    other_change: float = 0.0  # the same on a batch that the tool was not given
    rounding: float = 0.0  # how far the outputs on the batches are from those in double precision
    bitwise: bool = False  # whether the outputs on the batches are the same
    firing: int = 0  # units that are dead on the batches, but not on the other one, where outputs may thus change
    calls: int = 0  # of the model, by the tool
    seconds: float = 0.0
    parameters: tuple[int, int] = (0, 0)  # before and after
    reasons: dict[str, int] = field(default_factory=dict)  # why units were left, and how many
    wrong: list[str] = field(default_factory=list)  # what else is wrong
    error: str = ""  # why the original cannot be built or run, or has no activation to plant units in

    @property
    def faults(self) -> list[str]:
        """What is wrong, in words."""
        allowed = max(TOLERANCE, ROUNDINGS * self.rounding)
        changed = [f"outputs changed by {self.change:.2g}"] if not self.change <= allowed else []
        if not (self.firing or self.other_change <= allowed):
            changed.append(f"outputs on the other batch changed by {self.other_change:.2g}")
        silent = [f"silently left, {name}: units {listed(units)}" for name, units in self.silent.items()]
        return [*self.wrong, *changed, *silent]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.zoo_units", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--tool", choices=DONE, default="revive", help="what is done to the units (default: revive)")
    families = [family for group in GROUPS.values() for family in group]
    parser.add_argument("--family", choices=families, action="append", help="only this family; may be given twice")
    evenly = "at most N architectures of each family, evenly spread; 0 stands for all (default: 8)"
    parser.add_argument("--limit", type=int, default=8, metavar="N", help=evenly)
    parser.add_argument("--only", metavar="TEXT", default="", help="only the architectures whose name begins with TEXT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results of all architectures to a file")
    given = parser.parse_args(arguments)
    tool = getattr(leakyrelu.torch, given.tool, None)
    if tool is None:
        parser.error(f"this leakyrelu has no {given.tool}")
    warnings.simplefilter("ignore")  # theirs; there are hundreds
    torch.set_num_threads(1)  # on small inputs, threads would mostly wait for each other
    with written_whole(given.json) if given.json else nullcontext() as file:  # a path that is wrong is known first
        results, missing = examined(tool, given.family or families, given.limit, given.only)
        for text in (*table(results, DONE[given.tool]), "", *missing):
            print(text)
        if file:
            file.write(json.dumps(zoo.report(results, missing), indent=2).encode())
    return int(any(result.faults for result in results))


def examined(
    tool: Callable[..., Any], families: Iterable[str], limit: int, beginning: str
) -> tuple[list[Result], list[str]]:
    """The results of all architectures, and which families are left out."""
    results, missing = [], []
    for family in families:
        try:
            found = spread(chosen(family, beginning), limit)
        except ImportError as error:
            missing.append(f"{family} is left out ({error}); python -m pip install {FAMILIES[family].packages}")
            continue
        for architecture in found:
            results.append(examine(tool, family, architecture))
            print(line(results[-1], DONE.get(tool.__name__, "done")), flush=True)
            gc.collect()
    return results, missing


def chosen(family: str, beginning: str) -> list[Architecture]:
    """The architectures of a family; where one can be had with ReLU instead, only so."""
    if family == "own":
        seed()
        found = [each for each in zoo_own.architectures() if each.name.startswith(beginning)]
    else:
        found = list(zoo.architectures(family, None, beginning))
    names = {architecture.name for architecture in found}
    return [architecture for architecture in found if f"{architecture.name} with relu" not in names]


def spread(found: list[Architecture], limit: int) -> list[Architecture]:
    """At most so many of them, evenly spread; all if the limit is zero."""
    count = min(limit, len(found)) if limit else len(found)
    return [found[number * len(found) // count] for number in range(count)]


def examine(tool: Callable[..., Any], family: str, architecture: Architecture) -> Result:
    """Build the model, plant dead units, apply the tool and check what comes out."""
    result = Result(family, architecture.name)
    try:
        seed()
        model = stirred(architecture.build()).eval()
        first = architecture.batch
        second, other = redrawn(first, 1), redrawn(first, 2)
        if not all(same(run(model, batch), run(model, batch)) for batch in (first, second, other)):
            raise ValueError("two runs of the original differ")  # noqa: TRY301  # it is shown as any other reason
        batches = [first, second]
        model = with_relu(model, batches)
        planted = plant(model, batches, [other])
    except Exception as error:  # noqa: BLE001  # anything may be wrong with a library, and the others go on
        result.error = f"{type(error).__name__}: {first_line(error)}"
        return result
    result.sites = sum(site.flat for site in planted.diagnosis.sites)
    result.without = planted.without
    result.planted = sum(map(len, planted.units.values()))
    if planted.units:
        try:
            compare(result, tool, model, batches, other, planted)
        except Exception as error:  # noqa: BLE001  # a fault of ours, which is shown
            result.wrong.append(f"{type(error).__name__}: {first_line(error)}")
            result.done, result.listed = 0, 0
            result.silent = {name: list(units) for name, units in planted.units.items()}
    return result


def compare(
    result: Result, tool: Callable[..., Any], model: nn.Module, batches: list[Batch], other: Batch, planted: Planted
) -> None:
    """Apply the tool, and hold the model against what it was."""
    before = [run(model, batch) for batch in batches]
    before_other = run(model, other)
    result.rounding = rounding(model, batches, before)
    elsewhere = dead_units(diagnose(model, [other], forward=run))
    dead = dead_units(planted.diagnosis)
    result.firing = sum(len(set(units) - set(elsewhere.get(name, ()))) for name, units in dead.items())
    parameters = _parameters(model)
    with counted(model) as calls:
        begin = time.perf_counter()
        said = tool(model, batches, forward=run)
        result.seconds = time.perf_counter() - begin
    result.calls = len(calls)
    result.parameters = parameters, _parameters(model)
    now = diagnose(model, batches, forward=run)
    left = not_done(result, planted, said, now)
    for name, units in left.items():
        reasons = reasons_of(said.skipped[name], units) if name in said.skipped else {}
        silent = [unit for unit in units if unit not in reasons]
        result.silent |= {name: silent} if silent else {}
        for unit in set(units) & reasons.keys():
            result.listed += 1
            result.reasons[reasons[unit]] = result.reasons.get(reasons[unit], 0) + 1
    after = [run(model, batch) for batch in batches]
    result.bitwise = all(map(same, before, after))
    result.change = max(map(largest_change, before, after))
    result.other_change = largest_change(before_other, run(model, other))


def not_done(result: Result, planted: Planted, said: Any, now: Diagnosis) -> dict[str, list[int]]:
    """The planted units that are neither alive nor removed, by site."""
    sites = {site.name: site for site in now.sites}
    left: dict[str, list[int]] = {}
    for old in planted.diagnosis.sites:
        units = planted.units.get(old.name, ())
        site = sites.get(old.name)
        if hasattr(said, "removed"):
            removed = set(said.removed.get(old.name, ()))
            if site is not None and site.units != old.units - len(removed):
                result.wrong.append(f"{old.name} has {site.units} units, {len(removed)} of {old.units} being removed")
            left[old.name] = [unit for unit in units if unit not in removed]
        elif site is None:
            left[old.name] = list(units)
        else:
            dead_or_nan = {*site.dead.tolist(), *site.nan.tolist()}
            left[old.name] = [unit for unit in units if unit in dead_or_nan]
    left = {name: units for name, units in left.items() if units}
    result.done = result.planted - sum(map(len, left.values()))
    return left


def reasons_of(text: str, units: Iterable[int]) -> dict[int, str]:
    """The reason for each of the units; a text that holds several reasons names the units of each."""
    named = re.findall(r"(.+?) \(units? (\d+(?:, \d+)*)\)(?:; |$)", text)
    if named:
        found = {int(unit): reason for reason, numbers in named for unit in numbers.split(", ")}
        return {unit: found[unit] for unit in units if unit in found}
    return dict.fromkeys(units, text) if text else {}


def with_relu(model: nn.Module, batches: list[Batch]) -> nn.Module:
    """The model, or the model with ReLU in place of GELU and SiLU if no activation of it is flat below zero."""
    if any(site.flat for site in diagnose(model, batches, forward=run).sites):
        return model
    kinds: dict[type[nn.Module], nn.Module] = {nn.GELU: nn.ReLU(), nn.SiLU: nn.ReLU()}
    return replace(model, kinds, batches=batches).model


def redrawn(batch: Batch, number: int) -> Batch:
    """Another batch like this one, whose values are drawn from it, with replacement."""
    generator = torch.Generator().manual_seed(number)

    def draw(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: draw(item) for key, item in value.items()}
        if not isinstance(value, Tensor):
            return value
        index = torch.randint(value.numel(), (value.numel(),), generator=generator)
        return value.flatten()[index].view(value.shape)

    return draw(batch)


@contextmanager
def counted(model: nn.Module) -> Iterator[list[None]]:
    """A list that gets an item at each call of the model, or of a copy of it."""
    calls: list[None] = []
    handle = model.register_forward_pre_hook(lambda *_: calls.append(None))
    try:
        yield calls
    finally:
        handle.remove()


def largest_change(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """The largest change of any tensor, relative to its largest value."""
    if [value.shape for value in before] != [value.shape for value in after]:
        return math.inf
    return max(map(_change, before, after), default=0.0)


def _change(old: Tensor, new: Tensor) -> float:
    a, b = (value.to(torch.complex128 if value.is_complex() else torch.float64) for value in (old, new))
    difference = torch.where((a == b) | (a.isnan() & b.isnan()), 0.0, (a - b).abs()).nan_to_num(math.inf, math.inf)
    if not difference.any():
        return 0.0
    largest = float(torch.where(a.isfinite(), a.abs(), 0.0).max())
    return float(difference.max()) / largest if largest else math.inf


def rounding(model: nn.Module, batches: list[Batch], outputs: list[list[Tensor]]) -> float:
    """How far the outputs are from those in double precision; zero if the model does not run in it."""
    try:
        exact = [run(copy.deepcopy(model).double(), in_double(batch)) for batch in batches]
    except Exception:  # noqa: BLE001  # whatever a model does that was written for one type
        return 0.0
    return max(map(largest_change, exact, outputs))


def in_double(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: in_double(item) for key, item in value.items()}
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _parameters(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())


# --- The report ------------------------------------------------------------------------------------------------------


def line(result: Result, done: str) -> str:
    """One architecture, on one line."""
    title = f"{result.family}: {result.name}"
    if result.error:
        return f"{title}: not run ({result.error})"
    if not result.planted:
        return f"{title}: nothing planted in {result.sites} sites"
    figures = (
        f"{result.planted} planted in {result.sites - len(result.without)} of {result.sites} sites, {result.done} "
        f"{done}, {result.listed} listed, change {result.change:.1g} and {result.other_change:.1g}, "
        f"{result.calls} calls, {result.seconds:.2f} s"
    )
    return f"{title}: {figures}; " + ("; ".join(result.faults) or "right")


def table(results: list[Result], done: str) -> Iterator[str]:
    """The families, as a table in Markdown; then why units were left, what is wrong, and what was not run."""
    titles = [*("family", "models", "planted", done, "listed", "silent", f"% {done}", "bitwise equal")]
    titles += ["largest change", "on another batch*", "fires there*", "calls, median", "most", "seconds, median"]
    titles += ["parameters, before", "after"] if done == "removed" else []
    yield from ("", f"| {' | '.join(titles)} |", "|---" * len(titles) + "|")
    ran = [result for result in results if result.planted]
    for group, families in {**GROUPS, "all": tuple(dict.fromkeys(each.family for each in ran))}.items():
        part = [result for result in ran if result.family in families]
        if part:
            yield row(group, part, len(titles))
    yield ""
    yield (
        "*: among the models whose units that are dead on the batches are dead on the other batch, too; in the others, "
        "of which the next column gives the number, outputs on it may change."
    )
    yield ""
    reasons = Counter[str]()
    for result in ran:
        for reason, count in result.reasons.items():
            reasons[without_names(reason)] += count
    yield from listings(
        (
            ("Units listed, by reason", [f"{count}: {reason}" for reason, count in reasons.most_common()]),
            ("Wrong", [f"{each.family}: {each.name}: {fault}" for each in results for fault in each.faults]),
            (
                "Nothing planted",
                [f"{each.family}: {each.name}" for each in results if not (each.planted or each.error)],
            ),
            ("Not run", [f"{each.family}: {each.name}: {each.error}" for each in results if each.error]),
        )
    )


def row(group: str, part: Sequence[Result], width: int) -> str:
    planted, done = sum(each.planted for each in part), sum(each.done for each in part)
    calls = [each.calls for each in part if each.calls]
    others = [each.other_change for each in part if not each.firing]
    cells = (
        *(group, len(part), planted, done, sum(each.listed for each in part)),
        sum(len(units) for each in part for units in each.silent.values()),
        *(f"{100 * done / planted:.1f}", sum(each.bitwise for each in part)),
        *(f"{max(each.change for each in part):.1g}", f"{max(others):.1g}" if others else "none"),
        *(len(part) - len(others), f"{statistics.median(calls or [0]):g}", max(calls, default=0)),
        f"{statistics.median(each.seconds for each in part):.2f}",
        *(f"{sum(each.parameters[i] for each in part):,}" for i in (0, 1)),
    )
    return f"| {' | '.join(map(str, cells[:width]))} |"


_NAMES = re.compile(r"^\w*[A-Z]\w*(?= )|'[^']*'|`[^`]*`|\b\w*[\d_]\w*(?:\.\w+)*|\b\w+(?:\.\w+)+")


def without_names(reason: str) -> str:
    """The reason with an ellipsis in place of names and numbers, so that equal reasons look equal."""
    return _NAMES.sub("…", reason)


if __name__ == "__main__":
    sys.exit(main())

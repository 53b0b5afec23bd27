"""Replaces the activations of public architectures, and checks each replacement against an independent reference.

The architectures are those of `benchmarks.zoo_models`, small and with random weights; nothing is downloaded. If the
library of a family is missing, the family is left out, and the report says what to install.
"""

import argparse
import copy
import gc
import importlib.metadata
import json
import pickle
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.zoo_models import FAMILIES, Architecture, Batch, need_torchvision
from benchmarks.zoo_running import first_line, listings, run, same, seed, stirred
from leakyrelu._shared.files import written_whole
from leakyrelu.torch import LeakyReLU, Replacement, replace, replace_relu
from leakyrelu.torch.capture import watch

SLOPE = 0.1
KINDS: dict[str, type[nn.Module]] = {  # what is replaced, by the name of its operation
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "elu": nn.ELU,
    "celu": nn.CELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
DEPENDS = "outputs depend on the activation"


@dataclass
class Result:
    """What came out for one architecture."""

    family: str
    name: str
    kinds: tuple[str, ...] = ()  # the activations that it calls
    calls: int = 0  # of them in one forward pass, as `diagnose` sees them
    dispatched: int = 0  # the same, as PyTorch's dispatcher sees them
    replaced: int = 0  # calls that are gone afterwards, as the dispatcher sees them
    listed: int = 0  # calls that are left, and are listed with a reason
    silent: list[str] = field(default_factory=list)  # calls that are left, and are not listed
    missed: int = 0  # calls that are left where `replace` is given no batches
    seconds: float = 0.0  # that it took, without batches
    checks: dict[str, bool | None] = field(default_factory=dict)  # None: the original cannot do it, either
    reasons: dict[str, str] = field(default_factory=dict)  # the names of what is listed, and why
    error: str = ""  # why the original cannot be built or run

    @property
    def faults(self) -> list[str]:
        """What is wrong, in words."""
        wrong = [f"{check}: no" for check, passed in self.checks.items() if passed is False]
        return wrong + [f"silently left: {name}" for name in self.silent]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--family", choices=FAMILIES, action="append", help="only this family; may be given twice")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N architectures of each family")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the architectures whose name begins with TEXT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results of all architectures to a file")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # theirs; there are hundreds
    torch.set_num_threads(1)  # on small inputs, threads would mostly wait for each other
    with written_whole(given.json) if given.json else nullcontext() as file:  # a path that is wrong is known first
        results, missing = examined(given.family or FAMILIES, given.limit, given.only)
        for text in (*table(results), "", *missing):
            print(text)
        if file:
            file.write(json.dumps(report(results, missing), indent=2).encode())
    return int(any(result.faults for result in results))


def examined(families: Iterable[str], limit: int | None, beginning: str) -> tuple[list[Result], list[str]]:
    """The results of all architectures, and which families are left out."""
    results, missing = [], []
    for family in families:
        try:
            for architecture in architectures(family, limit, beginning):
                results.append(examine(family, architecture))
                print(line(results[-1]), flush=True)
                gc.collect()
        except ImportError as error:
            missing.append(f"{family} is left out ({error}); python -m pip install {FAMILIES[family].packages}")
    return results, missing


def architectures(family: str, limit: int | None, beginning: str) -> Iterator[Architecture]:
    """The architectures of a family, or an `ImportError`."""
    if FAMILIES[family].needs_torchvision:
        need_torchvision()
    seed()
    for number, architecture in enumerate(FAMILIES[family].architectures()):
        if (limit is None or number < limit) and architecture.name.startswith(beginning):
            yield architecture


def examine(family: str, architecture: Architecture) -> Result:
    """Build the model, replace its activations and check what comes out."""
    result = Result(family, architecture.name)
    try:
        seed()
        model = stirred(architecture.build()).eval()
        batch = architecture.batch
        original = run(model, batch)
        if not same(original, run(model, batch)):
            raise ValueError("two runs of the original differ")  # noqa: TRY301  # it is shown as any other reason
        seen, below = calls(model, batch), dispatched(model, batch)
    except Exception as error:  # noqa: BLE001  # anything may be wrong with a library, and the others go on
        result.error = f"{type(error).__name__}: {first_line(error)}"
        return result
    result.kinds = tuple(kind for kind in KINDS if kind in (*seen.values(), *below))
    result.calls, result.dispatched = len(seen), sum(kind in result.kinds for kind in below)
    if not result.kinds:
        return result
    try:
        compare(result, model, batch, original)
    except Exception as error:  # noqa: BLE001  # a fault of ours, which is shown
        result.checks[f"no {type(error).__name__} ({first_line(error)})"] = False
    return result


def compare(result: Result, model: nn.Module, batch: Batch, original: list[Tensor]) -> None:
    """Replace the activations of the model, and hold the result against the original under `Forcing`."""
    checks = result.checks
    untouched = copy.deepcopy(model)
    keys = list(model.state_dict())
    begin = time.perf_counter()
    replacement = replaced(model, result.kinds)
    result.seconds = time.perf_counter() - begin
    model = replacement.model
    left = dispatched(model, batch)
    result.missed = sum(kind in result.kinds for kind in left)
    expected = forced(untouched, result.kinds, left, batch)
    checks["outputs as forced"] = same(run(model, batch), expected)
    checks[DEPENDS] = not same(original, expected) or None
    checks["second run"] = same(run(model, batch), expected)
    twin = copy.deepcopy(model)
    checks["copy"] = same(run(twin, batch), expected)
    checks["pickle"] = same(run(pickled(model), batch), expected) if can(pickled, untouched) else None
    checks["keys of state_dict"] = list(model.state_dict()) == keys
    checks["says that something is found"] = bool(replacement.replaced or replacement.skipped) or (
        "only a run is sure" in str(replacement) and "no ReLU found" not in str(replacement)
    )
    checks["training"] = trains(untouched, twin, batch, result.kinds)
    look_for_rest(result, untouched, batch)
    model = replacement.undo()
    checks["undo"] = same(run(model, batch), original) and list(model.state_dict()) == keys


def look_for_rest(result: Result, untouched: nn.Module, batch: Batch) -> None:
    """Replace with batches, and hold the calls that are left against those that are listed."""
    seed()
    replacement = replaced(copy.deepcopy(untouched), result.kinds, batches=[batch])
    model = replacement.model
    below = dispatched(model, batch)
    expected = forced(untouched, result.kinds, below, batch)
    result.checks["outputs as forced, with batches"] = same(run(model, batch), expected)
    names = [name for name, kind in calls(model, batch).items() if kind in result.kinds]
    left = sum(kind in result.kinds for kind in below)
    result.silent = [name for name in names if name not in replacement.skipped]
    elsewhere = len([name for name in replacement.skipped if name not in names])  # such as scripted functions
    if left > len(names) + elsewhere:
        result.silent.append(f"{left - len(names) - elsewhere} calls that only the dispatcher sees")
    result.replaced, result.listed = result.dispatched - left, left - len(result.silent)
    result.reasons = dict(replacement.skipped)


def replaced(model: nn.Module, kinds: Iterable[str], **options: Any) -> Replacement:
    """The model with Leaky ReLU in place of these activations."""
    if tuple(kinds) == ("relu",):
        return replace_relu(model, SLOPE, **options)
    return replace(model, {KINDS[kind]: LeakyReLU(SLOPE) for kind in kinds}, **options)


def trains(untouched: nn.Module, model: nn.Module, batch: Batch, kinds: Sequence[str]) -> bool | None:
    """Whether training gives the outputs of the original under `Forcing`, and finite gradients.

    None if the original cannot be trained on this batch, or draws random numbers that no seed determines.
    """
    try:
        outputs, gradients = step(copy.deepcopy(untouched).train(), batch)
        again = run(copy.deepcopy(untouched).train(), batch, gradients=True)
    except Exception:  # noqa: BLE001  # whatever the reason
        return None
    if not same(outputs, again) or not all(gradient.isfinite().all() for gradient in gradients.values()):
        return None
    with _Slow(), Dispatching() as mode:
        outputs, ours = step(model.train(), batch)
    expected = forced(copy.deepcopy(untouched).train(), kinds, mode.calls, batch, gradients=True)
    are_finite = all(gradient.isfinite().all() for gradient in ours.values())
    return same(outputs, expected) and ours.keys() == gradients.keys() and are_finite


def step(model: nn.Module, batch: Batch) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The outputs in training mode, and the gradients of their sum by parameter."""
    outputs = run(model, batch, gradients=True)
    kept = [output.detach().clone() for output in outputs]
    torch.stack([output.float().mean() for output in outputs if output.requires_grad]).sum().backward()
    return kept, {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


# --- What a model calls, and what can be done with it -----------------------------------------------------------------


def calls(model: nn.Module, batch: Batch) -> dict[str, str]:
    """The names of the calls that `diagnose` sees, and what they compute."""
    seen: dict[str, str] = {}
    watch(model, [batch], run, lambda call: seen.update({call.name: call.activation.operation}))
    return {name: operation for name, operation in seen.items() if operation in KINDS}


def pickled(model: nn.Module) -> nn.Module:
    result: nn.Module = pickle.loads(pickle.dumps(model))  # noqa: S301  # written a moment ago
    return result


def can(function: Callable[[nn.Module], object], model: nn.Module) -> bool:
    try:
        function(model)
    except Exception:  # noqa: BLE001  # whatever the reason
        return False
    return True


# --- The independent reference ---------------------------------------------------------------------------------------

_ATEN = torch.ops.aten
_OPERATIONS = {
    _ATEN.relu: "relu",
    _ATEN.relu_: "relu",
    _ATEN.gelu: "gelu",
    _ATEN.gelu_: "gelu",
    _ATEN.silu: "silu",
    _ATEN.silu_: "silu",
    _ATEN.elu: "elu",
    _ATEN.elu_: "elu",
    _ATEN.leaky_relu: "leaky_relu",
    _ATEN.leaky_relu_: "leaky_relu",
    _ATEN.celu: "celu",
    _ATEN.celu_: "celu",
    _ATEN.selu: "selu",
    _ATEN.selu_: "selu",
}
_BOUNDED = (_ATEN.hardtanh, _ATEN.hardtanh_)


def kind_of(function: Any, args: Sequence[Any]) -> str | None:
    """The activation that an operation of the dispatcher computes."""
    packet = function.overloadpacket
    if packet in _BOUNDED:
        return "relu6" if tuple(args[1:3]) == (0, 6) else None
    return _OPERATIONS.get(packet)


class _Slow(TorchFunctionMode):
    """Does nothing; but while there is such a mode, `nn.TransformerEncoder` leaves out its fused kernels."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return function(*args, **kwargs or {})


class Dispatching(TorchDispatchMode):
    """Notes the activations that reach PyTorch's dispatcher, also from scripted code."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kind = kind_of(function, args)
        if kind:
            self.calls.append(kind)
        return function(*args, **kwargs or {})


class Forcing(TorchDispatchMode):
    """Computes Leaky ReLU in place of activations of these kinds, and in place where they work in place.

    `left` says of each activation, in the order of the calls, whether it is left as it is.
    """

    def __init__(self, kinds: Iterable[str], left: Iterable[bool]) -> None:
        super().__init__()
        self._kinds = tuple(kinds)
        self._left = iter(left)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kind = kind_of(function, args)
        is_left = kind is not None and next(self._left, False)
        if is_left or kind not in self._kinds:
            return function(*args, **kwargs or {})
        in_place = str(function.overloadpacket).endswith("_")
        return (_ATEN.leaky_relu_ if in_place else _ATEN.leaky_relu)(args[0], SLOPE)


def dispatched(model: nn.Module, batch: Batch, *, gradients: bool = False) -> list[str]:
    """The activations in one forward pass, in the order of the calls."""
    with _Slow(), Dispatching() as mode:
        run(model, batch, gradients=gradients)
    return mode.calls


def forced(
    untouched: nn.Module, kinds: Sequence[str], left: Iterable[str], batch: Batch, *, gradients: bool = False
) -> list[Tensor]:
    """The outputs of the original with Leaky ReLU in place of these activations.

    `left` has the activations that the replaced model calls, in order. Those of them that are still of these kinds are
    left in the original, too.
    """
    with _Slow(), Forcing(kinds, [kind in kinds for kind in left]):
        return run(untouched, batch, gradients=gradients)


# --- The report ------------------------------------------------------------------------------------------------------


def line(result: Result) -> str:
    """One architecture, on one line."""
    title = f"{result.family}: {result.name}"
    if result.error:
        return f"{title}: not run ({result.error})"
    if not result.kinds:
        return f"{title}: calls none of these activations"
    figures = (
        f"{result.dispatched} calls of {', '.join(result.kinds)}, {result.replaced} replaced, {result.listed} listed"
    )
    return f"{title}: {figures}, {result.seconds:.3f} s; " + ("; ".join(result.faults) or "right")


def table(results: list[Result]) -> Iterator[str]:
    """The families, as a table in Markdown; then what is wrong, what is listed, and what was not run."""
    yield ""
    titles = (
        *("family", "models", "calls", "as diagnosed", "replaced", "listed", "silently left"),
        *("left without batches", "outputs equal", "seconds, median", "most"),
    )
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    families = dict.fromkeys(result.family for result in results)
    for family in (*families, "all"):
        ran = [result for result in results if result.kinds and family in (result.family, "all")]
        if ran:
            yield row(family, ran)
    yield ""
    yield from listings(
        (
            ("Wrong", [f"{each.family}: {each.name}: {fault}" for each in results for fault in each.faults]),
            (
                "Listed",
                [f"{each.family}: {each.name}: {n}: {why}" for each in results for n, why in each.reasons.items()],
            ),
            (
                "Outputs do not depend on the activation",
                [f"{each.family}: {each.name}" for each in results if each.kinds and each.checks.get(DEPENDS) is None],
            ),
            ("Not run", [f"{each.family}: {each.name}: {each.error}" for each in results if each.error]),
        )
    )


def row(family: str, ran: list[Result]) -> str:
    seconds = [result.seconds for result in ran]
    equal = [result for result in ran if result.checks.get("outputs as forced")]
    cells = (
        *(family, len(ran), sum(each.dispatched for each in ran), sum(each.calls for each in ran)),
        *(sum(each.replaced for each in ran), sum(each.listed for each in ran), sum(len(each.silent) for each in ran)),
        *(sum(each.missed for each in ran), len(equal), f"{statistics.median(seconds):.3f}", f"{max(seconds):.3f}"),
    )
    return f"| {' | '.join(map(str, cells))} |"


def report(results: Sequence[Any], missing: list[str]) -> dict[str, Any]:
    """Everything, for programs."""
    packages = ("torch", "leakyrelu", *(family.packages.split()[0] for family in FAMILIES.values()))
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {"versions": versions, "missing": missing, "results": [asdict(result) for result in results]}


if __name__ == "__main__":
    sys.exit(main())

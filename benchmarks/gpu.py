"""On one NVIDIA card, in less than five minutes: checks against the CPU, the memory that is kept, and times.

`python -m benchmarks.gpu` prints Markdown. First come the checks, and it ends there, with 1, if one fails. Then comes
the memory that is kept between the forward and the backward pass. Last come times by CUDA's own clock, by turns, as
medians with quartiles. `--device cpu` makes the same checks and runs the same code without a card; it gives no figures
of a card.
"""

import argparse
import copy
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import gpu_checks
from benchmarks.report import duration, spread
from benchmarks.timing import quartiles
from benchmarks.torch_diagnosis import cnn
from leakyrelu.torch import LeakyReLU, Monitor, diagnose, leaky_relu

NATIVE = "native"
COMPILED = "native, by `torch.compile`"
LAYERS, FEATURES = 8, 1024
COMPILING = 45.0  # seconds that one compilation may take; where less is left, it is left out

Call = Callable[[], object]


class Budget:
    """Seconds that are left of the whole run."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the end, below zero after it."""
        return self._end - time.monotonic()


@dataclass(frozen=True)
class Device:
    """Where to run, how much fits there, and its clock."""

    name: str

    def elements(self, most: int, bytes_each: int) -> int:
        """As many elements as leave two thirds of the free memory to everything else, at most so many."""
        free = torch.cuda.mem_get_info()[0] if self.name == "cuda" else 2**20
        return max(FEATURES, min(most, free // (3 * bytes_each)) // FEATURES * FEATURES)

    def seconds(self, call: Call, times: int) -> float:
        """Seconds per call, by a card's own clock, because calls return to Python before the card has done them."""
        if self.name != "cuda":
            start = time.perf_counter()
            for _ in range(times):
                call()
            return (time.perf_counter() - start) / times
        event: Any = torch.cuda.Event
        start_event, end_event = (event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start_event.record()
        for _ in range(times):
            call()
        end_event.record()
        torch.cuda.synchronize()
        return float(start_event.elapsed_time(end_event)) / 1e3 / times

    def kept_and_peak(self, forward: Callable[[], Tensor]) -> tuple[int, int] | None:
        """Bytes that a forward pass leaves for the backward pass, and the most at any time of both; None on a CPU."""
        if self.name != "cuda":
            forward().sum().backward()  # type: ignore[no-untyped-call]
            return None
        for _ in range(2):  # the first time, libraries take memory that they keep
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            output = forward()
            kept = torch.cuda.memory_allocated() - before
            output.sum().backward()  # type: ignore[no-untyped-call]
            del output
            torch.cuda.synchronize()
        return kept, torch.cuda.max_memory_allocated() - before


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--budget", type=float, default=270.0, help="seconds for all of it (%(default)s)")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            f"PyTorch {torch.__version__} finds no CUDA card, and nothing was measured; "
            "--device cpu runs the checks and the code without one"
        )
    budget, device = Budget(options.budget), Device(options.device)
    # With them, the card would round the inputs of matrix products to 10 bits.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(0)
    for line in (*title(device.name), ""):
        print(line, flush=True)
    wrong = False
    for check in gpu_checks.checks(device.name):
        print(check, flush=True)
        wrong |= not check.passed
    if wrong:
        raise SystemExit(1)
    for section in (memory, activations, fused, watching):
        print(flush=True)
        for line in section(device, budget):
            print(line, flush=True)
    print(f"\n{options.budget - budget.left():.0f} seconds in all", flush=True)


def title(device: str) -> Iterator[str]:
    """The card, its driver and the versions; or that there is no card."""
    if device != "cuda":
        yield "No CUDA card was used: a dry run on the CPU. Its times say nothing of any card."
        return
    properties = torch.cuda.get_device_properties(0)
    yield f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, driver {_driver()}"
    cudnn: Any = torch.backends.cudnn
    libraries = f"CUDA {torch.version.cuda}, cuDNN {cudnn.version()}"
    yield f"PyTorch {torch.__version__}, {libraries}, without TF32"


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]  # the same for all cards
    try:
        output = subprocess.run(  # noqa: S603  # the driver's own program
            command, capture_output=True, text=True, check=True, timeout=20
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return output.partition("\n")[0].strip()


def memory(device: Device, budget: Budget) -> Iterator[str]:
    """What a chain of layers keeps, in activations: as many bytes as the output of one layer has."""
    rows = device.elements(2**25, 4 * 8 * LAYERS) // FEATURES
    x = torch.randn(rows, FEATURES, device=device.name)
    one = x.numel() * x.element_size()
    yield f"| {LAYERS} x (Linear, ...) on {rows:,} x {FEATURES} of float32, in activations | kept | at most |"
    yield "|---|---|---|"
    for name, (activation, bias) in layers().items():
        model = nn.Sequential()
        for _ in range(LAYERS):
            model.append(nn.Linear(FEATURES, FEATURES, bias=bias)).append(activation())
        model.to(device.name)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)  # so that no pass makes them
        if budget.left() < 0:
            yield f"| {name} | no time left | |"
            continue
        measured = device.kept_and_peak(partial(model, x))
        figures = [f"{each / one:.2f}" for each in measured] if measured else ["no card", "no card"]
        yield f"| {name} | {' | '.join(figures)} |"


def layers() -> dict[str, tuple[Callable[[], nn.Module], bool]]:
    """What follows a linear layer, and whether that layer has the bias."""
    found: dict[str, tuple[Callable[[], nn.Module], bool]] = {
        "`nn.ReLU`": (nn.ReLU, True),
        "`nn.LeakyReLU`": (nn.LeakyReLU, True),
        "`nn.LeakyReLU`, in place": (partial(nn.LeakyReLU, inplace=True), True),
        "`LeakyReLU`, ours": (LeakyReLU, True),
        "bias, Leaky ReLU and gain, native": (partial(gpu_checks.Unfused, FEATURES), False),
    }
    for each in gpu_checks.fused_classes():
        found[f"`{each.__name__}`, ours"] = (partial(each, FEATURES), False)
    return found


def activations(device: Device, budget: Budget) -> Iterator[str]:
    """Leaky ReLU alone, forward, and forward and backward."""
    yield from _head("Leaky ReLU")
    for dtype in (torch.float32, torch.float16):
        size = device.elements(6 * 10**7, 8 * dtype.itemsize)
        x = torch.randn(size, device=device.name, dtype=dtype).requires_grad_()
        functions: dict[str, Callable[[Tensor], Tensor]] = {
            NATIVE: functional.leaky_relu,
            "ours": leaky_relu,
            COMPILED: torch.compile(functional.leaky_relu),
        }
        yield from _passes(f"{size:,} of {_word(dtype)}", functions, x, device, budget)


def fused(device: Device, budget: Budget) -> Iterator[str]:
    """Bias, Leaky ReLU and gain on images, forward, and forward and backward."""
    yield from _head("bias, Leaky ReLU and gain")
    channels = 64
    images = max(1, device.elements(6 * 10**7, 8 * 4) // (channels * 32 * 32))
    x = torch.randn(images, channels, 32, 32, device=device.name).requires_grad_()
    native = gpu_checks.Unfused(channels).to(device.name)
    functions: dict[str, Callable[[Tensor], Tensor]] = {NATIVE: native, COMPILED: torch.compile(native)}
    for each in gpu_checks.fused_classes():
        functions[f"`{each.__name__}`"] = each(channels).to(device.name)
    yield from _passes(f"{images} x {channels} x 32 x 32 of float32", functions, x, device, budget)


def _passes(
    label: str, functions: Mapping[str, Callable[[Tensor], Tensor]], x: Tensor, device: Device, budget: Budget
) -> Iterator[str]:
    gradient = torch.randn_like(x)

    def forward(function: Callable[[Tensor], Tensor]) -> object:
        return function(x)

    def both(function: Callable[[Tensor], Tensor]) -> object:
        return torch.autograd.grad(function(x), x, gradient)

    for name, run in (("forward", forward), ("forward and backward", both)):
        calls: dict[str, Call] = {key: partial(run, function) for key, function in functions.items()}
        yield from table(f"{label}, {name}", calls, device, budget)


def watching(device: Device, budget: Budget) -> Iterator[str]:
    """What it costs to watch a network: `diagnose` in a forward pass, `Monitor` in a training step."""
    yield from _head("a CNN of four convolutions")
    images = max(2, device.elements(2**21, 4 * 1024) // FEATURES // 2) if device.name == "cuda" else 2
    x = torch.randn(images, 3, 32, 32, device=device.name)
    labels = torch.randint(10, (images,), device=device.name)
    model = cnn().to(device.name)

    def evaluate(network: Callable[[Tensor], Tensor]) -> object:
        with torch.no_grad():
            return network(x)

    model.eval()
    forward: dict[str, Call] = {
        NATIVE: partial(evaluate, model),
        "by `diagnose`": partial(diagnose, model, [x]),
        COMPILED: partial(evaluate, torch.compile(model)),
    }
    yield from table(f"{images} images, forward", forward, device, budget)

    def step(network: nn.Module, call: Callable[[Tensor], Tensor]) -> Call:
        network.train()
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)

        def run() -> None:
            optimizer.zero_grad()
            functional.cross_entropy(call(x), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        return run

    plain, compiled, observed, both = (copy.deepcopy(model) for _ in range(4))
    monitor = Monitor(observed)
    step_observed = step(observed, observed)

    def under_monitor() -> None:
        with monitor:
            step_observed()

    steps: dict[str, Call] = {
        NATIVE: step(plain, plain),
        "under `Monitor`": under_monitor,
        COMPILED: step(compiled, torch.compile(compiled)),
        "by `torch.compile`, under `Monitor`": step(both, torch.compile(both, backend=Monitor(both).backend())),
    }
    yield from table(f"{images} images, training step", steps, device, budget)


def _head(what: str) -> Iterator[str]:
    yield f"| {what} | | time | over the native one's |"
    yield "|---|---|---|---|"


def table(label: str, calls: Mapping[str, Call], device: Device, budget: Budget) -> Iterator[str]:
    """A row per contender that runs here, and the reason for each that does not."""
    ready: dict[str, Call] = {}
    for name, call in calls.items():
        reason = _unready(name, call, budget)
        if reason:
            yield f"| {label} | {name} | left out: {reason} | |"
        else:
            ready[name] = call
    if NATIVE not in ready:
        return
    seconds = interleaved(ready, device, budget)
    for name, values in seconds.items():
        ratio = spread(quartiles(values / seconds[NATIVE]))
        yield f"| {label} | {name} | {duration(float(np.median(values)))} | {ratio} |"


def _unready(name: str, call: Call, budget: Budget) -> str:
    """Warm up: kernels are loaded, compiled and chosen, and the allocator gets its memory. Returns why that fails."""
    if budget.left() < (COMPILING if "compile" in name else 0):
        return "no time left"
    try:
        for _ in range(3):
            call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return "out of memory"
    except Exception as error:  # noqa: BLE001  # without a compiler or Triton, each version says so in its own way
        return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:100]}"
    return ""


def interleaved(
    calls: Mapping[str, Call], device: Device, budget: Budget, most: int = 31, longest: float = 12.0
) -> dict[str, Any]:
    """Seconds per call, an entry per round; in a round all contenders run, in random order.

    It ends after so many rounds, or after `longest` seconds, or when the budget is spent, but not before three rounds.
    """
    times = {name: max(1, min(100, int(2e-3 / max(device.seconds(call, 1), 1e-7)))) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order = np.random.default_rng(0)
    section = Budget(longest)
    for done in range(most):
        if done >= 3 and min(section.left(), budget.left()) < 0:
            break
        for name in order.permutation(list(calls)):
            seconds[name].append(device.seconds(calls[name], times[name]))
    return {name: np.array(values) for name, values in seconds.items()}


def _word(dtype: torch.dtype) -> str:
    return str(dtype).rpartition(".")[2]


if __name__ == "__main__":
    main()

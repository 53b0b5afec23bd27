"""Measures what it costs to watch a small CNN: `diagnose` in a forward pass, `Monitor` in a training step."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import timing
from benchmarks.report import duration, spread
from benchmarks.timing import Contender, Effort
from leakyrelu.torch import Monitor
from leakyrelu.torch.capture import Capture
from leakyrelu.torch.counts import Counts

BATCH = 128
PLAIN, AGAIN = "plain", "plain again"


def main(effort: Effort | None = None, batch: int = BATCH) -> None:
    for line in table(effort or Effort(batch=0.0, budget=60.0, fewest=10, most=61), batch):
        print(line, flush=True)


def table(effort: Effort, batch: int) -> Iterator[str]:
    """Times over that of the plain pass or step: median, and quartiles in brackets."""
    yield f"CNN of four convolutions with BatchNorm, batch of {batch}, {torch.get_num_threads()} threads"
    yield ""
    yield "| | time | over the plain one's |"
    yield "|---|---|---|"
    for task, contenders in (("forward pass", forward_passes(batch)), ("training step", training_steps(batch))):
        seconds = timing.interleaved(contenders, effort)
        for name, values in seconds.items():
            ratio = spread(timing.quartiles(values / seconds[PLAIN]))
            yield f"| {task}, {name} | {duration(float(np.median(values)))} | {ratio} |"


def forward_passes(batch: int) -> dict[str, Contender]:
    """In eval mode, without gradients: plain, under the hooks of a naive tool, and as `diagnose` runs it."""
    model, x = cnn().eval(), torch.randn(batch, 3, 32, 32)
    capture = Capture(model, Counts())

    def forward() -> None:
        with torch.no_grad():
            model(x)

    return _contenders(forward, model, {"as by `diagnose`": lambda: capture})


def training_steps(batch: int) -> dict[str, Contender]:
    """Forward, backward and SGD: plain, under the hooks of a naive tool, and under a `Monitor`."""
    model, x, labels = cnn(), torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    monitor, rarely = Monitor(model), Monitor(model, every=10)
    return _contenders(step, model, {"under `Monitor`": lambda: monitor, "under `Monitor(every=10)`": lambda: rarely})


Context = Callable[[], AbstractContextManager[object]]


def _contenders(call: Callable[[], None], model: nn.Module, ours: dict[str, Context]) -> dict[str, Contender]:
    contexts: dict[str, Context] = {
        PLAIN: nullcontext,
        AGAIN: nullcontext,
        "with a running maximum by hooks": lambda: NaiveHooks(model),
        **ours,
    }
    return {name: Contender(call, context) for name, context in contexts.items()}


class NaiveHooks:
    """For reference: keeps the largest output so far of each channel of each ReLU module."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = [module for module in model.modules() if isinstance(module, nn.ReLU)]
        self._largest: dict[nn.Module, Tensor] = {}

    def __enter__(self) -> None:
        self._handles = [module.register_forward_hook(self._look) for module in self._modules]

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _look(self, module: nn.Module, _: object, output: Tensor) -> None:
        largest = output.detach().amax((0, 2, 3))
        self._largest[module] = torch.maximum(largest, self._largest.get(module, largest))


def cnn() -> nn.Sequential:
    """Two convolutions of 32 channels, a pool, two of 64, a pool, and ten classes."""
    return nn.Sequential(*_block(3, 32), *_block(32, 64), nn.Flatten(), nn.Linear(64 * 8 * 8, 10))


def _block(channels: int, units: int) -> Iterator[nn.Module]:
    for ingoing in (channels, units):
        yield nn.Conv2d(ingoing, units, 3, padding=1, bias=False)
        yield nn.BatchNorm2d(units)
        yield nn.ReLU()
    yield nn.MaxPool2d(2)


if __name__ == "__main__":
    main()

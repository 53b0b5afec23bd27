"""Measures what it costs to watch a network: `diagnose` in a forward pass, `Monitor` in a training step."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

import leakyrelu
from benchmarks import timing
from benchmarks.report import duration, spread
from benchmarks.timing import Contender, Effort
from leakyrelu.torch import Monitor
from leakyrelu.torch.capture import Capture
from leakyrelu.torch.counts import Counts

PLAIN, AGAIN = "plain", "plain again"

Context = Callable[[], AbstractContextManager[object]]


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.torch_diagnosis", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch and of this library (%(default)s)")
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    leakyrelu.set_num_threads(threads)
    for line in table(Effort(batch=0.0, budget=60.0, fewest=10, most=101)):
        print(line, flush=True)


def table(effort: Effort, batch: int = 128) -> Iterator[str]:
    """Times over that of the plain pass or step: median, and quartiles in brackets."""
    yield f"{torch.get_num_threads()} threads; CNN of four convolutions with BatchNorm, batch of {batch}"
    yield ""
    yield "| | time | over the plain one's |"
    yield "|---|---|---|"
    few = max(1, batch // 32)
    tasks = {
        "CNN, forward pass": forward_passes(cnn(), torch.randn(batch, 3, 32, 32)),
        "CNN, training step": training_steps(cnn(), torch.randn(batch, 3, 32, 32)),
        f"like ResNet-50, {few} images of 224 pixels, forward pass": forward_passes(
            resnet(), torch.randn(few, 3, 224, 224)
        ),
        f"like ResNet-50, {few} images of 112 pixels, forward pass": forward_passes(
            resnet(), torch.randn(few, 3, 112, 112)
        ),
    }
    for task, contenders in tasks.items():
        seconds = timing.interleaved(contenders, effort)
        for name, values in seconds.items():
            ratio = spread(timing.quartiles(values / seconds[PLAIN]))
            yield f"| {task}, {name} | {duration(float(np.median(values)))} | {ratio} |"


def forward_passes(model: nn.Module, x: Tensor) -> dict[str, Contender]:
    """In eval mode, without gradients: plain, under the hooks of a naive tool, and as `diagnose` runs it."""
    model.eval()
    capture = Capture(model, Counts())

    def forward() -> None:
        with torch.no_grad():
            model(x)

    return _contenders(forward, model, {"as by `diagnose`": lambda: capture})


def training_steps(model: nn.Module, x: Tensor) -> dict[str, Contender]:
    """Forward, backward and SGD: plain, under the hooks of a naive tool, and under a `Monitor`."""
    labels = torch.randint(10, (len(x),))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    monitor, rarely = Monitor(model), Monitor(model, every=10)
    return _contenders(step, model, {"under `Monitor`": lambda: monitor, "under `Monitor(every=10)`": lambda: rarely})


def _contenders(call: Callable[[], None], model: nn.Module, ours: dict[str, Context]) -> dict[str, Contender]:
    nothing = Capture(model, lambda _: lambda _: None)
    contexts: dict[str, Context] = {
        PLAIN: nullcontext,
        AGAIN: nullcontext,
        "with a running maximum by hooks": lambda: NaiveHooks(model),
        "under a capture that counts nothing": lambda: nothing,
        **ours,
    }
    return {name: Contender(call, context) for name, context in contexts.items()}


class NaiveHooks:
    """For reference: keeps the largest output so far of each channel of each ReLU module."""

    def __init__(self, model: nn.Module) -> None:
        self._modules = [module for module in model.modules() if isinstance(module, nn.ReLU)]
        self._largest: dict[tuple[nn.Module, int], Tensor] = {}  # by module and channels: a module may be shared

    def __enter__(self) -> None:
        self._handles = [module.register_forward_hook(self._look) for module in self._modules]

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _look(self, module: nn.Module, _: object, output: Tensor) -> None:
        largest = output.detach().amax((0, 2, 3))
        key = module, len(largest)
        self._largest[key] = torch.maximum(largest, self._largest.get(key, largest))


def cnn() -> nn.Sequential:
    """Two convolutions of 32 channels, a pool, two of 64, a pool, and ten classes."""
    return nn.Sequential(*_block(3, 32), *_block(32, 64), nn.Flatten(), nn.Linear(64 * 8 * 8, 10))


def _block(channels: int, units: int) -> Iterator[nn.Module]:
    for ingoing in (channels, units):
        yield nn.Conv2d(ingoing, units, 3, padding=1, bias=False)
        yield nn.BatchNorm2d(units)
        yield nn.ReLU()
    yield nn.MaxPool2d(2)


class Bottleneck(nn.Module):
    """A block of ResNet-50."""

    def __init__(self, ingoing: int, width: int, stride: int) -> None:
        super().__init__()
        self.narrow, self.norm = nn.Conv2d(ingoing, width, 1, bias=False), nn.BatchNorm2d(width)
        self.spatial, self.norm_2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.widen, self.norm_3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if ingoing != 4 * width or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(ingoing, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Add what the convolutions make of `x` to it."""
        y = self.relu(self.norm(self.narrow(x)))
        y = self.relu(self.norm_2(self.spatial(y)))
        out: Tensor = self.relu(self.norm_3(self.widen(y)) + self.shortcut(x))
        return out


def resnet() -> nn.Sequential:
    """As many blocks, of the same widths, as in ResNet-50."""
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    ingoing = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(blocks):
            layers.append(Bottleneck(ingoing, width, 2 if i == 0 and width > 64 else 1))
            ingoing = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(ingoing, 10))


if __name__ == "__main__":
    main()

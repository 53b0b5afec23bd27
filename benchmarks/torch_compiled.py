"""Measures what it costs that a `Monitor` counts in a compiled training step, of a CNN and of a transformer."""

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import timing
from benchmarks.report import duration, spread
from benchmarks.timing import Contender, Effort
from benchmarks.torch_diagnosis import cnn
from leakyrelu.torch import Monitor

COMPILED = "compiled"


def main(effort: Effort | None = None, batch: int = 64) -> None:
    for line in table(effort or Effort(batch=0.0, budget=90.0, fewest=10, most=61), batch):
        print(line, flush=True)


def table(effort: Effort, batch: int) -> Iterator[str]:
    """Times of a training step over that of the compiled one: median, and quartiles in brackets."""
    yield f"batch of {batch}, {torch.get_num_threads()} threads, by inductor"
    yield ""
    yield "| | time | over the compiled step |"
    yield "|---|---|---|"
    models = (
        ("CNN", cnn(), torch.randn(batch, 3, 32, 32)),
        ("transformer", transformer(), torch.randn(batch, 64, 128)),
    )
    for name, model, x in models:
        steps = contenders(model, x)
        for step in steps.values():
            step.call()  # compiles
        seconds = timing.interleaved(steps, effort)
        for way, values in seconds.items():
            ratio = spread(timing.quartiles(values / seconds[COMPILED]))
            yield f"| {name}, {way} | {duration(float(np.median(values)))} | {ratio} |"


def contenders(model: nn.Module, x: Tensor) -> dict[str, Contender]:
    """Forward, backward and SGD, by copies of the model: compiled and not, observed and not."""
    observed, exact, rarely, plain = (copy.deepcopy(model) for _ in range(4))
    backends = {
        "observed": (observed, Monitor(observed).backend()),
        "observed, `exact=True`": (exact, Monitor(exact).backend(exact=True)),
        "observed, `every=10`": (rarely, Monitor(rarely, every=10).backend()),
    }
    monitor = Monitor(plain)
    compiled = {way: step(model, torch.compile(model, backend=each), x) for way, (model, each) in backends.items()}
    return {
        COMPILED: Contender(step(model, torch.compile(model), x)),
        **{way: Contender(call) for way, call in compiled.items()},
        "not compiled": Contender(step(plain, plain, x)),
        "not compiled, observed": Contender(step(plain, plain, x), lambda: monitor),
    }


def step(model: nn.Module, call: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def run() -> None:
        optimizer.zero_grad()
        call(x).square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return run


def transformer() -> nn.Module:
    """Two encoder layers of 128 features, with GELU between 128 and 512."""
    layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, activation="gelu", batch_first=True)
    return nn.TransformerEncoder(layer, 2)


if __name__ == "__main__":
    main()

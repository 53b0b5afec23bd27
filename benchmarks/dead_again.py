"""Plants dead units in small networks, revives them, trains on, and counts how many are dead again.

The networks are those of `benchmarks.zoo_own`, in training on random targets: first for a few steps, so that the
optimizer has a state, and after the revival for more. Whether a unit is dead is always asked on the batches that it was
revived on. The other units, which were not dead before, are counted for comparison.
"""

import argparse
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import zoo_own
from benchmarks.zoo_models import Architecture, Batch
from benchmarks.zoo_planting import plant
from benchmarks.zoo_running import run, seed, stirred, tensors
from benchmarks.zoo_units import redrawn
from leakyrelu.torch import Diagnosis, diagnose, revive

OPTIMIZERS: dict[str, Callable[[Iterable[Tensor]], torch.optim.Optimizer]] = {
    "Adam at 0.001": lambda weights: torch.optim.Adam(weights, lr=0.001),
    "Adam at 0.01": lambda weights: torch.optim.Adam(weights, lr=0.01),
    "SGD at 0.1 with momentum 0.9": lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9),
}
STEPS = (3, 30, 300)  # after which it is counted
BATCHES = 8
BEFORE = 10  # steps before the planting

Unit = tuple[str, int]  # the name of its site, and its number


@dataclass(frozen=True)
class Result:
    """What became of the units of one network."""

    name: str
    planted: int
    revived: int  # the planted ones, and those that were dead without
    again: dict[int, int]  # how many of these are dead again, by steps
    others: int  # that were not dead
    others_dead: dict[int, int]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dead_again", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--optimizer", choices=OPTIMIZERS, action="append", help="only this one; may be given twice")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the networks whose name begins with TEXT")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # theirs, as of nested tensors
    torch.set_num_threads(1)  # on small inputs, threads would mostly wait for each other
    for optimizer in given.optimizer or OPTIMIZERS:
        seed()
        chosen = [each for each in zoo_own.architectures() if each.name.startswith(given.only)]
        print(f"\n{optimizer}, {BATCHES} batches\n", *table([examine(each, optimizer) for each in chosen]), sep="\n")


def examine(architecture: Architecture, optimizer: str) -> Result:
    """Train, plant, revive, train on and count."""
    seed()
    model = stirred(architecture.build())
    batches = [architecture.batch, *(redrawn(architecture.batch, number) for number in range(1, BATCHES))]
    model.eval()
    targets = [[torch.randn_like(output) for output in run(model, batch)] for batch in batches]
    trainer = OPTIMIZERS[optimizer](model.parameters())
    _train(model, trainer, batches, targets, range(BEFORE))
    planted = plant(model.eval(), batches)
    dead = _dead(planted.diagnosis)
    units = {(site.name, unit) for site in planted.diagnosis.sites if site.flat for unit in range(site.units)}
    revival = revive(model, batches, forward=run, optimizer=trainer)
    revived, others = {(name, unit) for name, units in revival.revived.items() for unit in units}, units - dead
    again, others_dead, done = {}, {}, 0
    for steps in STEPS:
        _train(model, trainer, batches, targets, range(done, steps))
        now = _dead(diagnose(model, batches, forward=run))
        again[steps], others_dead[steps], done = len(now & revived), len(now & others), steps
    count = sum(map(len, planted.units.values()))
    return Result(architecture.name, count, len(revived), again, len(others), others_dead)


def _dead(diagnosis: Diagnosis) -> set[Unit]:
    """The dead units, and those that are NaN, should the training diverge."""
    return {(site.name, unit) for site in diagnosis.sites for units in (site.dead, site.nan) for unit in units.tolist()}


def _train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    targets: Sequence[Sequence[Tensor]],
    steps: range,
) -> None:
    """Train in train mode, each step on the next batch."""
    model.train()
    for step in steps:
        optimizer.zero_grad()
        outputs = tensors(model(batches[step % len(batches)]))
        wanted = targets[step % len(batches)]
        losses = [functional.mse_loss(output, target) for output, target in zip(outputs, wanted, strict=True)]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()


def table(results: Sequence[Result]) -> Iterator[str]:
    """A row per network, in Markdown, and one for all."""
    titles = ["network", "planted", "revived", *(f"dead again after {steps} steps" for steps in STEPS)]
    titles += ["other units", *(f"dead after {steps} steps" for steps in STEPS)]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    rows = [
        (each.planted, each.revived, *each.again.values(), each.others, *each.others_dead.values()) for each in results
    ]
    for name, row in zip((each.name for each in results), rows, strict=True):
        yield f"| {' | '.join([name, *map(str, row)])} |"
    yield f"| {' | '.join(['all', *(str(sum(column)) for column in zip(*rows, strict=True))])} |"


if __name__ == "__main__":
    main()

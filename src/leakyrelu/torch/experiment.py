"""Kills the units of a small network on real digits, cures it in several ways, trains it further, and compares.

- Data: the 1,797 handwritten digits of scikit-learn, 8 by 8 pixels from 0 to 16, not scaled; 500 are for the test.
- Network: 64-32-32-32-10, ReLU, as PyTorch initialises it.
- Killing: 5 epochs of an optimizer at a learning rate that is too large, in batches of 32.
- Curing: each cure starts from a copy of the same killed network; `revive`, `remove_dead` and `diagnose` see the
  training images.
- Training afterwards: 20 epochs of Adam at 0.001, with the same batches for all cures.

The seed decides the split, the weights and the batches.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from leakyrelu._shared.digits import load_digits
from leakyrelu._shared.extras import needs
from leakyrelu._shared.intervals import paired_difference
from leakyrelu._shared.progress import progress_bar
from leakyrelu.torch.diagnosis import diagnose
from leakyrelu.torch.removal import remove_dead
from leakyrelu.torch.replacement import replace_relu
from leakyrelu.torch.revival import Revival, revive

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["CURES", "KILLERS", "Outcome", "killed", "outcomes", "show"]

_SIZES = (64, 32, 32, 32, 10)
_KILLING_EPOCHS, _EPOCHS = 5, 20

KILLERS: dict[str, Callable[[Sequence[Tensor]], torch.optim.Optimizer]] = {
    "SGD at 0.3": lambda weights: torch.optim.SGD(weights, lr=0.3),
    "Adam at 0.1": lambda weights: torch.optim.Adam(weights, lr=0.1),
    "Adam at 0.05": lambda weights: torch.optim.Adam(weights, lr=0.05),
}

CURES: dict[str, Callable[[nn.Module, Tensor, torch.Generator], object]] = {
    "control": lambda *_: None,
    "replace_relu, 0.01": lambda model, *_: replace_relu(model, 0.01),
    "replace_relu, 0.1": lambda model, *_: replace_relu(model, 0.1),
    "replace_relu, 0.2": lambda model, *_: replace_relu(model, 0.2),
    "revive": lambda model, images, generator: revive(model, [images], generator=generator),
    "remove_dead": lambda model, images, _: remove_dead(model, [images]),
}


@dataclass(frozen=True)
class Outcome:
    """What became of one killed network: the fraction of units never above zero, and the accuracy on test images."""

    cure: str
    seed: int
    never_at_once: float
    never_at_the_end: float
    accuracy_at_once: float
    accuracy_at_the_end: float
    left_dead: int = 0  # units that `revive` left alone


@dataclass(frozen=True)
class Killed:
    """A network with dead units, and its data."""

    model: nn.Sequential
    images: Tensor
    labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    generator: torch.Generator

    def accuracy(self, model: nn.Module) -> float:
        """The fraction of test images that are recognised."""
        with torch.no_grad():
            return float((model(self.test_images).argmax(1) == self.test_labels).double().mean())


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: the network is too small for more, and on a busy processor several wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def killed(killer: str, seed: int) -> Killed:
    """Train a network until units die."""
    digits = load_digits()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(digits.images), generator=generator)
    images, labels = torch.from_numpy(digits.images)[order] * 16, torch.from_numpy(digits.labels)[order]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [layer for size in pairwise(_SIZES) for layer in (nn.Linear(*size), nn.ReLU())]
    model = nn.Sequential(*layers[:-1])
    _train(model, KILLERS[killer](list(model.parameters())), images[500:], labels[500:], _KILLING_EPOCHS, generator)
    return Killed(model, images[500:], labels[500:], images[:500], labels[:500], generator)


@_one_thread()
def outcomes(killer: str, seed: int, cures: Sequence[str] = tuple(CURES)) -> list[Outcome]:
    """Kill one network, and cure it in each way."""
    patient = killed(killer, seed)
    results = []
    for cure in cures:
        model = deepcopy(patient.model)
        generator = torch.Generator().manual_seed(seed)
        done = CURES[cure](model, patient.images, generator)
        never, accuracy = _never(model, patient), patient.accuracy(model)
        _train(model, torch.optim.Adam(model.parameters(), lr=1e-3), patient.images, patient.labels, _EPOCHS, generator)
        left = done.after.dead if isinstance(done, Revival) else 0
        results.append(Outcome(cure, seed, never, _never(model, patient), accuracy, patient.accuracy(model), left))
    return results


def _never(model: nn.Module, patient: Killed) -> float:
    diagnosis = diagnose(model, [patient.images])
    return sum(len(site.dead) + len(site.one_sided) for site in diagnosis.sites) / diagnosis.units


def _train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    epochs: int,
    generator: torch.Generator,
) -> None:
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=generator).split(32):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            functional.cross_entropy(model(images[batch]), labels[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def show(
    killer: str = "SGD at 0.3", seeds: Sequence[int] = tuple(range(10)), console: "Console | None" = None
) -> list[Outcome]:
    """Kill units, diagnose, revive and train further; show the figures beside a control that was not revived.

    Raises
    ------
    ImportError
        scikit-learn or rich is missing: ``pip install 'leakyrelu[torch,demo]'``.
    """
    with needs("leakyrelu[torch,demo]", "the demonstration"):
        from rich.console import Console
    console = Console() if console is None else console

    def say(*lines: object) -> None:
        for line in lines:
            console.print(str(line), markup=False, highlight=False, soft_wrap=True)

    say(f"Digits, 64-32-32-32-10, killed by {_KILLING_EPOCHS} epochs of {killer}. The first of {len(seeds)} networks:")
    patient = killed(killer, seeds[0])
    model = deepcopy(patient.model)
    revival = revive(model, [patient.images], generator=torch.Generator().manual_seed(seeds[0]))
    say(revival.before, "", revival, "")
    cures = ("control", "revive")
    results: list[Outcome] = []
    with progress_bar(f"Killing, reviving, training {len(seeds)} networks", console=console) as progress:
        for done, seed in enumerate(seeds, 1):
            results += outcomes(killer, seed, cures)
            progress(done, len(seeds))
    say("", *table(results), "", conclusion(results))
    return results


def table(results: Sequence[Outcome]) -> list[str]:
    """The table as Markdown: means and standard deviations over the seeds, in percent."""
    cures = list(dict.fromkeys(outcome.cure for outcome in results))
    fields = ("never_at_once", "never_at_the_end", "accuracy_at_once", "accuracy_at_the_end")
    lines = [
        f"| | units never above zero | after {_EPOCHS} epochs | accuracy | after {_EPOCHS} epochs | left dead |",
        "|---|---|---|---|---|---|",
    ]
    for cure in cures:
        rows = [outcome for outcome in results if outcome.cure == cure]
        cells = [[100 * getattr(row, field) for row in rows] for field in fields]
        spread = [f"{np.mean(cell):.1f} ± {np.std(cell, ddof=1) if len(cell) > 1 else 0:.1f} %" for cell in cells]
        lines.append(f"| {cure} | {' | '.join(spread)} | {sum(row.left_dead for row in rows)} |")
    return lines


def conclusion(results: Sequence[Outcome], cure: str = "revive") -> str:
    """The verdict on a cure beside the control; a difference counts only if it exceeds its 95 % interval."""
    control, cured = (
        np.array([100 * outcome.accuracy_at_the_end for outcome in results if outcome.cure == kind])
        for kind in ("control", cure)
    )
    mean, spread = paired_difference(control, cured)
    verdict = "no difference beyond that" if not abs(mean) > spread else "better" if mean > 0 else "worse"
    difference = f"{mean:+.1f} ± {spread:.1f} points (95 % confidence)"
    return f"Accuracy with {cure} minus that of the control, seed by seed: {difference}: {verdict}."

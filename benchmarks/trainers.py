"""How much longer training takes with the callbacks of `leakyrelu.lightning` and `leakyrelu.transformers`.

Trainings with and without the callback take turns, on one thread; the figures are medians of the processor's time per
step, which depends less on what else the machine does, and their ratios.
"""

import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch import Trainer as LightningTrainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from leakyrelu.lightning import DeadUnits
from leakyrelu.transformers import DeadUnitsCallback

STEPS = 20  # of each training
ROUNDS = 7


def lightning(callbacks: list[Any]) -> float:
    """Seconds per step of a small convolutional network on images of 32 x 32."""

    class Net(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = []
            for before, after in ((3, 32), (32, 64), (64, 64)):
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
            self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 10))

        def training_step(self, batch: Any, _: int) -> Any:
            loss = nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.01)

    class Clock(Callback):
        def on_train_start(self, *_: Any) -> None:
            self.began = time.process_time()

        def on_train_end(self, *_: Any) -> None:
            self.took = time.process_time() - self.began

    clock = Clock()
    data = DataLoader(TensorDataset(torch.randn(64 * STEPS, 3, 32, 32), torch.randint(10, (64 * STEPS,))), 64)
    with tempfile.TemporaryDirectory() as folder:
        trainer = LightningTrainer(
            accelerator="cpu",
            callbacks=[clock, *callbacks],
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            log_every_n_steps=10,
            max_epochs=1,
        )
        trainer.fit(Net(), data)
    return clock.took / STEPS


def transformers(callbacks: list[Any]) -> float:
    """Seconds per step of a BERT of two layers of 128 on texts of 64 tokens, a part of which is padding."""

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.process_time()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.took = time.process_time() - self.began

    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    model = BertForSequenceClassification(BertConfig(vocab_size=1000, **sizes))
    mask = (torch.arange(64) < torch.randint(16, 65, (16 * STEPS, 1))).long()
    ids = torch.randint(1, 1000, (16 * STEPS, 64)) * mask
    data = [{"input_ids": ids[i], "attention_mask": mask[i], "labels": i % 2} for i in range(len(ids))]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            dataloader_pin_memory=False,
            disable_tqdm=True,
            logging_steps=10,
            num_train_epochs=1,
            per_device_train_batch_size=16,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
        )
        Trainer(model, arguments, train_dataset=data, callbacks=[clock, *callbacks]).train()
    return clock.took / STEPS


def compared(name: str, train: Callable[[list[Any]], float], **callbacks: Callable[[], Any]) -> None:
    """Print the time per step without a callback, and with each of them."""
    kinds: dict[str, Callable[[], list[Any]]] = {"without": list}
    kinds |= {label: lambda make=make: [make()] for label, make in callbacks.items()}
    times: dict[str, list[float]] = {label: [] for label in kinds}
    for _ in range(ROUNDS):
        for label, make in kinds.items():
            times[label].append(train(make()))
    base = statistics.median(times["without"])
    for label, taken in times.items():
        middle = statistics.median(taken)
        print(f"{name:12} {label:16} {middle * 1e3:7.2f} ms per step  {middle / base:5.3f}", flush=True)


def main() -> None:
    """Compare both trainers."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    compared("Lightning", lightning, default=DeadUnits, every_tenth=lambda: DeadUnits(every=10))
    compared("Transformers", transformers, default=DeadUnitsCallback, every_tenth=lambda: DeadUnitsCallback(every=10))


if __name__ == "__main__":
    main()

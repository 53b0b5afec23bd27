"""DeadUnits counts what training steps call, whoever's Trainer runs them, and tells the trainer's own loggers."""

import csv
import pickle
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning.pytorch")
pytest.importorskip("pytorch_lightning")

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from leakyrelu.lightning import DeadUnits
from leakyrelu.torch import diagnose

DEAD = [1, 4]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*(isinstance.treespec, LeafSpec.|LeafSpec. is deprecated)"),
    pytest.mark.filterwarnings("ignore:.*GPU available|.*is smaller than the logging interval"),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step` but have no"),
    pytest.mark.filterwarnings("ignore:.*`dataloader_iter`"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists"),
    pytest.mark.filterwarnings("ignore:.*SwigPy.*|.*swigvarlink.*:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)


def module(base=LightningModule):
    class Net(base):
        """Calls activations in modules, in its step, and in a checkpointed part."""

        def __init__(self):
            super().__init__()
            self.first, self.part = nn.Linear(8, 6), nn.Sequential(nn.Linear(6, 5), nn.GELU())
            self.last = nn.Linear(5, 1)
            self.automatic_optimization = True
            self.checkpoints = False
            self.error, self.fails_at = None, None
            self.seen = []  # how often each unit of the first layer fired, counted by hand
            with torch.no_grad():
                self.first.bias[DEAD] = -1000

        def training_step(self, batch, index):
            if index == self.fails_at:
                raise self.error
            x, y = batch
            x = self.first(x)
            self.seen.append((len(x), (x > 0).sum(0)))
            x = functional.relu(x)
            x = checkpoint(self.part, x, use_reentrant=False) if self.checkpoints else self.part(x)
            loss = functional.mse_loss(self.last(x), y)
            if not self.automatic_optimization:
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            return loss

        def validation_step(self, batch, index):
            functional.relu(self.first(batch[0]))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.01)

    return Net()


def loader(n=48, batch=8):
    return DataLoader(TensorDataset(torch.randn(n, 8), torch.randn(n, 1)), batch)


def trainer(*callbacks, kind=Trainer, **options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    options = {"max_epochs": 2, "logger": False, "log_every_n_steps": 3, "accelerator": "cpu", **quiet, **options}
    return kind(callbacks=list(callbacks), **options)


def counted_by_hand(net, last=None):
    """Examples, and how often each unit fired, in the last steps."""
    seen = net.seen[-last:] if last else net.seen
    return sum(n for n, _ in seen), torch.stack([fired for _, fired in seen]).sum(0).tolist()


def counts(callback):
    site = next(site for site in callback.diagnosis().sites if site.name == "training_step.relu")
    return site.values, site.fired.tolist()


def has_traces(net):
    return (
        "training_step" in vars(net)
        or any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
        or torch.overrides._get_current_function_mode_stack()
    )


@pytest.mark.parametrize("library", ["lightning.pytorch", "pytorch_lightning"])
def test_it_counts_what_the_steps_call_for_either_library(library):
    library = import_module(library)
    net, callback = module(library.LightningModule), DeadUnits()
    trainer(callback, kind=library.Trainer).fit(net, loader(), loader())
    assert isinstance(callback, library.Callback)
    assert counts(callback) == counted_by_hand(net)
    diagnosis = callback.diagnosis()
    assert [(site.name, site.operation) for site in diagnosis.sites] == [
        ("training_step.relu", "relu"),
        ("part.1", "gelu"),
    ]
    assert (diagnosis.sites[0].dead.tolist(), diagnosis.examples, diagnosis.notes) == (DEAD, 96, ())
    assert not has_traces(net)


def test_it_counts_what_diagnose_counts():
    net, data, callback = module(), loader(), DeadUnits()
    net.configure_optimizers = lambda: torch.optim.SGD(net.parameters(), 0.0)  # the weights stay
    trainer(callback, max_epochs=1).fit(net, data)
    again = diagnose(net, data, forward=lambda model, batch: model.training_step(batch, 0))
    for one, other in zip(callback.diagnosis().sites, again.sites, strict=True):
        assert one.name.removeprefix("training_step.") == other.name
        assert (one.operation, one.examples, one.values) == (other.operation, other.examples, other.values)
        assert np.array_equal(one.fired, other.fired)
        assert np.array_equal(one.mean_output, other.mean_output)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 4},
        {"precision": "bf16-mixed"},
        {"num_sanity_val_steps": 2, "val_check_interval": 2},
        {"gradient_clip_val": 0.1},
        {"limit_train_batches": 3},
        {"profiler": "simple"},
    ],
)
@pytest.mark.parametrize("kind", ["automatic", "manual", "checkpointed", "manual, checkpointed"])
def test_all_ways_to_train_are_counted(kind, options):
    net, callback = module(), DeadUnits(every=1, window=4)
    net.automatic_optimization, net.checkpoints = "manual" not in kind, "checkpointed" in kind
    if "manual" in kind:  # Lightning refuses these then
        options = {key: options[key] for key in options.keys() - {"accumulate_grad_batches", "gradient_clip_val"}}
    trainer(callback, **options).fit(net, loader(), loader())
    full = len(net.seen) // 4 * 4
    del net.seen[full:]
    assert counts(callback) == counted_by_hand(net, last=4)
    assert {site.values for site in callback.diagnosis().sites} == {32}
    assert not has_traces(net)


@pytest.mark.parametrize("callbacks", [[DeadUnits(revive=0)], [DeadUnits(every=2, revive=6)]])
def test_training_stays_as_it_is(callbacks):
    trained = []
    for each in ([], callbacks):
        torch.manual_seed(0)
        net = module()
        net.last = nn.Sequential(nn.Dropout(0.5), net.last)
        trainer(*each).fit(net, DataLoader(TensorDataset(torch.randn(48, 8), torch.randn(48, 1)), 8, shuffle=True))
        trained.append(net.state_dict())
    assert all(torch.equal(one, other) for one, other in zip(*map(dict.values, trained), strict=True))


def test_every_second_step_is_counted():
    net, callback = module(), DeadUnits(every=2)
    trainer(callback).fit(net, loader())
    net.seen = net.seen[::2]
    assert counts(callback) == counted_by_hand(net)


def test_the_fractions_are_in_the_file_of_the_csv_logger(tmp_path):
    callback = DeadUnits(per_site=True)
    logger = CSVLogger(tmp_path)
    trainer(callback, logger=logger).fit(module(), loader(), loader())
    with open(f"{logger.log_dir}/metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [2, 5, 8, 11]
    assert [float(row["units/dead_fraction"]) for row in rows] == [pytest.approx(2 / 11)] * 4
    assert [float(row["units/dead_fraction/training_step.relu"]) for row in rows] == [pytest.approx(2 / 6)] * 4
    assert {f"units/{kind}_fraction" for kind in ("one_sided", "rare", "always_on", "dormant", "nan")} <= rows[0].keys()


def test_the_fractions_are_in_the_file_of_the_tensorboard_logger(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415  # it may be missing

    logger = TensorBoardLogger(tmp_path)
    trainer(DeadUnits(), logger=logger).fit(module(), loader())
    events = EventAccumulator(logger.log_dir).Reload()
    assert [event.value for event in events.Scalars("units/dead_fraction")] == [pytest.approx(2 / 11)] * 4
    assert not any("/dead_fraction/" in tag for tag in events.Tags()["scalars"])


@pytest.mark.parametrize("options", [{"accumulate_grad_batches": 2}, {"fast_dev_run": 2}, {"log_every_n_steps": 0}])
def test_it_reports_only_where_the_trainer_logs(options, monkeypatch):
    callback = DeadUnits()
    reports = []
    report = callback._watch.report
    monkeypatch.setattr(callback._watch, "report", lambda: reports.append(1) or report())
    trainer(callback, **options).fit(module(), loader(), loader())
    assert (
        len(reports) == {"accumulate_grad_batches": 2, "fast_dev_run": 2, "log_every_n_steps": 0}[next(iter(options))]
    )


def test_other_callbacks_can_monitor_the_fraction():
    stop = EarlyStopping("units/dead_fraction", stopping_threshold=0.5, check_on_train_epoch_end=True)
    net = module()
    used = trainer(DeadUnits(), stop, max_epochs=5)
    used.fit(net, loader())
    assert used.callback_metrics["units/dead_fraction"] == pytest.approx(2 / 11)
    assert used.current_epoch == 1  # 2 of 11 are below the threshold already


def test_training_stops_above_a_fraction():
    net, callback = module(), DeadUnits(stop_above=0.1, window=4)
    with pytest.warns(
        UserWarning, match=r"^the training stops: 2 of 11 units \(18.2%\) fired on none of the last 32 ex"
    ):
        trainer(callback, max_epochs=5, log_every_n_steps=1).fit(net, loader())
    assert len(net.seen) == 4  # nothing is judged before a window is full


def test_a_warning_is_given_once_and_again_after_it_was_better():
    net, callback = module(), DeadUnits(warn_above=0.1, window=2)
    bias = net.first.bias.data.clone()

    def step(batch, index, usual=net.training_step):
        net.first.bias.data = torch.full_like(bias, 100.0) if index in (2, 3) else bias.clone()
        return usual(batch, index)

    net.training_step = step
    with pytest.warns(UserWarning, match="units") as caught:
        trainer(callback, max_epochs=1, log_every_n_steps=1).fit(net, loader())
    told = [str(each.message) for each in caught if "warn_above=0.1" in str(each.message)]
    assert len(told) == 2
    assert vars(net)["training_step"] is step  # what was there before is there again


class StoppedError(Exception):
    """An error in a step."""


@pytest.mark.parametrize("error", [StoppedError(), KeyboardInterrupt()])
def test_after_an_error_nothing_is_left_and_what_was_counted_is_kept(error):
    net, callback = module(), DeadUnits()
    net.error, net.fails_at = error, 2
    with pytest.raises((StoppedError, SystemExit)):
        trainer(callback).fit(net, loader())
    assert not has_traces(net)
    assert counts(callback) == counted_by_hand(net)
    net.fails_at, net.seen = None, []
    trainer(callback).fit(net, loader())  # the same callback, in a second training
    assert counts(callback) == counted_by_hand(net)


def test_an_error_of_another_callback_leaves_nothing():
    class Failing(type(DeadUnits()).__mro__[1]):
        def on_train_epoch_end(self, *_):
            raise StoppedError

    net = module()
    with pytest.raises(StoppedError):
        trainer(DeadUnits(), Failing()).fit(net, loader())
    assert not has_traces(net)


def test_validating_and_testing_do_not_count():
    net, callback = module(), DeadUnits()
    net.test_step = net.validation_step
    used = trainer(callback)
    used.validate(net, loader(), verbose=False)
    with pytest.raises(RuntimeError, match="no training has begun yet"):
        callback.diagnosis()
    used.fit(net, loader())
    used.test(net, loader(), verbose=False)
    assert counts(callback) == counted_by_hand(net)


class Resumable:
    """Batches that go on where they were when a checkpoint was saved."""

    def __init__(self):
        self.batches, self.at = list(loader()), 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        self.at %= len(self)
        while self.at < len(self):
            self.at += 1
            yield self.batches[self.at - 1]

    def state_dict(self):
        return {"at": self.at % len(self)}

    def load_state_dict(self, state):
        self.at = state["at"]


@pytest.mark.parametrize("stopped", [1, 5, 6, 9, 12, 16])
def test_a_resumed_training_goes_on_with_its_counts(stopped, tmp_path):
    start = module().state_dict()

    def fit(resumed=None):
        torch.manual_seed(0)
        data, net, callback = Resumable(), module(), DeadUnits(every=2, window=3)
        net.load_state_dict(start)
        save = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1 if resumed is None else 0)
        used = trainer(callback, save, max_epochs=4, enable_checkpointing=True)
        used.fit(net, data, ckpt_path=resumed)
        return callback.diagnosis()

    whole = fit()
    assert whole.examples == 24
    resumed = fit(tmp_path / f"step={stopped}.ckpt")
    assert (whole.examples, whole.notes) == (resumed.examples, resumed.notes)
    for one, other in zip(whole.sites, resumed.sites, strict=True):
        for each in ("fired", "below", "maximum", "mean_output"):
            assert np.array_equal(getattr(one, each), getattr(other, each)), each


def test_counts_that_a_checkpoint_lacks_are_told_of(tmp_path):
    first = trainer(max_epochs=1)
    first.fit(module(), loader())
    first.save_checkpoint(tmp_path / "last.ckpt")
    callback = DeadUnits()
    trainer(callback).fit(module(), loader(), ckpt_path=tmp_path / "last.ckpt")
    assert callback.diagnosis().examples == 48
    assert callback.diagnosis().notes == (
        "the checkpoint holds no counts, so they begin where the training was resumed",
    )


def test_compiled_modules_are_refused():
    net = torch.compile(module(), backend="eager")
    with pytest.raises(TypeError, match="the LightningModule is compiled, so its activations cannot be seen"):
        trainer(DeadUnits()).fit(net, loader())
    net = module()
    net.part = torch.compile(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), backend="eager")
    with pytest.raises(
        TypeError, match=r"^part is compiled, .*; train it without torch\.compile, or without DeadUnits"
    ):
        trainer(DeadUnits()).fit(net, loader())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every must be at least 1, got 0"),
        ({"window": 2.5}, "window must be a positive integer, got 2.5"),
        ({"warn_above": "half"}, "warn_above must be a fraction of all units, from 0 to 1, or None, got half"),
        ({"stop_above": 50}, "stop_above must be a fraction of all units, from 0 to 1, or None, got 50"),
        ({"warn_above": -1}, "warn_above must be a fraction"),
        ({"revive": True}, "revive must be the number of passes to revive units on, such as 20, or 0, got True"),
        ({"mask": 1}, "mask must be the name of the mask in a batch"),
    ],
)
def test_wrong_options_are_refused_at_once(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        DeadUnits(**options)


def test_padding_does_not_count():
    class Tokens(LightningModule):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 6), nn.ReLU())

        def training_step(self, batch, index):
            return self.layers(batch["x"]).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    real = torch.arange(7) < torch.tensor([[2], [7], [5], [1]])
    data = [{"x": torch.randn(4, 7, 4), "attention_mask": real.long()}] * 3
    for mask in ("attention_mask", lambda batch: batch["attention_mask"]):
        callback = DeadUnits(mask=mask)
        trainer(callback, max_epochs=1).fit(Tokens(), DataLoader(data, batch_size=None))
        assert {site.values for site in callback.diagnosis().sites} == {45}
        assert callback.diagnosis().notes == ()


class Gan(LightningModule):
    """Two networks with an optimizer each, one of which sees the other's outputs."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.maker = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 8))
        self.judge = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 1))
        with torch.no_grad():
            self.maker[0].bias[DEAD] = -1000
            self.judge[0].bias[0] = -1000

    def training_step(self, batch, index):
        for network, optimizer in zip((self.maker, self.judge), self.optimizers(), strict=True):
            made = self.judge(self.maker(batch[0][:, :4]))
            optimizer.zero_grad()
            self.manual_backward(made.mean() if network is self.maker else -made.mean() + self.judge(batch[0]).mean())
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.Adam(each.parameters(), 1e-3) for each in (self.maker, self.judge)]


def test_a_gan_is_counted():
    net, callback = Gan(), DeadUnits()
    trainer(callback, max_epochs=1).fit(net, loader())
    found = {site.name: (site.values, site.dead.tolist()) for site in callback.diagnosis().sites}
    assert found == {"maker.1": (96, DEAD), "judge.1": (144, [0])}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_dead_units_are_revived_between_epochs(precision, tmp_path):
    net, callback = Gan(), DeadUnits(revive=6)
    logger = CSVLogger(tmp_path)
    trainer(callback, logger=logger, precision=precision).fit(net, loader())
    revived = callback.revival.revived
    assert (revived["maker.1"], revived["judge.1"]) == (tuple(DEAD), (0,))
    assert callback.revival.output_change < 1e-5
    assert callback.diagnosis().examples == 48  # a new window has begun
    assert not {0, *DEAD} & set(callback.diagnosis().sites[0].dead.tolist())
    with open(f"{logger.log_dir}/metrics.csv") as file:
        told = [float(row["units/revived"]) for row in csv.DictReader(file)]
    assert told == [0, 0, sum(map(len, revived.values())), 0]


def test_a_unit_whose_activation_the_step_calls_itself_is_not_revived_but_told_of():
    callback = DeadUnits(revive=6)
    trainer(callback).fit(module(), loader())
    assert callback.revival.revived == {}
    assert callback.diagnosis().dead == 2


def test_after_the_last_epoch_nothing_is_revived():
    net, callback = module(), DeadUnits(revive=6)
    trainer(callback, max_epochs=1).fit(net, loader())
    assert callback.revival is None
    assert callback.diagnosis().dead == 2


def test_a_copy_of_the_module_is_not_observed():
    import copy  # noqa: PLC0415

    class Copies(type(DeadUnits()).__mro__[1]):
        def on_train_epoch_end(self, used, net):
            copied = copy.deepcopy(net)
            copied.first(torch.randn(1000, 8))

    callback = DeadUnits()
    trainer(callback, Copies()).fit(module(), loader())
    assert callback.diagnosis().examples == 96


def test_a_callback_can_be_pickled_before_and_after_a_training():
    callback = pickle.loads(pickle.dumps(DeadUnits(every=2)))
    trainer(callback).fit(Gan(), loader())
    again = pickle.loads(pickle.dumps(callback))
    with pytest.raises(RuntimeError, match="no training has begun yet"):
        again.diagnosis()
    net = module()
    trainer(again).fit(net, loader())
    net.seen = net.seen[::2]
    assert counts(again) == counted_by_hand(net)


@pytest.mark.parametrize("takes", ["batch", "batch_idx", "iterator"])
def test_a_step_may_take_what_lightning_lets_it_take(takes):
    class Steps(LightningModule):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(8, 6), nn.ReLU())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    class Batch(Steps):
        def training_step(self, batch):
            return self.layers(batch[0]).mean()

    class Index(Steps):
        def training_step(self, batch, batch_idx):
            assert isinstance(batch_idx, int)
            return self.layers(batch[0]).mean()

    class Iterator(Steps):
        def training_step(self, dataloader_iter):
            batch, _, _ = next(dataloader_iter)
            return self.layers(batch[0]).mean()

    callback = DeadUnits()
    trainer(callback, max_epochs=1).fit({"batch": Batch, "batch_idx": Index, "iterator": Iterator}[takes](), loader())
    assert {site.values for site in callback.diagnosis().sites} == {48}


def test_a_training_without_activations_goes_on_and_it_is_told_once():
    class Linear(LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 1)

        def training_step(self, batch, index):
            return self.layer(batch[0]).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    used = trainer(DeadUnits())
    with pytest.warns(UserWarning, match="nothing to log on dead units: Linear called no activation") as told:
        used.fit(Linear(), loader())
    assert len([each for each in told if "nothing to log" in str(each.message)]) == 1
    assert used.global_step == 12


TWO_PROCESSES = """
import os, sys, torch
sys.path.insert(0, {folder!r})
from test_lightning import DeadUnits, Gan, TensorDataset, DataLoader, module, trainer
from lightning.pytorch.loggers import CSVLogger

if __name__ == "__main__":
    torch.manual_seed(0)
    net, callback = module(), DeadUnits(per_site=True, window=3)
    data = DataLoader(TensorDataset(torch.randn(48, 8), torch.randn(48, 1)), 8)
    logger = CSVLogger({out!r}, version="run")
    used = trainer(callback, strategy="ddp", devices=2, num_nodes=1, logger=logger, log_every_n_steps=1, max_epochs=1)
    used.fit(net, data)
    mine = torch.stack([fired for _, fired in net.seen]).sum(0)
    torch.distributed.all_reduce(mine)
    diagnosis = callback.diagnosis()
    site = next(site for site in diagnosis.sites if site.name == "training_step.relu")
    assert diagnosis.examples == site.values == 48, (diagnosis.examples, site.values)
    assert site.fired.tolist() == mine.tolist(), (site.fired, mine)
    assert diagnosis.notes == (), diagnosis.notes
    state = callback.state_dict()
    callback.load_state_dict(state)
    callback._watch.begin(net, step="training_step")
    again = callback.diagnosis()
    assert [each.fired.tolist() for each in again.sites] == [each.fired.tolist() for each in diagnosis.sites]
    assert again.examples == 48

    two = DeadUnits()
    trainer(two, strategy="ddp", devices=2, max_epochs=1).fit(Gan(), data)
    assert {{site.name: site.values for site in two.diagnosis().sites}} == {{"maker.1": 96, "judge.1": 144}}
    print("right", flush=True)
    torch.distributed.barrier()
    os._exit(0)  # the threads of gloo do not always end by themselves
"""


@pytest.mark.slow
def test_the_counts_of_two_processes_are_added_up(tmp_path):
    code = TWO_PROCESSES.format(folder=str(__import__("pathlib").Path(__file__).parent), out=str(tmp_path))
    script = tmp_path / "train.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("right") == 2
    rows = list(csv.DictReader((tmp_path / "lightning_logs/run/metrics.csv").read_text().splitlines()))
    assert float(rows[-1]["units/dead_fraction/training_step.relu"]) == pytest.approx(2 / 6)

"""DeadUnitsCallback counts real tokens while Hugging Face's Trainer trains, and all that it logs to sees the fractions."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    ViTConfig,
    ViTForImageClassification,
)

from leakyrelu.torch import Monitor, watching
from leakyrelu.transformers import DeadUnitsCallback

DEAD = [0, 1, 2]
FIRST = "bert.encoder.layer.0.intermediate.intermediate_act_fn"
ALL = {f"units/{kind}_fraction" for kind in ("dead", "one_sided", "rare", "always_on", "dormant", "nan")}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*SwigPy.*|.*swigvarlink.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*"),
]


class Texts(torch.utils.data.Dataset):
    """Texts of random tokens, of different lengths, padded to twelve tokens."""

    def __init__(self, n=32, keys=("input_ids", "attention_mask", "labels")):
        generator = torch.Generator().manual_seed(0)
        lengths = torch.randint(3, 13, (n, 1), generator=generator)
        mask = (torch.arange(12) < lengths).long()
        ids = torch.randint(1, 50, (n, 12), generator=generator) * mask
        self.data = {"input_ids": ids, "attention_mask": mask, "labels": torch.arange(n) % 2}
        self.keys = keys

    def __len__(self):
        return len(self.data["labels"])

    def __getitem__(self, i):
        return {key: self.data[key][i] for key in self.keys}


SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def bert(**options):
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=50, hidden_act="relu", **SIZES, **options))
    model.bert.encoder.layer[0].intermediate.dense.bias.data[DEAD] = -1000
    return model


def trainer(folder, *callbacks, model=None, data=None, **options):
    options = {
        "max_steps": 6,
        "per_device_train_batch_size": 8,
        "logging_steps": 2,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        **options,
    }
    arguments = TrainingArguments(str(folder), **options)
    data = data or Texts()
    return Trainer(model or bert(), arguments, train_dataset=data, eval_dataset=data, callbacks=list(callbacks))


class ByHand:
    """Counts what leaves the first activation for real tokens, by a hook of its own."""

    def __init__(self, model, masks=True):
        self.passes, self.mask = [], None
        model.register_forward_pre_hook(self.begin, with_kwargs=True)
        model.bert.encoder.layer[0].intermediate.register_forward_hook(self.count)
        self.masks = masks

    def begin(self, module, args, kwargs):
        self.mask = kwargs["attention_mask"].bool() if self.masks else torch.ones_like(kwargs["input_ids"]).bool()

    def count(self, module, args, output):
        if output.requires_grad and not torch._C._current_graph_task_id() > -1:  # not again in the backward pass
            real = output.detach()[self.mask]
            self.passes.append((len(real), (real > 0).sum(0)))

    def counts(self, last=None):
        passes = self.passes[-last:] if last else self.passes
        return sum(n for n, _ in passes), torch.stack([fired for _, fired in passes]).sum(0).tolist()


def counts(callback):
    site = next(site for site in callback.diagnosis().sites if site.name == FIRST)
    return site.values, site.fired.tolist()


def has_hooks(model):
    return any("leakyrelu" in str(hook) for m in model.modules() for hook in m._forward_pre_hooks.values())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_accumulation_steps": 2, "max_steps": 3},
        {"eval_strategy": "steps", "eval_steps": 2, "eval_on_start": True},
        {"bf16": True},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}},
        {"max_steps": -1, "num_train_epochs": 2},
        {"remove_unused_columns": False, "group_by_length": False},
        {"auto_find_batch_size": True},
    ],
)
def test_real_tokens_are_counted_however_it_is_trained(options, tmp_path):
    options = {key: value for key, value in options.items() if hasattr(TrainingArguments, key) or key in _fields()}
    model, callback = bert(), DeadUnitsCallback()
    by_hand = ByHand(model)
    trainer(tmp_path, callback, model=model, **options).train()
    assert counts(callback) == by_hand.counts()
    diagnosis = callback.diagnosis()
    assert (diagnosis.sites[0].dead.tolist(), diagnosis.notes) == (DEAD, ())
    assert {site.operation for site in diagnosis.sites} == {"relu"}
    assert not has_hooks(model)


def _fields():
    return TrainingArguments.__dataclass_fields__


def test_without_a_mask_all_tokens_are_counted(tmp_path):
    for data, mask in ((Texts(), None), (Texts(keys=("input_ids", "labels")), "attention_mask")):
        model, callback = bert(), DeadUnitsCallback(mask=mask)
        by_hand = ByHand(model, masks=False)
        trainer(tmp_path, callback, model=model, data=data).train()
        assert counts(callback) == by_hand.counts()
    assert callback.diagnosis().notes == ("the mask was None in at least one pass, so all values count there",)


def test_training_stays_as_it_is(tmp_path):
    trained = []
    for callbacks in ([], [DeadUnitsCallback()]):
        model = bert()
        trainer(tmp_path, *callbacks, model=model, max_steps=-1, num_train_epochs=2).train()
        trained.append(model.state_dict())
    assert all(torch.equal(one, other) for one, other in zip(*map(dict.values, trained), strict=True))


def test_a_window_and_every_second_pass(tmp_path):
    model, callback = bert(), DeadUnitsCallback(every=2, window=2)
    by_hand = ByHand(model)
    trainer(tmp_path, callback, model=model, max_steps=10).train()
    by_hand.passes = by_hand.passes[:8:2]
    assert counts(callback) == by_hand.counts(last=2)


def test_a_language_model_is_counted(tmp_path):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, activation_function="relu"))
    data = Texts(keys=("input_ids", "attention_mask"))
    data.data["labels"] = data.data["input_ids"]
    data.keys = ("input_ids", "attention_mask", "labels")
    fired = []
    model.transformer.h[1].mlp.act.register_forward_hook(lambda module, args, output: fired.append(output.detach() > 0))
    masks = []
    model.register_forward_pre_hook(lambda m, a, k: masks.append(k["attention_mask"].bool()), with_kwargs=True)
    callback = DeadUnitsCallback()
    trainer(tmp_path, callback, model=model, data=data).train()
    site = callback.diagnosis().sites[1]
    assert site.name == "transformer.h.1.mlp.act"
    assert site.values == sum(int(mask.sum()) for mask in masks)
    assert site.fired.tolist() == sum(each[mask].sum(0) for each, mask in zip(fired, masks, strict=True)).tolist()


def test_tokens_of_an_encoder_and_a_decoder_are_told_of(tmp_path):
    sizes = {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0))
    data = Texts(keys=("input_ids", "attention_mask", "labels"))
    data.data["labels"] = data.data["input_ids"]
    callback = DeadUnitsCallback()
    trainer(tmp_path, callback, model=model, data=data, max_steps=2).train()
    diagnosis = callback.diagnosis()
    assert {site.values for site in diagnosis.sites} == {2 * 8 * 12}
    assert "the model has an encoder and a decoder, with tokens of their own, so padding counts" in diagnosis.notes


class Spy(TrainerCallback):
    """Sees the logs."""

    def __init__(self):
        self.logs = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.logs.append(dict(logs))


def test_all_that_the_trainer_logs_to_sees_the_fractions(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415  # it may be missing

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    before, after, callback = Spy(), Spy(), DeadUnitsCallback(per_site=True)
    options = {"report_to": ["tensorboard"], "save_strategy": "steps", "save_steps": 6, "eval_strategy": "epoch"}
    used = trainer(tmp_path, before, callback, after, **options)
    used.train()
    dead = 3 / 48
    state = json.loads((tmp_path / "checkpoint-6/trainer_state.json").read_text())["log_history"]
    for name, logs in {
        "before": before.logs,
        "after": after.logs,
        "history": used.state.log_history,
        "file": state,
    }.items():
        of_training = [each for each in logs if "loss" in each]
        assert [each["units/dead_fraction"] for each in of_training] == [dead] * 3, name
        assert [each[f"units/dead_fraction/{FIRST}"] for each in of_training] == [3 / 24] * 3, name
        assert all(each.keys() >= ALL for each in of_training)
        assert not any("units/dead_fraction" in each for each in logs if "loss" not in each), name
    assert capsys.readouterr().out.count("'units/dead_fraction': '0.0625'") == 3
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [event.value for event in events.Scalars("train/units/dead_fraction")] == [pytest.approx(dead)] * 3


def test_a_callback_that_is_added_later_is_first_too(tmp_path):
    spy, callback = Spy(), DeadUnitsCallback()
    used = trainer(tmp_path, spy)
    used.add_callback(callback)
    used.train()
    assert spy.logs[0].keys() >= ALL
    assert used.callback_handler.callbacks.count(callback) == 1
    used.train()
    assert used.callback_handler.callbacks[0] is callback


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("stopped", [1, 4, 5, 8])
def test_a_resumed_training_goes_on_with_its_counts(stopped, elsewhere, tmp_path):
    options = {"max_steps": 10, "save_strategy": "steps", "save_steps": 1, "logging_steps": 3, "seed": 3}
    whole, resumed = DeadUnitsCallback(every=2, window=2), DeadUnitsCallback(every=2, window=2)
    trainer(tmp_path, whole, **options).train()
    checkpoint = tmp_path / f"checkpoint-{stopped}"
    if elsewhere:
        checkpoint = checkpoint.rename(tmp_path / "mine")
    folder = tmp_path / "other" if elsewhere else tmp_path
    trainer(folder, resumed, **options, model=bert()).train(resume_from_checkpoint=str(checkpoint))
    assert resumed.diagnosis().notes == whole.diagnosis().notes == ()
    for one, other in zip(whole.diagnosis().sites, resumed.diagnosis().sites, strict=True):
        assert (one.name, one.values, one.examples) == (other.name, other.values, other.examples)
        for each in ("fired", "below", "maximum", "mean_output"):
            assert np.array_equal(getattr(one, each), getattr(other, each)), each


def test_counts_that_a_checkpoint_lacks_are_told_of(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2}
    trainer(tmp_path, **options).train()
    callback = DeadUnitsCallback()
    trainer(tmp_path, callback, **options).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    (note,) = callback.diagnosis().notes
    assert note.endswith("checkpoint-2/dead_units.pt is missing, so the counts begin where the training was resumed")
    assert callback.diagnosis().examples == 32


class Failing(Texts):
    """Fails when the fifth batch is made."""

    def __init__(self, error):
        super().__init__()
        self.error, self.left = error, 33

    def __getitem__(self, i):
        self.left -= 1
        if not self.left:
            raise self.error
        return super().__getitem__(i)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_after_an_error_nothing_counts_and_the_hooks_leave_when_the_model_is_called(error, tmp_path):
    model, callback = bert(), DeadUnitsCallback()
    used = trainer(tmp_path, callback, model=model, data=Failing(error))
    with pytest.raises(error):
        used.train()
    assert callback.diagnosis().examples == 32
    for part in (model, model.bert):
        part(**{key: Texts()[:4][key] for key in ("input_ids", "attention_mask")})
        assert not has_hooks(model)
    assert callback.diagnosis().examples == 32
    assert not torch.overrides._get_current_function_mode_stack()
    used.train()  # begins anew
    assert callback.diagnosis().examples == 48


def test_after_an_error_the_hooks_leave_with_the_trainer(tmp_path):
    model = bert()
    used = trainer(tmp_path, DeadUnitsCallback(), model=model, data=Failing(ZeroDivisionError))
    try:
        used.train()
    except ZeroDivisionError:
        assert has_hooks(model)
    del used
    gc.collect()
    assert not has_hooks(model)


def test_training_stops_above_a_fraction(tmp_path):
    callback = DeadUnitsCallback(stop_above=0.05, window=4)
    used = trainer(tmp_path, callback, max_steps=20)
    with pytest.warns(
        UserWarning, match=r"the training stops: 3 of 48 units \(6.2%\) fired on none of the last 32 exam"
    ):
        used.train()
    assert used.state.global_step == 4


def test_a_warning_is_given_above_a_fraction(tmp_path):
    with pytest.warns(UserWarning, match=r"which is more than warn_above=0.05$") as told:
        trainer(tmp_path, DeadUnitsCallback(warn_above=0.05, window=2)).train()
    assert len([each for each in told if "warn_above" in str(each.message)]) == 1


def test_compiled_models_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r"^the model is compiled \(torch_compile=True"):
        trainer(tmp_path, DeadUnitsCallback(), torch_compile=True, torch_compile_backend="eager").train()
    model = bert()
    model.compile(backend="eager")
    with pytest.raises(TypeError, match="the model is compiled"):
        trainer(tmp_path, DeadUnitsCallback(), model=model).train()


def test_a_model_that_accelerate_compiles_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    with pytest.raises(TypeError, match="or Accelerate's dynamo_backend"):
        trainer(tmp_path, DeadUnitsCallback()).train()


def test_replicas_in_threads_are_refused(tmp_path):
    class OnTwoDevices(Trainer):
        def _inner_training_loop(self, *args, **kwargs):
            self.model_wrapped = nn.DataParallel(self.model)
            self.model_wrapped.device_ids = [0, 1]  # as on a machine with two GPUs
            self.callback_handler.on_train_begin(self.args, self.state, self.control)

    arguments = TrainingArguments(str(tmp_path), report_to=[], use_cpu=True)
    with pytest.raises(TypeError, match="the replicas of DataParallel cannot be seen; use DistributedDataParallel"):
        OnTwoDevices(bert(), arguments, train_dataset=Texts(), callbacks=[DeadUnitsCallback()]).train()


def test_reviving_in_several_processes_is_refused(tmp_path, monkeypatch):
    for name, value in (("is_initialized", True), ("get_world_size", 2), ("get_rank", 0)):
        monkeypatch.setattr(watching.distributed, name, lambda value=value: value)
    with pytest.raises(ValueError, match="revive works in a training of one process; give revive=0 here"):
        watching.Watch(**OPTIONS, revive=4).begin(bert())


OPTIONS = {"every": 1, "window": 9, "mask": None, "per_site": False, "warn_above": None, "stop_above": None}


def test_activations_that_are_computed_by_hand_are_told_of(tmp_path):
    sizes = {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2}
    model = GPT2LMHeadModel(GPT2Config(**sizes, activation_function="gelu_new"))
    data = Texts(keys=("input_ids", "attention_mask", "labels"))
    data.data["labels"] = data.data["input_ids"]
    callback = DeadUnitsCallback()
    used = trainer(tmp_path, callback, model=model, data=data)
    with pytest.warns(UserWarning, match="nothing to log on dead units: GPT2LMHeadModel called no activation") as told:
        used.train()
    note = "NewGELUActivation (transformer.h.0.mlp.act and 1 more) computes its activation by hand"
    assert len([each for each in told if note in str(each.message)]) == 1
    assert used.state.global_step == 6
    model.transformer.h[1].mlp.act = nn.ReLU()
    trainer(tmp_path, callback, model=model, data=data).train()
    assert [site.name for site in callback.diagnosis().sites] == ["transformer.h.1.mlp.act"]
    (note,) = callback.diagnosis().notes
    assert note.startswith("NewGELUActivation (transformer.h.0.mlp.act) computes its activation by hand")


def test_dead_units_are_revived_between_epochs(tmp_path):
    model, callback = bert(), DeadUnitsCallback(revive=4)
    used = trainer(tmp_path, callback, model=model, max_steps=-1, num_train_epochs=2, bf16=True)
    used.train()
    assert callback.revival.revived == {FIRST: tuple(DEAD)}
    assert callback.revival.output_change < 1e-5
    assert callback.diagnosis().dead == 0
    assert sum(each.get("units/revived", 0) for each in used.state.log_history) == 3


def test_images_have_no_padding_and_no_note_on_a_mask(tmp_path):
    model = ViTForImageClassification(ViTConfig(hidden_act="relu", image_size=8, patch_size=4, **SIZES))
    data = [{"pixel_values": torch.randn(3, 8, 8), "labels": i % 2} for i in range(16)]
    callback = DeadUnitsCallback()
    trainer(tmp_path, callback, model=model, data=data, max_steps=2).train()
    diagnosis = callback.diagnosis()
    assert diagnosis.notes == ()
    assert [site.values for site in diagnosis.sites] == [16 * 5] * 2


def test_a_model_of_ones_own_without_a_mask(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))

        def forward(self, x):
            return {"loss": self.layers(x).square().mean()}

    callback = DeadUnitsCallback()
    data = [{"x": torch.randn(4)} for _ in range(16)]
    trainer(tmp_path, callback, model=Net(), data=data, max_steps=2).train()
    assert (callback.diagnosis().examples, callback.diagnosis().notes) == (16, ())


def test_a_wrapper_that_passes_on_all_arguments(tmp_path):
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = bert()

        def forward(self, *args, **kwargs):
            return self.inner(*args, **kwargs)

    model, callback = Wrapper(), DeadUnitsCallback()
    by_hand = ByHand(model.inner)
    trainer(tmp_path, callback, model=model, remove_unused_columns=False).train()
    site = callback.diagnosis().sites[0]
    assert site.name == f"inner.{FIRST}"
    assert (site.values, site.fired.tolist()) == by_hand.counts()


def test_before_any_training():
    with pytest.raises(RuntimeError, match="no training has begun yet, so nothing was counted; let the trainer"):
        DeadUnitsCallback().diagnosis()


ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "silu": "silu",
    "leaky_relu": "leaky_relu",
    "relu6": "relu6",
    "mish": None,
    "gelu_python": None,
    "gelu_new": None,
    "quick_gelu": None,
    "relu2": "relu",
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_which_activations_of_the_registry_are_seen(name):
    from transformers.activations import ACT2FN  # noqa: PLC0415

    model = nn.Sequential(nn.Linear(4, 6), ACT2FN[name])
    with Monitor(model) as monitor:
        model(torch.randn(8, 4))
    if ACTIVATIONS[name] is None:
        with pytest.raises(ValueError, match="called no activation that is known"):
            monitor.diagnosis()
    else:
        assert [site.operation for site in monitor.diagnosis().sites] == [ACTIVATIONS[name]]


TWO_PROCESSES = """
import os, sys, torch
sys.path.insert(0, {folder!r})
from test_transformers import ByHand, DeadUnitsCallback, bert, counts, trainer

model, callback = bert(), DeadUnitsCallback(window=3)
by_hand = ByHand(model)
options = dict(save_strategy="steps", save_steps=2, ddp_backend="gloo", per_device_train_batch_size=4)
trainer({out!r}, callback, model=model, max_steps=3, **options).train()
values, fired = by_hand.counts()
both = torch.tensor([values, *fired])
torch.distributed.all_reduce(both)
assert counts(callback) == (both[0].item(), both[1:].tolist()), (counts(callback), both)
assert callback.diagnosis().examples == 24

resumed = DeadUnitsCallback(window=3)
trainer({out!r}, resumed, max_steps=3, **options).train(resume_from_checkpoint={out!r} + "/checkpoint-2")
assert counts(resumed) == counts(callback), (counts(resumed), counts(callback))
print("right", flush=True)
torch.distributed.barrier()
os._exit(0)  # the threads of gloo do not always end by themselves
"""


@pytest.mark.slow
def test_the_counts_of_two_processes_are_added_up(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TWO_PROCESSES.format(folder=str(Path(__file__).parent), out=str(tmp_path / "out")))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("right") == 2

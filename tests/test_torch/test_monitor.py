"""Monitor counts units while a model trains: all passes or some, each once, on all ranks; training is not affected."""

import copy
import io
import os
import pickle
import socket
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from leakyrelu.torch import Monitor, diagnose, replace_relu

DEAD = [1, 4]


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)


def mlp():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 1))
    with torch.no_grad():
        model[0].bias.fill_(1)
        model[0].bias[DEAD] = -1000
    return model


def rows(n=10):
    return torch.randn(n, 4)


def seen(monitor):
    """Values and dead units of each site."""
    return {site.name: (site.values, site.dead.tolist()) for site in monitor.diagnosis().sites}


def modes():
    return torch.overrides._get_current_function_mode_stack()


def has_hooks(model):
    return any(value for m in model.modules() for key, value in vars(m).items() if "hooks" in key)


def test_training_is_observed_and_stays_as_it_is():
    models = [mlp(), None]
    models[1] = copy.deepcopy(models[0])
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    monitor = Monitor(models[0])
    with monitor:
        for _ in range(5):
            x = rows()
            for model, optimizer in zip(models, optimizers, strict=True):
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()
    assert seen(monitor) == {"1": (50, DEAD), "3": (50, [])}
    assert monitor.diagnosis().examples == 50
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one.grad, other.grad)


def test_it_counts_what_diagnose_counts():
    model = mlp().eval()
    batches = [rows(), rows(7)]
    with Monitor(model) as monitor:
        for x in batches:
            model(x)
    for one, other in zip(monitor.diagnosis().sites, diagnose(model, batches).sites, strict=True):
        assert (one.name, one.operation, one.examples, one.values) == (
            other.name,
            other.operation,
            other.examples,
            other.values,
        )
        for each in ("fired", "below", "maximum", "mean_output"):
            assert np.array_equal(getattr(one, each), getattr(other, each))


def test_validation_without_gradients_does_not_count():
    model = mlp()
    with Monitor(model) as monitor:
        model(rows())
        with torch.no_grad():
            model(rows(1000))
        with torch.inference_mode():
            model(rows(1000))
        diagnose(model, [rows(1000)])
    assert monitor.diagnosis().examples == 10


def test_every_third_pass_can_be_observed():
    model = mlp()
    with Monitor(model, every=3) as monitor:
        for n in range(1, 8):
            model(rows(n))
    assert seen(monitor) == {"1": (1 + 4 + 7, DEAD), "3": (12, [])}


def test_a_pass_is_observed_as_a_whole_or_not_at_all():
    model = nn.Sequential(mlp(), nn.ReLU())
    with Monitor(model, every=2) as monitor:
        for _ in range(4):
            model(rows())
    assert {values for values, _ in seen(monitor).values()} == {20}


def test_a_diagnosis_covers_the_last_full_window():
    model = mlp()
    with Monitor(model, window=3) as monitor:
        examples = []
        for n in range(1, 9):
            model(rows(n))
            examples.append(monitor.diagnosis().examples)
    assert examples == [1, 3, 6, 6, 6, 15, 15, 15]  # before the first window is full, what has been seen so far


def test_a_unit_that_died_is_seen_in_the_next_window():
    model = mlp()
    with Monitor(model, window=2) as monitor:
        for bias in (1.0, 1.0, -1000.0, -1000.0):
            model[0].bias.data.fill_(bias)
            model(rows(50))
            dead = monitor.diagnosis().dead
        assert dead == 6
        monitor.reset()
        with pytest.raises(ValueError, match="no pass was observed yet"):
            monitor.diagnosis()
        model(rows())
    assert monitor.diagnosis().examples == 10


@pytest.mark.parametrize("name", ["every", "window"])
@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_every_and_window_are_positive_integers(name, wrong, error):
    with pytest.raises(error, match=f"^{name} must be "):
        Monitor(mlp(), **{name: wrong})


def test_diagnoses_do_not_change_when_the_training_goes_on():
    model = mlp()
    with Monitor(model) as monitor:
        model(rows())
        before = monitor.diagnosis()
        fired = [site.fired.copy() for site in before.sites]
        model(rows())
    assert all(map(np.array_equal, fired, (site.fired for site in before.sites)))
    assert before.examples == 10


def test_gradient_accumulation_counts_each_pass():
    model = mlp()
    with Monitor(model) as monitor:
        for _ in range(3):
            model(rows()).sum().backward()
    assert monitor.diagnosis().examples == 30


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_checkpointing_computes_again_is_not_counted_again(reentrant):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.part = nn.Linear(4, 4), mlp()

        def forward(self, x):
            return functional.relu(checkpoint(self.part, self.first(x), use_reentrant=reentrant))

    model = Checkpointed()
    with Monitor(model) as monitor:
        for _ in range(2):
            model(rows()).sum().backward()
    assert {name: values for name, (values, _) in seen(monitor).items()} == {"part.1": 20, "part.3": 20, "relu": 20}
    assert not monitor._capture._stack


def test_gradients_taken_within_a_pass():
    class Energy(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = mlp()

        def forward(self, x):
            x = x.requires_grad_()
            (slope,) = torch.autograd.grad(self.part(x).sum(), x, create_graph=True)
            return slope

    model = Energy()
    with Monitor(model) as monitor:
        model(rows()).sum().backward()
    assert seen(monitor) == {"part.1": (10, DEAD), "part.3": (10, [])}


def test_a_part_that_is_called_by_itself_is_a_pass():
    model = nn.ModuleDict({"encoder": mlp(), "decoder": mlp()})
    with Monitor(model, every=2, window=2) as monitor:
        for _ in range(4):
            model["decoder"](model["encoder"](rows()).expand(-1, 4)).sum().backward()
    names = ("encoder.1", "encoder.3", "decoder.1", "decoder.3")
    assert {name: values for name, (values, _) in seen(monitor).items()} == dict.fromkeys(names, 20)
    assert monitor.diagnosis().examples == 20


def test_attached_twice_it_counts_once():
    model = mlp()
    monitor = Monitor(model).attach().attach()
    with monitor:
        model(rows())
    assert monitor.diagnosis().examples == 10
    assert not has_hooks(model)


def test_detached_it_counts_no_more_and_keeps_what_it_has():
    model = mlp()
    monitor = Monitor(model).attach()
    model(rows())
    monitor.detach()
    monitor.detach()
    assert not has_hooks(model)
    model(rows())
    assert monitor.diagnosis().examples == 10
    monitor.attach()
    model(rows())
    monitor.detach()
    assert monitor.diagnosis().examples == 20


def test_two_monitors_of_one_model():
    model = mlp()
    with Monitor(model) as one, Monitor(model[:2], every=2) as other:
        for _ in range(4):
            model(rows())
    assert (one.diagnosis().examples, other.diagnosis().examples) == (40, 20)
    assert not modes()


def test_before_any_pass():
    with Monitor(mlp()) as monitor, pytest.raises(ValueError, match=r"^no pass was observed yet: attach the monitor"):
        monitor.scalars()


def test_a_model_without_activations():
    model = nn.Linear(4, 4)
    with Monitor(model) as monitor:
        model(rows())
        with pytest.raises(ValueError, match=r"^Linear called no activation that is known"):
            monitor.diagnosis()


class Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.error = None
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(x)
        if self.error:
            raise self.error
        return x


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_after_an_error_in_the_model_the_next_pass_is_a_pass(error):
    model = nn.Sequential(Failing(), nn.ReLU())
    monitor = Monitor(model).attach()
    model(rows())
    model[0].error = error
    with pytest.raises(error):
        model(rows())
    if error is not KeyboardInterrupt:
        assert not modes()
    model[0].error = None
    model(rows())
    assert not modes()
    monitor.detach()
    assert {name: values for name, (values, _) in seen(monitor).items()} == {"0.relu": 30, "1": 20}
    assert monitor.diagnosis().examples == 30


def test_detached_after_an_interruption_nothing_is_left():
    model = nn.Sequential(Failing())
    model[0].error = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), Monitor(model):
        model(rows())
    assert not modes()
    assert not has_hooks(model)


def test_a_module_that_calls_itself_is_one_pass():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x, again=True):
            x = functional.relu(self.fc(x))
            return self(x, again=False) if again else x

    model = Twice()
    with Monitor(model) as monitor:
        model(rows())
        model(rows())
    assert {name: values for name, (values, _) in seen(monitor).items()} == {"relu": 20, "relu:2": 20}
    assert monitor.diagnosis().examples == 20


def test_other_threads_are_left_alone():
    model = nn.Sequential(Failing(), nn.ReLU())
    errors = []

    def evaluate():
        try:
            with torch.no_grad():
                model(rows(1000))
        except RuntimeError as error:
            errors.append(error)

    class Waiting(nn.Module):
        def forward(self, x):
            thread = threading.Thread(target=evaluate)
            thread.start()
            thread.join()
            return x

    whole = nn.Sequential(mlp(), Waiting(), model)
    with Monitor(whole) as monitor:
        whole(rows())
    assert not errors
    assert {values for values, _ in seen(monitor).values()} == {10}
    assert not modes()


def test_modules_that_are_added_later_have_their_own_sites():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with Monitor(model) as monitor:
        model(torch.randn(8, 4))
        replace_relu(model)
        model(torch.randn(5, 4))
        model[1] = nn.GELU()
        model(torch.randn(3, 4))
    sites = [(site.name, site.operation, site.examples) for site in monitor.diagnosis().sites]
    assert sites == [("1", "relu", 8), ("1", "leaky_relu", 5), ("gelu", "gelu", 3)]
    assert monitor.diagnosis().examples == 16
    assert not any(module._forward_hooks for module in model)


def test_a_module_that_is_not_in_the_model_is_named_by_its_class():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    taken = nn.Sequential(model[0], model[1])
    with Monitor(model) as monitor:
        replace_relu(taken)  # the new module takes over the hooks, but is not in `model`
        taken(torch.randn(8, 4))
    assert [site.name for site in monitor.diagnosis().sites] == ["LeakyReLU"]


def test_copies_of_the_model_are_not_observed_and_can_be_saved():
    model = mlp()
    with Monitor(model) as monitor:
        model(rows())
        copied = copy.deepcopy(model)
        copied(rows())
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        torch.load(file, weights_only=False)(rows())
        pickle.loads(pickle.dumps(copied))(rows())
        model(rows())
    assert monitor.diagnosis().examples == 20
    assert not modes()


def test_outputs_are_left_without_attributes():
    model, x = nn.Sequential(mlp(), nn.ReLU()), rows()
    with Monitor(model):
        y = model(x)
    assert not vars(y)
    assert not vars(x)
    assert not any(vars(parameter) for parameter in model.parameters())


def test_a_traced_model_is_traced_without_the_counting():
    model = mlp()
    with warnings.catch_warnings(), Monitor(model) as monitor:
        warnings.simplefilter("ignore")  # it is deprecated
        traced = torch.jit.trace(model, rows())
        model(rows())
    assert "gt" not in str(traced.inlined_graph)
    assert monitor.diagnosis().examples == 10


def test_compiled_models_are_refused():
    in_place, part = mlp(), nn.Sequential(torch.compile(mlp(), backend="eager"))
    in_place.compile(backend="eager")
    for model, name in [(torch.compile(mlp(), backend="eager"), "the model"), (in_place, "the model"), (part, "0")]:
        with pytest.raises(TypeError, match=rf"^{name} is compiled, .*call diagnose every so often"):
            Monitor(model)


def test_replicas_in_threads_are_refused():
    model = nn.DataParallel(mlp())
    with Monitor(model) as monitor:
        model(rows())
    assert seen(monitor) == {"1": (10, DEAD), "3": (10, [])}
    model.device_ids = [0, 1]  # as on a machine with two GPUs
    with pytest.raises(TypeError, match="the replicas of DataParallel cannot be seen; use DistributedDataParallel"):
        Monitor(model)


def test_what_is_no_model():
    with pytest.raises(TypeError, match=r"^model must be a torch.nn.Module, got list$"):
        Monitor([mlp()])


def test_scalars_are_plain_numbers_for_any_logger():
    model = mlp()
    with Monitor(model) as monitor:
        model(rows())
    scalars = monitor.scalars()
    assert {type(value) for value in scalars.values()} == {float}
    assert scalars["units/dead_fraction"] == 2 / 11
    assert scalars["units/dead_fraction/1"] == 2 / 6
    assert scalars["units/dead_fraction/3"] == 0
    kinds = {name.removeprefix("units/") for name in scalars if name.count("/") == 1}
    assert kinds == {f"{kind}_fraction" for kind in ("dead", "one_sided", "rare", "always_on", "dormant", "nan")}


def test_scalars_go_to_tensorboard(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard", exc_type=ImportError)
    model = mlp()
    with Monitor(model) as monitor, tensorboard.SummaryWriter(tmp_path) as writer:
        for step in range(3):
            model(rows())
            for name, value in monitor.scalars().items():
                writer.add_scalar(name, value, step)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415  # it may be missing

    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.value for event in events.Scalars("units/dead_fraction")] == [pytest.approx(2 / 11)] * 3


def test_memory_does_not_grow_with_the_number_of_passes():
    model = mlp()
    stored = []
    with Monitor(model, window=4) as monitor:
        for _ in range(9):
            model(rows()).sum().backward()
            tensors = [
                v
                for site in monitor._counts._sites.values()
                for v in vars(site).values()
                if isinstance(v, torch.Tensor)
            ]
            stored.append(sum(tensor.numel() for tensor in tensors))
    assert stored == [4 * 11] * 9
    assert monitor._capture._mode is None


RANK = """
import os
import sys
import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from leakyrelu.torch import Monitor, diagnose, replace_relu

torch.set_num_threads(1)
rank, port = map(int, sys.argv[1:])
distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
data = torch.randn(30, 4)
(whole,) = diagnose(model, [data]).sites
mine = data[:20] if rank == 0 else data[20:]
wrapped = DistributedDataParallel(model)
with Monitor(wrapped) as monitor:
    for x in mine.chunk(2):
        wrapped(x).sum().backward()
diagnosis = monitor.diagnosis()
(site,) = diagnosis.sites
assert (site.name, diagnosis.examples, site.examples, site.values) == ("1", 30, 30, 30), diagnosis
assert site.fired.tolist() == whole.fired.tolist()
assert np.allclose(site.maximum, whole.maximum) and site.below.tolist() == whole.below.tolist()
assert np.allclose(site.mean_output, whole.mean_output)
assert monitor.scalars()["units/dead_fraction"] == len(whole.dead) / 6
monitor.reset()
if rank == 0:
    monitor.attach()
    wrapped.module(mine)
    monitor.detach()
assert monitor.diagnosis().examples == 20  # the other rank saw nothing
monitor.reset()
try:
    monitor.diagnosis()
except ValueError as error:
    assert "no pass was observed yet" in str(error)
else:
    raise AssertionError
distributed.barrier()
print("as of one process", flush=True)
os._exit(0)  # the threads of gloo do not always end by themselves
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="PyTorch was built without torch.distributed")
def test_ranks_are_counted_together():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    try:
        for rank in ranks:
            output, errors = rank.communicate(timeout=60)
            assert (rank.returncode, output.strip()) == (0, "as of one process"), errors
    finally:
        for rank in ranks:
            rank.kill()


def test_a_model_wrapped_for_distributed_training_is_diagnosed_like_the_one_within():
    class Alone(DistributedDataParallel):
        def __init__(self, module):
            nn.Module.__init__(self)
            self.module = module

        def forward(self, *_):
            raise AssertionError

    assert [site.name for site in diagnose(Alone(mlp()), [rows()]).sites] == ["1", "3"]

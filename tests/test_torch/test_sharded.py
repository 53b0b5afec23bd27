"""Models that are wrapped, sharded or fused: the same sites and counts as without, or a note, or a refusal in time."""

import copy
import inspect
import json
import os
import re
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from leakyrelu.torch import Monitor, diagnose, revive
from leakyrelu.torch.capture import paths
from leakyrelu.torch.sharding import Layout
from leakyrelu.units.layout import Part


def net():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[0].bias[[1, 4]] = -100  # where two ranks share the units, each has a dead one
        model[2].bias[[0, 7]] = -100
    return model


def data():
    return torch.randn(64, 4, generator=torch.Generator().manual_seed(5))


def counts(diagnosis):
    keys = "name", "examples", "values", "fired", "below", "maximum", "mean_output"
    sites = [[getattr(site, key) for key in keys] for site in diagnosis.sites]
    listed = [[each.tolist() if hasattr(each, "tolist") else each for each in site] for site in sites]
    return {"examples": diagnosis.examples, "notes": list(diagnosis.notes), "sites": listed}


def assert_same(one, other, times=1):
    """The counts are the same, of so many times as many examples; sums may be rounded otherwise."""
    assert one["examples"] == times * other["examples"]
    assert not one["notes"]
    for a, b in zip(one["sites"], other["sites"], strict=True):
        assert (a[0], a[1], a[2], a[3], a[4]) == (b[0], times * b[1], times * b[2], [times * n for n in b[3]], b[4])
        assert np.allclose(a[5:], b[5:], atol=1e-5)


# Two ranks


RANKS = """
import json
import os
import sys
import warnings

warnings.simplefilter("ignore")
import torch
from torch import distributed, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel
from leakyrelu.torch import Monitor, diagnose, revive

torch.set_num_threads(1)
distributed.init_process_group("gloo", init_method=sys.argv[2], rank=int(sys.argv[1]), world_size=2)
mesh = init_device_mesh("cpu", (2,))
both = init_device_mesh("cpu", (1, 2), mesh_dim_names=("data", "units"))


def fsdp(model, **options):
    return FullyShardedDataParallel(model, device_id=torch.device("cpu"), **options)


def parts_of_fsdp(**options):
    model = net()
    model[0] = fsdp(model[0], **options)
    return fsdp(model, **options)


def parts_of_fsdp2():
    model = net()
    for layer in (model[0], model[2]):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def with_checkpoints():
    model = net()
    model[1], model[2] = checkpoint_wrapper(model[1]), checkpoint_wrapper(model[2])
    return model


def tensor_parallel(model, mesh=mesh, path="", **options):
    plan = {f"{path}0": ColwiseParallel(**options), f"{path}2": RowwiseParallel(**options)}
    if options:
        plan[f"{path}4"] = ColwiseParallel(output_layouts=Replicate())
    return parallelize_module(model, mesh, plan)


def sequence_parallel():
    # Each rank has the values of some rows, and the layers in between gather them.
    model = nn.Sequential(nn.Identity(), *net())
    plan = {
        "0": SequenceParallel(sequence_dim=0, use_local_output=False),
        "1": ColwiseParallel(input_layouts=Shard(0), output_layouts=Shard(0), use_local_output=False),
        "3": ColwiseParallel(input_layouts=Shard(0), output_layouts=Shard(0), use_local_output=False),
        "5": ColwiseParallel(input_layouts=Shard(0), output_layouts=Replicate()),
    }
    return parallelize_module(model, mesh, plan)


def data_parallel_by_dtensor():
    return distribute_module(
        net(),
        mesh,
        input_fn=lambda _, inputs, mesh: (distribute_tensor(inputs[0], mesh, [Shard(0)]),),
        output_fn=lambda _, output, __: output.full_tensor(),
    )


def rows_out():
    return parallelize_module(net(), mesh, {"0": ColwiseParallel(output_layouts=Shard(0))})


# net, data, counts
class Between(nn.Module):
    def __init__(self, between):
        super().__init__()
        self.net, self.between = net(), between

    def forward(self, x):
        return self.net[2:](torch.relu(self.between(self.net[0](x))))


def partial():
    class Summands(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 6)

        def forward(self, x):
            summand = DTensor.from_local(self.layer(x), mesh, [Partial()], run_check=False)
            return torch.relu(summand).to_local()

    return Summands()


def by_hand():
    def taken(h):
        return torch.cat([h[:, :1], h[:, 1:]], 1)  # it cannot be said which units these are

    return tensor_parallel(Between(taken), path="net.")


def carried():
    def moved(h):
        return nn.functional.dropout(h.view(8, 8, 1, -1).transpose(1, 2).flatten(1, 2), 0.0).flatten(0, 1)

    return tensor_parallel(Between(moved), path="net.")


def part_of_ddp():
    return nn.Sequential(DistributedDataParallel(net()))


def flat_inner():
    return fsdp(net(), use_orig_params=True).module


def dtensors_by_hand():
    model = Between(lambda h: h)
    for name, weight in list(model.net.named_parameters()):
        layer = model.net.get_submodule(name.partition(".")[0])
        setattr(layer, name.partition(".")[2], nn.Parameter(distribute_tensor(weight.detach(), mesh, [Replicate()])))
    forward = model.forward
    model.forward = lambda x: forward(distribute_tensor(x, mesh, [Replicate()])).to_local()
    return model


cases = {
    "ddp": lambda: DistributedDataParallel(net()),
    "ddp, a part": part_of_ddp,
    "fsdp, flat": lambda: fsdp(net()),
    "fsdp, original": lambda: fsdp(net(), use_orig_params=True),
    "fsdp, parts, flat": parts_of_fsdp,
    "fsdp, parts, original": lambda: parts_of_fsdp(use_orig_params=True),
    "fully_shard": lambda: fully_shard(net(), mesh=mesh),
    "fully_shard, parts": parts_of_fsdp2,
    "checkpoints": with_checkpoints,
    "fully_shard, checkpoints": lambda: fully_shard(with_checkpoints(), mesh=mesh),
    "tensor parallel": lambda: tensor_parallel(net()),
    "tensor parallel, DTensors": lambda: tensor_parallel(net(), use_local_output=False),
    "tensor parallel, fully_shard": lambda: fully_shard(tensor_parallel(net(), both["units"]), mesh=both["data"]),
    "tensor parallel, carried": carried,
    "tensor parallel, by hand": by_hand,
    "rows": rows_out,
    "sequence parallel": sequence_parallel,
    "data parallel by DTensors": data_parallel_by_dtensor,
    "partial": partial,
    "DTensors by hand": dtensors_by_hand,
}


def trained(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(data()).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


def attempt(function, *args):
    try:
        return function(*args)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def observed(make):
    model = make()
    with Monitor(model) as monitor:
        model(data()).square().mean().backward()
    return counts(monitor.diagnosis())


def revived(make):
    model = make()
    return attempt(lambda: str(revive(model, [data()]))), attempt(trained, model)


results = {
    name: {
        "diagnose": attempt(lambda: counts(diagnose(make(), [data()]))),
        "Monitor": attempt(observed, make),
        "revive": attempt(revived, make),
        "trained": attempt(lambda: trained(make())),
    }
    for name, make in cases.items()
}
class Wide(nn.Module):  # of more than a megabyte, so that it is split into two graphs
    def __init__(self):
        super().__init__()
        self.net = net()
        self.wide = nn.Sequential(nn.Linear(2, 600), nn.ReLU(), nn.Linear(600, 600), nn.ReLU(), nn.Linear(600, 2))

    def forward(self, x):
        return self.wide(self.net(x)).relu()


def compiled(inner):
    bare = Wide()
    model = DistributedDataParallel(bare, bucket_cap_mb=2)
    monitor = Monitor(model)
    if inner:
        bare.compile(backend=monitor.backend("eager"))
    run = model if inner else torch.compile(model, backend=monitor.backend("eager"))
    run(data()).sum().backward()
    found = counts(monitor.diagnosis())
    plain = Wide()
    plain.load_state_dict(bare.state_dict())
    with Monitor(plain) as monitor:
        plain(data()).sum().backward()
    reference = counts(monitor.diagnosis())
    same = [one[:4] == other[:4] for one, other in zip(found.pop("sites"), reference.pop("sites"), strict=True)]
    return found, reference, same


results |= {f"compiled, {inner}": attempt(compiled, inner) for inner in (False, True)}
results["the model within fsdp"] = {"revive": (attempt(revive, flat_inner(), [data()]), None), "trained": None}
print(json.dumps(results), flush=True)
distributed.barrier()
os._exit(0)  # the threads of gloo do not always end by themselves
"""
RANKS = "\n".join(map(inspect.getsource, (net, data, counts))).join(RANKS.split("# net, data, counts\n"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each of two ranks found, by the names of the cases."""
    meeting = (tmp_path_factory.mktemp("ranks") / "meeting").as_uri()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANKS, str(rank), meeting],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    found = []
    try:
        for rank in ranks:
            output, errors = rank.communicate(timeout=120)
            assert rank.returncode == 0, errors
            found.append(json.loads(output))
    finally:
        for rank in ranks:
            rank.kill()
    return found


def two_ranks(test):
    available = torch.distributed.is_available() and torch.distributed.is_gloo_available()
    return pytest.mark.slow(pytest.mark.skipif(not available, reason="PyTorch was built without gloo")(test))


@pytest.fixture(scope="module")
def alone():
    return counts(diagnose(net(), [data()]))


DATA_PARALLEL = [
    *("ddp", "fsdp, flat", "fsdp, original", "fsdp, parts, flat", "fsdp, parts, original"),
    *("fully_shard", "fully_shard, parts", "checkpoints", "fully_shard, checkpoints"),
]
SHARDED = [
    *("tensor parallel", "tensor parallel, DTensors", "tensor parallel, fully_shard", "data parallel by DTensors"),
    "rows",
]


@two_ranks
@pytest.mark.parametrize("case", [*DATA_PARALLEL, *SHARDED])
def test_diagnose_sees_what_it_sees_in_the_model_as_it_was(results, alone, case):
    for rank in results:
        assert_same(rank[case]["diagnose"], alone)


@two_ranks
@pytest.mark.parametrize("case", DATA_PARALLEL)
def test_monitor_adds_up_the_examples_of_the_ranks(results, alone, case):
    for rank in results:
        assert_same(rank[case]["Monitor"], alone, times=2)


@two_ranks
@pytest.mark.parametrize("inner", [False, True])
def test_monitor_adds_up_what_compiled_code_counts_on_the_ranks(results, inner):
    for rank in results:
        ours, reference, same = rank[f"compiled, {inner}"]
        assert ours == reference == {"examples": 2 * len(data()), "notes": []}
        assert same == [True] * 5


@two_ranks
@pytest.mark.parametrize("case", SHARDED)
def test_monitor_counts_once_what_the_ranks_share(results, alone, case):
    for rank in results:
        assert_same(rank[case]["Monitor"], alone)


@two_ranks
def test_a_part_that_is_wrapped_has_the_name_it_had(results):
    for tool in ("diagnose", "Monitor"):
        assert [site[0] for site in results[0]["ddp, a part"][tool]["sites"]] == ["0.1", "0.3"]


@two_ranks
def test_a_part_of_the_units_is_followed_through_functions(results, alone):
    for rank in results:
        for tool in ("diagnose", "Monitor"):
            relu = rank["tensor parallel, carried"][tool]["sites"][0]
            assert relu[:5] == ["relu", *alone["sites"][0][1:5]]


@two_ranks
def test_each_rank_may_have_rows_of_its_own(results, alone):
    for rank in results:
        for tool in ("diagnose", "Monitor"):
            found = rank["sequence parallel"][tool]
            assert found["examples"] == 128
            for one, other in zip(found["sites"], alone["sites"], strict=True):
                assert one[3] == [2 * fired for fired in other[3]]
                assert one[4] == other[4]
                assert one[2] == 128


@two_ranks
@pytest.mark.parametrize(
    ("case", "note"),
    [
        ("partial", r"relu is called with DTensors placed as \(Partial\(sum\),\); its units are not seen"),
        ("tensor parallel, by hand", "relu is called with a part of a DTensor that could not be followed"),
    ],
)
def test_what_cannot_be_told_is_noted(results, case, note):
    for rank in results:
        for tool in ("diagnose", "Monitor"):
            found = rank[case][tool]
            assert re.search(note, str(found["notes"] if isinstance(found, dict) else found))
            assert isinstance(found, str) or all(site[0] != "relu" for site in found["sites"])


WRAPPED = (
    "is wrapped or hooked for parallel training, so its weights may lie on other processes or devices, too; do this"
)


@two_ranks
@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("ddp", "the model is compiled or replicated; give the one within"),
        ("ddp, a part", rf"0 \(DistributedDataParallel\) {WRAPPED}"),
        *((case, rf"the model \(FullyShardedDataParallel\) {WRAPPED}") for case in DATA_PARALLEL if "fsdp" in case),
        *((case, rf"the model \(FSDPSequential\) {WRAPPED}") for case in DATA_PARALLEL if "fully_shard" in case),
        ("tensor parallel", rf"0 \(Linear\) {WRAPPED}"),
        ("tensor parallel, DTensors", rf"0 \(Linear\) {WRAPPED}"),
        ("tensor parallel, fully_shard", rf"the model \(FSDPSequential\) {WRAPPED}"),
        ("sequence parallel", rf"0 \(Identity\) {WRAPPED}"),
        ("data parallel by DTensors", rf"the model \(Sequential\) {WRAPPED}"),
        (
            "DTensors by hand",
            r"net\.0\.weight is a DTensor, not a plain tensor, so its elements cannot be changed; do this",
        ),
        ("the model within fsdp", rf"the model \(Sequential\) {WRAPPED}"),
    ],
)
def test_revive_refuses_and_the_model_trains_as_if_it_had_not_been_called(results, case, found):
    for rank in results:
        refusal, losses = rank[case]["revive"]
        assert re.match(f"TypeError: {found}", refusal)
        assert losses == rank[case]["trained"]


@two_ranks
def test_parts_that_are_checkpointed_are_revived(results):
    refusal, losses = results[0]["checkpoints"]["revive"]
    assert refusal.startswith("7 of 7 dead units revived")
    assert len(losses) == 3


# One process


def test_paths_are_those_before_wrapping():
    model = nn.ModuleDict(
        {
            "a": checkpoint_wrapper(nn.Sequential(nn.Linear(2, 2), checkpoint_wrapper(nn.ReLU()))),
            "b": torch.compile(nn.Sequential(nn.ReLU()), backend="eager"),
            "c": nn.DataParallel(nn.Sequential(nn.ReLU())),
            "module": AveragedModel(nn.Sequential(nn.ReLU())),
        }
    )
    found = {path for module, path in paths(model).items() if isinstance(module, nn.ReLU)}
    assert found == {"a.1", "b.0", "c.0", "module.module.0"}
    assert set(paths(nn.DataParallel(nn.ReLU())).values()) == {""}


@given(
    st.lists(st.integers(0, 17), min_size=1, max_size=3), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.data()
)
def test_the_part_of_a_rank_is_that_of_chunk(shape, mesh, draw):
    from torch.distributed.tensor import Replicate, Shard  # noqa: PLC0415  # it is slow to import

    whole = torch.arange(int(np.prod(shape))).reshape(shape)
    at = [draw.draw(st.integers(0, size - 1)) for size in mesh]
    placements = [draw.draw(st.sampled_from([Replicate(), *map(Shard, range(len(shape)))])) for _ in mesh]
    local = whole
    for size, i, placement in zip(mesh, at, placements, strict=True):
        if placement.is_shard():
            chunks = torch.chunk(local, size, placement.dim)
            local = chunks[i] if i < len(chunks) else local.narrow(placement.dim, 0, 0)
    stub = SimpleNamespace(ndim=len(mesh), size=mesh.__getitem__, get_coordinate=lambda: at)
    layout = Layout(whole.shape, stub, placements)
    axis = draw.draw(st.integers(0, len(shape) - 1))
    part = layout.part(local, (Part(axis),))
    assert (part.units, part.here) == (shape[axis], local.shape[axis])
    if local.numel():
        others = int(np.prod(shape[axis + 1 :]))
        assert part.first == int(local.flatten()[0]) // others % shape[axis]
    assert part.repeated == any(i for i, placement in zip(at, placements, strict=True) if placement == Replicate())
    assert layout.part(torch.empty([length + 1 for length in local.shape]), (Part(axis),)) is None


class Tagged(torch.Tensor):
    """Adds nothing."""


class Strict(torch.Tensor):
    """Understands what its model calls, and nothing else."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func not in (torch.relu, functional.relu, functional.linear, torch.Tensor.as_subclass):
            raise TypeError(f"not understood: {func}")
        return super().__torch_function__(func, types, args, kwargs or {})


class Wrapped(torch.Tensor):
    """Has no memory, but another tensor that has."""

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return cls(func(*(arg.inner if isinstance(arg, cls) else arg for arg in args), **(kwargs or {})))


class Odd(torch.Tensor):
    """Its ReLU is no tensor."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return "none" if func is torch.relu else super().__torch_function__(func, types, args, kwargs or {})


class Duck:
    """Is no tensor, but overrides functions."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return None


class Made(nn.Module):
    """Calls ReLU with something that was made of its features, beside an ordinary ReLU."""

    def __init__(self, make):
        super().__init__()
        self.layer, self.act, self.make = nn.Linear(4, 6), nn.ReLU(), make

    def forward(self, x):
        h = self.layer(x)
        torch.relu(self.make(h.detach()))
        return self.act(h)


def seen_by_both(model):
    with Monitor(model) as monitor:
        model(data())
    found = [diagnose(model, [data()]), monitor.diagnosis()]
    assert len({str(counts(each)) for each in found}) == 1
    return found[0]


@pytest.mark.parametrize("kind", [Tagged, Strict])
def test_subclasses_with_values_of_their_own_are_counted(kind):
    diagnosis = seen_by_both(Made(lambda h: h.as_subclass(kind)))
    relu, act = counts(diagnosis)["sites"]
    assert relu[1:] == act[1:]
    assert not diagnosis.notes


@pytest.mark.parametrize(
    ("make", "note"),
    [
        (Wrapped, "relu is called with Wrapped tensors"),
        (lambda h: h.as_subclass(Odd), "relu gives str"),
        (lambda h: Duck(), "relu is called with Duck objects"),
        (
            lambda h: torch.nested.nested_tensor([h[:2], h[:1]], layout=torch.jagged),
            "relu is called with nested tensors",
        ),
    ],
)
def test_other_subclasses_are_noted_and_do_not_disturb(make, note):
    diagnosis = seen_by_both(Made(make))
    assert [site.name for site in diagnosis.sites] == ["act"]
    assert diagnosis.notes == (f"{note}; its units are not seen",)


def wrapped_weight():
    model = net()
    model[0].weight = nn.Parameter(Wrapped(model[0].weight.detach()))
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            wrapped_weight,
            r"^0\.weight is a Wrapped, not a plain tensor, .*; do this before the model is wrapped or conv",
        ),
        (lambda: net().to("meta"), r"^0\.weight has no values \(it is on the device meta\); load the weights first$"),
        (lambda: nn.Sequential(nn.DataParallel(net())), rf"^0 \(DataParallel\) {WRAPPED}"),
    ],
)
def test_weights_that_cannot_be_changed_one_by_one_are_refused_before_anything_runs(make, message):
    def forward(*_):
        raise AssertionError

    with pytest.raises(TypeError, match=message):
        revive(make(), [data()], forward=forward)


def test_a_subclass_of_parameter_is_revived():
    class Weight(nn.Parameter):
        pass

    model = net()
    model[0].weight = Weight(model[0].weight.detach())
    assert revive(model, [data()]).revived["1"] == (1, 4)


def test_what_the_tracer_assigns_to_attributes_does_not_stay():
    class Summing(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.total = net(), 0.0

        def forward(self, x):
            y = self.net(x)
            self.total = self.total + y.detach().sum()
            self.last = y.detach()
            return y

    model = Summing()
    assert revive(model, [data()]).after.dead == 0
    assert (type(model.total), type(model.last)) == (torch.Tensor, torch.Tensor)
    assert copy.deepcopy(model).total == model.total


# Kernels with an activation inside


@pytest.fixture
def quantizing():
    """Warnings are errors elsewhere; this part of PyTorch is deprecated."""
    engine = next(
        (each for each in ("x86", "onednn", "qnnpack") if each in torch.backends.quantized.supported_engines), ""
    )
    if not engine:
        pytest.skip("PyTorch was built without kernels for integers")
    before = torch.backends.quantized.engine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.quantized.engine = engine
        yield torch.ao.quantization.get_default_qconfig(engine)
        torch.backends.quantized.engine = before


class Fused(nn.Module):
    def __init__(self):
        super().__init__()
        self.quantize, self.dequantize = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
        self.conv, self.a = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.norm, self.b = nn.BatchNorm2d(4), nn.ReLU()
        self.linear, self.c = nn.Linear(4, 5), nn.ReLU()
        self.add = nn.quantized.FloatFunctional()
        self.head = nn.Sequential(nn.Linear(5, 4), nn.ReLU())

    def forward(self, x):
        x = self.b(self.norm(self.a(self.conv(self.quantize(x)))))
        x = self.c(self.linear(x.mean((2, 3))))
        return self.head(self.dequantize(self.add.add_relu(x, x)))


def test_kernels_with_an_activation_inside_are_noted(quantizing):
    model, x = Fused().eval(), torch.randn(8, 3, 6, 6)
    torch.ao.quantization.fuse_modules(model, [["conv", "a"], ["norm", "b"], ["linear", "c"]], inplace=True)
    model.qconfig, model.head.qconfig = quantizing, None
    torch.ao.quantization.prepare(model, inplace=True)
    assert len(diagnose(model, [x]).sites) == 5  # in floating point, all of them are seen
    torch.ao.quantization.convert(model, inplace=True)
    diagnosis = diagnose(model, [x])
    assert [site.name for site in diagnosis.sites] == ["head.1"]
    kinds = ("ConvReLU2d", "BNReLU2d", "LinearReLU", "add_relu")
    assert diagnosis.notes == tuple(f"{kind} computes its ReLU inside; its units are not seen" for kind in kinds)


def test_linear_layers_quantized_as_they_run_are_noted(quantizing):
    fused = torch.ao.nn.intrinsic.LinearReLU(nn.Linear(4, 6), nn.ReLU())
    model = nn.Sequential(fused, nn.Linear(6, 4), nn.ReLU())
    model = torch.ao.quantization.quantize_dynamic(model, {type(fused)}, dtype=torch.qint8)
    diagnosis = diagnose(model, [data()])
    assert [site.name for site in diagnosis.sites] == ["2"]
    assert diagnosis.notes == ("LinearReLU computes its ReLU inside; its units are not seen",)


def test_units_of_quantized_layers_are_left_alone(quantizing):
    model = torch.ao.quantization.quantize_dynamic(net(), {nn.Linear}, dtype=torch.qint8)
    before = model(data())
    revival = revive(model, [data()])
    assert revival.skipped["1"] == "its output is an output of the model, or becomes one without passing a weight"
    assert torch.equal(model(data()), before)


def test_a_function_of_a_users_library_is_named_itself():
    class Mine(nn.Module):
        def forward(self, x):
            return torch.rnn_relu_cell(x, x, *(torch.ones(4, 4),) * 2)

    with pytest.raises(ValueError, match=r"; rnn_relu_cell computes its ReLU inside; its units are not seen$"):
        diagnose(Mine(), [data()])

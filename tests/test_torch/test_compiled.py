"""Monitor counts in compiled code what it counts in the same model uncompiled, and says what it cannot see."""

import copy

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from leakyrelu.torch import LeakyReLU, Monitor, diagnose, graphs, leaky_relu
from leakyrelu.torch import compiled as compiled_code
from leakyrelu.units import merge

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of PyTorch's own, while it compiles
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch.manual_seed(0)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.wide, self.act, self.narrow = nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)

    def forward(self, x):
        return functional.gelu(x + self.narrow(self.act(self.wide(x))))


class Net(nn.Module):
    def __init__(self, reentrant=None):
        super().__init__()
        self.reentrant = reentrant
        self.first = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(Block(8) for _ in range(3))
        self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
        with torch.no_grad():
            self.first.bias[2:4] = -1000
            self.blocks[1].wide.bias[5] = -1000

    def forward(self, x):
        h = functional.relu(self.first(x))
        for block in self.blocks:
            h = block(h) if self.reentrant is None else checkpoint(block, h, use_reentrant=self.reentrant)
        return self.head(h)


class Convolutions(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(True),
            nn.Conv2d(4, 5, 3),
            nn.ReLU6(),
            nn.Conv2d(5, 5, 1),
            nn.Threshold(0.1, 0.5),
            nn.Conv2d(5, 5, 1),
            nn.Hardtanh(0, 2),
            nn.Conv2d(5, 5, 1),
            nn.Threshold(0.1, 5.0),
            nn.Conv2d(5, 5, 1),
            nn.LeakyReLU(0.0),
            nn.Conv2d(5, 5, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(5, 5, 1),
            LeakyReLU(0.2),
            nn.Conv2d(5, 6, 1),
            nn.PReLU(6),
            nn.Conv2d(6, 5, 1),
            nn.ELU(),
            nn.Conv2d(5, 5, 1),
            nn.SiLU(),
        )


class Functions(nn.Module):
    """Functions and methods in all their forms."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        x = self.b(torch.relu(self.a(x))).relu()
        x = self.b(x).clamp(min=0)
        x = self.b(x).clamp(0, 6)
        x = functional.relu(self.b(x), inplace=True) + 1
        x = self.b(x).clip(min=0, max=-1)  # constant, so no activation
        x = torch.clamp(self.b(x), 0, torch.tensor(2.0))
        x = torch.clamp_min(self.b(x), 0)
        return leaky_relu(self.b(x), 0.1)


class Heads(nn.Module):
    """Units on several axes, and on a part of one."""

    def __init__(self):
        super().__init__()
        self.query, self.out = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x):
        n, t, _ = x.shape
        query = functional.relu(self.query(x).view(n, t, 2, 4).transpose(1, 2))
        merged = functional.relu(query.reshape(n * 2, t, 4) - 0.1).view(n, 2, t, 4)
        return self.out(merged.transpose(1, 2).reshape(n, t, 8))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.act = nn.Linear(6, 6), nn.ReLU()

    def forward(self, x):
        for _ in range(3):
            x = self.act(self.layer(x))
        return x


class Broken(nn.Module):
    """Dynamo makes three graphs of it. The one in the middle has no weight that would tell whose it is."""

    def __init__(self):
        super().__init__()
        self.layer, self.act = nn.Linear(6, 6), nn.ReLU()

    def forward(self, x):
        x = self.act(self.layer(x))
        torch._dynamo.graph_break()
        x = functional.relu(x - 0.1)
        torch._dynamo.graph_break()
        return self.act(self.layer(x)).relu()


class BrokenBlocks(nn.Module):
    """The blocks share their graphs, as they are of one class."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Broken() for _ in range(4))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def rows(*lengths):
    return [torch.randn(length, 6) for length in lengths or (5, 5, 5)]


def sequences(*shapes):
    return [torch.randn(*shape, 6) for shape in shapes or [(3, 5)] * 3]


def step(model, x):
    model(x).square().mean().backward()


def eagerly(model, batches, run=step, **options):
    with Monitor(model, **options) as monitor:
        for x in batches:
            run(model, x)
    return monitor.diagnosis()


def compiled(model, batches, run=step, backend="eager", exact=False, how=torch.compile, **options):
    monitor = Monitor(model, **options)
    fast = how(model, backend=monitor.backend(backend, exact=exact))
    for x in batches:
        run(fast, x)
    return monitor.diagnosis()


def assert_same(ours, reference, rtol=1e-5, but=()):
    assert ours.examples == reference.examples
    assert [site.name for site in ours.sites] == [site.name for site in reference.sites if site.name not in but]
    for one, other in zip(ours.sites, (site for site in reference.sites if site.name not in but), strict=True):
        for key in ("operation", "flat", "examples", "values", "units"):
            assert getattr(one, key) == getattr(other, key), (one.name, key)
        np.testing.assert_array_equal(one.fired, other.fired, one.name)
        np.testing.assert_array_equal(one.dead, other.dead, one.name)
        np.testing.assert_allclose(one.mean_output, other.mean_output, rtol, err_msg=one.name)
        if one.maximum is None:
            assert one.flat
            np.testing.assert_array_equal(one.below, other.fired < other.values, one.name)
        else:
            np.testing.assert_array_equal(one.below, other.below, one.name)
            np.testing.assert_allclose(one.maximum, other.maximum, rtol, 1e-6, err_msg=one.name)


CASES = {
    "functions and modules": (Net, rows),
    "convolutions": (Convolutions, lambda: [torch.randn(4, 3, 8, 8) for _ in range(3)]),
    "channels last": (
        Convolutions,
        lambda: [torch.randn(4, 3, 8, 8).to(memory_format=torch.channels_last) for _ in range(3)],
    ),
    "forms": (Functions, rows),
    "tokens": (Net, sequences),
    "heads": (Heads, sequences),
    "one module, called thrice": (Shared, rows),
    "graph breaks": (Broken, rows),
    "blocks with graph breaks": (BrokenBlocks, rows),
    "checkpoints": (lambda: Net(reentrant=False), rows),
    "reentrant checkpoints": (lambda: Net(reentrant=True), rows),
    "other lengths": (Net, lambda: rows(5, 5, 4, 7, 3, 5)),
    "other lengths of heads": (Heads, lambda: sequences((3, 5), (4, 6), (5, 7), (3, 9))),
    "of other rank": (Net, lambda: [*rows(5, 5), *sequences((3, 5))]),
    "float64": (lambda: Net().double(), lambda: [x.double() for x in rows()]),
    "encoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True), 2),
        sequences,
    ),
}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_the_counts_are_those_of_the_uncompiled_model(case, exact):
    make, data = CASES[case]
    model, batches = make(), data()
    reference = eagerly(copy.deepcopy(model), batches)
    assert len(reference.sites) > 1
    ours = compiled(model, batches, exact=exact)
    assert_same(ours, reference)
    if exact:
        for one, other in zip(ours.sites, reference.sites, strict=True):
            np.testing.assert_array_equal(one.always_on, other.always_on)


@pytest.mark.parametrize("make", [Net, Convolutions])
def test_all_is_seen_in_one_graph_and_training_stays_as_it_is(make):
    model, batches = make(), [torch.randn(4, 3, 8, 8)] * 3 if make is Convolutions else rows()
    plain, keys = copy.deepcopy(model), list(model.state_dict())
    graphs = torch._dynamo.testing.CompileCounter()
    monitor = Monitor(model)
    fast = torch.compile(model, backend=monitor.backend(graphs), fullgraph=True)
    for each in (fast, plain):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.01)
        for x in batches:
            optimizer.zero_grad()
            step(each, x)
            optimizer.step()
    assert graphs.frame_count == 1
    assert list(model.state_dict()) == keys
    for one, other in zip(model.state_dict().values(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)
    assert monitor.diagnosis().examples == sum(map(len, batches))


@pytest.mark.slow
def test_inductor_counts_the_same_up_to_its_rounding():
    model, batches = Net(), rows(5, 5, 4, 7)
    reference = eagerly(copy.deepcopy(model), batches)
    assert_same(compiled(model, batches, backend="inductor"), reference, rtol=1e-4)


def test_how_a_model_is_compiled():
    batches = rows()

    def in_place(model, backend):
        model.compile(backend=backend)
        return model

    def as_a_step(model, backend):
        return torch.compile(lambda x: functional.relu(model(x)) * 2, backend=backend, fullgraph=True)

    reference = eagerly(Net(), batches)
    for how in (in_place, as_a_step, lambda model, backend: torch.compile(model, backend=backend, dynamic=True)):
        torch.manual_seed(0)
        model = Net()
        reference = eagerly(copy.deepcopy(model), batches)
        assert_same(compiled(model, batches, how=how), reference)


def test_layers_that_are_compiled_one_by_one_are_told_apart():
    def regional(model, backend):
        for block in model.blocks:
            block.compile(backend=backend)
        return model

    model, batches = Net(), rows()
    reference = eagerly(copy.deepcopy(model), batches)
    ours = compiled(model, batches, how=regional)
    assert_same(ours, reference, but=("relu", "head.1"))
    assert ours.notes == (
        "the model itself ran uncompiled; what it calls besides its modules is not seen",
        "head ran in no compiled graph that counts; if it ran, its units are not seen",
    )


def test_what_runs_uncompiled_is_named():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.act, self.pool = nn.Linear(6, 6), Block(6), nn.ReLU(), nn.Flatten()

        def forward(self, x):
            x = functional.relu(self.a(x))
            return uncompiled(self.act, uncompiled(self.b, x))

    @torch.compiler.disable
    def uncompiled(module, x):
        return module(x)

    ours = compiled(Partly(), rows())
    assert [site.name for site in ours.sites] == ["relu"]
    broken, *notes = ours.notes
    assert broken.startswith("the graph breaks at test_compiled.py:")
    assert tuple(notes) == (
        "b ran in no compiled graph that counts; if it ran, its units are not seen",
        "act ran in no compiled graph that counts; if it ran, its units are not seen",
    )


def test_what_is_within_a_condition_is_named():
    class Conditional(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), Block(6)

        def forward(self, x):
            x = functional.relu(self.a(x))
            return torch.cond(x.sum() > 0, self.b, self.a, (x,))

    ours = compiled(Conditional(), rows())
    assert [site.name for site in ours.sites] == ["relu"]
    assert set(ours.notes) == {
        "b.act calls relu within cond; its units are not seen",
        "b calls gelu within cond; its units are not seen",
    }


def test_passes_without_gradients_do_not_count():
    def with_validation(model, x):
        with torch.no_grad():
            model(x + 1)
        step(model, x)

    model, batches = Net(), rows()
    reference = eagerly(copy.deepcopy(model), batches)
    assert_same(compiled(model, batches, run=with_validation), reference)


def test_with_autocast():
    def mixed(model, x):
        with torch.autocast("cpu", torch.bfloat16):
            y = model(x)
        y.float().square().mean().backward()

    model, batches = Net(), rows()
    reference = eagerly(copy.deepcopy(model), batches, run=mixed)
    assert_same(compiled(model, batches, run=mixed), reference, rtol=1e-2)


@pytest.mark.parametrize("options", [{"every": 3}, {"window": 3}, {"every": 2, "window": 2}])
@pytest.mark.parametrize("make", [Net, BrokenBlocks])
def test_some_passes_and_the_last_full_window(make, options):
    model, batches = make(), rows(5, 5, 4, 3, 5, 6, 7, 5)
    reference = eagerly(copy.deepcopy(model), batches, **options)
    assert_same(compiled(model, batches, **options), reference)


def test_between_observed_passes_runs_a_graph_without_counts():
    called = []

    def backend(graph, inputs):
        counts = any(node.target is torch.cat for node in graph.graph.nodes)

        def run(*inputs):
            called.append(counts)
            return graph(*inputs)

        return run

    model = Net()
    monitor = Monitor(model, every=3)
    fast = torch.compile(model, backend=monitor.backend(backend))
    for x in rows(5, 5, 5, 5):
        step(fast, x)
    assert called == [True, False, False, True]


def test_what_was_counted_uncompiled_is_forgotten():
    model = Net()
    with Monitor(model) as monitor:
        step(model, rows()[0])
        fast = torch.compile(model, backend=monitor.backend("eager"))
        step(fast, rows()[0])
    diagnosis = monitor.diagnosis()
    assert diagnosis.examples == 5
    assert {site.values for site in diagnosis.sites} == {5}


def test_a_monitor_that_saw_no_compiled_code_says_what_to_call():
    model = Net()
    monitor = Monitor(model)
    torch.compile(model, backend=monitor.backend("eager"))
    step(model, rows()[0])
    with pytest.raises(ValueError, match=r"^no pass was observed yet: call what torch\.compile\(.*\) returned"):
        monitor.diagnosis()


def test_a_backend_is_a_name_or_a_function():
    with pytest.raises(TypeError, match=r"^backend must be a name, such as 'inductor', or a function, got int"):
        Monitor(Net()).backend(5)


def test_detach_and_attach():
    model = Net()
    monitor = Monitor(model)
    fast = torch.compile(model, backend=monitor.backend("eager"))
    step(fast, rows()[0])
    monitor.detach()
    step(fast, rows()[0])
    assert monitor.diagnosis().examples == 5
    with monitor:
        step(fast, rows()[0])
    assert monitor.diagnosis().examples == 10
    monitor.reset()
    with pytest.raises(ValueError, match="no pass was observed yet"):
        monitor.diagnosis()
    assert not any(value for module in model.modules() for key, value in vars(module).items() if "hooks" in key)


def test_nan_is_seen():
    batches = rows()
    batches[1][0, 0] = float("nan")
    model = Net()
    reference = eagerly(copy.deepcopy(model), batches)
    ours = compiled(model, batches)
    for one, other in zip(ours.sites, reference.sites, strict=True):
        np.testing.assert_array_equal(one.nan, other.nan)
    assert len(ours.sites[0].nan) == 8


def test_scalars_json_and_tables_of_what_is_not_known(tmp_path):
    model = Net()
    monitor = Monitor(model)
    fast = torch.compile(model, backend=monitor.backend("eager"))
    step(fast, torch.randn(100, 6))
    diagnosis = monitor.diagnosis()
    assert diagnosis.sites[0].maximum is None
    assert diagnosis.sites[0].dead.tolist() == [2, 3]
    assert monitor.scalars()["units/dead_fraction/relu"] == 0.25
    assert diagnosis.to_dict()["sites"][0]["maximum"] is None
    assert merge([diagnosis, diagnosis]).sites[0].maximum is None
    assert merge([diagnosis, diagnosis]).sites[0].dead.tolist() == [2, 3]
    diagnosis.to_html(tmp_path / "units.html")
    assert "dead" in str(diagnosis)


def test_a_model_outside_of_the_monitored_one_is_not_counted():
    model, other = Net(), Net()
    monitor = Monitor(model)
    fast = torch.compile(lambda x: model(x) + other(x), backend=monitor.backend("eager"), fullgraph=True)
    step(fast, rows()[0])
    assert [site.name for site in monitor.diagnosis().sites] == [
        site.name for site in diagnose(model, rows()[:1]).sites
    ]


@pytest.mark.parametrize("how", ["wrapped", "in place", "a step", "a layer"])
def test_a_monitor_attached_before_compiling_is_refused_at_once(how):
    model, graphs = Net(), torch._dynamo.testing.CompileCounter()
    with Monitor(model):
        run = model
        if how == "wrapped":
            run = torch.compile(model, backend=graphs)
        elif how == "a step":
            run = torch.compile(lambda x: model(x) * 2, backend=graphs)
        else:
            (model if how == "in place" else model.blocks[1]).compile(backend=graphs)
        with pytest.raises(
            TypeError, match=r"compiled, .*make the Monitor first.*backend=monitor.backend\('inductor'\)"
        ):
            run(rows()[0])
    assert graphs.frame_count < 3


def test_a_monitor_attached_before_compiling_in_one_graph_is_refused_with_what_to_do():
    model = Net()
    fast = torch.compile(model, backend="eager", fullgraph=True)
    with Monitor(model), pytest.raises(Exception, match=r"Monitor.*monitor.backend\('inductor'\)"):
        fast(rows()[0])


def test_what_a_backend_cannot_do():
    model = Net()
    with pytest.raises(ValueError, match="a mask cannot be used in compiled code"):
        Monitor(model, mask=lambda batch: None).backend()
    with pytest.raises(ValueError, match="mode and options are those of the backend 'inductor'"):
        Monitor(model).backend("eager", mode="max-autotune")
    with pytest.raises(Exception, match="nonsense"):
        Monitor(model).backend("nonsense")
    fast = torch.compile(model, backend="eager")
    with pytest.raises(TypeError, match=r"^the model is compiled, .*make the Monitor first.*or call diagnose every so"):
        Monitor(fast)


def test_without_the_private_names_that_tell_the_code_and_the_inputs(monkeypatch):
    monkeypatch.setattr(compiled_code, "compilation", lambda: (object(), None))
    monkeypatch.setattr(graphs, "source_of", lambda node: "")
    model, batches = Net(), rows()
    reference = eagerly(copy.deepcopy(model), batches)
    assert_same(compiled(model, batches), reference)


def model_of(forward, **layers):
    """A module with these layers, and a forward of its own."""
    kind = type("Given", (nn.Module,), {"forward": forward})
    model = kind()
    for name, layer in layers.items():
        setattr(model, name, layer)
    return model


def total_of(model, batch):
    model(batch).sum().backward()


def heads_first(self, x):
    """Units on a part of the first axis, of which the other part is as long as the inputs are many."""
    columns = self.a(x).permute(2, 0, 1)
    units, examples, length = columns.shape
    return functional.relu(columns.reshape(units * examples, length, 1))


VARYING = {
    "flattened": (
        lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.ReLU(), nn.GELU()),
        [(8, 3, 6), (8, 3, 7), (8, 3, 8)],
    ),
    "similarities": (
        lambda: model_of(lambda self, x: functional.relu(x @ x.T) + 0 * self.a(x).sum(), a=nn.Linear(6, 6)),
        [(8, 6), (7, 6), (5, 6), (8, 6)],
    ),
    "a part of an axis": (
        lambda: model_of(heads_first, a=nn.Linear(6, 8)),
        [(3, 5, 6), (4, 5, 6), (6, 5, 6), (7, 9, 6)],
    ),
}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("case", VARYING)
def test_units_that_vary_in_number_or_place(case, exact):
    make, shapes = VARYING[case]
    model, batches = make(), [torch.randn(shape) for shape in shapes]
    reference = eagerly(copy.deepcopy(model), batches)
    ours = compiled(model, batches, exact=exact)
    by_units = [sorted(each.sites, key=lambda site: (site.name, site.units)) for each in (ours, reference)]
    for one, other in zip(*by_units, strict=True):
        assert (one.name, one.units, one.values, one.examples) == (
            other.name,
            other.units,
            other.values,
            other.examples,
        )
        np.testing.assert_array_equal(one.fired, other.fired)
        np.testing.assert_allclose(one.mean_output, other.mean_output, 1e-5)


def test_units_whose_place_cannot_be_told_for_other_sizes_are_named():
    model = model_of(heads_first, a=nn.Linear(6, 8))
    batches = [torch.randn(examples, 5, 6) for examples in (3, 8, 4)]  # the second graph is made with 8 x 8
    ours = compiled(model, batches)
    assert ours.sites[0].examples == 3
    assert "relu: its sizes depend on the inputs in a way that cannot be followed; its units are not seen" in ours.notes


def test_no_values_where_the_data_decide_how_many_there_are():
    model = model_of(
        lambda self, x: functional.gelu(functional.relu(self.a(x[torch.nonzero(x[:, 0] > 0).flatten()]))),
        a=nn.Linear(6, 6),
    )
    batches = [x.abs() for x in rows()]
    batches[1] *= -1
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        ours = compiled(model, batches, run=total_of)
    assert [site.name for site in ours.sites] == ["relu"]
    assert ours.notes == (
        "gelu: its sizes depend on the inputs in a way that cannot be followed; its units are not seen",
    )


@pytest.mark.parametrize(
    ("forward", "batches"),
    [
        (lambda self, x: functional.relu(self.a(x["x"])), [{"w": torch.ones(11, 2), "x": torch.randn(5, 6)}] * 2),
        (lambda self, x: functional.relu(self.a(x[1])) * x[0].mean(), [(torch.ones(7), torch.randn(5, 6))] * 2),
        (lambda self, x: functional.relu(self.a(x)), [torch.randn(6)] * 2),
    ],
    ids=["dictionary", "tuple", "one example"],
)
def test_examples_are_those_of_what_the_model_is_called_with(forward, batches):
    model = model_of(forward, a=nn.Linear(6, 4))
    reference = eagerly(copy.deepcopy(model), batches)
    assert_same(compiled(model, batches), reference)


def test_a_copy_that_shares_the_graphs_is_not_counted():
    model = Net()
    monitor = Monitor(model)
    fast = torch.compile(model, backend=monitor.backend("eager"))
    step(fast, rows()[0])
    step(copy.deepcopy(fast), rows()[0])
    assert monitor.diagnosis().examples == 5
    step(fast, rows()[0])
    assert monitor.diagnosis().examples == 10


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("reentrant", [False, True])
def test_what_an_uncompiled_checkpoint_repeats_counts_once(reentrant, every):
    def regional(model, backend):
        for block in model.blocks:
            block.compile(backend=backend)
        return model

    model, batches = Net(reentrant), rows(5, 4, 3)
    reference = eagerly(copy.deepcopy(model), batches, every=every)
    ours = compiled(model, batches, how=regional, backend="aot_eager", every=every)
    wanted = {site.name: site for site in reference.sites if site.name.startswith("blocks")}
    assert {site.name for site in ours.sites} == set(wanted)
    for site in ours.sites:
        assert site.examples == wanted[site.name].examples
        np.testing.assert_array_equal(site.fired, wanted[site.name].fired)


def test_code_that_runs_several_times_in_a_pass():
    class Helped(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

        def half(self, layer, x):
            x = functional.relu(layer(x))
            torch._dynamo.graph_break()
            return functional.relu(layer(x))

        def forward(self, x):
            return self.half(self.b, self.half(self.a, x))

    class Repeated(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block(6)

        def forward(self, x):
            return self.block(self.block(self.block(x)))

    def regional(model, backend):
        model.block.compile(backend=backend)
        return model

    for make, how in ((Helped, torch.compile), (Repeated, regional)):
        for options in ({}, {"every": 2}, {"window": 2}):
            model, batches = make(), rows(5, 4, 5)
            reference = eagerly(copy.deepcopy(model), batches, **options)
            assert_same(compiled(model, batches, how=how, **options), reference)


class Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.relu(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


def test_calls_that_are_not_seen_are_named_and_leave_the_names_of_others_as_they_are():
    own = model_of(lambda self, x: functional.relu(Rectify.apply(self.a(x)) - 0.1), a=nn.Linear(6, 6))
    ours = compiled(own, rows())
    assert [site.name for site in ours.sites] == ["relu:2"]
    assert ours.notes == ("the model itself calls relu within autograd_function_apply; its units are not seen",)

    mapped = model_of(
        lambda self, x: functional.relu(torch.vmap(lambda row: functional.relu(self.a(row)))(x) - 0.1),
        a=nn.Linear(6, 6),
    )
    reference = eagerly(copy.deepcopy(mapped), rows())
    ours = compiled(mapped, rows())
    assert [site.name for site in ours.sites] == [site.name for site in reference.sites] == ["relu"]
    assert ours.notes == reference.notes


@torch.compiler.disable
def rectified(x):
    return functional.relu(x)


def test_what_runs_uncompiled_in_code_that_is_compiled_in_part_is_named():
    model = model_of(lambda self, x: functional.relu(rectified(self.a(x)) - 0.1), a=nn.Linear(6, 6))
    ours = compiled(model, rows())
    assert len(ours.sites) == 1
    assert [note.partition(":")[0] for note in ours.notes] == ["the graph breaks at test_compiled.py"]
    model = model_of(lambda self, x: functional.relu(rectified(x) + self.a(x)), a=nn.Linear(6, 6))  # nothing before it
    ours = compiled(model, rows())
    assert [note.partition(":")[0] for note in ours.notes] == ["the graph breaks at test_compiled.py"]


def test_if_no_code_could_be_compiled_the_error_says_so():
    def in_a_loop(self, x):
        for _ in range(3):
            x = functional.relu(self.a(x))
            torch._dynamo.graph_break()
        return x

    with pytest.raises(ValueError, match=r"no pass was observed yet.*the model itself ran in no compiled graph"):
        compiled(model_of(in_a_loop, a=nn.Linear(6, 6)), rows())


def test_shapes_for_which_it_is_not_compiled_again_are_told_of():
    with torch._dynamo.config.patch(recompile_limit=2, automatic_dynamic_shapes=False):
        ours = compiled(Net(), rows(2, 3, 4))
    assert ours.examples == 5
    (note,) = ours.notes
    assert note.startswith("the model itself was compiled as often as dynamo's recompile_limit allows; ")

"""The benchmarks: whom they compare, what they make of the figures, and nothing about how long anything takes."""

import json
import sys
from functools import partial

import jax
import numpy as np
import pytest
import torch

from benchmarks import (
    contenders,
    gpu,
    gpu_checks,
    gradient,
    learned_slopes,
    mixed,
    report,
    special,
    stalls,
    timing,
    torch_diagnosis,
)
from benchmarks.__main__ import as_json, main
from benchmarks.cells import OPERATIONS, SLOPE, SLOPE_IN_PLACE, TYPES, Arrays, Cell, cells
from benchmarks.contenders import Offer
from benchmarks.contenders.ours import ONE_THREAD, OURS
from benchmarks.measure import Result, check, measure
from benchmarks.picture import draw
from leakyrelu import leaky_relu
from leakyrelu.torch import diagnose
from leakyrelu.torch import leaky_relu as leaky_relu_of_torch

INSTANT = timing.Effort(batch=0, budget=0, fewest=2, most=3)
BROUGHT_BY_TEST = ("ours", "with_numpy", "with_torch", "with_jax")


@pytest.fixture(autouse=True, scope="module")
def keep_jax_as_it_was():
    """The benchmarks turn its float64 on, for the whole process."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


def result(size=10**6, operation="out", type_="float32", **seconds):
    """A cell with made-up seconds, three rounds each."""
    names = {"ours": OURS, "textbook": "np.where", "copy": "np.copyto"}
    kinds = {OURS: "ours", "np.copyto": "limit"}
    seconds = {names.get(name, name): np.array(values, float) for name, values in seconds.items()}
    return Result(Cell(operation, type_, size), {name: kinds.get(name, "peer") for name in seconds}, seconds)


@pytest.mark.parametrize("type_", TYPES)
def test_every_contender_gives_what_it_should(type_):
    for cell in cells(OPERATIONS, [type_], [37]):
        arrays = Arrays(cell)
        faults = {offer.name: check(offer, arrays) for offer in contenders.offers(arrays, SLOPE, BROUGHT_BY_TEST)}
        assert set(faults.values()) == {None}
        assert {OURS, ONE_THREAD, "np.where", "np.copyto", "torch", "torch copy_"} <= set(faults)


@pytest.mark.parametrize(
    ("package", "types"), [("numexpr", TYPES), ("onnxruntime", TYPES), ("numba", ["float32"])]
)  # numba compiles a second for each type
def test_contenders_that_may_be_missing_give_what_they_should(package, types):
    for cell in cells(OPERATIONS, types, [37]):
        arrays = Arrays(cell)
        for offer in contenders.offers(arrays, SLOPE, (f"with_{package}",)):
            assert check(offer, arrays) is None


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda: None, "nan where it should be"),  # nothing written
        (lambda: np.zeros(100, np.float32), "wrong results of 100"),
        (lambda: np.zeros(100), "gives float64"),
        (lambda: np.zeros(3, np.float32), r"shape \(3,\)"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_wrong_results_are_found(call, fault):
    arrays = Arrays(Cell("out", "float32", 100))
    with pytest.raises(AssertionError, match=fault):
        raise AssertionError(check(Offer("wrong", "peer", {"out": call}), arrays))


def test_one_wrong_result_among_many_is_found():
    arrays = Arrays(Cell("new", "float32", 1000))

    def almost():
        y = leaky_relu(arrays.x)
        y[777] *= np.float32(1.000001)
        return y

    assert check(Offer("almost", "peer", {"new": almost}), arrays).startswith("1 wrong results of 1000")


def test_who_is_wrong_is_left_out_by_name(monkeypatch):
    module = type(sys)("benchmarks.contenders.with_fault")
    module.offers = lambda arrays, slope: [Offer("faulty", "peer", {"out": lambda: np.zeros_like(arrays.x)})]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    measured = measure(Cell("out", "float32", 100), INSTANT, ("ours", "with_fault"))
    assert set(measured.seconds) == {OURS, ONE_THREAD, "streaming copy"}
    assert any("faulty is left out at n = 100" in line for line in report.table([measured]))


def test_ourselves_wrong_is_an_error():
    with pytest.raises(RuntimeError, match="leakyrelu itself is wrong"):
        result(textbook=[1, 1, 1])


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numexpr", None)
    monkeypatch.delitem(sys.modules, "benchmarks.contenders.with_numexpr", raising=False)
    assert contenders.missing(("with_numpy", "with_numexpr")) == ["numexpr"]
    offers = contenders.offers(Arrays(Cell("new", "float32", 3)), SLOPE, ("with_numpy", "with_numexpr"))
    assert [offer.name for offer in offers] == ["np.where", "np.maximum", "np.copyto"]


def test_in_place_numbers_stay_negative_and_normal():
    for type_ in ("float16", "bfloat16", "float32", "float64"):
        x = -np.linspace(0.01, 4, 50).astype(Cell("inplace", type_, 1).dtype)
        before = x.astype(np.float64)
        for _ in range(1000):
            leaky_relu(x, SLOPE_IN_PLACE, out=x)
        np.testing.assert_allclose(x.astype(np.float64), before, rtol=2e-4)


def test_integers_have_neither_gradient_nor_place():
    assert {cell.operation for cell in cells(OPERATIONS, ["int32"], [1])} == {"out", "new", "derivative"}


@pytest.mark.parametrize(
    ("operation", "type_", "bytes_"),
    [("out", "float32", 8), ("inplace", "float16", 4), ("backward", "float64", 24), ("new", "int32", 12)],
)
def test_the_limit_copies_as_many_bytes(operation, type_, bytes_):
    cell = Cell(operation, type_, 1000)
    arrays = Arrays(cell)
    assert cell.bytes == 1000 * bytes_ == arrays.source.nbytes + arrays.target.nbytes


def test_all_arrays_begin_on_a_page():
    for cell in cells(OPERATIONS, TYPES, [100]):
        arrays = Arrays(cell)
        for array in (arrays.x, arrays.grad, arrays.out, arrays.source, arrays.target):
            assert array.ctypes.data % 4096 == 0


def test_every_contender_runs_in_every_round_and_in_its_context():
    entered = []

    class Context:
        def __enter__(self):
            entered.append(True)

        def __exit__(self, *error):
            entered.pop()

    calls = []
    seconds = timing.interleaved(
        {
            "plain": timing.Contender(lambda: calls.append(len(entered))),
            "other": timing.Contender(lambda: calls.append(10 + len(entered)), Context),
        },
        INSTANT,
    )
    assert {name: len(values) for name, values in seconds.items()} == {"plain": 2, "other": 2}
    assert set(calls) == {0, 11}


def test_ratios_are_taken_within_the_round():
    measured = result(ours=[1, 2, 4], peer=[2, 6, 16], copy=[1, 1, 1])
    assert measured.ratio("peer") == (2.5, 3, 3.5)
    assert measured.throughput(OURS) == 8 * 10**6 / 2


def test_where_we_lose():
    lost = list(
        report.where_we_lose(
            [
                result(ours=[2, 2, 2], slow=[4, 4, 4], quick=[1.5, 1.5, 1.5], copy=[1.9, 1.9, 1.9]),
                result(ours=[2, 2, 2], peer=[2, 2, 2], copy=[1, 1, 1], operation="backward"),
                result(ours=[2, 2, 2], peer=[3, 3, 3], copy=[1, 1, 1], size=1000),  # of small ones no copy's speed
            ]
        )
    )
    assert lost == [
        "float32, with out=, n = 1,000,000: quick takes 0.750 (0.750-0.750) of our time",
        "float32, the backward pass, n = 1,000,000: 0.500 (0.500-0.500) of the throughput of the fastest copy, np.copyto",
    ]


def test_the_least_favourable_figures():
    lines = list(
        report.least(
            [
                result(ours=[1, 1, 1], textbook=[40, 40, 40], torch=[2, 2, 2], copy=[0.95, 0.95, 0.95]),
                result(ours=[1, 1, 1], textbook=[35, 35, 35], torch=[3, 3, 3], copy=[1, 1, 1], size=10**7),
                result(ours=[1, 1, 1], textbook=[2, 2, 2], torch=[1.5, 1.5, 1.5], copy=[0.1, 0.1, 0.1], size=1),
            ]
        )
    )
    assert [line.partition(": ")[2].split()[0] for line in lines] == ["35.0", "1.50", "0.950"]
    assert lines[1].endswith("n = 1 (torch)")


def test_no_figure_below_one_is_rounded_up_to_it():
    assert [report.figure(value) for value in (0.9996, 1, 9.999, 34.56, 345.6)] == [
        "0.999",
        "1.00",
        "10.00",
        "34.6",
        "346",
    ]


def test_durations_have_their_unit():
    assert [report.duration(s) for s in (2.5, 0.0123, 4.5e-6, 8e-8)] == ["2.50 s", "12.3 ms", "4.50 us", "80.0 ns"]


def test_figures_and_picture_are_written(tmp_path, capsys):
    paths = tmp_path / "figures.json", tmp_path / "picture.png"
    main(
        ["--quick", "--cells-only", "--types", "float32", "--operations", "out", "--sizes", "100", "1e3"]
        + [f"--{name}={path}" for name, path in zip(("json", "picture"), paths, strict=True)]
    )
    document = json.loads(paths[0].read_text())
    assert [cell["size"] for cell in document["cells"]] == [100, 1000]
    ours = document["cells"][0]["contenders"][OURS]
    assert ours["time_over_ours"] == [1, 1, 1]
    assert ours["seconds"] == pytest.approx(np.quantile(ours["rounds"], [0.25, 0.5, 0.75]))
    assert document["machine"]["versions"]["numpy"] == np.__version__
    assert paths[1].stat().st_size > 5000
    assert "Where we lose" in capsys.readouterr().out


def test_what_cannot_be_written_is_known_before_the_run(tmp_path):
    with pytest.raises(FileNotFoundError):
        main(["--json", str(tmp_path / "missing" / "figures.json")])


@pytest.mark.parametrize("arguments", [["--types", "int32", "--operations", "inplace"], ["--sizes", "0"]])
def test_nothing_to_measure_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert "error: " in capsys.readouterr().err


def test_the_picture_has_a_line_a_contender_and_the_limit():
    sizes = (100, 10**4)
    results = [
        result(ours=[1, 1, 1], torch=[2, 2, 2], copy=[0.5, 0.5, 0.5], size=size, type_=type_)
        for type_ in ("float16", "float32")
        for size in sizes
    ]
    figure = draw(results, "Title")
    assert [axes.get_title() for axes in figure.axes] == ["float32, with out=", "float16, with out="]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [OURS, "torch", "the fastest copy"]
    x, y = next(line for line in figure.axes[0].get_lines() if line.get_label() == OURS).get_data()
    assert (list(x), list(y)) == (list(sizes), [8 * size / 1e9 for size in sizes])


def test_json_holds_every_round():
    entry = as_json(result(ours=[1, 2, 4], peer=[2, 6, 16]))
    assert entry["contenders"]["peer"] == {
        "kind": "peer",
        "seconds": (4, 6, 11),
        "time_over_ours": (2.5, 3, 3.5),
        "rounds": [2, 6, 16],
    }
    json.dumps(entry)


def test_the_slopes_gradient_is_measured_beside_the_textbook_line_and_pytorch():
    shapes = gradient.Shape((7,)), gradient.Shape((5, 3), (0,)), gradient.Shape((2, 3, 4, 4), (0, 2, 3))
    rows = gradient.slope_gradients(INSTANT, shapes)
    assert all(row["textbook_time_over_ours"][1] > 0 < row["torch_time_over_both"][1] for row in rows)
    assert "2x3x4x4, axis=(0, 2, 3)" in "\n".join(gradient.slope_gradients_table(rows))


def test_networks_that_learn_their_slopes_are_compared_with_fixed_ones(capsys):
    learned_slopes.main(["--seeds", "2", "--epochs", "2"])
    shown = capsys.readouterr().out
    for kind in learned_slopes.CONTENDERS:
        assert f"| {kind.name} " in shown
    for kind in learned_slopes.CONTENDERS[-2:]:
        result = learned_slopes.train(kind, 0, 2)
        assert result.slopes.shape == ((2,) if kind.learned == "layer" else (64,))
        assert (result.slopes != learned_slopes.START).all()
    assert (learned_slopes.train(learned_slopes.FIXED, 0, 1).slopes == np.float32(0.01)).all()


def test_slopes_by_channel_and_a_python_float():
    layouts = (
        special.Layout("channels first", (2, 3, 4, 4), (3, 1, 1)),
        special.Layout("channels last", (2, 3, 4, 4), (3, 1, 1)),
        special.Layout("rows", (4, 3), (3,)),
    )
    rows = special.per_channel(INSTANT, layouts)
    assert "channels last, 2x3x4x4" in "\n".join(special.per_channel_table(rows))
    measured = special.python_float(rounds=2, calls=10)
    assert "our time over its" in special.python_float_line(measured)
    json.dumps([rows, measured])


def test_a_busy_process_ends_with_its_block():
    with stalls.busy_process(pinned=False) as process:
        assert process.poll() is None
    assert process.poll() is not None


def test_stalls_are_counted_for_each_contender():
    rows = stalls.stalls((100,), blocks=1)
    assert rows[0]["busy_process"] == "none"
    assert {"on any core"} <= {row["busy_process"] for row in rows}
    assert all(set(row["contenders"]) == {OURS, ONE_THREAD, "torch"} for row in rows)
    assert all(values["calls"] >= 20 for row in rows for values in row["contenders"].values())
    assert len(list(stalls.stalls_table(rows))) == 4 + 3 * len(rows)
    json.dumps(rows)


def test_blocks_of_ours_and_of_a_peer_take_turns(monkeypatch):
    monkeypatch.setattr(mixed, "PEERS", {"torch": "with_torch", "nobody": "with_nothing"})
    rows = mixed.mixed((100, 1000), rounds=1)
    assert [(row["peer"], row["size"]) for row in rows] == [("torch", 100), ("torch", 1000)] * len(mixed.KINDS)
    assert all(low <= middle <= high for row in rows for low, middle, high in (row["mixed"], row["quiet"]))
    assert len(list(mixed.mixed_table(rows))) == 3 + 3 * len(mixed.KINDS)


def test_what_watching_costs_is_told_for_each_network():
    lines = list(torch_diagnosis.table(INSTANT, batch=2))
    assert sum("as by `diagnose`" in line for line in lines) == 3
    assert sum("under a capture that counts nothing" in line for line in lines) == 4
    assert all(line.endswith("| 1.00 (1.00-1.00) |") for line in lines if ", plain |" in line)


def test_without_a_card_the_run_on_a_card_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="finds no CUDA card, and nothing was measured; --device cpu runs the checks"):
        gpu.main([])


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # by torch.compile
def test_the_dry_run_checks_everything_and_claims_no_figure_of_a_card(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "COMPILING", 1e9)  # compiling takes a minute
    monkeypatch.setattr(gpu, "interleaved", partial(gpu.interleaved, most=1))
    gpu.main(["--device", "cpu"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "No CUDA card was used: a dry run on the CPU. Its times say nothing of any card."
    results = [line for line in lines if line.startswith("- ")]
    assert len(results) >= 40
    assert all(line.endswith(": passed") for line in results)
    kept = [line for line in lines if line.endswith("| no card | no card |")]
    assert len(kept) == len(gpu.layers())
    for who in ("native", "ours", "by `diagnose`", "under `Monitor`"):
        assert any(f"| {who} | " in line and "left out" not in line for line in lines)
    assert sum("left out: no time left" in line for line in lines) == 9  # what is compiled


def test_a_failed_check_ends_the_run_on_a_card(monkeypatch, capsys):
    monkeypatch.setattr(gpu_checks, "checks", lambda device: iter([gpu_checks.Check("values", "1 is wrong")]))
    with pytest.raises(SystemExit) as caught:
        gpu.main(["--device", "cpu"])
    assert caught.value.code == 1
    assert capsys.readouterr().out.endswith("- values: 1 is wrong\n")


def test_what_cannot_run_on_a_card_is_left_out_with_the_reason():
    def fails(error):
        def call():
            raise error

        return call

    calls = {
        gpu.NATIVE: lambda: None,
        "small": fails(torch.OutOfMemoryError("2 GiB")),
        "by torch.compile": fails(RuntimeError("no C compiler\nmore")),
    }
    rows = list(gpu.table("what", calls, gpu.Device("cpu"), gpu.Budget(1000)))
    assert rows[:2] == [
        "| what | small | left out: out of memory | |",
        "| what | by torch.compile | left out: RuntimeError: no C compiler | |",
    ]
    assert rows[2].startswith("| what | native | ")
    assert rows[2].endswith("| 1.00 (1.00-1.00) |")
    spent = list(gpu.table("what", calls, gpu.Device("cpu"), gpu.Budget(-1)))
    assert spent == [f"| what | {name} | left out: no time left | |" for name in calls]


@pytest.mark.parametrize("dtype", gpu_checks.DTYPES, ids=str)
def test_the_checks_of_a_card_find_what_is_wrong(dtype):
    class Ignores(gpu_checks.Unfused):
        """One well-known fallback does not look at the slope."""

        def __init__(self, channel):
            super().__init__(channel, negative_slope=0.01)

    def other_gradient(x, slope):
        return torch.where(x == 0, x * 0.5 * slope, leaky_relu_of_torch(x, slope))

    def one_unit_less(model, x):
        found = diagnose(model, [x])
        found.sites[0].fired[3] -= next(calls)
        return found

    calls = iter((0, 1))
    assert gpu_checks.activation_fault(leaky_relu_of_torch, 0.2, dtype, "cpu") == ""
    assert "value is not" in gpu_checks.activation_fault(
        lambda x, s: leaky_relu_of_torch(x, 1.02 * s), 0.2, dtype, "cpu"
    )
    assert "gradient is not" in gpu_checks.activation_fault(other_gradient, 0.2, dtype, "cpu")
    assert gpu_checks.fused_fault(gpu_checks.Unfused, dtype, "cpu") == ""
    assert "value is not" in gpu_checks.fused_fault(Ignores, dtype, "cpu")
    assert gpu_checks.counting_fault(lambda model, x: diagnose(model, [x]), dtype, "cpu") == ""
    assert "`fired` is" in gpu_checks.counting_fault(one_unit_less, dtype, "cpu")

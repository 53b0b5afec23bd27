"""A monitor goes on from the state of another one as if the training had never stopped."""

import io
from contextlib import suppress

import pytest
import torch
from torch import nn

from leakyrelu.torch import Monitor
from leakyrelu.torch import monitor as module
from leakyrelu.torch.resuming import examples_together


def saved(state):
    """The state, through a file that holds no code."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def parts():
    """A model whose parts are called from outside, one of them not always."""
    torch.manual_seed(0)
    first = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    return nn.ModuleDict({"first": first, "second": nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.ReLU())})


def all_of(diagnosis):
    sites = [
        (
            site.name,
            site.operation,
            site.examples,
            site.values,
            *(getattr(site, each).tolist() for each in ("fired", "below", "maximum", "mean_output")),
        )
        for site in diagnosis.sites
    ]
    return sites, diagnosis.examples, diagnosis.notes


def trained(stops=(), every=3, window=4, **options):
    """The diagnoses after each of forty steps, where the training was resumed at some of them."""
    model = parts()
    monitor = Monitor(model, every=every, window=window, **options).attach()
    diagnoses = []
    for i in range(40):
        if i in stops:
            state = saved(monitor.state_dict())
            monitor.detach()
            model = parts()
            monitor = Monitor(model, every=every, window=window, **options)
            monitor.load_state_dict(state)
            monitor.attach()
        torch.manual_seed(i)
        x = model["first"](torch.randn(5 + i % 3, 4))
        if i % 2:
            model["second"](x)
        diagnoses.append(all_of(monitor.diagnosis()))
    return diagnoses


WHOLE = {(3, 4): trained(), (1, 100): trained(every=1, window=100)}


@pytest.mark.parametrize("stop", [1, 2, 5, 11, 12, 13, 23, 39])
@pytest.mark.parametrize(("every", "window"), WHOLE)
def test_each_diagnosis_after_it_is_that_of_training_that_never_stopped(every, window, stop):
    assert trained([stop], every, window) == WHOLE[every, window]


def test_it_can_be_resumed_again_and_again():
    assert trained(range(1, 40, 2)) == WHOLE[3, 4]


def test_before_the_next_pass_the_diagnosis_is_the_same():
    model = parts()
    with Monitor(model, window=3) as monitor:
        for i in range(5):
            model["second"](model["first"](torch.randn(6 + i, 4)))
    other = Monitor(parts(), window=3)
    other.load_state_dict(saved(monitor.state_dict()))
    assert all_of(other.diagnosis()) == all_of(monitor.diagnosis())
    assert saved(other.state_dict()).keys() == monitor.state_dict().keys()
    assert other.scalars() == monitor.scalars()


def test_the_state_of_a_monitor_that_saw_nothing():
    monitor = Monitor(parts())
    monitor.load_state_dict(saved(Monitor(parts()).state_dict()))
    with pytest.raises(ValueError, match="no pass was observed yet"):
        monitor.diagnosis()


def test_what_was_counted_before_is_forgotten():
    model = parts()
    with Monitor(model) as monitor:
        model["first"](torch.randn(10, 4))
        state = saved(monitor.state_dict())
        model["first"](torch.randn(1000, 4))
        monitor.load_state_dict(state)
        assert monitor.diagnosis().examples == 10


def test_a_smaller_window_begins_anew_at_once():
    model = parts()
    with Monitor(model) as monitor:
        for _ in range(10):
            model["first"](torch.randn(7, 4))
    with Monitor(model, window=4) as other:
        other.load_state_dict(saved(monitor.state_dict()))
        assert other.diagnosis().examples == 70
        for _ in range(4):
            model["first"](torch.randn(7, 4))
    assert other.diagnosis().examples == 28


def test_the_order_of_axes_that_the_mask_goes_by_is_kept():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 6), nn.ReLU())

        def forward(self, x, mask):
            return self.layers(x)

    model = Tokens()
    with Monitor(model, mask="mask") as monitor:
        model(torch.randn(3, 5, 4), torch.ones(5, 3))  # positions first, which the shape tells
    assert monitor._capture.masking.state()["inputs"]
    other = Monitor(model, mask="mask")
    other.load_state_dict(saved(monitor.state_dict()))
    assert other._capture.masking.state() == monitor._capture.masking.state()


def test_notes_are_kept():
    model = parts()
    with Monitor(model, mask=lambda arguments: None) as monitor:
        model["first"](torch.randn(7, 4))
    other = Monitor(model)
    other.load_state_dict(saved(monitor.state_dict()))
    assert other.diagnosis().notes == monitor.diagnosis().notes != ()


def test_a_wrapped_model_goes_on_from_one_that_was_not():
    model = parts()
    with Monitor(model) as monitor:
        model["first"](torch.randn(7, 4))
    wrapped = nn.DataParallel(parts())
    with Monitor(wrapped) as other:
        other.load_state_dict(monitor.state_dict())
        wrapped.module["first"](torch.randn(7, 4))
    assert other.diagnosis().examples == 14


@pytest.mark.parametrize("wrong", [[], None, "state"])
def test_what_is_no_state(wrong):
    with pytest.raises(TypeError, match=r"^state must be what Monitor.state_dict\(\) returned, got "):
        Monitor(parts()).load_state_dict(wrong)


@pytest.mark.parametrize("wrong", [{}, {"format": "leakyrelu.torch.Monitor, 0"}, nn.ReLU().state_dict(), {"epoch": 3}])
def test_the_state_of_something_else(wrong):
    with pytest.raises(
        ValueError, match=r"^state must be what .*, with format='leakyrelu.torch.Monitor, 1'; got format"
    ):
        Monitor(parts()).load_state_dict(wrong)


def test_the_state_of_another_model():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    with Monitor(model) as monitor:
        model(torch.randn(7, 4))
    other = Monitor(parts())
    with pytest.raises(
        ValueError, match=r"^the state is of another model: it has counts of '1', which this model does"
    ):
        other.load_state_dict(monitor.state_dict())


def test_ranks_that_share_a_model_have_the_same_examples():
    parts = [((), {"": 3}), ((), {"": 4, "a": 1}), ((2, 3), {"": 5}), ((2, 3), {"": 6, "a": 2})]
    assert examples_together(parts) == {"": 13, "a": 3}


def test_two_ranks_go_on_as_one_or_as_three(monkeypatch):
    models = [parts() for _ in range(3)]
    before = [Monitor(model, window=3).attach() for model in models[:2]]
    monkeypatch.setattr(module, "_is_distributed", lambda: True)
    monkeypatch.setattr(module.distributed, "get_rank", lambda: rank)

    def together(monitors, method):
        """What the monitors of several ranks give; each of them is asked for what it adds first."""
        given = []
        monkeypatch.setattr(module, "_of_all_ranks", lambda mine: given.append(mine) or [mine])
        for monitor in monitors:
            with suppress(ValueError):  # it alone has counted nothing
                method(monitor)
        monkeypatch.setattr(module, "_of_all_ranks", lambda mine: given)
        return method(monitors[0])

    for i in range(4):  # one window, and a pass of the next one
        for rank, model in enumerate(models[:2]):
            torch.manual_seed(10 * i + rank)
            model["first"](torch.randn(4 + rank, 4))
    diagnosis = all_of(together(before, Monitor.diagnosis))
    state = saved(together(before, Monitor.state_dict))
    for ranks in (1, 2, 3):
        monitors = [Monitor(model, window=3) for model in models[:ranks]]
        for rank, monitor in enumerate(monitors):  # noqa: B007  # `get_rank` reads it
            monitor.load_state_dict(state)
        assert all_of(together(monitors, Monitor.diagnosis)) == diagnosis
        for rank, monitor in enumerate(monitors):
            with monitor:
                for _ in range(2):
                    models[rank]["first"](torch.randn(5, 4))
        found = together(monitors, Monitor.diagnosis)
        assert found.examples == found.sites[0].values == 9 + 10 * ranks


def test_counts_of_compiled_code_begin_anew_and_that_is_told():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    monitor = Monitor(model)
    torch.compile(model, backend=monitor.backend("eager"))(torch.randn(7, 4))
    monitor.detach()
    assert monitor.diagnosis().examples == 7
    with Monitor(nn.Sequential(nn.Linear(4, 6), nn.ReLU())) as other:
        other.load_state_dict(saved(monitor.state_dict()))
        other._capture.model(torch.randn(3, 4))
    assert other.diagnosis().examples == 3
    (note,) = other.diagnosis().notes
    assert note == "what is counted in compiled code is not saved, so the counts begin where the training was resumed"

"""What `replace` does to models as people write them: the new activation everywhere, and nothing else is different."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from test_torch.patterns import calls, classes, control, features, holding, layout
from test_torch.patterns.reference import SLOPE, Forced, Watched, gradients, run, same
from test_torch.patterns.registry import PATTERNS
from torch import fx, nn

from leakyrelu.torch import LeakyReLU, diagnose, replace

pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # exported programs, when they are copied

FILES = (calls, classes, control, features, holding, layout)  # importing them fills PATTERNS
WITH_RELU = [name for name, pattern in PATTERNS.items() if pattern.relus]
WITHOUT_RELU = [name for name, pattern in PATTERNS.items() if not pattern.relus]


def replaced(pattern, *, batches):
    return replace(pattern.model(), {nn.ReLU: LeakyReLU(SLOPE)}, batches=[pattern.sample()] if batches else None)


def watched(model, pattern, forced=()):
    """All that the model gives, and for each call of an activation whether it was leaky."""
    with Watched(forced) as seen:
        return run(model, pattern), seen.leaky


def expected(pattern, leaky):
    """All that the original gives if those calls of ReLU are leaky, and what calls there were."""
    model = pattern.model()
    results, called = watched(model, pattern, forced=leaky)
    if pattern.derivatives:
        with Forced():
            results, _ = watched(model, pattern)
    return results, called


def names_of_relus(model, pattern):
    try:
        sites = diagnose(model, [pattern.sample()]).sites
    except ValueError:  # none runs in eval mode, or none that is seen
        return set()
    return {site.name for site in sites if site.operation == "relu"}


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def copied_by(copied, model, pattern):
    """A copy; None if the model cannot be copied in this way, or computes something else then."""
    try:
        again = copied(model)
        return again if same(watched(again, pattern), watched(model, pattern)) else None
    except (AttributeError, RuntimeError, TypeError, pickle.PicklingError):
        return None


@pytest.fixture(scope="module", params=WITH_RELU)
def case(request):
    """A model before and after its replacement; the last test undoes it."""
    pattern = PATTERNS[request.param]
    model, other = pattern.model(), pattern.model()
    plain = run(model, pattern)
    before = SimpleNamespace(
        results=plain,
        modules=dict(model.named_modules(remove_duplicate=False)),
        types=[type(module) for module in model.modules()],
        attributes=[set(vars(module)) for module in model.modules()],
        state=model.state_dict(keep_vars=True),
        other=watched(other, pattern),
        names=names_of_relus(other, pattern),
    )
    replacement = replace(model, {nn.ReLU: LeakyReLU(SLOPE)}, batches=[pattern.sample()])
    results, leaky = watched(replacement.model, pattern)
    return SimpleNamespace(
        pattern=pattern,
        given=model,
        model=replacement.model,
        replacement=replacement,
        before=before,
        other=other,
        results=results,
        leaky=leaky,
    )


def test_a_replaced_model_gives_what_it_would_give_if_each_relu_were_leaky(case):
    results, called = expected(case.pattern, case.leaky)
    assert len(case.leaky) == len(called)
    assert same(case.results, results)


def test_no_call_is_left_silently(case):
    left = f"{case.leaky.count(False)} of {len(case.leaky)} calls are left"
    if all(case.leaky):
        assert case.replacement.skipped == {}
    else:
        assert case.replacement.skipped, f"{left}, and the report says: {case.replacement}"
        assert case.pattern.may_be_listed, f"{left}: {case.replacement.skipped}"
    assert names_of_relus(case.model, case.pattern) <= set(case.replacement.skipped)


def test_the_names_are_those_of_diagnose(case):
    assert case.before.names <= {*case.replacement.replaced, *case.replacement.skipped}


def test_the_gradients_are_those_of_leaky_relu(case):
    if not case.pattern.graphs:
        return  # the original cannot be trained, or its reference cannot
    original = case.pattern.model()
    with Forced():
        wanted = gradients(original, case.pattern)
        _, seen = watched(original, case.pattern)
    if all(case.leaky) and all(seen):  # the reference does not see into scripted functions
        assert same(gradients(case.model, case.pattern), wanted)


def test_other_models_of_the_class_are_as_before(case):
    assert same(watched(case.other, case.pattern), case.before.other)
    assert same(watched(case.pattern.model(), case.pattern), case.before.other)


def test_the_names_and_the_parameters_are_kept(case):
    state = case.model.state_dict(keep_vars=True)
    assert list(state) == list(case.before.state)
    assert all(state[key] is value for key, value in case.before.state.items())
    assert case.replacement.parameters == ()
    names = dict(case.model.named_modules(remove_duplicate=False))
    assert [name for name in names if name in case.before.modules] == list(case.before.modules)


def test_classes_are_kept(case):
    """What was an object of a class is still one."""
    originals = dict(case.pattern.model().named_modules(remove_duplicate=False))
    for name, module in case.model.named_modules(remove_duplicate=False):
        if name in originals and not isinstance(originals[name], nn.ReLU | fx.GraphModule):
            made_anew = "<locals>" in type(originals[name]).__qualname__ or type(originals[name]).__name__ == "Made"
            parametrized = type(originals[name]).__name__.startswith("Parametrized")
            assert made_anew or parametrized or isinstance(module, type(originals[name]))
            assert type(module).__name__ == type(originals[name]).__name__


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled], ids=["deepcopy", "pickle"])
def test_copies_are_as_the_replaced_model(case, copied):
    original = copied_by(copied, case.pattern.model(), case.pattern)
    if original is None:
        return  # the original cannot be copied in this way either
    model = replaced(case.pattern, batches=False).model
    again = copied(model)
    assert type(again).__name__ == type(original).__name__
    twice = copied(again)
    wanted = watched(model, case.pattern)
    assert same(watched(again, case.pattern), wanted)
    assert same(watched(twice, case.pattern), wanted)


def traced(model):
    start = getattr(type(model), "start", None)
    if start is not None:
        start(model)
    np.random.seed(0)  # noqa: NPY002  # a trace takes one branch by chance
    return fx.symbolic_trace(model)


@pytest.mark.filterwarnings(
    "ignore:For backward hooks to be called"
)  # a trace goes through LeakyReLU, not through nn.ReLU
def test_what_could_be_traced_can_be_traced(case):
    try:
        run(traced(case.pattern.model()), case.pattern)
    except Exception:  # noqa: BLE001  # whatever the tracer does not like
        return  # the original cannot be traced either
    results, leaky = watched(traced(replaced(case.pattern, batches=True).model), case.pattern)
    if all(case.leaky):
        with Forced():
            graph = traced(case.pattern.model())
            wanted, forced = watched(graph, case.pattern)
        assert all(leaky) or not all(forced)
        assert same(results, wanted)


def test_without_batches_what_is_left_may_be_unknown_but_that_is_said(case):
    replacement = replaced(case.pattern, batches=False)
    results, leaky = watched(replacement.model, case.pattern)
    assert same(results, expected(case.pattern, leaky)[0])
    assert all(leaky) or replacement.skipped or "only a run is sure" in str(replacement)


def test_undo_takes_everything_back(case):
    assert case.replacement.undo() is case.given
    modules = dict(case.given.named_modules(remove_duplicate=False))
    assert list(modules) == list(case.before.modules)
    assert all(modules[name] is module for name, module in case.before.modules.items())
    assert [type(module) for module in case.given.modules()] == case.before.types
    assert [set(vars(module)) for module in case.given.modules()] == case.before.attributes
    assert same(run(case.given, case.pattern), case.before.results)
    assert same(watched(case.given, case.pattern), case.before.other)


@pytest.mark.parametrize("name", WITHOUT_RELU)
@pytest.mark.parametrize("batches", [True, False], ids=["with batches", "without"])
def test_what_only_looks_like_relu_is_left_alone(name, batches):
    pattern = PATTERNS[name]
    before = run(pattern.model(), pattern)
    replacement = replaced(pattern, batches=batches)
    assert replacement.skipped == {}
    assert replacement.replaced == () or not batches  # without a run, the method of an object may be that of a tensor
    assert same(run(replacement.model, pattern), before)

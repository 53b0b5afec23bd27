"""`leakyrelu.sklearn`: the perceptrons with Leaky ReLU are scikit-learn's but for the activation; their units are counted."""

import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import _base as tables
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelBinarizer, MinMaxScaler, StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import check_estimator

import leakyrelu.sklearn
from leakyrelu.sklearn import MLPClassifier, MLPRegressor, diagnose

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:scipy.optimize. The `disp`:DeprecationWarning"),  # scikit-learn 1.5, SciPy 1.16
]

PAIRS = [
    (MLPClassifier, sklearn.neural_network.MLPClassifier),
    (MLPRegressor, sklearn.neural_network.MLPRegressor),
]
SLOPES = (1e-3, 0.01, 0.3, 1.0, 2.5)


def data(cls, dtype=np.float64):
    if issubclass(cls, sklearn.neural_network.MLPClassifier):
        X, y = make_classification(120, 6, n_informative=4, n_classes=3, random_state=0)
    else:
        X, y = make_regression(120, 6, n_targets=2, random_state=0)
        y = (y / 100).astype(dtype)
    return X.astype(dtype), y


def leaky(cls=MLPClassifier, **parameters):
    return cls(
        **{"hidden_layer_sizes": (9, 7), "activation": "leaky_relu", "random_state": 0, "max_iter": 20} | parameters
    )


def weights(model):
    return [*model.coefs_, *model.intercepts_]


def output(model, X, slope):
    """What the network computes, written by hand."""
    for coefs, intercepts in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        z = X @ coefs + intercepts
        X = np.where(z >= 0, z, slope * z)
    return X @ model.coefs_[-1] + model.intercepts_[-1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the checks warn of what they skip
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_scikit_learns_own_checks_pass(cls, activation):
    check_estimator(cls(activation=activation))


@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_other_activations_are_scikit_learns_bit_for_bit(ours, theirs, activation, solver):
    X, y = data(ours)
    one, two = (
        cls(hidden_layer_sizes=(9, 7), activation=activation, solver=solver, random_state=0, max_iter=10).fit(X, y)
        for cls in (ours, theirs)
    )
    assert all((a == b).all() for a, b in zip(weights(one), weights(two), strict=True))
    assert (one.predict(X) == two.predict(X)).all()


@pytest.mark.parametrize("solver", ["lbfgs", "sgd", "adam"])
@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_a_slope_of_one_is_the_identity(ours, theirs, solver):
    X, y = data(ours)
    one = leaky(ours, negative_slope=1.0, solver=solver).fit(X, y)
    two = theirs(hidden_layer_sizes=(9, 7), activation="identity", solver=solver, random_state=0, max_iter=20).fit(X, y)
    assert all((a == b).all() for a, b in zip(weights(one), weights(two), strict=True))


def test_a_tiny_slope_is_close_to_relu():
    X, y = data(MLPClassifier)
    one = leaky(negative_slope=1e-12).fit(X, y)
    two = sklearn.neural_network.MLPClassifier((9, 7), random_state=0, max_iter=20).fit(X, y)
    np.testing.assert_allclose(one.predict_proba(X), two.predict_proba(X), atol=1e-6)
    other = leaky(negative_slope=0.3).fit(X, y)
    assert abs(other.predict_proba(X) - two.predict_proba(X)).max() > 1e-3


@pytest.mark.parametrize("slope", SLOPES)
def test_predictions_are_those_of_the_formula(slope):
    X, y = data(MLPRegressor)
    model = leaky(MLPRegressor, negative_slope=slope).fit(X, y)
    np.testing.assert_allclose(model.predict(X), output(model, X, slope), rtol=1e-12)


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_the_gradient_is_that_of_finite_differences(cls, slope):
    X, y = data(cls)
    y = y if cls is MLPClassifier else y[:, 0]  # with several targets, scikit-learn's gradient is not that of its loss
    Y = LabelBinarizer().fit_transform(y) if cls is MLPClassifier else y[:, None]
    model = leaky(cls, negative_slope=slope, solver="lbfgs", alpha=0.01, max_iter=1).fit(X, y)
    at = np.random.default_rng(0).normal(0, 0.3, sum(w.size for w in weights(model)))
    sample_weight = () if sklearn.__version__.startswith(("1.5", "1.6")) else (None,)
    layers = [X, None, None, None]
    space = [None] * 3, [np.empty_like(c) for c in model.coefs_], [np.empty_like(i) for i in model.intercepts_]

    def loss(packed):
        return model._loss_grad_lbfgs(packed, X, Y, *sample_weight, layers, *space)

    gradient = loss(at)[1].copy()
    step = 1e-6
    measured = [(loss(at + step * unit)[0] - loss(at - step * unit)[0]) / (2 * step) for unit in np.eye(len(at))]
    np.testing.assert_allclose(gradient, measured, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_float32_stays_float32(cls, solver):
    X, y = data(cls, np.float32)
    model = leaky(cls, solver=solver, negative_slope=np.float64(0.3)).fit(X, y)
    assert {w.dtype for w in weights(model)} == {np.dtype(np.float32)}
    assert model._forward_pass_fast(X).dtype == np.float32


@pytest.mark.parametrize("layout", [scipy.sparse.csr_matrix, scipy.sparse.csc_array])
@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_sparse_data_give_what_dense_ones_give(layout, solver):
    X, y = data(MLPClassifier)
    X[X < 0.5] = 0
    dense, sparse = leaky(solver=solver).fit(X, y), leaky(solver=solver).fit(layout(X), y)
    np.testing.assert_allclose(sparse.predict_proba(layout(X)), dense.predict_proba(X), rtol=1e-5)


def test_early_stopping_warm_start_and_partial_fit_work():
    X, y = data(MLPClassifier)
    stopped = leaky(early_stopping=True, max_iter=300, learning_rate_init=0.05).fit(X, y)
    assert len(stopped.validation_scores_) == stopped.n_iter_ < 300
    warm = leaky(warm_start=True, max_iter=5).fit(X, y)
    before = warm.loss_
    assert warm.fit(X, y).loss_ < before
    partial = leaky()
    for _ in range(30):
        partial.partial_fit(X, y, classes=[0, 1, 2])
    assert partial.loss_curve_[-1] < partial.loss_curve_[0]


def test_several_labels_per_example_work():
    X, Y = make_multilabel_classification(150, 8, n_classes=4, random_state=0)
    model = leaky(max_iter=300, learning_rate_init=0.01).fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert (model.predict(X) == Y).mean() > 0.8


@pytest.mark.skipif(sklearn.__version__.startswith(("1.5", "1.6")), reason="this version has no sample_weight")
def test_examples_of_weight_zero_do_not_count():
    X, y = data(MLPRegressor)
    weight = np.r_[np.ones(60), np.zeros(60)]
    model = leaky(MLPRegressor, solver="lbfgs").fit(X, y, sample_weight=weight)
    other = leaky(MLPRegressor, solver="lbfgs").fit(X[:60], y[:60])
    np.testing.assert_allclose(model.predict(X), other.predict(X), atol=0.02)


@pytest.mark.parametrize("slope", [0, 0.0, -0.1, np.nan, np.inf, True, np.True_, "0.1", None, [0.1], 1j])
@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_other_slopes_are_refused_as_scikit_learn_refuses_parameters(cls, slope):
    message = rf"The 'negative_slope' parameter of {cls.__name__} must be a float in the range \(0.0, inf\)\. Got "
    for method in ("fit", "partial_fit"):
        with pytest.raises(InvalidParameterError, match=message):
            getattr(leaky(cls, negative_slope=slope), method)(*data(cls))


@pytest.mark.parametrize("slope", [1, np.float32(0.5), np.int64(2)])
def test_any_real_slope_above_zero_is_taken(slope):
    X, y = data(MLPRegressor)
    one, two = (leaky(MLPRegressor, negative_slope=each).fit(X, y) for each in (slope, float(slope)))
    assert (one.predict(X) == two.predict(X)).all()


def test_a_slope_that_the_type_of_the_data_takes_for_zero_is_refused():
    X, y = data(MLPRegressor, np.float32)
    with pytest.raises(ValueError, match=r"negative_slope=1e-50 is too small for float32; give a larger one"):
        leaky(MLPRegressor, negative_slope=1e-50).fit(X, y)


def test_an_unknown_activation_is_refused_with_all_that_are_known():
    with pytest.raises(
        InvalidParameterError, match=r"'activation' parameter of MLPClassifier.*'leaky_relu'.*Got 'elu'"
    ):
        MLPClassifier(activation="elu").fit(*data(MLPClassifier))


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_scikit_learns_own_classes_stay_as_they_are(ours, theirs):
    functions = dict(tables.ACTIVATIONS), dict(tables.DERIVATIVES)
    X, y = data(ours)
    leaky(ours).fit(X, y)
    with pytest.raises(ValueError, match="too small"):
        leaky(ours, negative_slope=1e-320).fit(X, y)  # it fails within the pass
    assert functions == (tables.ACTIVATIONS, tables.DERIVATIVES)
    assert "leaky_relu" not in tables.ACTIVATIONS
    with pytest.raises(InvalidParameterError, match="Got 'leaky_relu' instead"):
        theirs(activation="leaky_relu").fit(X, y)


def test_estimators_with_different_slopes_train_at_the_same_time():
    X, y = data(MLPRegressor)
    slopes = [0.01, 0.1, 0.5, 2.0] * 3
    alone = [leaky(MLPRegressor, negative_slope=slope).fit(X, y).predict(X) for slope in slopes]
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(lambda slope: leaky(MLPRegressor, negative_slope=slope).fit(X, y).predict(X), slopes))
    assert all((a == b).all() for a, b in zip(alone, beside, strict=True))


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_parameters_are_scikit_learns_and_the_slope(ours, theirs):
    assert ours().get_params() == {**theirs().get_params(), "negative_slope": 0.01}
    assert repr(ours(activation="leaky_relu", negative_slope=0.2)) == (
        f"{ours.__name__}(activation='leaky_relu', negative_slope=0.2)"
    )
    with pytest.raises(TypeError, match="negative_slop"):
        ours(negative_slop=0.1)


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_pickles_and_clones(cls):
    X, y = data(cls)
    model = leaky(cls, negative_slope=0.2).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert type(copy) is cls
    assert (copy.predict(X) == model.predict(X)).all()
    assert clone(model).get_params() == model.get_params()


def test_a_subclass_with_parameters_of_its_own_works():
    class Wide(MLPClassifier):
        def __init__(self, width=5, negative_slope=0.1, random_state=None):
            super().__init__(
                (width,), "leaky_relu", negative_slope=negative_slope, random_state=random_state, max_iter=5
            )
            self.width = width

    model = clone(Wide(width=6, random_state=0)).fit(*data(MLPClassifier))
    assert model.coefs_[0].shape == (6, 6)
    assert model.negative_slope == 0.1


def test_a_grid_search_over_the_slope_works_in_several_processes():
    X, y = data(MLPClassifier)
    search = GridSearchCV(leaky(), {"negative_slope": np.logspace(-3, 0, 3)}, cv=2, n_jobs=2).fit(X, y)
    assert search.best_params_["negative_slope"] in np.logspace(-3, 0, 3)
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()


def test_a_version_of_scikit_learn_that_computes_otherwise_is_named(monkeypatch):
    def changed(self, activations):
        return activations

    monkeypatch.setattr(sklearn.neural_network.MLPClassifier, "_forward_pass", changed)
    message = rf"does not know how scikit-learn {re.escape(sklearn.__version__)} computes activations .*changed"
    with pytest.raises(RuntimeError, match=message):
        leaky().fit(*data(MLPClassifier))


def test_a_version_of_scikit_learn_without_a_private_method_is_named():
    code = """
import sklearn
from sklearn.neural_network import MLPClassifier
for cls in MLPClassifier.__mro__:
    if "_backprop" in vars(cls):
        del cls._backprop
try:
    import leakyrelu.sklearn
except ImportError as error:
    assert f"(the perceptrons of scikit-learn {sklearn.__version__} have no _backprop)" in str(error), error
    assert "pip install --upgrade 'leakyrelu[sklearn]'" in str(error), error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_missing_library_is_named():
    code = """
import sys
sys.modules["sklearn"] = None
try:
    import leakyrelu.sklearn
except ImportError as error:
    assert str(error) == "leakyrelu.sklearn needs scikit-learn, which is missing: pip install 'leakyrelu[sklearn]'", error
else:
    raise SystemExit("no error")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# diagnose


ACTIVATE = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z >= 0, z, 0.1 * z),
    "tanh": np.tanh,
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "identity": lambda z: z,
}


def counted_by_hand(model, X):
    """Pre-activations and outputs of each hidden layer."""
    for coefs, intercepts in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        z = X @ coefs + intercepts
        X = ACTIVATE[model.activation](z)
        yield z, X


def assert_counts(diagnosis, model, X):
    by_hand = list(counted_by_hand(model, X))
    assert [site.name for site in diagnosis.sites] == [f"hidden_layer_{i + 1}" for i in range(len(by_hand))]
    assert diagnosis.examples == len(X)
    for site, (z, out) in zip(diagnosis.sites, by_hand, strict=True):
        assert site.examples == site.values == len(X)  # noqa: PD011  # no data frame
        assert site.operation == model.activation
        assert (site.fired == (z > 0).sum(axis=0)).all()
        assert (site.below == (z < 0).any(axis=0)).all()
        np.testing.assert_allclose(site.maximum, z.max(axis=0), rtol=1e-12)
        np.testing.assert_allclose(site.mean_output, abs(out).mean(axis=0), rtol=1e-12)
        never = np.flatnonzero((z <= 0).all(axis=0)).tolist()
        assert site.dead.tolist() == (never if model.activation == "relu" else [])
        assert site.one_sided.tolist() == ([] if model.activation == "relu" else never)


def killed(cls=MLPClassifier, **parameters):
    X, y = data(cls)
    model = leaky(cls, negative_slope=0.1, **parameters).fit(X, y)
    model.intercepts_[0][[1, 4]] = -100
    model.intercepts_[1][2] = -100
    return model, X


@pytest.mark.parametrize("at_once", [2**22, 100])
@pytest.mark.parametrize("activation", list(ACTIVATE))
@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_counts_are_those_made_by_hand(monkeypatch, cls, activation, at_once):
    monkeypatch.setattr(leakyrelu.sklearn, "_AT_ONCE", at_once)
    model, X = killed(cls, activation=activation)
    diagnosis = diagnose(model, X)
    assert_counts(diagnosis, model, X)
    assert {1, 4} <= {*diagnosis.sites[0].dead, *diagnosis.sites[0].one_sided}
    assert bool(diagnosis.notes) == (activation in {"tanh", "logistic"})


@pytest.mark.parametrize("theirs", [sklearn.neural_network.MLPClassifier, sklearn.neural_network.MLPRegressor])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_scikit_learns_own_networks_are_counted(theirs, activation):
    X, y = data(theirs)
    model = theirs(hidden_layer_sizes=(12, 5), activation=activation, random_state=0, max_iter=5).fit(X, y)
    assert_counts(diagnose(model, X), model, X)


def test_two_labels_with_the_logistic_function_in_all_layers_have_sites_for_hidden_layers_alone():
    X, y = make_classification(100, 5, random_state=0)
    model = sklearn.neural_network.MLPClassifier((4,), activation="logistic", random_state=0, max_iter=5).fit(X, y)
    assert model.out_activation_ == "logistic"
    assert_counts(diagnose(model, X), model, X)


def test_pipelines_and_searches_are_counted_on_what_enters_the_network():
    X, y = data(MLPClassifier)
    pipeline = make_pipeline(StandardScaler(), MinMaxScaler(), leaky(negative_slope=0.1))
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1e-2]}, cv=2).fit(100 * X, y)
    best = search.best_estimator_
    assert_counts(diagnose(search, 100 * X), best[-1], best[:-1].transform(100 * X))
    inside = GridSearchCV(leaky(), {"negative_slope": [0.1]}, cv=2)
    outer = make_pipeline(StandardScaler(), inside).fit(100 * X, y)
    assert_counts(diagnose(outer, 100 * X), outer[-1].best_estimator_, outer[0].transform(100 * X))
    alone = make_pipeline(leaky(negative_slope=0.1)).fit(X, y)
    assert_counts(diagnose(alone, X), alone[-1], X)


def test_a_regressor_within_a_transformed_target_is_counted():
    X, y = data(MLPRegressor)
    model = TransformedTargetRegressor(leaky(MLPRegressor, negative_slope=0.1), transformer=StandardScaler()).fit(X, y)
    assert_counts(diagnose(model, X), model.regressor_, X)


@pytest.mark.parametrize(
    "convert",
    [
        np.ndarray.tolist,
        pd.DataFrame,
        scipy.sparse.csr_matrix,
        scipy.sparse.csc_array,
        scipy.sparse.coo_array,
        np.asfortranarray,
    ],
)
def test_every_kind_of_data_that_predict_takes_is_counted(monkeypatch, convert):
    monkeypatch.setattr(leakyrelu.sklearn, "_AT_ONCE", 150)
    model, X = killed(activation="relu")
    assert_counts(diagnose(model, convert(X)), model, X)


def test_a_data_frame_with_other_columns_is_refused():
    X, y = data(MLPClassifier)
    frame = pd.DataFrame(X, columns=list("abcdef"))
    model = leaky(max_iter=2).fit(frame, y)
    assert diagnose(model, frame).examples == len(X)
    with pytest.raises(ValueError, match="feature names should match"):
        diagnose(model, frame.rename(columns={"a": "z"}))


def test_nothing_is_changed_by_a_diagnosis():
    model, X = killed(activation="relu")
    before, data_before = pickle.dumps(model), X.copy()
    diagnose(model, X)
    assert pickle.dumps(model) == before
    assert (data_before == X).all()


def test_infinite_weights_make_units_with_nan_not_dead_ones():
    model, X = killed(activation="relu")
    model.coefs_[0][:, 3] = np.nan
    assert diagnose(model, X).sites[0].nan.tolist() == [3]


@pytest.mark.parametrize(
    "estimator",
    [
        MLPClassifier(),
        sklearn.neural_network.MLPRegressor(),
        make_pipeline(StandardScaler(), MLPClassifier()),
        GridSearchCV(MLPClassifier(), {"negative_slope": [0.1]}),
        TransformedTargetRegressor(MLPRegressor()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_what_is_not_fitted_is_refused_as_by_scikit_learn(estimator):
    with pytest.raises(NotFittedError):
        diagnose(estimator, np.ones((3, 2)))


def test_what_cannot_be_counted_is_named():
    X, y = data(MLPClassifier)
    with pytest.raises(TypeError, match="a search that ends in one, got LogisticRegression"):
        diagnose(LogisticRegression().fit(X, y), X)
    with pytest.raises(TypeError, match=r"last step of the pipeline .* got 'passthrough'"):
        diagnose(make_pipeline(StandardScaler(), "passthrough").fit(X, y), X)
    with pytest.raises(ValueError, match="GridSearchCV was made with refit=False"):
        diagnose(GridSearchCV(leaky(max_iter=2), {"negative_slope": [0.1]}, cv=2, refit=False).fit(X, y), X)
    with pytest.raises(ValueError, match="MLPClassifier has no hidden layer"):
        diagnose(leaky(hidden_layer_sizes=()).fit(X, y), X)
    model = leaky(max_iter=2).fit(X, y)
    with pytest.raises(ValueError, match="X has no examples"):
        diagnose(model, X[:0])
    with pytest.raises(ValueError, match="expecting 6 features"):
        diagnose(model, X[:, :4])


@pytest.mark.parametrize("base", [MLPRegressor, sklearn.neural_network.MLPRegressor])
def test_a_subclass_that_computes_in_a_way_of_its_own_is_not_counted(base):
    class Twice(base):
        def _forward_pass_fast(self, X, check_input=True):
            return 2 * super()._forward_pass_fast(X, check_input)

    class Named(base):
        pass

    X, y = data(base)
    assert diagnose(Named(max_iter=2).fit(X, y), X).units == 100
    with pytest.raises(TypeError, match="Twice computes its output in a way of its own"):
        diagnose(Twice(max_iter=2).fit(X, y), X)


def test_a_convergence_warning_is_still_given():
    with pytest.warns(ConvergenceWarning):
        leaky(max_iter=1).fit(*data(MLPClassifier))

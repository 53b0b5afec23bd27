"""For scikit-learn: its two multi-layer perceptrons with Leaky ReLU, and a diagnosis of dead units for any of them."""

from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter, signature
from numbers import Real
from types import FunctionType
from typing import Any, TypeAlias

import numpy as np

from leakyrelu._shared.extras import needs

with needs("leakyrelu[sklearn]", "leakyrelu.sklearn"):
    import sklearn
    from scipy.sparse import issparse
    from sklearn import neural_network
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.utils import gen_batches, indexable
    from sklearn.utils._param_validation import Interval, StrOptions
    from sklearn.utils.validation import check_is_fitted

    for _name in ("_forward_pass", "_forward_pass_fast", "_backprop"):
        if not hasattr(neural_network.MLPClassifier, _name):
            raise ImportError(f"the perceptrons of scikit-learn {sklearn.__version__} have no {_name}")

from leakyrelu.functions import leaky_relu, leaky_relu_backward
from leakyrelu.units.diagnosis import Diagnosis
from leakyrelu.units.sites import Site

__all__ = ["Diagnosis", "MLPClassifier", "MLPRegressor", "Site", "diagnose"]

_AT_ONCE = 2**22  # how many values of one layer `diagnose` keeps in memory: 32 MB of float64

InPlace: TypeAlias = Callable[..., None]  # as all activations and derivatives of scikit-learn's perceptrons


class _Slope(Interval):  # type: ignore[misc]  # scikit-learn has no types
    """All finite numbers above zero, but no bool, which is a number in Python."""

    def is_satisfied_by(self, val: Any) -> bool:
        return not isinstance(val, bool | np.bool_) and bool(super().is_satisfied_by(val))


def _constraints(base: Any) -> dict[str, Any]:
    """The parameters that a class accepts: those of scikit-learn's class, Leaky ReLU and its slope."""
    (activations,) = base._parameter_constraints["activation"]  # noqa: SLF001
    return {
        **base._parameter_constraints,  # noqa: SLF001
        "activation": [StrOptions({*activations.options, "leaky_relu"})],
        "negative_slope": [_Slope(Real, 0, None, closed="neither")],
    }


def _init(base: Any) -> Callable[..., None]:
    """The `__init__` of a class: that of scikit-learn's class, whatever its version, and the slope.

    scikit-learn reads the names of the parameters from the signature.
    """

    def __init__(self: Any, *args: Any, negative_slope: float = 0.01, **parameters: Any) -> None:  # noqa: N807
        base.__init__(self, *args, **parameters)
        self.negative_slope = negative_slope

    known = signature(base.__init__)
    slope = Parameter("negative_slope", Parameter.KEYWORD_ONLY, default=0.01)
    extended = known.replace(parameters=[*known.parameters.values(), slope])
    __init__.__signature__ = extended  # type: ignore[attr-defined]
    return __init__


class _WithLeakyReLU:
    """The passes through the network. All activations but Leaky ReLU are left to scikit-learn."""

    activation: str
    negative_slope: float

    def _forward_pass(self, *args: Any, **keywords: Any) -> Any:
        return self._extended(super()._forward_pass, _leaky_relu)(*args, **keywords)  # type: ignore[misc]

    def _forward_pass_fast(self, *args: Any, **keywords: Any) -> Any:
        return self._extended(super()._forward_pass_fast, _leaky_relu)(*args, **keywords)  # type: ignore[misc]

    def _backprop(self, *args: Any, **keywords: Any) -> Any:
        return self._extended(super()._backprop, _leaky_relu_derivative)(*args, **keywords)  # type: ignore[misc]

    def _extended(self, method: Any, function: InPlace) -> Any:
        if self.activation != "leaky_relu":
            return method
        return _with(method, {"leaky_relu": partial(function, slope=float(self.negative_slope))})


def _leaky_relu(values: Any, slope: float) -> None:
    if slope < np.finfo(values.dtype).tiny:  # outputs below zero would be rounded to zero, which has no sign for `>= 0`
        raise ValueError(
            f"negative_slope={slope!r} is too small for {values.dtype}; give a larger one, or activation='relu'"
        )
    leaky_relu(values, slope, out=values)


def _leaky_relu_derivative(outputs: Any, delta: Any, slope: float) -> None:
    # As the slope is above zero, the output has the sign of the input.
    leaky_relu_backward(delta, outputs, slope, out=delta)


def _with(method: Any, functions: Mapping[str, InPlace]) -> Any:
    """A method of scikit-learn's perceptrons that uses these activations (or derivatives), too.

    scikit-learn looks functions up by name, in dictionaries that all perceptrons share. This is the same method with a
    dictionary of its own, so that no other estimator and no other thread sees a change.
    """
    function = getattr(method, "__func__", None)
    code = getattr(function, "__code__", None)
    table = next((name for name in ("ACTIVATIONS", "DERIVATIVES") if code and name in code.co_names), "")
    if function is None or code is None or table not in function.__globals__:
        raise RuntimeError(
            f"leakyrelu.sklearn does not know how scikit-learn {sklearn.__version__} computes activations "
            f"({getattr(method, '__qualname__', method)} has changed); install another version of one of the two"
        )
    names = {**function.__globals__, table: {**function.__globals__[table], **functions}}
    extended = FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)
    extended.__kwdefaults__ = function.__kwdefaults__
    return extended.__get__(method.__self__)


class MLPClassifier(_WithLeakyReLU, neural_network.MLPClassifier):  # type: ignore[misc]
    """scikit-learn's `MLPClassifier`, which also accepts ``activation="leaky_relu"``.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, ... :
        All parameters of `sklearn.neural_network.MLPClassifier`, with the same defaults. Beside its activations,
        ``activation="leaky_relu"`` is accepted.
    negative_slope : float, default 0.01
        The slope for negative values, above zero. It is used with ``activation="leaky_relu"``. (`alpha` is what it is
        in scikit-learn: the strength of the L2 regularization.)

    Raises
    ------
    sklearn.utils._param_validation.InvalidParameterError
        A parameter is wrong; `fit` and `partial_fit` raise it. It is a ValueError.

    See Also
    --------
    MLPRegressor : the same for regression.
    diagnose : finds dead units.

    Notes
    -----
    The weights are initialized as for ReLU. scikit-learn computes the derivative from the output of the activation; a
    slope of zero or below is refused, because the output would not tell the sign of the input.

    Examples
    --------
    >>> from leakyrelu.sklearn import MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(activation="leaky_relu", negative_slope=0.1, solver="lbfgs", random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.9)
    True
    """

    _parameter_constraints = _constraints(neural_network.MLPClassifier)
    __init__ = _init(neural_network.MLPClassifier)


class MLPRegressor(_WithLeakyReLU, neural_network.MLPRegressor):  # type: ignore[misc]
    """scikit-learn's `MLPRegressor`, which also accepts ``activation="leaky_relu"``.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver, ... :
        All parameters of `sklearn.neural_network.MLPRegressor`, with the same defaults. Beside its activations,
        ``activation="leaky_relu"`` is accepted.
    negative_slope : float, default 0.01
        The slope for negative values, above zero, as for `MLPClassifier`.

    Raises
    ------
    sklearn.utils._param_validation.InvalidParameterError
        A parameter is wrong; `fit` and `partial_fit` raise it. It is a ValueError.

    See Also
    --------
    MLPClassifier : the same for classification, with notes and an example.
    """

    _parameter_constraints = _constraints(neural_network.MLPRegressor)
    __init__ = _init(neural_network.MLPRegressor)


def diagnose(estimator: Any, X: Any) -> Diagnosis:
    """Find the units of a fitted multi-layer perceptron that never fire on given data, and say how sure that is.

    Each hidden layer is a site, named ``hidden_layer_1`` and so on. Unit ``j`` of the first one is column ``j`` of
    ``coefs_[0]``. Only ReLU is flat below zero, so only its units can be dead; units of Leaky ReLU, tanh, the logistic
    function and the identity that are never above zero are one-sided.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Fitted; from here or from scikit-learn. Or a `Pipeline` whose last step is one, a search such as `GridSearchCV`
        (its `best_estimator_` is taken), or a `TransformedTargetRegressor`.
    X : array, sparse matrix or data frame of shape (n_samples, n_features)
        The data, as `predict` takes them. They go through a pipeline's transformers all at once, and through the
        network in batches.

    Returns
    -------
    Diagnosis
        It has one `Site` per hidden layer.

    Raises
    ------
    TypeError
        `estimator` is of another kind, or a subclass that computes its output in a way of its own.
    ValueError
        `X` is not what the estimator was fitted on, or has no examples; the network has no hidden layer; or a search
        was made with ``refit=False``.
    sklearn.exceptions.NotFittedError
        `estimator` is not fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from leakyrelu.sklearn import diagnose
    >>> from sklearn.neural_network import MLPRegressor
    >>> X = np.linspace(-1, 1, 200).reshape(100, 2)
    >>> model = MLPRegressor(hidden_layer_sizes=8, random_state=0, solver="lbfgs").fit(X, X.sum(axis=1))
    >>> model.intercepts_[0][:3] = -100
    >>> diagnosis = diagnose(model, X)
    >>> diagnosis.sites[0].name, diagnosis.sites[0].dead.tolist()[:3]
    ('hidden_layer_1', [0, 1, 2])
    """
    model, X = _network(estimator, X)
    hidden = model.n_layers_ - 2
    if not hidden:
        raise ValueError(f"{type(model).__name__} has no hidden layer, so it has no units to count")
    (X,) = indexable(X)
    examples = X.shape[0] if hasattr(X, "shape") else len(X)
    if not examples:
        raise ValueError("X has no examples, so nothing was diagnosed")
    widths = [coefs.shape[1] for coefs in model.coefs_] + ([] if issparse(X) else [model.n_features_in_])
    counts = [_Counts(width) for width in widths[:hidden]]
    for part in gen_batches(examples, max(1, _AT_ONCE // max(widths))):
        _run(model, X.iloc[part] if hasattr(X, "iloc") else X[part], counts)
    notes = []
    if model.activation in {"logistic", "tanh"}:
        notes.append(f"no unit of {model.activation} is dead; whether a unit is saturated is not counted")
    sites = [count.site(f"hidden_layer_{i}", model.activation, examples) for i, count in enumerate(counts, 1)]
    return Diagnosis(tuple(sites), examples, tuple(notes))


class _Counts:
    """What is counted of one hidden layer."""

    def __init__(self, units: int) -> None:
        self.fired = np.zeros(units, np.int64)
        self.below = np.zeros(units, np.bool_)
        self.maximum = np.full(units, -np.inf)
        self.magnitude = np.zeros(units)  # the sum of |output|

    def add_input(self, values: Any) -> None:
        self.fired += (values > 0).sum(axis=0)
        self.below |= (values < 0).any(axis=0)
        np.maximum(self.maximum, values.max(axis=0), out=self.maximum)

    def add_output(self, values: Any) -> None:
        self.magnitude += np.abs(values).sum(axis=0, dtype=np.float64)

    def site(self, name: str, operation: str, examples: int) -> Site:
        return Site(
            name=name,
            operation=operation,
            examples=examples,
            values=examples,
            fired=self.fired,
            below=self.below,
            maximum=self.maximum,
            mean_output=self.magnitude / examples,
            flat=operation == "relu",
        )


def _run(model: Any, X: Any, counts: list[_Counts]) -> None:
    """Let a model predict, and count what enters and leaves the activation of each hidden layer."""
    predict = neural_network.MLPClassifier._forward_pass_fast.__get__(model)  # noqa: SLF001  # the regressor's, too
    if model.activation == "leaky_relu":
        compute = partial(_leaky_relu, slope=float(model.negative_slope))
    else:
        compute = predict.__func__.__globals__["ACTIVATIONS"][model.activation]
    owner = next(cls for cls in type(model).__mro__ if predict.__name__ in vars(cls))
    if owner not in {_WithLeakyReLU, *neural_network.MLPClassifier.__mro__}:
        raise TypeError(f"{owner.__name__} computes its output in a way of its own, so its units cannot be counted")
    waiting = iter(counts)

    def observed(values: Any) -> None:
        count = next(waiting, None)
        if count is None:  # the activation of the last layer may be the same, and is no site
            compute(values)
        else:
            count.add_input(values)
            compute(values)
            count.add_output(values)

    _with(predict, {model.activation: observed})(X)


def _network(estimator: Any, X: Any) -> tuple[Any, Any]:
    """The perceptron that an estimator ends in, and the data as they enter it."""
    if isinstance(estimator, neural_network.MLPClassifier | neural_network.MLPRegressor):
        check_is_fitted(estimator)
        return estimator, X
    if isinstance(estimator, Pipeline):
        last = estimator.steps[-1][1]
        if isinstance(last, str) or last is None:
            raise TypeError("the last step of the pipeline must be an MLPClassifier or MLPRegressor, got 'passthrough'")
        check_is_fitted(estimator)
        return _network(last, estimator[:-1].transform(X) if len(estimator.steps) > 1 else X)
    if isinstance(estimator, TransformedTargetRegressor):
        check_is_fitted(estimator)
        return _network(estimator.regressor_, X)
    if hasattr(estimator, "refit"):  # a search, of scikit-learn or of a library that follows it
        check_is_fitted(estimator)
        if not hasattr(estimator, "best_estimator_"):
            raise ValueError(f"{type(estimator).__name__} was made with refit=False, so it has no fitted estimator")
        return _network(estimator.best_estimator_, X)
    raise TypeError(
        "estimator must be a fitted MLPClassifier or MLPRegressor, or a Pipeline or a search that ends in one, "
        f"got {type(estimator).__name__}"
    )

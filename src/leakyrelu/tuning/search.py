"""Choosing alpha by experiment: slopes tried over several seeds, on one machine or on many, with Optuna."""

from collections.abc import Sequence
from functools import cache
from math import inf
from operator import index
from typing import TYPE_CHECKING, Any

from leakyrelu._shared.arguments import ascending_pair
from leakyrelu._shared.digits import load_digits
from leakyrelu._shared.extras import needs
from leakyrelu._shared.progress import Progress, unseen
from leakyrelu.tuning.objective import called_by_name
from leakyrelu.tuning.results import REFERENCES, Tuning

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage

    from leakyrelu.tuning.objective import Objective

__all__ = ["digits_accuracy", "tune"]


def tune(
    objective: "Objective | None" = None,
    *,
    limits: tuple[float, float] = (0.001, 1.0),
    trials: int = 40,
    seeds: int | Sequence[int] = 10,
    storage: "str | BaseStorage | None" = None,
    study_name: str | None = None,
    patience: float = 300.0,
    progress: Progress = unseen,
) -> Tuning:
    """Find out by experiment which slope suits a task, and how sure that is.

    ReLU (slope 0) and Leaky ReLU at 0.01 are always tried. The other slopes are proposed by Optuna's tree-structured
    Parzen estimator, on a log scale. Each is tried with the same seeds, so slopes are compared seed by seed; one that a
    Wilcoxon signed-rank test finds worse than the best so far (p < 0.1) is given up before all its seeds are run.

    Parameters
    ----------
    objective : callable, optional
        ``objective(alpha, seed) -> float``: trains with this slope and this seed, and gives a score; higher is better.
        Its parameters have these names, in either order. It may give a pair instead, the score and the fraction (0 to
        1) of units that are never above zero, which is then shown as well. One that raises, or gives NaN or infinity,
        makes its trial fail; the search goes on. By default `digits_accuracy`.
    limits : (float, float), default (0.001, 1.0)
        The smallest and the largest slope to try, above zero.
    trials : int, default 40
        How many slopes to try in all, ReLU and 0.01 included; at least 3. This is the total of the study: when `tune`
        is called again on the same storage, it continues up to this total, and workers that run at the same time share
        it.
    seeds : int or sequence of int, default 10
        The seeds each slope is tried with, or how many: 0, 1, 2, ...
    storage : str or optuna.storages.BaseStorage, optional
        Where the search is kept: a URL (``sqlite:///tune.db``; one of PostgreSQL, MySQL or Redis, to search with
        several machines), the path of a file (Optuna's journal, which several machines may share), or any storage
        object of Optuna's. By default it is kept in memory.
    study_name : str, optional
        The name of the search in the storage; by default the name of the objective. Give another name or a new storage
        when you have changed the objective: otherwise the scores of both versions are taken for those of one.
    patience : float, default 300
        For how many seconds to wait, with a warning, while the storage's server does not answer or its disk is full.
    progress : callable, optional
        Called with the number of trials that all workers have finished so far, and the number of trials in all.

    Returns
    -------
    Tuning
        All slopes with their scores; ``print(tuning)`` is a table, and what follows from it in sentences.

    Raises
    ------
    ImportError
        Optuna, SciPy or, without an objective, scikit-learn is missing: ``pip install 'leakyrelu[tune]'``.
    TypeError, ValueError
        An argument is not what it should be; the storage cannot be opened, or holds a study of that name that was begun
        with other limits or seeds.
    OSError
        The storage failed during the search. What is finished is kept in it.

    Notes
    -----
    A search can be interrupted or killed at any moment: the next call continues where it ended. The trial of a killed
    worker is taken over by another worker after 20 seconds without a sign of life. A single worker tries the same
    slopes every time, also after an interruption.

    Differences to 0.01 are means over the seeds with 95 % confidence intervals (Student's t). The intervals of the
    proposed slopes hold for all of them at once (Bonferroni), because the best of many is picked by the same scores.
    More seeds narrow them. In simulations of 40 trials with 10 seeds each, in which the slope made no difference, at
    most about one search in a hundred called its best slope better.

    References
    ----------
    T. Akiba et al., "Optuna: A next-generation hyperparameter optimization framework", KDD 2019.

    Examples
    --------
    >>> from leakyrelu.tuning import tune
    >>> def objective(alpha, seed):  # stands for a training run
    ...     return 90 - 20 * abs(alpha - 0.2) + seed % 3
    >>> tuning = tune(objective, trials=12, seeds=5)
    >>> tuning.best.alpha > 0.05, tuning.best.mean > tuning.baseline.mean
    (True, True)
    """
    low, high = ascending_pair("limits", limits, above_zero=True)
    names = _seed_list(seeds)
    if isinstance(trials, bool) or not isinstance(trials, int) or trials <= len(REFERENCES):
        raise ValueError(f"trials must be an integer of at least 3 (ReLU, 0.01 and a slope to try), got {trials!r}")
    function = digits_accuracy if objective is None else objective
    if not callable(function):
        raise TypeError(f"objective must be a function of alpha and seed, got {type(function).__name__}")
    name = study_name or f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"
    if not isinstance(patience, int | float) or not 0 <= patience < inf:
        raise ValueError(f"patience must be a number of seconds, 0 or more, got {patience!r}")
    called = called_by_name(function)
    with needs("leakyrelu[tune]", "the search"):
        import optuna  # noqa: F401
        import scipy  # noqa: F401
    from leakyrelu.tuning.storage import opened
    from leakyrelu.tuning.workers import Worker, finished

    with opened(storage, name, float(patience)) as (study, trials_of_study):
        _same_settings(study, {"limits": [low, high], "seeds": names})
        worker = Worker(study, trials_of_study, called, (low, high), names)
        while (trial := worker.take(trials, progress)) is not None:
            worker.run(trial)
        return Tuning((low, high), tuple(names), finished(study, names))


def digits_accuracy(alpha: float, seed: int) -> tuple[float, float]:
    """Train the network of `leakyrelu.demo` on digits: the objective that `tune` has by default.

    Parameters
    ----------
    alpha : float
        The slope.
    seed : int
        The seed of the split, the weights and the batches.

    Returns
    -------
    (float, float)
        Its test accuracy in percent, and the fraction of its units that are never above zero on the training images.

    Raises
    ------
    ImportError
        scikit-learn is missing: ``pip install 'leakyrelu[demo]'``.
    """
    from leakyrelu.demo.networks import Setting, train

    setting = Setting()
    run = train(setting, alpha, seed, _digits())
    return 100 * float(run.accuracy[-1]), float(run.never_positive[-1].sum() / sum(setting.hidden))


_digits = cache(load_digits)


def _seed_list(seeds: int | Sequence[int]) -> list[int]:
    try:
        names = list(range(index(seeds))) if hasattr(seeds, "__index__") else [index(seed) for seed in seeds]
    except TypeError:
        raise TypeError(f"seeds must be a number of seeds or a sequence of integers, got {seeds!r}") from None
    if not names or len(set(names)) < len(names):
        raise ValueError(f"seeds must be at least one, and all different, got {seeds!r}")
    return names


def _same_settings(study: "Study", settings: dict[str, Any]) -> None:
    """Check that the study was begun with these settings; a new study gets them."""
    for key, value in settings.items():
        if study.user_attrs.get(key, value) != value:
            raise ValueError(
                f"the study {study.study_name!r} was begun with {key} {study.user_attrs[key]}, not {value}; "
                "ask for the same, or give study_name another name"
            )
    for key, value in settings.items():
        study.set_user_attr(key, value)

"""A search that several workers share, over any storage of Optuna's.

A trial is one slope over its seeds. Trials 0 to ``total - 1`` of the study are the search, and the storage is all that
the workers share:

- *waiting*: to be had. A worker takes one by setting it to running, which the storage lets one worker do only.
- *running*: its worker leaves a sign of life every few seconds. A trial without one is put back to waiting, with the
  scores it has: what a worker killed in the middle has found is kept, and only the seed it was at is run again.
- *complete*, *pruned* or *failed*: for good.
"""

import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from leakyrelu.slopes import REFERENCES, Slope, State

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial
    from sqlalchemy.engine import Connection, Engine

__all__ = ["Objective", "Worker", "finished", "opened"]

Objective: TypeAlias = Callable[[float, int], float | tuple[float, float]]

_ALPHA, _WORKER, _SIGN, _FRACTIONS, _ERROR = "alpha", "worker", "sign_of_life", "never_positive", "error"
_SIGN_SECONDS = 3.0
_SILENCE_SECONDS = 20.0  # without a sign of life, after which a worker counts as gone
_WAIT_SECONDS = 0.2
_ATTEMPTS = 10


@contextmanager
def opened(storage: "str | BaseStorage | None", name: str) -> Iterator[tuple["BaseStorage", "Study"]]:
    """The storage, and the study of this name in it, made where it is missing.

    Raises
    ------
    ValueError
        The storage cannot be opened, or its study of this name is to be minimised.
    """
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage
    from optuna.study import StudyDirection
    from sqlalchemy.exc import SQLAlchemyError

    backend, study = _study(storage, name)
    try:
        if study.direction != StudyDirection.MAXIMIZE:
            raise ValueError(
                f"the study {name!r} is to be minimised, and was not begun by leakyrelu; choose another name"
            )
        yield backend, study
    except (SQLAlchemyError, StorageInternalError) as error:
        raise OSError(f"the storage failed: {_reason(error)}; what is finished is kept in it: go on later") from error
    finally:
        backend.remove_session()
        if isinstance(storage, str) and isinstance(backend, RDBStorage):
            backend.engine.dispose()


def _study(storage: "str | BaseStorage | None", name: str) -> tuple["BaseStorage", "Study"]:
    import optuna
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # nothing is to be said of a study that was made
    try:
        for left in reversed(range(_ATTEMPTS)):
            try:
                with _quiet():
                    backend = _storage(storage)
                    pruner = optuna.pruners.WilcoxonPruner()
                    return backend, optuna.create_study(
                        storage=backend, study_name=name, direction="maximize", load_if_exists=True, pruner=pruner
                    )
            except ImportError as error:
                driver = getattr(error.__cause__, "name", None) or error
                raise ImportError(f"the storage needs a driver that is not installed: {driver}") from error
            except (SQLAlchemyError, StorageInternalError, OSError) as error:
                # Two workers that begin at the same time both make the tables, and one of them fails: once more.
                if not left or isinstance(error, ArgumentError):
                    raise ValueError(
                        f"the storage cannot be opened: {_reason(error)}; give a URL such as sqlite:///tune.db"
                    ) from error
            time.sleep(_WAIT_SECONDS)
    finally:
        optuna.logging.set_verbosity(verbosity)
    raise AssertionError("the last attempt returns or raises")


def _reason(error: Exception) -> str:
    return str(error.__cause__ or error).partition("\n")[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's word that something is experimental, and a driver's that a failed connection was not closed."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def _storage(storage: "str | BaseStorage | None") -> "BaseStorage":
    from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalRedisBackend

    if storage is None:
        return InMemoryStorage()
    if isinstance(storage, BaseStorage):
        return storage
    if not isinstance(storage, str):
        raise TypeError(f"storage must be a URL, a path or a storage of Optuna's, got {type(storage).__name__}")
    if storage.startswith("redis"):
        return JournalStorage(JournalRedisBackend(storage))
    if "://" not in storage:
        _must_be_journal(storage)
        return JournalStorage(JournalFileBackend(storage))
    if not storage.startswith("sqlite"):
        return RDBStorage(storage)
    backend = RDBStorage(storage, engine_kwargs={"connect_args": {"timeout": 60}})
    _serialise(backend.engine)
    return backend


def _must_be_journal(path: str) -> None:
    """Refuse any other file before it is appended to."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a string, as Optuna takes it
            begins = file.read(16)
    except FileNotFoundError:
        return  # to be made
    if begins == b"SQLite format 3\0":
        raise ValueError(f"{path} is a SQLite database; give it as sqlite:///{path}")
    if begins and not begins.startswith(b"{"):
        raise ValueError(f"{path} is no journal of Optuna's, and is left as it is; give another path")


def _serialise(engine: "Engine") -> None:
    """Make SQLite hold its lock from the beginning of a transaction to its end.

    It has no SELECT ... FOR UPDATE, so otherwise two workers may both read that a trial is waiting, and both take it.
    """
    from sqlalchemy import event

    engine.dispose()  # of connections that were made without this

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: "Connection") -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class Worker:
    """Takes trials one after the other, and runs them."""

    def __init__(
        self,
        storage: "BaseStorage",
        study: "Study",
        objective: Objective,
        slopes: tuple[float, float],
        seeds: list[int],
    ) -> None:
        self.storage, self.study, self.objective, self.slopes, self.seeds = storage, study, objective, slopes, seeds
        self.name = secrets.token_hex(8)
        self.study_id = storage.get_study_id_from_name(study.study_name)
        self.signs: dict[int, tuple[Any, float]] = {}  # by trial: the last sign of life, and when it was first seen

    def take(self, total: int, progress: Callable[[int, int], object]) -> "FrozenTrial | None":
        """A trial for this worker alone; none where all are finished. Waits while others run the last ones."""
        from optuna import create_trial
        from optuna.trial import TrialState

        while True:
            trials = self.study.get_trials(deepcopy=False)[:total]
            progress(sum(trial.state.is_finished() for trial in trials), total)
            for trial in trials:
                if trial.state == TrialState.WAITING and self._claim(trial):
                    return trial
            # One that was waiting is another worker's now: running, though not yet when it was read.
            others = [trial for trial in trials if not trial.state.is_finished()]
            gone = [trial for trial in others if trial.state == TrialState.RUNNING and self._is_gone(trial)]
            for trial in gone:
                self._set(trial, TrialState.WAITING)
            if len(trials) < total:
                self.study.add_trial(create_trial(state=TrialState.WAITING))
            elif not others:
                return None
            elif not gone:
                time.sleep(_WAIT_SECONDS)

    def _id(self, trial: "FrozenTrial | Trial") -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self.study_id, trial.number)

    def _set(self, trial: "FrozenTrial | Trial", state: Any) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            return self.storage.set_trial_state_values(self._id(trial), state=state)
        except UpdateFinishedTrialError:
            return False

    def _claim(self, trial: "FrozenTrial") -> bool:
        from optuna.trial import TrialState

        if not self._set(trial, TrialState.RUNNING):
            return False
        self.storage.set_trial_user_attr(self._id(trial), _WORKER, self.name)
        return True

    def _is_gone(self, trial: "FrozenTrial") -> bool:
        """Whether its worker is silent. Signs are compared with each other, never with a clock of another machine."""
        sign = (trial.user_attrs.get(_WORKER), trial.user_attrs.get(_SIGN))
        now = time.monotonic()
        if self.signs.get(trial.number, (None, now))[0] != sign:
            self.signs[trial.number] = (sign, now)
        return now - self.signs[trial.number][1] > _SILENCE_SECONDS

    def _is_mine(self, trial: "Trial") -> bool:
        """Not so where this process was asleep for so long that another worker has taken the trial."""
        from optuna.trial import TrialState

        now = self.storage.get_trial(self._id(trial))
        return now.state == TrialState.RUNNING and now.user_attrs.get(_WORKER) == self.name

    @contextmanager
    def _signs_of_life(self, trial: "Trial") -> Iterator[None]:
        number, done = self._id(trial), threading.Event()

        def leave_signs() -> None:
            count = 0
            while not done.wait(_SIGN_SECONDS):
                count += 1
                with suppress(Exception):  # a busy database gets the next one
                    self.storage.set_trial_user_attr(number, _SIGN, f"{self.name} {count}")
            self.storage.remove_session()

        thread = threading.Thread(target=leave_signs, name="leakyrelu-sign-of-life", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def run(self, taken: "FrozenTrial") -> None:
        """Run the trial's slope on the seeds that are left, and tell the study how it ended."""
        from optuna import Trial
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        # A sampler that begins at the trial's number proposes the same after an interruption as without one.
        with _quiet():
            self.study.sampler = TPESampler(seed=taken.number, constant_liar=True)
        trial = Trial(self.study, self._id(taken))
        try:
            with self._signs_of_life(trial):
                ended = self._run_seeds(trial, dict(trial.user_attrs))
        except (KeyboardInterrupt, GeneratorExit):
            self._set(trial, TrialState.WAITING)  # for the next one, who goes on with the seed interrupted
            raise
        if ended is None or not self._is_mine(trial):
            return
        scores = self.storage.get_trial(self._id(trial)).intermediate_values.values()
        self.study.tell(trial, float(np.mean(list(scores))) if ended is State.COMPLETE else None, _optuna_state(ended))

    def _run_seeds(self, trial: "Trial", known: dict[str, Any]) -> State | None:
        """How the trial ended; None where it is another worker's now."""
        alpha = known[_ALPHA] if _ALPHA in known else self._slope(trial)
        fractions = dict(known.get(_FRACTIONS, {}))
        done = self.storage.get_trial(self._id(trial)).intermediate_values
        for step, seed in enumerate(self.seeds):
            if step in done:
                continue
            try:
                score, fraction = _score(self.objective(alpha, seed))
            except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever somebody's code does
                said = " ".join(f"seed {seed}: {type(error).__name__}: {error}".split()).removesuffix(":")  # one line
                trial.set_user_attr(_ERROR, said[:500])
                return State.FAILED
            if not self._is_mine(trial):
                return None
            if fraction is not None:
                fractions[str(step)] = fraction
                trial.set_user_attr(_FRACTIONS, fractions)
            trial.report(score, step)
            if trial.number >= len(REFERENCES) and step < len(self.seeds) - 1 and trial.should_prune():
                return State.PRUNED
        return State.COMPLETE

    def _slope(self, trial: "Trial") -> float:
        if trial.number < len(REFERENCES):
            alpha = REFERENCES[trial.number]
        else:
            alpha = trial.suggest_float(_ALPHA, *self.slopes, log=True)
        trial.set_user_attr(_ALPHA, alpha)
        return alpha


def _score(result: Any) -> tuple[float, float | None]:
    score, fraction = result if isinstance(result, tuple) else (result, None)
    score = float(score)
    if not isfinite(score):
        raise ValueError(f"the objective gave {score}")
    if fraction is None:
        return score, None
    fraction = float(fraction)
    if not 0 <= fraction <= 1:
        raise ValueError(f"the objective gave {fraction} as the fraction of units never above zero")
    return score, fraction


def _optuna_state(state: State) -> Any:
    from optuna.trial import TrialState

    return {State.COMPLETE: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED, State.FAILED: TrialState.FAIL}[state]


def finished(study: "Study", seeds: list[int]) -> tuple[Slope, ...]:
    """All that is finished, in the order of the trials."""
    states = {_optuna_state(state): state for state in State}
    return tuple(
        Slope(
            trial=trial.number,
            alpha=trial.user_attrs[_ALPHA],
            state=states[trial.state],
            scores={seeds[step]: score for step, score in sorted(trial.intermediate_values.items())},
            never_positive={seeds[int(step)]: x for step, x in trial.user_attrs.get(_FRACTIONS, {}).items()},
            error=trial.user_attrs.get(_ERROR) if trial.state == _optuna_state(State.FAILED) else None,
        )
        for trial in study.get_trials(deepcopy=False)
        if trial.state in states and _ALPHA in trial.user_attrs
    )

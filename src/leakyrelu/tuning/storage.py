"""Where a search is kept: any storage of Optuna's, and the trials in it, which the workers share.

Optuna documents how to run a study, but not how workers hand trials to each other. Its storages have methods for that,
which are meant for Optuna's own developers (`BaseStorage`). Only `StoredTrials` uses them. If a version of Optuna lacks
one, `AskedTrials` is used instead, which needs the documented methods alone; there, a trial whose worker ended before
it did counts as failed.
"""

import sqlite3
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from leakyrelu.tuning.secrets import refuse_misspelt, shown_storage

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial
    from sqlalchemy.engine import Connection, Engine

    from leakyrelu.tuning.patience import Patience

__all__ = ["NEEDED", "AskedTrials", "StoredTrials", "Trials", "opened", "shared_trials"]

NEEDED = (  # of a storage
    "get_study_id_from_name",
    "get_trial_id_from_study_id_trial_number",
    "get_trial",
    "set_trial_state_values",
    "set_trial_user_attr",
    "remove_session",
)
WORKER = "worker"  # the attribute of a trial that names its worker
_WAIT_SECONDS = 0.2
_ATTEMPTS = 10


@contextmanager
def opened(storage: Any, name: str, patience: float = 0.0) -> Iterator[tuple["Study", "Trials"]]:
    """Give the study of this name in a storage, and its trials; the study is made if it is missing.

    Parameters
    ----------
    storage : str or optuna.storages.BaseStorage or None
        As for `tune`.
    name : str
        The name of the study.
    patience : float, default 0
        For how many seconds to wait while the storage fails.

    Raises
    ------
    ValueError
        The storage cannot be opened, or its study of this name is to be minimised.
    OSError
        The storage failed, and waiting did not help.
    """
    from optuna.study import StudyDirection

    from leakyrelu.tuning.patience import Patience, reason

    with ExitStack() as at_the_end:
        patient = Patience(patience, storage)
        study, trials = _study(storage, name, patient, at_the_end)
        try:
            at_the_end.callback(trials.leave)
            if study.direction != StudyDirection.MAXIMIZE:
                raise ValueError(
                    f"the study {name!r} is to be minimised, and was not begun by leakyrelu; choose another name"
                )
            yield study, trials
        except BrokenPipeError:
            raise
        except _errors() as error:
            raise OSError(
                f"the storage {shown_storage(storage)} failed: {reason(error, storage)}; it keeps what is finished, "
                "and a later call continues"
            ) from error


def _errors() -> tuple[type[Exception], ...]:
    """What a storage raises when it fails."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    redis = sys.modules.get("redis")
    return SQLAlchemyError, StorageInternalError, OSError, *([] if redis is None else [redis.RedisError])


def _study(storage: Any, name: str, patience: "Patience", at_the_end: ExitStack) -> tuple["Study", "Trials"]:
    """The study and its trials; what is opened for them is closed by `at_the_end`."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # Optuna would report that it made a study
    try:
        for left in reversed(range(_ATTEMPTS)):
            try:
                return patience.ask(lambda: _begun(storage, name, patience, at_the_end))
            except ImportError as error:
                driver = getattr(error.__cause__, "name", None) or getattr(error, "name", None) or error
                raise ImportError(
                    f"the storage {shown_storage(storage)} needs a driver that is not installed: {driver}"
                ) from error
            except _errors() as error:
                # Two workers that begin at the same time both make the tables, and one of them fails: try again.
                if not left or may_never_pass(error):
                    raise _cannot_be_opened(storage, error) from error
            time.sleep(_WAIT_SECONDS)
    finally:
        optuna.logging.set_verbosity(verbosity)
    raise AssertionError("the last attempt returns or raises")


def _begun(storage: Any, name: str, patience: "Patience", at_the_end: ExitStack) -> tuple["Study", "Trials"]:
    """One attempt to open the storage and to load the study, or to make it."""
    import optuna

    from leakyrelu.tuning.patience import PatientStorage

    with quiet(), ExitStack() as after_a_failure:
        backend: Any = after_a_failure.enter_context(_storage(storage))
        asked = backend
        if not isinstance(backend, optuna.storages.InMemoryStorage):
            # Optuna keeps finished trials of a database in memory, and has no documented name for that.
            cached = getattr(optuna.storages, "get_storage", lambda each: each)(backend)
            asked, backend = PatientStorage(cached, patience), PatientStorage(backend, patience)
        pruner = optuna.pruners.WilcoxonPruner()
        study = optuna.create_study(
            storage=asked, study_name=name, direction="maximize", load_if_exists=True, pruner=pruner
        )
        trials = shared_trials(study, backend)
        trials.patience = patience
        at_the_end.push(after_a_failure.pop_all())
        return study, trials


def may_never_pass(error: Exception) -> bool:
    """Whether no other attempt will open the storage, however short the patience."""
    from sqlalchemy.exc import ArgumentError

    from leakyrelu.tuning.patience import may_pass

    return isinstance(error, ArgumentError) or may_pass(error)  # which was waited for already


def _cannot_be_opened(storage: Any, error: Exception) -> ValueError:
    from leakyrelu.tuning.patience import reason

    return ValueError(
        f"the storage {shown_storage(storage)} cannot be opened: {reason(error, storage)}; give a URL such as "
        "sqlite:///tune.db or postgresql+psycopg://USER@HOST/NAME, in which a password has %40 for @ and %2F for /"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Optuna's warning that something is experimental."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


@contextmanager
def _storage(storage: Any) -> Iterator["BaseStorage"]:
    """The storage; one that is opened here is closed at the end."""
    from optuna.storages import InMemoryStorage, JournalStorage, RDBStorage
    from optuna.storages.journal import JournalRedisBackend

    if storage is None:
        yield InMemoryStorage()
    elif isinstance(storage, _kinds_of_storages()):
        yield storage
    elif not isinstance(storage, str):
        raise TypeError(f"storage must be a URL, a path or a storage of Optuna's, got {type(storage).__name__}")
    elif "://" not in storage:
        refuse_misspelt(storage)
        from leakyrelu.tuning.journal import Journal

        yield JournalStorage(Journal(storage))
    elif storage.startswith("redis"):
        with _parsing(storage):
            journal = JournalRedisBackend(storage)
        yield JournalStorage(journal)
    else:
        with _connections(storage) as keywords:
            with _parsing(storage):
                backend = RDBStorage(storage, engine_kwargs=keywords)
            try:
                if storage.startswith("sqlite"):
                    _serialise(backend.engine)
                yield backend
            finally:
                backend.engine.dispose()


@contextmanager
def _parsing(storage: str) -> Iterator[None]:
    """Say in words without secrets that a URL cannot be read."""
    try:
        yield
    except ValueError as error:  # of urllib or of SQLAlchemy, such as for a port that is no number
        raise _cannot_be_opened(storage, error) from None


@contextmanager
def _connections(url: str) -> Iterator[dict[str, Any]]:
    """How SQLAlchemy is to connect to a database.

    A connection to SQLite whose first query fails, as on a file that is no database, is closed by nobody: SQLAlchemy
    forgets it. So all of them are closed here.
    """
    if not url.startswith("sqlite"):
        yield {"pool_pre_ping": True}  # as Optuna has it for MySQL: connections that were closed meanwhile are replaced
        return
    made: list[sqlite3.Connection] = []

    def connection(*arguments: Any, **keywords: Any) -> sqlite3.Connection:
        made.append(sqlite3.Connection(*arguments, **keywords))
        return made[-1]

    try:
        yield {"connect_args": {"timeout": 60, "factory": connection}}
    finally:
        for each in made:
            each.close()


def _serialise(engine: "Engine") -> None:
    """Make SQLite hold its lock from the beginning of a transaction to its end.

    It has no SELECT ... FOR UPDATE, so otherwise two workers may both read that a trial is waiting, and both take it.
    """
    from sqlalchemy import event

    engine.dispose()  # close the connections that were made without these listeners

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: "Connection") -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class StoredTrials:
    """The trials of a study, by way of its storage."""

    patience: "Patience"

    def __init__(self, study: "Study", storage: "BaseStorage") -> None:
        self._study, self._storage = study, storage
        self._study_id = storage.get_study_id_from_name(study.study_name)

    def add(self) -> None:
        """Add a trial that waits for a worker."""
        from optuna import create_trial
        from optuna.trial import TrialState

        self._study.add_trial(create_trial(state=TrialState.WAITING))

    def claim(self, trial: "FrozenTrial", worker: str) -> "Trial | None":
        """Take a waiting trial for this worker; None if another worker was quicker."""
        from optuna import Trial
        from optuna.trial import TrialState

        if not self._set(trial, TrialState.RUNNING):
            return None
        self.write(trial, WORKER, worker)
        return Trial(self._study, self._id(trial))

    def put_back(self, trial: "FrozenTrial | Trial") -> None:
        """Set a trial back to waiting, so that any worker may continue it, unless it has ended meanwhile."""
        from optuna.trial import TrialState

        self._set(trial, TrialState.WAITING)

    def _set(self, trial: "FrozenTrial | Trial", state: Any) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            return self._storage.set_trial_state_values(self._id(trial), state=state)
        except UpdateFinishedTrialError:
            return False

    def sign(self, trial: "FrozenTrial | Trial", key: str, value: Any) -> None:
        """Set an attribute of a trial if the storage works; whoever calls this does not wait for it."""
        with self.patience.none():
            self.write(trial, key, value)

    def write(self, trial: "FrozenTrial | Trial", key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        self._storage.set_trial_user_attr(self._id(trial), key, value)

    def now(self, trial: "Trial") -> "FrozenTrial":
        """The trial as it is in the storage at this moment."""
        return self._storage.get_trial(self._id(trial))

    def _id(self, trial: "FrozenTrial | Trial") -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)

    def leave(self) -> None:
        """Give back the connection that this thread holds."""
        self._storage.remove_session()


class AskedTrials:
    """The same with the methods that Optuna documents: `ask` and `tell`."""

    patience: "Patience"

    def __init__(self, study: "Study") -> None:
        self._study = study

    def add(self) -> None:
        """Add a trial that waits for a worker."""
        self._study.enqueue_trial({})

    def claim(self, trial: "FrozenTrial", worker: str) -> "Trial | None":  # noqa: ARG002
        """Take a trial for this worker: a waiting one, though perhaps not the one wanted, or else a new one."""
        asked = self._study.ask()
        asked.set_user_attr(WORKER, worker)
        return asked

    def put_back(self, trial: "FrozenTrial | Trial") -> None:
        """Mark a trial as failed: with these methods no other worker can continue it."""
        from optuna.trial import TrialState

        self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def sign(self, trial: "FrozenTrial | Trial", key: str, value: Any) -> None:
        """Set an attribute of a trial if the storage works; whoever calls this does not wait for it."""
        with self.patience.none():
            self.write(trial, key, value)

    def write(self, trial: "FrozenTrial | Trial", key: str, value: Any) -> None:
        """Set an attribute of a trial that is this worker's."""
        trial.set_user_attr(key, value)

    def now(self, trial: "Trial") -> "FrozenTrial":
        """The trial as it is in the storage at this moment."""
        return self._study.get_trials(deepcopy=False)[trial.number]

    def leave(self) -> None:
        """Do nothing: these methods do not show which connection this thread holds."""


Trials: TypeAlias = StoredTrials | AskedTrials


def shared_trials(study: "Study", storage: Any) -> Trials:
    """The trials of a study: `StoredTrials` if the storage has the methods that it needs, else `AskedTrials`."""
    return StoredTrials(study, storage) if all(hasattr(storage, name) for name in NEEDED) else AskedTrials(study)


def _kinds_of_storages() -> Any:
    """The base class of Optuna's storages; if Optuna does not export it, the classes that it exports."""
    from optuna import storages

    return getattr(storages, "BaseStorage", (storages.InMemoryStorage, storages.JournalStorage, storages.RDBStorage))

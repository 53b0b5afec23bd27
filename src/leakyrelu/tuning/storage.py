"""Where a search is kept: any storage of Optuna's, and the trials in it, which the workers share.

Optuna documents how to run a study, but not how workers hand trials to each other. Its storages have methods for that,
which are meant for Optuna's own developers (`BaseStorage`). Only `StoredTrials` uses them. If a version of Optuna lacks
one, `AskedTrials` is used instead, which needs the documented methods alone; there, a trial whose worker ended before
it did counts as failed.
"""

import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from leakyrelu._shared.wording import first_line

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial, Trial
    from sqlalchemy.engine import Connection, Engine

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
def opened(storage: Any, name: str) -> Iterator[tuple["Study", "Trials"]]:
    """Give the study of this name in a storage, and its trials; the study is made if it is missing.

    Parameters
    ----------
    storage : str or optuna.storages.BaseStorage or None
        As for `tune`.
    name : str
        The name of the study.

    Raises
    ------
    ValueError
        The storage cannot be opened, or its study of this name is to be minimised.
    """
    from optuna.exceptions import StorageInternalError
    from optuna.study import StudyDirection
    from sqlalchemy.exc import SQLAlchemyError

    with ExitStack() as at_the_end:
        backend, study = _study(storage, name, at_the_end)
        try:
            trials = shared_trials(study, backend)
            at_the_end.callback(trials.leave)
            if study.direction != StudyDirection.MAXIMIZE:
                raise ValueError(
                    f"the study {name!r} is to be minimised, and was not begun by leakyrelu; choose another name"
                )
            yield study, trials
        except (SQLAlchemyError, StorageInternalError) as error:
            reason = first_line(error.__cause__ or error)
            raise OSError(
                f"the storage failed: {reason}; it keeps what is finished, and a later call continues"
            ) from error


def _study(storage: Any, name: str, at_the_end: ExitStack) -> tuple["BaseStorage", "Study"]:
    """The storage and its study; what is opened for them is closed by `at_the_end`."""
    import optuna
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # Optuna would report that it made a study
    try:
        for left in reversed(range(_ATTEMPTS)):
            try:
                with quiet(), ExitStack() as after_a_failure:
                    backend = after_a_failure.enter_context(_storage(storage))
                    pruner = optuna.pruners.WilcoxonPruner()
                    study = optuna.create_study(
                        storage=backend, study_name=name, direction="maximize", load_if_exists=True, pruner=pruner
                    )
                    at_the_end.push(after_a_failure.pop_all())
                    return backend, study
            except ImportError as error:
                driver = getattr(error.__cause__, "name", None) or error
                raise ImportError(f"the storage needs a driver that is not installed: {driver}") from error
            except (SQLAlchemyError, StorageInternalError, OSError) as error:
                # Two workers that begin at the same time both make the tables, and one of them fails: try again.
                if not left or isinstance(error, ArgumentError):
                    raise ValueError(
                        f"the storage cannot be opened: {first_line(error.__cause__ or error)}; give a URL such as sqlite:///tune.db"
                    ) from error
            time.sleep(_WAIT_SECONDS)
    finally:
        optuna.logging.set_verbosity(verbosity)
    raise AssertionError("the last attempt returns or raises")


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
    from optuna.storages.journal import JournalFileBackend, JournalRedisBackend

    if storage is None:
        yield InMemoryStorage()
    elif isinstance(storage, _kinds_of_storages()):
        yield storage
    elif not isinstance(storage, str):
        raise TypeError(f"storage must be a URL, a path or a storage of Optuna's, got {type(storage).__name__}")
    elif storage.startswith("redis"):
        yield JournalStorage(JournalRedisBackend(storage))
    elif "://" not in storage:
        _must_be_journal(storage)
        yield JournalStorage(JournalFileBackend(storage))
    else:
        with _connections(storage) as keywords:
            backend = RDBStorage(storage, engine_kwargs=keywords)
            try:
                if storage.startswith("sqlite"):
                    _serialise(backend.engine)
                yield backend
            finally:
                backend.engine.dispose()


@contextmanager
def _connections(url: str) -> Iterator[dict[str, Any]]:
    """How SQLAlchemy is to connect to a database.

    A connection to SQLite whose first query fails, as on a file that is no database, is closed by nobody: SQLAlchemy
    forgets it. So all of them are closed here.
    """
    if not url.startswith("sqlite"):
        yield {}
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


def _must_be_journal(path: str) -> None:
    """Refuse a file that is no journal, before anything is appended to it."""
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

    engine.dispose()  # close the connections that were made without these listeners

    @event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: "Connection") -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class StoredTrials:
    """The trials of a study, by way of its storage."""

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

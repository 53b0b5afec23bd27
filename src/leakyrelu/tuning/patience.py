"""A storage that waits while its server restarts or its disk is full.

SQLAlchemy, and so Optuna, gives up at the first error, except that `pool_pre_ping` replaces connections that were
closed meanwhile. Optuna's heartbeat and `RetryHeartbeatStaleTrialCallback` are about workers that are gone, not about
storages.
"""

import errno
import math
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from leakyrelu._shared.wording import first_line
from leakyrelu.tuning.secrets import shown_storage, without_secrets

if TYPE_CHECKING:
    from optuna.trial import TrialState

__all__ = ["Patience", "PatientStorage", "may_pass", "reason"]

_T = TypeVar("_T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds
_FULL_OR_AWAY = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT}
# What no waiting mends, in the words of the drivers for PostgreSQL, MySQL and Redis.
_FINAL = re.compile(
    r"authenticat|access denied|does not exist|unknown database|pg_hba\.conf|no password|not known|permission denied"
    r"|invalid password|wrongpass|noauth|invalid port|unsupported",
    re.IGNORECASE,
)


class Patience:
    """For how long a storage that fails is asked again.

    Parameters
    ----------
    seconds : float
        How long to wait for one operation. 0: it is asked once.
    storage : object
        What the user gave, to name it.
    """

    def __init__(self, seconds: float, storage: object) -> None:
        self.seconds, self.storage = seconds, storage
        self._thread = threading.local()
        self._lock = threading.Lock()
        self._failed = -math.inf  # when it failed for the last time

    @contextmanager
    def none(self) -> Iterator[None]:
        """Ask once, in this thread and block."""
        self._thread.hurried = True
        try:
            yield
        finally:
            self._thread.hurried = False

    def ask(self, operation: Callable[[], _T], before_again: Callable[[], object] = lambda: None) -> _T:
        """What the operation gives, when the storage works again.

        An outage is said once: a failure soon after another one belongs to it, whichever operation and thread met them.
        """
        begun, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            try:
                return operation()
            except Exception as error:
                now = time.monotonic()
                left = self.seconds - (now - begun)
                if getattr(self._thread, "hurried", False) or left <= 0 or not may_pass(error):
                    raise
                with self._lock:
                    before, self._failed = self._failed, now
                if now - before > self.seconds:
                    warnings.warn(
                        f"the storage {shown_storage(self.storage)} fails ({reason(error, self.storage)}); waiting for "
                        f"up to {self.seconds:g} seconds",
                        stacklevel=2,
                    )
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
            before_again()


def reason(error: BaseException, storage: object) -> str:
    """What a storage's error says, in one line and without secrets."""
    return without_secrets(first_line(_cause(error)), storage)


def _cause(error: BaseException) -> BaseException:
    """What the driver raised, which Optuna and SQLAlchemy wrap."""
    from optuna.exceptions import StorageInternalError

    while isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    return getattr(error, "orig", None) or error


def may_pass(error: Exception) -> bool:
    """Whether the storage may work again without anybody changing the command."""
    cause = _cause(error)
    text = str(cause)
    if isinstance(cause, OSError) and cause.errno in _FULL_OR_AWAY:
        return True
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(cause).__mro__}
    if "sqlite3.OperationalError" in kinds:
        return any(words in text for words in ("is full", "disk I/O error", "is locked"))
    if "sqlalchemy.PendingRollbackError" in kinds:
        # Optuna took the loss of the connection for a query that was too long, and went on in the same session.
        return True
    gone = {"redis.ConnectionError", "redis.TimeoutError", "redis.OutOfMemoryError", "redis.BusyLoadingError"}
    named = {name.partition(".")[2] for name in kinds}
    server = bool(kinds & gone) or (
        hasattr(error, "__cause__") and bool(named & {"OperationalError", "InterfaceError"})
    )
    return server and _FINAL.search(text) is None


class PatientStorage:
    """Another storage of Optuna's, each of whose methods is asked again while the storage fails.

    All of them can be: what was done, and whose answer was lost, is the same when it is done again, but for a trial
    that was finished, a study, which is known by its name, and a new trial, of which one more then waits.
    """

    def __init__(self, storage: Any, patience: Patience) -> None:
        self._storage, self._patience = storage, patience

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)
        if not callable(method) or name == "remove_session":
            return method

        def asked(*arguments: Any, **keywords: Any) -> Any:
            return self._patience.ask(lambda: method(*arguments, **keywords), self._forget)

        return asked

    def _forget(self) -> None:
        with suppress(Exception):  # what a connection says that is gone is of no interest
            self._storage.remove_session()

    def set_trial_state_values(self, trial_id: int, state: "TrialState", values: Any = None) -> bool:
        """As Optuna's; if it was set, and the answer was lost, it counts as set."""
        from optuna.exceptions import UpdateFinishedTrialError

        attempts = 0

        def tried() -> bool:
            nonlocal attempts
            attempts += 1
            return bool(self._storage.set_trial_state_values(trial_id, state, values))

        try:
            return self._patience.ask(tried, self._forget)
        except UpdateFinishedTrialError:
            if attempts > 1 and self.get_trial(trial_id).state == state:
                return True
            raise

"""Optuna's journal in a file, of which nothing is lost if the disk is full or a process dies while it writes.

Optuna appends a line per operation, under a lock. If a line is cut, its next line is put behind the rest, and then none
of its readers gets past that place. Here the file is mended, under the same lock, before anything is appended.
"""

import json
import os
import warnings
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from leakyrelu._shared.files import written_whole
from leakyrelu._shared.wording import shown

__all__ = ["Journal"]

_BEGINNING = b'{"op_code"'


class Journal(JournalFileBackend):
    """The journal in a file, mended when it is opened and before each line.

    Parameters
    ----------
    path : str
        The file; it is made if it is missing.

    Raises
    ------
    ValueError
        If the file is no journal; it is left as it is.
    """

    def __init__(self, path: str) -> None:
        _refuse_other_files(path)
        # The lock is a link to this path. If that were relative, a link in another folder would lead nowhere, and
        # Optuna would never release a lock that a killed process has left.
        self._path = Path(path).absolute()
        lock = JournalFileSymlinkLock(str(self._path))
        super().__init__(str(self._path), lock_obj=lock)
        self._held = lock
        lock.acquire()
        try:
            self._mend()
        finally:
            lock.release()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append the operations, all or none."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._held.acquire()
        try:
            if not self._ends_well():
                self._mend()
            with self._path.open("ab") as file:
                before = file.tell()
            try:
                with self._path.open("ab", buffering=0) as file:
                    written = 0
                    while written < len(lines):
                        written += file.write(lines[written:])
                    os.fsync(file.fileno())
            except BaseException:
                os.truncate(self._path, before)  # the rest of the line would spoil the next one
                raise
        finally:
            with suppress(RuntimeError):  # held so long that another process took it for one that was left
                self._held.release()

    def _ends_well(self) -> bool:
        with self._path.open("rb") as file:
            if not file.seek(0, os.SEEK_END):
                return True
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def _mend(self) -> None:
        """Set aside what is no operation; the operations stay in their order."""
        lines = self._path.read_bytes().splitlines(keepends=True)
        good, broken = [], []
        for line in lines:
            beginning = line.rfind(_BEGINNING)
            if _is_operation(line):
                good.append(line)
            elif beginning > 0 and _is_operation(line[beginning:]):  # one was put behind the rest of another
                broken.append(line[:beginning])
                good.append(line[beginning:])
            else:
                broken.append(line)
        if good and not good[-1].endswith(b"\n"):
            good[-1] += b"\n"
        if good == lines:
            return
        where = self._set_aside(b"\n".join(broken)) if broken else ""
        with written_whole(self._path) as file:
            file.write(b"".join(good))
        if where:
            warnings.warn(
                f"{shown(self._path)} held the rest of an operation that was cut, by a full disk or a crash; the rest "
                f"is set aside in {where}, and the search goes on",
                stacklevel=2,
            )

    def _set_aside(self, broken: bytes) -> str:
        for number in count(1):
            path = self._path.with_name(f"{self._path.name}.broken-{number}")
            try:
                with written_whole(path, overwrite=False) as file:
                    file.write(broken)
            except FileExistsError:
                continue
            return shown(path)
        raise AssertionError("numbers do not end")


def _refuse_other_files(path: str) -> None:
    """Refuse a file that is no journal, before anything is appended to it."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a string, as Optuna takes it
            begins = file.read(16)
    except FileNotFoundError:
        return  # to be made
    if begins == b"SQLite format 3\0":
        raise ValueError(f"{shown(path)} is a SQLite database; give it as sqlite:///{shown(path)}")
    begins = begins.lstrip(b"\0")
    if not (begins.startswith(_BEGINNING) or _BEGINNING.startswith(begins)):
        raise ValueError(f"{shown(path)} is no journal of Optuna's, and is left as it is; give another path")


def _is_operation(line: bytes) -> bool:
    try:
        operation = json.loads(line)
    except ValueError:
        return False
    return isinstance(operation, dict) and {"op_code", "worker_id"} <= operation.keys()

"""Checks the programs of a class, several at a time, and gives a row per student."""

import contextlib
import csv
import os
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from leakyrelu._shared.progress import Progress, unseen
from leakyrelu._shared.wording import count, in_one_line, listed, printable
from leakyrelu.check.cases import cases_of, name_of
from leakyrelu.check.reporting import Report
from leakyrelu.check.runner import check_named, refuse_seconds
from leakyrelu.check.submissions import Submission, submissions_in

__all__ = ["Grade", "Grades", "grade", "unasked"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # noqa: RUF001  # what spreadsheets calculate


@dataclass(frozen=True)
class Grade:
    """The row of one student.

    Attributes
    ----------
    name : str
        The name of the file or folder, with as many folders before it as tell it from the others.
    file : str
        The file that was asked; empty if there was none to ask.
    report : Report
        All that came back.
    exercise : str
        The exercise that was asked.
    """

    name: str
    file: str
    report: Report
    exercise: str = "function"

    @property
    def points(self) -> dict[str, int]:
        """One point or none for each case that was judged, by the name of the case."""
        return {case.name: int(case.passed) for case in self.report.cases if case.state != "reported"}

    @property
    def total(self) -> int:
        """The sum of the points."""
        return sum(self.points.values())

    @property
    def most(self) -> int:
        """The points that there were to get. What needs a slope is not asked of a function of x alone."""
        return len(self.points) or sum(case.rule != "reported" for case in cases_of(self.report.level, self.exercise))

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.report.passed

    @property
    def cause(self) -> str:
        """The first thing to mend, in a line; empty if nothing is wrong."""
        report = self.report
        if report.error is not None:
            return report.error + (f"; {report.cause}" if report.cause else "")
        if report.passed:
            return ""
        first = report.failures[0]
        return report.cause or first.hint or f"{first.call} -> {first.got}, expected {first.expected}"


@dataclass(frozen=True)
class Grades:
    """The rows of a class; ``print`` shows a line per student.

    Attributes
    ----------
    level : str
        The level that was asked.
    rows : tuple of Grade
        A row per student, in the order in which they were named; within a folder, in the order of the names.
    others : tuple of str
        Files in the folders that are no submission, because they are neither a Python file nor a notebook nor a folder.
    exercise : str
        The exercise that was asked.
    """

    level: str
    rows: tuple[Grade, ...]
    others: tuple[str, ...] = ()
    exercise: str = "function"

    @property
    def passed(self) -> bool:
        """Whether every student passed."""
        return all(row.passed for row in self.rows)

    @property
    def cases(self) -> tuple[str, ...]:
        """The names of the cases for which there is a point."""
        return tuple(case.name for case in cases_of(self.level, self.exercise) if case.rule != "reported")

    @property
    def verdict(self) -> str:
        """The result in one or two sentences."""
        passed, broken = sum(row.passed for row in self.rows), sum(row.report.error is not None for row in self.rows)
        asked = f"; {broken} could not be asked" if broken else ""
        others = f" Not a Python file, notebook or folder: {listed(self.others, 5)}." if self.others else ""
        return f"{passed} of {count(len(self.rows), 'submission')} passed at level {self.level}{asked}.{others}"

    def __str__(self) -> str:
        longest, digits = max((len(row.name) for row in self.rows), default=0), len(str(len(self.cases)))
        lines = [
            f"{row.name:<{longest}}  {row.total:>{digits}} of {row.most}  {'passed' if row.passed else row.cause}"
            for row in self.rows
        ]
        return "\n".join([*lines, "", self.verdict])

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table for spreadsheets: ``name``, ``file``, a column per case, ``total``, ``passed`` and ``cause``.

        The file is UTF-8 with a byte order mark, by which Excel knows it; Python reads it as ``utf-8-sig``. A cell
        that a spreadsheet would take for a formula begins with an apostrophe. The cell of a case that was not asked, as
        it needs a slope and the function has none, is empty.

        Parameters
        ----------
        path : str or os.PathLike
            The file. It is written whole, or not at all.

        Raises
        ------
        OSError, ValueError
            The file cannot be written there.
        """
        from leakyrelu._shared.files import written_whole  # here: it needs NumPy

        text = StringIO()
        writer = csv.writer(text)
        cases = self.cases
        writer.writerow(["name", "file", *map(_cell, cases), "total", "passed", "cause"])
        for row in self.rows:
            points, missing = row.points, "" if row.points else 0
            columns = [points.get(case, missing) for case in cases]
            texts = _cell(row.name), _cell(printable(row.file)), _cell(in_one_line(row.cause))
            writer.writerow([*texts[:2], *columns, row.total, row.passed, texts[2]])
        with written_whole(Path(path)) as file:
            file.write(text.getvalue().encode("utf-8-sig"))

    def to_dict(self) -> dict[str, Any]:
        """The rows as strings, numbers, lists and dictionaries, for JSON.

        Returns
        -------
        dict
            The keys are ``format``, ``level``, ``passed``, ``others`` and ``rows``. Each row has ``name``, ``file``,
            ``total``, ``of``, ``passed``, ``cause`` and ``report``, which is that of `Report.to_dict`. ``format`` is 1;
            it changes when the meaning of a key changes.
        """
        return {
            "format": 1,
            "level": self.level,
            "passed": self.passed,
            "others": list(self.others),
            "rows": [
                {
                    "name": row.name,
                    "file": row.file,
                    "total": row.total,
                    "of": row.most,
                    "passed": row.passed,
                    "cause": row.cause,
                    "report": row.report.to_dict(),
                }
                for row in self.rows
            ],
        }


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def grade(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    name: str | None = None,
    level: str = "exercise",
    exercise: str = "function",
    seconds: float = 5.0,
    workers: int | None = None,
    progress: Progress = unseen,
    **options: Any,
) -> Grades:
    """Check many programs, each in a process of its own. One that is broken never stops the others.

    Parameters
    ----------
    paths : str or os.PathLike, or iterable of these
        Files, functions as `check_named` takes them, and folders. A folder holds submissions: each Python file or
        notebook in it is one, and so is each folder in it. Of a folder that is a submission, the file that defines the
        function is taken; if several do, the one nearest to the folder.
    name : str, optional
        The name of the function, where a path does not say it; by default the name of the exercise.
    level : {"exercise", "array", "ieee", "derivative"}
        As for `check`.
    exercise : {"function", "derivative", "backward"}
        As for `check`.
    seconds : float, default 5.0
        As for `check_source`.
    workers : int, optional
        How many programs are checked at a time; by default as many as `leakyrelu.get_num_threads` says,
        which is one per processor.
    progress : callable, optional
        Called after each program, with how many are done and how many there are.
    **options
        Further options of `check_named`.

    Returns
    -------
    Grades
        A row per student.

    Raises
    ------
    ValueError
        There is no submission, no such level, or another argument is wrong.

    Examples
    --------
    >>> from leakyrelu.check import grade
    >>> grades = grade(["leakyrelu:leaky_relu", "missing.py"])
    >>> [row.passed for row in grades.rows]
    [True, False]
    >>> print(grades.verdict)
    1 of 2 submissions passed at level exercise; 1 could not be asked.
    """
    from leakyrelu.threads import get_num_threads  # here: it needs the kernels

    cases_of(level, exercise)
    name = name or name_of(exercise)
    refuse_seconds(seconds)
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"name must be the name of a function, got {name!r}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    submissions, others = submissions_in(paths, name)
    if not submissions:
        raise ValueError("there is no submission: name Python files, or a folder with a file or a folder per student")

    def ask(submission: Submission) -> Report:
        if submission.problem:
            return Report(level, error=printable(submission.problem))
        try:
            return check_named(submission.spec, level=level, exercise=exercise, seconds=seconds, **options)
        except Exception as error:  # noqa: BLE001  # whatever it is, the others are asked
            return unasked(level, error)

    reports = _in_order(ask, submissions, workers or get_num_threads(), progress)
    rows = (Grade(it.name, it.file, report, exercise) for it, report in zip(submissions, reports, strict=True))
    return Grades(level, tuple(rows), tuple(others), exercise)


def unasked(level: str, error: Exception) -> Report:
    """The report on a file that could not be read."""
    if isinstance(error, OSError) and error.strerror:
        return Report(
            level, error=printable(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
        )
    return Report(level, error=printable(in_one_line(error) or type(error).__name__))


def _in_order(
    ask: Callable[[Submission], Report], submissions: list[Submission], workers: int, progress: Progress
) -> list[Report]:
    """The reports, in the order of the submissions.

    The threads wait for processes. They do not keep the program alive: where it ends early, the processes see that.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Report | BaseException]] = queue.SimpleQueue()
    for i in range(len(submissions)):
        waiting.put(i)

    def work() -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                i = waiting.get_nowait()
                try:
                    done.put((i, ask(submissions[i])))
                except BaseException as error:  # noqa: BLE001  # raised again where it can be seen
                    done.put((i, error))

    for _ in range(min(workers, len(submissions))):
        threading.Thread(target=work, daemon=True).start()
    reports: dict[int, Report] = {}
    try:
        while len(reports) < len(submissions):
            i, report = done.get()
            if isinstance(report, BaseException):
                raise report
            reports[i] = report
            progress(len(reports), len(submissions))
    finally:
        with contextlib.suppress(queue.Empty):
            while True:  # after an interrupt, no more are begun
                waiting.get_nowait()
    return [reports[i] for i in range(len(submissions))]

"""Which programs a class has handed in: files, and folders of which one file is taken."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from leakyrelu._shared.wording import count, listed, printable

__all__ = ["Submission", "submissions_in"]

_ENDINGS = (".py", ".ipynb")
_LARGEST = 16 << 20  # bytes: no person writes more
_OF_OTHERS = {"node_modules", "site-packages"}  # folders of installed libraries


@dataclass(frozen=True)
class Submission:
    """What one student has handed in.

    Attributes
    ----------
    name : str
        What it is called: the name of the file or folder, with as many folders before it as tell it from the others.
    path : str
        The file or folder.
    spec : str
        The function, as `check_named` takes it; empty if there is none to ask.
    file : str
        The file that is asked; empty if the function is in a module, or if there is none to ask.
    problem : str
        The reason why it cannot be asked; empty if it can.
    """

    name: str
    path: str
    spec: str = ""
    file: str = ""
    problem: str = ""


def submissions_in(paths: Iterable[str | os.PathLike[str]], function: str) -> tuple[list[Submission], list[str]]:
    """The submissions under these paths, each once, and the files in folders that are none.

    A folder holds submissions: each Python file or notebook in it is one, and so is each folder in it. The order is
    that of `paths`, and within a folder that of the names. Links within folders are not followed: they may lead to
    somebody else's work.
    """
    found: dict[str, Submission] = {}
    others: list[str] = []
    for given in paths:
        path = os.fspath(given)
        for submission in _in_folder(Path(path), function, others) if _is_folder(path) else [_given(path, function)]:
            found.setdefault(os.path.abspath(submission.path), submission)  # noqa: PTH100  # links stay what they are
    return _told_apart(list(found.values())), others


def _is_folder(path: str | Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  # Path.is_dir raises an error where it may not look


def _given(text: str, function: str) -> Submission:
    """What a command line names: FILE.py, FILE.py:NAME or MODULE:NAME."""
    if text.endswith(_ENDINGS) or os.path.lexists(text):
        return _of_file(Path(text), function)
    file = text.rpartition(":")[0]
    if not file.endswith(_ENDINGS):
        return Submission(text, text, spec=text)
    problem = _problem(Path(file))
    return Submission(Path(text).name, text, spec="" if problem else text, file=file, problem=problem)


def _in_folder(folder: Path, function: str, others: list[str]) -> Iterator[Submission]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield Submission(folder.resolve().name, str(folder), problem=f"the folder cannot be read: {error.strerror}")
        return
    for entry in entries:
        if _is_hidden(entry.name):
            continue
        is_submission = _is_folder(entry) or entry.suffix in _ENDINGS
        if is_submission and entry.is_symlink():
            yield Submission(entry.name, str(entry), problem="it is a symbolic link: put the file itself there")
        elif _is_folder(entry):
            yield _of_folder(entry, function)
        elif is_submission:
            yield _of_file(entry, function)
        else:
            others.append(printable(str(entry)))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__")) and name != "__init__.py"


def _of_file(path: Path, function: str, name: str = "") -> Submission:
    problem = _problem(path)
    spec = "" if problem else f"{path}:{function}"
    return Submission(name or path.name, str(path), spec=spec, file=str(path), problem=problem)


def _problem(path: Path) -> str:
    """Why the file cannot be read. It is not opened: a pipe would wait for its other end."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    if not stat.S_ISREG(status.st_mode):
        return "it is not a regular file"
    if status.st_size > _LARGEST:
        return f"it has {status.st_size >> 20:,} MiB; the text of a program has at most {_LARGEST >> 20}"
    return ""


def _of_folder(folder: Path, function: str) -> Submission:
    """The one file that defines the function; the nearest to the folder, if several do."""

    def refused(problem: str) -> Submission:
        return Submission(folder.name, str(folder), problem=problem)

    def names(files: list[Path]) -> str:
        return printable(listed((str(file.relative_to(folder)) for file in files), 5))

    files = list(_files(folder))
    defining = [file for file in files if _defines(file, function)]
    nearest = [file for file in defining if len(file.parts) == min(len(other.parts) for other in defining)]
    if len(nearest) > 1:
        return refused(f"{function} is defined in several of its files ({names(nearest)}): leave one")
    if not nearest and len(files) != 1:
        among = f"in none of its {count(len(files), 'file')} ({names(files)})" if files else "nowhere"
        return refused(f"{function} is defined {among}" + ("" if files else ": there is no Python file in the folder"))
    taken = _of_file((nearest or files)[0], function, folder.name)
    return replace(taken, path=str(folder))


def _files(folder: Path) -> Iterator[Path]:
    """The Python files and notebooks in the folder and in its folders, in the order of their names."""
    for place, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:  # an environment with libraries of others
            folders.clear()
            continue
        folders[:] = sorted(inner for inner in folders if not (_is_hidden(inner) or inner in _OF_OTHERS))
        for file in sorted(files):
            path = Path(place, file)
            if path.suffix in _ENDINGS and not _is_hidden(file) and not path.is_symlink():
                yield path


def _defines(file: Path, function: str) -> bool:
    """Whether the text defines the name. It may be no right Python, and a notebook, whose lines are in quotes."""
    try:
        text = b"" if _problem(file) else file.read_bytes()
    except OSError:
        return False
    name = re.escape(function.partition(".")[0].encode())
    begin = rb"^[ \t]*(?:\"[ \t]*)?"
    return (
        re.search(begin + rb"(?:(?:async +)?(?:def|class) +%b\b|%b *[:=](?!=))" % (name, name), text, re.MULTILINE)
        is not None
    )


def _told_apart(submissions: list[Submission]) -> list[Submission]:
    """Give each a name of its own: the last part of its path, and of equal ones as many more as make them differ."""
    parts = [Path(os.path.abspath(it.path)).parts for it in submissions]  # noqa: PTH100  # links stay what they are
    names = [it.name for it in submissions]
    for length in range(2, max(map(len, parts), default=0) + 1):
        times = Counter(names)
        names = [
            str(Path(*part[-length:])) if times[name] > 1 else name for name, part in zip(names, parts, strict=True)
        ]
    return [replace(it, name=printable(name)) for it, name in zip(submissions, names, strict=True)]

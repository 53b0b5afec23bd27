"""A bar that shows how far a long piece of work has come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from leakyrelu._shared.extras import needs

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Progress", "progress_bar", "unseen"]

Progress: TypeAlias = Callable[[int, int], object]  # is called with how much is done so far, and how much is to be done


def unseen(done: int, total: int) -> None:
    """Show nothing: the default where a function takes a `Progress`."""


@contextmanager
def progress_bar(description: str, *, console: "Console | None" = None, of_bytes: bool = False) -> Iterator[Progress]:
    """Show a bar while the block runs, and give the function that moves it.

    Parameters
    ----------
    description : str
        What is being done.
    console : rich.console.Console, optional
        Where to show the bar, which then stays. By default it is shown on standard error, if that is a terminal, and
        removed at the end.
    of_bytes : bool, default False
        Whether bytes are counted; then their rate is shown.

    Yields
    ------
    callable
        It takes how much is done so far, and how much is to be done in all.

    Raises
    ------
    ImportError
        rich is missing.
    """
    with needs("leakyrelu[cli]", "the progress bar"):
        from rich import progress
        from rich.console import Console
        from rich.markup import escape

    transient = console is None
    console = Console(stderr=True) if console is None else console
    if transient and not console.is_terminal:
        yield unseen  # a bar of rich's that is disabled prints an empty line before rich 15
        return
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        *(
            (progress.DownloadColumn(), progress.TransferSpeedColumn())
            if of_bytes
            else (progress.TaskProgressColumn(),)
        ),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console, transient=transient) as bar:
        task = bar.add_task(escape(description))
        yield lambda done, total: bar.update(task, completed=done, total=total)

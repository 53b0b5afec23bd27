"""The bar that shows how far a long piece of work has come."""

import io
import subprocess
import sys

import pytest
from rich.console import Console

from leakyrelu._shared.progress import progress_bar, unseen


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def shown(console):
    return console.file.getvalue()


def test_the_bar_says_what_is_done_and_how_far(console):
    with progress_bar("Training 40 networks", console=console) as progress:
        for done in range(1, 4):
            progress(done, 4)
    assert "Training 40 networks" in shown(console)
    assert "75%" in shown(console)


def test_work_done_is_a_full_bar(console):
    with progress_bar("Working", console=console) as progress:
        progress(7, 7)
    assert "100%" in shown(console)


def test_bytes_are_shown_as_bytes(console):
    with progress_bar("in.npy", console=console, of_bytes=True) as progress:
        progress(2_000_000, 4_000_000)
    assert "2.0/4.0 MB" in shown(console)


def test_a_description_is_no_markup(console):
    with progress_bar("[red]a[1].npy[/red]", console=console) as progress:
        progress(1, 1)
    assert "[red]a[1].npy[/red]" in shown(console)


def test_an_error_ends_the_bar_and_goes_on(console):
    def fail():
        with progress_bar("Working", console=console) as progress:
            progress(1, 2)
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert "50%" in shown(console)


def test_where_standard_error_is_no_terminal_nothing_is_shown(capfd):
    with progress_bar("Working") as progress:
        progress(1, 2)
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_the_bar_is_on_standard_error_and_gone_at_the_end():
    code = (
        "from leakyrelu._shared.progress import progress_bar\n"
        "with progress_bar('Working') as progress: progress(1, 2)\n"
        "print('done')"
    )
    environment = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "done\n")
    assert "Working" in result.stderr
    assert result.stderr.endswith("\x1b[1A\x1b[2K")  # moves one line up, and erases it


def test_unseen_progress_is_nothing(capfd):
    assert unseen(1, 2) is None
    assert capfd.readouterr() == ("", "")


def test_the_library_needs_no_bar_to_be_imported():
    code = "import sys, leakyrelu._shared.progress; assert 'rich' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

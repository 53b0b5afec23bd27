"""Whether this process is the command `leakyrelu`, which says in one line if the package cannot be imported."""

import sys
from pathlib import Path

__all__ = ["end_the_command"]


def end_the_command(error: ImportError) -> None:
    """End the process with this error in one line and exit code 2 if it is the command; else do nothing."""
    if _is_the_command():
        if sys.stderr is not None:
            print(f"leakyrelu: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201  # rich may be missing
        raise SystemExit(2) from None


def _is_the_command() -> bool:
    program = sys.argv[0] if getattr(sys, "argv", None) else ""
    if program == "-m":  # while python -m imports the package
        words = sys.orig_argv
        return "-m" in words and words[words.index("-m") + 1 :][:1] == ["leakyrelu"]
    return Path(program).name.removesuffix(".exe") == "leakyrelu"

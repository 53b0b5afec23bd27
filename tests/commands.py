"""Runs the command line in this process: what a person types, without the second that a new process takes to start."""

import os
import sys
from contextlib import chdir, contextmanager
from pathlib import Path

from typer.testing import CliRunner

from leakyrelu.cli import app

# For a process that a test starts: warnings are errors there, too, except those that PYTHONWARNINGS names already.
WARNINGS_ARE_ERRORS = {"PYTHONWARNINGS": ",".join(filter(None, ("error", os.environ.get("PYTHONWARNINGS"))))}


@contextmanager
def working_in(folder):
    """Work as a process that is started in this folder; forget at the end what was imported from there."""
    path, modules = list(sys.path), set(sys.modules)
    try:
        with chdir(folder):
            yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(folder):
                del sys.modules[name]


def invoke(*words, cwd=None, stdin=None):
    """Run the command; an exception that it raises is raised here."""
    with working_in(cwd or Path.cwd()):
        result = CliRunner().invoke(app, [str(word) for word in words], input=stdin, prog_name="leakyrelu")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def run(*words, code=0, **keywords):
    """Run the command; return its standard output or, if it is expected to fail, its standard error."""
    result = invoke(*words, **keywords)
    assert result.exit_code == code, result.stderr
    return result.stderr if code else result.stdout


def fails(*words, **keywords):
    """Run the command on bad input, which must give exit code 2 and a message of one line."""
    message = run(*words, code=2, **keywords)
    assert message.startswith("leakyrelu: ")
    assert message.count("\n") == 1
    return message

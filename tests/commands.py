"""The command line in this process: what a person types, without the second that a new process takes to begin."""

import sys
from contextlib import chdir, contextmanager
from pathlib import Path

from typer.testing import CliRunner

from leakyrelu.cli import app


@contextmanager
def working_in(folder):
    """As a process begun in this folder: what is imported from there is forgotten at the end."""
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
    """Run the command; what it raises is raised here."""
    with working_in(cwd or Path.cwd()):
        result = CliRunner().invoke(app, [str(word) for word in words], input=stdin, prog_name="leakyrelu")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def run(*words, code=0, **keywords):
    """Run the command; give its standard output, or, where it is to fail, its standard error."""
    result = invoke(*words, **keywords)
    assert result.exit_code == code, result.stderr
    return result.stderr if code else result.stdout


def fails(*words, **keywords):
    """Run it on bad input: exit code 2 and one line."""
    message = run(*words, code=2, **keywords)
    assert message.startswith("leakyrelu: ")
    assert message.count("\n") == 1
    return message

"""The site: `nox -s docs` builds it into build/docs/html."""

import os
import subprocess
import sys
from importlib.metadata import version as version_of
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")  # it is read when Keras is imported for its docstrings

project = "leakyrelu"
author = "The leakyrelu developers"
project_copyright = author
version = release = version_of("leakyrelu")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["reference/_commands.md"]  # a part of reference/command-line.md

myst_heading_anchors = 3

# In a docstring, a name between single backquotes becomes a link where the site has a page for it, and code elsewhere.
default_role = "py:obj"
nitpicky = True  # a link to a function, class or module of ours that is not there is an error
nitpick_ignore_regex = [("py:obj", r"(?!leakyrelu\.).*"), ("py:(class|exc)", r"(?!leakyrelu\.).*")]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the sections of the docstrings say them in words
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_preprocess_types = True

html_theme = "furo"
html_title = "leakyrelu"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"  # neither prompts nor output


def _write_commands(_: object) -> None:
    """Let Typer describe all commands, for reference/command-line.md."""
    described = subprocess.run(
        [sys.executable, "-m", "typer", "leakyrelu.cli", "utils", "docs", "--name", "leakyrelu"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    # The page has a title and an introduction of its own.
    commands = described[described.index("## ") :]
    Path(__file__).with_name("reference").joinpath("_commands.md").write_text(commands, encoding="utf-8")


def setup(app) -> None:  # noqa: ANN001, an object of Sphinx's
    """Sphinx calls this."""
    app.connect("builder-inited", _write_commands)

"""Optional dependencies: if one is missing, the error says what needs it and how to install it."""

from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

from leakyrelu._shared.wording import first_line

__all__ = ["needs"]

_PACKAGES = {  # the modules with other names
    "keras": "Keras",
    "lightning": "Lightning",
    "scipy": "SciPy",
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
    "transformers": "Transformers",
}


@contextmanager
def needs(requirement: str, what: str) -> Iterator[None]:
    """Say how to install what is missing if an import in this block fails.

    Parameters
    ----------
    requirement : str
        What pip installs to bring the module: an extra of this library, such as ``"leakyrelu[plot]"``, or a package.
    what : str
        What needs the module, as the beginning of a sentence: ``"the picture"``.

    Raises
    ------
    ImportError
        A module is missing; the error's `name` is the name of the module.

    Examples
    --------
    >>> from leakyrelu._shared.extras import needs
    >>> with needs("leakyrelu[plot]", "the picture"):
    ...     import drawing
    Traceback (most recent call last):
    ...
    ImportError: the picture needs drawing, which is missing: pip install 'leakyrelu[plot]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "a module").partition(".")[0]
        missing = f"{what} needs {_PACKAGES.get(module, module)}, which is missing"
        raise ImportError(f"{missing}: pip install {quote(requirement)}", name=error.name) from error
    except ImportError as error:  # the module is there, but is broken or of another version
        broken = f"{what} could not import what it needs ({first_line(error)})"
        raise ImportError(f"{broken}: pip install --upgrade {quote(requirement)}", name=error.name) from error

"""Builds the package with meson-python, and says of a wheel on which Pythons it runs.

meson-python names a wheel of the stable ABI after the Python that builds it, for it cannot know what the C++ asks for.
Ours asks for the stable ABI of Python 3.11 whichever Python builds it, and `nox -s wheel` tests that. A free-threaded
Python has no stable ABI before 3.15; its wheels are for that Python alone.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import mesonpy
from mesonpy import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

OLDEST = "cp311"  # as in meson.build
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

Settings = dict[str, Any] | None


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Build a wheel, and return its name."""
    name = mesonpy.build_wheel(wheel_directory, _for_this_python(config_settings), metadata_directory)
    python, abi, _ = name.split("-")[-3:]
    if abi != "abi3" or python == OLDEST:
        return name
    command = [sys.executable, "-m", "wheel", "tags", "--remove", "--python-tag", OLDEST, name]
    finished = subprocess.run(command, cwd=wheel_directory, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603  # ours
    return Path(finished.stdout.strip()).name


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build what an editable install needs; it is for this Python, and keeps the name that meson-python gives."""
    return mesonpy.build_editable(wheel_directory, _for_this_python(config_settings), metadata_directory)


def _for_this_python(config_settings: Settings) -> Settings:
    """The settings, with what a free-threaded Python needs."""
    if not FREE_THREADED:
        return config_settings
    settings = dict(config_settings or {})
    given = settings.get("setup-args", [])
    arguments = [given] if isinstance(given, str) else list(given)
    return settings | {"setup-args": ["-Dpython.allow_limited_api=false", *arguments]}

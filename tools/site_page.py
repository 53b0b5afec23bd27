"""Puts the page of `leakyrelu learn` into a folder of the site, with a Python that runs in the browser.

    npm ci
    python tools/site_page.py build/docs/html/play

npm brings Pyodide (package-lock.json says which), of which nothing is kept in this repository.
"""

import shutil
import sys
import zipfile
from pathlib import Path

import leakyrelu.check
from leakyrelu.lesson.digits import digits_bytes

ROOT = Path(__file__).parent.parent
PYODIDE = ROOT / "node_modules/pyodide"
NEEDED = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
FOR_SERVER = b'name="leakyrelu-judge" content=""'


def build(folder: Path) -> None:
    """Write all files of the page; what was in the folder is gone.

    Raises
    ------
    FileNotFoundError
        Pyodide is missing.
    """
    if not PYODIDE.is_dir():
        raise FileNotFoundError(f"there is no {PYODIDE}: run npm ci in {ROOT}")
    package = Path(leakyrelu.check.__file__).parent.parent
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(package / "lesson/page", folder)
    index = folder / "index.html"
    page = index.read_bytes()
    if FOR_SERVER not in page:
        raise ValueError(f"{index} does not say who judges: {FOR_SERVER.decode()} is missing")
    index.write_bytes(page.replace(FOR_SERVER, FOR_SERVER.replace(b'""', b'"pyodide"')))
    (folder / "digits.bin").write_bytes(digits_bytes())
    (folder / "pyodide").mkdir()
    for name in NEEDED:
        shutil.copy(PYODIDE / name, folder / "pyodide")
    archive(package, folder / "python.zip")


def archive(package: Path, file: Path) -> None:
    """Write what judges: the level `exercise` of `leakyrelu.check` needs these two folders and the standard library."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written:
        for folder in ("_shared", "check"):
            for path in sorted((package / folder).rglob("*.py")):
                entry = zipfile.ZipInfo(f"leakyrelu/{path.relative_to(package).as_posix()}")  # of no date: always equal
                written.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    build(Path(sys.argv[1]))

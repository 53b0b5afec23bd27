"""Python in the browser judges as `leakyrelu check` does; the page's script asks it, or the server, and says who is gone."""

import functools
import http.server
import importlib.util
import json
import shutil
import subprocess
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import expect
from test_check.corpus import PROGRAMS
from test_lesson.pages import ENDLESS, RIGHT, learn, needs_a_browser

import leakyrelu
from leakyrelu.check import check_source
from leakyrelu.check.cases import EXERCISES
from leakyrelu.lesson.digits import digits_bytes

ROOT = Path(__file__).parents[2]
IMPORT = "import numpy as np\n"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js (apt-get install nodejs npm)"),
    pytest.mark.skipif(not (ROOT / "node_modules/pyodide").is_dir(), reason="needs Pyodide (npm ci)"),
]


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "play"
    load_tool("site_page").build(folder)
    return folder


@pytest.fixture(scope="module")
def by_pyodide(site):
    """Gives the verdicts of one Pyodide on all programs, one after another: pairs of an exercise and a source."""
    command = ["node", "tests/test_lesson/pyodide.mjs", site / "python.zip"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert "ready" in json.loads(process.stdout.readline())

    def ask(program, seconds):
        exercise, source = program
        process.stdin.write(json.dumps({"exercise": exercise, "source": source, "seconds": seconds}) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    yield lambda programs, seconds=5.0: [ask(program, seconds) for program in programs]
    process.stdin.close()
    process.stdout.close()
    assert process.wait(10) == 0


def by_process(programs, seconds=5.0):
    def ask(program):
        exercise, source = program
        return check_source(source, exercise=exercise, seconds=seconds).to_dict()

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(ask, programs))


def what_counts(verdict):
    """All but the texts of Python's own errors, which differ from version to version."""
    states = [(case["name"], case["state"]) for case in verdict["cases"]]
    return verdict["passed"], verdict["error"] is None, verdict["cause"], states


def test_the_corpus_gets_the_same_verdicts(by_pyodide):
    asked = [(one.exercise, one.source.replace(IMPORT, "")) for one in PROGRAMS if one.level == "exercise"]
    asked = [(exercise, source) for exercise, source in asked if "np." not in source and "import numpy" not in source]
    with ThreadPoolExecutor(1) as beside:
        promised = beside.submit(by_pyodide, asked)
        expected = by_process(asked)
        verdicts = promised.result()
    assert len(verdicts) == len(asked) > 450
    for (exercise, source), verdict, right in zip(asked, verdicts, expected, strict=True):
        assert what_counts(verdict) == what_counts(right), (exercise, source)
    assert {exercise for exercise, _ in asked} == set(EXERCISES)


LOOPS = {
    "everywhere": ENDLESS,
    "below zero": "def leaky_relu(z, alpha=0.01):\n    while z < 0: pass\n    return z\n",
    "that prints": "def leaky_relu(z, alpha=0.01):\n    while True: print('again' * 1000)\n",
    "in a helper": "def again():\n    n = 0\n    while n >= 0: n += 1\ndef leaky_relu(z, alpha=0.01):\n    return again()\n",
    "that is awaited": "from itertools import count\ndef leaky_relu(z, alpha=0.01):\n    for i in count(): z = -abs(z)\n",
    "of calls": "def leaky_relu(z, alpha=0.01): return leaky_relu(z, alpha)\n",
}


def test_what_does_not_end_gets_the_same_verdict(by_pyodide):
    asked = [("function", source) for source in LOOPS.values()]
    for name, verdict, right in zip(LOOPS, by_pyodide(asked, 0.5), by_process(asked, 0.5), strict=True):
        assert what_counts(verdict) == what_counts(right), name


def test_a_program_changes_nothing_for_the_next_one(by_pyodide):
    programs = [
        "import builtins\nbuiltins.abs = None\ndef leaky_relu(z, alpha=0.01): return z\n",
        "import json\njson.dumps = json.loads = None\ndef leaky_relu(z, alpha=0.01): return z\n",
        "import sys\nsys.stdout = None\ndef leaky_relu(z, alpha=0.01): return z\n",
        "import sys\nsys.settrace(None)\nhelper = 1\ndef leaky_relu(z, alpha=0.01): return z\n",
        "def leaky_relu(z, alpha=0.01): return helper\n",
        "def leaky_relu(z, alpha=0.01): return z if abs(z) == z else alpha * z\n",
    ]
    *_, last_but_one, last = by_pyodide([("function", source) for source in programs])
    assert last_but_one["cause"] == "a name is used that does not exist: look at its spelling"
    assert last["passed"]


def test_other_libraries_are_not_there_and_are_said_not_to_be(by_pyodide):
    (verdict,) = by_pyodide([("function", IMPORT + RIGHT)])
    assert verdict["error"] == "ModuleNotFoundError in line 1: No module named 'numpy'"
    assert verdict["cause"].startswith("this page runs Python without other libraries")


def test_the_site_has_what_the_page_needs_and_no_more(site):
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    page = Path(leakyrelu.__file__).parent / "lesson/page"
    own = {path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file()}
    needed = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
    assert files == own | {"digits.bin", "python.zip", *(f"pyodide/{name}" for name in needed)}
    assert '<meta name="leakyrelu-judge" content="pyodide" />' in (site / "index.html").read_text()
    assert (site / "digits.bin").read_bytes() == digits_bytes()
    with zipfile.ZipFile(site / "python.zip") as archive:
        names = archive.namelist()
    assert "leakyrelu/check/inside.py" in names
    assert "leakyrelu/__init__.py" not in names
    assert {name.split("/")[1] for name in names} == {"check", "_shared"}


JUDGE = """async ([exercise, source]) => {
  const { available, judge } = await import("./scripts/judge.js");
  const told = [], who = await available();
  try {
    return { who, told, verdict: await judge(exercise, source, { tell: (text) => told.push(text) }) };
  } catch (error) {
    return { who, told, error: error.message };
  }
}"""


@pytest.fixture(scope="module")
def on_site(site, browser):
    """The page of the static site, and all addresses that it loads."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site.parent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    page.loaded = []
    page.on("request", lambda request: page.loaded.append(request.url))
    page.goto(f"http://127.0.0.1:{server.server_port}/play/")
    yield page
    page.close()
    server.shutdown()
    server.server_close()


@needs_a_browser
def test_the_site_judges_by_itself(on_site):
    assert not any("pyodide" in address for address in on_site.loaded)  # it is loaded at the first run
    for exercise, source in (
        ("function", RIGHT),
        ("function", RIGHT.replace("0.01", "0.2")),
        ("backward", "def leaky_relu_backward(gradients, zs, alpha=0.01): return gradients"),
        ("function", "def leaky_relu(z, alpha=0.01) return z"),
    ):
        said = on_site.evaluate(JUDGE, [exercise, source])
        assert said["who"] == "pyodide"
        right = check_source(source, exercise=exercise).to_dict()
        assert what_counts(said["verdict"]) == what_counts(right)
    home = on_site.url
    assert all(address.startswith(home) for address in on_site.loaded)
    assert sum(address.endswith("pyodide.asm.wasm") for address in on_site.loaded) == 1


@needs_a_browser
def test_a_python_that_is_lost_is_replaced(on_site):
    source = "import os\ndef leaky_relu(z, alpha=0.01):\n    if (z, alpha) == (-2, 0.01): os._exit(3)\n    return z\n"
    said = on_site.evaluate(JUDGE, ["function", source])
    states = {case["name"]: case["got"] for case in said["verdict"]["cases"] if case["state"] == "failed"}
    assert states["a negative integer"] == "ended its process, with exit code 3"
    assert said["verdict"]["passed"] is False
    assert "Python is loading, which takes some seconds …" in said["told"]
    holds_on = (
        "def leaky_relu(z, alpha=0.01): return sum(iter(int, 1)) if (z, alpha) == (-2, 0.01) else RIGHT(z, alpha)\n"
    )
    holds_on += RIGHT.replace("leaky_relu", "RIGHT")
    said = on_site.evaluate(JUDGE, ["function", holds_on])
    states = {case["name"]: case["got"] for case in said["verdict"]["cases"] if case["state"] == "failed"}
    assert states == {"a negative integer": "stopped after 2 s"}
    assert on_site.evaluate(JUDGE, ["function", RIGHT])["verdict"]["passed"]


@needs_a_browser
def test_who_stops_it_gets_no_verdict_and_can_run_another(on_site):
    said = on_site.evaluate(
        """async (source) => {
          const { judge } = await import("./scripts/judge.js");
          const stop = new AbortController();
          setTimeout(() => stop.abort(), 500);
          return judge("function", source, { signal: stop.signal }).catch((error) => error.name);
        }""",
        ENDLESS,
    )
    assert said == "AbortError"
    assert on_site.evaluate(JUDGE, ["function", RIGHT])["verdict"]["passed"]


@needs_a_browser
def test_the_server_judges_until_it_is_gone(browser):
    process, address = learn()
    page = browser.new_page()
    try:
        page.goto(address)
        said = page.evaluate(JUDGE, ["derivative", "def leaky_relu_derivative(z, alpha=0.01): return z > 0"])
        assert said["who"] == "server"
        assert said["verdict"]["cause"] == "a truth value came back: return the number, not the comparison"
        assert page.evaluate(JUDGE, ["nothing", ""])["error"].startswith("The request must be")
        page.evaluate("document.cookie = 'x=y'")
        process.kill()
        process.wait(10)
        said = page.evaluate(JUDGE, ["function", RIGHT])
        assert said["error"].startswith("The program leakyrelu learn no longer answers. Start it again")
        expect(page).to_have_url(address.partition("?")[0])
    finally:
        page.close()
        process.kill()
        process.wait(10)
        process.stdout.close()

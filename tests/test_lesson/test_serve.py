"""The lesson as a command: what it says and to whom, and that neither a visit nor its end leaves anything behind."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPException
from pathlib import Path

import pytest
from test_lesson.pages import ENDLESS, RIGHT, Visitor, learn

from leakyrelu._shared.digits import load_digits
from leakyrelu.check import check_source

pytestmark = pytest.mark.slow

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="what is left is looked for in /proc")


@pytest.fixture
def lesson(tmp_path):
    """Its process, a visitor, and the folder for what it keeps meanwhile."""
    process, address = learn(TMPDIR=str(tmp_path))
    yield process, Visitor(address), tmp_path
    process.kill()
    process.wait(10)
    process.stdout.close()


@pytest.fixture(scope="module")
def visitor():
    process, address = learn()
    yield Visitor(address)
    process.kill()
    process.wait(10)
    process.stdout.close()


def asked(source, exercise="function"):
    return json.dumps({"exercise": exercise, "source": source})


def test_the_first_visit_gets_a_cookie_and_an_address_without_the_token(visitor):
    status, headers, _ = visitor.send("GET", visitor.first, cookie=False)
    assert (status, headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=lax"} <= set(headers["set-cookie"].split("; "))
    token = visitor.first.partition("=")[2]
    assert len(token) > 20
    assert token in headers["set-cookie"]


def test_the_page_knows_who_judges(visitor):
    status, headers, page = visitor.send("GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b'<meta name="leakyrelu-judge" content="server" />' in page


def test_files_have_their_types_and_may_run_nothing_of_others(visitor):
    for path, kind in (("/", "text/html"), ("/scripts/judge.js", "text/javascript"), ("/digits.bin", "application/")):
        status, headers, _ = visitor.send("GET", path)
        assert status == 200
        assert headers["content-type"].startswith(kind)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-cache"
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
        assert "unsafe" not in policy
        assert visitor.send("HEAD", path)[0::2] == (200, b"")


def test_the_digits_are_those_of_scikit_learn_in_its_order(visitor):
    _, headers, content = visitor.send("GET", "/digits.bin")
    digits = load_digits()
    assert len(content) == 65 * len(digits.labels) == 116_805
    for i in (0, 1, 1796):
        assert [pixel / 16 for pixel in content[65 * i : 65 * i + 64]] == digits.images[i].tolist()
        assert content[65 * i + 64] == digits.labels[i]
    assert "content-encoding" not in headers
    status, headers, content = visitor.send("GET", "/digits.bin", headers={"Accept-Encoding": "gzip"})
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert len(content) < 60_000


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"Host": "attacker.test"}, 403, "This lesson is at http://127.0.0.1:"),
        ({"Host": "localhost"}, 403, "This lesson is at http://127.0.0.1:"),
        ({"Origin": "http://127.0.0.1:1"}, 403, "for its own page"),
        ({"Origin": "null"}, 403, "for its own page"),
        ({"Cookie": "leakyrelu-1=x"}, 401, "leakyrelu learn"),
        ({"Cookie": ""}, 401, "leakyrelu learn"),
    ],
)
def test_others_are_refused(visitor, headers, status, said):
    for method, path in (("GET", "/"), ("GET", "/digits.bin"), ("POST", "/check")):
        got, _, text = visitor.send(method, path, asked(RIGHT) if method == "POST" else None, visitor.own | headers)
        assert got == status
        assert said in text.decode()


def test_a_wrong_token_and_a_request_without_an_origin_are_refused(visitor):
    assert visitor.send("GET", "/?token=x", cookie=False)[0] == 401
    assert visitor.send("GET", "/?token=%c3%a9%ff", cookie=False)[0] == 401
    assert visitor.send("POST", "/check", asked(RIGHT))[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/check", 405, "POST"),
        ("HEAD", "/check", 405, "POST"),
        ("PUT", "/check", 405, "POST"),
        ("POST", "/", 405, "GET, HEAD"),
        ("DELETE", "/digits.bin", 405, "GET, HEAD"),
        ("GET", "/nothing.js", 404, None),
        ("POST", "/nothing.js", 404, None),
        ("GET", "/../app.py", 404, None),
        ("GET", "/scripts/../../app.py", 404, None),
        ("GET", "/%2e%2e/app.py", 404, None),
        ("GET", "//etc/passwd", 404, None),
        ("GET", "/scripts", 404, None),
    ],
)
def test_what_is_not_there_and_what_cannot_be_done(visitor, method, path, status, allowed):
    got, headers, _ = visitor.send(method, path, headers=visitor.own)
    assert (got, headers["allow"]) == (status, allowed)


@pytest.mark.parametrize("exercise", ["function", "derivative", "backward"])
def test_a_verdict_is_that_of_check(visitor, exercise):
    for source in (RIGHT, "def leaky_relu_derivative(z, alpha=0.2): return 1 if z > 0 else alpha", "x ="):
        status, headers, text = visitor.send("POST", "/check", asked(source, exercise), visitor.own)
        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(text) == check_source(source, exercise=exercise).to_dict()


@pytest.mark.parametrize(
    "body", ["", "[]", "{", '{"exercise": "revive", "source": ""}', '{"exercise": [], "source": ""}', "[" * 90_000]
)
def test_a_request_that_makes_no_sense_is_refused_with_a_reason(visitor, body):
    status, _, text = visitor.send("POST", "/check", body, visitor.own)
    assert (status, text.startswith(b"The request")) == (400, True)


def test_a_long_text_is_refused_with_and_without_a_length(visitor):
    longest = asked("#" * (100_000 - len(asked(""))))
    assert visitor.send("POST", "/check", longest, visitor.own)[0] == 200
    status, _, text = visitor.send("POST", "/check", longest + " ", visitor.own)
    assert (status, text) == (413, b"The text is too long: at most 100 kB are read.")
    status, _, _ = visitor.send("POST", "/check", [b"x" * 50_000] * 3, visitor.own, encode_chunked=True)
    assert status == 413


def test_a_few_are_judged_at_a_time_and_some_wait(visitor):
    slow = "import time\ndef leaky_relu(z, alpha=0.01):\n    time.sleep(0.05)\n    return z if z >= 0 else alpha * z\n"
    answers = []

    def visit():
        answers.append(visitor.send("POST", "/check", asked(slow), visitor.own))

    threads = [threading.Thread(target=visit) for _ in range(14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [text for status, _, text in answers if status == 503]
    assert [status for status, _, _ in answers].count(200) == 10
    assert refused == [b"Many checks are running. Try it again in a moment."] * 4


@needs_proc
def test_two_hundred_visits_leave_nothing(lesson):
    process, visitor, folder = lesson

    def visit():
        for path in ("/", "/scripts/judge.js", "/digits.bin", "/nothing"):
            visitor.send("GET", path, headers={"Accept-Encoding": "gzip"})

    visit()
    visitor.send("POST", "/check", asked(RIGHT), visitor.own)
    before = taken(process.pid)
    for _ in range(200):
        visit()
    for _ in range(3):
        visitor.send("POST", "/check", asked(RIGHT), visitor.own)
    assert until(lambda: taken(process.pid) == before), (taken(process.pid), before)
    assert not list(folder.iterdir())


@needs_proc
def test_who_goes_away_takes_the_check_along(lesson):
    process, visitor, folder = lesson
    with socket.create_connection(visitor.host.split(":")) as connection:
        body = asked("import time\ndef leaky_relu(z, alpha=0.01): time.sleep(1.9)\n")
        head = f"POST /check HTTP/1.1\r\nHost: {visitor.host}\r\nOrigin: http://{visitor.host}\r\nCookie: {visitor.cookie}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        assert until(lambda: len(children_of(process.pid)) > 1)  # the supervisor and its worker
        children = children_of(process.pid)
    assert until(lambda: not any(map(is_running, children)))
    assert until(lambda: not list(folder.iterdir()))
    assert visitor.send("POST", "/check", asked(RIGHT), visitor.own)[0] == 200


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_its_end_is_the_end_of_all_that_it_has_started(lesson, number):
    process, visitor, folder = lesson

    def visit():
        with contextlib.suppress(OSError, HTTPException):  # it ends meanwhile
            visitor.send("POST", "/check", asked(ENDLESS), visitor.own)

    thread = threading.Thread(target=visit)
    thread.start()
    assert until(lambda: len(children_of(process.pid)) > 1)
    children = children_of(process.pid)
    process.send_signal(number)
    code = process.wait(15)
    thread.join()
    if number == signal.SIGINT:
        assert (code, process.stdout.read()) == (0, "Ctrl-C ends it.\n")
    assert until(lambda: not any(map(is_running, children)))
    assert until(lambda: not list(folder.iterdir()))


def until(holds):
    """Whether it holds at last."""
    for _ in range(200):
        if holds():
            return True
        time.sleep(0.05)
    return False


def taken(process):
    """Its threads, open files and processes."""
    folder = Path(f"/proc/{process}")
    return [len(list((folder / name).iterdir())) for name in ("task", "fd")] + [len(children_of(process))]


def children_of(process):
    """Its children, theirs, and so on."""
    found = [process]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue  # it has ended
    return found[1:]


def is_running(process):
    try:
        return ") Z" not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "leakyrelu", "learn", "--no-browser", "--port", port]
        result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert (
        result.stderr
        == f"leakyrelu: port {port} cannot be used (Address already in use); choose another, or 0 for any\n"
    )


def test_the_page_is_opened_in_the_browser_when_it_can_be_seen():
    code = (
        "import os, signal\n"
        "from urllib.request import HTTPCookieProcessor, build_opener\n"
        "from leakyrelu.lesson import serve_lesson\n"
        "def visit(address):\n"
        "    print(build_opener(HTTPCookieProcessor()).open(address).status, address, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "serve_lesson(open_browser=visit)\n"
        "print('and goes on')\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    told, _, visited, after = result.stdout.splitlines()
    assert visited == f"200 {told.removeprefix('The lesson is at ')}"
    assert after == "and goes on"
    assert (result.stderr, result.returncode) == ("", 0)


def test_an_error_of_the_server_is_told():
    code = (
        "import uvicorn\n"
        "from leakyrelu.lesson import serve_lesson\n"
        "def run(self, sockets):\n"
        "    raise RuntimeError('no such luck')\n"
        "uvicorn.Server.run = run\n"
        "serve_lesson(open_browser=None)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "RuntimeError: no such luck"


def test_an_address_that_nobody_reads_serves_nothing():
    code = "from leakyrelu.lesson import serve_lesson\nserve_lesson(open_browser=None, say=lambda text: open('/dev/full', 'wb', 0).write(text.encode()))\n"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "No space left on device" in result.stderr
    assert result.returncode == 1


@pytest.mark.parametrize("module", ["sklearn", "starlette", "uvicorn"])
def test_what_is_missing_is_named(module):
    code = f"import sys\nsys.modules[{module!r}] = None\nfrom leakyrelu.lesson import serve_lesson\nserve_lesson()\n"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert re.search(r"the lesson needs [\w-]+, which is missing: pip install 'leakyrelu\[learn\]'", result.stderr)

"""The lesson as a command: what it says, and that its end leaves nothing behind."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect
from test_lesson.pages import ENDLESS, learn, needs_a_browser, ready, write

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lessons(browser, tmp_path_factory):
    """Two, each with its process, its page in one browser, and the folder for what it keeps meanwhile."""
    context = browser.new_context()
    opened = []
    for _ in range(2):
        folder = tmp_path_factory.mktemp("lesson")
        process, address = learn(TMPDIR=str(folder))
        page = context.new_page()
        page.goto(address)
        opened.append((process, page, folder))
    for _, page, _ in opened:
        ready(page)
    yield opened
    context.close()
    for process, _, _ in opened:
        process.kill()
        process.wait(10)
        process.stdout.close()


@needs_a_browser
def test_two_lessons_in_one_browser_are_two(lessons):
    (_, page, _), (_, other, _) = lessons
    for each, x in ((page, "Home"), (other, "End")):
        each.get_by_role("slider").nth(1).press(x)
    expect(other.locator("#at")).to_contain_text("At x = 10")
    expect(page.locator("#at")).to_contain_text("At x = -10")


@needs_a_browser
@pytest.mark.parametrize(("which", "number"), [(0, signal.SIGINT), (1, signal.SIGKILL)])
def test_its_end_is_the_end_of_all_that_it_has_started(lessons, which, number):
    process, page, folder = lessons[which]
    write(page, ENDLESS)
    page.get_by_role("button", name="Run").click()
    children = []
    for _ in range(200):
        children = children_of(process.pid)
        if len(children) > 1:  # the supervisor and its worker
            break
        time.sleep(0.05)
    assert len(children) > 1
    process.send_signal(number)
    process.wait(10)
    for _ in range(200):
        if not any(map(is_running, children)):
            break
        time.sleep(0.05)
    assert not any(map(is_running, children))
    assert not list(folder.iterdir())


def children_of(process):
    """Its children, theirs, and so on."""
    found = [process]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, task.read_text().split())
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
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    told, _, visited = result.stdout.splitlines()
    assert visited == f"200 {told.removeprefix('The lesson is at ')}"
    assert result.stderr == ""


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

"""The page as a folder of files that a server of nothing else serves, as on the site."""

import functools
import http.server
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import leakyrelu.lesson
from leakyrelu.demo import load_digits

PAGE = Path(leakyrelu.lesson.__file__).parent / "page"

# Stands for the judge: it answers with what the test has put on the window, and never where there is nothing.
JUDGE = """
export async function judge(exercise, source, { signal, tell }) {
  window.asked = [exercise, source];
  if (window.lost) throw new Error("The judge no longer answers.");
  if (window.verdict) return window.verdict;
  tell("Python is loading …");
  signal.addEventListener("abort", () => (window.stopped = true));
  return new Promise(() => {});
}
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "lesson"
    shutil.copytree(PAGE, folder)
    digits = load_digits()
    records = np.column_stack([np.rint(16 * digits.images), digits.labels]).astype(np.uint8)
    (folder / "digits.bin").write_bytes(records.tobytes())
    return folder


@pytest.fixture(scope="module")
def address(folder):
    handler = functools.partial(Quiet, directory=str(folder.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/lesson/index.html"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def opened(browser, address):
    """Opens pages; at the end, checks that none had an error or asked another server for anything."""
    wrong, contexts = [], []
    host = address.partition("/lesson")[0]

    def open_page(query="", *, width=1400, height=900, judged=True, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("request", lambda request: request.url.startswith((host, "data:")) or wrong.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        if judged:
            context.route(
                "**/scripts/judge.js", lambda route: route.fulfill(body=JUDGE, content_type="text/javascript")
            )
        page.goto(address + query)
        ready(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def ready(page):
    page.locator(".option").first.wait_for()
    page.wait_for_function("document.querySelectorAll('#samples canvas').length === 8")


@pytest.fixture(scope="module")
def page(opened):
    return opened()

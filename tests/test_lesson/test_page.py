"""The lesson in a real browser: every part of the page does what it says, and nothing leaves the machine."""

import os
import re
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from test_lesson.pages import ENDLESS, learn, needs_a_browser, ready, write

from leakyrelu.lesson.exercise import SOLUTION, START

pytestmark = [pytest.mark.slow, needs_a_browser]

WRONG = "def leaky_relu(z, alpha=0.1):\n    return z if z >= 0 else alpha * z\n"


@pytest.fixture(scope="module")
def server():
    process, address = learn()
    yield process, address
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    with process.stdout as rest:
        assert rest.read() == "Ctrl-C ends it.\n"  # and nothing else: no warning, no traceback, no connection


@pytest.fixture(scope="module")
def opened(browser, server):
    """Opens pages; at the end, checks that none asked another machine for anything or had an error."""
    _, address = server
    host = address.split("/")[2]
    wrong = []

    def asked(url):
        if not url.startswith((f"http://{host}/", f"ws://{host}/", "data:", "blob:")):
            wrong.append(url)

    context = browser.new_context(viewport={"width": 1400, "height": 900})  # one, whose cache all pages share
    context.grant_permissions(["clipboard-read", "clipboard-write"])

    def open_page():
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("request", lambda request: asked(request.url))
        page.on("websocket", lambda websocket: asked(websocket.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(address)
        ready(page)
        return page

    yield open_page
    assert not wrong


@pytest.fixture(scope="module")
def page(opened):
    """One for all tests, in the order in which they stand here: it takes seconds to open."""
    return opened()


def cells(network):
    return network.locator(".cell").evaluate_all("each => each.map((cell) => cell.className + cell.style.cssText)")


def verdict_on(page, source, title):
    write(page, source)
    verdict = page.locator(".verdict")
    before = "".join(verdict.evaluate_all("each => each.map((old) => (old.classList.add('old'), old.innerHTML))"))
    page.get_by_role("button", name="Run").click()
    # Another element; or, where two changes are drawn at once, the same one with another content.
    page.wait_for_function(
        "(before) => [...document.querySelectorAll('.verdict')].some("
        "(each) => !each.classList.contains('old') || each.innerHTML !== before)",
        arg=before,
    )
    expect(verdict.get_by_role("heading")).to_have_text(title)
    return verdict.inner_text()


# The function


def test_sliders_change_the_plot_and_the_numbers(page):
    slope, position = page.get_by_role("slider").nth(0), page.get_by_role("slider").nth(1)
    plot = page.locator("#at ~ svg")
    expect(page.locator("#at")).to_have_text("At x = -6 with alpha = 0.1: value -0.6, derivative 0.1")
    before = plot.inner_html()
    slope.press("ArrowRight")
    expect(page.locator("#at")).to_have_text("At x = -6 with alpha = 0.11: value -0.66, derivative 0.11")
    expect(plot).to_have_attribute("aria-label", re.compile(r"slope 0\.11.*value -0\.66"))
    assert plot.inner_html() != before
    position.press("End")
    expect(page.locator("#at")).to_have_text("At x = 10 with alpha = 0.11: value 10, derivative 1")
    slope.press("Home")
    position.press("Home")
    expect(page.locator("#at")).to_have_text("At x = -10 with alpha = 0: value 0, derivative 0")
    for _ in range(10):
        slope.press("ArrowRight")
    expect(page.locator("#at")).to_have_text("At x = -10 with alpha = 0.1: value -1, derivative 0.1")


# Training


def test_sliders_say_their_values(page):
    values = [slider.get_attribute("aria-valuenow") for slider in page.get_by_role("slider").all()[2:5]]
    assert values == ["0.5", "0.1", "0"]


def test_all_can_be_done_with_the_keyboard(page):
    def focused():
        return page.evaluate(
            "(() => { let e = document.activeElement; while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;"
            "return e.getAttribute('role') || e.innerText || e.getAttribute('aria-label') })()"
        )

    page.evaluate("document.querySelector('#App').scrollTo(0, 0)")
    page.mouse.click(5, 300)
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(focused())
    assert reached == ["slider"] * 5 + ["Train", "textbox"]
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(SOLUTION)
    page.keyboard.press("Escape")  # closes the suggestions
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert focused() == "Run"
    page.keyboard.press("Enter")
    expect(page.locator(".verdict").get_by_role("heading")).to_have_text("Right!")


def train(page):
    page.get_by_role("button", name="Train").click()
    expect(page.locator(".epoch")).to_have_text(re.compile(r"Epoch (?!0 |20 )\d+ of 20"))  # as it goes
    expect(page.locator(".epoch")).to_have_text("Epoch 20 of 20")


def test_training_runs_to_its_end_and_can_be_looked_back_on(page):
    networks = page.locator(".network")
    expect(page.locator(".epoch")).to_have_text("Epoch 0 of 20")
    expect(page.get_by_role("slider")).to_have_count(5)  # there is nothing yet to look back on
    before = cells(networks.nth(0))
    train(page)
    expect(networks.get_by_role("heading")).to_have_text(["ReLU", "Leaky ReLU", "ReLU, then Leaky ReLU"])
    assert networks.nth(0).locator(".cell.dead").count() > networks.nth(2).locator(".cell.leaks").count()
    after = cells(networks.nth(0))
    assert after != before
    look_back = page.get_by_role("slider").last
    expect(look_back).to_have_attribute("aria-valuenow", "20")
    look_back.press("ArrowLeft")
    expect(page.locator(".epoch")).to_have_text("Epoch 19 of 20")
    look_back.press("Home")
    expect(page.locator(".epoch")).to_have_text("Epoch 0 of 20")
    assert cells(networks.nth(0)) == before
    page.get_by_role("slider").nth(4).press("ArrowRight")  # another seed, which changes nothing before one trains again
    look_back.press("End")
    expect(page.locator(".epoch")).to_have_text("Epoch 20 of 20")
    assert cells(networks.nth(0)) == after
    train(page)
    assert cells(networks.nth(0)) != after


# The exercise


def test_a_wrong_solution_gets_its_hint_and_a_right_one_passes(page):
    text = verdict_on(page, WRONG, "Not yet")
    assert "Likely cause: the default slope is 0.1; it must be 0.01" in text
    assert "leaky_relu(-1) → -0.1" in text
    write(page, SOLUTION)
    expect(page.locator(".verdict").get_by_role("heading")).to_have_text("Not yet")  # it stays until the next run
    assert "All 12 calls came out right." in verdict_on(page, SOLUTION, "Right!")


def test_zero_through_the_product_is_a_hint_and_no_failure(page):
    text = verdict_on(page, "def leaky_relu(z, alpha=0.01):\n    return z if z > 0 else alpha * z\n", "Right!")
    assert "it prints 0.0" in text


def test_an_endless_loop_is_stopped_and_the_page_lives_on(page):
    assert "it does not come to an end" in verdict_on(page, ENDLESS, "Not yet")
    page.get_by_role("slider").nth(1).press("End")
    expect(page.locator("#at")).to_have_text("At x = 10 with alpha = 0.1: value 10, derivative 1")
    verdict_on(page, SOLUTION, "Right!")


def test_the_answer_never_runs_in_the_servers_process(page, server):
    source = (
        "import os, sys\n"
        "def leaky_relu(z, alpha=0.01):\n"
        "    return f'process {os.getpid()}, marimo {\"marimo\" in sys.modules}'\n"
    )
    text = verdict_on(page, source, "Not yet")
    (process,) = set(re.findall(r"process (\d+), marimo False", text))
    assert int(process) != server[0].pid


@pytest.mark.parametrize(
    ("source", "title", "words"),
    [
        ("def leaky_relu(z, alpha=0.01)\n    return z\n", "Could not be run", "SyntaxError in line 1"),
        ("import os\nos._exit(0)\n", "Could not be run", "ended its process"),
        ("def leaky_relu(z, alpha=0.01):\n    return '<img src=x onerror=alert(1)>'\n", "Not yet", "<img src=x"),
    ],
    ids=["syntax error", "exit", "markup"],
)
def test_whatever_the_answer_is_the_page_says_what_came_of_it(page, source, title, words):
    assert words in verdict_on(page, source, title)


def test_reset_brings_the_beginning_back(page):
    for _ in range(2):
        write(page, SOLUTION)
        page.get_by_role("button", name="Reset").click()
        expect(page.locator(".cm-content")).to_contain_text("# Your code here")
        expect(page.locator(".cm-content")).not_to_contain_text("return z")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".verdict")).to_contain_text("it returns nothing")
    assert START.count("return") == 0


def test_the_solution_is_shown_and_copied_and_passes(page):
    solution = page.locator("details")
    expect(solution.locator("code")).to_be_hidden()
    page.get_by_text("Show solution").click()
    expect(solution.locator("code")).to_have_text(SOLUTION)
    solution.get_by_role("button", name="Copy").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == SOLUTION.strip()
    verdict_on(page, copied, "Right!")


# For everybody


@pytest.fixture(scope="module")
def full_page(page):
    """A page on which everything that shows something has been used."""
    position, copy = page.get_by_role("slider").nth(1), page.locator("details").get_by_role("button", name="Copy")
    position.press("Home")
    for _ in range(8):
        position.press("ArrowRight")
    expect(page.locator("#at")).to_contain_text("At x = -6")
    if page.get_by_role("slider").count() == 5:  # nothing has been trained yet
        train(page)
    verdict_on(page, WRONG, "Not yet")
    if not copy.is_visible():
        page.get_by_text("Show solution").click()
    expect(copy).to_be_visible()
    return page


@pytest.mark.parametrize("width", [380, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_can_be_read(full_page, scheme, width, tmp_path):
    """Contrast, names, landmarks and all else that axe-core asks for; the pictures are for people to look at."""
    page = full_page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    expect(page.locator("body")).to_have_class(re.compile(rf"\b{scheme}\b"))
    page.wait_for_timeout(700)  # for the names that head.html gives, and what slides
    found = Axe().run(page).response["violations"]
    assert not found, [(each["id"], [node["target"] for node in each["nodes"]]) for each in found]
    assert len(page.locator(".lesson svg").all()) == page.locator(".lesson svg[role=img][aria-label]").count() == 8
    wide, height = page.evaluate("(e => [e.scrollWidth, e.scrollHeight])(document.querySelector('#App'))")
    assert wide <= width
    assert page.evaluate("getComputedStyle(document.body).colorScheme") == scheme
    page.set_viewport_size({"width": width, "height": height + 200})
    page.evaluate("document.querySelector('#App').scrollTo(0, 0)")
    page.wait_for_timeout(300)
    directory = Path(os.environ.get("LEAKYRELU_SCREENSHOTS", tmp_path))
    directory.mkdir(parents=True, exist_ok=True)
    picture = directory / f"lesson_{scheme}_{width}.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 100_000


@pytest.mark.parametrize("width", [380, 1400])
def test_the_usual_slope_can_be_seen(full_page, width, tmp_path):
    page = full_page
    page.set_viewport_size({"width": width, "height": 900})
    page.get_by_role("slider").first.press("Home")
    page.get_by_role("slider").first.press("ArrowRight")
    expect(page.locator("#at")).to_contain_text("with alpha = 0.01: value -0.06, derivative 0.01")
    assert page.locator("#at ~ svg g[id^=axes]").count() == 1  # no inset, whose numbers would hide these
    page.locator("#at ~ svg").screenshot(
        path=Path(os.environ.get("LEAKYRELU_SCREENSHOTS", tmp_path)) / f"lesson_usual_slope_{width}.png"
    )


# The server


def test_two_visitors_do_not_disturb_each_other(page, opened):
    new_page = opened()
    new_page.get_by_role("slider").nth(1).press("End")
    expect(new_page.locator("#at")).to_contain_text("At x = 10")
    page.get_by_role("slider").nth(1).press("Home")
    expect(page.locator("#at")).to_contain_text("At x = -10")
    expect(new_page.locator("#at")).to_contain_text("At x = 10")
    write(new_page, ENDLESS)
    new_page.get_by_role("button", name="Run").click()
    verdict_on(page, SOLUTION, "Right!")
    expect(new_page.locator(".verdict").get_by_role("heading")).to_have_text("Not yet")
    new_page.close()


def test_a_page_that_is_loaded_again_begins_anew(page):
    page.get_by_role("slider").nth(1).press("End")
    write(page, ENDLESS)
    page.get_by_role("button", name="Run").click()
    page.reload()
    ready(page)
    expect(page.locator("#at")).to_contain_text("At x = -6")
    verdict_on(page, SOLUTION, "Right!")


def answer(address, headers=()):
    """The status, and the address after redirections."""
    request = urllib.request.Request(address, headers=dict(headers))
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    try:
        with opener.open(request, timeout=10) as response:
            return response.status, response.url
    except urllib.error.HTTPError as error:
        return error.code, error.url


def test_without_the_token_there_is_no_lesson(server):
    _, address = server
    lesson, _, token = address.partition("?")
    assert answer(address) == (200, lesson)
    for wrong in (lesson, f"{lesson}?{token[:-1]}"):
        assert answer(wrong)[0] == 401
    assert answer(f"{lesson}api/status")[0] == 401


def test_pages_of_other_servers_are_refused(server):
    """On 127.0.0.1 the browser would send the lesson's cookie along, whatever the port."""
    _, address = server
    own = address.partition("/lesson")[0]
    assert answer(address, {"Origin": own}.items())[0] == 200
    for other in ("http://127.0.0.1:9999", "http://evil.example", "null", own.replace("http:", "https:")):
        assert answer(address, {"Origin": other}.items())[0] == 403
    for origin, status in ((own, "HTTP/1.1 101"), ("http://127.0.0.1:9999", "HTTP/1.1 403")):
        assert upgraded(address, origin).startswith(status)


def upgraded(address, origin):
    """What the server says to a websocket of a page from there, with the cookie."""
    cookies = urllib.request.HTTPCookieProcessor()
    urllib.request.build_opener(cookies).open(address).close()
    (cookie,) = cookies.cookiejar
    host, lesson = address.split("/")[2:4]
    with socket.create_connection((host.partition(":")[0], int(host.partition(":")[2])), 10) as connection:
        connection.sendall(
            f"GET /{lesson}/ws?session_id=s_x HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n"
            f"Cookie: {cookie.name}={cookie.value}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        return connection.recv(1000).decode()


def test_only_this_machine_is_served(server):
    port = int(re.search(r":(\d+)/", server[1])[1])
    socket.create_connection(("127.0.0.1", port), 5).close()
    with pytest.raises(OSError, match="refused"):  # another address of this machine: a server for all would answer
        socket.create_connection(("127.0.0.2", port), 5)

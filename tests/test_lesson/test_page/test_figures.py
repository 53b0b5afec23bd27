"""Each figure follows the pointer, the keys and the page's numbers, and says in words what it shows."""

# ruff: noqa: RUF001  # the page writes minus signs and primes as people do

import re

import pytest
from playwright.sync_api import expect
from test_lesson.pages import needs_a_browser

pytestmark = [pytest.mark.slow, needs_a_browser]


def number(locator, name="aria-valuenow"):
    return float(locator.get_attribute(name))


def middle(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, handle, right, down):
    x, y = middle(handle)
    page.mouse.move(x, y)
    page.mouse.down()
    for share in (0.25, 0.5, 1):
        page.mouse.move(x + share * right, y + share * down)
    page.mouse.up()
    next_frame(page)


def next_frame(page):
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def figure(page):
    page.evaluate("scrollTo(0, 0)")
    page.locator("[data-slope='0.1']").click()
    next_frame(page)
    return page


def arm(page):
    return page.get_by_role("slider", name="Slope of the left arm")


def point(page):
    return page.get_by_role("slider", name="Point x on the function")


# The function


def test_the_arm_is_dragged(figure):
    drag(figure, arm(figure), 0, 60)
    slope = number(arm(figure))
    assert slope > 0.2
    expect(figure.locator("#function")).to_have_attribute(
        "aria-label", re.compile(f"^Leaky ReLU with slope {slope:g}:")
    )
    expect(figure.locator("#derivative")).to_contain_text(f"= {slope:g}")
    drag(figure, arm(figure), 0, -200)
    assert number(arm(figure)) == 0


def test_the_point_is_dragged_and_the_surface_moves_it(figure):
    point(figure).press("Home")
    drag(figure, point(figure), 150, 0)
    x = number(point(figure))
    assert -5 < x < 0
    expect(point(figure)).to_have_attribute("aria-valuetext", re.compile(rf"x {x:g}: value -0\.\d+, derivative 0\.1"))
    box = figure.locator("#function").bounding_box()
    figure.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 40)
    next_frame(figure)
    assert number(point(figure)) > 3
    expect(figure.locator("#derivative")).to_contain_text("= 1")


def test_the_keys_move_both(figure):
    arm(figure).press("ArrowUp")
    expect(arm(figure)).to_have_attribute("aria-valuetext", "slope 0.11")
    arm(figure).press("Home")
    arm(figure).press("ArrowRight")
    expect(arm(figure)).to_have_attribute("aria-valuetext", "slope 0.001")
    arm(figure).press("End")
    expect(arm(figure)).to_have_attribute("aria-valuetext", "slope 1")
    point(figure).press("Home")
    point(figure).press("ArrowRight")
    expect(point(figure)).to_have_attribute("aria-valuetext", "x -4.9: value -4.9, derivative 1")
    point(figure).press("PageDown")
    expect(point(figure)).to_have_attribute("aria-valuenow", "-5")


def touch(page, start, step):
    """Put a finger down there, move it by four steps, and lift it."""
    client = page.context.new_cdp_session(page)
    for kind, at in [("touchStart", 0), *(("touchMove", at) for at in range(1, 5)), ("touchEnd", None)]:
        points = [] if at is None else [{"x": start[0] + at * step[0], "y": start[1] + at * step[1]}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_timeout(300)


def test_fingers_drag_what_they_hold_and_scroll_elsewhere(opened):
    page = opened(width=380, height=800, has_touch=True, is_mobile=True, reduced_motion="reduce")
    page.evaluate("scrollTo(0, 200)")
    touch(page, middle(arm(page)), (0, 12))
    assert number(arm(page)) > 0.2
    assert page.evaluate("scrollY") == 200
    x, y = middle(page.locator("#function"))
    touch(page, (x, y), (20, 0))
    assert number(point(page)) > 1
    assert page.evaluate("scrollY") == 200
    touch(page, (x, y), (0, -20))
    assert page.evaluate("scrollY") > 220


@pytest.mark.parametrize("width", [380, 1400])
def test_what_is_dragged_has_24_pixels_and_more(opened, width):
    page = opened(width=width)
    for handle in page.locator(".handle").all():
        box = handle.bounding_box()
        assert min(box["width"], box["height"]) >= 24
    for control in page.locator("input[type=range], button:visible, [role=switch]").all():
        assert control.bounding_box()["height"] >= 24
    page.close()


def test_the_ends_at_zero_are_open_and_closed_but_for_a_straight_line(figure):
    ends = figure.locator("#function .open, #function .closed:not([r='7'])")
    assert ends.count() == 2
    for slope, visible in (("0.01", True), ("1", False), ("0", True)):
        figure.locator(f"[data-slope='{slope}']").click()
        next_frame(figure)
        for end in ends.all():
            expect(end).to_be_visible(visible=visible)


def test_the_usual_slope_can_be_seen_under_the_magnifier(figure):
    figure.locator("[data-slope='0.01']").click()
    next_frame(figure)
    curve, ghost = (figure.locator(f"#magnifier {kind}").bounding_box() for kind in (".curve", ".ghost"))
    assert curve["height"] - ghost["height"] > 20  # pixels; without the magnifier it would be two
    expect(figure.locator("#magnifier")).to_have_attribute("aria-label", re.compile("at x = −4 the value is −0.04"))


def test_the_axes_stay(figure):
    def ticks():
        return [text.text_content() for text in figure.locator("#function .tick, #magnifier .tick").all()]

    before = ticks()
    arm(figure).press("End")
    next_frame(figure)
    assert ticks() == before
    assert len(before) > 10


# The numbers in the address


def test_the_numbers_are_in_the_address_and_survive_reload_and_back(opened, address):
    page = opened("?slope=0.25&rate=0.2&seed=7&other=1")
    expect(arm(page)).to_have_attribute("aria-valuetext", "slope 0.25")
    arm(page).press("ArrowUp")
    page.get_by_role("slider", name="Seed").press("ArrowRight")
    page.wait_for_url("**slope=0.26&rate=0.2&seed=8&other=1")
    page.reload()
    expect(arm(page)).to_have_attribute("aria-valuetext", "slope 0.26")
    expect(page.get_by_role("slider", name="Learning rate")).to_have_value("0.2")
    page.goto("about:blank")
    page.go_back()
    expect(page.get_by_role("slider", name="Seed")).to_have_value("8")
    page.locator("#copy-link").click()
    expect(page.locator("#copy-link")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{address}?slope=0.26&rate=0.2&seed=8&other=1"


def test_a_link_to_a_part_and_back(opened):
    page = opened()
    page.get_by_role("navigation").get_by_role("link", name="Networks").click()
    arm(page).press("End")
    page.wait_for_url("**slope=1#training")
    page.go_back()
    expect(arm(page)).to_have_attribute("aria-valuetext", "slope 0.1")  # as it was there


@pytest.mark.parametrize("query", ["?slope=-3&rate=99&seed=1e9", "?slope=x&rate=&seed=NaN", "?slope=Infinity"])
def test_numbers_that_make_no_sense_become_some_that_do(opened, query):
    page = opened(query)
    assert 0 <= number(arm(page)) <= 1
    assert 0.01 <= float(page.get_by_role("slider", name="Learning rate").input_value()) <= 1
    assert 0 <= float(page.get_by_role("slider", name="Seed").input_value()) <= 19


# One unit


def status(page):
    return page.locator("#unit-status")


def arrows(page):
    return page.evaluate("[...document.querySelectorAll('#unit .arrow')].filter(a => a.getAttribute('d')).length")


def test_the_bias_kills_the_unit_and_the_leak_saves_it(opened):
    page = opened()
    expect(status(page)).to_have_text("Alive: it fires on 48 of the 48 examples.")
    before = arrows(page)
    assert before > 24
    bias = page.locator("#bias")
    bias.press("Home")
    expect(status(page)).to_have_text("Dead: it fires on none of the 48 examples, and no gradient is left.")
    expect(bias).to_have_attribute("aria-valuetext", re.compile("bias −4: Dead"))
    assert arrows(page) == 0
    page.locator("#unit-step").click()
    expect(page.locator("#unit-steps")).to_have_text("1")
    expect(bias).to_have_value("-4")  # training moves nothing
    page.get_by_role("switch", name="Leak").press("Space")
    expect(status(page)).to_have_text("Never above zero, but not dead: 0.1 times each gradient passes.")
    assert arrows(page) == 48
    page.locator("#unit-train").click()
    expect(status(page)).to_contain_text("Alive")


def test_one_step_too_far_kills_it(opened):
    page = opened()
    page.locator("#too-far").click()
    expect(status(page)).to_contain_text("Dead")
    page.locator("#unit-reset").click()
    expect(status(page)).to_contain_text("48 of the 48")
    expect(page.locator("#unit-steps")).to_have_text("0")


def test_a_dot_shows_its_digit(opened):
    page = opened()
    peek = page.locator("#unit-peek")
    expect(peek).to_be_hidden()
    page.locator("#unit").scroll_into_view_if_needed()
    page.mouse.move(*middle(page.locator("#unit .example").nth(5)))
    expect(peek).to_have_text(re.compile(r"z = [\d.]+, gradient −?[\d.]+"))
    page.locator("h1").hover()
    expect(peek).to_be_hidden()


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_the_story_asks_first_and_answers_with_what_happened(opened, motion):
    page = opened(reduced_motion=motion)
    story, options = page.locator("#story"), page.locator("#story .option")
    answers = [
        (1, "As you said. All of them are below zero.", "Dead"),
        (0, "Not quite. Nothing moves.", "Dead"),
        (0, "As you said. They come back. Short arrows have appeared", "Alive"),
        (2, "Not quite. About ten times as long: 390 steps instead of 33.", "Alive"),
    ]
    for at, (guess, answer, state) in enumerate(answers, 1):
        expect(story.locator(".count")).to_have_text(f"Guess first: question {at} of 4")
        expect(story.locator(".answer")).to_be_empty()
        expect(story.locator(".next")).to_be_disabled()
        options.nth(guess).click()
        expect(story.locator(".answer")).to_contain_text(answer)
        expect(status(page)).to_contain_text(state)
        assert options.locator("xpath=self::*[contains(@class, 'right')]").count() == 1
        story.locator(".next").click()
    expect(story.locator(".count")).to_have_text("Guess first: question 1 of 4")


# The networks


@pytest.fixture
def training(opened):
    page = opened()
    page.locator("#speed").press("End")
    return page


def epoch(page, number):
    expect(page.locator("#training")).to_have_attribute("data-epoch", str(number))


def shown(page):
    return page.evaluate("[...document.querySelectorAll('.network .cell')].map(c => c.title)")


def test_training_plays_pauses_steps_and_begins_anew(training):
    play, step = training.locator("#play"), training.locator("#step")
    first = shown(training)
    step.click()
    epoch(training, 1)
    after_one = shown(training)
    assert after_one != first
    training.locator("#speed").press("Home")  # slowly, or it is at the end before the pause
    play.click()
    expect(play).to_have_text("Pause")
    training.wait_for_function("document.querySelector('#training').dataset.epoch >= 2")
    play.click()
    expect(play).to_have_text("Go on")
    training.locator("#reset").click()
    epoch(training, 0)
    assert shown(training) == first
    step.click()
    epoch(training, 1)
    assert shown(training) == after_one  # the seed decides all
    training.locator("#speed").press("End")
    play.click()
    epoch(training, 20)
    expect(play).to_have_text("Train again")
    expect(step).to_be_disabled()
    dead, leaking, changed = (training.locator(f".network.n{i} > .count").text_content() for i in range(3))
    assert dead == "31 of 48 units dead"
    assert leaking == "0 of 48 units never above zero"
    assert changed == "5 of 48 units never above zero"
    assert training.locator(".n0 .cell.dead").count() == 31
    expect(training.locator("#accuracies")).to_have_attribute("aria-label", re.compile("After epoch 20: ReLU 52"))
    play.click()
    training.wait_for_function("document.querySelector('#training').dataset.epoch < 20")


def test_every_control_works_while_they_train(training):
    training.locator("#speed").press("Home")
    training.locator("#play").click()
    slopes = training.locator(".network .slope-now")
    training.get_by_role("slider", name="Slope of the leak").press("End")
    expect(slopes.nth(1)).to_have_text("slope 1")
    expect(slopes.nth(0)).to_have_text("slope 0")
    training.get_by_role("slider", name="Learning rate").press("End")
    training.locator(".n1 .cell").nth(20).click()
    expect(training.locator("#unit-name")).to_have_text("Leaky ReLU, layer 2, unit 5")
    training.locator("#speed").press("End")
    expect(training.locator("#networks")).to_contain_text("Overflowed")  # such steps are too large
    before = training.locator("#samples canvas").first.get_attribute("aria-label")
    training.get_by_role("slider", name="Seed").press("ArrowRight")
    expect(training.locator("#samples canvas").first).not_to_have_attribute("aria-label", before)
    expect(training.locator("#play")).to_have_text("Pause")  # it goes on with the new seed


def test_a_cell_shows_its_unit(training):
    cell = training.locator(".n0 .cell").nth(3)
    cell.click()
    expect(cell).to_have_attribute("aria-pressed", "true")
    expect(training.locator("#unit-name")).to_have_text("ReLU, layer 1, unit 4")
    expect(training.locator("#weights rect")).to_have_count(64)
    rate = re.search(r"[\d.]+ %", cell.get_attribute("title"))[0]
    expect(training.locator("#unit-says")).to_have_text(f"It fires on {rate} of the training images.")
    expect(training.locator("#histogram")).to_have_attribute("aria-label", re.compile("z on the training images, from"))
    cell.press("ArrowDown")
    training.keyboard.press("ArrowDown")
    training.keyboard.press("Enter")
    expect(training.locator("#unit-name")).to_have_text("ReLU, layer 2, unit 4")
    expect(training.locator("#weights rect")).to_have_count(16)
    assert training.locator("#histogram rect").count() == 24


def test_on_a_narrow_screen_the_unit_is_shown_below_its_network(opened):
    page = opened(width=380)
    page.locator(".n1 .cell").nth(3).click()
    expect(page.locator(".n1 #unit-name")).to_have_text("Leaky ReLU, layer 1, unit 4")
    page.set_viewport_size({"width": 1400, "height": 900})
    expect(page.locator(".details #unit-name")).to_be_visible()


def test_the_digits_are_shown_with_the_answers(training):
    training.locator("#play").click()
    epoch(training, 20)
    labels = [
        canvas.get_attribute("aria-label").removeprefix("a handwritten ")
        for canvas in training.locator("#samples canvas").all()
    ]
    read = [cell.text_content() for cell in training.locator("#samples tbody tr").nth(1).locator("td").all()]
    assert sum(answer == label for answer, label in zip(read, labels, strict=True)) >= 6  # of 8; it reads 97 % right
    for cell in training.locator("#samples td.wrong").all():
        assert "✗" in cell.text_content()


# The relatives


def test_all_relatives_are_read_at_the_same_x(page):
    slider = page.get_by_role("slider", name="x in all pictures")
    slider.press("Home")
    for _ in range(20):
        slider.press("ArrowRight")
    page.locator("[data-slope='0.01']").click()
    expected = {
        "relu": ("0", "0"),
        "leaky": ("−0.02", "0.01"),
        "prelu": ("−0.5", "0.25"),
        "rrelu": ("−0.458", "0.229"),
        "elu": ("−0.865", "0.135"),
        "gelu": ("−0.046", "−0.085"),
    }
    for name, (value, derivative) in expected.items():
        card = page.locator(f"[data-relative={name}]")
        expect(card.locator(".reading")).to_have_text(f"f(−2) = {value}, f′ = {derivative}")
        expect(card.locator("svg")).to_have_attribute("aria-label", re.compile(f"value is {value}, the derivative"))
    surface = page.locator("[data-relative=elu] svg")
    surface.scroll_into_view_if_needed()
    box = surface.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 8, box["y"] + 30)
    expect(page.locator("[data-relative=gelu] .reading")).to_have_text("f(4) = 4, f′ = 1.001")

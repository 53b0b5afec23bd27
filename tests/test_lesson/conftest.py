"""Shared by the tests of the page and of its server."""

import pytest
from playwright.sync_api import expect, sync_playwright
from test_lesson.pages import CHROMIUM, FLAGS


@pytest.fixture(scope="module")
def browser():
    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()

"""The lesson as a process, and its page in a browser."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from commands import WARNINGS_ARE_ERRORS
from playwright.sync_api import expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

needs_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: Chromium (apt-get install chromium)")

ENDLESS = "def leaky_relu(z, alpha=0.01):\n    while True:\n        pass\n"


# The command, which reports every connection to another machine.
LEARN = """
import sys

def told(event, arguments):
    if event == "socket.connect" and arguments[1][0] not in ("127.0.0.1", "::1") or event == "socket.getaddrinfo":
        print("connects to", arguments, flush=True)

sys.addaudithook(told)
sys.argv = ["leakyrelu", "learn", "--no-browser"]
from leakyrelu.__main__ import main
main()
"""


def learn(**environment):
    """The process, and the address that it prints."""
    command = [sys.executable, "-u", "-c", LEARN]
    environment = os.environ | WARNINGS_ARE_ERRORS | environment
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    line = process.stdout.readline()
    assert "The lesson is at http://127.0.0.1:" in line, line
    return process, re.search(r"http\S+", line)[0]


def ready(page):
    page.get_by_role("heading", name="Tuning the slope").wait_for()  # the last cell
    page.locator(".networks").wait_for()
    page.locator("[role=main]").wait_for()
    page.locator(".cm-content[aria-label]").wait_for()


def write(page, source):
    """Type this text into the editor, in place of what is there."""
    editor = page.locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(source)
    expect(editor).to_contain_text(source.splitlines()[-1].strip())

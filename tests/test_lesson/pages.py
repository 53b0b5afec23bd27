"""The lesson as a process, and who visits it: a browser, or a client of our own."""

import http.client
import os
import re
import shutil
import subprocess
import sys

import pytest
from commands import WARNINGS_ARE_ERRORS

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
RIGHT = "def leaky_relu(z, alpha=0.01):\n    return z if z >= 0 else alpha * z\n"


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


class Visitor:
    """Sends requests to the lesson as a browser does that has the cookie."""

    def __init__(self, address):
        self.host, self.first = re.fullmatch(r"http://([^/]+)(.*)", address).groups()
        self.own = {"Origin": f"http://{self.host}"}
        self.cookie = self.send("GET", self.first, cookie=False)[1]["set-cookie"].partition(";")[0]

    def send(self, method, path, body=None, headers=(), cookie=True, **options):
        """The status, the headers and the content of the answer."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            headers = ({"Cookie": self.cookie} if cookie else {}) | dict(headers)
            connection.request(method, path, body, headers, **options)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

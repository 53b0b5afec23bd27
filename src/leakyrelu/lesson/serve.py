"""Serves the lesson on this machine alone, behind a token, and opens it in a browser."""

import contextlib
import os
import secrets
import socket
import sys
import threading
import time
import traceback
import webbrowser
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from leakyrelu._shared.extras import needs

__all__ = ["serve_lesson"]

_PAGE = Path(__file__).with_name("page.py")
_SESSION = 12 * 60 * 60  # seconds that the server keeps a page without its browser, as when a laptop sleeps

_ASGI = Callable[[Any, Any, Any], Awaitable[None]]


def serve_lesson(
    *,
    port: int = 0,
    open_browser: Callable[[str], object] | None = webbrowser.open,
    say: Callable[[str], object] = print,
) -> None:
    """Serve the lesson until it is interrupted, then end the process.

    Only programs on this machine can reach it (it listens on 127.0.0.1), and only with the token in the address. While
    the browser starts, other users of the machine may read the address in the list of processes.

    Parameters
    ----------
    port : int
        The port; 0 takes a free one.
    open_browser : callable, optional
        Called with the address when the lesson can be opened; None opens nothing.
    say : callable
        Called with the lines to print.

    Raises
    ------
    ImportError
        A part of the extra is missing: ``pip install 'leakyrelu[learn]'``.
    OSError
        The port is in use, or may not be used.

    Examples
    --------
    >>> from leakyrelu.lesson import serve_lesson
    >>> serve_lesson()  # doctest: +SKIP
    The lesson is at http://127.0.0.1:40581/lesson-40581/?access_token=yYx1mJq0w2M
    Ctrl-C ends it.
    """
    with needs("leakyrelu[learn]", "the lesson"):
        import marimo
        import matplotlib as mpl  # noqa: F401  # fails before the page is opened, not in it
        import sklearn  # noqa: F401  # likewise
        import uvicorn
    token = secrets.token_urlsafe(16)
    with _listening(port) as listening:
        port = listening.getsockname()[1]
        path = f"/lesson-{port}"  # cookies ignore ports, so two lessons on one machine need different paths
        builder = marimo.create_asgi_app(quiet=True, token=token, session_ttl=_SESSION)
        app = _guarded(builder.with_app(path=path, root=str(_PAGE)).build(), f"http://127.0.0.1:{port}", path)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))

        def when_started() -> None:
            while not server.started:
                if server.should_exit:
                    return
                time.sleep(0.02)
            address = f"http://127.0.0.1:{port}{path}/?access_token={token}"
            try:
                say(f"The lesson is at {address}\nCtrl-C ends it.")
                if open_browser is not None:
                    open_browser(address)
            except BaseException:
                server.should_exit = True  # an address that nobody has read is of no use
                raise

        threading.Thread(target=when_started, daemon=True).start()
        _run(lambda: server.run(sockets=[listening]))


def _listening(port: int) -> socket.socket:
    listening = socket.socket()
    if sys.platform != "win32":  # there the option would let another program take the same port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        listening.close()
        raise OSError(f"port {port} cannot be used ({error.strerror}); choose another, or 0 for any") from error
    return listening


def _guarded(app: _ASGI, origin: str, path: str) -> _ASGI:
    """Refuse requests from pages of other servers on this machine: the browser would send our cookie with them.

    Visitors without the token are told what to open: marimo would send them to a login page outside of the path.
    """

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        own = origin.encode()
        if dict(scope.get("headers", ())).get(b"origin", own) != own:
            await _refuse(scope["type"], send, 403, b"This lesson is for its own page.")
        elif scope["type"] == "http" and not scope["path"].startswith(path):
            await _refuse(
                scope["type"], send, 401, b"Open the address that `leakyrelu learn` has printed, token and all."
            )
        else:
            await app(scope, receive, send)

    return guarded


async def _refuse(kind: str, send: Any, status: int, text: bytes) -> None:
    if kind == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text})


def _run(run: Callable[[], object]) -> None:
    """Run the server, then end the process at once: a thread of marimo waits forever and would block a normal exit."""
    code = 0
    try:
        run()
    except KeyboardInterrupt:
        pass  # as it should end
    except BaseException:  # noqa: BLE001  # the process ends here, so nobody else could report it
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError, ValueError):  # it may be closed
        sys.stdout.flush()
    os._exit(code)

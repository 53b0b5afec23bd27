"""Serves the lesson on this machine alone, behind a token, and opens it in a browser."""

import contextlib
import secrets
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable

from leakyrelu._shared.extras import needs

__all__ = ["serve_lesson"]


def serve_lesson(
    *,
    port: int = 0,
    open_browser: Callable[[str], object] | None = webbrowser.open,
    say: Callable[[str], object] = print,
) -> None:
    """Serve the lesson until it is interrupted.

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
    The lesson is at http://127.0.0.1:40581/?token=yYx1mJq0w2M
    Ctrl-C ends it.
    """
    with needs("leakyrelu[learn]", "the lesson"):
        import sklearn  # noqa: F401  # fails before the page is opened, not in it
        import uvicorn

        from leakyrelu.lesson.app import lesson_app
    token = secrets.token_urlsafe(16)
    with _listening(port) as listening:
        port = listening.getsockname()[1]
        app = lesson_app(port, token)
        config = uvicorn.Config(
            app, log_level="warning", lifespan="off", server_header=False, ws="none", timeout_graceful_shutdown=1
        )

        class Server(uvicorn.Server):
            async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
                app.state.end()  # before it waits for the answers
                await super().shutdown(sockets)

        server = Server(config)
        failures: list[BaseException] = []

        def when_started() -> None:
            while not server.started:
                if server.should_exit:
                    return
                time.sleep(0.02)
            address = f"http://127.0.0.1:{port}/?token={token}"
            try:
                say(f"The lesson is at {address}\nCtrl-C ends it.")
                if open_browser is not None:
                    open_browser(address)
            except BaseException as error:  # noqa: BLE001  # raised below
                failures.append(error)
                server.should_exit = True  # an address that nobody has read is of no use

        threading.Thread(target=when_started, daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):  # as it should end
            server.run(sockets=[listening])
        if failures:
            raise failures[0]


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

"""Serves the lesson on this machine alone, behind a token, and opens it in a browser."""

import os
import secrets
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path

__all__ = ["serve"]

_PAGE = Path(__file__).with_name("page.py")


def serve(
    *,
    port: int = 0,
    open_browser: Callable[[str], object] | None = webbrowser.open,
    say: Callable[[str], object] = print,
) -> None:
    """Serve the lesson until it is interrupted, then end the process.

    Only programs on this machine can reach it (it listens on 127.0.0.1), and only with the token in the address.

    Parameters
    ----------
    port : int
        0: one that is free.
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
    >>> from leakyrelu.lesson import serve
    >>> serve()  # doctest: +SKIP
    The lesson is at http://127.0.0.1:40581/?access_token=yYx1mJq0w2M
    Ctrl-C ends it.
    """
    try:
        import marimo
        import matplotlib as mpl  # noqa: F401  # asked for before the page is opened, not by it
        import sklearn  # noqa: F401  # likewise
        import uvicorn
    except ImportError as error:
        raise ImportError(f"the lesson lacks {error.name or error}: pip install 'leakyrelu[learn]'") from error
    token = secrets.token_urlsafe(16)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            raise OSError(f"port {port} cannot be used ({error.strerror}); choose another, or 0 for any") from error
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/?access_token={token}"
        app = marimo.create_asgi_app(quiet=True, token=token).with_app(path="/", root=str(_PAGE)).build()
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))

        def when_started() -> None:
            while not server.started:
                if server.should_exit:
                    return
                time.sleep(0.02)
            say(f"The lesson is at {address}\nCtrl-C ends it.")
            if open_browser is not None:
                open_browser(address)

        threading.Thread(target=when_started, daemon=True).start()
        try:
            server.run(sockets=[listening])
        finally:
            sys.stdout.flush()
            os._exit(0)  # a thread of marimo's waits for the page's next request, and would hold up any other exit

"""The lesson as an ASGI application: the files of the page, the digits, and a judge for what the reader writes.

It keeps nothing of a visit, so that a page that is loaded again and again costs nothing.
"""

import asyncio
import contextlib
import hmac
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from leakyrelu.check.cases import EXERCISES
from leakyrelu.check.runner import Cancellation, check_source
from leakyrelu.lesson.digits import digits_bytes

__all__ = ["lesson_app"]

_PAGE = Path(__file__).with_name("page")
_LARGEST = 100_000  # bytes of a request: a program that somebody types has a few thousand
_AT_A_TIME = 2  # checks; each takes a processor
_WAITING = 8  # checks that wait for one of these to end
_SECONDS = 2.0  # that one call of the reader's function may take
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_KINDS = {  # not those of this machine, where a script may be text/plain, which no browser runs
    ".bin": "application/octet-stream",
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def lesson_app(port: int, token: str) -> Starlette:
    """The lesson, for requests to 127.0.0.1 at this port.

    The first visit, with the token in the address, gets a cookie in exchange, and then the page at an address without
    it: one that can be shown and copied. Whoever ends the server first calls ``app.state.end()``, which ends the checks
    that run.
    """
    lesson = _Lesson(port, token)
    route = Route("/{name:path}", lesson.answer, methods=_METHODS)
    app = Starlette(routes=[route], middleware=[Middleware(GZipMiddleware, minimum_size=1000)])
    app.state.end = lesson.checks.end
    return app


class _Lesson:
    def __init__(self, port: int, token: str) -> None:
        self._host, self._token = f"127.0.0.1:{port}", token
        self._cookie = f"leakyrelu-{port}"  # a cookie is sent to all ports
        self._files = {path.relative_to(_PAGE).as_posix(): path for path in _PAGE.rglob("*") if path.is_file()}
        self._digits = digits_bytes()
        self.checks = _Checks()

    async def answer(self, request: Request) -> Response:
        response = self._to_strangers(request) or self._to_mistakes(request)
        if response is None:
            response = await self._check(request) if _name(request) == "check" else self._file(request)
        response.headers.update(_HEADERS)
        return response

    def _to_strangers(self, request: Request) -> Response | None:
        """The answer to those who may not see the page, and to those who come for the first time."""
        if request.headers.get("host") != self._host:  # another name, which its owner lets lead to 127.0.0.1
            return PlainTextResponse(f"This lesson is at http://{self._host} alone.", 403)
        own = f"http://{self._host}"
        if request.headers.get("origin", "" if request.method == "POST" else own) != own:
            # A page of another server on this machine: the browser would send our cookie with its request.
            return PlainTextResponse("This lesson is for its own page.", 403)
        given = request.query_params.get("token")
        if _name(request) == "index.html" and given is not None and self._is_token(given):
            response = RedirectResponse("/", 303)
            response.set_cookie(self._cookie, self._token, httponly=True, samesite="lax")
            return response
        if not self._is_token(request.cookies.get(self._cookie, "")):
            return PlainTextResponse("Open the address that `leakyrelu learn` has printed, token and all.", 401)
        return None

    def _to_mistakes(self, request: Request) -> Response | None:
        name = _name(request)
        if name not in {*self._files, "digits.bin", "check"}:
            return PlainTextResponse("There is no such file.", 404)
        allowed = "POST" if name == "check" else "GET, HEAD"
        if request.method not in allowed.split(", "):
            return PlainTextResponse(f"This address takes {allowed}.", 405, {"Allow": allowed})
        return None

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())

    def _file(self, request: Request) -> Response:
        name = _name(request)
        content = self._digits if name == "digits.bin" else self._files[name].read_bytes()
        if name == "index.html":
            content = content.replace(b'"leakyrelu-judge" content=""', b'"leakyrelu-judge" content="server"')
        return Response(content, media_type=_KINDS.get(Path(name).suffix, "application/octet-stream"))

    async def _check(self, request: Request) -> Response:
        try:
            exercise, source = _asked(await _body(request))
        except ClientDisconnect:
            return Response()  # nobody reads it
        except OverflowError as error:
            return PlainTextResponse(str(error), 413, {"Connection": "close"})
        except ValueError as error:
            return PlainTextResponse(str(error), 400)
        verdict = await self.checks.verdict(exercise, source, request)
        if verdict is None:
            return PlainTextResponse("Many checks are running. Try it again in a moment.", 503, {"Retry-After": "5"})
        return JSONResponse(verdict)


def _name(request: Request) -> str:
    return str(request.path_params["name"]) or "index.html"


async def _body(request: Request) -> bytes:
    """What was sent, be it of a given length or in chunks.

    Raises
    ------
    OverflowError
        It is too long.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise OverflowError(f"The text is too long: at most {_LARGEST // 1000} kB are read.")
    return body


def _asked(body: bytes) -> tuple[str, str]:
    """The exercise and the program of a request.

    Raises
    ------
    ValueError
        It has another form.
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The request is no JSON: {error}.") from error
    exercise, source = (asked.get(key) if isinstance(asked, dict) else None for key in ("exercise", "source"))
    if not (isinstance(source, str) and isinstance(exercise, str) and exercise in EXERCISES):
        raise ValueError(f'The request must be {{"exercise": one of {", ".join(EXERCISES)}, "source": a text}}.')
    return exercise, source


class _Checks:
    """Checks programs, a few at a time, each in a process of its own that ends when nobody waits for it any more."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_AT_A_TIME)
        self._asked = 0
        self._running: set[Cancellation] = set()
        self._has_ended = False

    def end(self) -> None:
        """End those that run, and begin no more."""
        self._has_ended = True
        for cancellation in self._running:
            cancellation.cancel()

    async def verdict(self, exercise: str, source: str, request: Request) -> dict[str, Any] | None:
        """The report as a dictionary; None if too many others wait. Nobody reads it if the client has gone away."""
        if self._asked >= _AT_A_TIME + _WAITING:
            return None
        self._asked += 1
        gone = asyncio.ensure_future(_gone(request))
        try:
            return await self._in_turn(exercise, source, gone)
        finally:
            gone.cancel()
            self._asked -= 1

    async def _in_turn(self, exercise: str, source: str, gone: "asyncio.Future[None]") -> dict[str, Any]:
        cancellation = Cancellation()

        def check() -> dict[str, Any]:
            return check_source(source, exercise=exercise, seconds=_SECONDS, cancellation=cancellation).to_dict()

        async with self._free:
            if gone.done() or self._has_ended:
                return {}
            self._running.add(cancellation)
            checking = asyncio.ensure_future(_in_thread(check))
            either: set[asyncio.Future[Any]] = {checking, gone}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if not checking.done():
                    cancellation.cancel()
                return await checking
            finally:
                self._running.discard(cancellation)


async def _gone(request: Request) -> None:
    """Wait until the client has gone away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _in_thread(act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `act` returns, in a thread that ends with it: a pool would keep its threads."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[dict[str, Any]] = loop.create_future()

    def settle(set_: Callable[[Any], None], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has ended
            loop.call_soon_threadsafe(lambda: None if result.done() else set_(value))

    def work() -> None:
        try:
            value = act()
        except BaseException as error:  # noqa: BLE001  # raised where it is awaited
            settle(result.set_exception, error)
        else:
            settle(result.set_result, value)

    threading.Thread(target=work).start()
    return await result

"""What keeps strangers out: only this machine's own pages and programs may come in."""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.playground.webhook import is_loopback

REQUEST_BYTES: Final = 52 * 1024 * 1024  # Telegram's 50 MB and the form around them
DRAINED_BYTES: Final = 4 * REQUEST_BYTES


class TooLarge(Exception):
    """More came than a request may bring."""


class Guard:
    """Refuse foreign hosts, pages and machines, and requests beyond Telegram's size."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: Collection[str]) -> None:
        self._app = app
        self._allowed_hosts = set(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._is_ours(scope, headers):
            body = {"ok": False, "error_code": 403, "description": "Forbidden: local use only"}
            await JSONResponse(body | {"error": "local use only"}, 403)(scope, receive, send)
            return
        meter = _Meter(receive)
        try:
            meter.expect(int(headers.get("content-length") or 0))
            await self._app(scope, meter.receive, send)
        except TooLarge:
            await meter.drain()
            words = "Request Entity Too Large"
            body = {"ok": False, "error_code": 413, "description": words}
            await JSONResponse(body | {"error": words}, 413)(scope, receive, send)

    def _is_ours(self, scope: Scope, headers: Headers) -> bool:
        client = (scope.get("client") or ("", 0))[0]
        # Behind a published container port the neighbour is the bridge, and the host is named.
        if not self._allowed_hosts and not is_loopback(client):
            return False
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            name = urlsplit(f"//{host}").hostname or ""
            page = host if origin is None else urlsplit(origin).netloc
        except ValueError:
            return False
        if page != host:
            return False
        if not is_loopback(name) and name not in self._allowed_hosts:
            return False
        visit = headers.get("sec-fetch-mode") == "navigate" and scope["path"] == "/"
        return visit or headers.get("sec-fetch-site", "none") in {"none", "same-origin"}


class _Meter:
    """Count what comes in."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._bytes = 0
        self._ended = False

    def expect(self, length: int) -> None:
        """Refuse what says from the start that it is too large."""
        if length > REQUEST_BYTES:
            raise TooLarge

    async def receive(self) -> Message:
        """Pass a message on, unless it is one too many."""
        message = await self._count()
        self.expect(self._bytes)
        return message

    async def drain(self) -> None:
        """Read on for a while, so that the sender gets to see the answer."""
        while not self._ended and self._bytes < DRAINED_BYTES:
            await self._count()

    async def _count(self) -> Message:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        return message

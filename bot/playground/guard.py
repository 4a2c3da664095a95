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

    def __init__(
        self, app: ASGIApp, *, allowed_hosts: Collection[str], doors: Collection[str]
    ) -> None:
        self._app = app
        self._doors = set(doors)
        self._allowed_hosts = set(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not self._is_ours(scope, Headers(scope=scope)):
            await _refusal(403, "Forbidden: local use only")(scope, receive, send)
            return
        taken = 0

        async def metered() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > REQUEST_BYTES:
                raise TooLarge
            return message

        try:
            await self._app(scope, metered, send)
        except TooLarge:
            # Read on for a while, so that the sender gets to see the answer.
            while taken < DRAINED_BYTES and (message := await receive()).get("more_body"):
                taken += len(message["body"])
            await _refusal(413, "Request Entity Too Large")(scope, receive, send)

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
        if page != host or not (is_loopback(name) or name in self._allowed_hosts):
            return False
        is_page = scope["method"] in {"GET", "HEAD"} and scope["path"] in self._doors
        visit = headers.get("sec-fetch-mode") == "navigate" and is_page
        return visit or headers.get("sec-fetch-site", "none") in {"none", "same-origin"}


def _refusal(code: int, words: str) -> JSONResponse:
    """Build an answer that both the bot and the page understand."""
    body = {"ok": False, "error_code": code, "description": words, "error": words}
    return JSONResponse(body, status_code=code)

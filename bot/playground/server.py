"""The local Bot API server: `/bot<token>/<method>`, files, and the page."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from bot.playground.account import Account
from bot.playground.guard import Guard
from bot.playground.media import find_file
from bot.playground.methods import METHODS
from bot.playground.options import BotProfile, Options
from bot.playground.page import Page, Panel
from bot.playground.params import Json, Params, read_params
from bot.playground.refusals import Refusal, require, too_many_requests
from bot.playground.store import Store, connect

STATIC: Final = Path(__file__).parent / "static"
OWN_TOKEN: Final = re.compile(r"\d+:playground[A-Za-z0-9_-]*")
EVERY_VERB: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class RealToken(Exception):
    """A token that may open a real bot was brought to the playground."""


def refuse_real_token(*tokens: str) -> None:
    """
    Let through the playground's own tokens only: `<digits>:playground...`.

    Raises:
        RealToken: a token could be a real one.
    """
    if not all(OWN_TOKEN.fullmatch(token) for token in tokens):
        raise RealToken("the playground starts beside no token but its own <digits>:playground...")


def create_app(
    *,
    state_path: Path | None,
    bots: Mapping[str, BotProfile],
    panel: Panel | None = None,
    allowed_hosts: Collection[str] = (),
    options: Options | None = None,
    routes: Sequence[Route] = (),
) -> Starlette:
    """
    Build the server for some bots; the page belongs to the first of them.

    `routes` are pages of the host beside it, which links of other places may lead to.

    Whoever serves it calls `app.state.hang_up()` before the server stops: streams and held polls
    end then, which would keep it waiting.

    Raises:
        RealToken: one of the tokens is not the playground's own.
    """
    refuse_real_token(*bots)
    connection = connect(state_path)
    accounts = {
        token: Account(
            profile, store=Store(connection, bot_id=profile.id), options=options or Options()
        )
        for token, profile in bots.items()
    }

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        for account in accounts.values():
            account.webhook.restart()
        yield
        for account in accounts.values():
            await account.webhook.stop()
        connection.close()

    def hang_up() -> None:
        for account in accounts.values():
            account.hang_up()

    doors = ["/", *(route.path for route in routes)]
    app = Starlette(
        routes=[*routes, *_routes(accounts, panel)],
        middleware=[Middleware(Guard, allowed_hosts=allowed_hosts, doors=doors)],
        lifespan=lifespan,
    )
    app.state.hang_up = hang_up
    return app


def _routes(accounts: Mapping[str, Account], panel: Panel | None) -> list[BaseRoute]:
    async def bot_api(request: Request) -> Response:
        account = accounts.get(request.path_params["token"])
        return await _answer(account, request) if account else _failure(401, "Unauthorized")

    async def bot_file(request: Request) -> Response:
        account = accounts.get(request.path_params["token"])
        if account is None:
            return _failure(401, "Unauthorized")
        found = find_file(account, request.path_params["path"].rpartition("/file_")[2])
        return Response(found[1]) if found else _failure(404, "Not Found")

    async def index(_: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    async def nothing(_: Request) -> Response:
        return _failure(404, "Not Found")

    return [
        Route("/bot{token}/{method}", bot_api, methods=["GET", "POST"]),
        Route("/file/bot{token}/{path:path}", bot_file),
        *Page(next(iter(accounts.values())), panel).routes(),
        Route("/", index),
        Mount("/static", StaticFiles(directory=STATIC)),
        Route("/{path:path}", nothing, methods=EVERY_VERB),
    ]


def _failure(code: int, description: str, *, retry_after: int = 0) -> JSONResponse:
    answer: Json = {"ok": False, "error_code": code, "description": description}
    if not retry_after:
        return JSONResponse(answer, status_code=code)
    answer["parameters"] = {"retry_after": retry_after}
    return JSONResponse(answer, status_code=code, headers={"Retry-After": str(retry_after)})


async def _answer(account: Account, request: Request) -> Response:
    """Read a call, let it meet its fault or be carried out, and note it in the journal."""
    method = request.path_params["method"]
    begun = time.monotonic()
    params = Params()
    try:
        params = await read_params(request)
        await _meet_fault(account, method)
        response = _success(await _carry_out(account, method.lower(), params))
    except Refusal as refusal:
        response = _failure(refusal.code, refusal.description, retry_after=refusal.retry_after)
    answer, status = json.loads(bytes(response.body)), response.status_code
    lost = account.faults.take("lost", method=method)
    if lost:
        answer = {"ok": False, "description": f"the answer was lost; it was: {answer}"}
        status = 0
    ms = int((time.monotonic() - begun) * 1000)
    account.journal.record(method, params, answer, status=status, ms=ms)
    return _LostResponse() if lost else response


def _success(result: object) -> JSONResponse:
    """Build the answer to a call; a text as its result describes a plain yes."""
    described = {"result": True, "description": result}
    return JSONResponse(
        {"ok": True} | (described if isinstance(result, str) else {"result": result})
    )


async def _meet_fault(account: Account, method: str) -> None:
    if fault := account.faults.take("slow", method=method):
        await asyncio.sleep(fault["seconds"])
    if fault := account.faults.take("429", method=method):
        raise too_many_requests(fault["seconds"])
    if account.faults.take("5xx", method=method):
        raise Refusal("Bad Gateway", code=502)


async def _carry_out(account: Account, method: str, params: Params) -> object:
    if method == "getupdates":
        return await account.updates.poll(params)
    require(method in METHODS, "method not found", code=404)
    try:
        return METHODS[method](account, params)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as problem:
        # JSON of another shape than asked for fails where it is first used: Telegram says 400 too.
        raise Refusal(f"can't parse the parameters: {problem!r}") from problem


class _LostResponse(Response):
    """An answer that breaks off: the call was carried out, its caller never hears of it."""

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """Promise a body, and hang up."""
        headers = [(b"content-length", b"2"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

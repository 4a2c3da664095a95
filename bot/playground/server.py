"""The local Bot API server: `/bot<token>/<method>`, files, and the page."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from bot.playground import about, edits, media, messages, payments
from bot.playground.account import Account
from bot.playground.guard import Guard
from bot.playground.options import BotProfile, Options
from bot.playground.page import Page, Panel
from bot.playground.params import Json, Params, Upload
from bot.playground.refusals import Refusal, too_many_requests
from bot.playground.store import Store, connect
from bot.playground.updates import Described

STATIC: Final = Path(__file__).parent / "static"
OWN_TOKEN: Final = re.compile(r"\d+:playground[A-Za-z0-9_-]*")
METHODS: Final[dict[str, Callable[[Account, Params], object]]] = {
    **about.METHODS,
    **edits.METHODS,
    **media.METHODS,
    **messages.METHODS,
    **payments.METHODS,
}
NOT_BY_WEBHOOK: Final = {"setwebhook", "deletewebhook", "close", "logout"}


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
) -> Starlette:
    """
    Build the server for some bots; the page belongs to the first of them.

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
            account.updates.start(_webhook_caller(account))
        yield
        for account in accounts.values():
            await account.updates.stop()
        connection.commit()
        connection.close()

    app = Starlette(
        routes=_routes(accounts, panel),
        middleware=[Middleware(Guard, allowed_hosts=allowed_hosts)],
        lifespan=lifespan,
    )

    def hang_up() -> None:
        for account in accounts.values():
            account.hang_up()

    app.state.hang_up = hang_up
    return app


def _routes(accounts: Mapping[str, Account], panel: Panel | None) -> list[BaseRoute]:
    async def bot_api(request: Request) -> Response:
        account = accounts.get(request.path_params["token"])
        if account is None:
            return _refused(Refusal("Unauthorized", code=401))
        return await _answer(account, request)

    async def bot_file(request: Request) -> Response:
        account = accounts.get(request.path_params["token"])
        if account is None:
            return _refused(Refusal("Unauthorized", code=401))
        found = media.content_by_path(account, request.path_params["path"])
        if found is None:
            return _refused(Refusal("Not Found", code=404), plain=True)
        return Response(found[1], media_type="application/octet-stream")

    async def index(_: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    async def nothing(_: Request) -> Response:
        return _refused(Refusal("Not Found", code=404), plain=True)

    page = Page(next(iter(accounts.values())), panel)
    every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return [
        Route("/bot{token}/{method}", bot_api, methods=["GET", "POST"]),
        Route("/file/bot{token}/{path:path}", bot_file),
        *page.routes(),
        Route("/", index),
        Mount("/static", StaticFiles(directory=STATIC, check_dir=False)),
        Route("/{path:path}", nothing, methods=every),
    ]


def _refused(refusal: Refusal, *, plain: bool = False) -> JSONResponse:
    answer: Json = {"ok": False, "error_code": refusal.code}
    answer["description"] = "Not Found" if plain else refusal.description
    headers = {}
    if refusal.parameters:
        answer["parameters"] = refusal.parameters
    if "retry_after" in refusal.parameters:
        headers["Retry-After"] = str(refusal.parameters["retry_after"])
    return JSONResponse(answer, status_code=refusal.code, headers=headers)


async def _answer(account: Account, request: Request) -> Response:
    """Read a call, let it meet its fault or be carried out, and note it in the journal."""
    method = request.path_params["method"]
    begun = time.monotonic()
    params = Params()
    try:
        params = await _read_params(request)
        await _meet_fault(account, method)
        response = _accepted(await _carry_out(account, method, params, request))
    except Refusal as refusal:
        response = _refused(refusal)
    finally:
        account.store.commit()
    answer = json.loads(bytes(response.body))
    ms = int((time.monotonic() - begun) * 1000)
    if account.faults.take("lost", method=method):
        answer = {"ok": False, "description": f"the answer was lost; it was: {answer}"}
        account.journal.record(method, params, answer, status=0, ms=ms)
        return _LostResponse()
    account.journal.record(method, params, answer, status=response.status_code, ms=ms)
    return response


def _accepted(result: object) -> JSONResponse:
    if isinstance(result, Described):
        described = {"result": result.result, "description": result.description}
        return JSONResponse({"ok": True, **described})
    return JSONResponse({"ok": True, "result": result})


async def _meet_fault(account: Account, method: str) -> None:
    if fault := account.faults.take("slow", method=method):
        await asyncio.sleep(fault["seconds"])
    if fault := account.faults.take("429", method=method):
        raise too_many_requests(fault["seconds"])
    if account.faults.take("5xx", method=method):
        raise Refusal("Bad Gateway", code=502)


async def _carry_out(account: Account, method: str, params: Params, request: Request) -> object:
    name = method.lower()
    if name == "getupdates":
        return await account.updates.poll(params, lambda: _gone(request))
    return _call(account, name, params)


def _call(account: Account, name: str, params: Params) -> object:
    if name not in METHODS:
        raise Refusal("method not found", code=404)
    if name.startswith("send") and name != "sendchataction":
        account.keep_pace(params.text("chat_id"))
    try:
        return METHODS[name](account, params)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as problem:
        # JSON of another shape than asked for fails where it is first used: Telegram says 400 too.
        raise Refusal(f"can't parse the parameters: {problem!r}") from problem


async def _gone(request: Request) -> None:
    """Wait until the caller hangs up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _webhook_caller(account: Account) -> Callable[[str, Params], Any]:
    """Build what carries out a call that came as a webhook's answer."""

    async def call(method: str, params: Params) -> None:
        name, status, answer = method.lower(), 200, Json(ok=True)
        if name.startswith("get") or name in NOT_BY_WEBHOOK:
            return
        try:
            _call(account, name, params)
        except Refusal as refusal:
            status = refusal.code
            answer = {"ok": False, "description": refusal.description}
        account.store.commit()
        account.journal.record(method, params, answer, status=status, ms=0)

    return call


async def _read_params(request: Request) -> Params:
    values: dict[str, Any] = dict(request.query_params)
    uploads: dict[str, Upload] = {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        values |= _read_json(await request.body())
    elif kind in {"application/x-www-form-urlencoded", "multipart/form-data"}:
        async with request.form(max_part_size=1024 * 1024) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    content = await value.read()
                    uploads[name] = Upload(value.filename or "", value.content_type or "", content)
                else:
                    values[name] = value
    return Params(values, uploads)


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        values = json.loads(body or b"{}")
    except ValueError:
        raise Refusal("can't parse JSON object") from None
    if not isinstance(values, dict):
        raise Refusal("can't parse JSON object")
    return values


class _LostResponse(Response):
    """An answer that breaks off: the call was carried out, its caller never hears of it."""

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """Promise a body, and hang up."""
        headers = [(b"content-length", b"2"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

"""The demo's payment provider: a page to pay on without money; it speaks our own protocol."""

import html
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, unquote_plus

import aiohttp
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from bot.paying.provider import NotSigned
from bot.paying.signed_notices import SIGNATURE, require_signed, sign

SECRET: Final = "demo-payment-secret-opens-nothing-else"  # noqa: S105 (known to all, on loopback only)
PATH: Final = "/demo-bank"
TRIES: Final = 3
KINDS: Final = {"pay": "succeeded", "decline": "failed", "later": "unknown"}
_PAGE: Final = """<!doctype html>
<html lang="zh">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Demo bank</title>
<style>
body {{ margin: 0; padding: 1rem; font: 17px/1.5 system-ui, "Noto Sans CJK SC", sans-serif;
  background: #fdf2dc; color: #3d2f12; text-align: center }}
main {{ max-width: 26rem; margin: 6vh auto 0; padding: 1.5rem; background: #fff;
  border: 3px dashed #c98b00; border-radius: 1rem }}
b.sum {{ display: block; font-size: 2.25rem; margin: .5rem }}
button {{ width: 100%; min-height: 3rem; margin: .4rem 0; border: 1px solid #c98b00;
  border-radius: .75rem; background: #fff; font: inherit; cursor: pointer }}
button.main {{ background: #c98b00; color: #fff; font-weight: 600 }}
</style>
<main>
<p><strong>演示银行 Demo bank</strong><br>没有真钱 No real money</p>
<p>{title}<br><small>{order}</small></p>
<b class="sum">{amount} {currency}</b>
<form method="post" action="?{query}">
<button class="main" name="act" value="pay">付款 Pay</button>
<button name="act" value="decline">拒绝 The bank declines</button>
<button name="act" value="later">结果不明 Nobody knows</button>
</form>
</main>
"""


class DemoBank:
    """Serves the page and tells the service what a person did there, by the demo's clock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def routes(self) -> list[Route]:
        """Return the routes of the page."""
        return [
            Route(PATH, self._show, methods=["GET"]),
            Route(PATH, self._act, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        asked = self._read(request)
        if asked is None:
            return Response("This order was not signed by the service of the demo.", 403)
        shown = {name: html.escape(value) for name, value in asked.items()}
        return HTMLResponse(_PAGE.format(query=html.escape(request.url.query), **shown))

    def _read(self, request: Request) -> dict[str, str] | None:
        """Return what an order says, if the demo's service made it; its clock may run fast."""
        signed, _, signature = request.url.query.rpartition("&signature=")
        header = unquote_plus(signature)
        stamp = header.removeprefix("t=").partition(",")[0]
        made_at = datetime.fromtimestamp(int(stamp), UTC) if stamp.isdecimal() else self._now()
        try:
            require_signed(SECRET, header, signed.encode(), now=made_at)
        except NotSigned:
            return None
        return dict(parse_qsl(signed))

    async def _act(self, request: Request) -> Response:
        asked = self._read(request)
        act = str((await request.form()).get("act", ""))
        if asked is None or act not in KINDS:
            return Response("This order was not signed by the service of the demo.", 403)
        notice = {
            "id": secrets.token_hex(8),
            "kind": KINDS[act],
            "payment": f"demo-{asked['order']}",
            "order": asked["order"],
            "amount": asked["amount"],
            "currency": asked["currency"],
            "at": self._now().isoformat(),
        }
        body = json.dumps(notice).encode()
        async with aiohttp.ClientSession() as http:
            for _ in range(TRIES):
                headers = {SIGNATURE: sign(SECRET, body, at=self._now())}
                async with http.post(asked["notify"], data=body, headers=headers) as answer:
                    if answer.ok:
                        return RedirectResponse(asked["back"], 303)
        return Response("The service did not take the notice. Please try again.", 502)

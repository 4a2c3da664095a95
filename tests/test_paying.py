"""Providers over real sockets: who signed, what it means, and the page that leads to them."""

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
import stripe
import uvicorn
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from yarl import URL

from bot.api import server
from bot.app import WebServer, bind
from bot.clock import ScaledClock, SystemClock
from bot.demo import bank
from bot.paying.provider import Links
from bot.paying.signed_notices import SIGNATURE, require_signed, sign
from bot.settings import Settings
from core.db import Database
from tests.billing.books import NOW, ask
from tests.billing.test_payments import open_bills, require_sound_books, states
from tests.world import World

__all__ = ["open_bills"]  # a fixture

SECRET = "a secret of the tests"  # noqa: S105 (opens nothing)
API_KEY = "0123456789abcdef0123456789abcdef"
KEY = rsa.generate_private_key(65537, 2048)
PUBLIC = base64.b64encode(
    KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
STAMP = str(int(NOW.timestamp()))
BODY_MAX = 300


def signed(content: str) -> str:
    mark = KEY.sign(content.encode(), padding.PKCS1v15(), SHA256())
    return base64.b64encode(mark).decode()


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    listener = bind("127.0.0.1", 0)
    web = WebServer(uvicorn.Config(app, log_level="warning"))
    task = asyncio.create_task(web.serve(sockets=[listener]))
    while not web.started:  # noqa: ASYNC110 (uvicorn has no event)
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        web.should_exit = True
        await task
        listener.close()


@dataclass
class Desk:
    """The service on a socket, whose providers are the tests themselves."""

    base: str
    http: aiohttp.ClientSession
    links: Links
    asked_of_stripe: list[Any]

    async def notify(self, name: str, body: str, **headers: str) -> tuple[int, str]:
        url = f"{self.base}/pay/notify/{name}"
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        async with self.http.post(url, data=body.encode(), headers=names) as answer:
            return answer.status, (await answer.text())[:BODY_MAX]

    async def tell(self, kind: str, **changes: str) -> tuple[int, str]:
        """Speak as a provider of our own protocol."""
        notice = {
            "id": f"{kind} {sorted(changes.items())}",
            "kind": kind,
            "payment": "p-1",
            "order": "E1001-0a1b2c3d",
            "amount": "56.53",
            "currency": "CNY",
            "at": NOW.isoformat(),
        } | changes
        body = json.dumps(notice)
        return await self.notify(
            "link", body, **{SIGNATURE: sign(bank.SECRET, body.encode(), at=NOW)}
        )

    async def stripe(self, kind: str, **thing: Any) -> tuple[int, str]:
        """Speak as Stripe does: its own library signs."""
        event = {"id": f"evt_{kind}", "type": kind, "created": int(STAMP)}
        body = json.dumps(event | {"data": {"object": thing}})
        header = stripe.WebhookSignature.generate_signature_header(body, SECRET, int(STAMP))
        return await self.notify("stripe", body, stripe_signature=header)


@pytest.fixture
async def desk(database: Database, open_bills: World) -> AsyncIterator[Desk]:
    assert open_bills
    asked: list[Any] = []

    async def open_session(request: Request) -> JSONResponse:
        asked.append((dict(await request.form()), dict(request.headers)))
        return JSONResponse({"id": "cs_1", "object": "checkout.session", "url": "https://pay.test"})

    api = Starlette(routes=[Route("/v1/checkout/sessions", open_session, methods=["POST"])])
    async with serving(api) as stripe_base:
        settings = Settings(
            _env_file=None,
            payment_provider_url="https://provider.test/pay",
            payment_provider_secret=bank.SECRET,
            stripe_webhook_secret=SECRET,
            stripe_api_key="sk_test_1",
            stripe_api_base=stripe_base,
            alipay_app_id="2026000000000001",
            alipay_public_key=PUBLIC,
            wechat_merchant_id="1900000001",
            wechat_public_key=PEM,
            wechat_public_key_id="PUB_KEY_ID_1",
            wechat_api_key=API_KEY,
        )
        clock = ScaledClock(set_at=SystemClock().now(), shown_at=NOW, rate=0)
        address = {"base": ""}
        links = Links(lambda: address["base"], SECRET)
        app = server.build(database, clock, settings=settings, links=links)
        async with serving(app) as base, aiohttp.ClientSession() as http:
            address["base"] = base
            yield Desk(base, http, links, asked)


class TestSignedNotices:
    async def test_pay_a_bill_once(self, desk: Desk, database: Database) -> None:
        for _ in range(2):
            assert await desk.tell("succeeded") == (200, '{"status": "kept"}')

        assert (await states(database))["E1001"] == ("settled", 5653)
        await require_sound_books(database)

    async def test_are_refused_unsigned_old_or_changed(
        self, desk: Desk, database: Database
    ) -> None:
        body = '{"id": "1"}'
        marks = [
            "",
            "v1=00",
            f"t={STAMP}",
            sign("another", body.encode(), at=NOW),
            sign(bank.SECRET, b'{"id": "2"}', at=NOW),
            sign(bank.SECRET, body.encode(), at=NOW - timedelta(minutes=6)),
            sign(bank.SECRET, body.encode(), at=NOW + timedelta(minutes=6)),
        ]
        for mark in marks:
            status, _ = await desk.notify("link", body, **{SIGNATURE: mark})
            assert status == 401, mark
        status, _ = await desk.notify(
            "link", body, **{SIGNATURE: sign(bank.SECRET, body.encode(), at=NOW)}
        )
        assert status == 422
        assert (await desk.tell("succeeded", amount="1e3"))[0] == 422
        assert (await desk.notify("nobody", body))[0] == 404
        assert await ask(database, "SELECT id FROM shuidian.provider_events") == []

    async def test_of_unknown_fate_block_and_wait_for_two_people(
        self, desk: Desk, database: Database
    ) -> None:
        await desk.tell("unknown")
        assert (await states(database))["E1001"] == ("issued", 0)
        assert await ask(database, "SELECT state FROM shuidian.payments") == [("unknown",)]
        told = "SELECT DISTINCT kind FROM shuidian.deliveries WHERE kind LIKE 'payment.%'"
        assert await ask(database, told) == [("payment.unknown",)]
        await desk.tell("failed", id="later")
        assert await ask(database, "SELECT state FROM shuidian.payments") == [("failed",)]

    def test_are_signed_as_the_stripe_library_signs(self) -> None:
        body = '{"id": "1"}'
        theirs = stripe.WebhookSignature.generate_signature_header(body, SECRET, int(STAMP))
        assert sign(SECRET, body.encode(), at=NOW) == theirs
        require_signed(SECRET, theirs, body.encode(), now=NOW)


class TestStripe:
    async def test_says_what_became_of_a_payment(self, desk: Desk, database: Database) -> None:
        session = {"client_reference_id": "E1001-1", "amount_total": 5653, "currency": "cny"}
        session |= {"payment_intent": "pi_1"}
        await desk.stripe("checkout.session.completed", payment_status="unpaid", **session)
        assert await ask(database, "SELECT state FROM shuidian.payments") == [("pending",)]
        await desk.stripe("checkout.session.async_payment_succeeded", **session)
        assert (await states(database))["E1001"] == ("settled", 5653)

        charge = {"payment_intent": "pi_1", "currency": "cny"}
        dispute = {"id": "dp_1", "amount": 5000, "status": "needs_response", **charge}
        await desk.stripe("charge.refunded", amount=5653, amount_refunded=653, **charge)
        await desk.stripe("charge.dispute.created", **dispute)
        await desk.stripe("charge.dispute.funds_withdrawn", **dispute)
        rows = "SELECT state, refunded_minor, charged_back_minor FROM shuidian.payments"
        assert await ask(database, rows) == [("charged_back", 653, 5000)]

        await desk.stripe("charge.dispute.closed", **dispute | {"status": "won"})
        assert await ask(database, rows) == [("succeeded", 653, 0)]
        await require_sound_books(database)

    async def test_is_not_believed_unsigned_or_late(self, desk: Desk) -> None:
        body = "{}"
        late = stripe.WebhookSignature.generate_signature_header(body, SECRET, int(STAMP) - 301)
        for header in ("", "t=1", late):
            assert (await desk.notify("stripe", body, stripe_signature=header))[0] == 401

    async def test_counts_currencies_without_small_coins(
        self, desk: Desk, database: Database
    ) -> None:
        await desk.stripe(
            "checkout.session.completed",
            payment_status="paid",
            payment_intent="pi_2",
            client_reference_id="E1001-1",
            amount_total=1200,
            currency="jpy",
        )
        assert await ask(
            database, "SELECT amount_minor, currency, reason FROM shuidian.suspense_items"
        ) == [(1200, "JPY", "currency")]

    async def test_opens_a_page_with_an_order_of_its_own(self, desk: Desk) -> None:
        url = desk.links.for_bill("E1001")
        async with desk.http.post(f"{url}/stripe", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "https://pay.test")
        ((form, headers),) = desk.asked_of_stripe
        assert form["line_items[0][price_data][unit_amount]"] == "5653"
        assert form["line_items[0][price_data][currency]"] == "cny"
        assert re.fullmatch(r"E1001-[0-9a-f]{8}", form["client_reference_id"])
        assert headers["idempotency-key"] == form["client_reference_id"]
        assert headers["authorization"] == "Bearer sk_test_1"


class TestAlipay:
    def notice(self, **changes: str) -> str:
        told = {
            "notify_id": "n1",
            "notify_time": "2026-11-02 12:00:00",
            "notify_type": "trade_status_sync",
            "app_id": "2026000000000001",
            "charset": "utf-8",
            "trade_no": "2026110222001",
            "out_trade_no": "E1001-0a1b2c3d",
            "trade_status": "TRADE_SUCCESS",
            "total_amount": "56.53",
            "subject": "电费账单 & more",
            "body": "",
            "gmt_payment": "2026-11-02 11:59:58",
        } | changes
        content = "&".join(f"{name}={told[name]}" for name in sorted(told))
        return urlencode(told | {"sign": signed(content), "sign_type": "RSA2"})

    async def test_is_answered_success_and_paid_once(self, desk: Desk, database: Database) -> None:
        for _ in range(2):
            assert await desk.notify("alipay", self.notice()) == (200, "success")
        assert (await states(database))["E1001"] == ("settled", 5653)

        part = {"notify_id": "n2", "refund_fee": "6.53", "gmt_refund": "2026-11-02 12:30:00.1"}
        assert (await desk.notify("alipay", self.notice(**part)))[0] == 200
        all_of_it = {"notify_id": "n3", "refund_fee": "56.53", "trade_status": "TRADE_CLOSED"}
        assert (await desk.notify("alipay", self.notice(**all_of_it)))[0] == 200

        assert await ask(database, "SELECT state, refunded_minor FROM shuidian.payments") == [
            ("refunded", 5653)
        ]
        await require_sound_books(database)

    async def test_is_not_believed_when_changed_or_for_another(self, desk: Desk) -> None:
        good = self.notice()
        for body in (
            good.replace("56.53", "56.54"),
            good.replace("RSA2", "RSA"),
            self.notice(app_id="2026000000000002"),
            "sign=x",
            "",
        ):
            assert (await desk.notify("alipay", body))[0] == 401


class TestWeChatPay:
    async def tell(
        self, desk: Desk, event_type: str, told: dict[str, Any], **changes: str
    ) -> tuple[int, str]:
        plain = json.dumps(told).encode()
        sealed = AESGCM(API_KEY.encode()).encrypt(b"nonce-of-12b", plain, b"transaction")
        body = json.dumps(
            {
                "id": f"EV-{event_type}-{told.get('refund_id', '')}",
                "create_time": NOW.isoformat(),
                "event_type": event_type,
                "resource_type": "encrypt-resource",
                "resource": {
                    "algorithm": "AEAD_AES_256_GCM",
                    "ciphertext": base64.b64encode(sealed).decode(),
                    "nonce": "nonce-of-12b",
                    "associated_data": "transaction",
                },
            }
        )
        headers = {
            "wechatpay_timestamp": STAMP,
            "wechatpay_nonce": "abc",
            "wechatpay_signature": signed(f"{STAMP}\nabc\n{body}\n"),
            "wechatpay_serial": "PUB_KEY_ID_1",
        } | changes
        return await desk.notify("wechat", body, **headers)

    def paid(self, **changes: Any) -> dict[str, Any]:
        return {
            "mchid": "1900000001",
            "transaction_id": "420000",
            "out_trade_no": "E1001-0a1b2c3d",
            "trade_state": "SUCCESS",
            "success_time": "2026-11-02T11:59:58+08:00",
            "amount": {"total": 5653, "payer_total": 5653, "currency": "CNY"},
        } | changes

    async def test_says_what_was_paid_and_refunded(self, desk: Desk, database: Database) -> None:
        answer = await self.tell(desk, "TRANSACTION.SUCCESS", self.paid())
        assert answer == (200, '{"code": "SUCCESS", "message": ""}')
        assert (await states(database))["E1001"] == ("settled", 5653)

        for name, part in (("r1", 653), ("r2", 1000), ("r1", 653)):
            refund = self.paid(refund_id=name, amount={"total": 5653, "refund": part})
            assert (await self.tell(desk, "REFUND.SUCCESS", refund))[0] == 200
        assert await ask(database, "SELECT refunded_minor FROM shuidian.payments") == [(1653,)]
        await require_sound_books(database)

    async def test_is_not_believed_unsigned_old_or_for_another(self, desk: Desk) -> None:
        for wrong in (
            {"wechatpay_signature": "WECHATPAY/SIGNTEST/x"},
            {"wechatpay_nonce": "abd"},
            {"wechatpay_timestamp": str(int(STAMP) - 301)},
            {"wechatpay_serial": "PUB_KEY_ID_2"},
        ):
            assert (await self.tell(desk, "TRANSACTION.SUCCESS", self.paid(), **wrong))[0] == 401
        foreign = self.paid(mchid="1900000002")
        assert (await self.tell(desk, "TRANSACTION.SUCCESS", foreign))[0] == 401


class TestPaymentPage:
    async def test_shows_what_is_open_and_no_name(self, desk: Desk) -> None:
        async with desk.http.get(desk.links.for_bill("E1001")) as answer:
            page = await answer.text()
        assert "56.53" in page and "001" in page
        assert "Li Hua" not in page and "10001" not in page and "Linden Street" not in page
        assert "https://provider.test" in answer.headers["Content-Security-Policy"]

        await desk.tell("succeeded")
        async with desk.http.get(desk.links.for_bill("E1001")) as answer:
            assert "<button" not in await answer.text()

    @pytest.mark.parametrize(
        ("kind", "words", "anew"),
        [("failed", "did not go through", False), ("unknown", "do not pay again", True)],
    )
    async def test_tells_a_declined_payment_from_an_unknown_one(
        self, desk: Desk, kind: str, words: str, *, anew: bool
    ) -> None:
        await desk.tell(kind)
        english = {"Accept-Language": "en"}

        url = desk.links.for_bill("E1001")
        async with desk.http.get(f"{url}?paid=true", headers=english) as answer:
            assert words in await answer.text()
        async with desk.http.get(url, headers=english) as answer:
            assert (words in await answer.text()) is anew

    async def test_offers_no_way_to_pay_twice_without_a_step_of_its_own(self, desk: Desk) -> None:
        await desk.tell("unknown")
        url = desk.links.for_bill("E1001")

        async with desk.http.get(url) as answer:
            page = await answer.text()
            assert ("<button" in page, "?again=true" in page) == (False, True)
        async with desk.http.post(f"{url}/link", allow_redirects=False) as answer:
            assert answer.headers["Location"] == urlsplit(url).path
        async with desk.http.get(f"{url}?again=true") as answer:
            assert "/link?again=true" in await answer.text()
        async with desk.http.post(f"{url}/link?again=true", allow_redirects=False) as answer:
            assert answer.headers["Location"].startswith("https://provider.test")

    async def test_is_not_found_by_guessing(self, desk: Desk) -> None:
        url = desk.links.for_bill("E1001")
        for wrong in (url[:-1] + "x", url.replace("E1001", "E1002"), f"{desk.base}/pay/E1001/"):
            async with desk.http.get(wrong) as answer:
                assert answer.status == 404
            async with desk.http.post(f"{wrong}/link", allow_redirects=False) as answer:
                assert answer.status == 404

    async def test_leads_to_the_provider_with_a_signed_order(
        self, desk: Desk, database: Database
    ) -> None:
        url = desk.links.for_bill("E1001")
        async with desk.http.post(f"{url}/link", allow_redirects=False) as answer:
            asked = urlsplit(answer.headers["Location"])
        order = parse_qs(asked.query)
        assert (order["amount"], order["currency"]) == (["56.53"], ["CNY"])
        assert order["back"] == [f"{url}?paid=true"]

        page = Starlette(routes=bank.DemoBank(lambda: NOW).routes())
        async with serving(page) as base:
            at_bank = URL(f"{base}{bank.PATH}?{asked.query}", encoded=True)
            async with desk.http.get(at_bank) as answer:
                assert "56.53" in await answer.text()
            async with desk.http.get(
                URL(str(at_bank).replace("56.53", "0.01"), encoded=True)
            ) as answer:
                assert answer.status == 403
            for act in ("later", "pay"):
                async with desk.http.post(
                    at_bank, data={"act": act}, allow_redirects=False
                ) as answer:
                    assert answer.headers["Location"] == f"{url}?paid=true"
        assert (await states(database))["E1001"] == ("settled", 5653)

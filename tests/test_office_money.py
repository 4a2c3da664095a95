"""The cashier and the money that waits, through the office's pages on a socket."""

import re
from urllib.parse import urlsplit

import aiohttp
import pytest

from bot.tables import write_table
from core.billing import payments
from core.billing.models import EventKind, PaymentState
from core.billing.payments import Target
from tests.billing.books import NOW, ask
from tests.billing.test_payments import open_bills, pay, require_sound_books, states, target
from tests.billing.test_provider_events import event, say
from tests.test_office import Office, office

__all__ = ["office", "open_bills", "target"]  # fixtures


async def sign_in(office: Office, person: int | None = None) -> None:
    await office.enter(await office.link(person))


async def send(office: Office, path: str, **fields: str) -> tuple[int, str]:
    """Send a form of our own page; return the status, and the text or where it leads."""
    url = f"{office.base}/office/{path}"
    headers = {"Origin": office.base}
    async with office.http.post(url, data=fields, headers=headers, allow_redirects=False) as answer:
        words = await answer.text()
        return answer.status, answer.headers.get("Location", words)


def form_of(page: str) -> dict[str, str]:
    """Return what the first form for taking money carries."""
    return dict(re.findall(r'name="(key|agreement)" value="([^"]+)"', page)[:2])


class TestCashier:
    @pytest.mark.parametrize("words", ["10001", "E1003", "li hu", "Street 1-101", "e1006"])
    async def test_finds_by_number_name_and_address(
        self, office: Office, target: Target, words: str
    ) -> None:
        await sign_in(office)
        status, page = await office.get(f"/office/cashier?q={words}")
        assert status == 200
        assert "Li Hua" in page and "E1001" in page and "339.18" in page
        assert "Anna Petrova" not in page
        assert f'value="{target.agreement_id}"' in page

    @pytest.mark.usefixtures("open_bills")
    async def test_takes_a_part_once_and_says_who_took_it(self, office: Office) -> None:
        await sign_in(office)
        _, page = await office.get("/office/cashier?q=E1003")
        fields = form_of(page) | {"amount": "20.5", "bill": "E1003", "q": "E1003"}

        for _ in range(2):
            assert await send(office, "cashier", **fields) == (303, "/office/receipts/P1001")

        _, receipt = await office.get("/office/receipts/P1001")
        assert "20.50" in receipt and "Maya Stone" in receipt and "36.03" in receipt
        assert (await states(office.database))["E1003"] == ("issued", 2050)
        async with office.http.get(f"{office.base}/office/receipts/P1001/receipt.pdf") as pdf:
            assert (await pdf.read()).startswith(b"%PDF")
        await require_sound_books(office.database)

    @pytest.mark.parametrize("amount", ["0", "-1", "abc", "", "1.234", "1e3", "0.001"])
    async def test_says_what_is_wrong_with_an_amount_and_keeps_it(
        self, office: Office, target: Target, amount: str
    ) -> None:
        await sign_in(office)
        _, page = await office.get("/office/cashier?q=10001")
        status, words = await send(office, "cashier", **form_of(page), amount=amount, q="10001")
        assert status == 422
        assert 'role="alert"' in words
        assert await ask(office.database, "SELECT id FROM shuidian.payments") == []
        assert target

    async def test_refunds_and_undoes_with_a_reason(self, office: Office, target: Target) -> None:
        await sign_in(office)
        await pay(office.database, target, 6000, "a")
        _, page = await office.get("/office/receipts/P1001")
        key = re.findall(r'name="key" value="([^"]+)"', page)[0]

        status, words = await send(
            office, "receipts/P1001/refund", key=key, amount="60.01", reason="too much"
        )
        assert status == 422 and "60.00" in words
        for _ in range(2):
            status, _ = await send(
                office, "receipts/P1001/refund", key=key, amount="3.47", reason="too much"
            )
            assert status == 303
        assert (await send(office, "receipts/P1001/reverse", reason="x"))[0] == 422
        await require_sound_books(office.database)

    async def test_keeps_strangers_and_foreign_pages_out(
        self, office: Office, target: Target
    ) -> None:
        for path in ("cashier", "suspense", "receipts/P1001", "receipts/P1001/receipt.pdf"):
            assert (await office.get(f"/office/{path}"))[0] == 401
        fields = {"key": "k" * 20, "agreement": str(target.agreement_id), "amount": "1"}
        assert (await send(office, "cashier", **fields))[0] == 401
        await sign_in(office)
        url = f"{office.base}/office/cashier"
        headers = {"Origin": "https://elsewhere.test"}
        async with office.http.post(url, data=fields, headers=headers) as answer:
            assert answer.status == 403
        assert await ask(office.database, "SELECT id FROM shuidian.payments") == []


class TestSuspense:
    async def upload(self, office: Office, content: bytes, *, dry_run: bool) -> str:
        form = aiohttp.FormData({"dry_run": str(dry_run).lower()})
        form.add_field("file", content, filename="statement.csv")
        url, headers = f"{office.base}/office/statement", {"Origin": office.base}
        async with office.http.post(url, data=form, headers=headers) as answer:
            assert urlsplit(str(answer.url)).path == "/office/statement"
            return await answer.text()

    async def test_waits_is_split_and_the_rest_returned(
        self, office: Office, target: Target
    ) -> None:
        office.http.headers["Accept-Language"] = "en"
        await sign_in(office)
        content = write_table(
            [
                ["date", "reference", "amount", "payer", "words"],
                ["2026-11-02", "R1", "80", "X", "?"],
            ]
        )
        tried = await self.upload(office, content, dry_run=True)
        assert "1 line waits" in tried
        assert "Line 2: CN¥80.00 from X waits. It names no bill or account number (?)" in tried
        assert "R1" not in (await office.get("/office/suspense"))[1]
        assert "1 line waits" in await self.upload(office, content, dry_run=False)
        assert "taken in before" in await self.upload(office, content, dry_run=False)
        ((item,),) = await ask(office.database, "SELECT id FROM shuidian.suspense_items")

        status, words = await send(office, f"suspense/{item}/assign", number="E9", amount="1")
        assert status == 422 and 'role="alert"' in words
        status, words = await send(office, f"suspense/{item}/assign", number="e1002", amount="81")
        assert status == 422 and "80.00" in words
        status, _ = await send(office, f"suspense/{item}/assign", number="e1002", amount="56.53")
        assert status == 303
        assert (await states(office.database))["E1002"] == ("settled", 5653)
        assert (await send(office, f"suspense/{item}/return", reason="not ours"))[0] == 303
        assert "R1" not in (await office.get("/office/suspense"))[1]
        await require_sound_books(office.database)
        assert target

    async def test_says_which_lines_it_would_match(self, office: Office, target: Target) -> None:
        office.http.headers["Accept-Language"] = "en"
        await sign_in(office)
        header = ["date", "reference", "amount", "payer", "words"]
        content = write_table([header, ["2026-11-02", "R1", "56.53", "Li", "E1002"]])

        tried = await self.upload(office, content, dry_run=True)

        assert "Line 2: CN¥56.53 from Li is for E1002 (E1002)" in tried
        assert await ask(office.database, "SELECT id FROM shuidian.payments") == []
        assert target

    @pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0", b"\xff\xfe\xfa"])
    async def test_says_that_a_picture_is_no_statement(
        self, office: Office, content: bytes
    ) -> None:
        await sign_in(office)

        said = await self.upload(office, content, dry_run=True)

        assert "holds no table" in said
        assert "codec" not in said

    async def test_shows_what_a_provider_named(self, office: Office, target: Target) -> None:
        await say(office.database, event(EventKind.SUCCEEDED))
        await say(office.database, event(EventKind.SUCCEEDED, order="E1003-77", event_id="e2"))
        await sign_in(office)

        page = (await office.get("/office/suspense"))[1]

        assert "E1003-77" in page
        assert "known with another amount or bill" in page
        assert target

    async def test_of_unknown_fate_needs_two_people(self, office: Office, target: Target) -> None:
        await pay(office.database, target, 5653, "a", state=PaymentState.UNKNOWN)
        await sign_in(office)
        assert "P1001" in (await office.get("/office/suspense"))[1]
        for _ in range(2):
            assert (await send(office, "payments/P1001/fate", came="true"))[0] == 303
        async with office.database.transaction() as session:
            blocked = await payments.has_unknown_payment(session, agreement_id=target.agreement_id)
        assert blocked

        office.http.cookie_jar.clear()
        await sign_in(office, office.world.second_manager)
        assert (await send(office, "payments/P1001/fate", came="true"))[0] == 303

        assert (await states(office.database))["E1001"] == ("settled", 5653)
        assert office.clock.now() >= NOW

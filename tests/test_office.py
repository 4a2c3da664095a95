"""The back office over a real socket: signing in, what can be seen, and who is kept out."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import aiohttp
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select, text, update

from bot.app import WebServer, bind
from bot.backoffice import pages, sessions
from bot.backoffice.sessions import OfficeSession, link_renderer
from bot.clock import ScaledClock, SystemClock
from bot.context import Reader
from bot.texts import Texts
from bot.works import JOBS
from core.accounts.models import ApiKey, Role, Service, Staff
from core.audit import AuditEntry
from core.billing import runs
from core.billing.chunks import issue_chunk
from core.billing.correction_models import Ground
from core.billing.disputes import open_dispute
from core.billing.plans import propose_plan
from core.billing.proposals import propose_run, report_reach
from core.db import Database
from core.monitoring.gateway_models import GatewaySilence, Quarantined
from core.monitoring.ingest import NewReading, Reason, store_batch
from core.monitoring.models import (
    Alarm,
    Meter,
    Quantity,
    Reading,
    ReadingPhoto,
    ReadingStatus,
    Side,
    Source,
    Standstill,
)
from core.monitoring.photos import add_photo, list_photos
from core.monitoring.rows import Key
from core.repairs import intake
from core.repairs import service as repairs
from core.repairs.models import Attachment
from core.repairs.workflow import Act
from tests.billing.books import OCTOBER, SEPTEMBER, ZONE, load_shipped, run_bills, show
from tests.e2e.test_photos import picture
from tests.world import NOON, World


@dataclass
class Office:
    """The pages on a socket, a browser's session, and the clock."""

    base: str
    http: aiohttp.ClientSession
    clock: ScaledClock
    database: Database
    world: World

    async def link(self, person: int | None = None) -> str:
        async with self.database.transaction() as session:
            person_id = self.world.manager if person is None else person
            return await sessions.issue_link(session, person_id=person_id, now=self.clock.now())

    async def enter(self, token: str, *, origin: str | None = "own") -> aiohttp.ClientResponse:
        headers = {"Origin": self.base} if origin == "own" else {"Origin": origin or "null"}
        if origin is None:
            headers = {}
        return await self.post("enter", headers=headers, token=token)

    async def post(self, path: str, *, headers: dict[str, str], **fields: str):
        url = f"{self.base}/office/{path}"
        async with self.http.post(
            url, data=fields, headers=headers, allow_redirects=False
        ) as answer:
            await answer.read()
            return answer

    async def get(self, path: str, *, cookie: str | None = None) -> tuple[int, str]:
        headers = {} if cookie is None else {"Cookie": f"office={cookie}"}
        async with self.http.get(f"{self.base}{path}", headers=headers) as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def office(database: Database, world: World) -> AsyncIterator[Office]:
    clock = ScaledClock(set_at=SystemClock().now(), shown_at=NOON, rate=0)
    app = FastAPI()
    app.state.database, app.state.clock, app.state.bank_columns = database, clock, {}
    app.include_router(pages.router)
    listener = bind("127.0.0.1", 0)
    server = WebServer(uvicorn.Config(app, log_level="warning"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event)
        await asyncio.sleep(0.01)
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        yield Office(base, http, clock, database, world)
    server.should_exit = True
    await task
    listener.close()


async def file_repair(office: Office, words: str = "") -> None:
    async with office.database.transaction() as session:
        session.add(
            Alarm(
                meter_id=office.world.home.meters[Service.WATER],
                quantity=Quantity.PRESSURE,
                side=Side.LOW,
                limit=Decimal(140),
                worst=Decimal(92),
                began_at=NOON,
                raised_at=NOON,
            )
        )
        await session.flush()
        await intake.take_up_alarms(session, now=NOON)
        await repairs.take_step(
            session, act=Act.CLAIM, person_id=office.world.technician, repair="R1001", now=NOON
        )
        if words:
            await repairs.comment(
                session, person_id=office.world.home.holder, repair="R1001", text=words, now=NOON
            )


async def attach(office: Office, *contents: bytes | None, media_type: str = "image/png") -> None:
    """Add photos to R1001, as they are once they are fetched (or not yet)."""
    async with office.database.transaction() as session:
        for content in contents:
            await repairs.comment(
                session, person_id=office.world.technician, repair="R1001", photo_ref="x", now=NOON
            )
            photo = await session.scalar(select(Attachment).order_by(Attachment.id.desc()).limit(1))
            photo.content, photo.media_type = content, media_type


def secret_of(answer: aiohttp.ClientResponse) -> str:
    return answer.cookies["office"].value


class TestSigningIn:
    async def test_takes_a_link_from_the_chat_and_one_press(self, office):
        token = await office.link()
        status, page = await office.get(f"/office/enter?token={token}")
        assert (status, "Maya Stone" in page) == (200, True)

        answer = await office.enter(token)

        assert answer.status == 303
        cookie = answer.cookies["office"]
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (
            True,
            "strict",
            "/office",
        )
        assert int(cookie["max-age"]) == 12 * 3600
        assert (await office.get("/office/repairs"))[0] == 200

    async def test_looking_at_a_link_does_not_use_it_up(self, office):
        token = await office.link()
        for _ in range(3):
            assert (await office.get(f"/office/enter?token={token}"))[0] == 200
        assert (await office.enter(token)).status == 303

    async def test_works_once_even_for_many_at_once(self, office):
        token = await office.link()
        answers = await asyncio.gather(*(office.enter(token) for _ in range(5)))
        assert sorted(answer.status for answer in answers) == [303, 410, 410, 410, 410]
        assert (await office.get(f"/office/enter?token={token}"))[0] == 410

    async def test_is_refused_after_ten_minutes(self, office):
        token = await office.link()
        office.clock.shown_at += timedelta(minutes=10)
        assert (await office.enter(token)).status == 410

    @pytest.mark.parametrize("token", ["", "x", "%00", "' OR 1=1 --", "x" * 5000])
    async def test_is_refused_with_a_made_up_link(self, office, token):
        answer = await office.enter(token)
        assert answer.status in {410, 422}
        assert "office" not in answer.cookies
        assert (await office.get("/office/repairs"))[0] == 401

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
    async def test_is_refused_from_a_foreign_page(self, office, origin):
        token = await office.link()
        assert (await office.enter(token, origin=origin)).status == 403
        assert (await office.enter(token)).status == 303

    async def test_is_for_managers_only(self, office):
        for person in (office.world.technician, office.world.home.holder):
            token = await office.link(person)
            assert (await office.enter(token)).status == 410

    async def test_keeps_no_secret_in_the_database(self, office):
        token = await office.link()
        secret = secret_of(await office.enter(token))
        async with office.database.transaction() as session:
            stored = (await session.execute(text("SELECT * FROM shuidian.office_sessions"))).all()
        assert token not in str(stored)
        assert secret not in str(stored)
        assert len(token) >= 22  # 128 bits
        assert len(secret) >= 22

    async def test_gets_its_link_when_the_message_is_sent(self, office):
        async with office.database.transaction() as session:
            texts = Texts("en", timezone="Asia/Shanghai", currency="CNY")
            reader = Reader(
                person_id=office.world.manager,
                contact_id=office.world.manager_contact,
                roles=frozenset({Role.MANAGER}),
                texts=texts,
                now=NOON,
            )
            message = await link_renderer(lambda: office.base + "/")(session, reader, {})
        (token,) = re.findall(r"/office/enter\?token=([\w-]+)", message.text)
        assert f"{office.base}/office/enter" in message.text
        assert (await office.enter(token)).status == 303


class TestSession:
    async def signed_in(self, office, person=None):
        return secret_of(await office.enter(await office.link(person)))

    async def test_ends_after_twelve_hours(self, office):
        secret = await self.signed_in(office)
        office.clock.shown_at += timedelta(hours=12)
        assert (await office.get("/office/repairs", cookie=secret))[0] == 401

    async def test_ends_with_the_role(self, office):
        secret = await self.signed_in(office)
        async with office.database.transaction() as session:
            await session.delete(await session.get(Staff, (office.world.manager, Role.MANAGER)))
        assert (await office.get("/office/repairs", cookie=secret))[0] == 401

    async def test_ends_for_good_at_sign_out(self, office):
        secret = await self.signed_in(office)
        answer = await office.post("leave", headers={"Origin": office.base})
        assert answer.status == 200
        office.http.cookie_jar.clear()
        assert (await office.get("/office/repairs", cookie=secret))[0] == 401

    async def test_is_not_ended_by_a_foreign_page(self, office):
        secret = await self.signed_in(office)
        answer = await office.post("leave", headers={"Origin": "https://evil.example"})
        assert answer.status == 403
        assert (await office.get("/office/repairs", cookie=secret))[0] == 200

    async def test_is_not_opened_by_the_link_or_a_hash(self, office):
        token = await office.link()
        await office.enter(token)
        office.http.cookie_jar.clear()
        async with office.database.transaction() as session:
            stored = await session.scalar(select(OfficeSession))
        for stolen in (token, stored.token_hash, stored.link_hash, "", "x" * 5000):
            assert (await office.get("/office/repairs", cookie=stolen))[0] == 401

    @pytest.mark.parametrize("path", ["", "/R1001", "/R1001/photos/1", "/R1001/photos/2"])
    async def test_is_needed_for_every_page(self, office, path):
        await file_repair(office)
        await attach(office, picture())
        status, page = await office.get(f"/office/repairs{path}")
        assert status == 401
        assert "R1001" not in page


class TestPages:
    async def signed_in(self, office):
        await office.enter(await office.link())

    async def test_list_shows_state_age_promise_technician_and_lateness(self, office):
        await file_repair(office)
        await self.signed_in(office)
        _, page = await office.get("/office/repairs")
        for shown in ("R1001", "Linden Street 1-101", "Accepted", "Wang Qiang", "3 Nov"):
            assert shown in page
        assert "is-late" not in page
        async with office.database.transaction() as session:
            await session.execute(text("UPDATE shuidian.repairs SET promised_at = filed_at"))
        assert "is-late" in (await office.get("/office/repairs"))[1]

    async def test_repair_shows_its_whole_history_escaped(self, office):
        await file_repair(office, words="<script>alert(1)</script> & <b>no water</b>")
        await self.signed_in(office)
        _, page = await office.get("/office/repairs/R1001")
        assert "Wang Qiang accepted the job" in page
        assert "92 kPa" in page
        assert "<script>" not in page
        assert "<b>no water" not in page
        assert "&lt;script&gt;" in page

    @pytest.mark.parametrize("number", ["R9999", "x", "%00", "R1%27", "..%2f..%2fetc", "R" * 3000])
    async def test_unknown_repair_is_answered_kindly(self, office, number):
        await self.signed_in(office)
        status, _ = await office.get(f"/office/repairs/{number}")
        assert status == 404

    async def test_speaks_the_managers_language(self, office):
        await file_repair(office)
        await office.enter(await office.link(office.world.second_manager))
        _, page = await office.get("/office/repairs")
        assert 'lang="zh-TW"' in page
        assert "未完成的維修單" in page

    async def test_loads_nothing_from_elsewhere_and_runs_no_script(self, office):
        await file_repair(office)
        await self.signed_in(office)
        async with office.http.get(f"{office.base}/office/repairs/R1001") as answer:
            page = await answer.text()
            policy = answer.headers["Content-Security-Policy"]
            assert answer.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http://" not in page
        assert "https://" not in page
        assert " style=" not in page
        status, style = await office.get("/office/office.css")
        assert status == 200
        assert "url(" not in style


class TestGateways:
    async def test_shows_what_each_sent_and_why_things_were_refused(self, office):
        async with office.database.transaction() as session:
            keys = [
                ApiKey(name=name, token_hash=name, scope="gateway", created_at=NOON)
                for name in ("cellar <b>", "attic")
            ]
            session.add_all(keys)
            await session.flush()
            await session.execute(update(Meter).values(gateway_id=keys[0].id))
            later = NOON + timedelta(minutes=7, seconds=1)
            for serial, moment in (
                ("W-10001", NOON),
                ("W-10001", NOON),
                ("nobody", NOON),
                ("W-10001", later),
            ):
                reading = NewReading(0, serial, "total", moment, Decimal(5))
                await store_batch(
                    session, gateway_id=keys[0].id, readings=[reading], samples=[], now=NOON
                )
        cookie = secret_of(await office.enter(await office.link()))

        status, page = await office.get("/office/gateways", cookie=cookie)

        assert status == 200
        assert "cellar &lt;b&gt;" in page
        assert "has never spoken" in page
        numbers = re.findall(r"<td data-label=[^>]*>(\d+)</td>", page)
        assert numbers == ["4", "1", "1", "0", "2"]
        assert "unknown meter: 1" in page
        assert "Its clock was ahead of ours by up to 8 minutes" in page
        assert "What was refused is kept for 90 days" in page

        async with office.database.transaction() as session:
            await JOBS["forget-refused"].run(session, now=NOON + timedelta(days=90))
            kept = await session.scalars(select(Quarantined.reason).order_by(Quarantined.id))
            assert kept.all() == ["unknown_meter", "in_the_future"]
            await JOBS["forget-refused"].run(session, now=NOON + timedelta(days=91))
            assert await session.scalar(select(Quarantined)) is None
        _, page = await office.get("/office/gateways", cookie=cookie)
        assert re.findall(r"<td data-label=[^>]*>(\d+)</td>", page) == numbers

    @pytest.mark.parametrize("locale", ["en", "zh_CN", "zh_TW", "ru"])
    def test_has_words_for_every_reason(self, locale):
        texts = Texts(locale, timezone="Asia/Shanghai", currency="CNY")
        assert [reason for reason in Reason if not texts.knows(f"refused.{reason}")] == []

    @pytest.mark.parametrize(
        ("silent", "words"),
        [(3, "silent since"), (1, "1 meter silent since"), (0, "spoke")],
    )
    async def test_says_what_the_alarm_says_whatever_came_last(self, office, silent, words):
        async with office.database.transaction() as session:
            key = ApiKey(
                **dict.fromkeys(("name", "token_hash"), "x"), scope="gateway", created_at=NOON
            )
            session.add(key)
            await session.flush()
            await session.execute(update(Meter).values(gateway_id=key.id))
            sent = [NewReading(0, "nobody", "total", NOON, Decimal(1))]
            await store_batch(session, gateway_id=key.id, readings=sent, samples=[], now=NOON)
            if silent:
                moments = dict.fromkeys(("began_at", "found_at", "told_at"), NOON)
                counts = {"gateway_id": key.id, "meters": 3, "silent": silent}
                session.add(GatewaySilence(**counts, **moments))
        await office.enter(await office.link())

        _, page = await office.get("/office/gateways")

        shown = "gateway-silent" if silent else "gateway-speaks"
        assert re.search(rf'{shown}">{words} 2 Nov', page), page

    async def test_takes_an_empty_message_for_no_word(self, office):
        async with office.database.transaction() as session:
            key = ApiKey(
                **dict.fromkeys(("name", "token_hash"), "x"), scope="gateway", created_at=NOON
            )
            session.add(key)
            await session.flush()
            await store_batch(session, gateway_id=key.id, readings=[], samples=[], now=NOON)
        await office.enter(await office.link())

        assert "has never spoken" in (await office.get("/office/gateways"))[1]

    async def test_is_for_managers_who_signed_in(self, office):
        assert (await office.get("/office/gateways"))[0] == 401


class TestReadings:
    @pytest.fixture
    async def dial(self, office) -> int:
        """A reading that waits, with a photo; return the photo."""
        meter = office.world.home.meters[Service.WATER]
        key = Key(meter, "total", NOON)
        async with office.database.transaction() as session:
            first = NOON - timedelta(hours=2)
            for moment, value, status in ((first, 100, "accepted"), (NOON, 900, "held")):
                session.add(
                    Reading(
                        meter_id=meter,
                        register="total",
                        taken_at=moment,
                        value=Decimal(value),
                        source=Source.CUSTOMER,
                        status=ReadingStatus(status),
                        received_at=NOON,
                    )
                )
            assert await add_photo(session, key=key, channel_ref="dial")
            (photo,) = await list_photos(session, key=key)
            kept = {"content": picture(), "media_type": "image/png"}
            await session.execute(update(ReadingPhoto).values(**kept))
        return photo

    async def test_shows_what_waits_with_its_photo(self, office, dial):
        await office.enter(await office.link())

        _, page = await office.get("/office/readings")

        for words in ("1 reading waits", "W-10001</td>", "900 m³", "100 m³", "does not follow"):
            assert words in page
        path = f"/office/readings/photos/{dial}"
        assert path in page
        async with office.http.get(f"{office.base}{path}") as answer:
            assert answer.headers["Content-Type"] == "image/png"
            assert await answer.read() == picture()
        assert (await office.get("/office/readings/photos/999"))[0] == 404

    async def decide(self, office, **fields):
        _, page = await office.get("/office/readings")
        (link,) = re.findall(r'href="/office/(readings/one[^"]+)"', page)
        link = link.replace("&amp;", "&")
        status, form = await office.get(f"/office/{link}")
        assert (status, "900 m³" in form) == (200, True)
        async with office.http.post(
            f"{office.base}/office/{link}",
            data=fields,
            headers={"Origin": office.base},
            allow_redirects=False,
        ) as answer:
            return answer.status, await answer.text()

    @pytest.mark.usefixtures("dial")
    @pytest.mark.parametrize(
        ("fields", "kept"),
        [
            ({"decision": "accept"}, ("accepted", 900)),
            ({"decision": "correct", "value": "109"}, ("accepted", 109)),
            ({"decision": "reject"}, ("rejected", 900)),
        ],
    )
    async def test_lets_a_manager_decide_with_a_reason(self, office, fields, kept):
        await office.enter(await office.link())

        status, _ = await self.decide(office, **fields, reason="looked at the photo")

        assert status == 303
        async with office.database.transaction() as session:
            meter = office.world.home.meters[Service.WATER]
            reading = await session.get_one(Reading, (meter, "total", NOON))
            entry = (
                await session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()))
            ).first()
        assert (reading.status, reading.value) == kept
        assert (entry.actor_id, entry.details["reason"]) == (
            office.world.manager,
            "looked at the photo",
        )
        assert "No reading waits" in (await office.get("/office/readings"))[1]

    @pytest.mark.usefixtures("dial")
    @pytest.mark.parametrize(
        ("fields", "why"),
        [
            ({"decision": "accept"}, "Please type"),
            ({"decision": "correct", "reason": "x"}, "number"),
            ({"decision": "correct", "value": "99", "reason": "x"}, "100"),
            ({"decision": "correct", "value": "123456789", "reason": "x"}, "digits"),
        ],
    )
    async def test_shows_the_form_again_with_what_is_wrong(self, office, fields, why):
        await office.enter(await office.link())

        status, page = await self.decide(office, **fields)

        assert status == 422
        (alert,) = re.findall(r'role="alert">([^<]+)<', page)
        assert why in alert
        assert f'value="{fields["decision"]}" required checked' in page
        assert "1 reading waits" in (await office.get("/office/readings"))[1]

    @pytest.mark.usefixtures("dial")
    async def test_decides_nothing_for_a_foreign_page_or_twice(self, office):
        await office.enter(await office.link())
        named = f"meter={office.world.home.meters[Service.WATER]}&register=total"
        path = f"{office.base}/office/readings/one?{named}&at=2026-11-02T04:00:00Z"
        fields = {"decision": "reject", "reason": "x"}

        async def post(origin):
            async with office.http.post(
                path, data=fields, headers={"Origin": origin}, allow_redirects=False
            ) as answer:
                return answer.status

        assert await post("https://evil.example") == 403
        assert "1 reading waits" in (await office.get("/office/readings"))[1]
        assert [await post(office.base), await post(office.base)] == [303, 409]

    async def test_shows_meters_that_stand_still_and_losses(self, office):
        water = office.world.home.meters[Service.WATER]
        async with office.database.transaction() as session:
            await session.execute(
                update(Meter).where(Meter.id == water).values(master_of_id=office.world.building)
            )
            standing = {"value": Decimal(130), "usual": Decimal("0.5")}
            session.add(Standstill(meter_id=water, since=NOON, **standing))
            for days, value in ((1, "100"), (0, "110")):
                midnight = office.clock.now().astimezone(ZONE).replace(hour=0, minute=0, second=0)
                session.add(
                    Reading(
                        meter_id=water,
                        register="total",
                        taken_at=midnight.replace(microsecond=0) - timedelta(days=days),
                        value=Decimal(value),
                        source=Source.GATEWAY,
                        status=ReadingStatus.ACCEPTED,
                        received_at=NOON,
                    )
                )
        await office.enter(await office.link())

        _, page = await office.get("/office/readings")

        for words in (
            "1 meter stands still",
            "0.5 m³",
            "Linden Street · No. 1, Water",
            "≤ 10 m³",
            "0 / 1",
        ):
            assert words in page
        assert "not known" in page  # the last thirty days

    async def test_is_for_managers_who_signed_in(self, office, dial):
        assert (await office.get("/office/readings"))[0] == 401
        assert (await office.get(f"/office/readings/photos/{dial}"))[0] == 401


async def test_an_address_that_is_none_is_answered_with_a_page(office):
    status, page = await office.get("/office/nowhere/at/all")

    assert status == 404
    assert "<!doctype html>" in page


class TestPhotos:
    @pytest.fixture(autouse=True)
    async def signed_in(self, office):
        await file_repair(office)
        await office.enter(await office.link())

    async def fetch(self, office, photo, *, repair="R1001"):
        url = f"{office.base}/office/repairs/{repair}/photos/{photo}"
        async with office.http.get(url) as answer:
            return answer.status, answer.headers, await answer.read()

    async def test_stand_in_the_history_and_are_shown(self, office):
        await attach(office, picture())

        async with office.http.get(f"{office.base}/office/repairs/R1001") as answer:
            page, policy = await answer.text(), answer.headers["Content-Security-Policy"]
        assert '<img src="/office/repairs/R1001/photos/1"' in page
        assert "img-src 'self'" in policy
        status, headers, content = await self.fetch(office, 1)
        assert (status, content) == (200, picture())
        assert headers["Content-Type"] == "image/png"
        assert headers["Content-Disposition"] == "inline"
        assert headers["X-Content-Type-Options"] == "nosniff"

    async def test_are_only_saved_when_they_are_no_pictures(self, office):
        await attach(office, b"<script>alert(1)</script>", media_type="application/octet-stream")

        status, headers, _ = await self.fetch(office, 1)

        assert (status, headers["Content-Disposition"]) == (200, "attachment")

    @pytest.mark.parametrize("photo", [1, 2, 3, 2**31])
    async def test_are_not_found_where_none_is_kept(self, office, photo):
        await attach(office, None, b"")

        status, _, page = await self.fetch(office, photo)

        assert status == 404
        assert b"not kept here" in page

    @pytest.mark.parametrize("repair", ["R1002", "R9999", "%00", "%ED%A0%80"])
    async def test_belong_to_their_own_repair_only(self, office, repair):
        await attach(office, picture())
        async with office.database.transaction() as session:
            await intake.report(
                session,
                person_id=office.world.home.holder,
                service_point_id=office.world.home.points[Service.ELECTRICITY],
                text="dark",
                photo_ref="",
                now=NOON,
            )

        status, _, content = await self.fetch(office, 1, repair=repair)

        assert status == 404
        assert picture() not in content


@pytest.fixture
async def billed(office: Office) -> Office:
    """Two bills of electricity, the second held back; the holder blocked the bot."""
    database, world = office.database, office.world
    await load_shipped(database)
    meter = world.home.meters[Service.ELECTRICITY]
    await show(
        database, meter, {SEPTEMBER.starts: "0", SEPTEMBER.ends: "150", OCTOBER.ends: "3000"}
    )
    for period in (SEPTEMBER, OCTOBER):
        await run_bills(database, Service.ELECTRICITY, period)
    async with database.transaction() as session:
        await session.execute(text("UPDATE shuidian.deliveries SET outcome = 'blocked'"))
    await office.enter(await office.link())
    return office


class TestBillPages:
    async def test_list_what_is_held_and_find_a_bill(self, billed: Office) -> None:
        status, page = await billed.get("/office/bills")

        assert status == 200
        assert "E1002" in page
        assert "more than three times the usual" in page
        assert "Everybody who owes was reached" in page
        assert "Electricity bill E1001" in (await billed.get("/office/bills?number=e1001"))[1]

    async def test_show_who_got_a_bill_or_why_not(self, billed: Office) -> None:
        page = (await billed.get("/office/bills/E1001"))[1]

        assert "refused: the person blocked the bot" in page
        assert "delivered" not in page
        async with billed.database.transaction() as session:
            await session.execute(
                text("UPDATE shuidian.deliveries SET outcome = 'sent', sent_at = :now"),
                {"now": NOON},
            )
        assert "✅ delivered" in (await billed.get("/office/bills/E1001"))[1]
        assert "Nobody was told" in (await billed.get("/office/bills/E1002"))[1]

    async def test_release_void_and_credit(self, billed: Office) -> None:
        own = {"Origin": billed.base}
        released = await billed.post("bills/E1002/release", headers=own)
        _, shown = await billed.get("/office/bills/E1001")
        (rest,) = re.findall(r'name="rest" value="([^"]+)"', shown)
        fields = {"amount": "10.50", "reason": "a <b>slip</b>", "rest": rest}
        credited = await billed.post("bills/E1001/credit", headers=own, **fields)
        again = await billed.post("bills/E1001/credit", headers=own, **fields)

        assert (released.status, credited.status, again.status) == (303, 303, 409)
        page = (await billed.get("/office/bills/E1001"))[1]
        assert "Credit note C1001" in page
        assert "a &lt;b&gt;slip&lt;/b&gt;" in page
        voided = await billed.post("bills/E1002/void", headers=own, reason="wrong meter")
        assert voided.status == 303
        assert "wrong meter" in (await billed.get("/office/bills/E1002"))[1]

    async def test_show_what_billing_again_does_before_it_is_done(self, billed: Office) -> None:
        own = {"Origin": billed.base}
        page = (await billed.get("/office/bills/E1002"))[1]
        (what,) = re.findall(r'value="(reading:[^"]+)"', page)
        asked = {"what": what, "value": "320", "reason": "a digit too many"}
        url = f"{billed.base}/office/bills/E1002/rebill"
        async with billed.http.post(url, data=asked, headers=own) as answer:
            preview = await answer.text()

        assert "This is what would follow" in preview
        assert "a digit too many" in preview
        done = await billed.post("bills/E1002/rebill", headers=own, is_sure="true", **asked)
        assert done.headers["Location"] == "/office/bills/E1003"
        assert "In place of bill E1002" in (await billed.get("/office/bills/E1003"))[1]

    @pytest.mark.parametrize("act", ["release", "void", "credit", "rebill", "old-off"])
    async def test_do_nothing_for_another_site(self, billed: Office, act: str) -> None:
        answer = await billed.post(
            f"bills/E1002/{act}",
            headers={"Origin": "https://evil.example"},
            reason="x",
            amount="1",
            what="nothing",
        )

        assert answer.status == 403
        assert "Held back" in (await billed.get("/office/bills/E1002"))[1]

    @pytest.mark.parametrize(
        ("path", "fields", "words"),
        [
            ("E1001/credit", {"amount": "1", "reason": "x", "rest": "1"}, "has changed"),
            ("E1001/rebill", {"what": "people", "value": "0", "reason": "x"}, "between 1 and"),
            ("E1001/rebill", {"what": "reading:1:x", "value": "1", "reason": "x"}, "button"),
            ("E9999/void", {"reason": "x"}, "I cannot find bill"),
        ],
    )
    async def test_say_what_is_wrong(
        self, billed: Office, path: str, fields: dict[str, str], words: str
    ) -> None:
        url = f"{billed.base}/office/bills/{path}"
        async with billed.http.post(url, data=fields, headers={"Origin": billed.base}) as answer:
            page = await answer.text()

        assert 400 <= answer.status < 500
        assert words in page

    @pytest.mark.parametrize(
        ("path", "fields", "words"),
        [
            ("credit", {"amount": "1", "reason": "x" * 1001, "rest": "1"}, "is too long: at most"),
            ("rebill", {"what": "people", "value": "9" * 30, "reason": "many"}, "a number"),
            ("credit", {"amount": "1.5", "rest": "1"}, "“Reason” is missing"),
            ("rebill", {"what": "people", "value": "2.7", "reason": "a baby"}, "whole numbers"),
            ("void", {"reason": "y" * 201}, "200"),
        ],
    )
    async def test_keep_what_was_typed_into_a_form_that_is_refused(
        self, billed: Office, path: str, fields: dict[str, str], words: str
    ) -> None:
        url = f"{billed.base}/office/bills/E1001/{path}"
        async with billed.http.post(url, data=fields, headers={"Origin": billed.base}) as answer:
            page = await answer.text()

        assert answer.content_type == "text/html"
        assert answer.status in {409, 422}
        assert words in page
        for name, value in fields.items():
            assert f'name="{name}" value="{value}"' in page

    async def test_ask_once_for_a_field_that_was_left_empty(self, billed: Office) -> None:
        url, own = f"{billed.base}/office/bills/E1001/void", {"Origin": billed.base}
        async with billed.http.post(url, data={"reason": ""}, headers=own) as answer:
            page = await answer.text()
        assert page.count('name="reason"') == 1
        lost = f"{billed.base}/office/events/{2**70}/noted"
        async with billed.http.post(lost, headers=own) as answer:
            assert (answer.status, answer.content_type) == (404, "text/html")

    async def test_say_of_a_second_press_that_it_is_done(self, billed: Office) -> None:
        own = {"Origin": billed.base}
        for done in (303, 409):
            answer = await billed.post("bills/E1002/void", headers=own, reason="wrong meter")
            assert answer.status == done
        url = f"{billed.base}/office/bills/E1002/void"
        async with billed.http.post(url, data={"reason": "x"}, headers=own) as answer:
            assert "This is done already" in await answer.text()


async def object_to_e1001(office: Office, *, words: str) -> None:
    async with office.database.transaction() as session:
        await open_dispute(
            session,
            bill_number="E1001",
            person_id=office.world.home.holder,
            ground=Ground.TOO_MUCH,
            words=words,
            now=NOON,
        )


class TestDisputePages:
    async def test_offer_to_answer_an_objection_by_a_credit_note(self, billed: Office) -> None:
        await object_to_e1001(billed, words="")
        card = (await billed.get("/office/disputes/D1001"))[1]
        (link,) = re.findall(r'href="(/office/bills/[^"]+)"', card)
        page = (await billed.get(link))[1]
        plain = (await billed.get("/office/bills/E1001"))[1]

        assert "This answers objection D1001" in page
        assert page.count('name="answers" value="true" checked') == 2
        assert ('name="answers" value="true">' in plain, " checked" in plain) == (True, False)
        (rest,) = re.findall(r'name="rest" value="([^"]+)"', page)
        for fields in ({}, {"answers": "true"}):
            assert "waits for an answer" in (await billed.get("/office/disputes/D1001"))[1]
            own = {"Origin": billed.base}
            sent = {"amount": "1", "reason": "sorry", "rest": rest, **fields}
            assert (await billed.post("bills/E1001/credit", headers=own, **sent)).status == 303
            rest = str(Decimal(rest) - 1)
        assert "sorry" in (await billed.get("/office/disputes/D1001"))[1]

    async def test_list_an_objection_and_take_its_answer(self, billed: Office) -> None:
        own = {"Origin": billed.base}
        await object_to_e1001(billed, words="<i>no</i>")
        listed = (await billed.get("/office/disputes"))[1]
        assert "I did not use so much" in listed
        assert "Maya Stone" in listed
        page = (await billed.get("/office/disputes/D1001"))[1]
        assert "&lt;i&gt;no&lt;/i&gt;" in page

        longer = await billed.post("disputes/D1001/longer", headers=own, days="3", words="soon")
        answered = await billed.post("disputes/D1001/answer", headers=own, words="it is right")

        assert (longer.status, answered.status) == (303, 303)
        page = (await billed.get("/office/disputes/D1001"))[1]
        assert "it is right" in page
        assert "No objection waits" in (await billed.get("/office/disputes"))[1]


class TestPlanPages:
    async def test_list_a_plan_and_take_the_answer(self, billed: Office) -> None:
        own = {"Origin": billed.base}
        numbers = []
        for person in (billed.world.home.holder, billed.world.manager):
            async with billed.database.transaction() as session:
                await session.execute(text("UPDATE shuidian.operator SET plan_part_minor_min = 1"))
                numbers.append(
                    await propose_plan(
                        session,
                        bill_number="E1001",
                        count=2,
                        person_id=person,
                        is_manager=True,
                        now=NOON,
                    )
                )
            listed = (await billed.get("/office/plans"))[1]
            assert "One plan waits or runs" in listed
            if person == billed.world.home.holder:
                said = await billed.post(
                    f"plans/{numbers[-1]}/decline", headers=own, reason="pay at once"
                )
                assert said.status == 303
                assert "No plan waits" in (await billed.get("/office/plans"))[1]
                page = (await billed.get("/office/bills/E1001"))[1]
                assert "was declined: pay at once" in page
        refused = await billed.post(f"plans/{numbers[-1]}/agree", headers=own)
        assert refused.status == 409  # the other side agrees to an offer


class TestBilling:
    async def test_shows_what_a_run_would_do_and_takes_the_approval(self, office):
        await load_shipped(office.database)
        await show(
            office.database,
            office.world.home.meters[Service.ELECTRICITY],
            {date(2026, 9, 1): "0", date(2026, 10, 1): "90000"},
        )
        async with office.database.transaction() as session:
            run_id = await runs.start_run(
                session, service=Service.ELECTRICITY, period=SEPTEMBER, now=NOON
            )
            await propose_run(session, run_id=run_id, now=NOON)
        secret_of(await office.enter(await office.link()))
        path, own = f"billing/{run_id}/approve", {"Origin": office.base}

        _, page = await office.get("/office/billing")
        assert "waits for approval" in page and "more than a home can use" in page
        assert "no reading near the end" in page and 'content="60"' in page
        foreign = await office.post(path, headers={"Origin": "https://evil.example"})
        statuses = [(await office.post(path, headers=own)).status for _ in range(2)]
        assert (foreign.status, statuses) == (403, [303, 409])

        _, page = await office.get("/office/billing")
        assert "bills are going out" in page and 'content="2"' in page and 'max="2"' in page
        async with office.database.transaction() as session:
            await issue_chunk(session, run_id=run_id, nr=1, now=NOON)
            await report_reach(session, now=NOON)
        _, page = await office.get("/office/billing")
        facts = dict(re.findall("<dt>(.*)</dt><dd>(.*)</dd>", page))
        assert facts["Done"] == "2 of 2" and facts["Held back for a look"] == "1"
        assert facts["Households that got the message"] == "0 of 0"
        assert "Maya" in facts["Approved"] and "<progress" not in page

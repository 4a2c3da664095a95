"""Batches over a real socket: a receipt for each item, never a page of Python."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select, update

from bot.api import problems, readings
from bot.api.auth import issue_token
from bot.app import WebServer, bind
from bot.clock import ScaledClock, SystemClock
from core.accounts.models import ApiKey
from core.monitoring.gateway_models import Quarantined
from core.monitoring.models import Alarm, Meter, Reading
from tests.world import NOON

AT = "2026-11-02T11:50:00+08:00"


@dataclass
class Api:
    http: aiohttp.ClientSession
    url: str
    token: str
    told: list[list[int]] = field(default_factory=list)

    async def post(self, body: object, *, token: str | None = None):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token or self.token}"}
        async with self.http.post(self.url, data=content, headers=headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def api(database, world) -> AsyncIterator[Api]:
    async with database.transaction() as session:
        token = await issue_token(session, name="cellar", scope="gateway", now=NOON)
        key = await session.scalar(select(ApiKey.id))
        await session.execute(
            update(Meter).where(Meter.id.in_(world.home.meters.values())).values(gateway_id=key)
        )
    app = FastAPI(max_body_size=5_000_000)
    app.include_router(readings.router)
    problems.install(app, timezone="Asia/Shanghai", currency="CNY", locale="en")
    api = Api(None, "", token)

    async def after_alarms(session, alarm_ids):
        assert len(list(await session.scalars(select(Alarm)))) >= 1
        api.told.append(alarm_ids)

    app.state.database = database
    app.state.clock = ScaledClock(set_at=SystemClock().now(), shown_at=NOON)
    app.state.after_alarms = after_alarms
    listener = bind("127.0.0.1", 0)
    server = WebServer(uvicorn.Config(app, log_level="warning"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 (uvicorn tells nobody)
        await asyncio.sleep(0.01)
    async with aiohttp.ClientSession() as http:
        api.http = http
        api.url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1/readings"
        yield api
    server.should_exit = True
    await task
    listener.close()


def reading(**changes):
    return {"meter": "W-10001", "value": "12.345", "taken_at": AT} | changes


def sample(minute, value):
    taken_at = f"2026-11-02T11:{minute:02d}:00+08:00"
    return {"meter": "E-10001", "quantity": "voltage", "value": value, "taken_at": taken_at}


class TestABatch:
    async def test_is_stored_once_however_often_it_is_sent(self, api):
        batch = {"readings": [reading()], "samples": [sample(0, 229.8), sample(10, "230")]}
        status, receipt = await api.post(batch)
        assert (status, receipt) == (
            200,
            {
                "received": 3,
                "accepted": 3,
                "duplicate": 0,
                "held": 0,
                "rejected": 0,
                "rejected_items": [],
            },
        )
        assert (await api.post(batch))[1]["duplicate"] == 3

    async def test_keeps_json_numbers_exact(self, api, database):
        body = b'{"readings": [{"meter": "W-10001", "value": 0.1, "taken_at": "%s"}]}'
        await api.post(body % AT.encode())
        async with database.transaction() as session:
            assert str(await session.scalar(select(Reading.value))) == "0.1"

    async def test_tells_of_raised_alarms_before_the_commit(self, api):
        await api.post({"samples": [sample(minute, 180) for minute in (0, 10, 20, 30)]})
        assert len(api.told) == 1
        await api.post({"samples": [sample(40, 180)]})
        assert len(api.told) == 1

    async def test_needs_a_gateways_credential(self, api, database):
        async with database.transaction() as session:
            admin = await issue_token(session, name="boss", scope="admin", now=NOON)
        assert (await api.post({}, token="wrong"))[0] == 401  # noqa: S106 (not a real one)
        assert (await api.post({}, token=admin))[0] == 403

    async def test_of_ten_thousand_is_taken_and_of_more_is_not(self, api):
        items = [
            reading(
                value=i,
                taken_at=f"2026-10-{i // 1440 + 1:02d}T{i % 1440 // 60:02d}:{i % 60:02d}:00Z",
            )
            for i in range(10_000)
        ]
        assert (await api.post({"readings": items}))[1]["accepted"] == 10_000
        status, problem = await api.post({"readings": [*items, reading()]})
        assert (status, problem["type"]) == (422, "/problems/input.too_many_items")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"nonsense",
            b"[]",
            b"null",
            b'{"readings": {}}',
            b'{"reading": []}',
            b'{"samples": null}',
            b"[" * 100_000,
            b'{"readings": [' + b"[" * 5000 + b"]" * 5000 + b"]}",
            b"\xff\xfe\x00",
        ],
    )
    async def test_that_cannot_be_read_is_a_problem(self, api, body):
        status, problem = await api.post(body)
        assert (status, problem["type"]) == (422, "/problems/input.body_not_readable")
        assert problem["detail"].endswith(".")


class TestABadItem:
    @pytest.mark.parametrize(
        ("item", "reason"),
        [
            (None, "not_an_object"),
            (True, "not_an_object"),
            ([[[]]], "not_an_object"),
            ({}, "no_meter"),
            (reading(meter=None), "no_meter"),
            (reading(meter=""), "no_meter"),
            (reading(meter="W\0"), "no_meter"),
            (reading(meter="\ud800"), "no_meter"),
            (reading(meter="x" * 10_000), "no_meter"),
            (reading(meter={"a": ["b"] * 9999}), "no_meter"),
            (reading(meter="<b>&"), "unknown_meter"),
            (reading(meter="W-10002"), "not_your_meter"),
            (reading(register=7), "no_register"),
            (reading(register="\u202e"), "no_register"),
            (reading(value=None), "not_a_number"),
            (reading(value=True), "not_a_number"),
            (reading(value=""), "not_a_number"),
            (reading(value="12,5"), "not_a_number"),
            (reading(value="\uff11\uff12"), "not_a_number"),
            (reading(value="1e400"), "not_a_number"),
            (reading(value="NaN"), "not_a_number"),
            (reading(value=float("nan")), "not_a_number"),
            (reading(value=float("inf")), "not_a_number"),
            (reading(value="9" * 10_000), "not_a_number"),
            (reading(value=-1), "negative"),
            (reading(value="100000"), "too_many_digits"),
            (reading(value=[1]), "not_a_number"),
            (reading(taken_at=None), "not_a_time"),
            (reading(taken_at=1762056000), "not_a_time"),
            (reading(taken_at="2026-11-02T12:00:00"), "not_a_time"),
            (reading(taken_at="yesterday"), "not_a_time"),
            (reading(taken_at="0001-01-01T00:00:00+23:59"), "not_a_time"),
            (reading(taken_at="9999-12-31T23:59:59-23:59"), "not_a_time"),
            (reading(taken_at="1970-01-01T00:00:00Z"), "too_old"),
            (reading(taken_at="2027-01-01T00:00:00Z"), "in_the_future"),
        ],
    )
    async def test_is_rejected_alone_and_kept_with_its_reason(self, api, database, item, reason):
        status, receipt = await api.post({"readings": [reading(), item]})
        assert (status, receipt["accepted"]) == (200, 1)
        assert receipt["rejected_items"] == [{"list": "readings", "index": 1, "reason": reason}]
        async with database.transaction() as session:
            (kept,) = await session.scalars(select(Quarantined))
            assert kept.reason == reason
            assert len(str(kept.payload)) < 600

    @pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1e-400", b"0e999999", b"9" * 9999])
    async def test_of_absurd_size_is_rejected(self, api, number):
        item = b'{"meter": "W-10001", "taken_at": "%s", "value": %s}' % (AT.encode(), number)
        status, receipt = await api.post(b'{"readings": [%s]}' % item)
        assert (status, receipt["rejected"]) == (200, 1)

    async def test_of_an_unknown_quantity_is_rejected(self, api):
        items = [
            {**sample(0, 1), "quantity": quantity} for quantity in ("noise", None, [], "x" * 99)
        ]
        _, receipt = await api.post({"samples": items})
        assert {item["reason"] for item in receipt["rejected_items"]} == {"unknown_quantity"}
        assert receipt["rejected"] == 4

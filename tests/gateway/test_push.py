"""Pushes of clouds over a real socket: answered in time, and with 200 whatever is in them."""

import asyncio
import base64
import json
import statistics
import time
from decimal import Decimal

import aiohttp
import pytest
import uvicorn
from sqlalchemy import select

from bot.api import server
from bot.api.auth import issue_token
from bot.app import WebServer, bind
from bot.clock import ScaledClock, SystemClock
from bot.gateway import intake
from bot.settings import Settings
from core.monitoring.gateway_models import Quarantined
from core.monitoring.models import Meter, Reading, Sample
from tests.world import NOON

MILLISECONDS = int(NOON.timestamp()) * 1000


@pytest.fixture
async def cloud(database):
    settings = Settings(_env_file=None)
    clock = ScaledClock(set_at=SystemClock().now(), shown_at=NOON)
    app = server.build(database, clock, settings=settings)
    listener = bind("127.0.0.1", 0)
    web = WebServer(uvicorn.Config(app, log_level="warning"))
    task = asyncio.create_task(web.serve(sockets=[listener]))
    while not web.started:  # noqa: ASYNC110 (uvicorn tells nobody)
        await asyncio.sleep(0.01)
    base = f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1/push"
    async with aiohttp.ClientSession(base_url=f"{base}/") as http:
        yield http
    web.should_exit = True
    await task
    listener.close()


@pytest.fixture
def bearer(gateway):
    return {"Authorization": f"Bearer {gateway.token}"}


def ctwing(imei="W-10001", total=12.5, n=0):
    said = json.dumps({"total": total, "press": 0.31, "valve": 0}).encode()
    return {
        "messageType": "dataReport",
        "IMEI": imei,
        "timestamp": MILLISECONDS - 1000 * n,
        "payload": {"APPdata": base64.b64encode(said).decode()},
    }


async def post(cloud, path, body, **options):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with cloud.post(path, data=data, **options) as answer:
        return answer.status, await answer.json()


async def all_of(database, what):
    async with database.transaction() as session:
        return list(await session.scalars(select(what)))


class TestAPush:
    async def test_is_stored_before_it_is_answered(self, cloud, bearer, database):
        answer = await post(cloud, "ctwing", ctwing(), headers=bearer)
        assert answer == (200, {"status": "kept"})
        assert [reading.value for reading in await all_of(database, Reading)] == [Decimal("12.5")]
        assert [sample.value for sample in await all_of(database, Sample)] == [310]

    async def test_needs_nothing_but_its_address(self, cloud, gateway, database):
        status, _ = await post(cloud, f"ctwing/{gateway.token}", ctwing())
        assert status == 200
        assert len(await all_of(database, Reading)) == 1

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "not_json"),
            (b"\xff", "not_json"),
            (b"[]", "nothing_measured"),
            (ctwing(imei="nobody"), "unknown_meter"),
            (ctwing(total=-1), "impossible"),
            (ctwing() | {"payload": {"APPdata": "%%%"}}, "not_json"),
            (ctwing() | {"IMEI": None}, "no_meter"),
        ],
    )
    async def test_that_is_bad_is_answered_like_the_rest_and_kept(
        self, cloud, bearer, database, body, reason
    ):
        status, _ = await post(cloud, "ctwing", body, headers=bearer)
        assert status == 200
        assert {kept.reason for kept in await all_of(database, Quarantined)} == {reason}

    async def test_needs_a_gateways_credential_and_a_clouds_profile(self, cloud, bearer, database):
        async with database.transaction() as session:
            admin = await issue_token(session, name="boss", scope="admin", now=NOON)
        assert (await post(cloud, "ctwing", {}))[0] == 401
        assert (await post(cloud, "ctwing/wrong", {}))[0] == 401
        assert (await post(cloud, f"ctwing/{admin}", {}))[0] == 403
        assert (await post(cloud, "tasmota", {}, headers=bearer))[0] == 404
        assert (await post(cloud, "nobody", {}, headers=bearer))[0] == 404

    async def test_of_another_gateways_meter_stores_nothing(self, cloud, bearer, database):
        async with database.transaction() as session:
            neighbour = await session.scalar(select(Meter.serial).where(Meter.gateway_id.is_(None)))
        await post(cloud, "ctwing", ctwing(imei=neighbour), headers=bearer)
        assert await all_of(database, Reading) == []

    async def test_in_a_crowd_is_answered_within_a_second(self, cloud, bearer, database):
        async def push(number):
            began = time.perf_counter()
            body = ctwing(total=12 + number, n=100 - number)
            assert (await post(cloud, "ctwing", body, headers=bearer))[0] == 200
            return time.perf_counter() - began

        await push(0)
        took = await asyncio.gather(*(push(number) for number in range(1, 17)))
        # The half of them: this machine may be busy with other tests.
        assert statistics.median(took) < 1, took
        assert len(await all_of(database, Reading)) == 17

    async def test_that_could_not_be_stored_is_no_success(self, cloud, bearer, monkeypatch):
        async def lose(*_, **__):
            raise ConnectionError

        with monkeypatch.context() as patched:
            patched.setattr(intake, "store_messages", lose)
            assert (await post(cloud, "ctwing", ctwing(), headers=bearer))[0] == 500
        assert (await post(cloud, "ctwing", ctwing(), headers=bearer))[0] == 200


class TestATrialOfTheAddress:
    async def test_gets_its_words_back(self, cloud, gateway):
        async with cloud.get(f"onenet/{gateway.token}?msg=<b>hi&nonce=x&signature=y") as answer:
            assert (answer.status, await answer.text()) == (200, "<b>hi")
            assert answer.content_type == "text/plain"

    async def test_with_a_wrong_credential_gets_nothing(self, cloud):
        async with cloud.get("onenet/wrong?msg=hi") as answer:
            assert answer.status == 401

"""The admin API: who may call, what it refuses and how, notices and schedules from end to end."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import func, select, update

from bot.api.auth import issue_token
from bot.api.idempotency import KEPT, KeptAnswer
from bot.api.server import BODY_BYTES_MAX
from core.accounts.models import ApiKey
from core.db import Database
from core.monitoring.models import Meter
from core.notices.models import PushSchedule
from core.outages.models import Outage
from tests.stage import Stage
from tests.world import NOON

OPEN = {"/health/live", "/health/ready"}


@dataclass
class Api:
    """A caller with a credential."""

    stage: Stage
    token: str

    async def ask(
        self, verb: str, path: str, body: Any = None, *, status: int = 200, **headers: str
    ) -> Any:
        """Send a request and return the answer's JSON; a refusal must be a problem."""
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        content = {} if body is None else {"json": body}
        if isinstance(body, (bytes, AsyncIterator)):
            content = {"data": BytesIO(body) if isinstance(body, bytes) else body}
        url = f"{self.stage.web}{path}"
        async with self.stage.http.request(verb, url, headers=given, **content) as answer:
            text = await answer.text()
            assert answer.status == status, text
            kind = "application/problem+json" if status >= 400 else "application/json"
            assert answer.content_type == kind or status == 204
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            found = json.loads(text) if text else None
        if status >= 400:
            assert found["status"] == status
            assert found["type"].startswith("/problems/")
            assert found["detail"]
        return found


@pytest.fixture
async def api(empty_stage: Stage, database: Database) -> AsyncIterator[Api]:
    async with database.transaction() as session:
        token = await issue_token(session, name="office", scope="admin", now=NOON)
    async with empty_stage.serving(roles=frozenset({"web"})):
        yield Api(empty_stage, token)


def notice(api: Api, **fields: Any) -> dict[str, Any]:
    now = api.stage.clock.now()
    return {
        "service": "water",
        "kind": "emergency",
        "area_id": api.stage.world.riser,
        "reason": "Burst main",
        "starts_at": now.isoformat(),
        "ends_at": (now + timedelta(hours=5)).isoformat(),
        **fields,
    }


def push(api: Api, **fields: Any) -> dict[str, Any]:
    return {
        "name": "Storm",
        "texts": {"en": "A storm is coming", "zh_CN": "暴风雨将至"},
        "area_id": api.stage.world.street,
        "at": (api.stage.clock.now() + timedelta(hours=1)).isoformat(),
        **fields,
    }


async def count(database: Database, table: type) -> int:
    async with database.transaction() as session:
        return int(await session.scalar(select(func.count()).select_from(table)) or 0)


class TestExchange:
    async def test_puts_a_new_meter_in_the_place_of_one(self, api: Api, database: Database) -> None:
        path = "/api/v1/meters/W-10001/exchange"
        body = {
            "serial": "NB-1",
            "digits": 5,
            "finals": {"total": "12.5"},
            "initials": {"total": "0"},
        }
        refused = await api.ask("POST", path, {**body, "serial": "W-10002"}, status=409)
        assert refused["type"] == "/problems/exchange.serial_taken"
        await api.ask("POST", path, {**body, "finals": {}}, status=422)
        await api.ask("POST", path, {**body, "finals": {"total": "NaN"}}, status=422)
        await api.ask("POST", path.replace("W-10001", "W-99"), body, status=404)

        done = await api.ask("POST", path, body)

        assert (done["old"], done["new"]) == ("W-10001", "NB-1")
        assert await count(database, Meter) == 5
        again = await api.ask("POST", path, body, status=409)
        assert again["type"] == "/problems/exchange.was_replaced"


class TestCredential:
    async def test_is_needed_by_every_route_of_the_api(self, api: Api) -> None:
        asked = 0
        for token in ("", "wrong", api.token + "x", "é", "sd_admin_" + "A" * 5000):
            stranger = Api(api.stage, token)
            for path, verbs in (await api.ask("GET", "/api/openapi.json"))["paths"].items():
                for verb in verbs:
                    if path not in OPEN:
                        filled = path.replace("{schedule_id}", "1").replace("{number}", "N1001")
                        await stranger.ask(verb.upper(), filled, status=401)
                        asked += 1
        assert asked >= 5 * 9

    async def test_of_a_gateway_opens_no_admin_route(self, api: Api, database: Database) -> None:
        async with database.transaction() as session:
            token = await issue_token(session, name="gateway", scope="gateway", now=NOON)
        gateway = Api(api.stage, token)

        await gateway.ask("POST", "/api/v1/readings", {"readings": []})
        await api.ask("POST", "/api/v1/readings", {"readings": []}, status=403)
        for verb, path, body in (
            ("GET", "/api/v1/areas", None),
            ("GET", "/api/v1/outages", None),
            ("POST", "/api/v1/outages", notice(api)),
            ("POST", "/api/v1/push-schedules", push(api)),
            ("DELETE", "/api/v1/push-schedules/1", None),
        ):
            await gateway.ask(verb, path, body, status=403)
        assert await count(database, Outage) == 0

    async def test_that_was_revoked_opens_nothing(self, api: Api, database: Database) -> None:
        await api.ask("GET", "/api/v1/areas")
        async with database.transaction() as session:
            await session.execute(update(ApiKey).values(revoked_at=NOON))

        await api.ask("GET", "/api/v1/areas", status=401)

    async def test_is_kept_as_a_hash_and_its_use_is_noted(
        self, api: Api, database: Database
    ) -> None:
        await asyncio.gather(*(api.ask("GET", "/api/v1/areas") for _ in range(5)))
        async with database.transaction() as session:
            (key,) = await session.scalars(select(ApiKey))

        assert api.token not in repr(vars(key))
        assert key.last_used_at is not None


class TestDocument:
    async def test_tells_every_route(self, api: Api) -> None:
        document = await api.ask("GET", "/api/openapi.json")
        told = {(verb.upper(), path) for path, verbs in document["paths"].items() for verb in verbs}

        assert {("POST", "/api/v1/outages"), ("POST", "/api/v1/readings")} <= told
        for path, verbs in document["paths"].items():
            for told_of in verbs.values():
                assert path in OPEN or told_of["security"]
                assert told_of["summary"]


class TestProblem:
    @pytest.mark.parametrize(
        ("wanted", "words"),
        [
            ("en", "no notice"),
            ("zh-CN,zh;q=0.9", "没有通知"),
            ("zh-Hant-TW", "沒有"),
            ("ru-RU", "нет"),
            ("fr", "no notice"),
            ("", "没有通知"),
            ("*;q=x,,;;", "no notice"),
        ],
    )
    async def test_speaks_the_callers_language(self, api: Api, wanted: str, words: str) -> None:
        told = await api.ask("GET", "/api/v1/outages/N9", status=404, Accept_Language=wanted)

        assert told["type"] == "/problems/outage.not_found"
        assert words in told["detail"].lower()

    @pytest.mark.parametrize(
        ("verb", "path", "status"),
        [
            ("GET", "/nowhere", 404),
            ("GET", "/api/v1/nowhere", 404),
            ("PUT", "/api/v1/outages", 405),
            ("GET", "/api/v1/outages/%00", 422),
            ("GET", "/api/v1/outages/" + "N" * 5000, 422),
            ("GET", "/api/v1/outages/N1001'--", 404),
            ("GET", "/api/v1/outages/%ED%A0%80", 404),
            ("DELETE", "/api/v1/push-schedules/0", 422),
            ("DELETE", "/api/v1/push-schedules/-1", 422),
            ("DELETE", "/api/v1/push-schedules/" + "9" * 40, 422),
            ("DELETE", "/api/v1/push-schedules/7", 404),
            ("GET", "/api/v1/areas?parent_id=1e400", 422),
            ("GET", "/api/v1/areas?parent_id=" + "9" * 30, 422),
        ],
    )
    async def test_meets_strange_addresses(
        self, api: Api, verb: str, path: str, status: int
    ) -> None:
        await api.ask(verb, path, status=status)

    @pytest.mark.parametrize("name", ["%25_", "%5C", "%ED%A0%80", "x" * 100, "<b>&"])
    async def test_is_not_needed_for_a_name_that_nothing_has(self, api: Api, name: str) -> None:
        found = await api.ask("GET", f"/api/v1/areas?name={name}")

        assert found == []

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 422),
            (b"{", 422),
            (b"[]", 422),
            (b"null", 422),
            (b"\xff\xfe\x00", 400),
            (b"[" * 10_000, 400),
            (b'{"area_id": 1e400}', 422),
            (b'{"area_id": NaN}', 422),
            (b'{"\\ud800": 1}', 422),
            (b'{"' + b"x" * 10_000 + b'": 1}', 422),
        ],
    )
    @pytest.mark.parametrize("path", ["/api/v1/outages", "/api/v1/push-schedules"])
    async def test_meets_bodies_that_are_none(
        self, api: Api, database: Database, path: str, body: bytes, status: int
    ) -> None:
        told = await api.ask("POST", path, body, status=status, Content_Type="application/json")

        assert status == 400 or told["errors"]
        assert len(json.dumps(told)) < 5000
        assert await count(database, Outage) == await count(database, PushSchedule) == 0

    @pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data"])
    async def test_meets_another_kind_of_content(self, api: Api, kind: str) -> None:
        body = json.dumps(notice(api)).encode()

        await api.ask("POST", "/api/v1/outages", body, status=422, Content_Type=kind)

    async def test_meets_a_body_that_is_too_large(self, api: Api, database: Database) -> None:
        short = json.dumps(notice(api)).encode()
        kind = {"Content_Type": "application/json"}
        largest = short + b" " * (BODY_BYTES_MAX - len(short))

        told = await api.ask("POST", "/api/v1/outages", largest + b" ", status=413, **kind)
        assert told["type"] == "/problems/http.413"
        assert await count(database, Outage) == 0
        await api.ask("POST", "/api/v1/outages", largest, status=201, **kind)

    async def test_meets_a_body_that_does_not_say_how_large_it_is(
        self, api: Api, database: Database
    ) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield json.dumps(notice(api)).encode()
            for _ in range(21):
                yield b" " * (BODY_BYTES_MAX // 10)

        await api.ask("POST", "/api/v1/outages", parts(), status=413)
        assert await count(database, Outage) == 0

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("reason", ""),
            ("reason", "\u202e\u200b\0"),
            ("reason", "x" * 10_000),
            ("reason", "\ud800"),
            ("reason", None),
            ("area_id", -1),
            ("area_id", 0),
            ("area_id", 2**63),
            ("area_id", "one"),
            ("service", "gas"),
            ("kind", "<b>&"),
            ("starts_at", "2026-11-02T12:00:00"),
            ("starts_at", "0001-01-01T00:00:00Z"),
            ("ends_at", "9999-12-31T23:59:59Z"),
            ("ends_at", "soon"),
            ("ends_at", 1e300),
            ("surprise", 1),
        ],
    )
    async def test_meets_each_field(
        self, api: Api, database: Database, field: str, value: Any
    ) -> None:
        told = await api.ask("POST", "/api/v1/outages", notice(api, **{field: value}), status=422)

        assert any(field in error["where"] for error in told["errors"])
        assert await count(database, Outage) == 0

    async def test_hides_what_broke(self, api: Api, database: Database) -> None:
        async with database.transaction() as session:
            (connection,) = [await session.connection()]
            await connection.exec_driver_sql("ALTER TABLE shuidian.areas RENAME TO hidden_areas")
        try:
            told = await api.ask("GET", "/api/v1/areas", status=500)
        finally:
            async with database.transaction() as session:
                connection = await session.connection()
                await connection.exec_driver_sql(
                    "ALTER TABLE shuidian.hidden_areas RENAME TO areas"
                )

        assert "areas" not in told["detail"]


class TestOutages:
    async def test_go_from_preview_to_end(self, api: Api, database: Database) -> None:
        (area,) = await api.ask("GET", "/api/v1/areas?name=RISER")
        assert area["id"] == api.stage.world.riser
        seen = await api.ask("POST", "/api/v1/outages/preview", notice(api))
        assert (seen["people"], seen["without_contact"]) == (2, 0)
        assert await count(database, Outage) == 0

        made = await api.ask("POST", "/api/v1/outages", notice(api), status=201)
        assert (made["number"], made["version"], made["state"]) == ("N1001", 1, "announced")
        path = f"/api/v1/outages/{made['number']}"
        reach = await api.ask("GET", path + "/reach")
        assert reach == {"people": 2, "sent": 0, "waiting": 2, "failed": 0}

        later = (api.stage.clock.now() + timedelta(hours=9)).isoformat()
        moved = await api.ask("PATCH", path, {"ends_at": later, "version": 1})
        assert (moved["version"], moved["earlier_ends"]) == (2, [made["ends_at"]])
        told = await api.ask("PATCH", path, {"ends_at": later, "version": 1}, status=409)
        assert told["type"] == "/problems/outage.moved_on"
        await api.ask("PATCH", path, {}, status=422)
        await api.ask("PATCH", path, {"end_at": later}, status=422)

        ended = await api.ask("PATCH", path, {"state": "ended"})
        assert ended["state"] == "ended"
        assert (await api.ask("PATCH", path, {"state": "ended"}, status=409))["type"].endswith(
            "outage.is_over"
        )
        assert await api.ask("GET", "/api/v1/outages") == []
        assert (await api.ask("GET", path))["version"] == 3

    async def test_of_an_area_where_nobody_lives_is_refused(
        self, api: Api, database: Database
    ) -> None:
        feeder = notice(api, area_id=api.stage.world.feeder)
        told = await api.ask("POST", "/api/v1/outages", feeder, status=409)
        assert told["type"] == "/problems/outage.nobody_affected"
        await api.ask("POST", "/api/v1/outages", notice(api, area_id=999), status=404)

        assert await count(database, Outage) == 0


class TestSchedules:
    async def test_are_made_paused_resumed_and_deleted(self, api: Api) -> None:
        made = await api.ask(
            "POST", "/api/v1/push-schedules", push(api, repeat="daily"), status=201
        )
        assert made["people"] == 2
        assert made["next_at"] == made["first_at"]
        path = f"/api/v1/push-schedules/{made['id']}"
        assert (await api.ask("PATCH", path, {"paused": True}))["paused_at"]
        assert (await api.ask("PATCH", path, {"paused": False}))["paused_at"] is None
        assert [kept["id"] for kept in await api.ask("GET", "/api/v1/push-schedules")] == [
            made["id"]
        ]

        await api.ask("DELETE", path, status=204)
        await api.ask("DELETE", path, status=404)
        await api.ask("PATCH", path, {"paused": True}, status=404)
        assert await api.ask("GET", "/api/v1/push-schedules") == []

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({"texts": {}}, 422),
            ({"texts": {"xx": "?"}}, 422),
            ({"texts": {"en": "\0"}}, 422),
            ({"texts": {"en": "x" * 10_000}}, 422),
            ({"name": "\u200b"}, 422),
            ({"repeat": "hourly"}, 422),
            ({"at": "0001-01-01T00:00:00Z", "repeat": "daily"}, 422),
            ({"at": "2026-01-01T00:00:00Z"}, 409),
            ({"area_id": 999}, 404),
        ],
    )
    async def test_refuse_what_cannot_be_meant(
        self, api: Api, database: Database, fields: dict[str, Any], status: int
    ) -> None:
        await api.ask("POST", "/api/v1/push-schedules", push(api, **fields), status=status)

        assert await count(database, PushSchedule) == 0


class TestIdempotencyKey:
    async def test_makes_repeating_harmless(self, api: Api, database: Database) -> None:
        body = notice(api)
        answers = [
            await api.ask("POST", "/api/v1/outages", body, status=201, Idempotency_Key="a")
            for _ in range(3)
        ]
        other = await api.ask("POST", "/api/v1/outages", body, status=201, Idempotency_Key="b")

        assert answers[0] == answers[1] == answers[2]
        assert other["number"] == "N1002"
        assert await count(database, Outage) == 2

    async def test_with_another_body_or_path_is_refused(self, api: Api, database: Database) -> None:
        await api.ask("POST", "/api/v1/outages", notice(api), status=201, Idempotency_Key="a")
        for path, body in (
            ("/api/v1/outages", notice(api, reason="Another")),
            ("/api/v1/push-schedules", push(api)),
        ):
            told = await api.ask("POST", path, body, status=422, Idempotency_Key="a")
            assert told["type"] == "/problems/input.key_used_differently"

        assert await count(database, Outage) == 1
        assert await count(database, PushSchedule) == 0

    async def test_works_for_requests_at_once(self, api: Api, database: Database) -> None:
        body = push(api)
        answers = await asyncio.gather(
            *(
                api.ask("POST", "/api/v1/push-schedules", body, status=201, Idempotency_Key="a")
                for _ in range(8)
            )
        )

        assert len({answer["id"] for answer in answers}) == 1
        assert await count(database, PushSchedule) == 1

    async def test_is_free_again_after_a_refusal(self, api: Api, database: Database) -> None:
        nobody = notice(api, area_id=api.stage.world.feeder)
        await api.ask("POST", "/api/v1/outages", nobody, status=409, Idempotency_Key="a")
        assert await count(database, KeptAnswer) == 0

        await api.ask("POST", "/api/v1/outages", notice(api), status=201, Idempotency_Key="a")

    async def test_belongs_to_its_caller(self, api: Api, database: Database) -> None:
        async with database.transaction() as session:
            token = await issue_token(session, name="second", scope="admin", now=NOON)
        body = notice(api)
        first = await api.ask("POST", "/api/v1/outages", body, status=201, Idempotency_Key="a")
        second = await Api(api.stage, token).ask(
            "POST", "/api/v1/outages", body, status=201, Idempotency_Key="a"
        )

        assert first["number"] != second["number"]

    async def test_is_forgotten_in_time(self, api: Api, database: Database) -> None:
        await api.ask("POST", "/api/v1/outages", notice(api), status=201, Idempotency_Key="a")
        api.stage.clock.shown_at += KEPT + timedelta(days=1)
        await api.ask("POST", "/api/v1/outages", notice(api), status=201, Idempotency_Key="b")

        async with database.transaction() as session:
            assert list(await session.scalars(select(KeptAnswer.key))) == ["b"]

    @pytest.mark.parametrize("key", ["x" * 256, "x" * 5000])
    async def test_that_is_too_long_is_refused(self, api: Api, key: str) -> None:
        await api.ask("POST", "/api/v1/outages", notice(api), status=422, Idempotency_Key=key)

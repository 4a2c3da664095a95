"""First data from files: all of a file or nothing, the same again changes nothing."""

import asyncio
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from bot.api.auth import issue_token
from core.accounts import linking, service
from core.accounts.models import AccountRight, Agreement, Person
from core.monitoring.held import Decision, decide_held
from core.monitoring.rows import Key
from tests.billing.books import ask
from tests.imports.first_data import (
    ACCOUNTS,
    EXAMPLES,
    KINDS,
    METERS,
    NOW,
    READINGS,
    STATE,
    bring,
    bring_all,
    changed,
    counts,
    faults,
    state,
)


class TestExamples:
    async def test_are_stored_once_however_often_they_are_imported(self, empty):
        first = [
            await bring(empty, kind, (EXAMPLES / f"{kind}.csv").read_bytes()) for kind in KINDS
        ]
        before = await state(empty)
        again = [
            await bring(empty, kind, (EXAMPLES / f"{kind}.csv").read_bytes()) for kind in KINDS
        ]

        assert [counts(done) for done in first] == [(12, 0, 0)] * 3
        assert [counts(done) for done in again] == [(0, 0, 12)] * 3
        assert await state(empty) == before
        assert len(before["readings"]) == 12 + 12
        assert len(before["areas"]) == 1 + 1 + 2 + 3 + 4

    async def test_are_stored_once_when_imported_twice_at_once(self, empty):
        for kind, rows in zip(KINDS, (ACCOUNTS, METERS, READINGS), strict=True):
            done = await asyncio.gather(*(bring(empty, kind, rows) for _ in range(3)))
            assert sorted(map(counts, done)) == [(0, 0, 12), (0, 0, 12), (12, 0, 0)]

    async def test_keep_the_zeros_in_front(self, empty):
        await bring_all(empty)

        numbers = await ask(empty, "SELECT number FROM shuidian.accounts ORDER BY 1 LIMIT 1")
        serials = await ask(empty, "SELECT serial FROM shuidian.meters ORDER BY 1 LIMIT 1")
        phones = await ask(empty, "SELECT phone FROM shuidian.people ORDER BY 1 LIMIT 1")
        assert (numbers, serials, phones) == ([("0010001",)], [("0011714",)], [("+865515810101",)])

    async def test_start_a_meter_with_what_it_showed(self, empty):
        await bring_all(empty)

        (first,) = await ask(
            empty,
            "SELECT value, source, status, taken_at = installed_at FROM shuidian.readings"
            " JOIN shuidian.meters m ON m.id = meter_id WHERE serial = '0011714'"
            " ORDER BY taken_at LIMIT 1",
        )
        assert first == (Decimal("110.5"), "staff", "accepted", True)


class TestDryRun:
    @pytest.mark.parametrize("n", range(3))
    async def test_tells_all_and_stores_nothing(self, empty, n):
        for kind, rows in list(zip(KINDS, (ACCOUNTS, METERS, READINGS), strict=True))[:n]:
            await bring(empty, kind, rows)
        before = await state(empty)

        done = await bring(empty, KINDS[n], (ACCOUNTS, METERS, READINGS)[n], dry=True)

        assert (counts(done), done.is_kept) == ((12, 0, 0), False)
        assert await state(empty) == before


class TestAnyOrder:
    """Whatever the order of the rows, and however often some are repeated."""

    @settings(
        max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.randoms(use_true_random=False))
    def test_gives_the_same_database(self, runner, dice):
        runner(dice)

    @pytest.fixture
    async def wanted(self, empty) -> dict[str, list[str]]:
        await bring_all(empty)
        return await state(empty)

    @pytest.fixture
    def runner(self, empty, wanted):
        loop = asyncio.get_event_loop_policy().get_event_loop()

        async def run(dice: random.Random) -> None:
            async with empty.transaction() as session:
                await session.execute(text("SET LOCAL session_replication_role = replica"))
                for name in (*STATE, "accounts", "account_rights", "service_points"):
                    name = {"audit": "audit_entries"}.get(name, name)  # noqa: PLW2901
                    await session.execute(text(f"DELETE FROM shuidian.{name}"))  # noqa: S608
            for kind, rows in zip(KINDS, (ACCOUNTS, METERS, READINGS), strict=True):
                body = list(rows[1:])
                more = dice.choices(body, k=dice.randrange(6))
                mixed = [*body, *more]
                dice.shuffle(mixed)
                cut = dice.randrange(len(mixed) + 1)
                done = [
                    await bring(empty, kind, [rows[0], *part])
                    for part in (mixed[:cut], mixed[cut:])
                ]
                assert [each.outcome.faults for each in done] == [[], []]
                assert sum(each.outcome.new for each in done) == 12
                assert sum(each.outcome.unchanged for each in done) == len(more)
            assert await state(empty) == wanted

        return lambda dice: loop.run_until_complete(run(dice))


AS_ROW_2 = {"service": "water", "tariff": "hefei-water", "branch": "1号立管"}
HOLDER_TOO = [("holder", "contradicts"), ("phone", "contradicts")]
BREAKAGES = [
    # kind, row, the cells that are changed, and the faults: row, field, code
    ("accounts", 4, {"tariff": "hefei-gas"}, [("tariff", "no_tariff")]),
    ("accounts", 4, {"tariff": "anhui-electricity"}, [("tariff", "no_tariff")]),
    ("accounts", 4, {"holder": " "}, [("holder", "missing")]),
    ("accounts", 5, {"holder": "Somebody else"}, [("holder", "contradicts")]),
    ("accounts", 5, {"people": 9}, [("people", "contradicts")]),
    ("accounts", 4, {"people": "two"}, [("people", "not_a_number")]),
    ("accounts", 4, {"people": "2.5"}, [("people", "not_whole")]),
    ("accounts", 4, {"people": "0"}, [("people", "not_whole")]),
    ("accounts", 4, {"service": "gas"}, [("service", "not_one_of")]),
    ("accounts", 4, {"starts": "2026-02-30"}, [("starts", "not_a_day")]),
    ("accounts", 4, {"starts": "2026-09-01 12:00"}, [("starts", "not_a_day")]),
    ("accounts", 4, {"phone": "551"}, [("phone", "not_a_phone")]),
    ("accounts", 4, {"language": "fr"}, [("language", "not_one_of")]),
    ("accounts", 3, {**AS_ROW_2, "account": "0010099"}, [("account", "contradicts")]),
    ("accounts", 13, {"account": "0010001"}, [("address", "contradicts"), *HOLDER_TOO]),
    ("meters", 4, {"account": "0010099"}, [("account", "no_supply")]),
    ("meters", 4, {"serial": "0011714"}, [("account", "contradicts"), ("initial", "contradicts")]),
    ("meters", 4, {"digits": "13"}, [("digits", "not_digits")]),
    ("meters", 4, {"initial": "123456"}, [("initial", "too_many_digits")]),
    ("meters", 4, {"initial": "-1"}, [("initial", "negative")]),
    ("meters", 4, {"initial": "1,5"}, [("initial", "not_a_number")]),
    ("meters", 4, {"multiplier": "0"}, [("multiplier", "not_positive")]),
    ("meters", 4, {"ceiling": "0"}, [("ceiling", "not_positive")]),
    ("meters", 4, {"installed": "2026-11-03"}, [("installed", "in_the_future")]),
    ("meters", 4, {"installed": "2020-11-03"}, [("initial", "too_old")]),
    ("meters", 4, {"switchable": "perhaps"}, [("switchable", "not_one_of")]),
    ("readings", 4, {"serial": "22724"}, [("serial", "unknown_meter")]),
    ("readings", 4, {"taken_at": "2026-08-31 23:59"}, [("taken_at", "not_installed")]),
    ("readings", 4, {"taken_at": "2026-11-02 12:06"}, [("taken_at", "in_the_future")]),
    ("readings", 4, {"taken_at": "2020-11-02"}, [("taken_at", "too_old")]),
    ("readings", 4, {"taken_at": "yesterday"}, [("taken_at", "not_a_moment")]),
    ("readings", 4, {"value": "100000"}, [("value", "too_many_digits")]),
    ("readings", 5, {"taken_at": "2026-10-01"}, [("value", "contradicts")]),
]


class TestOneFault:
    """It is told with its row and column, and nothing of the file is stored."""

    @pytest.mark.parametrize(("kind", "row", "cells", "expected"), BREAKAGES)
    async def test_stores_nothing(self, empty, kind, row, cells, expected):
        earlier = KINDS.index(kind)
        tables = (ACCOUNTS, METERS, READINGS)
        for each in range(earlier):
            await bring(empty, KINDS[each], tables[each])
        before = await state(empty)

        done = await bring(empty, kind, changed(tables[earlier], row, **cells))

        assert faults(done) == [(row, field, f"import.{code}") for field, code in expected]
        assert await state(empty) == before

    @settings(
        max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.sampled_from(KINDS), st.randoms(use_true_random=False))
    def test_wherever_it_is_stores_nothing(self, runner, kind, dice):
        runner(kind, dice)

    @pytest.fixture
    def runner(self, empty):
        loop = asyncio.get_event_loop_policy().get_event_loop()

        async def run(kind: str, dice: random.Random) -> None:
            rows = {"accounts": ACCOUNTS, "meters": METERS, "readings": READINGS}[kind]
            needed = [n for n, name in enumerate(rows[0]) if name not in OPTIONAL]
            body = [list(row) for row in rows[1:]]
            dice.shuffle(body)
            at, column = dice.randrange(len(body)), dice.choice(needed)
            body[at][column] = dice.choice(["", " ", "\ufeff"])
            before = await state(empty)

            done = await bring(empty, kind, [rows[0], *body])

            assert (at + 2, str(rows[0][column]).replace(" ", "_")) in {
                (position, field) for position, field, _ in faults(done)
            }
            assert await state(empty) == before

        return lambda kind, dice: loop.run_until_complete(run(kind, dice))

    async def test_is_told_beside_all_others(self, empty):
        rows = changed(ACCOUNTS, 3, starts="soon")
        rows = changed(rows, 7, tariff="none")
        rows = changed(rows, 9, people="0", address="")

        assert faults(await bring(empty, "accounts", rows)) == [
            (3, "starts", "import.not_a_day"),
            (7, "tariff", "import.no_tariff"),
            (9, "address", "import.missing"),
            (9, "people", "import.not_whole"),
        ]


class TestAccounts:
    async def test_change_where_a_later_file_tells_otherwise(self, empty):
        await bring_all(empty)
        rows = changed(ACCOUNTS, 2, holder="李大华", people="5", branch="3号立管")
        rows = changed(rows, 3, holder="李大华", people="5")

        first = await bring(empty, "accounts", rows)
        again = await bring(empty, "accounts", rows)

        assert (counts(first), counts(again)) == ((0, 2, 10), (0, 0, 12))
        now = (await state(empty))["agreements"]
        assert [row for row in now if "李大华" in row and "3号立管" in row]
        (details,) = (await ask(empty, LATEST_CHANGE))[0]
        assert details["holder_name"] == ["李华", "李大华"]

    async def test_keep_what_a_later_file_does_not_tell(self, empty):
        await bring_all(empty)
        before = await state(empty)
        kept = [n for n, name in enumerate(ACCOUNTS[0]) if name not in OPTIONAL]

        done = await bring(empty, "accounts", [[row[n] for n in kept] for row in ACCOUNTS])

        assert counts(done) == (0, 0, 12)
        assert await state(empty) == before

    async def test_stay_where_they_are_and_begin_when_they_began(self, empty):
        await bring_all(empty)

        moved = changed(ACCOUNTS, 12, address="Elsewhere")
        later = changed(ACCOUNTS, 12, starts="2026-10-01")

        assert (12, "address", "import.fixed") in faults(await bring(empty, "accounts", moved))
        assert faults(await bring(empty, "accounts", later)) == [(12, "starts", "import.fixed")]

    async def test_take_over_a_home_when_the_agreement_before_has_ended(self, empty):
        await bring_all(empty)
        row = dict(zip(ACCOUNTS[0], ACCOUNTS[1], strict=True))
        after = {**row, "account": "0010011", "holder": "吴刚", "phone": "", "starts": "2026-10-01"}
        new = [list(after), list(after.values())]

        assert faults(await bring(empty, "accounts", new)) == [(2, "account", "import.supplied_to")]
        async with empty.transaction() as session:
            await session.execute(
                update(Agreement)
                .where(Agreement.id == min(await session.scalars(select(Agreement.id))))
                .values(ends_date=date(2026, 10, 1))
            )
        ended = await ask(empty, "SELECT c.number FROM shuidian.agreements a JOIN shuidian.accounts"
            " c ON c.id = account_id WHERE ends_date IS NOT NULL")  # fmt: skip
        assert ended == [("0010001",)]
        done = [await bring(empty, "accounts", rows) for rows in (new, new, ACCOUNTS)]
        assert [counts(each) for each in done] == [(1, 0, 0), (0, 0, 1), (0, 0, 12)]
        assert len(await ask(empty, "SELECT FROM shuidian.agreements")) == 13

    async def test_of_several_homes_can_have_one_holder(self, empty):
        rows = [list(row) for row in ACCOUNTS]
        for row in rows[1:]:
            row[3] = "0551-5810101"

        await bring(empty, "accounts", [rows[0], *reversed(rows[1:])])

        people = await ask(empty, "SELECT name, phone FROM shuidian.people")
        assert people == [("李华", "+865515810101")]
        assert len(await ask(empty, "SELECT FROM shuidian.account_rights")) == 6

    async def test_forget_a_phone_number_that_is_replaced(self, empty):
        await bring_all(empty)
        rows = changed(changed(ACCOUNTS, 2, phone="0551-5810199"), 3, phone="0551-5810199")

        done = await bring(empty, "accounts", rows)

        assert counts(done) == (0, 2, 10)
        held = "SELECT phone FROM shuidian.account_rights JOIN shuidian.people ON id = person_id"
        phones = {phone for (phone,) in await ask(empty, held)}
        assert "+865515810199" in phones
        assert "+865515810101" not in phones


LATEST_CHANGE = """
    SELECT details FROM shuidian.audit_entries WHERE details ? 'holder_name' ORDER BY id LIMIT 1
"""
OPTIONAL = {
    *("phone", "district", "street", "building", "branch", "people", "class", "language"),
    *("initial", "multiplier", "ceiling", "switchable"),
}


class TestLinkedHolder:
    async def test_takes_the_place_of_the_one_known_by_phone(self, empty):
        await bring_all(empty)
        async with empty.transaction() as session:
            number = await service.get_account(session, number="0010001")
            code = await linking.invite(session, account_id=number, now=NOW)
            speaker = await service.meet(
                session, channel="telegram", address="1", name="Hua", locale="en", now=NOW
            )
            offered = await linking.find_invitation(
                session, code=code, contact_id=speaker.contact_id, now=NOW
            )
            assert offered is not None
            await linking.accept(
                session,
                invitation_id=offered.invitation_id,
                contact_id=speaker.contact_id,
                now=NOW,
            )
        async with empty.transaction() as session:
            holders = await session.scalars(
                select(Person)
                .join(AccountRight, AccountRight.person_id == Person.id)
                .where(AccountRight.account_id == number)
            )
            (holder,) = holders.all()

        assert (holder.name, holder.phone, holder.locale) == ("Hua", "+865515810101", "en")
        assert counts(await bring(empty, "accounts", ACCOUNTS)) == (0, 0, 12)


class TestMeters:
    async def test_change_where_a_later_file_tells_otherwise(self, empty):
        await bring_all(empty)
        async with empty.transaction() as session:
            await issue_token(session, name="cellar", scope="gateway", now=NOW)
        rows = [[*row, "cellar"] for row in changed(METERS, 2, multiplier="2", ceiling="1.5")]
        rows[0][-1] = "gateway"

        done = [await bring(empty, "meters", rows) for _ in range(2)]

        assert [counts(each) for each in done] == [(0, 12, 0), (0, 0, 12)]
        told = "SELECT multiplier, ceiling FROM shuidian.meters WHERE serial = '0011714'"
        assert await ask(empty, told) == [(2, Decimal("1.5"))]

    @pytest.mark.parametrize(
        ("cells", "field", "code"),
        [
            ({"account": "0010002"}, "serial", "meter_elsewhere"),
            ({"serial": "0099"}, "serial", "other_meter"),
            ({"installed": "2026-09-02"}, "installed", "fixed"),
            ({"initial": "0"}, "initial", "fixed"),
        ],
    )
    async def test_stay_as_they_were_installed(self, empty, cells, field, code):
        await bring_all(empty)
        rows = changed([METERS[0], METERS[1]], 2, **cells)

        assert faults(await bring(empty, "meters", rows)) == [(2, field, f"import.{code}")]

    async def test_need_a_gateway_that_exists(self, empty):
        await bring(empty, "accounts", ACCOUNTS)
        async with empty.transaction() as session:
            await issue_token(session, name="desk", scope="admin", now=NOW)
        rows = [[*METERS[0], "gateway"], [*METERS[1], "desk"]]

        assert faults(await bring(empty, "meters", rows)) == [(2, "gateway", "import.no_gateway")]

    async def test_can_be_told_their_first_reading_later(self, empty):
        await bring(empty, "accounts", ACCOUNTS)
        without = [[*row[:5], *row[6:]] for row in METERS]

        done = [await bring(empty, "meters", rows) for rows in (without, METERS, without)]

        assert [counts(each) for each in done] == [(12, 0, 0), (0, 12, 0), (0, 0, 12)]


class TestReadings:
    async def test_wait_when_they_jump_and_stay_as_a_person_corrected_them(self, empty):
        await bring(empty, "accounts", ACCOUNTS)
        await bring(empty, "meters", METERS)
        rows = changed(READINGS, 3, value="99000")

        done = await bring(empty, "readings", rows)

        assert (counts(done), done.outcome.held) == ((12, 0, 0), 1)
        meter = (await ask(empty, "SELECT id FROM shuidian.meters WHERE serial = '0011714'"))[0][0]
        moment = datetime(2026, 10, 31, 16, 0, tzinfo=UTC)
        async with empty.transaction() as session:
            person = await service.meet(
                session, channel="telegram", address="1", name="Hua", locale="en", now=NOW
            )
            await decide_held(
                session,
                key=Key(meter, "total", moment),
                decision=Decision.CORRECT,
                value=Decimal("134.5"),
                reason="a slip of the pen",
                person_id=person.person_id,
                now=NOW,
            )
        before = await state(empty)

        assert counts(await bring(empty, "readings", rows)) == (0, 0, 12)
        assert await state(empty) == before

    async def test_with_another_value_for_the_same_moment_are_refused(self, empty):
        await bring_all(empty)
        before = await state(empty)

        done = await bring(empty, "readings", changed(READINGS, 3, value="134.6"))

        assert faults(done) == [(3, "value", "import.conflict")]
        both = changed(changed(READINGS, 3, value="134.6"), 5, serial="no such")
        assert sorted(faults(await bring(empty, "readings", both))) == [
            (3, "value", "import.conflict"),
            (5, "serial", "import.unknown_meter"),
        ]
        assert await state(empty) == before

    @pytest.mark.parametrize(
        ("written", "hour"),
        [
            ("2026-10-05 08:15", 0),
            ("2026/10/5 8:15", 0),
            ("2026年10月5日 8:15", 0),
            ("２０２６-10-05 08:15:00", 0),  # noqa: RUF001 (as typed in Chinese)
            ("2026-10-05T08:15+09:00", -1),
            ("2026-10-05T00:15Z", 0),
        ],
    )
    async def test_are_taken_by_the_operators_clock_unless_they_name_another(
        self, empty, written, hour
    ):
        await bring(empty, "accounts", ACCOUNTS)
        await bring(empty, "meters", METERS)

        await bring(empty, "readings", [READINGS[0], ["0011714", written, "１２１.２５"]])  # noqa: RUF001 (as typed in Chinese)

        found = await ask(
            empty, "SELECT taken_at, value FROM shuidian.readings WHERE value = 121.25"
        )
        at = datetime(2026, 10, 5, 0, 15, tzinfo=UTC) + timedelta(hours=hour)
        assert found == [(at, Decimal("121.25"))]

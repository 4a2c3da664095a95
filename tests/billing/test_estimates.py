"""Bills of meters that nobody read: estimated, marked, put right by the next real reading."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import select, update

from bot.documents.documents import bill_pdf
from bot.handlers.bill_pages import bill_page
from bot.handlers.bill_words import describe_bill
from bot.texts import LOCALES, Texts
from core.accounts.models import Agreement, ApiKey, Service
from core.accounts.service import get_operator
from core.billing import runs
from core.billing.audit_checks import list_violations
from core.billing.bills import recompute
from core.billing.consumption import ESTIMATE, BilledSpan, Shown, consumption_of
from core.billing.corrections import release_held, void_bill
from core.billing.estimates import HISTORY_MIN, estimate
from core.billing.models import Bill
from core.billing.queries import get_bill
from core.db import Database
from core.monitoring.ingest import NewReading, store_batch
from core.monitoring.models import Meter, Reading, ReadingStatus, Source
from core.periods import Period, month_of, start_of_day
from tests.billing.books import ZONE, ask, keep, load_shipped, read, run_bills, show, span_between
from tests.world import World

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
# What went through a meter each time, and whether it was read then.
STEPS = st.lists(
    st.tuples(st.integers(0, 4000), st.booleans(), st.integers(-3000, 3000)), min_size=1, max_size=9
)


def shown(days: int, value: Decimal | int | str, source: str = "gateway") -> Shown:
    return Shown(at=START + days * DAY, value=Decimal(value), source=source)


class TestEstimate:
    def test_goes_on_as_the_months_before(self) -> None:
        # 90 in 90 days is 1 a day.
        assert estimate(shown(0, 10), shown(90, 100), at=START + 121 * DAY, digits=5) == 131

    def test_runs_over_as_the_register_does(self) -> None:
        found = estimate(shown(0, 99_890), shown(90, 99_980), at=START + 120 * DAY, digits=5)
        assert found == 10

    def test_needs_four_weeks_and_a_register_that_did_not_go_back(self) -> None:
        just = HISTORY_MIN.days
        at = START + 200 * DAY
        assert estimate(shown(0, 1), shown(just - 1, 9), at=at, digits=5) is None
        assert estimate(shown(0, 1), shown(just, 9), at=at, digits=5) is not None
        assert estimate(shown(0, 9), shown(just, 1), at=at, digits=5) is None

    @given(
        before=st.integers(0, 50_000),
        use=st.integers(0, 9_000),
        days=st.integers(28, 100),
        later=st.lists(st.integers(0, 300), min_size=2, max_size=2).map(sorted),
    )
    def test_never_goes_back_and_grows_with_time(
        self, before: int, use: int, days: int, later: list[int]
    ) -> None:
        first, last = shown(0, before), shown(days, before + use)
        sooner, afterwards = (
            estimate(first, last, at=last.at + more * DAY, digits=9) for more in later
        )
        assert sooner is not None
        assert afterwards is not None
        assert last.value <= sooner <= afterwards
        assert (sooner - last.value) * days <= use * later[0]


class TestConsumptionOf:
    @given(steps=STEPS, start=st.integers(0, 99_999), multiplier=st.integers(1, 40))
    @example(steps=[(0, False, 0), (1, True, 0)], start=99_999, multiplier=1)
    @example(steps=[(0, False, 2), (0, True, 0)], start=99_999, multiplier=1)
    def test_bills_every_unit_once_however_wrong_the_estimates_were(
        self, steps: list[tuple[int, bool, int]], start: int, multiplier: int
    ) -> None:
        capacity, true, billed = 100_000, start, Decimal(0)
        opening = shown(0, start)
        ahead: Mapping[str, Decimal] = {}
        for day, (use, is_read, error) in enumerate(steps, 1):
            true += use
            # An estimate is wrong by less than half of what the register can show.
            value = true if is_read else max(true + error, start)
            closing = shown(day, value % capacity, "gateway" if is_read else ESTIMATE)
            span = span_between(opening, closing, multiplier=multiplier)
            if not opening.is_estimate and closing.value < opening.value:
                return  # only estimates can be near the end of the register without its last tenth
            counted = consumption_of([span], ahead=ahead, kept_digits=0)
            assert counted.quantities["total"] >= 0
            assert not counted.ahead.get("total") or not counted.quantities["total"]
            billed += counted.quantities["total"]
            opening, ahead = closing, counted.ahead
            if is_read:
                assert billed - ahead.get("total", 0) == (true - start) * multiplier

    def test_takes_off_from_the_new_meter_what_the_old_one_was_billed_too_much(self) -> None:
        def span(meter: int, opening: Shown, closing: Shown) -> BilledSpan:
            return BilledSpan(
                meter_id=meter,
                serial=f"W{meter}",
                register="total",
                digits=5,
                multiplier=Decimal(1),
                opening=opening,
                closing=closing,
            )

        spans = [
            span(1, shown(0, 120, ESTIMATE), shown(5, 115)),
            span(2, shown(5, 0), shown(9, 8)),
        ]
        counted = consumption_of(spans, ahead={}, kept_digits=0)
        assert (counted.quantities, counted.ahead) == ({"total": 3}, {})


def month(number: int) -> Period:
    return month_of(date(2026, number, 1))


def after(period: Period) -> datetime:
    return start_of_day(period.ends, zone=ZONE) + timedelta(hours=4)


@pytest.fixture
async def meter(database: Database, world: World) -> int:
    """An electricity meter that was read each month up to July, 120 kWh from 62 days."""
    await load_shipped(database)
    meter = world.home.meters[Service.ELECTRICITY]
    days = {date(2026, 5, 1): "1000", date(2026, 6, 1): "1060", date(2026, 7, 1): "1122"}
    await show(database, meter, days)
    return meter


async def bill(database: Database, number: int) -> Bill | None:
    """Bill a month and return the home's bill."""
    await run_bills(database, Service.ELECTRICITY, month(number), now=after(month(number)))
    async with database.transaction() as session:
        return await session.scalar(
            select(Bill).where(Bill.starts_date == month(number).starts, Bill.state != "void")
        )


async def estimates(database: Database) -> list[Decimal]:
    async with database.transaction() as session:
        found = select(Reading.value).where(Reading.source == Source.ESTIMATE)
        return list(await session.scalars(found.order_by(Reading.taken_at)))


class TestIssueBills:
    @pytest.mark.usefixtures("meter")
    async def test_estimates_from_the_meters_own_use_and_says_so(self, database: Database) -> None:
        await bill(database, 6)
        async with database.transaction() as session:
            period = month(7)
            preview = await runs.preview_run(
                session, service=Service.ELECTRICITY, period=period, now=after(period)
            )
        assert (preview.bills, dict(preview.skipped)) == (1, {"billing.no_reading": 1})
        assert await estimates(database) == []

        july = await bill(database, 7)

        # 122 kWh in 61 days, 2 a day.
        assert july is not None
        assert (july.consumption, july.state) == (62, "issued")
        assert await estimates(database) == [1184]
        async with database.transaction() as session:
            assert (await recompute(session, number=july.number)).total_minor == july.total_minor
            view = await get_bill(session, number=july.number, person_id=None)
        for locale, word in zip(
            sorted(LOCALES), ("Estimated", "Оценка", "估抄", "推估"), strict=True
        ):
            texts = Texts(locale, timezone="Asia/Shanghai", currency="CNY")
            assert word in describe_bill(texts, view)

    async def test_puts_it_right_with_the_next_real_reading(
        self, database: Database, meter: int
    ) -> None:
        await bill(database, 6)
        await bill(database, 7)
        await show(database, meter, {date(2026, 9, 1): "1260"})

        august = await bill(database, 8)

        assert august is not None
        assert august.consumption == 1260 - 1184
        assert await ask(database, "SELECT sum(consumption) FROM shuidian.bills") == [
            (1260 - 1060,)
        ]
        assert "E-10001 at 1,184" in await words(database, august)

    async def test_takes_off_later_what_an_estimate_was_too_high(
        self, database: Database, meter: int
    ) -> None:
        await bill(database, 6)
        await bill(database, 7)
        await show(database, meter, {date(2026, 9, 1): "1170", date(2026, 10, 1): "1200"})

        august, september = await bill(database, 8), await bill(database, 9)

        assert august is not None
        assert september is not None
        assert (august.consumption, september.consumption) == (0, 30 - 14)
        assert "14 kWh too high" in await words(database, august)
        assert "14 kWh that an estimate had billed too early" in await words(database, september)
        assert await ask(database, "SELECT sum(consumption) FROM shuidian.bills") == [
            (1200 - 1060,)
        ]
        async with database.transaction() as session:
            assert await list_violations(session) == []

    async def test_lets_a_manager_look_at_the_third_in_a_row(
        self, database: Database, meter: int
    ) -> None:
        await bill(database, 6)
        found = [await bill(database, number) for number in (7, 8, 9, 10)]

        assert [each and (each.state, each.held_reason) for each in found] == [
            ("issued", None),
            ("issued", None),
            ("held", "estimated"),
            None,
        ]
        async with database.transaction() as session:
            held = found[2]
            assert held is not None
            await release_held(session, number=held.number, actor_id=1, now=after(month(9)))
        await show(database, meter, {date(2026, 11, 1): "1400"})
        october = await bill(database, 10)
        assert october is not None
        assert (october.state, october.inputs["estimates"]) == ("issued", 0)

    async def test_guesses_nothing_while_a_reading_waits_for_a_decision(
        self, database: Database, meter: int
    ) -> None:
        async with database.transaction() as session:
            jumped = read(meter, date(2026, 7, 30), "9999")
            jumped.status = ReadingStatus.HELD
            await keep(session, [jumped])

        period = Period(date(2026, 6, 1), date(2026, 8, 1))
        chunk = await run_bills(database, Service.ELECTRICITY, period, now=after(month(7)))

        assert chunk.skipped == {"billing.reading_waits": 1, "billing.no_reading": 1}
        assert await estimates(database) == []

    @pytest.mark.usefixtures("meter")
    async def test_takes_a_real_reading_instead_as_soon_as_there_is_one(
        self, database: Database
    ) -> None:
        """The register of midnight that comes late meets no estimate in its place."""
        await bill(database, 6)
        july = await bill(database, 7)
        assert july is not None
        async with database.transaction() as session:
            key = ApiKey(name="cellar", token_hash="x", scope="gateway", created_at=START)  # noqa: S106 (no secret)
            session.add(key)
            await session.flush()
            await session.execute(update(Meter).values(gateway_id=key.id))
            midnight = start_of_day(date(2026, 8, 1), zone=ZONE)
            late = NewReading(0, "E-10001", "total", midnight, Decimal(1150))
            receipt = await store_batch(
                session, gateway_id=key.id, readings=[late], samples=[], now=after(month(7))
            )
            assert receipt.counts == {
                "received": 1,
                "accepted": 1,
                "duplicate": 0,
                "held": 0,
                "rejected": 0,
            }
            await void_bill(
                session, number=july.number, reason="read", actor_id=1, now=after(month(7))
            )

        again = await bill(database, 7)

        assert again is not None
        assert (again.consumption, again.inputs["estimates"]) == (28, 0)

    async def test_shows_the_last_bill_to_somebody_when_an_estimate_was_too_high(
        self, database: Database, meter: int, world: World
    ) -> None:
        await bill(database, 6)
        await bill(database, 7)
        await show(database, meter, {date(2026, 9, 1): "1150"})
        agreement = world.home.agreements[Service.ELECTRICITY]
        async with database.transaction() as session:
            (await session.get_one(Agreement, agreement)).ends_date = month(8).ends

        august = await bill(database, 8)

        assert august is not None
        assert (august.state, august.held_reason) == ("held", "ahead")


async def words(database: Database, found: Bill) -> str:
    async with database.transaction() as session:
        view = await get_bill(session, number=found.number, person_id=None)
    return describe_bill(Texts("en", timezone="Asia/Shanghai", currency="CNY"), view)


@pytest.mark.usefixtures("meter")
@pytest.mark.parametrize("locale", sorted(LOCALES))
async def test_an_estimate_is_marked_on_the_document(database: Database, locale: str) -> None:
    await bill(database, 6)
    july = await bill(database, 7)
    assert july is not None
    async with database.transaction() as session:
        view = await get_bill(session, number=july.number, person_id=None)
        operator = await get_operator(session)
    texts = Texts(locale, timezone="Asia/Shanghai", currency="CNY")

    page = bill_page(texts, operator, view)

    assert page.readings[1].source == texts.plain("page.source_estimate")
    assert texts.plain("bill.estimated", serial="E-10001") in page.notes
    assert page.usage[-1].is_estimated
    assert not page.usage[-2].is_estimated
    assert bill_pdf(page).startswith(b"%PDF")

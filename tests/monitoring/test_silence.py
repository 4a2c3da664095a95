"""Silence: of a meter, of a gateway, of all of them, and our own, which is nobody's."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from core.accounts.models import ApiKey, Contact, Service
from core.db import Database
from core.monitoring import gateway_silence
from core.monitoring.gateway_models import Hearing
from core.monitoring.gateway_silence import SilenceNotFound, list_silences, take_silence
from core.monitoring.ingest import NewSample, store_batch
from core.monitoring.models import SERVICE_OF, Alarm, Limit, Meter, Quantity
from core.monitoring.quality import QUANTITY_OF
from core.monitoring.ranges import set_limit
from core.monitoring.silence import look_for_silence
from core.monitoring.silence_rules import (
    FORGETTING,
    KNOWN_AFTER,
    LEAST,
    allow,
    is_gateway_silent,
    learn,
)
from core.notices.models import Delivery
from core.repairs.intake import take_up_alarms
from tests.billing.books import ask
from tests.street import Street, build_street
from tests.supply.debt import make_gateway
from tests.world import NOON, World

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
NORMAL = {Quantity.PRESSURE: Decimal(300), Quantity.VOLTAGE: Decimal(220)}
spans = st.integers(0, 40 * 24).map(lambda hours: hours * HOUR)


class TestLearn:
    @given(st.integers(30, 10 * 24 * 60), spans)
    def test_comes_to_know_every_regular_pause(self, minutes: int, usual: timedelta) -> None:
        pause = minutes * MINUTE
        for _ in range(6 * FORGETTING // pause + 6):
            usual = learn(usual, pause, allowed=allow(usual))

        assert pause <= usual < pause + 4 * HOUR
        assert pause < allow(usual)

    @given(st.integers(1, 12), st.integers(13, 23))
    def test_remembers_over_the_day_that_it_pauses_at_night(self, night: int, day: int) -> None:
        usual = night * HOUR
        for _ in range(2 * day):
            usual = learn(usual, HOUR / 2, allowed=allow(usual))

        assert night * HOUR < allow(usual)

    @given(spans, spans)
    def test_earns_no_more_by_a_long_silence_than_was_allowed(
        self, usual: timedelta, pause: timedelta
    ) -> None:
        assert learn(usual, pause, allowed=allow(usual)) <= max(usual, allow(usual))

    @given(spans, spans, spans)
    def test_allows_more_to_whom_pauses_longer(
        self, usual: timedelta, pause: timedelta, more: timedelta
    ) -> None:
        worst, allowed = max(usual, pause), allow(usual)
        assert learn(usual, worst, allowed=allowed) <= learn(usual, worst + more, allowed=allowed)
        assert LEAST <= allow(usual) <= allow(usual + more)
        assert allow(usual, known_for=KNOWN_AFTER - MINUTE) >= KNOWN_AFTER


class TestIsGatewaySilent:
    @given(st.integers(0, 50), st.integers(0, 50), spans, spans)
    def test_goes_on_to_be_true_when_more_is_silent(
        self, silent: int, speaking: int, unheard: timedelta, allowed: timedelta
    ) -> None:
        meters = silent + speaking + 1

        def judge(count: int, span: timedelta) -> bool:
            return is_gateway_silent(meters=meters, silent=count, unheard_for=span, allowed=allowed)

        assert judge(silent, unheard) <= judge(silent + 1, unheard)
        assert judge(silent, unheard) <= judge(silent, unheard + HOUR)


class Places:
    """The meters of the world, or of a street, as time goes by."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = NOON

    async def live(
        self, hours: int, *, speaking: dict[int, Iterable[int]], looks: bool = True
    ) -> None:
        """Let hours pass in which these meters (by gateway) speak, and everybody looks."""
        for _ in range(hours * 2):
            self.now += HOUR / 2
            for gateway, meters in speaking.items():
                await self.speak(gateway, meters)
            if looks:
                await self.look()

    async def known(self, *, speaking: dict[int, Iterable[int]]) -> None:
        """Let two days pass after which these meters are known to speak every two hours."""
        for _ in range(25):
            self.now += 2 * HOUR
            for gateway, meters in speaking.items():
                await self.speak(gateway, meters)
        await self.look()

    async def speak(self, gateway: int, meters: Iterable[int]) -> None:
        async with self.database.transaction() as session:
            found = await session.execute(
                select(Meter.serial, Meter.service_point_id).where(Meter.id.in_(list(meters)))
            )
            kinds = dict(
                await ask(self.database, "SELECT id, service FROM shuidian.service_points")
            )
            samples = [
                NewSample(
                    place,
                    serial,
                    QUANTITY_OF[Service(str(kinds[point]))],
                    self.now,
                    NORMAL[QUANTITY_OF[Service(str(kinds[point]))]],
                )
                for place, (serial, point) in enumerate(found.all())
            ]
            if samples:
                await store_batch(
                    session, gateway_id=gateway, readings=(), samples=samples, now=self.now
                )

    async def look(self) -> None:
        async with self.database.transaction() as session:
            await look_for_silence(session, now=self.now)
        async with self.database.transaction() as session:
            await take_up_alarms(session, now=self.now)

    async def repairs(self) -> list[tuple[object, ...]]:
        return [
            tuple(row)
            for row in await ask(
                self.database,
                "SELECT cause, service_point_id, normal_at IS NOT NULL FROM shuidian.repairs"
                " ORDER BY id",
            )
        ]

    async def silences(self) -> list[tuple[object, ...]]:
        return [
            tuple(row)
            for row in await ask(
                self.database,
                "SELECT gateway_id, silent, meters, ended_at IS NOT NULL"
                " FROM shuidian.gateway_silences ORDER BY id",
            )
        ]

    async def told(self, kind: str, person: int) -> int:
        async with self.database.transaction() as session:
            found = await session.scalars(
                select(Delivery.id)
                .join(Contact, Contact.id == Delivery.contact_id)
                .where(Delivery.kind == kind, Contact.person_id == person)
            )
            return len(found.all())


@pytest.fixture
def places(database: Database, world: World) -> Places:
    assert world
    return Places(database)


@pytest.fixture
async def street(database: Database, world: World) -> Street:
    return await build_street(database, world)


async def gateway_of(places: Places, name: str, meters: Iterable[int]) -> tuple[int, list[int]]:
    """Put meters behind a new gateway."""
    ids = list(meters)
    return await make_gateway(places.database, name, ids), ids


async def two_gateways(
    places: Places, street: Street, world: World
) -> tuple[int, list[int], int, list[int]]:
    """Return the gateway of a street with its meters, and that of one home with its own."""
    return (
        *await gateway_of(places, "a", homes(street)),
        *await gateway_of(places, "b", world.home.meters.values()),
    )


def homes(street: Street) -> list[int]:
    return [home.meter for home in street.homes]


class TestAMeter:
    async def test_that_is_silent_is_a_repair_until_it_speaks(
        self, places: Places, street: Street
    ) -> None:
        gateway, meters = await gateway_of(places, "a", homes(street))
        await places.known(speaking={gateway: meters})
        await places.live(8, speaking={gateway: meters[1:]})

        assert await places.repairs() == [("silent_meter", street.homes[0].point, False)]
        assert await places.silences() == []
        assert await places.told("repair.card", street.homes[0].holder) == 1
        await places.live(1, speaking={gateway: meters})
        assert await places.repairs() == [("silent_meter", street.homes[0].point, True)]
        ((quantity, end),) = await ask(
            places.database, "SELECT quantity, end_value FROM shuidian.alarms"
        )
        assert quantity == "silence"
        assert Decimal(str(end)) >= 7

    async def test_that_never_spoke_is_not_silent(self, places: Places, street: Street) -> None:
        gateway, meters = await gateway_of(places, "a", homes(street))
        await places.live(100, speaking={gateway: meters[:2]})

        assert await places.repairs() == []
        assert await places.silences() == []

    async def test_that_speaks_daily_is_not_silent_at_night(
        self, places: Places, street: Street
    ) -> None:
        gateway, (daily, *others) = await gateway_of(places, "a", homes(street))
        for _ in range(6):
            await places.live(1, speaking={gateway: [daily, *others]})
            await places.live(23, speaking={gateway: others})

        assert await places.repairs() == []

    async def test_is_known_at_the_first_look_by_what_it_sent_before(
        self, places: Places, street: Street
    ) -> None:
        gateway, meters = await gateway_of(places, "a", homes(street))
        await places.live(48, speaking={gateway: meters}, looks=False)
        await places.live(8, speaking={gateway: meters[1:]})

        assert len(await places.repairs()) == 1

    async def test_has_two_days_while_nothing_is_known_of_it(
        self, places: Places, street: Street
    ) -> None:
        gateway, meters = await gateway_of(places, "a", homes(street))
        await places.live(1, speaking={gateway: meters})
        await places.live(46, speaking={gateway: meters[1:]})
        assert await places.repairs() == []
        await places.live(5, speaking={gateway: meters[1:]})
        assert len(await places.repairs()) == 1

    async def test_has_the_time_that_its_limit_says(self, places: Places, street: Street) -> None:
        gateway, (patient, *others) = await gateway_of(places, "a", homes(street))
        async with places.database.transaction() as session:
            limit = Limit(
                quantity=Quantity.SILENCE,
                meter_id=patient,
                high=Decimal(24),
                deadband=Decimal(0),
                hold_seconds=0,
            )
            await set_limit(session, limit, now=NOON)
        await places.known(speaking={gateway: [patient, *others]})
        await places.live(22, speaking={gateway: others})
        assert await places.repairs() == []
        await places.live(4, speaking={gateway: others})
        assert len(await places.repairs()) == 1

    async def test_that_is_taken_away_is_not_missed_any_more(
        self, places: Places, street: Street
    ) -> None:
        gateway, meters = await gateway_of(places, "a", homes(street))
        await places.known(speaking={gateway: meters})
        await places.live(8, speaking={gateway: meters[1:]})
        async with places.database.transaction() as session:
            await session.execute(
                update(Meter).where(Meter.id == meters[0]).values(removed_at=places.now)
            )
        await places.live(1, speaking={gateway: meters[1:]})

        async with places.database.transaction() as session:
            assert await session.scalar(select(Alarm.id).where(Alarm.ended_at.is_(None))) is None

    async def test_is_looked_at_once_in_half_an_hour(self, places: Places, street: Street) -> None:
        gateway, meters = await gateway_of(places, "a", homes(street))
        await places.speak(gateway, meters)
        async with places.database.transaction() as session:
            assert await look_for_silence(session, now=places.now) == len(meters)
            assert await look_for_silence(session, now=places.now + 29 * MINUTE) == 0
            assert len(list(await session.scalars(select(Hearing)))) == len(meters)


class TestAGateway:
    async def test_that_is_silent_is_one_notice_and_no_repair(
        self, places: Places, street: Street, world: World
    ) -> None:
        first, mine, second, others = await two_gateways(places, street, world)
        await places.known(speaking={first: mine, second: others})
        await places.live(15, speaking={second: others})

        assert await places.silences() == [(first, 12, 12, False)]
        assert await places.repairs() == []
        assert await places.told("silence.gateway", world.manager) == 1
        assert await places.told("silence.again", world.manager) == 2
        assert await places.told("silence.gateway", street.homes[0].holder) == 0

        await places.live(8, speaking={first: mine, second: others})
        assert await places.silences() == [(first, 12, 12, True)]
        assert await places.told("silence.over", world.manager) == 1
        assert await places.repairs() == []

    async def test_is_not_repeated_once_somebody_takes_it(
        self, places: Places, street: Street, world: World
    ) -> None:
        first, mine, second, others = await two_gateways(places, street, world)
        await places.known(speaking={first: mine, second: others})
        await places.live(8, speaking={second: others})
        async with places.database.transaction() as session:
            (view,) = await list_silences(session)
            with pytest.raises(SilenceNotFound):
                await take_silence(
                    session,
                    silence_id=view.silence.id,
                    person_id=world.technician,
                    now=places.now,
                )
            for person in (world.second_manager, world.manager):
                view = await take_silence(
                    session, silence_id=view.silence.id, person_id=person, now=places.now
                )
                assert view.taken_by == "Chen Yu"
        await places.live(12, speaking={second: others})

        assert await places.told("silence.again", world.manager) == 0

    async def test_of_which_a_part_is_silent_is_one_notice_too(
        self, places: Places, street: Street
    ) -> None:
        gateway, meters = await gateway_of(places, "a", homes(street))
        await places.known(speaking={gateway: meters})
        await places.live(9, speaking={gateway: meters[4:]})
        assert await places.silences() == [(gateway, 4, 12, False)]
        assert await places.repairs() == []

        await places.live(1, speaking={gateway: meters[1:]})
        assert await places.silences() == [(gateway, 4, 12, True)]
        await places.live(8, speaking={gateway: meters[1:]})
        assert await places.repairs() == [("silent_meter", street.homes[0].point, False)]

    async def test_of_all_is_told_once_and_as_probably_ours(
        self, places: Places, street: Street, world: World
    ) -> None:
        first, mine, second, others = await two_gateways(places, street, world)
        await places.known(speaking={first: mine, second: others})
        await places.live(9, speaking={})

        assert await places.silences() == [(None, 14, 14, False)]
        await places.live(8, speaking={first: mine, second: others})
        assert await places.silences() == [(None, 14, 14, True)]
        assert await places.repairs() == []

    async def test_is_not_blamed_for_the_time_when_nobody_looked(
        self, places: Places, street: Street, world: World
    ) -> None:
        first, mine, second, others = await two_gateways(places, street, world)
        await places.known(speaking={first: mine, second: others})
        await places.live(72, speaking={}, looks=False)
        await places.live(3, speaking={})
        await places.live(3, speaking={first: mine[:3], second: others})
        await places.live(8, speaking={first: mine, second: others})

        assert await places.silences() == []
        assert await places.repairs() == []

    async def test_stays_silent_over_a_break_of_ours(
        self, places: Places, street: Street, world: World
    ) -> None:
        first, mine, second, others = await two_gateways(places, street, world)
        await places.known(speaking={first: mine, second: others})
        await places.live(8, speaking={second: others})
        await places.live(5, speaking={}, looks=False)
        await places.live(2, speaking={second: others})

        assert await places.silences() == [(first, 12, 12, False)]
        assert await places.told("silence.over", world.manager) == 0

    async def test_that_is_revoked_ends_without_a_word(
        self, places: Places, street: Street, world: World
    ) -> None:
        first, mine = await gateway_of(places, "a", homes(street))
        await places.known(speaking={first: mine})
        await places.live(8, speaking={})
        async with places.database.transaction() as session:
            (await session.get_one(ApiKey, first)).revoked_at = places.now
        await places.live(1, speaking={})

        assert await places.silences() == [(first, 12, 12, True)]
        assert await places.told("silence.over", world.manager) == 0
        async with places.database.transaction() as session:
            assert await gateway_silence.list_silent(session) == set()


def test_silence_is_no_sample() -> None:
    assert Quantity.SILENCE not in SERVICE_OF

"""
What is remembered of each gateway's meters, so that plain values need no look at the tables.

Nearly every value follows the last one of its register, or lies in the range of a calm quantity.
What was true when the last batch was committed tells that, as long as nobody else has written:
every writer gives the feed a new version, and what is remembered of another version is forgotten.
A transaction that is rolled back leaves the old version in the database and so has the same end.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import TypeVar
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import SCHEMA, lock_for_transaction
from core.monitoring.models import Limit, Meter, Quantity
from core.monitoring.partitions import ensure_months, months_of
from core.monitoring.ranges import SWITCHED_OFF, MeterFacts, Ranges, find_meters, load_ranges
from core.monitoring.registers import capacity_of
from core.monitoring.rows import Key, arrays, is_among

# What counts for all gateways (meters, places, limits) is the feed with this number.
EVERYBODY = 0
REMEMBERED_MAX = 200_000
LINES_AT_ONCE = 250
AHEAD_MAX = timedelta(minutes=5)
AGE_MAX = timedelta(days=3 * 366)
LAST_PLACE = Decimal("0.000001")
LAST_ADJUSTED = -20
SAMPLE_DIGITS_MAX = 6
TOP_SAMPLE = Decimal(10) ** SAMPLE_DIGITS_MAX - LAST_PLACE

_TAKE = text(
    f"""
    UPDATE {SCHEMA}.feeds f SET version = gen_random_uuid()
    FROM (SELECT version FROM {SCHEMA}.feeds WHERE id = :id FOR UPDATE) was
    WHERE f.id = :id
    RETURNING was.version, f.version,
        (SELECT version FROM {SCHEMA}.feeds WHERE id = {EVERYBODY})
    """  # noqa: S608 (a constant)
)
_MAKE = text(
    f"""
    INSERT INTO {SCHEMA}.feeds (id, version) VALUES (:id, gen_random_uuid())
    ON CONFLICT DO NOTHING
    """  # noqa: S608 (a constant)
)
_LAST_READINGS = text(
    f"""
    SELECT k.i, r.taken_at, r.value
    FROM unnest(CAST(:meters AS bigint[]), CAST(:names AS text[]))
        WITH ORDINALITY k (meter_id, name, i)
    CROSS JOIN LATERAL (
        SELECT taken_at, value, status, source FROM {SCHEMA}.readings r
        WHERE r.meter_id = k.meter_id AND r.register = k.name
        ORDER BY taken_at DESC LIMIT 1
    ) r
    WHERE r.status = 'accepted' AND r.source <> 'estimate'
    """  # noqa: S608 (a constant)
)
_LAST_CALM_SAMPLES = text(
    f"""
    SELECT k.i, s.taken_at
    FROM unnest(CAST(:meters AS bigint[]), CAST(:names AS text[]))
        WITH ORDINALITY k (meter_id, name, i)
    CROSS JOIN LATERAL (
        SELECT taken_at FROM {SCHEMA}.samples s
        WHERE s.meter_id = k.meter_id AND s.quantity = k.name
        ORDER BY taken_at DESC LIMIT 1
    ) s
    WHERE NOT EXISTS (
        SELECT FROM {SCHEMA}.watches w WHERE w.meter_id = k.meter_id AND w.quantity = k.name
    )
    """  # noqa: S608 (a constant)
)
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


Item = TypeVar("Item", bound=tuple[int, str, str, datetime, Decimal])
Name = tuple[str, str]  # a serial, and a register or quantity


class _Course:
    """What is plain next: after `at`, from `low` to `high`; a register may go on by `room`."""

    __slots__ = ("at", "high", "low", "prefix", "room", "top")

    def __init__(self, prefix: str, at: datetime, *, low: Decimal, top: Decimal) -> None:
        self.prefix, self.at, self.low, self.high, self.top = prefix, at, low, top, top
        self.room: Decimal | None = None


Courses = dict[Name, _Course]


class Feed:
    """What is remembered of one gateway, as it was at a version of its rows and of the rules."""

    def __init__(self) -> None:
        self.versions: tuple[UUID, UUID | None] | None = None
        self.months: set[tuple[int, int]] = set()
        self.meters: dict[str, MeterFacts] = {}
        self.ranges: Ranges | None = None
        self.readings: Courses = {}
        self.samples: Courses = {}

    def forget(self) -> None:
        """Remember nothing."""
        self.ranges = None
        self.months, self.meters, self.readings, self.samples = set(), {}, {}, {}

    def pick_plain(
        self, courses: Courses, items: Iterable[Item], rest: list[Item], *, tail: str, now: datetime
    ) -> Iterator[str]:
        """
        Yield the lines of COPY for plain values, some at a time; the others are added to `rest`.

        In the order of time, and what follows a value that is not plain is not plain either.
        """
        oldest, newest = now - AGE_MAX, now + AHEAD_MAX
        is_near, shown, seen = False, "", None
        lines: list[str] = []
        for item in sorted(items, key=itemgetter(3)):
            _, serial, name, taken_at, value = item
            if taken_at is not seen:  # a batch often has one moment
                seen, at = taken_at, taken_at.astimezone(UTC)
                is_near = oldest <= at <= newest and (at.year, at.month) in self.months
                shown = str(at)
            course = courses.get((serial, name))
            if (
                course is None
                or not is_near
                or not course.at < at
                or not course.low <= value <= course.high
                or value % LAST_PLACE
                or value.adjusted() < LAST_ADJUSTED
            ):
                rest.append(item)
                courses.pop((serial, name), None)
                continue
            lines.append(f"{course.prefix}{shown}\t{value}{tail}")
            course.at = at
            if course.room is not None:
                course.low, high = value, value + course.room
                course.high = high if high < course.top else course.top  # noqa: FURB136 (min is slow)
            if len(lines) == LINES_AT_ONCE:
                yield "".join(lines)
                lines.clear()
        if lines:
            yield "".join(lines)

    async def find_meters(
        self, session: AsyncSession, serials: Collection[str]
    ) -> Mapping[str, MeterFacts]:
        """Return the meters with these serials."""
        if len(self.meters) > REMEMBERED_MAX:
            self.forget()
        if unknown := serials - self.meters.keys():
            found = await find_meters(session, is_among(Meter.serial, unknown))
            self.meters |= {meter.serial: meter for meter in found}
        return self.meters

    async def load_ranges(self, session: AsyncSession, *, gateway_id: int) -> Ranges:
        """Return what is normal for the gateway's meters."""
        if self.ranges is None:
            own = select(Meter.id).where(Meter.gateway_id == gateway_id)
            self.ranges = await load_ranges(session, Limit.meter_id.in_(own))
        return self.ranges

    async def ensure_months(self, session: AsyncSession, keys: Iterable[Key]) -> None:
        """Make the partitions for these keys, where they are missing."""
        new = {
            month
            for month in months_of(key.taken_at for key in keys)
            if (month.year, month.month) not in self.months
        }
        if new:
            await ensure_months(session, new)
            self.months |= {(month.year, month.month) for month in new}

    async def learn_readings(
        self, session: AsyncSession, names: Iterable[Name], *, meters: Mapping[str, MeterFacts]
    ) -> None:
        """Remember the registers whose newest reading is accepted, of working meters."""
        wanted = self._wanted(names, meters)
        if not wanted:
            return
        rows = await session.execute(
            _LAST_READINGS, arrays("meters names", [(m.id, name) for m, name in wanted])
        )
        for number, at, value in rows:
            meter, name = wanted[number - 1]
            top = capacity_of(meter.digits) - LAST_PLACE
            course = _Course(_prefix(meter, name), at, low=value, top=top)
            course.room = meter.ceiling
            course.high = min(value + meter.ceiling, top)
            self.readings[meter.serial, name] = course

    async def learn_samples(
        self,
        session: AsyncSession,
        names: Iterable[Name],
        *,
        meters: Mapping[str, MeterFacts],
        ranges: Ranges,
    ) -> None:
        """Remember the calm quantities of working meters that are not switched off."""
        wanted = [
            each for each in self._wanted(names, meters) if each[0].supply not in SWITCHED_OFF
        ]
        if not wanted:
            return
        rows = await session.execute(
            _LAST_CALM_SAMPLES, arrays("meters names", [(m.id, name) for m, name in wanted])
        )
        for number, at in rows:
            meter, name = wanted[number - 1]
            usual = ranges.of(meter, Quantity(name))
            self.samples[meter.serial, name] = _Course(
                _prefix(meter, name),
                at,
                low=max(usual.low or Decimal(0), Decimal(0)),
                top=TOP_SAMPLE if usual.high is None else min(usual.high, TOP_SAMPLE),
            )

    def _wanted(
        self, names: Iterable[Name], meters: Mapping[str, MeterFacts]
    ) -> list[tuple[MeterFacts, str]]:
        if len(self.readings) + len(self.samples) > REMEMBERED_MAX:
            self.forget()
        return [
            (meters[serial], name)
            for serial, name in dict.fromkeys(names)
            if serial in meters and meters[serial].removed_at is None
        ]


def _prefix(meter: MeterFacts, name: str) -> str:
    return f"{meter.id}\t{name.translate(_ESCAPES)}\t"


async def take_feed(session: AsyncSession, *, gateway_id: int) -> Feed:
    """
    Return what is remembered of a gateway; until the transaction ends nobody else writes for it.

    The rows that are then written must agree with what is remembered at the end.
    """
    remembered: dict[int, Feed] = session.info["feeds"]
    feed = remembered.setdefault(gateway_id, Feed())
    was, version, rules = await _renew(session, gateway_id)
    if feed.versions != (was, rules):
        feed.forget()
        if sum(len(each.meters) for each in remembered.values()) > REMEMBERED_MAX:
            remembered.clear()
            remembered[gateway_id] = feed
    feed.versions = (version, rules)
    return feed


async def hold_meter(session: AsyncSession, meter: MeterFacts) -> None:
    """
    Let nobody else write a meter's readings until the transaction ends.

    To be called before anything that changes readings or watches, unless a gateway sent it.
    """
    gateway_id = meter.gateway_id
    while True:
        if gateway_id is None:
            await lock_for_transaction(session, f"meter:{meter.id}")
        else:
            await _renew(session, gateway_id)
        now_at = await session.scalar(select(Meter.gateway_id).where(Meter.id == meter.id))
        if now_at == gateway_id:
            return
        gateway_id = now_at  # it was moved while we waited


async def hold_all_meters(session: AsyncSession) -> None:
    """Let nobody else write readings of any gateway until the transaction ends."""
    await session.execute(text(f"LOCK TABLE {SCHEMA}.feeds IN SHARE ROW EXCLUSIVE MODE"))
    await session.execute(text(f"UPDATE {SCHEMA}.feeds SET version = gen_random_uuid()"))  # noqa: S608


async def _renew(session: AsyncSession, gateway_id: int) -> tuple[UUID, UUID, UUID | None]:
    """Lock a feed; return its version before and now, and that of what counts for all."""
    row = (await session.execute(_TAKE, {"id": gateway_id})).one_or_none()
    if row is None:
        await session.execute(_MAKE, {"id": gateway_id})
        row = (await session.execute(_TAKE, {"id": gateway_id})).one()
    was, version, rules = row
    return was, version, rules

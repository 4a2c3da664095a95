"""A gateway's batch: every item is stored, known already, held, or refused with a reason."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from reprlib import Repr
from typing import Literal, NamedTuple

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import SCHEMA
from core.monitoring.feeds import (
    AGE_MAX,
    AHEAD_MAX,
    LAST_ADJUSTED,
    LAST_PLACE,
    SAMPLE_DIGITS_MAX,
    Feed,
    take_feed,
)
from core.monitoring.gateway_models import Quarantined
from core.monitoring.gateways import count_batch
from core.monitoring.models import SERVICE_OF, Quantity, Source
from core.monitoring.ranges import MeterFacts, Ranges
from core.monitoring.registers import capacity_of
from core.monitoring.rows import Key, Rows, add_readings, add_samples, copy_lines
from core.monitoring.settling import dispute, settle
from core.monitoring.watching import judge_samples, load_courses

PAYLOAD_LENGTH_MAX = 500
NO_TIME = timedelta(0)
COPY_READINGS = (
    f"COPY {SCHEMA}.readings (meter_id, register, taken_at, value, source, status, received_at)"
    " FROM STDIN"
)
COPY_SAMPLES = f"COPY {SCHEMA}.samples (meter_id, quantity, taken_at, value) FROM STDIN"

_PRINTER = Repr()
_PRINTER.maxstring = _PRINTER.maxother = PAYLOAD_LENGTH_MAX // 2
_PRINTER.maxlevel = 3

Kind = Literal["readings", "samples", "messages"]


class Reason(StrEnum):
    """Why an item was refused."""

    NOT_AN_OBJECT = "not_an_object"
    NO_METER = "no_meter"
    NO_REGISTER = "no_register"
    UNKNOWN_QUANTITY = "unknown_quantity"
    NOT_A_NUMBER = "not_a_number"
    NOT_A_TIME = "not_a_time"
    UNKNOWN_METER = "unknown_meter"
    NOT_YOUR_METER = "not_your_meter"
    WRONG_SERVICE = "wrong_service"
    IN_THE_FUTURE = "in_the_future"
    TOO_OLD = "too_old"
    NOT_INSTALLED = "not_installed"
    REMOVED = "removed"
    NEGATIVE = "negative"
    TOO_MANY_DIGITS = "too_many_digits"
    CONFLICT = "conflict"
    NOT_JSON = "not_json"
    UNKNOWN_TOPIC = "unknown_topic"
    UNKNOWN_UNIT = "unknown_unit"
    NOTHING_MEASURED = "nothing_measured"
    IMPOSSIBLE = "impossible"
    BROKEN = "broken"
    NOT_STORABLE = "not_storable"


class NewReading(NamedTuple):
    """What a gateway says a register shows; `position` is its place in the batch."""

    position: int
    serial: str
    register: str
    taken_at: datetime
    value: Decimal

    @property
    def name(self) -> str:
        """The register."""
        return self.register


class NewSample(NamedTuple):
    """What a gateway says it measured; `position` is its place in the batch."""

    position: int
    serial: str
    quantity: Quantity
    taken_at: datetime
    value: Decimal

    @property
    def name(self) -> str:
        """The quantity."""
        return self.quantity.value


class Rejected(NamedTuple):
    """An item that was refused, by its place in the batch, and what it was."""

    kind: Kind
    position: int
    reason: Reason
    payload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a batch: `received` is always the sum of the four counts."""

    accepted: int
    duplicate: int
    held: int
    rejected: tuple[Rejected, ...]
    alarm_ids: tuple[int, ...]

    @property
    def received(self) -> int:
        """How many items the batch had."""
        return self.accepted + self.duplicate + self.held + len(self.rejected)

    @property
    def counts(self) -> dict[str, int]:
        """The counts by their names."""
        return {
            "received": self.received,
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "held": self.held,
            "rejected": len(self.rejected),
        }


class _Batch:
    """The items of one kind, each sorted into one of the four."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.rows: Rows = {}
        self.items: dict[Key, NewReading | NewSample] = {}
        self.disputed: set[Key] = set()
        self.duplicate = 0
        self.rejected: list[Rejected] = []

    def add(self, key: Key, item: NewReading | NewSample) -> None:
        """Take an item; the first of a key counts, others repeat or contradict it."""
        known = self.rows.setdefault(key, item.value)
        if self.items.setdefault(key, item) is not item:
            self.repeat(key, item, known)

    def repeat(self, key: Key, item: NewReading | NewSample, known: Decimal) -> None:
        """Count an item whose key has a value."""
        if item.value == known:
            self.duplicate += 1
        else:
            self.reject(item, Reason.CONFLICT)
            self.disputed.add(key)

    def reject(self, item: NewReading | NewSample, reason: Reason) -> None:
        """Refuse an item."""
        self.rejected.append(Rejected(self.kind, item.position, reason, payload=printed(item)))

    def drop(self, taken: Rows) -> None:
        """Count the items whose key was stored before."""
        for key, known in taken.items():
            del self.rows[key]
            self.repeat(key, self.items[key], known)


async def store_batch(
    session: AsyncSession,
    *,
    gateway_id: int,
    readings: Sequence[NewReading],
    samples: Sequence[NewSample],
    unreadable: Sequence[Rejected] = (),
    now: datetime,
) -> Receipt:
    """
    Store what a gateway sent, judge the samples, and tell what became of each item.

    The same batch again changes nothing. Batches of one gateway wait for each other, and only
    one gateway writes a meter, so no alarm is raised twice. The alarms raised and ended are in
    the receipt; in their rows it stands that nobody has taken them up.
    """
    feed = await take_feed(session, gateway_id=gateway_id)
    readings_left, samples_left = list[NewReading](), list[NewSample]()
    tail = f"\tgateway\taccepted\t{now.isoformat()}\n"
    plain = await copy_lines(
        session,
        COPY_READINGS,
        feed.pick_plain(feed.readings, readings, readings_left, tail=tail, now=now),
    ) + await copy_lines(
        session,
        COPY_SAMPLES,
        feed.pick_plain(feed.samples, samples, samples_left, tail="\n", now=now),
    )
    receipt = await _look_into(
        session,
        feed,
        gateway_id=gateway_id,
        readings=readings_left,
        samples=samples_left,
        unreadable=unreadable,
        now=now,
    )
    turned = _count_turned(readings, readings_left, receipt.rejected)
    receipt = replace(
        receipt, accepted=receipt.accepted + plain - turned, held=receipt.held + turned
    )
    if not receipt.counts["received"]:
        return receipt  # who sends nothing has not spoken
    latest = max([now, *(each.taken_at for left in (readings_left, samples_left) for each in left)])
    await count_batch(
        session, receipt.counts, gateway_id=gateway_id, ahead=max(latest - now, NO_TIME), now=now
    )
    return receipt


async def _look_into(
    session: AsyncSession,
    feed: Feed,
    *,
    gateway_id: int,
    readings: Sequence[NewReading],
    samples: Sequence[NewSample],
    unreadable: Sequence[Rejected],
    now: datetime,
) -> Receipt:
    """Find out about values that are not plain, or of which nothing is remembered."""
    registers, measured = _Batch("readings"), _Batch("samples")
    held, alarm_ids = 0, list[int]()
    if readings or samples:
        serials = {item.serial for item in readings} | {item.serial for item in samples}
        serials = {serial for serial in serials if serial.isprintable()}
        meters = await feed.find_meters(session, serials)
        for batch, items in ((registers, readings), (measured, samples)):
            for item in items:
                meter = meters.get(item.serial)
                if meter is None:
                    batch.reject(item, Reason.UNKNOWN_METER)
                elif reason := find_reason(meter, item, gateway_id=gateway_id, now=now):
                    batch.reject(item, reason)
                else:
                    batch.add(Key(meter.id, item.name, item.taken_at), item)
        await feed.ensure_months(session, (*registers.rows, *measured.rows))
        found = [meters[serial] for serial in serials & meters.keys()]
        ranges = await feed.load_ranges(session, gateway_id=gateway_id)
        held = await _store_readings(session, registers, found, now=now)
        alarm_ids = await _store_samples(session, measured, found, ranges=ranges)
        own = {meter.serial: meter for meter in found if meter.gateway_id == gateway_id}
        await feed.learn_readings(session, (item[1:3] for item in readings), meters=own)
        await feed.learn_samples(
            session, (item[1:3] for item in samples), meters=own, ranges=ranges
        )
    rejected = (*unreadable, *registers.rejected, *measured.rejected)
    await _quarantine(session, rejected, gateway_id=gateway_id, now=now)
    return Receipt(
        accepted=len(registers.rows) + len(measured.rows) - held,
        duplicate=registers.duplicate + measured.duplicate,
        held=held,
        rejected=rejected,
        alarm_ids=tuple(alarm_ids),
    )


def _count_turned(
    sent: Sequence[NewReading], left: Sequence[NewReading], rejected: Iterable[Rejected]
) -> int:
    """Return how many plain readings were contradicted by another one of their own batch."""
    if not any(item.reason is Reason.CONFLICT for item in rejected):
        return 0
    plain = Counter(item[1:4] for item in sent)
    plain.subtract(Counter(item[1:4] for item in left))
    kept = {item[1:4]: item.value for item in reversed(sent) if plain[item[1:4]]}
    return len({item[1:4] for item in left if item.value != kept.get(item[1:4], item.value)})


def find_reason(
    meter: MeterFacts, item: NewReading | NewSample, *, gateway_id: int | None, now: datetime
) -> Reason | None:
    """Return why an item cannot be stored, if there is a reason."""
    if isinstance(item, NewSample) and meter.service is not SERVICE_OF.get(item.quantity):
        reason = Reason.WRONG_SERVICE
    elif meter.gateway_id != gateway_id:
        reason = Reason.NOT_YOUR_METER
    elif item.taken_at > now + AHEAD_MAX:
        reason = Reason.IN_THE_FUTURE
    elif item.taken_at < now - AGE_MAX:
        reason = Reason.TOO_OLD
    elif item.taken_at < meter.installed_at:
        reason = Reason.NOT_INSTALLED
    elif meter.removed_at is not None and item.taken_at > meter.removed_at:
        reason = Reason.REMOVED
    else:
        is_sample = isinstance(item, NewSample)
        return too_long(item.value, digits=SAMPLE_DIGITS_MAX if is_sample else meter.digits)
    return reason


def too_long(value: Decimal, *, digits: int) -> Reason | None:
    """Return why a register or sensor of so many digits cannot show a value, if it cannot."""
    if value < 0:
        return Reason.NEGATIVE
    capacity = capacity_of(digits)
    # A zero of a million places is a number to Python, and none to the database.
    if not LAST_ADJUSTED <= value.adjusted() <= capacity.adjusted() or (
        value >= capacity or value % LAST_PLACE
    ):
        return Reason.TOO_MANY_DIGITS
    return None


async def _store_readings(
    session: AsyncSession, batch: _Batch, meters: Iterable[MeterFacts], *, now: datetime
) -> int:
    if not batch.rows:
        return 0
    by_id = {meter.id: meter for meter in meters}
    batch.drop(await add_readings(session, batch.rows, source=Source.GATEWAY, received_at=now))
    held = await settle(session, batch.rows, meters=by_id)
    if batch.disputed:
        await dispute(session, batch.disputed, meters=by_id)
    return len((held | batch.disputed) & batch.rows.keys())


async def _store_samples(
    session: AsyncSession, batch: _Batch, meters: Iterable[MeterFacts], *, ranges: Ranges
) -> list[int]:
    if not batch.rows:
        return []
    by_id = {meter.id: meter for meter in meters}
    courses = await load_courses(session, batch.rows, meters=by_id, ranges=ranges)
    batch.drop(await add_samples(session, batch.rows))
    return await judge_samples(session, batch.rows, courses=courses, meters=by_id, ranges=ranges)


async def _quarantine(
    session: AsyncSession, rejected: Sequence[Rejected], *, gateway_id: int, now: datetime
) -> None:
    if rejected:
        await session.execute(
            insert(Quarantined),
            [
                {
                    "gateway_id": gateway_id,
                    "received_at": now,
                    "reason": item.reason.value,
                    "payload": {"list": item.kind, "position": item.position, "item": item.payload},
                }
                for item in rejected
            ],
        )


def printed(item: object) -> str:
    """Return an item for people to read, cut to a bound and without invisible characters."""
    return _PRINTER.repr(item)[:PAYLOAD_LENGTH_MAX]

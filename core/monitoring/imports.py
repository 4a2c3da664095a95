"""Meters and readings from the rows of a file, all of it or nothing."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core import audit
from core.accounts.models import Account, Agreement, ApiKey, Service, ServicePoint
from core.accounts.service import get_operator
from core.db import SCHEMA
from core.importing import Fault, Outcome, Shelf, agree, among, wait_for_others
from core.monitoring.feeds import AGE_MAX, hold_all_meters
from core.monitoring.ingest import NewReading, Reason, find_reason, too_long
from core.monitoring.models import Meter, Source
from core.monitoring.partitions import ensure_months, months_of
from core.monitoring.ranges import find_meters
from core.monitoring.rows import Key, Rows, add_readings, arrays
from core.monitoring.service import TOTAL
from core.monitoring.settling import settle
from core.periods import start_of_day

DIGITS_MAX = 12
BITS_MIN, BITS_MAX = 8, 40
VOUCHED = {Source.STAFF, Source.TECHNICIAN}
ABOUT_VALUE = {Reason.NEGATIVE, Reason.TOO_MANY_DIGITS}
_STORED = text(
    f"""
    SELECT k.meter_id, k.register, k.taken_at, r.value, r.source FROM unnest(
        CAST(:meters AS bigint[]), CAST(:registers AS text[]), CAST(:moments AS timestamptz[])
    ) k (meter_id, register, taken_at)
    JOIN {SCHEMA}.readings r USING (meter_id, register, taken_at)
    """  # noqa: S608 (a constant)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterRow:
    """
    A meter of an account's service, read `initial` on the day when it was installed.

    What is None is not told: a new meter gets the usual, a known one keeps what it has.

    Units: `ceiling` m³ or kWh an hour; `initial` as the register shows it.
    """

    position: int
    account: str
    service: Service
    serial: str
    installed: date
    digits: int
    multiplier: Decimal | None = None
    initial: Decimal | None = None
    ceiling: Decimal | None = None
    gateway: str | None = None
    device: str | None = None
    switchable: bool | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database knows of the rows' meters, and of the places where they are."""

    points: Mapping[tuple[str, Service], int]
    meters: Mapping[str, Meter]
    working: Mapping[int, str]
    gateways: Mapping[str, int]
    devices: Mapping[tuple[int, str], str]
    initials: Mapping[str, Decimal]

    def find_gateway(self, row: MeterRow) -> int | None:
        """Return the gateway that a meter has after its row."""
        meter = self.meters.get(row.serial)
        return self.gateways.get(row.gateway or "") or (meter.gateway_id if meter else None)


async def import_meters(
    session: AsyncSession, rows: Sequence[MeterRow], *, now: datetime
) -> Outcome:
    """
    Store meters with their first readings, or tell why that cannot be.

    The result does not depend on the order of the rows, and the same rows again change nothing.
    A meter stays where it is and keeps the day of its installation and its first reading.
    """
    await wait_for_others(session)
    await hold_all_meters(session)
    zone = ZoneInfo((await get_operator(session)).timezone)
    starts = {row.position: start_of_day(row.installed, zone=zone) for row in rows}
    faults: list[Fault] = []
    fields = "account service installed digits multiplier initial ceiling gateway device switchable"
    told = agree(rows, by=lambda row: row.serial, fields=fields, faults=faults)
    agree(rows, by=lambda row: (row.account, row.service), fields="serial", faults=faults)
    known = await _load(session, rows, starts)
    named = [row for row in rows if row.device is not None]
    agree(
        named, by=lambda row: (known.find_gateway(row), row.device), fields="serial", faults=faults
    )
    for row in rows:
        faults += _find_misplaced(row, known, starts[row.position])
        faults += _find_impossible(row, starts[row.position], now=now)
    if faults:
        return Outcome(faults=faults)
    shelf = Shelf(session)
    meters = {
        serial: shelf.put(
            Meter,
            known.meters.get(serial),
            serial=serial,
            service_point_id=known.points[said["account"], said["service"]],
            digits=said["digits"],
            multiplier=said.get("multiplier"),
            ceiling=said.get("ceiling"),
            installed_at=start_of_day(said["installed"], zone=zone),
            gateway_id=known.gateways.get(said.get("gateway", "")),
            device=said.get("device"),
            switchable=said.get("switchable"),
        )
        for serial, said in told.items()
    }
    await session.flush()
    first: Rows = {}
    for serial, meter in meters.items():
        if "initial" in told[serial] and serial not in known.initials:
            first[Key(meter.id, TOTAL, meter.installed_at)] = told[serial]["initial"]
            shelf.note(meter, "initial", "", told[serial]["initial"])
    if first:
        await _claim(session, (key.taken_at for key in first))
        await add_readings(session, first, source=Source.STAFF, received_at=now)
        found = await find_meters(session, among(Meter.id, (key.meter_id for key in first)))
        await settle(session, first, meters={meter.id: meter for meter in found})
    new = sum(shelf.is_new(meter) for meter in meters.values())
    changed = 0
    for serial, meter in meters.items():
        changes = shelf.changes_of(meter)
        changed += bool(changes)
        if changes or shelf.is_new(meter):
            about = f"meter:{serial}"
            audit.record(
                session, at=now, actor_id=None, action="meter.imported", subject=about, **changes
            )
    return Outcome(new=new, changed=changed, unchanged=len(rows) - new - changed)


async def _load(
    session: AsyncSession, rows: Sequence[MeterRow], starts: Mapping[int, datetime]
) -> _Known:
    points = await session.execute(
        select(Account.number, ServicePoint.service, ServicePoint.id)
        .join(Agreement, Agreement.account_id == Account.id)
        .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
        .where(among(Account.number, (row.account for row in rows)))
    )
    by_place = {(number, service): point for number, service, point in points}
    working = await session.execute(
        select(Meter.service_point_id, Meter.serial).where(
            among(Meter.service_point_id, by_place.values()), Meter.removed_at.is_(None)
        )
    )
    found = await session.scalars(
        select(Meter).where(among(Meter.serial, (row.serial for row in rows)))
    )
    meters = {meter.serial: meter for meter in found}
    devices = await session.execute(
        select(Meter.gateway_id, Meter.device, Meter.serial).where(
            among(Meter.device, (row.device for row in rows if row.device is not None)),
            Meter.gateway_id.is_not(None),
            Meter.removed_at.is_(None),
        )
    )
    gateways = await session.execute(
        select(ApiKey.name, ApiKey.id).where(ApiKey.scope == "gateway", ApiKey.revoked_at.is_(None))
    )
    first = {
        Key(meters[row.serial].id, TOTAL, starts[row.position]): row.serial
        for row in rows
        if row.serial in meters
    }
    initials = {
        first[key]: value for key, (value, _) in (await _find_stored(session, first)).items()
    }
    return _Known(
        by_place,
        meters,
        {point: serial for point, serial in working},  # noqa: C416 (rows are no pairs to mypy)
        {name: key_id for name, key_id in gateways},  # noqa: C416 (the same)
        {(key_id or 0, device or ""): serial for key_id, device, serial in devices},
        initials,
    )


def _fault(row: MeterRow | NewReading, field: str, reason: str, value: object = None) -> Fault:
    return Fault(row.position, field, f"import.{reason}", {"value": value})


def _find_misplaced(row: MeterRow, known: _Known, starts_at: datetime) -> Iterator[Fault]:
    """Yield what contradicts the places and meters that are known."""
    point = known.points.get((row.account, row.service))
    meter = known.meters.get(row.serial)
    if point is None:
        yield _fault(row, "account", "no_supply", row.account)
    elif meter is None and point in known.working:
        yield _fault(row, "serial", "other_meter", known.working[point])
    elif meter is not None and (meter.service_point_id != point or meter.removed_at):
        yield _fault(row, "serial", "meter_elsewhere", row.serial)
    if row.gateway not in known.gateways and row.gateway is not None:
        yield _fault(row, "gateway", "no_gateway", row.gateway)
    owner = known.devices.get((known.find_gateway(row) or 0, row.device or ""), row.serial)
    if owner != row.serial:
        yield _fault(row, "device", "device_taken", owner)
    if meter is not None and meter.installed_at != starts_at:
        yield _fault(row, "installed", "fixed", meter.installed_at)
    elif known.initials.get(row.serial, row.initial) != row.initial and row.initial is not None:
        yield _fault(row, "initial", "fixed", known.initials[row.serial])


def _find_impossible(row: MeterRow, starts_at: datetime, *, now: datetime) -> Iterator[Fault]:
    """Yield what no meter can be."""
    if not (1 <= row.digits <= DIGITS_MAX or -BITS_MAX <= row.digits <= -BITS_MIN):
        yield _fault(row, "digits", "not_digits", DIGITS_MAX)
    elif row.initial is not None and (reason := too_long(row.initial, digits=row.digits)):
        yield _fault(row, "initial", reason, row.initial)
    for field, number in (("multiplier", row.multiplier), ("ceiling", row.ceiling)):
        if number is not None and number <= 0:
            yield _fault(row, field, "not_positive", number)
    if starts_at > now:
        yield _fault(row, "installed", "in_the_future", row.installed)
    elif row.initial is not None and starts_at < now - AGE_MAX:
        yield _fault(row, "initial", "too_old", row.installed)


async def import_readings(
    session: AsyncSession, rows: Sequence[NewReading], *, now: datetime
) -> Outcome:
    """
    Store readings, or tell why that cannot be; one that jumps or goes back is held.

    The result does not depend on the order of the rows, and the same rows again change nothing,
    also after a person corrected one of them.
    """
    await wait_for_others(session)
    await hold_all_meters(session)
    found = await find_meters(session, among(Meter.serial, (row.serial for row in rows)))
    meters = {meter.serial: meter for meter in found}
    faults: list[Fault] = []
    agree(
        rows,
        by=lambda row: (row.serial, row.register, row.taken_at),
        fields="value",
        faults=faults,
    )
    for row in rows:
        meter = meters.get(row.serial)
        if meter is None:
            faults.append(_fault(row, "serial", "unknown_meter", row.serial))
        elif reason := find_reason(meter, row, gateway_id=meter.gateway_id, now=now):
            field = "value" if reason in ABOUT_VALUE else "taken_at"
            faults.append(_fault(row, field, reason, getattr(row, field)))
    wrong = {fault.position for fault in faults}
    read = {
        Key(meters[row.serial].id, row.register, row.taken_at): row
        for row in rows
        if row.position not in wrong
    }
    if not faults:
        await _claim(session, (key.taken_at for key in read))
    stored = await _find_stored(session, read)
    for key, (value, source) in stored.items():
        if value != read[key].value and source not in VOUCHED:
            faults.append(_fault(read[key], "value", "conflict", value))
    fresh = {key: row.value for key, row in read.items() if key not in stored}
    if faults or not fresh:
        return Outcome(unchanged=len(rows) - len(faults), faults=faults)
    await add_readings(session, fresh, source=Source.GATEWAY, received_at=now)
    held = await settle(session, fresh, meters={meter.id: meter for meter in found})
    return Outcome(new=len(fresh), held=len(held & fresh.keys()), unchanged=len(rows) - len(fresh))


async def _claim(session: AsyncSession, moments: Iterable[datetime]) -> None:
    """
    Let nobody else write readings until this transaction ends.

    A lock for each meter, as others take it, could be more than the server has room for. The
    months come first: who makes them waits for nobody that writes.
    """
    await ensure_months(session, months_of(moments))
    await session.execute(text(f"LOCK TABLE {SCHEMA}.readings IN SHARE ROW EXCLUSIVE MODE"))


async def _find_stored(
    session: AsyncSession, keys: Collection[Key]
) -> dict[Key, tuple[Decimal, str]]:
    if not keys:
        return {}
    rows = await session.execute(_STORED, arrays("meters registers moments", keys))
    return {Key(*row[:3]): (row.value, row.source) for row in rows}

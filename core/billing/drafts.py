"""Bills before they are bills: what each agreement of a chunk would be billed. Only reads."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Service
from core.accounts.service import get_operator
from core.billing import registers
from core.billing.back_billing import OLD
from core.billing.calculation import Basis, ComputedBill, attributes_asked, compute_bill
from core.billing.consumption import BilledSpan, consumption_of
from core.billing.holds import find_reason_to_hold
from core.billing.inputs import read_ahead, read_closings, write_inputs, write_versions
from core.billing.intervals import needs_intervals, read_intervals
from core.billing.late_fees import LatePayment
from core.billing.late_payments import read_late_payments
from core.billing.registers import NoReading, Window
from core.billing.tariff_model import Interval, TariffNotInForce, TariffVersion, version_on
from core.billing.tariff_model import Window as WindowOfTiers
from core.billing.tariff_store import StoredTariff, get_tariffs
from core.db import SCHEMA
from core.errors import DomainError
from core.money import divide
from core.monitoring.rows import Key, Rows, array, arrays
from core.periods import Period, start_of_day, year_of

DAILY_DIGITS = 6
_AT_ONCE = 20  # bills between two turns for whatever else the process has to do

_SUBJECTS = f"""
SELECT a.id, a.service_point_id, a.tariff_code, a.starts_date, a.ends_date,
       p.customer_class, p.attributes, h.household_size, h.address, c.number,
       b.ends_date AS billed_until, b.state AS last_state,
       b.inputs - ARRAY['parts', 'tariff', 'intervals', 'quantities'] AS last_inputs,
       u.usual_per_day
  FROM {SCHEMA}.agreements a
  JOIN {SCHEMA}.service_points p ON p.id = a.service_point_id
  JOIN {SCHEMA}.premises h ON h.id = p.premise_id
  JOIN {SCHEMA}.accounts c ON c.id = a.account_id
  LEFT JOIN LATERAL (
       SELECT ends_date, state, inputs FROM {SCHEMA}.bills
        WHERE agreement_id = a.id AND state <> 'void' ORDER BY ends_date DESC LIMIT 1) b ON true
  LEFT JOIN LATERAL (
       SELECT percentile_disc(0.5) WITHIN GROUP (
                  ORDER BY consumption / (ends_date - starts_date)) AS usual_per_day
         FROM {SCHEMA}.bills
        WHERE agreement_id = a.id AND state IN ('issued', 'settled')
          AND ends_date > CAST(:year_ago AS date)) u ON true
 WHERE a.id = ANY(CAST(:ids AS bigint[]))
 ORDER BY a.id
"""  # noqa: S608 (a constant)

_USED = f"""
SELECT w.agreement, q.key AS register, sum(CAST(q.value AS numeric)) AS used
  FROM unnest(CAST(:ids AS bigint[]), CAST(:years AS date[]), CAST(:starts AS date[]))
       AS w (agreement, year, starts)
  JOIN {SCHEMA}.bills b ON b.agreement_id = w.agreement AND b.state <> 'void'
       AND b.ends_date > w.year AND b.ends_date <= w.starts
 CROSS JOIN jsonb_array_elements(b.inputs -> 'parts') part
 CROSS JOIN jsonb_each_text(part -> 'quantities') q
 WHERE CAST(part ->> 'starts' AS date) >= w.year
 GROUP BY w.agreement, q.key
"""  # noqa: S608 (a constant)


class HeldBefore(DomainError):
    """An earlier bill of the agreement is held back and has to be decided first."""

    code = "billing.held_before"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """
    A bill as it would be, with what its registers are taken to show where nobody read them.

    Units: `usual_per_day` m³ or kWh a day.
    """

    agreement_id: int
    account_number: str
    address: str
    period: Period
    computed: ComputedBill
    consumption: Decimal
    usual_per_day: Decimal | None
    since: date
    held_reason: str | None
    tariff_version_id: int
    inputs: str
    estimates: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An agreement that cannot be billed; `reason` is the code of the refusal."""

    agreement_id: int
    account_number: str
    address: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """
    What is billed: a service and a period, `first_date` being where billing ever began.

    `is_exact` bills just the period, as when a bill is made again; `is_running` asks what the next
    bill would be if the period ended so, whether one is due or not. `class_p99` is what only one
    bill in a hundred of a customer class exceeds. Units: m³ or kWh a day.
    """

    service: Service
    period: Period
    first_date: date
    is_exact: bool = False
    is_running: bool = False
    class_p99: Mapping[str, Decimal] = field(default_factory=dict)

    def is_due(self, tariff: StoredTariff) -> bool:
        """Tell whether a tariff's bills end with this period's last month."""
        is_asked = self.is_exact or self.is_running
        return is_asked or self.period.last_day.month % tariff.tariff.bill_every_months == 0


def hold_if_old(draft: Draft, oldest: date) -> Draft:
    """Return a bill, held if it charges use older than may be billed and nothing else holds it."""
    is_old = draft.held_reason is None and draft.since < oldest
    return replace(draft, held_reason=OLD) if is_old else draft


class _Prices(NamedTuple):
    """The versions in force in a period: the last one's id, and all as bills keep them."""

    versions: tuple[TariffVersion, ...]
    version_id: int
    written: str


@dataclass(frozen=True, slots=True)
class _Subject:
    row: Row[Any]
    tariff: StoredTariff
    period: Period
    prices: _Prices


async def draft_bills(
    session: AsyncSession, *, scope: Scope, agreement_ids: Sequence[int]
) -> list[Draft | Skipped]:
    """
    Return the bills that these agreements would get, or why they cannot be billed.

    An agreement whose period is billed already, or not due for a bill yet, is left out.
    """
    zone = ZoneInfo((await get_operator(session)).timezone)
    rows = (
        await session.execute(
            text(_SUBJECTS),
            {
                "ids": array(agreement_ids),
                "year_ago": scope.period.starts - timedelta(days=365),
            },
        )
    ).all()
    tariffs = await get_tariffs(session, codes=[row.tariff_code for row in rows])
    found: list[Draft | Skipped] = []
    subjects: list[_Subject] = []
    in_force = cache(_in_force)
    for row in rows:
        try:
            subject = _subject(row, tariffs, scope, in_force)
        except DomainError as refusal:
            found.append(_skipped(row, refusal))
            continue
        if subject is not None:
            subjects.append(subject)
    spans = await registers.read_spans(session, windows=[_window(each, zone) for each in subjects])
    used = await _used_by(session, subjects)
    late = await _late_by(session, subjects, zone)
    timed = {code for code, each in tariffs.items() if needs_intervals(each.tariff.versions)}
    for nr, (subject, shown) in enumerate(zip(subjects, spans, strict=True)):
        if nr % _AT_ONCE == 0:
            await asyncio.sleep(0)
        try:
            intervals: tuple[Interval, ...] = ()
            if subject.row.tariff_code in timed and not isinstance(shown, NoReading):
                intervals = await _intervals(session, subject, shown, zone)
            before = (used.get(subject.row.id, {}), tuple(late.get(subject.row.id, ())))
            found.append(_draft(subject, shown, before, scope, intervals))
        except DomainError as refusal:
            found.append(_skipped(subject.row, refusal))
    return found


def _skipped(row: Row[Any], refusal: DomainError) -> Skipped:
    return Skipped(
        agreement_id=row.id, account_number=row.number, address=row.address, reason=refusal.code
    )


def _subject(
    row: Row[Any],
    tariffs: Mapping[str, StoredTariff],
    scope: Scope,
    in_force: Callable[[StoredTariff, Period], _Prices],
) -> _Subject | None:
    """Return an agreement with the period to bill; a bill begins where the one before ended."""
    tariff = tariffs.get(row.tariff_code)
    if tariff is None:
        raise TariffNotInForce(tariff=row.tariff_code, day=scope.period.starts)
    every = tariff.tariff.bill_every_months
    ends = min(scope.period.ends, row.ends_date or scope.period.ends)
    cycle = scope.first_date if scope.is_exact else _cycle_start(scope.first_date, every)
    starts = row.billed_until or max(row.starts_date, cycle)
    is_due = scope.is_due(tariff) or row.ends_date == ends
    if starts >= ends or not is_due:
        return None
    if row.last_state == "held":
        raise HeldBefore(agreement=row.id)
    period = Period(starts, ends)
    return _Subject(row, tariff, period, in_force(tariff, period))


def _cycle_start(day: date, every_months: int) -> date:
    return date(day.year, (day.month - 1) // every_months * every_months + 1, 1)


def _window(subject: _Subject, zone: ZoneInfo) -> Window:
    last = subject.row.last_inputs
    return Window(
        service_point_id=subject.row.service_point_id,
        starts_at=start_of_day(subject.period.starts, zone=zone),
        ends_at=start_of_day(subject.period.ends, zone=zone),
        opened=read_closings(last) if last else {},
    )


async def _used_by(
    session: AsyncSession, subjects: Sequence[_Subject]
) -> dict[int, dict[str, Decimal]]:
    yearly = [
        (subject.row.id, year_of(subject.period.starts).starts, subject.period.starts)
        for subject in subjects
        if any(version.window is WindowOfTiers.YEAR for version in subject.tariff.tariff.versions)
    ]
    if not yearly:
        return {}
    rows = await session.execute(text(_USED), arrays("ids years starts", yearly))
    used: dict[int, dict[str, Decimal]] = {}
    for agreement_id, register, quantity in rows:
        used.setdefault(agreement_id, {})[register] = quantity
    return used


async def _late_by(
    session: AsyncSession, subjects: Sequence[_Subject], zone: ZoneInfo
) -> dict[int, list[LatePayment]]:
    """Return the late payments of those whose tariff, as the period ends, charges for them."""
    wanted = []
    for subject in subjects:
        day = subject.period.last_day
        wanted += [
            (subject.row.id, version.valid_from)
            for version in subject.prices.versions
            if version.late_fee and (version.valid_to is None or day < version.valid_to)
        ]
    return await read_late_payments(session, wanted=wanted, zone=zone)


async def _intervals(
    session: AsyncSession, subject: _Subject, spans: Sequence[BilledSpan], zone: ZoneInfo
) -> tuple[Interval, ...]:
    period = subject.period
    version = version_on(subject.tariff.tariff.versions, period.last_day)
    ahead, digits = read_ahead(subject.row.last_inputs or {}), version.quantity_digits
    counted = consumption_of(spans, ahead=ahead, kept_digits=digits)
    return await read_intervals(
        session,
        series=version.series,
        spans=spans,
        quantity=sum(counted.quantities.values(), Decimal(0)),
        digits=digits,
        starts_at=start_of_day(period.starts, zone=zone),
        ends_at=start_of_day(period.ends, zone=zone),
        zone=zone,
    )


def _draft(
    subject: _Subject,
    spans: tuple[BilledSpan, ...] | NoReading,
    before: tuple[Mapping[str, Decimal], tuple[LatePayment, ...]],
    scope: Scope,
    intervals: tuple[Interval, ...],
) -> Draft:
    if isinstance(spans, NoReading):
        raise spans
    row, period, prices = subject.row, subject.period, subject.prices
    digits = version_on(prices.versions, period.starts).quantity_digits
    last = row.last_inputs or {}
    counted = consumption_of(spans, ahead=read_ahead(last), kept_digits=digits)
    guessed = {
        Key(span.meter_id, span.register, span.closing.at): span.closing.value
        for span in spans
        if span.closing.is_estimate
    }
    in_a_row = last.get("estimates", 0) + 1 if guessed else 0
    basis = Basis(
        versions=prices.versions,
        period=period,
        quantities=counted.quantities,
        used=before[0],
        people=row.household_size,
        customer_since=row.starts_date,
        customer_until=row.ends_date,
        attributes=attributes_asked(
            subject.tariff.tariff.versions,
            customer_class=row.customer_class,
            known=row.attributes,
        ),
        intervals=intervals,
        late=before[1],
    )
    computed = compute_bill(basis)
    consumption = sum(counted.quantities.values(), Decimal(0))
    since = _since(last, spans, period)
    return Draft(
        agreement_id=row.id,
        account_number=row.number,
        address=row.address,
        period=period,
        computed=computed,
        consumption=consumption,
        usual_per_day=row.usual_per_day,
        since=since,
        held_reason=find_reason_to_hold(
            service=scope.service,
            customer_class=row.customer_class,
            total_minor=computed.total_minor,
            per_day=divide(consumption, period.days, digits=DAILY_DIGITS),
            usual_per_day=row.usual_per_day,
            class_p99=scope.class_p99.get(row.customer_class),
            estimates=in_a_row,
            is_owed_use=bool(counted.ahead) and row.ends_date == period.ends,
        ),
        tariff_version_id=prices.version_id,
        inputs=write_inputs(
            basis=basis,
            computed=computed,
            spans=spans,
            tariff=prices.written,
            counted=counted,
            estimates=in_a_row,
            since=since,
        ),
        estimates=guessed,
    )


def _in_force(tariff: StoredTariff, period: Period) -> _Prices:
    """Return the versions that price some day of the period."""
    found = [
        (version, stored)
        for version, stored in zip(tariff.tariff.versions, tariff.rows, strict=True)
        if version.valid_from < period.ends
        and (version.valid_to is None or version.valid_to > period.starts)
    ]
    if not found:
        raise TariffNotInForce(day=period.starts)
    versions, rows = zip(*found, strict=True)
    return _Prices(versions, rows[-1].id, write_versions(rows))


def _since(last: Mapping[str, Any], spans: Sequence[BilledSpan], period: Period) -> date:
    """Return the first day whose use is charged: an estimate's true-up reaches behind it."""
    if not last or not any(span.opening.is_estimate for span in spans):
        return period.starts
    return date.fromisoformat(last.get("since") or last["starts"])

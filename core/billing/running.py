"""
The bill that is running: its tariff, household, year so far and use so far; and what-if bills.

Everything is priced by the engine that makes the bills. What nobody read is never taken for zero.
Only reads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Row, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account, Agreement, Premise, Service, ServicePoint
from core.accounts.service import get_operator
from core.billing import registers
from core.billing.calculation import Basis, ComputedBill, attributes_asked, compute_bill
from core.billing.consumption import BilledSpan, consumption_of
from core.billing.inputs import read_ahead, read_spans
from core.billing.models import Bill, BillState
from core.billing.registers import NoReading, Window
from core.billing.run_models import BillingRun
from core.billing.tariff_model import Tariff, TariffNotInForce, version_on
from core.billing.tariff_store import get_tariffs
from core.errors import DomainError
from core.money import RoundingMode, divide, round_to
from core.periods import Period, local_day, start_of_day, year_of

DAY = timedelta(days=1)
QUANTITY_MAX = Decimal(100_000)


class AgreementNotFound(DomainError):
    """There is no such agreement, or it is over."""

    code = "outlook.agreement_not_found"


class QuantityNotPossible(DomainError):
    """Nobody uses nothing, or as much as a town."""

    code = "outlook.quantity_not_possible"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """
    The bill of an agreement that is running; the quantities of `basis` are those so far.

    `spans` is empty while nothing is known of the use. `is_bill_due` tells that the bill before
    is not made yet, so its use is missing in the year's.

    Units: `exact` what was used so far, not cut to what is billed.
    """

    agreement_id: int
    service: Service
    address: str
    account_number: str
    service_point_id: int
    tariff: Tariff
    basis: Basis
    exact: Decimal
    spans: Sequence[BilledSpan]
    shares: Mapping[str, Decimal]
    is_bill_due: bool

    @property
    def currency(self) -> str:
        """What the bill is made in."""
        return version_on(self.basis.versions, self.basis.period.starts).currency

    @property
    def digits(self) -> int:
        """How finely the tariff bills."""
        return version_on(self.basis.versions, self.basis.period.starts).quantity_digits

    def price(self, quantity: Decimal) -> ComputedBill:
        """Return the whole bill if so much is used in all, cut as bills do."""
        return compute_bill(replace(self.basis, quantities=self._shared(quantity)))

    def _shared(self, quantity: Decimal) -> dict[str, Decimal]:
        """Divide a quantity among the registers as their use is divided so far."""
        whole = round_to(quantity, digits=self.digits, mode=RoundingMode.DOWN)
        total = sum(self.shares.values(), Decimal(0))
        shared, left = {}, whole
        for register, share in list(self.shares.items())[1:]:
            shared[register] = divide(whole * share, total, digits=self.digits) if total else left
            left -= shared[register]
        return {next(iter(self.shares), "total"): left, **shared}


async def find_running(session: AsyncSession, *, agreement_id: int, now: datetime) -> Running:
    """
    Return the running bill of an agreement with what was used so far.

    Raises:
        AgreementNotFound: there is no such agreement, or it is over.
        TariffNotInForce: its tariff has no price for the period.
    """
    zone = ZoneInfo((await get_operator(session)).timezone)
    today = local_day(now, zone=zone)
    agreement, point, premise, number = await _find_place(session, agreement_id, today)
    codes = [agreement.tariff_code]
    stored = (await get_tariffs(session, codes=codes)).get(agreement.tariff_code)
    if stored is None:
        raise TariffNotInForce(tariff=agreement.tariff_code, day=today)
    tariff = stored.tariff
    bills = await _bills_before(session, agreement_id, today)
    last = bills[-1] if bills else None
    cycle = _cycle_of(today, tariff.bill_every_months)
    began = await find_first_billed(session, point.service) or cycle.starts
    billed_until = last.ends_date if last else max(agreement.starts_date, began)
    starts = max(billed_until, cycle.starts)
    period = Period(starts, min(cycle.ends, agreement.ends_date or cycle.ends))
    digits = version_on(tariff.versions, starts).quantity_digits
    inputs = last.inputs if last and last.ends_date == starts else None
    window = Window(
        service_point_id=point.id,
        starts_at=start_of_day(starts, zone=zone),
        ends_at=start_of_day(min(today + DAY, period.ends), zone=zone),
        opened={(span.meter_id, span.register): span.closing for span in read_spans(inputs)}
        if inputs
        else {},
    )
    (spans,) = await registers.read_spans(session, windows=[window])
    known = () if isinstance(spans, NoReading) else spans
    ahead = read_ahead(inputs) if inputs else {}
    counted = consumption_of(known, ahead=ahead, kept_digits=digits).quantities
    shares = counted or (last.inputs["quantities"] if last else {})
    return Running(
        agreement_id=agreement_id,
        service=point.service,
        address=premise.address,
        account_number=number,
        service_point_id=point.id,
        tariff=tariff,
        basis=Basis(
            versions=tariff.versions,
            period=period,
            quantities=counted,
            used=_used_this_year(bills, starts),
            people=premise.household_size,
            customer_since=agreement.starts_date,
            customer_until=agreement.ends_date,
            attributes=attributes_asked(
                tariff.versions, customer_class=point.customer_class, known=point.attributes
            ),
        ),
        exact=_exact(known, counted, digits=digits),
        spans=known,
        shares={register: Decimal(share) for register, share in shares.items()},
        is_bill_due=billed_until < cycle.starts,
    )


async def _find_place(
    session: AsyncSession, agreement_id: int, today: date
) -> Row[Agreement, ServicePoint, Premise, str]:
    row = (
        await session.execute(
            select(Agreement, ServicePoint, Premise, Account.number)
            .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
            .join(Premise, Premise.id == ServicePoint.premise_id)
            .join(Account, Account.id == Agreement.account_id)
            .where(
                Agreement.id == agreement_id,
                or_(Agreement.ends_date.is_(None), Agreement.ends_date > today),
            )
        )
    ).one_or_none()
    if row is None:
        raise AgreementNotFound
    return row


async def _bills_before(session: AsyncSession, agreement_id: int, today: date) -> Sequence[Bill]:
    """Return the bills of a year and of the one before, the earliest first."""
    found = await session.scalars(
        select(Bill)
        .where(
            Bill.agreement_id == agreement_id,
            Bill.state != BillState.VOID,
            Bill.ends_date > year_of(today - timedelta(days=365)).starts,
        )
        .order_by(Bill.ends_date)
    )
    return found.all()


async def find_first_billed(session: AsyncSession, service: Service) -> date | None:
    """Return the day from which a service is billed here, if it ever was."""
    first: date | None = await session.scalar(
        select(func.min(BillingRun.starts_date)).where(BillingRun.service == service)
    )
    return first


def _cycle_of(day: date, every_months: int) -> Period:
    """Return the months that one bill covers around a day; the first cycle begins in January."""
    months = day.year * 12 + (day.month - 1) // every_months * every_months
    after = months + every_months
    return Period(date(months // 12, months % 12 + 1, 1), date(after // 12, after % 12 + 1, 1))


def _used_this_year(bills: Sequence[Bill], starts: date) -> dict[str, Decimal]:
    """Return what the year's bills before a day counted, by register."""
    year = year_of(starts).starts
    used: dict[str, Decimal] = {}
    for bill in bills:
        for part in bill.inputs["parts"]:
            if year <= date.fromisoformat(part["starts"]) < starts:
                for register, quantity in part["quantities"].items():
                    used[register] = used.get(register, Decimal(0)) + Decimal(quantity)
    return used


def _exact(spans: Sequence[BilledSpan], counted: Mapping[str, Decimal], *, digits: int) -> Decimal:
    """Return the use so far with the fraction that the next bill will count."""
    fractions = (
        (span.closing.value - round_to(span.closing.value, digits=digits, mode=RoundingMode.DOWN))
        * span.multiplier
        for span in spans
    )
    return sum(fractions, sum(counted.values(), Decimal(0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """What a bill would be; `counted` is the quantity as the tariff bills it."""

    running: Running
    counted: Decimal
    computed: ComputedBill


def require_quantity(quantity: Decimal) -> None:
    """
    Let pass what a bill can be for.

    Raises:
        QuantityNotPossible: it is zero, or more than a town uses.
    """
    if not 0 < quantity <= QUANTITY_MAX:
        raise QuantityNotPossible(quantity=quantity, most=QUANTITY_MAX)


async def what_if(
    session: AsyncSession, *, agreement_id: int, quantity: Decimal, now: datetime
) -> WhatIf:
    """
    Return what the running bill would be if so much were used from its beginning to its end.

    Raises:
        QuantityNotPossible: it is zero when cut to what is billed, or more than a town uses.
        DomainError: those of `find_running`.
    """
    running = await find_running(session, agreement_id=agreement_id, now=now)
    counted = round_to(quantity, digits=running.digits, mode=RoundingMode.DOWN)
    require_quantity(counted)
    return WhatIf(running=running, counted=counted, computed=running.price(counted))

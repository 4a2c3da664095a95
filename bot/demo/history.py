"""The district's past: what the registers showed, the bills that came of it, and who paid."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from bot.demo.cast import ANNA, OVERDUE
from bot.demo.district import Supplied
from bot.demo.homes import ZONE, Home
from bot.demo.models import DemoMeter
from bot.demo.signals import Traits, traits_from, use_in_day
from core.accounts.models import Service
from core.accounts.service import get_operator
from core.billing import bills, ledger, payments, runs, settlement
from core.billing.models import LedgerAccount, Payment, PaymentState
from core.billing.tariff_store import load_tariffs, shipped_contents
from core.monitoring.models import Source
from core.monitoring.partitions import ensure_months, months_of
from core.monitoring.rows import Key, Rows, add_readings
from core.monitoring.service import TOTAL
from core.notices.models import Unreached
from core.numbers import take_numbers
from core.periods import Period, local_day, month_of, start_of_day

DAY = timedelta(days=1)
DAILY_FOR = timedelta(days=40)  # before that, homes with a short history were read once a month
RUN_AFTER = timedelta(hours=2)
OVERDUE_MONTHS = 2
CASHIER = "cashier"
AHEAD_MINOR = 120_00
PAID_AFTER = timedelta(days=6)
LATE_PAYER_EVERY = 9  # one home in so many has not paid its latest bills yet


async def build_history(
    session: AsyncSession, supplied: Sequence[Supplied], *, seed: int, now: datetime
) -> None:
    """
    Play the months before `now`: registers, bills, payments.

    Nobody can be reached yet, so nobody is told of the past; that they were not is forgotten.
    """
    currency = (await get_operator(session)).currency
    await load_tariffs(session, contents=shipped_contents(currency=currency))
    await _add_registers(session, supplied, seed=seed, now=now)
    last = month_of(local_day(now, zone=ZONE))
    month = month_of(min(first_month(home) for home in supplied))
    while month.starts < last.starts:
        run_at = min(start_of_day(month.ends, zone=ZONE) + RUN_AFTER, now)
        for service in Service:
            await _bill(session, service, month, now=run_at)
        ago = round((last.starts - month.starts).days / 30)
        await _pay(session, supplied, months_ago=ago, now=min(run_at + PAID_AFTER, now))
        month = month_of(month.ends)
    await _top_up(session, supplied, now=now)
    await session.execute(delete(Unreached))


def first_month(supplied: Supplied) -> date:
    """Return the day from which a home is supplied."""
    return local_day(supplied.meters[Service.WATER].installed_at, zone=ZONE)


async def _add_registers(
    session: AsyncSession, supplied: Sequence[Supplied], *, seed: int, now: datetime
) -> None:
    """Store what the registers showed up to the beginning of yesterday."""
    until = start_of_day(local_day(now, zone=ZONE) - DAY, zone=ZONE)
    for each in supplied:
        rows: Rows = {}
        for service, meter in each.meters.items():
            traits = traits_from(meter.serial, service, each.home.traits(service))
            played = await session.get_one(DemoMeter, meter.id)
            for at, value in play_days(seed, traits, meter.installed_at, until, played.register):
                is_daily = each.home.has_long_history or until - at <= DAILY_FOR
                if is_daily or at.astimezone(ZONE).day == 1:
                    rows[Key(meter.id, TOTAL, at)] = value
                played.register = value
            played.played_until = until
        await ensure_months(session, months_of(key.taken_at for key in rows))
        await add_readings(session, rows, source=Source.GATEWAY, received_at=now)


def play_days(
    seed: int, traits: Traits, starts_at: datetime, ends_at: datetime, register: Decimal
) -> Iterator[tuple[datetime, Decimal]]:
    """Yield what a register shows at the beginning of each day, both bounds included."""
    at = starts_at
    yield at, register
    while at < ends_at:
        register += use_in_day(seed, traits, at)
        at += DAY
        yield at, register


async def _bill(session: AsyncSession, service: Service, month: Period, *, now: datetime) -> None:
    run_id = await runs.start_run(session, service=service, period=month, now=now)
    scope = await runs.get_scope(session, run_id=run_id)
    agreements = await runs.list_unbilled(session, scope=scope)
    await bills.issue_bills(session, run_id=run_id, agreement_ids=agreements, now=now)
    await runs.finish_run(session, run_id=run_id, now=now)


async def _pay(
    session: AsyncSession, supplied: Sequence[Supplied], *, months_ago: int, now: datetime
) -> None:
    """Have the cashier take in what people pay in a month, all of it at once."""
    payers = {
        agreement_id: home.home
        for home in supplied
        for service, agreement_id in home.agreements.items()
        if _pays(home.home, service, months_ago=months_ago)
    }
    bills_open = [
        bill
        for bill in await settlement.list_open_bills(session, agreement_ids=payers)
        if bill.left_minor
    ]
    if not bills_open:
        return
    numbers = await take_numbers(session, prefix="P", count=len(bills_open))
    paid = [
        Payment(
            number=number,
            agreement_id=bill.agreement_id,
            bill_id=bill.bill_id,
            provider=CASHIER,
            reference=f"counter-{bill.number}",
            currency=bill.currency,
            amount_minor=bill.left_minor
            // (2 if months_ago == 1 and _is_short(payers, bill) else 1),
            state=PaymentState.SUCCEEDED,
            received_at=now,
        )
        for number, bill in zip(numbers, bills_open, strict=True)
    ]
    session.add_all(paid)
    await session.flush()
    await ledger.post_all(session, postings=[_posting(payment) for payment in paid], at=now)
    await settlement.settle(session, agreement_ids=payers, now=now)


async def _top_up(session: AsyncSession, supplied: Sequence[Supplied], *, now: datetime) -> None:
    """Have those who pay ahead pay what is open, and what is used in some weeks to come."""
    for each in supplied:
        for service, agreement_id in each.agreements.items():
            if each.home.pays_ahead(service):
                owed = await payments.owed(session, agreement_id=agreement_id)
                await payments.record_payment(
                    session,
                    provider=CASHIER,
                    reference=f"counter-ahead-{agreement_id}",
                    target=payments.Target(agreement_id=agreement_id),
                    amount_minor=owed + AHEAD_MINOR,
                    currency=(await get_operator(session)).currency,
                    received_at=now,
                    now=now,
                )


def _is_short(payers: Mapping[int, Home], bill: settlement.OpenBill) -> bool:
    return payers[bill.agreement_id].player is ANNA


def _posting(payment: Payment) -> ledger.Posting:
    return ledger.Posting(
        kind="payment",
        reference=f"payment:{payment.number}",
        entries=ledger.owed_against(
            LedgerAccount.CASH,
            agreement_id=payment.agreement_id,
            amount_minor=-payment.amount_minor,
            currency=payment.currency,
        ),
    )


def _pays(home: Home, service: Service, *, months_ago: int) -> bool:
    """Tell whether somebody pays; the latest bills some have not paid yet."""
    if home.player is OVERDUE and service is Service.ELECTRICITY:
        return months_ago > OVERDUE_MONTHS
    is_late = home.player is not ANNA if home.player else home.number % LATE_PAYER_EVERY == 0
    return months_ago > 1 or not is_late

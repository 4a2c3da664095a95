"""The district's past: what the registers showed, the bills that came of it, and who paid."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from bot.demo.cast import ANNA, LIN, OVERDUE
from bot.demo.district import Supplied
from bot.demo.homes import ZONE
from bot.demo.models import DemoMeter
from bot.demo.signals import Traits, traits_from, use_in_hour
from core.accounts.models import Service
from core.billing import bills, payments, runs, settlement
from core.billing.tariff_store import load_tariffs, shipped_contents
from core.monitoring.models import Source
from core.monitoring.partitions import ensure_months, months_of
from core.monitoring.rows import Key, Rows, add_readings
from core.monitoring.service import TOTAL
from core.notices.models import Unreached
from core.periods import Period, local_day, month_of, start_of_day

DAY = timedelta(days=1)
DAILY_FOR = timedelta(days=40)  # before that, homes with a short history were read once a month
RUN_AFTER = timedelta(hours=2)
CASHIER = "cashier"
PAID_AFTER = timedelta(days=6)
LATE_PAYER_EVERY = 9  # one home in so many has not paid its latest bills yet


async def build_history(
    session: AsyncSession, supplied: Sequence[Supplied], *, seed: int, now: datetime
) -> None:
    """
    Play the months before `now`: registers, bills, payments.

    Nobody can be reached yet, so nobody is told of the past; that they were not is forgotten.
    """
    await load_tariffs(session, contents=shipped_contents())
    await _add_registers(session, supplied, seed=seed, now=now)
    last = month_of(local_day(now, zone=ZONE))
    month = month_of(min(first_month(home) for home in supplied))
    while month.starts < last.starts:
        run_at = min(start_of_day(month.ends, zone=ZONE) + RUN_AFTER, now)
        for service in Service:
            await _bill(session, service, month, now=run_at)
        is_latest = month.ends == last.starts
        await _pay(session, supplied, is_latest=is_latest, now=min(run_at + PAID_AFTER, now))
        month = month_of(month.ends)
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
        hours = (at + timedelta(hours=hour) for hour in range(24))
        register += sum(use_in_hour(seed, traits, hour) for hour in hours)
        at += DAY
        yield at, register


async def _bill(session: AsyncSession, service: Service, month: Period, *, now: datetime) -> None:
    run_id = await runs.start_run(session, service=service, period=month, now=now)
    scope = await runs.get_scope(session, run_id=run_id)
    agreements = await runs.list_unbilled(session, scope=scope)
    await bills.issue_bills(session, run_id=run_id, agreement_ids=agreements, now=now)
    await runs.finish_run(session, run_id=run_id, now=now)


async def _pay(
    session: AsyncSession, supplied: Sequence[Supplied], *, is_latest: bool, now: datetime
) -> None:
    """Have the cashier take in what people pay; some of them do not pay their latest bills."""
    payers = {
        agreement_id: home
        for home in supplied
        for service, agreement_id in home.agreements.items()
        if _pays(home, service, is_latest=is_latest)
    }
    for bill in await settlement.list_open_bills(session, agreement_ids=payers):
        if not bill.left_minor:
            continue
        in_part = is_latest and payers[bill.agreement_id].home.player is ANNA
        await payments.record_payment(
            session,
            provider=CASHIER,
            reference=f"counter-{bill.number}",
            target=payments.Target(agreement_id=bill.agreement_id, bill_id=bill.bill_id),
            amount_minor=bill.left_minor // 2 if in_part else bill.left_minor,
            currency=bill.currency,
            received_at=now,
            now=now,
        )


def _pays(supplied: Supplied, service: Service, *, is_latest: bool) -> bool:
    home = supplied.home
    if home.player is OVERDUE and service is Service.ELECTRICITY:
        return False
    if home.player is None:
        return not is_latest or home.number % LATE_PAYER_EVERY != 0
    return not is_latest or home.player is ANNA

"""A debt in tests: unpaid bills, days that pass, messages that arrive or do not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import text, update

from core.accounts.models import ApiKey, Contact, Service, ServicePoint, Supply
from core.billing import dunning, payments
from core.billing.payments import RecordedPayment, Target
from core.db import Database
from core.monitoring.models import Meter
from core.notices.models import Delivery, Outcome
from core.supply import commands, reports, service
from core.supply.reports import Fate, Report
from core.supply.service import Decision
from tests.billing.books import OCTOBER, ZONE, ask, load_shipped, run_bills, show
from tests.world import NOON, World

# The bill is issued on 2 November and due on the 17th; no step of the ladder is ever early.
DUE = date(2026, 11, 17)
REMINDED = date(2026, 11, 20)
NOTICED = {Service.ELECTRICITY: date(2026, 12, 18), Service.WATER: date(2026, 12, 20)}
PROPOSED = {Service.ELECTRICITY: date(2026, 12, 25), Service.WATER: date(2026, 12, 22)}
MONDAY = date(2026, 12, 28)
BILL = {Service.ELECTRICITY: "E1001", Service.WATER: "W1001"}
OWED = {Service.ELECTRICITY: 56_53, Service.WATER: 37_80}


def at(day: date, hour: int = 10, minute: int = 0) -> datetime:
    """Return a moment in the operator's time."""
    return datetime.combine(day, time(hour, minute), tzinfo=ZONE).astimezone(UTC)


@dataclass
class Debt:
    """The first home of `world` with an unpaid bill of one service, and its gateway."""

    database: Database
    world: World
    kind: Service
    gateway: int
    now: datetime = NOON

    @property
    def agreement(self) -> int:
        return self.world.home.agreements[self.kind]

    @property
    def point(self) -> int:
        return self.world.home.points[self.kind]

    @property
    def serial(self) -> str:
        return f"{self.kind.value[0].upper()}-10001"

    async def deliver(self, outcome: Outcome = Outcome.SENT) -> None:
        """Have everything that waits end so."""
        sent = {"sent_at": self.now, "message_ref": "1"} if outcome is Outcome.SENT else {}
        async with self.database.transaction() as session:
            await session.execute(
                update(Delivery)
                .where(Delivery.outcome == Outcome.DUE)
                .values(outcome=outcome, **sent)
            )

    async def look(self) -> int:
        async with self.database.transaction() as session:
            return await dunning.run_dunning(session, now=self.now)

    async def live_until(
        self, day: date, *, outcome: Outcome = Outcome.SENT, daily: bool = False
    ) -> None:
        """
        Let the days pass; each has its look, and its messages arrive (or not) at once.

        Only days near a step are lived, unless `daily`: on the others nothing can happen.
        """
        steps = (REMINDED, NOTICED[self.kind], PROPOSED[self.kind], day)
        lived = {step - timedelta(days=before) for step in steps for before in (0, 1)}
        while self.now < at(day):
            following = self.now.astimezone(ZONE).date() + timedelta(days=1)
            self.now = at(following)
            if daily or following in lived:
                await self.look()
                await self.deliver(outcome)

    async def propose(self) -> int:
        async with self.database.transaction() as session:
            return await service.take_up_arrears(session, now=self.now)

    async def approve(
        self, number: str = "S1001", *, person: int | None = None, version: int | None = None
    ) -> Decision:
        async with self.database.transaction() as session:
            return await service.approve(
                session,
                number=number,
                version=version,
                serial_end=self.serial[-4:],
                person_id=person or self.world.manager,
                now=self.now,
            )

    async def dispatch(self, gateway: int | None = None) -> list[commands.Command]:
        async with self.database.transaction() as session:
            return await commands.dispatch(
                session, gateway_id=gateway or self.gateway, now=self.now
            )

    async def report(
        self, state: Supply, *, taken_at: datetime | None = None, gateway: int | None = None
    ) -> Fate:
        async with self.database.transaction() as session:
            (fate,) = await reports.report_states(
                session,
                gateway_id=gateway or self.gateway,
                reports=[Report(self.serial, state, taken_at or self.now)],
                now=self.now,
            )
        return fate

    async def pay(self, amount: int, reference: str = "a") -> RecordedPayment:
        async with self.database.transaction() as session:
            return await payments.record_payment(
                session,
                provider="cashier",
                reference=reference,
                target=Target(agreement_id=self.agreement),
                amount_minor=amount,
                currency="CNY",
                received_at=self.now,
                now=self.now,
            )

    async def give_up(self) -> int:
        async with self.database.transaction() as session:
            return await commands.give_up(session, now=self.now)

    def wait(self, **span: int) -> None:
        self.now += timedelta(**span)

    async def until_proposed(self) -> None:
        await self.live_until(PROPOSED[self.kind])
        assert await self.propose() == 1
        await self.deliver()

    async def until_approved(self) -> None:
        await self.until_proposed()
        self.now = at(MONDAY)
        assert (await self.approve()).refusals == ()
        await self.deliver()

    async def until_sent(self) -> None:
        await self.until_approved()
        self.wait(minutes=31)
        (command,) = await self.dispatch()
        assert command.wanted is Supply.CUT

    async def until_cut(self) -> None:
        await self.until_sent()
        self.wait(seconds=20)
        assert await self.report(Supply.CUT) is Fate.TAKEN
        await self.deliver()

    async def orders(self) -> list[tuple[str, str, str]]:
        """Return number, wanted and state of every order."""
        found = await ask(
            self.database, "SELECT number, wanted, state FROM shuidian.supply_orders ORDER BY id"
        )
        return [(str(number), str(wanted), str(state)) for number, wanted, state in found]

    async def kinds(self, person: int) -> list[str]:
        """Return the kinds of what a person was told, without repeated cards."""
        async with self.database.transaction() as session:
            found = await session.execute(
                text(
                    "SELECT d.kind FROM shuidian.deliveries d"
                    " JOIN shuidian.contacts c ON c.id = d.contact_id"
                    " WHERE c.person_id = :person ORDER BY d.id"
                ),
                {"person": person},
            )
            return list(dict.fromkeys(str(kind) for (kind,) in found))

    async def supply(self, kind: Service | None = None) -> str:
        async with self.database.transaction() as session:
            point = await session.get_one(ServicePoint, self.world.home.points[kind or self.kind])
            return str(point.supply)


async def make_gateway(database: Database, name: str, meters: Sequence[int]) -> int:
    async with database.transaction() as session:
        key = ApiKey(name=name, token_hash=name, scope="gateway", created_at=NOON)
        session.add(key)
        await session.flush()
        await session.execute(update(Meter).where(Meter.id.in_(meters)).values(gateway_id=key.id))
        return key.id


async def set_reachable(database: Database, contact: int, *, since: datetime | None) -> None:
    async with database.transaction() as session:
        await session.execute(
            update(Contact).where(Contact.id == contact).values(unreachable_since=since)
        )


async def begin_debt(database: Database, world: World, kind: Service) -> Debt:
    """Bill October for one service of the first home; nobody pays."""
    await load_shipped(database)
    meters = world.home.meters
    gateway = await make_gateway(
        database, "gateway", [*meters.values(), *world.neighbour.meters.values()]
    )
    # 100 kWh in a month; 12 m³ in the two months of a water bill.
    is_water = kind is Service.WATER
    opens, used = (date(2026, 9, 1), "112") if is_water else (OCTOBER.starts, "200")
    await show(database, meters[kind], {opens: "100", OCTOBER.ends: used})
    await run_bills(database, kind, OCTOBER, now=NOON)
    debt = Debt(database, world, kind, gateway)
    await debt.deliver()
    return debt

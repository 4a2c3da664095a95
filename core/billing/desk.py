"""What a cashier looks up: by account, bill or phone number, by name or address. Only reads."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account, AccountRight, Agreement, Person, Premise, ServicePoint
from core.audit import AuditEntry
from core.billing.models import Bill, BillState
from core.billing.payments import Target, find_target_by_bill
from core.billing.queries import PARTY, Party
from core.billing.settlement import OpenBill, list_open_bills
from core.errors import DomainError

FOUND_MAX = 20
PHONE_DIGITS = 4


class TargetNotFound(DomainError):
    """No bill has this number, and no account has it and owes for one service only."""

    code = "desk.target_not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskAgreement:
    """One service of an account, and what is open on it."""

    party: Party
    bills: Sequence[OpenBill]

    @property
    def owed_minor(self) -> int:
        """What is open in all. Units: minor units."""
        return sum(bill.left_minor for bill in self.bills)


async def search_desk(session: AsyncSession, *, words: str) -> list[DeskAgreement]:
    """Return the agreements that some words may mean, those named by a number first."""
    typed = words.strip()
    like = "%" + typed.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
    digits = "".join(character for character in typed if character.isdecimal())
    by_bill = select(Bill.agreement_id).where(
        Bill.number == typed.upper(), Bill.state != BillState.HELD
    )
    means = [
        Account.number == typed,
        Agreement.id.in_(by_bill),
        Account.holder_name.ilike(like),
        Premise.address.ilike(like),
    ]
    if len(digits) >= PHONE_DIGITS:
        theirs = (
            select(AccountRight.account_id)
            .join(Person, Person.id == AccountRight.person_id)
            .where(func.right(Person.phone, len(digits)) == digits)
        )
        means.append(Account.id.in_(theirs))
    rows = await session.execute(
        select(*PARTY)
        .join(Account, Account.id == Agreement.account_id)
        .join(ServicePoint, ServicePoint.id == Agreement.service_point_id)
        .join(Premise, Premise.id == ServicePoint.premise_id)
        .where(or_(*means))
        .order_by((Account.number == typed).desc(), Account.number, Agreement.id)
        .limit(FOUND_MAX)
    )
    parties = [Party(*row) for row in rows]
    waiting = await list_open_bills(session, agreement_ids=[each.agreement_id for each in parties])
    return [
        DeskAgreement(
            party=party,
            bills=[bill for bill in waiting if bill.agreement_id == party.agreement_id],
        )
        for party in parties
    ]


async def find_target(session: AsyncSession, *, number: str) -> Target:
    """
    Return what a typed number means: a bill, or the one service of an account that owes.

    Raises:
        TargetNotFound: it is neither, or the account has two services and both or none owe.
        BillNotFound: the bill is held.
    """
    typed = number.strip().upper()
    if typed[:1].isalpha():
        return await find_target_by_bill(session, number=typed)
    agreements = list(
        await session.scalars(
            select(Agreement.id)
            .join(Account, Account.id == Agreement.account_id)
            .where(Account.number == number.strip())
        )
    )
    waiting = await list_open_bills(session, agreement_ids=agreements)
    owing = {bill.agreement_id for bill in waiting} or set(agreements)
    if len(owing) != 1:
        raise TargetNotFound(number=number)
    return Target(agreement_id=owing.pop())


async def find_taker(session: AsyncSession, *, number: str) -> str:
    """Return the name of whoever took a payment at the desk, empty for none."""
    name = await session.scalar(
        select(Person.name)
        .join(AuditEntry, AuditEntry.actor_id == Person.id)
        .where(AuditEntry.subject == f"payment:{number}", AuditEntry.action == "payment.taken")
        .limit(1)
    )
    return name or ""

"""Lines of a bank statement: sure ones are paid, the others wait with the reason."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Account, Agreement
from core.accounts.service import get_operator
from core.billing.models import Bill, BillState
from core.billing.payments import Target, record_payment
from core.billing.settlement import OpenBill, list_open_bills
from core.billing.suspense import assign, find_known, place_in_suspense
from core.db import lock_for_transaction
from core.importing import Fault, Outcome
from core.money import Money

BANK = "bank"
_NUMBERS = re.compile(r"[A-Z0-9](?:[A-Z0-9-]*[A-Z0-9])?", re.ASCII)
_BILLS = re.compile(r"[A-Z][0-9]{4,}", re.ASCII)
_NAMED_MAX = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class BankLine:
    """Money that came in by the bank; the bank gives each `reference` once."""

    position: int
    reference: str
    amount_minor: int
    currency: str
    received_at: datetime
    payer: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """For whom a line is: parts that are sure by what is `named`, or why nobody can be."""

    parts: Sequence[tuple[Target, int]] = ()
    reason: str = ""
    named: str = ""


async def receive_statement(
    session: AsyncSession, lines: Sequence[BankLine], *, now: datetime
) -> Outcome:
    """
    Take in what a bank says came: what is sure is paid, the rest waits in suspense (`held`).

    A reference of the bank is taken once for ever, so the same statement again changes nothing.
    """
    await lock_for_transaction(session, "statement")
    paid = unchanged = held = 0
    faults, notes = [], []
    for line in lines:
        known = await find_known(session, provider=BANK, reference=line.reference)
        if known is not None:
            unchanged += 1
            if known != line.amount_minor:
                why = {"reference": line.reference}
                faults.append(Fault(line.position, "reference", "statement.conflict", why))
            continue
        match = await match_line(session, line)
        came: dict[str, Any] = {
            "provider": BANK,
            "reference": line.reference,
            "amount_minor": line.amount_minor,
            "currency": line.currency,
            "received_at": line.received_at,
            "now": now,
        }
        if len(match.parts) == 1:
            await record_payment(session, target=match.parts[0][0], **came)
        else:
            item_id = await place_in_suspense(
                session, payer=line.payer, words=line.words, reason=match.reason, **came
            )
            if match.parts and item_id is not None:
                await assign(session, item_id=item_id, parts=match.parts, actor_id=None, now=now)
        paid += bool(match.parts)
        held += not match.parts
        notes.append(_describe(line, match))
    return Outcome(new=paid, unchanged=unchanged, held=held, faults=faults, notes=notes)


def _describe(line: BankLine, match: Match) -> Fault:
    """Return what becomes of a line, for whoever imports it."""
    told = {
        "payer": line.payer,
        "words": line.words,
        "number": match.named,
        "amount": Money(line.amount_minor, line.currency),
    }
    code = "statement.line_posted" if match.parts else f"suspense.why_{match.reason}"
    return Fault(line.position, match.reason, code, told)


async def match_line(session: AsyncSession, line: BankLine) -> Match:
    """
    Return where a line's money goes, when a number and the amount leave no doubt.

    The number of a bill, and what is left of it; the number of an account, and what it owes for
    a service or for both; in either case also all that is owed there. Any amount tops up the one
    prepaid agreement of an account that owes nothing for the other service. All else waits.
    """
    if line.currency != (await get_operator(session)).currency:
        return Match(reason="currency")
    written = unicodedata.normalize("NFKC", line.words).upper()
    named = list(dict.fromkeys([*_NUMBERS.findall(written), *_BILLS.findall(written)]))[:_NAMED_MAX]
    bills = (
        await session.execute(
            select(Bill.id, Bill.number, Bill.agreement_id, Agreement.account_id)
            .join(Agreement, Agreement.id == Bill.agreement_id)
            .where(Bill.number.in_(named), Bill.state != BillState.HELD)
        )
    ).all()
    found = select(Account.id, Account.number).where(Account.number.in_(named))
    numbers = (await session.execute(found)).all()
    accounts = {row.id for row in numbers}
    if len(bills) > 1 or len(accounts) > 1:
        return Match(reason="several_numbers")
    if not bills and not accounts:
        return Match(reason="no_number")
    if bills and accounts and bills[0].account_id not in accounts:
        return Match(reason="numbers_disagree")
    of = Agreement.id == bills[0].agreement_id if bills else Agreement.account_id.in_(accounts)
    agreements = list(await session.scalars(select(Agreement.id).where(of)))
    waiting = await list_open_bills(session, agreement_ids=agreements)
    match = _fit(line.amount_minor, waiting, bill_id=bills[0].id if bills else None)
    if not bills and not match.parts:
        match = await _top_up(session, line, agreements, waiting) or match
    return replace(match, named=(bills or numbers)[0].number)


async def _top_up(
    session: AsyncSession, line: BankLine, agreements: Sequence[int], waiting: Sequence[OpenBill]
) -> Match | None:
    """Return that a line tops up the one prepaid agreement of an account, if it owes no other."""
    prepaid = await session.scalars(
        select(Agreement.id).where(
            Agreement.id.in_(agreements), Agreement.is_prepaid, Agreement.ends_date.is_(None)
        )
    )
    found = prepaid.all()
    if len(found) != 1 or any(bill.agreement_id != found[0] for bill in waiting):
        return None
    return Match(parts=[(Target(agreement_id=found[0]), line.amount_minor)])


def _fit(amount_minor: int, waiting: Sequence[OpenBill], *, bill_id: int | None) -> Match:
    named = next((bill for bill in waiting if bill.bill_id == bill_id), None)
    if bill_id is not None and named is None:
        return Match(reason="bill_not_open")
    if named is not None and named.left_minor == amount_minor:
        return Match(
            parts=[(Target(agreement_id=named.agreement_id, bill_id=named.bill_id), amount_minor)]
        )
    owed: dict[int, int] = {}
    for bill in waiting:
        owed[bill.agreement_id] = owed.get(bill.agreement_id, 0) + bill.left_minor
    fitting = [agreement for agreement, minor in owed.items() if minor == amount_minor]
    if len(fitting) == 1:
        return Match(parts=[(Target(agreement_id=fitting[0]), amount_minor)])
    if not fitting and owed and sum(owed.values()) == amount_minor:
        return Match(
            parts=[(Target(agreement_id=agreement), minor) for agreement, minor in owed.items()]
        )
    return Match(reason="amount_differs" if waiting else "nothing_owed")

"""Conversation: paying a bill, wholly or in part, in the chat or elsewhere."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn
from bot.handlers.account import back_home
from bot.handlers.bill_words import title
from bot.outgoing import Button, ButtonIsOld, Invoice, Outgoing, press, read_press
from bot.texts import Markup, Texts
from core.accounts import service as accounts
from core.accounts.service import TELEGRAM
from core.billing import payments, queries
from core.billing.models import BillState
from core.billing.payments import BillNotOpen
from core.billing.queries import BillSummary
from core.errors import DomainError
from core.money import Money
from core.supply import settlement

TITLE_MAX = 32
DESCRIPTION_MAX = 255


class AmountNotPayable(DomainError):
    """An amount to pay lies between the smallest coin and what is left of the bill."""

    code = "payment.amount_not_payable"


async def pay(turn: Turn) -> None:
    """Ask for the payment of the bill, and the part of it, that follow the command."""
    if not turn.said.arguments:
        await _choose(turn)
        return
    number, *amount = turn.said.arguments
    bill = await _open_bill(turn, number.upper())
    minor = bill.left_minor
    if amount:
        typed = turn.texts.parse_quantity("".join(amount))
        minor = Money.exactly(typed, bill.currency).minor
    if not 0 < minor <= bill.left_minor:
        raise AmountNotPayable(left=Money(bill.left_minor, bill.currency))
    await turn.send("payment.invoice", number=bill.number, amount_minor=minor)


async def press_pay(turn: Turn) -> None:
    """Ask for the payment of the bill that was pressed."""
    (number,) = read_press(turn.said.data, str)
    bill = await _open_bill(turn, number)
    await turn.send("payment.invoice", number=bill.number, amount_minor=bill.left_minor)


async def _choose(turn: Turn) -> None:
    found = await queries.list_bills(turn.session, person_id=turn.person_id)
    waiting = [bill for bill in found if bill.state is BillState.ISSUED]
    if len(waiting) == 1:
        (bill,) = waiting
        await turn.send("payment.invoice", number=bill.number, amount_minor=bill.left_minor)
        return
    keys = [[Button(_label(turn.texts, bill), press("pay", bill.number))] for bill in waiting]
    keys.append([back_home(turn.texts)])
    await turn.show("pay.choose" if waiting else "pay.nothing", keyboard=keys)


def _label(texts: Texts, bill: BillSummary) -> str:
    return texts.plain(
        "bills.issued",
        service=texts.plain(f"service.{bill.party.service}"),
        number=bill.number,
        amount=texts.money(bill.left_minor, bill.currency),
        due=texts.day(bill.due_date) if bill.due_date else "",
    )


async def _open_bill(turn: Turn, number: str) -> BillSummary:
    view = await queries.get_bill(turn.session, number=number, person_id=turn.person_id)
    if view.bill.state is not BillState.ISSUED:
        raise BillNotOpen(number=number)
    return view.bill


async def render_invoice(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the invoice; its text says how else to pay, for chats that take no money."""
    texts = reader.texts
    view = await queries.get_bill(session, number=params["number"], person_id=reader.person_id)
    bill, amount = view.bill, params["amount_minor"]
    if bill.left_minor < amount:
        return None
    operator = await accounts.get_operator(session)
    name = texts.plain(f"bill.title_{bill.party.service}", number=bill.number)
    days = texts.days(bill.starts, bill.ends)
    description = texts.plain("pay.description", days=days, address=bill.party.address)
    return Outgoing(
        text=texts.get(
            "pay.elsewhere",
            title=Markup(title(texts, bill)),
            amount=texts.money(amount, bill.currency),
            account=bill.party.account_number,
            hotline=operator.hotline,
        ),
        invoice=Invoice(
            title=name[:TITLE_MAX],
            description=description[:DESCRIPTION_MAX],
            label=name[:TITLE_MAX],
            payload=payments.invoice_payload(number=bill.number, amount_minor=amount),
            currency=bill.currency,
            total_minor=amount,
        ),
    )


async def receive_successful_payment(turn: Turn) -> None:
    """Record the money that was paid in the chat; the receipt follows by itself."""
    paid = turn.said.paid
    if paid is None:
        raise ButtonIsOld
    await settlement.receive_invoice_payment(
        turn.session,
        provider=TELEGRAM,
        reference=paid.charge_ref,
        payload=paid.payload,
        amount_minor=paid.total_minor,
        currency=paid.currency,
        payer_id=turn.person_id,
        now=turn.now,
    )


COMMANDS: dict[str, Command] = {"pay": Command(run=pay, customers_only=True)}
PRESSES: dict[str, Handle] = {"pay": press_pay}
STEPS: dict[str, Handle] = {"payment.paid": receive_successful_payment}
RENDERERS: dict[str, Render] = {"payment.invoice": render_invoice}

"""Conversation: paying a bill, wholly or in part, in the chat or elsewhere."""

from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn
from bot.documents.documents import qr_png
from bot.handlers.account import back_home
from bot.handlers.bill_words import bill_button, title
from bot.outgoing import Button, ButtonIsOld, File, Invoice, Outgoing, press, read_press
from bot.texts import Markup, Texts
from core.accounts import service as accounts
from core.accounts.models import Role
from core.accounts.service import TELEGRAM
from core.billing import invoices, payments, queries
from core.billing.arrears import find_arrears_of_bill
from core.billing.invoices import BillNotOpen
from core.billing.models import BillState, Payment, PaymentState
from core.billing.plan_queries import find_asked
from core.billing.queries import BillSummary, Party
from core.billing.settlement import list_open_bills
from core.billing.suspense import CLEARED_WITHIN, list_exceptions
from core.errors import DomainError
from core.money import Money

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
    found = await _find_open(turn, number.upper())
    minor = found.left_minor
    if amount:
        typed = turn.texts.parse_quantity("".join(amount))
        minor = Money.exactly(typed, found.bill.currency).minor
    if not 0 < minor <= found.left_minor:
        raise AmountNotPayable(left=Money(found.left_minor, found.bill.currency))
    await _ask_unless_unsure(turn, found, minor)


async def _ask_unless_unsure(
    turn: Turn, found: BillSummary, minor: int, *, all_: bool = False
) -> None:
    """Ask for money, but first warn of a payment for the bill of which nobody knows the fate."""
    number, texts = found.bill.number, turn.texts
    last = await payments.find_last_state(turn.session, bill_number=number)
    if last is PaymentState.UNKNOWN:
        sure = Button(texts.plain("pay.sure"), press("paysure", number, minor, int(all_)))
        await turn.show(
            "pay.unsure", title=Markup(title(texts, found)), keyboard=[[sure], [back_home(texts)]]
        )
    else:
        await _ask_for(turn, found, minor, all_=all_)


async def press_sure(turn: Turn) -> None:
    """Ask for money although an earlier payment may have come."""
    number, minor, all_ = read_press(turn.said.data, str, int, int)
    await _ask_for(turn, await _find_open(turn, number), minor, all_=bool(all_))


async def _ask_for(turn: Turn, found: BillSummary, minor: int, *, all_: bool = False) -> None:
    """Send the invoice, and for all of a bill the link to the payment page too."""
    number = found.bill.number
    if all_:
        await turn.send("payment.invoice", number=number, amount_minor=minor, is_for_all=True)
        return
    await turn.send("payment.invoice", number=number, amount_minor=minor)
    if minor == found.left_minor:
        await turn.send("payment.link", number=number)


async def press_pay(turn: Turn) -> None:
    """Ask for the payment of the bill that was pressed."""
    (number,) = read_press(turn.said.data, str)
    found = await _find_open(turn, number)
    await _ask_unless_unsure(turn, found, found.left_minor)


async def press_pay_overdue(turn: Turn) -> None:
    """Ask at once for all that is overdue where the pressed bill belongs."""
    (number,) = read_press(turn.said.data, str)
    found = await _find_open(turn, number)
    arrears = await find_arrears_of_bill(turn.session, number=number, now=turn.now)
    minor = found.left_minor if arrears is None else arrears.overdue_minor
    await _ask_unless_unsure(turn, found, minor, all_=True)


async def _find_open(turn: Turn, number: str) -> BillSummary:
    found = await queries.get_summary(turn.session, number=number, person_id=turn.person_id)
    if found.bill.state is not BillState.ISSUED:
        raise BillNotOpen(number=number)
    return found


async def _choose(turn: Turn) -> None:
    found = await queries.list_bills(turn.session, person_id=turn.person_id)
    waiting = [each for each in found if each.bill.state is BillState.ISSUED]
    if len(waiting) == 1:
        await _ask_unless_unsure(turn, waiting[0], waiting[0].left_minor)
        return
    keys = [[bill_button(turn.texts, each, "pay")] for each in waiting]
    keys.append([back_home(turn.texts)])
    await turn.show("pay.choose" if waiting else "pay.nothing", keyboard=keys)


def number_words(texts: Texts, number: str, party: Party) -> str:
    """Return what a bill is called on an invoice."""
    return texts.plain(f"bill.title_{party.service}", number=number)[:TITLE_MAX]


async def render_invoice(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the invoice; its text says how else to pay, for chats that take no money."""
    texts = reader.texts
    found = await queries.get_summary(session, number=params["number"], person_id=reader.person_id)
    bill, party, amount = found.bill, found.party, params["amount_minor"]
    is_for_all = params.get("is_for_all", False)
    owing = found.left_minor
    if is_for_all:
        owing = await payments.owed(session, agreement_id=bill.agreement_id)
    if bill.state is not BillState.ISSUED or owing < amount:
        return None
    prices = [(number_words(texts, bill.number, party), amount)]
    if is_for_all:
        prices = await _share(session, reader, found, amount)
    operator = await accounts.get_operator(session)
    days = texts.days(bill.starts_date, bill.ends_date)
    description = texts.plain("pay.description", days=days, address=party.address)
    name, heading = prices[0][0], Markup(title(texts, found))
    if len(prices) > 1:
        name = texts.count("pay.bills", len(prices))
        description = texts.plain("pay.description_all", address=party.address)
    if "plan" in params:
        name = texts.plain("pay.part", number=params["plan"], position=params["position"])
        description, heading = party.address, Markup(name)
    return Outgoing(
        text=texts.get(
            "pay.elsewhere",
            title=heading,
            amount=texts.money(amount, bill.currency),
            account=party.account_number,
            hotline=operator.hotline,
        ),
        invoice=Invoice(
            title=name[:TITLE_MAX],
            description=description[:DESCRIPTION_MAX],
            payload=invoices.invoice_payload(
                number=bill.number, amount_minor=amount, owing_minor=owing, is_for_all=is_for_all
            ),
            currency=bill.currency,
            prices=prices,
        ),
    )


async def _share(
    session: AsyncSession, reader: Reader, found: BillSummary, amount: int
) -> list[tuple[str, int]]:
    """Return to which bills an amount goes: the oldest first."""
    shares = []
    for bill in await list_open_bills(session, agreement_ids=[found.bill.agreement_id]):
        share = min(amount, bill.left_minor)
        if share > 0:
            shares.append((number_words(reader.texts, bill.number, found.party), share))
            amount -= share
    return shares


async def render_link(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the link to the payment page with its code, for whoever pays elsewhere or for us."""
    found = await queries.get_summary(session, number=params["number"], person_id=reader.person_id)
    link = reader.pay_link(found.bill.number)
    if not link or found.left_minor <= 0:
        return None
    asked = await find_asked(session, summary=found, now=reader.now)
    texts, amount, heading = reader.texts, found.left_minor, Markup(title(reader.texts, found))
    if asked:
        amount, part = asked.part.amount_minor, asked.part
        heading = Markup(texts.get("pay.part", number=asked.number, position=part.position))
    return Outgoing(
        text=reader.texts.get(
            "pay.link",
            title=heading,
            amount=reader.texts.money(amount, found.bill.currency),
            link=link,
        ),
        photo=File(name=f"{found.bill.number}.png", make=partial(qr_png, link)),
    )


async def render_returned(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return that money of a payment went back or came again, and what is open now."""
    receipt = await queries.get_receipt(
        session, number=params["number"], person_id=reader.person_id
    )
    texts, payment = reader.texts, receipt.payment

    def money(minor: int) -> str:
        return texts.money(minor, payment.currency)

    reason = params.get("reason", "")
    parts = [
        texts.get(
            f"returned.{params['what']}",
            number=payment.number,
            amount=money(payment.amount_minor),
            returned=money(params["returned_minor"]),
            service=texts.plain(f"service.{receipt.party.service}"),
            address=receipt.party.address,
        ),
        *([texts.get("returned.reason", reason=reason)] if reason else []),
        texts.get(
            "returned.owed" if receipt.owed_minor else "returned.nothing_owed",
            amount=money(receipt.owed_minor),
        ),
    ]
    bills = Button(texts.plain("bill.mine"), press("go", "bills"))
    return Outgoing(text=texts.lines(parts), keyboard=[[bills]])


async def render_unknown(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return that nobody knows yet what became of a payment, while that is so."""
    payment = await session.scalar(select(Payment).where(Payment.number == params["number"]))
    if payment is None or payment.state is not PaymentState.UNKNOWN:
        return None
    amount = reader.texts.money(payment.amount_minor, payment.currency)
    return Outgoing(text=reader.texts.get("payment.unknown", number=payment.number, amount=amount))


async def render_suspense(
    session: AsyncSession, reader: Reader, _params: dict[str, Any]
) -> Outgoing | None:
    """Return how much money waits to be placed, if any still does."""
    waiting = len(await list_exceptions(session, before=reader.now - CLEARED_WITHIN))
    if not waiting or Role.MANAGER not in reader.roles:
        return None
    return Outgoing(text=reader.texts.count("suspense.waiting", waiting))


async def render_faults(
    _session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return to managers that the nightly audit found something."""
    if Role.MANAGER not in reader.roles:
        return None
    return Outgoing(text=reader.texts.count("audit.faults", params["count"], first=params["first"]))


async def receive_successful_payment(turn: Turn) -> None:
    """Record the money that was paid in the chat; the receipt follows by itself."""
    paid = turn.said.paid
    if paid is None:
        raise ButtonIsOld
    await invoices.take_invoice_payment(
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
PRESSES: dict[str, Handle] = {
    "pay": press_pay,
    "paydue": press_pay_overdue,
    "paysure": press_sure,
}
STEPS: dict[str, Handle] = {"payment.paid": receive_successful_payment}
RENDERERS: dict[str, Render] = {
    "payment.invoice": render_invoice,
    "payment.link": render_link,
    "payment.returned": render_returned,
    "payment.unknown": render_unknown,
    "suspense.waiting": render_suspense,
    "audit.faults": render_faults,
}

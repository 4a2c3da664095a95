"""Bills, receipts and their differences in words, for the chat."""

from collections.abc import Iterator
from decimal import Decimal

from bot.texts import Markup, Texts
from core.accounts.models import Service
from core.billing.explain import Comparison, Explanation
from core.billing.ledger import StatementLine
from core.billing.models import BillState
from core.billing.queries import BillSummary, BillView, LineView, ReceiptView
from core.billing.registers import BilledSpan
from core.money import currency_digits, round_to

AMOUNT_DIGITS = 4  # an exact amount can have more; nobody checks them by eye


def title(texts: Texts, bill: BillSummary) -> str:
    """Return what a bill is called."""
    return texts.get(f"bill.title_{bill.party.service}", number=bill.number)


def exact(texts: Texts, amount: Decimal, currency: str) -> str:
    """Return an unrounded amount of a line."""
    shown = max(AMOUNT_DIGITS, currency_digits(currency))
    return texts.price(round_to(amount, digits=shown).normalize(), currency)


def tier_words(texts: Texts, line: LineView, service: Service) -> str:
    """Return which tier a line is priced by, empty for none."""
    if line.tier is None or line.tier_from is None:
        return ""
    if line.tier_to is None:
        reached = texts.quantity(line.tier_from, service)
        return texts.plain("bill.tier_last", tier=line.tier, above=reached)
    up_to = texts.quantity(line.tier_to, service)
    return texts.plain("bill.tier", tier=line.tier, up_to=up_to)


def reading_words(texts: Texts, span: BilledSpan) -> str:
    """Return both readings of a register with their days."""
    values = {
        "serial": span.serial,
        "opening": texts.number(span.opening.value),
        "opened": texts.day(span.opening.at),
        "closing": texts.number(span.closing.value),
        "closed": texts.day(span.closing.at),
    }
    if span.multiplier == 1:
        return texts.get("bill.reading", **values)
    return texts.get("bill.reading_times", **values, times=texts.number(span.multiplier))


def line_words(texts: Texts, line: LineView, bill: BillSummary) -> str:
    """Return one line of a bill as a sentence that can be checked by hand."""
    name = line.names.get(texts.locale) or texts.plain("bill.minimum")
    amount = exact(texts, line.amount, bill.currency)
    if line.kind == "tax":
        return texts.get("bill.line_tax", name=name, rate=texts.percent(line.price), amount=amount)
    if line.kind != "use":
        return texts.get("bill.line_fixed", name=name, amount=amount)
    tier = tier_words(texts, line, bill.party.service)
    return texts.get(
        "bill.line_tier" if tier else "bill.line",
        name=name,
        tier=tier,
        quantity=texts.quantity(line.quantity, bill.party.service),
        price=texts.price(line.price, bill.currency),
        amount=amount,
    )


def state_words(texts: Texts, bill: BillSummary) -> str:
    """Return what is to pay on a bill, or why nothing is."""
    left = texts.money(bill.left_minor, bill.currency)
    match bill.state:
        case BillState.ISSUED:
            key = "bill.part_paid" if bill.left_minor < bill.total_minor else "bill.to_pay"
            due = texts.day(bill.due_date) if bill.due_date else ""
            return texts.get(key, left=left, due=due)
        case BillState.SETTLED:
            settled = texts.day(bill.settled_at) if bill.settled_at else ""
            return texts.get("bill.settled", day=settled)
        case BillState.VOID:
            return texts.get("bill.void", reason=bill.void_reason or "")
        case BillState.HELD:
            return texts.get("bill.held", reason=texts.plain(f"held.{bill.held_reason}"))


def describe_bill(texts: Texts, view: BillView) -> str:
    """Return a bill's screen: readings, each line, total, and what is to pay."""
    bill = view.bill
    several_periods = len({line.starts for line in view.lines}) > 1
    lines: list[str] = []
    for index, line in enumerate(view.lines):
        is_first_of_days = index == 0 or view.lines[index - 1].starts != line.starts
        if several_periods and is_first_of_days:
            lines.append(texts.get("bill.days", days=texts.days(line.starts, line.ends)))
        lines.append(line_words(texts, line, bill))
    return texts.lines(
        [
            texts.get("bill.head", title=Markup(title(texts, bill))),
            texts.get("bill.where", address=bill.party.address, account=bill.party.account_number),
            texts.days(bill.starts, bill.ends),
            "",
            *(reading_words(texts, span) for span in view.spans),
            texts.get("bill.used", quantity=texts.quantity(bill.consumption, bill.party.service)),
            "",
            *lines,
            texts.get("bill.total", total=texts.money(bill.total_minor, bill.currency)),
            "",
            state_words(texts, bill),
        ]
    )


def caption(texts: Texts, bill: BillSummary) -> str:
    """Return a new bill in four lines, below its document."""
    return texts.lines(
        [
            texts.get("bill.head", title=Markup(title(texts, bill))),
            texts.get("bill.where", address=bill.party.address, account=bill.party.account_number),
            texts.get(
                "bill.in_short",
                days=texts.days(bill.starts, bill.ends),
                quantity=texts.quantity(bill.consumption, bill.party.service),
                total=texts.money(bill.total_minor, bill.currency),
            ),
            state_words(texts, bill),
        ]
    )


def describe_receipt(texts: Texts, receipt: ReceiptView) -> str:
    """Return a receipt: what came in, where it went, what is still open."""
    currency = receipt.currency
    parts = [
        texts.get(
            "receipt.head",
            number=receipt.number,
            amount=texts.money(receipt.amount_minor, currency),
        ),
        texts.get(
            "bill.where", address=receipt.party.address, account=receipt.party.account_number
        ),
    ]
    for paid, _, _ in receipt.bills:
        parts.append(
            texts.get(
                "receipt.bill_part" if paid.left_minor else "receipt.bill_whole",
                number=paid.number,
                amount=texts.money(paid.amount_minor, currency),
                left=texts.money(paid.left_minor, currency),
            )
        )
    if receipt.credit_minor:
        credit = texts.money(receipt.credit_minor, currency)
        parts.append(texts.get("receipt.credit", amount=credit))
    if receipt.owed_minor:
        parts.append(texts.get("receipt.owed", amount=texts.money(receipt.owed_minor, currency)))
    else:
        parts.append(texts.get("receipt.nothing_owed"))
    return texts.lines(parts)


def describe_explanation(texts: Texts, found: Explanation) -> str:
    """Return why a bill is what it is, against the one before and a year ago."""
    bill = found.bill
    parts = [
        texts.get(
            "why.head",
            title=Markup(title(texts, bill)),
            total=texts.money(bill.total_minor, bill.currency),
            quantity=texts.quantity(bill.consumption, bill.party.service),
        )
    ]
    if found.before is None:
        parts.append(texts.get("why.first"))
    for key, comparison in (("why.before", found.before), ("why.year_ago", found.year_ago)):
        is_shown_above = key == "why.year_ago" and comparison == found.before
        if comparison is not None and not is_shown_above:
            parts += ["", *_compared(texts, key, comparison, bill)]
    return texts.lines(parts)


def _compared(texts: Texts, key: str, comparison: Comparison, bill: BillSummary) -> Iterator[str]:
    difference = bill.total_minor - comparison.total_minor
    yield texts.get(
        key,
        number=comparison.number,
        days=texts.days(comparison.starts, comparison.ends),
        total=texts.money(comparison.total_minor, bill.currency),
        quantity=texts.quantity(comparison.consumption, bill.party.service),
        difference=Markup(signed(texts, difference, bill.currency)),
    )
    for part in comparison.parts:
        amount = Markup(signed(texts, part.minor, bill.currency))
        yield texts.get(f"why.cause_{part.cause}", amount=amount)


def signed(texts: Texts, minor: int, currency: str) -> str:
    """Return a difference of money with its sign."""
    key = "why.more" if minor >= 0 else "why.less"
    return texts.get(key, amount=texts.money(abs(minor), currency))


def statement_line(texts: Texts, line: StatementLine) -> str:
    """Return one movement of an account in plain words."""
    number = line.reference.split(":")[-1]
    return texts.get(
        f"statement.{line.kind}",
        day=texts.day(line.at),
        number=number,
        amount=Markup(signed(texts, line.amount_minor, line.currency)),
        balance=balance_words(texts, line.balance_minor, line.currency),
    )


def balance_words(texts: Texts, minor: int, currency: str) -> str:
    """Return what is owed, or the credit, as plain text."""
    key = "statement.owed" if minor > 0 else "statement.credit"
    return texts.plain(key if minor else "statement.even", amount=texts.money(abs(minor), currency))

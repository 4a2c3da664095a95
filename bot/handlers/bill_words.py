"""Bills, receipts and their differences in words, for the chat."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal

from bot.outgoing import Button, press
from bot.texts import Markup, Texts
from core.accounts.models import Service
from core.billing.consumption import BilledSpan
from core.billing.explain import Comparison, Explanation
from core.billing.inputs import read_ahead, read_spans
from core.billing.ledger import StatementLine
from core.billing.models import Bill, BillLine, BillState
from core.billing.queries import BillSummary, BillView, Party, ReceiptView
from core.money import currency_digits, round_to

AMOUNT_DIGITS = 4  # an exact amount can have more; nobody checks them by eye


def title(texts: Texts, summary: BillSummary) -> str:
    """Return what a bill is called."""
    return texts.get(f"bill.title_{summary.party.service}", number=summary.bill.number)


def _standing(summary: BillSummary) -> str:
    """Return how a bill stands in a list."""
    if summary.bill.state is BillState.ISSUED:
        if summary.paused_by:
            return summary.paused_by
        if summary.party.is_prepaid:
            return "prepaid"
    return summary.bill.state.value


def bill_button(texts: Texts, summary: BillSummary, family: str) -> Button:
    """Return a bill's line in a list as a button of a family."""
    bill = summary.bill
    is_open = bill.state is BillState.ISSUED
    label = texts.plain(
        f"bills.{_standing(summary)}",
        service=texts.plain(f"service.{summary.party.service}"),
        number=bill.number,
        amount=texts.money(summary.left_minor if is_open else bill.total_minor, bill.currency),
        due=texts.day(bill.due_date) if bill.due_date else "",
    )
    return Button(label, press(family, bill.number))


def exact(texts: Texts, amount: Decimal, currency: str) -> str:
    """Return an unrounded amount of a line."""
    shown = max(AMOUNT_DIGITS, currency_digits(currency))
    return texts.price(round_to(amount, digits=shown).normalize(), currency)


Labels = Mapping[str, Mapping[str, str]]


def line_name(texts: Texts, labels: Labels, line: BillLine) -> str:
    """Return what the tariff calls a line, or which bill was paid late."""
    if line.kind == "late":
        return texts.plain("bill.late", number=line.component)
    return labels.get(line.component, {}).get(texts.locale) or texts.plain("bill.minimum")


def register_name(texts: Texts, line: BillLine) -> str:
    """Return at which hours the use of a line was, empty where that made no difference."""
    if line.register is None:
        return ""
    known = texts.knows(f"register.{line.register}")
    return texts.plain(f"register.{line.register}") if known else line.register


def tier_words(texts: Texts, line: BillLine, service: Service) -> str:
    """Return which tier a line is priced by, empty for none."""
    if line.tier is None or line.tier_from is None:
        return ""
    if line.tier_to is None:
        reached = texts.quantity(line.tier_from, service)
        return texts.plain("bill.tier_last", tier=line.tier, above=reached)
    up_to = texts.quantity(line.tier_to, service)
    return texts.plain("bill.tier", tier=line.tier, up_to=up_to)


def _reading_words(texts: Texts, span: BilledSpan) -> str:
    return texts.get(
        "bill.reading" if span.multiplier == 1 else "bill.reading_times",
        serial=span.serial,
        opening=texts.number(span.opening.value),
        opened=texts.day(span.opening.at),
        closing=texts.number(span.closing.value),
        closed=texts.day(span.closing.at),
        times=texts.number(span.multiplier),
    )


def rest_words(texts: Texts, view: BillView) -> str:
    """Return where the fraction of a reading goes when whole units are billed, else nothing."""
    shown = [value for span in view.spans for value in (span.opening.value, span.closing.value)]
    is_cut = view.bill.consumption % 1 == 0 and any(value % 1 for value in shown)
    return texts.plain("bill.rest") if is_cut else ""


def estimate_words(texts: Texts, summary: BillSummary, *, say: Callable[..., str]) -> list[str]:
    """Return what on a bill rests on an estimate, or puts an earlier one right."""
    inputs, service = summary.bill.inputs, summary.party.service
    found = []
    for span in read_spans(inputs):
        if span.closing.is_estimate:
            found.append(say("bill.estimated", serial=span.serial))
        elif span.opening.is_estimate:
            guess = texts.number(span.opening.value)
            found.append(say("bill.trued_up", serial=span.serial, opening=guess))
    before, after = (sum(read_ahead(inputs, before=was).values()) for was in (True, False))
    if before > after:
        taken = texts.quantity(Decimal(before - after), service)
        found.append(say("bill.taken_off", quantity=taken))
    if after:
        found.append(say("bill.ahead", quantity=texts.quantity(Decimal(after), service)))
    return found


def line_words(
    texts: Texts, line: BillLine, *, labels: Labels, service: Service, currency: str
) -> str:
    """Return one line of a bill as a sentence that can be checked by hand."""
    name, amount = line_name(texts, labels, line), exact(texts, line.amount, currency)
    if line.kind == "tax":
        return texts.get("bill.line_tax", name=name, rate=texts.percent(line.price), amount=amount)
    if line.kind == "late":
        return texts.get(
            "bill.line_late",
            name=name,
            days=texts.count("dispute.days", (line.ends_date - line.starts_date).days),
            rate=texts.percent(line.price),
            owed=texts.price(line.quantity, currency),
            amount=amount,
        )
    if line.kind != "use":
        return texts.get("bill.line_fixed", name=name, amount=amount)
    parts = [register_name(texts, line), tier_words(texts, line, service)]
    tier = ", ".join(filter(None, parts))
    return texts.get(
        "bill.line_tier" if tier else "bill.line",
        name=name,
        tier=tier,
        quantity=texts.quantity(line.quantity, service),
        price=texts.price(line.price, currency),
        amount=amount,
    )


def all_line_words(
    texts: Texts, lines: Sequence[BillLine], *, labels: Labels, service: Service, currency: str
) -> Iterator[str]:
    """Yield a bill's lines, with the days of each part where prices changed in between."""
    several_periods = len({line.starts_date for line in lines}) > 1
    day = None
    for line in lines:
        if several_periods and line.starts_date != day:
            days = texts.days(line.starts_date, line.ends_date)
            yield texts.get("bill.days", days=days)
        day = line.starts_date
        yield line_words(texts, line, labels=labels, service=service, currency=currency)


def state_words(texts: Texts, summary: BillSummary) -> str:
    """Return what is to pay on a bill, or why nothing is."""
    bill = summary.bill
    left = texts.money(summary.left_minor, bill.currency)
    match bill.state:
        case BillState.ISSUED if summary.paused_by:
            return texts.get(f"bill.{summary.paused_by}", left=left)
        case BillState.ISSUED | BillState.SETTLED if summary.party.is_prepaid:
            is_over = bill.state is BillState.ISSUED
            return texts.get("bill.over_balance" if is_over else "bill.from_balance", left=left)
        case BillState.ISSUED:
            asked = bill.total_minor - bill.credited_minor
            key = "bill.part_paid" if summary.left_minor < asked else "bill.to_pay"
            due = texts.day(bill.due_date) if bill.due_date else ""
            return texts.get(key, left=left, due=due)
        case BillState.SETTLED:
            settled = texts.day(bill.settled_at) if bill.settled_at else ""
            return texts.get("bill.settled", day=settled)
        case BillState.VOID:
            return texts.get("bill.void", reason=bill.void_reason or "")
        case BillState.HELD:
            return texts.get("bill.held", reason=texts.plain(f"held.{bill.held_reason}"))


def _where(texts: Texts, party: Party) -> str:
    return texts.get("bill.where", address=party.address, account=party.account_number)


def describe_bill(texts: Texts, view: BillView) -> str:
    """Return a bill's screen: readings, each line, total, and what is to pay."""
    bill = view.bill
    lines = all_line_words(
        texts,
        view.lines,
        labels=view.labels,
        service=view.party.service,
        currency=bill.currency,
    )
    return texts.lines(
        [
            texts.get("bill.head", title=Markup(title(texts, view))),
            _where(texts, view.party),
            texts.days(bill.starts_date, bill.ends_date),
            "",
            *(_reading_words(texts, span) for span in view.spans),
            texts.get("bill.used", quantity=texts.quantity(bill.consumption, view.party.service)),
            *filter(None, [rest_words(texts, view)]),
            *estimate_words(texts, view, say=texts.get),
            "",
            *lines,
            texts.get("bill.total", total=texts.money(bill.total_minor, bill.currency)),
            "",
            state_words(texts, view),
        ]
    )


def caption(texts: Texts, summary: BillSummary) -> str:
    """Return a new bill in four lines, below its document."""
    bill = summary.bill
    return texts.lines(
        [
            texts.get("bill.head", title=Markup(title(texts, summary))),
            _where(texts, summary.party),
            texts.get(
                "bill.in_short",
                days=texts.days(bill.starts_date, bill.ends_date),
                quantity=texts.quantity(bill.consumption, summary.party.service),
                total=texts.money(bill.total_minor, bill.currency),
            ),
            *estimate_words(texts, summary, say=texts.get),
            state_words(texts, summary),
        ]
    )


def describe_receipt(texts: Texts, receipt: ReceiptView, *, balance: str | None = None) -> str:
    """Return a receipt: what came in, where it went, what is still open or left (`balance`)."""
    payment = receipt.payment

    def money(minor: int) -> str:
        return texts.money(minor, payment.currency)

    parts = [
        texts.get("receipt.head", number=payment.number, amount=money(payment.amount_minor)),
        _where(texts, receipt.party),
    ]
    if returned := payment.amount_minor - payment.kept_minor:
        parts.append(texts.get("receipt.returned", amount=money(returned)))
    for paid in receipt.bills:
        key = "receipt.bill_part" if paid.left_minor else "receipt.bill_whole"
        amount, left = money(paid.amount_minor), money(paid.left_minor)
        parts.append(texts.get(key, number=paid.number, amount=amount, left=left))
    if receipt.paid_before:
        parts.append(texts.get("receipt.paid_before", number=receipt.paid_before))
    if receipt.credit_minor:
        key = "receipt.credit_prepaid" if receipt.party.is_prepaid else "receipt.credit"
        parts.append(texts.get(key, amount=money(receipt.credit_minor)))
    owed = "receipt.owed" if receipt.owed_minor else "receipt.nothing_owed"
    if receipt.owed_minor or balance is None:
        parts.append(texts.get(owed, amount=money(receipt.owed_minor)))
    if balance:
        parts.append(balance)
    return texts.lines(parts)


def describe_explanation(texts: Texts, found: Explanation) -> str:
    """Return why a bill is what it is, against the one before and a year ago."""
    bill = found.summary.bill
    parts = [
        texts.get(
            "why.head",
            title=Markup(title(texts, found.summary)),
            total=texts.money(bill.total_minor, bill.currency),
            quantity=texts.quantity(bill.consumption, found.summary.party.service),
        )
    ]
    if found.before is None:
        parts.append(texts.get("why.first"))
    else:
        parts += _compared(texts, "before", found.before, found.summary)
    if found.year_ago is not None and found.year_ago != found.before:
        parts += _compared(texts, "year_ago", found.year_ago, found.summary)
    return texts.lines(parts)


def _compared(
    texts: Texts, which: str, comparison: Comparison, summary: BillSummary
) -> Iterator[str]:
    earlier, currency = comparison.earlier, summary.bill.currency
    service = summary.party.service
    difference = summary.bill.total_minor - earlier.total_minor
    key = f"why.{which}" if difference else f"why.{which}_even"
    yield ""
    yield texts.get(
        key if comparison.parts else f"why.{which}_same",
        number=earlier.number,
        days=texts.days(earlier.starts_date, earlier.ends_date),
        total=texts.money(earlier.total_minor, currency),
        quantity=texts.quantity(earlier.consumption, service),
        difference=Markup(_signed(texts, difference, currency)),
    )
    facts = [_facts(texts, bill, service) for bill in (earlier, summary.bill)]
    for part in comparison.parts:
        amount = Markup(_signed(texts, part.minor, currency))
        before, after = (fact.get(part.cause, "") for fact in facts)
        yield texts.get(f"why.cause_{part.cause}", amount=amount, before=before, after=after)


def _facts(texts: Texts, bill: Bill, service: Service) -> Mapping[str, str]:
    """Return what each cause of a difference was in a bill."""
    days = (bill.ends_date - bill.starts_date).days
    used = sum(map(Decimal, bill.inputs["used"].values()), Decimal(0))
    return {
        "days": texts.number(Decimal(days)),
        "household": texts.number(Decimal(bill.inputs["people"])),
        "tiers": texts.quantity(used, service, places_max=1),
        "use": texts.quantity(bill.consumption / days, service, places_max=2),
    }


def _signed(texts: Texts, minor: int, currency: str) -> str:
    key = "why.more" if minor >= 0 else "why.less"
    return texts.get(key, amount=texts.money(abs(minor), currency))


def statement_line(texts: Texts, line: StatementLine) -> str:
    """Return one movement of an account in plain words."""
    return texts.get(
        f"statement.{line.kind}",
        day=texts.day(line.at),
        number=line.reference.split(":")[-1],
        amount=Markup(_signed(texts, line.amount_minor, line.currency)),
        balance=balance_words(texts, line.balance_minor, line.currency),
    )


def balance_words(texts: Texts, minor: int, currency: str) -> str:
    """Return what is owed, or the credit, as plain text."""
    key = "statement.owed" if minor > 0 else "statement.credit"
    return texts.plain(key if minor else "statement.even", amount=texts.money(abs(minor), currency))

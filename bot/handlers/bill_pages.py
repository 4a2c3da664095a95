"""Bills and receipts as documents: every field filled in the person's language."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from bot.documents.charts import Bar
from bot.documents.documents import (
    BillDocument,
    ChargeRow,
    CoveredBill,
    Field,
    ReadingRow,
    ReceiptDocument,
)
from bot.handlers.bill_words import (
    estimate_words,
    exact,
    line_name,
    register_name,
    rest_words,
    tier_words,
)
from bot.texts import Texts
from core.accounts.models import Operator
from core.billing.consumption import BilledSpan
from core.billing.models import Bill, BillLine
from core.billing.queries import BillView, Party, ReceiptView
from core.money import Money
from core.periods import a_year_before, local_day

_PROVIDERS = ("telegram", "cashier", "bank", "link", "stripe", "alipay", "wechat")


def bill_page(
    texts: Texts, operator: Operator, view: BillView, *, pay_link: str = ""
) -> BillDocument:
    """Return a bill as a page; its code leads to the payment page, or is for the cashier."""
    bill, plain = view.bill, texts.plain
    service = view.party.service
    assert bill.issued_at is not None  # noqa: S101 (it was issued)

    def money(minor: int) -> str:
        return texts.money(minor, bill.currency)

    return BillDocument(
        **letterhead(texts, operator, view.party),
        title=plain(f"page.title_{service}"),
        number=Field(label=plain("page.number"), value=bill.number),
        issued=Field(label=plain("page.issued"), value=texts.day(bill.issued_at)),
        issued_on=local_day(bill.issued_at, zone=ZoneInfo(operator.timezone)),
        notes=(
            *filter(None, [rest_words(texts, view)]),
            *estimate_words(texts, view, say=plain),
            plain("page.note_tariff"),
            plain("page.note_question", hotline=operator.hotline),
        ),
        amount_due=Field(label=plain("page.amount_due"), value=money(view.left_minor)),
        due_date=Field(label=plain("page.due_date"), value=_due(texts, view)),
        supply=(
            Field(label=plain("page.meter"), value=", ".join({s.serial: s for s in view.spans})),
            Field(label=plain("page.period"), value=texts.days(bill.starts_date, bill.ends_date)),
        ),
        readings_title=plain("page.readings"),
        readings=tuple(row for span in view.spans for row in _readings(texts, span)),
        consumption=Field(
            label=plain("page.used"), value=texts.quantity(bill.consumption, service)
        ),
        charges_title=plain("page.charges"),
        charge_headings=ChargeRow(
            component=plain("page.charge"),
            tier=plain("page.tier"),
            quantity=plain("page.quantity"),
            price=plain("page.price"),
            amount=plain("page.amount"),
        ),
        charges=tuple(_charge(texts, line, view) for line in view.lines),
        sums=(
            Field(label=plain("page.sum"), value=money(bill.total_minor)),
            *(
                [Field(label=plain("page.credited"), value=money(-bill.credited_minor))]
                if bill.credited_minor
                else []
            ),
            Field(
                label=plain("page.paid"),
                value=money(view.left_minor - bill.total_minor + bill.credited_minor),
            ),
            Field(label=plain("page.amount_due"), value=money(view.left_minor)),
        ),
        payment_title=plain("page.how_to_pay"),
        payment_steps=(
            *([plain("page.pay_link")] if pay_link else []),
            plain("page.pay_chat"),
            plain("page.pay_desk", account=view.party.account_number, number=bill.number),
        ),
        qr_content=pay_link or _scanned(view),
        qr_caption=plain("page.scan_to_pay" if pay_link else "page.scan"),
        usage_title=plain("page.usage"),
        usage=_bars(texts, view),
        usage_sentence=_usage_sentence(texts, view),
        photo=view.photo,
        photo_caption=plain("page.photo"),
    )


def letterhead(texts: Texts, operator: Operator, party: Party) -> dict[str, Any]:
    """Return what every document says of the operator and of whose it is."""
    plain = texts.plain
    return {
        "language": texts.locale,
        "service": party.service.value,
        "service_name": plain(f"service.{party.service}"),
        "operator": operator.name,
        "contacts": (plain("page.hotline", hotline=operator.hotline),),
        "parties": (
            Field(label=plain("page.holder"), value=party.holder_name),
            Field(label=plain("page.account"), value=party.account_number),
            Field(label=plain("page.address"), value=party.address),
        ),
    }


def _readings(texts: Texts, span: BilledSpan) -> tuple[ReadingRow, ...]:
    both = (("page.previous", span.opening), ("page.present", span.closing))
    return tuple(
        ReadingRow(
            label=texts.plain(key),
            read_on=texts.day(shown.at),
            source=texts.plain(f"page.source_{shown.source}"),
            value=texts.number(shown.value),
        )
        for key, shown in both
    )


def _charge(texts: Texts, line: BillLine, view: BillView) -> ChargeRow:
    currency, service = view.bill.currency, view.party.service
    is_use = line.kind == "use"
    parts = [register_name(texts, line), tier_words(texts, line, service)]
    if line.kind in {"tax", "late"}:
        parts.append(texts.percent(line.price))
    if len({each.starts_date for each in view.lines}) > 1:
        parts.append(texts.days(line.starts_date, line.ends_date))
    return ChargeRow(
        component=line_name(texts, view.labels, line),
        tier=", ".join(filter(None, parts)),
        quantity=texts.quantity(line.quantity, service) if is_use else "",
        price=texts.price(line.price, currency) if is_use else "",
        amount=exact(texts, line.amount, currency),
    )


def _due(texts: Texts, view: BillView) -> str:
    """Return by when a bill is paid; one of a prepaid home is taken from its balance."""
    if view.party.is_prepaid:
        return texts.plain("page.from_balance")
    assert view.bill.due_date is not None  # noqa: S101 (it was issued)
    return texts.day(view.bill.due_date)


def _scanned(view: BillView) -> str:
    """Return what the cashier's scanner reads: bill, account, what is left, currency."""
    amount = Money(view.left_minor, view.bill.currency).amount
    return f"{view.bill.number};{view.party.account_number};{amount};{view.bill.currency}"


def _bars(texts: Texts, view: BillView) -> tuple[Bar, ...]:
    bars = []
    year = None
    then = _year_ago(view)
    for used in view.usage:
        last_day = used.ends_date - timedelta(days=1)
        bars.append(
            Bar(
                label=texts.month(last_day),
                value=used.consumption,
                text=texts.number(used.consumption, places_max=1),
                is_estimated=bool(used.inputs.get("estimates")),
                group=str(last_day.year) if last_day.year != year else "",
                is_year_ago=used is then,
            )
        )
        year = last_day.year
    return tuple(bars)


def _usage_sentence(texts: Texts, view: BillView) -> str:
    service = view.party.service
    most = max((used.consumption for used in view.usage), default=view.bill.consumption)
    used = texts.quantity(view.bill.consumption, service)
    values = {"used": used, "most": texts.quantity(most, service)}
    then = _year_ago(view)
    if then is None:
        return texts.plain("page.usage_sentence", **values)
    values["then"] = texts.quantity(then.consumption, service)
    return texts.plain("page.usage_sentence_year", **values)


def _year_ago(view: BillView) -> Bill | None:
    """Return the bill of the same months a year ago, if there is one."""
    ends = a_year_before(view.bill.ends_date)
    return next((used for used in view.usage if used.ends_date == ends), None)


def receipt_page(texts: Texts, operator: Operator, receipt: ReceiptView) -> ReceiptDocument:
    """Return a receipt as a page."""
    plain, payment = texts.plain, receipt.payment
    is_settled = receipt.owed_minor == 0

    def money(minor: int) -> str:
        return texts.money(minor, payment.currency)

    method = payment.provider
    if method in _PROVIDERS:
        method = plain(f"page.method_{method}")
    is_part = not receipt.bills or any(paid.left_minor for paid in receipt.bills)
    status = "page.status_part" if is_part else "page.status_others"
    if is_settled:
        status = f"page.status_{'prepaid' if receipt.party.is_prepaid else 'settled'}"
    returned = payment.amount_minor - payment.kept_minor
    given_back = (Field(label=plain("page.returned"), value=money(returned)),) if returned else ()
    return ReceiptDocument(
        **letterhead(texts, operator, receipt.party),
        title=plain("page.receipt"),
        number=Field(label=plain("page.receipt_number"), value=payment.number),
        issued=Field(label=plain("page.received"), value=texts.day(payment.received_at)),
        issued_on=local_day(payment.received_at, zone=ZoneInfo(operator.timezone)),
        notes=(plain("page.note_receipt"),),
        amount_paid=Field(label=plain("page.amount_paid"), value=money(payment.amount_minor)),
        status=plain(status, left=money(receipt.owed_minor)),
        is_settled=is_settled,
        payment=(
            Field(label=plain("page.method"), value=method),
            Field(label=plain("page.received"), value=texts.moment(payment.received_at)),
            Field(label=plain("page.reference"), value=payment.reference),
        ),
        covers_title=plain("page.covers"),
        cover_headings=CoveredBill(
            number=plain("page.number"),
            period=plain("page.period"),
            paid=plain("page.covered"),
            remaining=plain("page.remaining"),
        ),
        covers=tuple(
            CoveredBill(
                number=paid.number,
                period=texts.days(paid.starts, paid.ends),
                paid=money(paid.amount_minor),
                remaining=money(paid.left_minor),
            )
            for paid in receipt.bills
        ),
        sums=(
            Field(label=plain("page.amount_paid"), value=money(payment.amount_minor)),
            *given_back,
            Field(label=plain("page.credit"), value=money(receipt.credit_minor)),
            Field(label=plain("page.still_open"), value=money(receipt.owed_minor)),
        ),
    )

"""Credit notes as documents: every field filled in the person's language."""

from zoneinfo import ZoneInfo

from bot.documents.documents import CreditDocument, Field
from bot.handlers.bill_pages import letterhead
from bot.handlers.correction_words import reason_words
from bot.texts import Texts
from core.accounts.models import Operator
from core.billing.correction_queries import CreditView
from core.periods import local_day


def credit_page(texts: Texts, operator: Operator, view: CreditView) -> CreditDocument:
    """Return a credit note as a page."""
    plain, note, bill = texts.plain, view.note, view.summary.bill

    def money(minor: int) -> str:
        return texts.money(minor, note.currency)

    return CreditDocument(
        **letterhead(texts, operator, view.summary.party),
        title=plain("page.credit_note"),
        number=Field(label=plain("page.credit_number"), value=note.number),
        issued=Field(label=plain("page.issued"), value=texts.day(note.at)),
        issued_on=local_day(note.at, zone=ZoneInfo(operator.timezone)),
        notes=(plain("page.note_credit"), plain("page.note_question", hotline=operator.hotline)),
        amount=Field(label=plain("page.credited"), value=money(note.amount_minor)),
        about=(
            Field(label=plain("page.number"), value=bill.number),
            Field(label=plain("page.period"), value=texts.days(bill.starts_date, bill.ends_date)),
        ),
        reason_title=plain("page.reason"),
        reason=reason_words(texts, note),
        sums=(
            Field(label=plain("page.billed"), value=money(bill.total_minor)),
            Field(label=plain("page.credited_in_all"), value=money(-bill.credited_minor)),
            Field(
                label=plain("page.after_credit"),
                value=money(bill.total_minor - bill.credited_minor),
            ),
        ),
    )

"""Bills and receipts as pages. Words and numbers arrive formatted, in the person's language."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from io import BytesIO

import segno
from typst import TypstError

from bot.documents.charts import Bar, Service, scale_bars
from bot.documents.typesetting import typeset_pdf, typeset_png

QR_MASK = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A value and what it is called."""

    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRow:
    """One state of the register: which it is, when and how it was read."""

    label: str
    read_on: str
    source: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRow:
    """One priced part of the use; a standing charge has no tier, quantity or price."""

    component: str
    tier: str
    quantity: str
    price: str
    amount: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredBill:
    """One bill that a payment went to, and what is left of it."""

    number: str
    period: str
    paid: str
    remaining: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterhead:
    """What bill and receipt have in common. `issued_on` is also the date inside the file."""

    language: str
    service: Service
    service_name: str
    operator: str
    contacts: tuple[str, ...]
    title: str
    number: Field
    issued: Field
    issued_on: date
    parties: tuple[Field, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BillDocument(Letterhead):
    """A bill; the last of `sums` is what is owed, `usage` ends with the billed period."""

    amount_due: Field
    due_date: Field
    supply: tuple[Field, ...]
    readings_title: str
    readings: tuple[ReadingRow, ...]
    consumption: Field
    charges_title: str
    charge_headings: ChargeRow
    charges: tuple[ChargeRow, ...]
    sums: tuple[Field, ...]
    payment_title: str
    payment_steps: tuple[str, ...]
    qr_content: str
    qr_caption: str
    usage_title: str
    usage: tuple[Bar, ...]
    usage_sentence: str
    photo: bytes | None = None
    photo_caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptDocument(Letterhead):
    """A receipt, for a part payment too: `status` says in words whether anything remains."""

    amount_paid: Field
    status: str
    is_settled: bool
    payment: tuple[Field, ...]
    covers_title: str
    cover_headings: CoveredBill
    covers: tuple[CoveredBill, ...]
    sums: tuple[Field, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditDocument(Letterhead):
    """A credit note: what it takes off which bill, why, and what that bill now asks for."""

    amount: Field
    about: tuple[Field, ...]
    reason_title: str
    reason: str
    sums: tuple[Field, ...]


def credit_pdf(document: CreditDocument) -> bytes:
    """Return the credit note as a PDF; the same document gives the same bytes."""
    return typeset_pdf("credit.typ", _content(document))


def bill_pdf(document: BillDocument) -> bytes:
    """
    Return the bill as a PDF; the same document gives the same bytes.

    A photo is what somebody sent: one that is no picture is left out, the bill comes all the same.
    """
    try:
        return typeset_pdf("bill.typ", _content(document))
    except TypstError:
        if document.photo is None:
            raise
        return typeset_pdf("bill.typ", _content(replace(document, photo=None)))


def receipt_pdf(document: ReceiptDocument) -> bytes:
    """Return the receipt as a PDF; the same document gives the same bytes."""
    return typeset_pdf("receipt.typ", _content(document))


def page_pngs(
    document: BillDocument | ReceiptDocument | CreditDocument, *, ppi: int = 144
) -> list[bytes]:
    """Return the pages of the PDF as pictures, for reading inside the chat."""
    return typeset_png(_TEMPLATES[type(document)], _content(document), ppi=ppi)


_TEMPLATES = {
    BillDocument: "bill.typ",
    ReceiptDocument: "receipt.typ",
    CreditDocument: "credit.typ",
}


def _content(document: BillDocument | ReceiptDocument | CreditDocument) -> Mapping[str, object]:
    day = document.issued_on
    content = asdict(document) | {"issued_on": [day.year, day.month, day.day]}
    if isinstance(document, BillDocument):
        content |= {"usage": scale_bars(document.usage), "qr": _qr_svg(document.qr_content)}
        content["photo"] = list(document.photo or b"")
    return content


def qr_png(content: str) -> bytes:
    """Return a QR code as a picture for the chat."""
    picture = BytesIO()
    segno.make(content, error="m", micro=False).save(picture, kind="png", scale=8, border=4)
    return picture.getvalue()


def _qr_svg(content: str) -> bytes:
    if not content:
        return b""
    picture = BytesIO()
    # Never a micro code: the cameras of phones do not read them. Trying all eight masks for the
    # most even picture takes four times as long as the rest; every reader undoes any of them.
    code = segno.make(content, error="m", micro=False, mask=QR_MASK)
    code.save(picture, kind="svg", xmldecl=False, light="#fff", dark="#000")
    return picture.getvalue()

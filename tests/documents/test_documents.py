"""Bills and receipts: everything is on the page, in every language, whatever comes in."""

import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import date
from decimal import Decimal
from hashlib import sha256
from io import BytesIO

import pytest
import segno
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader

from bot.documents.charts import Bar
from bot.documents.documents import (
    QR_MASK,
    BillDocument,
    ChargeRow,
    CreditDocument,
    Field,
    Letterhead,
    ReceiptDocument,
    bill_pdf,
    credit_pdf,
    page_pngs,
    receipt_pdf,
)
from tests.documents.pictures import BLACK, read_png
from tests.documents.samples import LANGUAGES, SERVICES, bill, receipt

UNSEEN = {"language", "service", "qr_content", "issued_on"}


def pages_of(pdf: bytes) -> list[str]:
    return ["".join(page.extract_text().split()) for page in PdfReader(BytesIO(pdf)).pages]


def words_of(content: object) -> list[str]:
    match content:
        case str():
            return ["".join(content.split())]
        case dict():
            return [
                word
                for key, item in content.items()
                if key not in UNSEEN
                for word in words_of(item)
            ]
        case tuple() | list():
            return [word for item in content for word in words_of(item)]
        case _:
            return []


def say_x(content: object) -> object:
    """Return the document with every text a single x."""
    match content:
        case str():
            return "x"
        case tuple():
            return tuple(say_x(item) for item in content)
        case _ if hasattr(content, "__dataclass_fields__") and not isinstance(content, Bar):
            fields = {name: getattr(content, name) for name in content.__dataclass_fields__}
            kept = {"language", "service"}
            return replace(
                content,
                **{name: say_x(value) for name, value in fields.items() if name not in kept},
            )
        case _:
            return content


class TestBillPDF:
    @pytest.mark.parametrize("service", SERVICES)
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_shows_every_word_and_amount(self, language, service):
        document = bill(language, service)

        (page,) = pages_of(bill_pdf(document))

        assert [word for word in words_of(asdict(document)) if word not in page] == []

    def test_adds_no_words_of_its_own(self):
        document = replace(say_x(bill("ru", "electricity")), usage=())

        (page,) = pages_of(bill_pdf(document))

        assert set(page) <= set("x\u00d7123./•·")

    def test_carries_title_author_date_and_language(self):
        document = bill("zh_TW", "water")

        pdf = PdfReader(BytesIO(bill_pdf(document)))

        assert pdf.metadata is not None
        assert pdf.metadata.title == "水費帳單 W-2026-09-004711"
        assert pdf.metadata.author == document.operator
        assert pdf.metadata.creation_date is not None
        assert pdf.metadata.creation_date.date() == document.issued_on
        assert pdf.root_object["/Lang"] == "zh-TW"

    def test_is_tagged_and_archivable(self):
        content = bill_pdf(bill("en", "water"))
        pdf = PdfReader(BytesIO(content))

        xmp = pdf.root_object["/Metadata"].get_object().get_data()

        assert pdf.root_object["/MarkInfo"]["/Marked"]
        assert b"<pdfaid:part>2<" in xmp
        assert b"<pdfaid:conformance>A<" in xmp
        assert b"<pdfuaid:part>1<" in xmp

    def test_gives_the_same_bytes_in_another_process(self):
        code = (
            "from hashlib import sha256\n"
            "from bot.documents.documents import bill_pdf\n"
            "from tests.documents.samples import bill\n"
            "print(sha256(bill_pdf(bill('ru', 'water'))).hexdigest())"
        )

        other = subprocess.run(  # noqa: S603  # our own interpreter with our own code
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )

        assert other.stdout.strip() == sha256(bill_pdf(bill("ru", "water"))).hexdigest()

    def test_takes_its_date_from_the_document(self):
        document = bill("en", "water")

        later = replace(document, issued_on=date(2027, 1, 1))

        assert bill_pdf(later) != bill_pdf(document)

    def test_flows_to_a_second_page_with_headings_and_number(self):
        charges = tuple(
            ChargeRow(
                component=f"Component{line:02}",
                tier=f"Tier{line % 3}",
                quantity=f"{13 * line} m³",
                price="2.67",
                amount=f"\u2212{line}.50" if line % 4 == 0 else f"{line}.50",
            )
            for line in range(40)
        )
        document = replace(bill("en", "water"), charges=charges)

        pages = pages_of(bill_pdf(document))

        assert len(pages) == 2
        assert [word for word in words_of(asdict(document)) if word not in "".join(pages)] == []
        for page in pages:
            assert document.number.value in page
            assert "ChargeTierQuantityPriceAmount" in page
        assert "\u221236.50" in pages[1]
        assert pages[1].endswith("2/2")

    def test_leaves_out_what_is_empty(self):
        document = replace(
            bill("en", "water"),
            charges=(),
            readings=(),
            usage=(),
            notes=(),
            payment_steps=(),
            contacts=(),
            parties=(),
            supply=(),
            sums=(),
            qr_content="",
        )

        (page,) = pages_of(bill_pdf(document))

        for heading in (document.charges_title, document.payment_title, document.usage_title):
            assert "".join(heading.split()) not in page
        assert document.number.value in page

    @pytest.mark.parametrize(
        "text", ["王" * 10_000, "a" * 10_000, "слово " * 2_000, "x y " * 2_500]
    )
    def test_survives_endless_text_in_every_field(self, text):
        document = bill("en", "water")
        long = Field(label=text, value=text)
        endless = replace(
            document,
            operator=text,
            contacts=(text,),
            title=text,
            service_name=text,
            number=long,
            issued=long,
            amount_due=long,
            due_date=long,
            parties=(long,) * 3,
            supply=(long,),
            consumption=long,
            sums=(long,),
            notes=(text,),
            payment_title=text,
            payment_steps=(text,) * 3,
            qr_caption=text,
            usage_title=text,
            usage_sentence=text,
            usage=tuple(replace(bar, label=text, text=text, group=text) for bar in document.usage),
            charges=(ChargeRow(component=text, tier=text, quantity=text, price=text, amount=text),),
        )

        pages = pages_of(bill_pdf(endless))

        assert 1 < len(pages) <= 4
        assert "…" in pages[0]

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ('<b>&"\\', '<b>&"\\'),
            ("#set page(fill: red) $x$ *b* _i_ @r `c`", "#setpage(fill:red)$x$*b*_i_@r`c`"),
            ('"}; {"number": 1', '"};{"number":1'),
            ("㛃䶮𠮷", "㛃䶮〓"),
            ("Ann 😀\u202e\x00", "Ann〓〓"),
            ("Ґалаґан Łuk", "ҐалаґанŁuk"),  # noqa: RUF001  # Cyrillic is meant
        ],
    )
    def test_shows_a_name_as_it_is(self, name, shown):
        document = replace(bill("en", "water"), parties=(Field(label="Holder", value=name),))

        (page,) = pages_of(bill_pdf(document))

        assert f"Holder{shown}Meter" in page

    def test_keeps_a_long_number_free_of_invisible_characters(self):
        number = "4200002671202610098123456789"
        document = replace(bill("en", "water"), supply=(Field(label="Meter", value=number),))

        assert f"Meter{number}" in pages_of(bill_pdf(document))[0]

    @settings(max_examples=30, deadline=None)
    @given(name=st.text(max_size=60))
    def test_accepts_any_name(self, name):
        document = replace(bill("zh_CN", "water"), parties=(Field(label="户主", value=name),))

        assert bill_pdf(document).startswith(b"%PDF")

    @pytest.mark.parametrize(
        "values", [("0", "0"), ("-5", "3"), ("1e400", "1"), ("-1e-400", "-7"), (None, None)]
    )
    def test_draws_any_use(self, values):
        usage = tuple(
            Bar(label="m", value=value and Decimal(value), text=str(value)) for value in values
        )

        assert bill_pdf(replace(bill("en", "water"), usage=usage)).startswith(b"%PDF")

    def test_is_safe_in_threads(self):
        documents = [bill(language, service) for language in LANGUAGES for service in SERVICES]

        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(bill_pdf, documents))

        assert together == [bill_pdf(document) for document in documents]

    def test_takes_less_than_a_second_once_warm(self):
        document = bill("zh_CN", "water")
        bill_pdf(document)
        seconds = []
        for number in range(9):
            numbered = replace(document, number=Field(label="账单编号", value=f"W-{number:06}"))
            started = time.perf_counter()
            bill_pdf(numbered)
            seconds.append(time.perf_counter() - started)

        milliseconds = statistics.median(seconds) * 1000
        print(f"one bill: p50 {milliseconds:.1f} ms")  # noqa: T201  # for `pytest -s`
        assert statistics.median(seconds) < 1


class TestReceiptPDF:
    @pytest.mark.parametrize("is_settled", [True, False])
    @pytest.mark.parametrize("service", SERVICES)
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_shows_every_word_and_amount(self, language, service, is_settled):
        document = receipt(language, service, is_settled=is_settled)

        (page,) = pages_of(receipt_pdf(document))

        assert [word for word in words_of(asdict(document)) if word not in page] == []

    def test_adds_no_words_of_its_own(self):
        (page,) = pages_of(receipt_pdf(say_x(receipt("ru", "water", is_settled=False))))

        assert set(page) <= set("x1/•·")

    def test_gives_the_same_bytes_again(self):
        document = receipt("zh_CN", "water", is_settled=False)

        assert receipt_pdf(document) == receipt_pdf(document)

    def test_marks_a_part_payment_without_words(self):
        document = receipt("en", "water", is_settled=False)

        settled = replace(document, is_settled=True)

        assert page_pngs(settled) != page_pngs(document)

    def test_flows_to_a_second_page(self):
        document = receipt("en", "water", is_settled=False)
        long = replace(document, covers=document.covers * 12)

        pages = pages_of(receipt_pdf(long))

        assert len(pages) == 2
        assert all("BillPeriodPaidnowRemaining" in page for page in pages)


class TestPagePNGs:
    def test_carries_the_code_that_was_asked_for(self):
        document = bill("zh_CN", "electricity")
        wanted = segno.make(document.qr_content, error="m", micro=False, mask=QR_MASK).matrix

        (page,) = page_pngs(document)
        picture = read_png(page, rows=540)

        dark = picture.places_of(BLACK)
        left, right = min(x for x, _ in dark), max(x for x, _ in dark) + 1
        top, bottom = min(y for _, y in dark), max(y for _, y in dark) + 1
        size = len(wanted)
        found = [
            [
                sum(
                    picture.pixel(
                        left + int((column + 0.5) * (right - left) / size),
                        top + int((row + 0.5) * (bottom - top) / size),
                    )
                )
                < 384
                for column in range(size)
            ]
            for row in range(size)
        ]
        assert found == [[bool(module) for module in row] for row in wanted]

    def test_leaves_the_code_out_without_content(self):
        (page,) = page_pngs(replace(bill("en", "water"), qr_content=""), ppi=72)

        assert read_png(page, rows=300).places_of(BLACK) == []

    @pytest.mark.parametrize(
        ("document", "size"),
        [
            (bill("en", "water"), (1191, 1684)),
            (receipt("en", "water", is_settled=True), (839, 1191)),
        ],
    )
    def test_has_the_size_of_the_sheet(self, document: BillDocument | ReceiptDocument, size):
        (page,) = page_pngs(document)

        picture = read_png(page, rows=1)

        assert (picture.width, picture.height) == size

    def test_gives_one_picture_for_each_page(self):
        document = bill("en", "water")

        pages = page_pngs(replace(document, charges=document.charges * 8), ppi=48)

        assert len(pages) == 2


class TestCreditPDF:
    @pytest.mark.parametrize("service", SERVICES)
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_shows_every_word_and_amount_on_one_page(self, language, service):
        like = receipt(language, service, is_settled=True)
        document = CreditDocument(
            **{name: getattr(like, name) for name in Letterhead.__dataclass_fields__},
            amount=like.amount_paid,
            about=like.payment,
            reason_title=like.covers_title,
            reason=like.status,
            sums=like.sums,
        )

        (page,) = pages_of(credit_pdf(document))

        assert [word for word in words_of(asdict(document)) if word not in page] == []
        assert credit_pdf(document) == credit_pdf(document)
        assert len(page_pngs(document, ppi=36)) == 1


class TestPhoto:
    def test_of_the_register_is_on_the_page(self) -> None:
        document = bill("zh_CN", "water")
        (picture,) = page_pngs(document, ppi=24)

        with_photo = replace(document, photo=picture, photo_caption="a photo of the dial")
        (page,) = PdfReader(BytesIO(bill_pdf(with_photo))).pages
        (bare,) = PdfReader(BytesIO(bill_pdf(document))).pages

        assert "aphotoofthedial" in "".join(page.extract_text().split())
        assert len(page.images) == len(bare.images) + 1

    @pytest.mark.parametrize("photo", [b"\x89PNG no more", b"\xff\xd8\xff broken"])
    def test_that_is_no_picture_does_not_stop_the_bill(self, photo: bytes) -> None:
        document = replace(bill("en", "water"), photo=photo, photo_caption="a photo")

        assert bill_pdf(document) == bill_pdf(replace(document, photo=None))

    def test_year_ago_is_drawn_apart(self) -> None:
        document = bill("en", "electricity")
        first, *others = document.usage
        told = replace(document, usage=(replace(first, is_year_ago=True), *others))

        assert page_pngs(told, ppi=48) != page_pngs(document, ppi=48)

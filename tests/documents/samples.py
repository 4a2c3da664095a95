"""Bills and receipts as they come, in the four languages."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

from bot.documents.charts import Bar, Service
from bot.documents.documents import (
    BillDocument,
    ChargeRow,
    CoveredBill,
    Field,
    ReadingRow,
    ReceiptDocument,
)

MINUS = "\u2212"
LANGUAGES = ("zh_CN", "zh_TW", "en", "ru")
SERVICES: tuple[Service, ...] = ("water", "electricity")

USED: dict[Service, tuple[str | None, ...]] = {
    "water": ("24", "21", "19", "22", "18", None, "20", "21", "23", "25", "28", "30", "26"),
    "electricity": (
        "287", "214", "198", "265", "341", "352", "260", "201", "190", "243", "398", "431", "312",
    ),
}  # fmt: skip

# component, tier, quantity, price, amount
CHARGES: dict[Service, tuple[tuple[int, int, str, str, str], ...]] = {
    "water": (
        (0, 0, "22", "2.67", "58.74"),
        (0, 1, "4", "4.01", "16.04"),
        (1, 0, "22", "0.90", "19.80"),
        (1, 1, "4", "1.00", "4.00"),
        (2, 2, "26", "0.59", "15.34"),
    ),
    "electricity": ((0, 0, "260", "0.66286875", "172.35"), (0, 1, "52", "0.71286875", "37.07")),
}
SUMS: dict[Service, tuple[str, ...]] = {
    "water": ("113.92", "84.40", "-64.40", "133.92"),
    "electricity": ("209.42", "0.00", "0.00", "209.42"),
}

WORDS: dict[str, dict[str, list[str]]] = json.loads(
    Path(__file__).with_name("words.json").read_text(encoding="utf-8")
)


def number(language: str, value: str) -> str:
    """Return a number as the language writes it."""
    shown = value.replace("-", MINUS)
    return shown.replace(".", ",") if language == "ru" else shown


def money(language: str, value: str) -> str:
    """Return an amount of money as the language writes it."""
    sign = MINUS if value.startswith("-") else ""
    return sign + WORDS[language]["money"][0].format(number(language, value.removeprefix("-")))


def usage_bars(language: str, service: Service) -> tuple[Bar, ...]:
    """Return thirteen months of use."""
    words = WORDS[language]
    bars = []
    for index, used in enumerate(USED[service]):
        month = (8 + index) % 12
        bars.append(
            Bar(
                label=words["months"][month],
                value=None if used is None else Decimal(used),
                text="-" if used is None else number(language, used),
                group={0: "2025", 4: "2026"}.get(index, ""),
                is_estimated=index == 11,
            )
        )
    return tuple(bars)


def bill(language: str, service: Service) -> BillDocument:
    """Return a bill of an ordinary household."""
    words = WORDS[language]
    at = SERVICES.index(service)
    unit = words["units"][at]

    def quantity(value: str) -> str:
        return f"{number(language, value)}\u00a0{unit}"

    used, top = USED[service][-1] or "", USED[service][-2] or ""
    tiers = words["tiers" if service == "water" else "tiers_electricity"]
    parties, readings, charges, pay = (words[k] for k in ("parties", "readings", "charges", "pay"))
    before, after = ("1482", "1508") if service == "water" else ("20417", "20729")
    return BillDocument(
        language=language,
        service=service,
        service_name=words["services"][at],
        operator=words["operator"][0],
        contacts=tuple(words["operator"][1:]),
        title=words["titles"][at],
        number=Field(label=words["numbers"][0], value="WE"[at] + "-2026-09-004711"),
        issued=Field(label=words["numbers"][1], value=words["numbers"][2]),
        issued_on=date(2026, 10, 1),
        parties=tuple(Field(label=parties[i], value=parties[i + 1]) for i in (0, 2, 4)),
        notes=tuple(words["notes"]),
        amount_due=Field(label=words["due"][0], value=money(language, SUMS[service][-1])),
        due_date=Field(label=words["due"][1], value=words["due"][2]),
        supply=(
            Field(label=words["supply"][0], value="SC-2041-77309"),
            Field(label=words["supply"][1], value=words["supply"][2]),
        ),
        readings_title=readings[0],
        readings=(
            ReadingRow(
                label=readings[1], read_on=readings[2], source=readings[3], value=quantity(before)
            ),
            ReadingRow(
                label=readings[4], read_on=readings[5], source=readings[6], value=quantity(after)
            ),
        ),
        consumption=Field(label=readings[7], value=quantity(used)),
        charges_title=charges[0],
        charge_headings=ChargeRow(
            component=charges[1],
            tier=charges[2],
            quantity=charges[3],
            price=charges[4],
            amount=charges[5],
        ),
        charges=tuple(
            ChargeRow(
                component=words[service][component],
                tier=tiers[tier],
                quantity=quantity(amount_used),
                price=number(language, price),
                amount=number(language, amount),
            )
            for component, tier, amount_used, price, amount in CHARGES[service]
        ),
        sums=tuple(
            Field(label=label, value=money(language, amount))
            for label, amount in zip(words["sums"], SUMS[service], strict=True)
        ),
        payment_title=pay[0],
        payment_steps=tuple(pay[1:-1]),
        qr_content=f"https://pay.example.org/b/{'WE'[at]}-2026-09-004711?s=9f3c1a77",
        qr_caption=pay[-1],
        usage_title=f"{words['usage'][0]} ({unit})",
        usage=usage_bars(language, service),
        usage_sentence=words["usage"][1].format(used=quantity(used), top=quantity(top)),
    )


def receipt(language: str, service: Service, *, is_settled: bool) -> ReceiptDocument:
    """Return the receipt of a payment for two bills, the later one paid in part or in full."""
    words = WORDS[language]
    at = SERVICES.index(service)
    paid, covers, parties = words["receipt"], words["covers"], words["parties"]
    left = "0.00" if is_settled else "53.92"
    total = "133.92" if is_settled else "80.00"
    return ReceiptDocument(
        language=language,
        service=service,
        service_name=words["services"][at],
        operator=words["operator"][0],
        contacts=tuple(words["operator"][1:]),
        title=words["titles"][2],
        number=Field(label=words["numbers"][3], value="R-2026-000815"),
        issued=Field(label=words["numbers"][1], value=words["numbers"][4]),
        issued_on=date(2026, 10, 9),
        parties=tuple(Field(label=parties[i], value=parties[i + 1]) for i in (0, 2, 4)),
        notes=tuple(words["receipt_notes"]),
        amount_paid=Field(label=paid[0], value=money(language, total)),
        status=paid[2] if is_settled else paid[1].format(money(language, left)),
        is_settled=is_settled,
        payment=(
            Field(label=paid[3], value=paid[4]),
            Field(label=paid[5], value=paid[6]),
            Field(label=paid[7], value="4200002671202610098123456789"),
        ),
        covers_title=covers[0],
        cover_headings=CoveredBill(
            number=covers[1], period=covers[2], paid=covers[3], remaining=covers[4]
        ),
        covers=(
            CoveredBill(
                number="WE"[at] + "-2026-08-004263",
                period=covers[5],
                paid=money(language, "20.00"),
                remaining=money(language, "0.00"),
            ),
            CoveredBill(
                number="WE"[at] + "-2026-09-004711",
                period=covers[6],
                paid=money(language, str(Decimal(total) - 20)),
                remaining=money(language, left),
            ),
        ),
        sums=(
            Field(label=covers[7], value=money(language, total)),
            Field(label=covers[8], value=money(language, left)),
        ),
    )

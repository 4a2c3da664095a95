"""
Random tariffs and uses, priced by the engine and by the model in fractions.

`python -m tests.billing.random_bills 100000` compares as many as it is told, on all cores, and
names the number of the first that differs: `compare(number)` makes it again.
"""

import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

from core.billing.formulas import FormulaFails, parse_number
from core.billing.tariff_model import (
    Charge,
    ChargePer,
    Component,
    Interval,
    Lookup,
    Mark,
    Rounding,
    TariffVersion,
    Tax,
    Window,
)
from core.billing.tariffs import PricingContext, Usage, price
from core.billing.tiers import HouseholdRule, LimitsPer, Tiering
from core.money import RoundingMode
from core.periods import Period
from tests.billing import fraction_model
from tests.billing.fraction_model import Case

DIGITS = 2
REGISTERS = ("peak", "flat", "valley")
SEASONS = {"summer": frozenset(range(5, 11)), "winter": frozenset({11, 12, 1, 2, 3, 4})}
SIZES = ("15", "20", "40")
NAMES = ("use", "days", "months", "month", "people", "kw", "rent")
HOURLY = ("market", "hour", "weekday")


class Draw:
    """What one random number makes."""

    def __init__(self, number: int) -> None:
        self.rng = Random(number)  # noqa: S311 (a test, which must be repeatable)

    def decimal(self, least: int, most: int, digits: int) -> Decimal:
        scale = 10**digits
        return Decimal(self.rng.randint(least * scale, most * scale)).scaleb(-digits)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def formula(self, names: tuple[str, ...], depth: int = 2) -> str:
        if depth == 0 or self.chance(0.25):
            return self.rng.choice(names) if self.chance(0.5) else str(self.decimal(0, 40, 2))
        left, right = (self.formula(names, depth - 1) for _ in range(2))
        sign = self.rng.choice(("<", "<=", ">", ">=", "==", "!="))
        asked = f"{left} {sign} 9 and days > 2 or 5 <= month < 11"
        return self.rng.choice(
            (
                f"({left} + {right})",
                f"({left} - {right})",
                f"({left}) * {'0.07' if depth > 1 else right}",
                f"({left}) / {self.rng.choice(('days', 'people', '748', '3'))}",
                f"{self.rng.choice(('min', 'max'))}({left}, {right}, 25)",
                f"{self.rng.choice(('floor', 'ceil'))}(({left}) * 1.5)",
                f"({right} if {asked} else -{self.rng.choice(names)})",
            )
        )

    def number(self, least: int, most: int, digits: int, names: tuple[str, ...] = NAMES):
        if self.chance(0.15):
            return parse_number(self.formula(names))
        return self.decimal(least, most, digits)

    def limits(self, tiers: int) -> tuple:
        plain = sorted({self.decimal(1, 400, 1) for _ in range(tiers - 1)})
        while len(plain) < tiers - 1:
            plain.append(plain[-1] + 1)
        return tuple(
            parse_number(f"{limit} + {self.formula(NAMES, 2)}") if self.chance(0.1) else limit
            for limit in plain
        )

    def cases(self, make, cliff: int | None):
        """Make a table of limits or prices, or one for each case."""
        kind = self.rng.randrange(4)
        if kind == 0:
            return {season: make() for season in SEASONS}
        if kind == 1 and cliff:
            return {f"tier{n}": make() for n in range(1, cliff + 1)}
        return make()

    def tiering(self, tiers: int, cliff: int | None) -> Tiering:
        rules = tuple(
            HouseholdRule(
                from_person=self.rng.randint(2, 6),
                limits=tuple(n for n in range(1, tiers) if self.chance(0.6)) or (1,),
                flat=self.decimal(0, 100, 0),
                per_person=self.decimal(0, 30, 0),
            )
            if self.chance(0.8)
            else HouseholdRule(
                from_person=self.rng.randint(2, 6),
                per_head=tuple(Decimal(20 * n) for n in range(1, tiers)),
            )
            for _ in range(self.rng.choice((0, 0, 1, 2)))
        )
        return Tiering(
            limits=self.cases(lambda: self.limits(tiers), cliff),
            per=self.rng.choice(list(LimitsPer)),
            household=rules,
        )

    def component(self, tiers: dict[str, Tiering], counts: dict[str, int], cliff: int | None):
        name = self.rng.choice((None, *tiers))
        count = counts[name] if name else 1
        by_register = self.chance(0.3)
        by_interval = name is None and not by_register and self.chance(0.4)

        def prices() -> tuple:
            if by_interval:
                return (
                    parse_number(f"min({self.formula((*NAMES, *HOURLY), 2)} + market, 90) / 100"),
                )
            if by_register:
                return tuple({r: self.number(-1, 3, 8) for r in REGISTERS} for _ in range(count))
            return tuple(self.number(-1, 3, 8) for _ in range(count))

        return Component(tiers=name, factor=self.decimal(0, 1, 2), prices=self.cases(prices, cliff))

    def charge(self) -> Charge:
        return Charge(amount=self.number(-5, 40, 2), per=self.rng.choice(list(ChargePer)))

    def version(self) -> TariffVersion:
        rng = self.rng
        counts = {name: rng.randint(2, 5) for name in ("first", "second")}
        cliff = rng.choice((None, None, rng.randint(2, 5)))
        tiers = {name: self.tiering(count, cliff) for name, count in counts.items()}
        if cliff:
            tiers["size"] = Tiering(limits=self.limits(cliff), per=rng.choice(list(LimitsPer)))
            counts["size"] = cliff
        parts = {
            name: self.component(tiers, counts, cliff)
            for name in ("a", "b", "c")[: rng.randint(1, 3)]
        }
        fixed = {name: self.charge() for name in ("standing", "demand") if self.chance(0.4)}
        taxes = {}
        for name in ("vat", "duty", "cess"):
            if self.chance(0.4):
                on = tuple(each for each in (*parts, *fixed, *taxes) if self.chance(0.5))
                taxes[name] = Tax(rate=self.number(0, 1, 3), on=on)
        currency = rng.choice(("CNY", "TWD", "INR"))
        return TariffVersion(
            currency=currency,
            unit="kWh",
            quantity_digits=DIGITS,
            valid_from=date(2020, 1, 1),
            source="random",
            mark=Mark.CHECKED,
            window=rng.choice(list(Window)),
            rounding=Rounding(
                mode=rng.choice(list(RoundingMode)), digits=0 if currency == "TWD" else 2
            ),
            attributes={"kw": "12.5", "size": "15"},
            values={
                "rent": Lookup(by="size", table={each: self.decimal(0, 90, 2) for each in SIZES}),
            },
            seasons=SEASONS,
            tiers=tiers,
            cliff="size" if cliff else None,
            components=parts,
            fixed=fixed,
            minimum=self.charge() if self.chance(0.3) else None,
            taxes=taxes,
        )

    def window_use(self, version: TariffVersion, least: Decimal) -> Decimal | None:
        """Return a whole use: that of the part, more, or just a limit of the cliff."""
        if version.cliff and self.chance(0.3):
            limit = version.tiers[version.cliff].limits[0]
            return limit if isinstance(limit, Decimal) else None
        return least + self.decimal(0, 300, 1) if self.chance(0.3) else None

    def case(self) -> Case:
        rng = self.rng
        starts = date(2026, 1, 1) + timedelta(days=rng.randint(0, 365))
        period = Period(starts, starts + timedelta(days=rng.randint(1, 31)))
        quantities = {
            register: self.decimal(0, rng.choice((0, 3, 300, 1500)), DIGITS)
            for register in REGISTERS
        }
        used = {"peak": self.decimal(0, 600, DIGITS)} if self.chance(0.6) else {}
        whole = sum((*quantities.values(), *used.values()), Decimal(0))
        version = self.version()
        intervals = []
        left = sum(quantities.values(), Decimal(0))
        for n in range(rng.randint(1, 5)):
            part = left if n == 0 else min(left, self.decimal(0, 200, DIGITS))
            at = datetime(2026, rng.randint(1, 12), rng.randint(1, 28), rng.randrange(24), 30)  # noqa: DTZ001 (a local time)
            intervals.append(Interval(at=at, use=part, market=self.decimal(-20, 120, 2)))
            left -= part
        is_part = self.chance(0.3)
        return Case(
            version=version,
            period=period,
            quantities=quantities,
            intervals=tuple(intervals),
            used=used,
            window_use=self.window_use(version, whole),
            people=rng.randint(1, 9),
            months=rng.choice((None, rng.randint(1, 12), Fraction(rng.randint(1, 400), 31))),
            attributes={"kw": str(self.decimal(0, 900, 1)), "size": rng.choice(SIZES)},
            bill_period=Period(starts, period.ends + timedelta(days=9)) if is_part else None,
            bill_use=whole + 7 if is_part else None,
            before=self.decimal(0, 90, 4) if is_part else Decimal(0),
            is_last=not is_part or self.chance(0.5),
        )


def compare(number: int) -> str:
    """Return what became of a random bill: "billed" or "refused" by both; they must agree."""
    case = Draw(number).case()
    bill = Usage(
        period=case.bill_period or case.period,
        quantities=case.quantities if case.bill_use is None else {"total": case.bill_use},
    )
    context = PricingContext(
        used=case.used,
        window_use=case.window_use,
        people=case.people,
        months=case.months,
        attributes=case.attributes,
        bill=bill,
        before=case.before,
        is_last=case.is_last,
    )
    usage = Usage(period=case.period, quantities=case.quantities, intervals=case.intervals)
    try:
        expected = fraction_model.bill(case)
    except fraction_model.Refused:
        expected = None
    try:
        priced = price(case.version, usage=usage, context=context)
        made = (Fraction(priced.total), priced.total_minor)
    except FormulaFails:
        made = None
    if made != expected:
        raise AssertionError(f"bill {number}: the engine makes {made}, the fractions {expected}")
    return "refused" if made is None else "billed"


def main() -> None:
    count, began = int(sys.argv[1]), time.monotonic()
    with ProcessPoolExecutor() as pool:
        found = Counter(pool.map(compare, range(count), chunksize=500))
    told = ", ".join(f"{number} {what}" for what, number in found.items())
    print(f"{count} random bills agree ({told}) in {time.monotonic() - began:.0f} s")  # noqa: T201 (a command)


if __name__ == "__main__":
    main()

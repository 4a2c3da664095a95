"""What is kept with a bill, read again: whatever a gateway calls its registers."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from core.billing.calculation import Basis, compute_bill
from core.billing.consumption import Shown, consumption_of
from core.billing.inputs import read_ahead, read_basis, read_spans, write_inputs
from core.billing.tariff_model import Interval
from core.periods import Period
from tests.billing.books import span_between
from tests.billing.tariff_building import component, make_version

VERSION = make_version(components={"water": component("2.5")})
AT = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", ["total", 'say "peak"\\n\t', "峰 / “e”", "\u0001"])
@pytest.mark.parametrize("until", [None, date(2026, 12, 1)])
def test_the_inputs_of_a_bill_are_read_as_they_were_written(name: str, until: date | None) -> None:
    shown = [Shown(at=AT, value=Decimal(value), source=name) for value in ("100.000", "112")]
    spans = (span_between(*shown)._replace(register=name, serial=name),)
    counted = consumption_of(spans, ahead={"other": Decimal("0.10")}, kept_digits=0)
    basis = Basis(
        versions=(VERSION,),
        period=Period(date(2026, 4, 1), date(2026, 5, 1)),
        quantities=counted.quantities,
        used={name: Decimal("7.00")},
        people=3,
        customer_since=date(2020, 1, 1),
        customer_until=until,
        attributes={"area": name},
    )
    computed = compute_bill(basis)
    basis = replace(basis, intervals=(Interval(at=AT, use=Decimal("0.5")),))

    kept = json.loads(
        write_inputs(
            basis=basis,
            computed=computed,
            spans=spans,
            tariff="[]",
            counted=counted,
            estimates=1,
            since=date(2026, 4, 1),
        )
    )

    assert read_basis(kept, versions=(VERSION,)) == basis
    assert read_spans(kept) == spans
    assert read_ahead(kept) == {"other": Decimal("0.10")}
    assert str(read_spans(kept)[0].opening.value) == "100.000"
    assert (kept["estimates"], kept["since"]) == (1, "2026-04-01")
    assert kept["parts"] == [{"starts": "2026-04-01", "quantities": {name: "12.000"}}]

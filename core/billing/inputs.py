"""What is kept with a bill so that it can be computed again, byte for byte, years later. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from core.billing import models
from core.billing.calculation import Basis, ComputedBill
from core.billing.consumption import BilledSpan, Consumption, Shown
from core.billing.late_fees import LatePayment
from core.billing.tariff_model import Interval, TariffVersion
from core.periods import Period


def write_inputs(
    *,
    basis: Basis,
    computed: ComputedBill,
    spans: Sequence[BilledSpan],
    tariff: str,
    counted: Consumption,
    estimates: int,
    since: date,
) -> str:
    """
    Return the inputs of a bill as they are stored, with the tariff's versions (`write_versions`).

    `estimates` is how many bills in a row, this one among them, rest on an estimate; `since` is
    the first day whose use is charged.
    """
    until = "null" if basis.customer_until is None else f'"{basis.customer_until}"'
    parts = [
        f'{{"starts":"{part.period.starts}","quantities":{_written(part.quantities)}}}'
        for part in computed.parts
    ]
    intervals = [[str(each.at), str(each.use), str(each.market)] for each in basis.intervals]
    late = [{name: str(value) for name, value in asdict(each).items()} for each in basis.late]
    return (
        f'{{"starts":"{basis.period.starts}","ends":"{basis.period.ends}","people":{basis.people},'
        f'"customer_since":"{basis.customer_since}","customer_until":{until},'
        f'"attributes":{json.dumps(basis.attributes)},"intervals":{json.dumps(intervals)},'
        f'"late":{json.dumps(late)},'
        f'"used":{_written(basis.used)},"quantities":{_written(basis.quantities)},'
        f'"tariff":{tariff},"readings":[{",".join([_write_span(span) for span in spans])}],'
        f'"ahead":{_written(counted.ahead)},"was_ahead":{_written(counted.was_ahead)},'
        f'"estimates":{estimates},"since":"{since}","parts":[{",".join(parts)}]}}'
    )


def write_versions(rows: Iterable[models.TariffVersion]) -> str:
    """Return the versions of a tariff as the bills that they priced keep them."""
    return json.dumps(
        [
            {"id": row.id, "sha256": row.sha256, "valid_to": row.valid_to and str(row.valid_to)}
            for row in rows
        ]
    )


def _written(quantities: Mapping[str, Decimal]) -> str:
    pairs = [f'{quoted(register)}:"{quantity!s}"' for register, quantity in quantities.items()]
    return f"{{{','.join(pairs)}}}"


def _write_span(span: BilledSpan) -> str:
    return (
        f'{{"meter_id":{span.meter_id},"serial":{quoted(span.serial)},'
        f'"register":{quoted(span.register)},"digits":{span.digits},'
        f'"multiplier":"{span.multiplier!s}","opening":{_write_shown(span.opening)},'
        f'"closing":{_write_shown(span.closing)}}}'
    )


def _write_shown(shown: Shown) -> str:
    return f'{{"at":"{shown.at!s}","value":"{shown.value!s}","source":{quoted(shown.source)}}}'


def read_closings(inputs: Mapping[str, Any]) -> dict[tuple[int, str], Shown]:
    """Return the readings on which a bill closed, by meter and register."""
    return {
        (span["meter_id"], span["register"]): _read_shown(span["closing"])
        for span in inputs["readings"]
    }


def read_spans(inputs: Mapping[str, Any]) -> tuple[BilledSpan, ...]:
    """Return the readings between which a bill's use lies."""
    return tuple(
        BilledSpan(
            **{
                **span,
                "multiplier": Decimal(span["multiplier"]),
                "opening": _read_shown(span["opening"]),
                "closing": _read_shown(span["closing"]),
            }
        )
        for span in inputs["readings"]
    )


def _read_shown(stored: Mapping[str, str]) -> Shown:
    return Shown(
        at=datetime.fromisoformat(stored["at"]),
        value=Decimal(stored["value"]),
        source=stored["source"],
    )


def read_ends(inputs: Mapping[str, Any]) -> dict[int, date | None]:
    """Return the ids of the tariff versions that priced a bill, and when each was to end."""
    return {
        used["id"]: used["valid_to"] and date.fromisoformat(used["valid_to"])
        for used in inputs["tariff"]
    }


def read_basis(inputs: Mapping[str, Any], *, versions: Sequence[TariffVersion]) -> Basis:
    """Return what a bill was computed from."""
    until = inputs.get("customer_until")
    return Basis(
        versions=tuple(versions),
        period=Period(date.fromisoformat(inputs["starts"]), date.fromisoformat(inputs["ends"])),
        quantities=_decimals(inputs["quantities"]),
        used=_decimals(inputs["used"]),
        people=inputs["people"],
        customer_since=date.fromisoformat(inputs["customer_since"]),
        customer_until=until and date.fromisoformat(until),
        attributes=inputs.get("attributes", {}),
        intervals=tuple(
            Interval(at=datetime.fromisoformat(at), use=Decimal(use), market=Decimal(market))
            for at, use, market in inputs.get("intervals", ())
        ),
        late=tuple(
            LatePayment(
                bill=each["bill"],
                payment=each["payment"],
                amount=Decimal(each["amount"]),
                due=date.fromisoformat(each["due"]),
                since=date.fromisoformat(each.get("since", each["due"])),
                paid=date.fromisoformat(each["paid"]),
            )
            for each in inputs.get("late", ())
        ),
    )


def read_ahead(inputs: Mapping[str, Any], *, before: bool = False) -> dict[str, Decimal]:
    """Return how far bills are ahead of the meter after this one, or before it, by register."""
    return _decimals(inputs.get("was_ahead" if before else "ahead", {}))


def _decimals(stored: Mapping[str, str]) -> dict[str, Decimal]:
    return {register: Decimal(quantity) for register, quantity in stored.items()}

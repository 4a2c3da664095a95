"""What is kept with a bill so that it can be computed again, byte for byte, years later. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from core.billing.calculation import Basis, ComputedBill
from core.billing.registers import BilledSpan, Shown
from core.billing.tariff_model import TariffVersion
from core.periods import Period


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedVersion:
    """A stored tariff version as it stood when the bill was made."""

    id: int
    sha256: str
    valid_to: date | None


def write_inputs(
    *,
    basis: Basis,
    computed: ComputedBill,
    spans: Sequence[BilledSpan],
    versions: Sequence[UsedVersion],
) -> dict[str, Any]:
    """Return the inputs of a bill as they are stored."""
    return {
        "starts": basis.period.starts.isoformat(),
        "ends": basis.period.ends.isoformat(),
        "people": basis.people,
        "customer_since": basis.customer_since.isoformat(),
        "used": _texts(basis.used),
        "quantities": _texts(basis.quantities),
        "tariff": [
            {
                "id": version.id,
                "sha256": version.sha256,
                "valid_to": version.valid_to and version.valid_to.isoformat(),
            }
            for version in versions
        ],
        "readings": [_write_span(span) for span in spans],
        "parts": [
            {"starts": part.period.starts.isoformat(), "quantities": _texts(part.quantities)}
            for part in computed.parts
        ],
    }


def _texts(quantities: Mapping[str, Decimal]) -> dict[str, str]:
    return {register: str(quantity) for register, quantity in quantities.items()}


def _write_span(span: BilledSpan) -> dict[str, Any]:
    return {
        "meter_id": span.meter_id,
        "serial": span.serial,
        "register": span.register,
        "digits": span.digits,
        "multiplier": str(span.multiplier),
        "opening": _write_shown(span.opening),
        "closing": _write_shown(span.closing),
    }


def _write_shown(shown: Shown) -> dict[str, str]:
    return {"at": shown.at.isoformat(), "value": str(shown.value), "source": shown.source}


def read_spans(inputs: Mapping[str, Any]) -> tuple[BilledSpan, ...]:
    """Return the readings between which a bill's use lies."""
    return tuple(
        BilledSpan(
            meter_id=span["meter_id"],
            serial=span["serial"],
            register=span["register"],
            digits=span["digits"],
            multiplier=Decimal(span["multiplier"]),
            opening=_read_shown(span["opening"]),
            closing=_read_shown(span["closing"]),
        )
        for span in inputs["readings"]
    )


def _read_shown(stored: Mapping[str, str]) -> Shown:
    return Shown(
        at=datetime.fromisoformat(stored["at"]),
        value=Decimal(stored["value"]),
        source=stored["source"],
    )


def used_versions(inputs: Mapping[str, Any]) -> list[UsedVersion]:
    """Return the tariff versions that priced a bill."""
    return [
        UsedVersion(
            id=version["id"],
            sha256=version["sha256"],
            valid_to=version["valid_to"] and date.fromisoformat(version["valid_to"]),
        )
        for version in inputs["tariff"]
    ]


def read_basis(inputs: Mapping[str, Any], *, versions: Sequence[TariffVersion]) -> Basis:
    """Return what a bill was computed from."""
    return Basis(
        versions=tuple(versions),
        period=Period(date.fromisoformat(inputs["starts"]), date.fromisoformat(inputs["ends"])),
        quantities=_decimals(inputs["quantities"]),
        used=_decimals(inputs["used"]),
        people=inputs["people"],
        customer_since=date.fromisoformat(inputs["customer_since"]),
    )


def _decimals(stored: Mapping[str, str]) -> dict[str, Decimal]:
    return {register: Decimal(quantity) for register, quantity in stored.items()}

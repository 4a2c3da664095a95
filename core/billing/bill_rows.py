"""Bills and their lines as the text that PostgreSQL's COPY reads. Pure."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Final

from core.billing.calculation import ComputedBill
from core.billing.drafts import Draft
from core.billing.models import BillState
from core.db import SCHEMA
from core.monitoring.rows import NULL

# The number stands last: it is taken, and with it the turn of all other workers, at the very end.
BILLS: Final = (
    f"COPY {SCHEMA}.bills (id, run_id, agreement_id, tariff_version_id, starts_date, ends_date,"
    " consumption, currency, total_minor, state, held_reason, issued_at, due_date,"
    " billable_from, replaces_id, inputs, number)"
    " FROM STDIN"
)
LINES: Final = (
    f"COPY {SCHEMA}.bill_lines (bill_id, position, kind, component, starts_date, ends_date, tier,"
    " tier_from, tier_to, register, quantity, price, amount) FROM STDIN"
)
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def bill_row(
    draft: Draft,
    *,
    bill_id: int,
    run_id: int | None,
    issued: tuple[datetime, date, date] | None,
    replaces_id: int | None,
) -> str:
    """Return a bill without its number, issued unless there is a reason to hold it back."""
    state = f"{BillState.HELD.value}\t{_written(draft.held_reason)}\t{NULL}\t{NULL}\t{NULL}"
    if issued is not None and draft.held_reason is None:
        state = f"{BillState.ISSUED.value}\t{NULL}\t" + "\t".join(map(str, issued))
    computed, period = draft.computed, draft.period
    inputs = draft.inputs.replace("\\", "\\\\")
    return (
        f"{bill_id}\t{_written(run_id)}\t{draft.agreement_id}\t{draft.tariff_version_id}\t{period.starts}\t"
        f"{period.ends}\t{draft.consumption}\t{computed.currency}\t{computed.total_minor}\t"
        f"{state}\t{_written(replaces_id)}\t{inputs}"
    )


def numbered(rows: Iterable[str], numbers: Iterable[str]) -> str:
    """Return bills with their numbers, one each."""
    return "".join([f"{row}\t{number}\n" for row, number in zip(rows, numbers, strict=True)])


def lines_of(computed: ComputedBill) -> list[dict[str, Any]]:
    """Return a computed bill's lines as they are stored."""
    lines = [(part.period, line) for part in computed.parts for line in part.lines]
    return [
        {
            "position": position,
            "kind": line.kind.value,
            "component": line.code,
            "starts_date": period.starts,
            "ends_date": period.ends,
            "tier": line.tier,
            "tier_from": line.tier_from,
            "tier_to": line.tier_to,
            "register": line.register,
            "quantity": line.quantity,
            "price": line.unit_price,
            "amount": line.amount,
        }
        for position, (period, line) in enumerate(lines, 1)
    ]


def line_rows(computed: ComputedBill, *, bill_id: int) -> str:
    """Return the lines of a bill."""
    lines = [(part.period, line) for part in computed.parts for line in part.lines]
    return "".join(
        [
            f"{bill_id}\t{position}\t{line.kind.value}\t{line.code}\t{period.starts!s}\t"
            f"{period.ends!s}\t{_written(line.tier)}\t{_written(line.tier_from)}\t"
            f"{_written(line.tier_to)}\t{_written(line.register)}\t{line.quantity!s}\t"
            f"{line.unit_price!s}\t{line.amount!s}\n"
            for position, (period, line) in enumerate(lines, 1)
        ]
    )


def _written(value: object) -> str:
    """Return a value as COPY reads it; a register is called what its gateway calls it."""
    if value is None:
        return NULL
    return value.translate(_ESCAPES) if isinstance(value, str) else str(value)

"""Orders, answers and debts in words, for the chat."""

from collections.abc import Iterable
from datetime import datetime

from bot.handlers import plan_words
from bot.outgoing import Button, press
from bot.texts import Markup, Texts
from core.accounts.models import Supply
from core.billing.arrears import Arrears
from core.billing.dunning import UnreachedDebtor
from core.monitoring.models import Quantity
from core.repairs.models import Cause
from core.supply.answers import Answer, Why
from core.supply.models import OrderState, Reason
from core.supply.orders import ACTIVE, UNDERWAY
from core.supply.queries import OrderView

LITRES = 1000


def place_words(texts: Texts, *, service: str, address: str) -> str:
    """Return the title of a place: the service and where it is."""
    return texts.get("supply.place", service=texts.plain(f"service.{service}"), address=address)


def overdue_words(texts: Texts, order: OrderView) -> str:
    """Return the amount for which an order was made."""
    return texts.money(order.overdue_minor, order.currency)


def danger_values(texts: Texts, order: OrderView) -> dict[str, object]:
    """Return what sentences about a danger can name: how much, and since when."""
    danger = order.danger
    if danger is None:
        return {}
    is_burst = danger.reason is Reason.BURST
    litres = texts.number(danger.value * LITRES, places_max=0)
    value = litres if is_burst else texts.quantity(danger.value, Quantity.VOLTAGE)
    return {"value": value, "began": texts.moment(danger.began_at)}


def describe_answer(texts: Texts, answer: Answer, *, hotline: str, now: datetime) -> str:
    """Return why a supply is off, in a few lines."""
    why: str = answer.why
    values: dict[str, object] = {"hotline": hotline}
    if answer.seen_at is not None:
        values["seen"] = texts.moment(answer.seen_at)
    elif answer.why is Why.UNKNOWN:
        why = "silent"
    if answer.arrears is not None:
        values["overdue"] = texts.money(answer.arrears.overdue_minor, answer.arrears.currency)
    elif answer.why in {Why.ARREARS, Why.CUT_ORDERED}:
        why = "settled"
    if answer.outage is not None:
        values |= {
            "number": answer.outage.number,
            "reason": answer.outage.reason,
            "ends": texts.moment(answer.outage.ends_at),
        }
    if is_closed_for_burst(answer):
        why = f"{why}_burst"
    lines = [place_words(texts, service=answer.place.service, address=answer.place.address)]
    if answer.why is Why.REPAIR or _is_stuck(answer):
        lines += _repair_lines(texts, answer, now)
    else:
        since = texts.moment(answer.since) if answer.since is not None else ""
        lines.append(texts.get(f"supply.why_{why}", since=since, **values))
        if answer.why is Why.OUTAGE and answer.outage is not None and answer.outage.ends_at <= now:
            lines.append(texts.get("supply.late"))
    if answer.plan is not None:
        lines.append(plan_words.state_words(texts, answer.plan.plan))
        lines += plan_words.next_words(texts, answer.plan)
    return texts.lines(lines)


def _is_stuck(answer: Answer) -> bool:
    """Tell whether supply comes back only when somebody has mended the valve or switch."""
    is_switch = answer.repair is not None and answer.repair.cause is Cause.SUPPLY_SWITCH
    return answer.why is Why.RESTORING and is_switch


def is_closed_for_burst(answer: Answer) -> bool:
    """Tell whether water is off, or is being closed, because a burst is suspected."""
    protects = answer.why in {Why.PROTECTED, Why.PROTECTING}
    return protects and answer.danger is not None and answer.danger.reason is Reason.BURST


def _repair_lines(texts: Texts, answer: Answer, now: datetime) -> Iterable[str]:
    repair = answer.repair
    assert repair is not None  # noqa: S101 (the caller looked)
    if _is_stuck(answer):
        yield texts.get("supply.why_restoring_stuck")
    state = Markup(texts.get(f"repair.state_{repair.state}"))
    yield texts.get("supply.why_repair", number=repair.number, state=state)
    if repair.technician_name is not None:
        yield texts.get("supply.repair_who", name=repair.technician_name)
    if repair.promised_at is not None:
        yield texts.get("supply.repair_when", when=texts.moment(repair.promised_at))
        if repair.promised_at <= now:
            yield texts.get("supply.late")


def pay_key(texts: Texts, arrears: Arrears) -> Button:
    """Return the button that pays all that is overdue, which is what keeps or brings supply."""
    amount = texts.money(arrears.overdue_minor, arrears.currency)
    return Button(texts.plain("supply.pay", amount=amount), press("paydue", arrears.bill_number))


def state_words(texts: Texts, order: OrderView) -> str:
    """Return where an order stands, and since when."""
    since = order.finished_at or order.approved_at or order.proposed_at
    return texts.get(f"supply.state_{order.state}", at=texts.moment(since))


def history_words(texts: Texts, order: OrderView) -> str:
    """Return an order as its customer reads it: what, why, how much, who, and what came of it."""
    lines = [
        texts.get(
            "supply.history_cut" if order.wanted is Supply.CUT else "supply.history_restore",
            number=order.number,
            at=texts.moment(order.approved_at or order.proposed_at),
        )
    ]
    if order.danger is not None:
        key = f"supply.reason_{order.danger.reason}"
        lines.append(texts.get(key, **danger_values(texts, order)))
    elif order.reason is Reason.CREDIT_USED:
        lines.append(texts.get("supply.reason_credit_used", overdue=overdue_words(texts, order)))
    elif order.wanted is Supply.CUT:
        lines.append(
            texts.get(
                "supply.reason_arrears",
                overdue=overdue_words(texts, order),
                bill=order.bill_number or "",
            )
        )
    else:
        lines.append(restore_reason(texts, order))
    if order.approved_by is not None:
        lines.append(texts.get("supply.decided_by", name=order.approved_by))
    lines.append(state_words(texts, order))
    return texts.lines(lines)


def restore_reason(texts: Texts, order: OrderView) -> str:
    """Return why supply comes back."""
    if order.reason is Reason.SAFE:
        return texts.get(f"supply.reason_safe_{order.service}")
    return texts.get(f"supply.reason_{order.reason}")


def card_words(texts: Texts, order: OrderView, restore: OrderView | None) -> str:
    """Return an order to cut as a manager reads it, its facts, and what takes it back."""
    if order.danger is not None:
        ground = [
            texts.get(f"supply.reason_{order.danger.reason}", **danger_values(texts, order)),
            texts.get(f"cut.protects_{order.service}"),
        ]
    else:
        ground = list(_debt_lines(texts, order))
    return texts.lines(
        [
            texts.get("cut.title", number=order.number),
            place_words(texts, service=order.service, address=order.address),
            texts.get("cut.account", number=order.account_number, holder=order.holder_name),
            *ground,
            texts.get("cut.meter", serial=order.meter_serial),
            state_words(texts, order),
            texts.get("supply.decided_by", name=order.approved_by) if order.approved_by else None,
            _note(texts, order, f"supply.note_{order.note}"),
            history_words(texts, restore) if restore is not None else None,
        ]
    )


def _debt_lines(texts: Texts, order: OrderView) -> Iterable[str]:
    def delivered(key: str, moment: datetime | None) -> str:
        return texts.get(key, at=texts.moment(moment)) if moment else texts.get("cut.not_delivered")

    if order.reason is Reason.CREDIT_USED:
        yield texts.get("supply.reason_credit_used", overdue=overdue_words(texts, order))
        yield delivered("cut.notice", order.notice_delivered_at)
        return
    yield texts.count(
        "cut.overdue",
        order.overdue_days,
        overdue=overdue_words(texts, order),
        bill=order.bill_number or "",
    )
    yield delivered("cut.reminder", order.reminder_delivered_at)
    yield delivered("cut.notice", order.notice_delivered_at)


def _note(texts: Texts, order: OrderView, key: str) -> str | None:
    if not order.note:
        return None
    known = texts.knows(key)
    return texts.get(key) if known else texts.get("cut.note", reason=reasons(texts, order.note))


def reasons(texts: Texts, stored: str) -> str:
    """Return stored refusals in words; what a manager typed stays as it is."""
    codes = stored.split(", ")
    if all(texts.knows(f"cut.refusal_{code}") for code in codes):
        return "; ".join(texts.plain(f"cut.refusal_{code}") for code in codes)
    return stored


def card_keys(texts: Texts, order: OrderView, restore: OrderView | None) -> list[list[Button]]:
    """Return what a manager can do with an order to cut."""
    undo = Button(texts.plain("cut.undo"), press("cutundo", order.number))
    if order.wanted is not Supply.CUT or is_undone(restore):
        return []
    if order.state is OrderState.PROPOSED:
        approve = "cut.approve" if order.danger is None else f"cut.close_{order.service}"
        return [
            [
                Button(texts.plain(approve), press("cutyes", order.number, order.version)),
                Button(texts.plain("cut.decline"), press("cutno", order.number, order.version)),
            ]
        ]
    if order.state in {OrderState.APPROVED, *UNDERWAY}:
        return [[undo]]
    is_cut = order.state is OrderState.CONFIRMED and order.supply is not Supply.CONNECTED
    return [[undo]] if is_cut else []


def is_undone(restore: OrderView | None) -> bool:
    """Tell whether what takes a cut back is under way or done."""
    return restore is not None and restore.state in {*ACTIVE, OrderState.CONFIRMED}


def debtor_words(texts: Texts, debtor: UnreachedDebtor) -> str:
    """Return somebody whom no message reached, with how to reach them otherwise."""
    lines = [
        texts.get(
            "cut.unreached_line",
            bill=debtor.bill_number,
            address=debtor.address,
            account=debtor.account_number,
            names=", ".join(debtor.names),
            since=texts.day(debtor.since),
        )
    ]
    lines.append(
        texts.get("cut.unreached_phone", phones=", ".join(debtor.phones))
        if debtor.phones
        else texts.get("cut.unreached_visit")
    )
    return texts.lines(lines)

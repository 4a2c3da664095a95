"""Plans to pay in parts in words, for the chat and the back office."""

from collections.abc import Iterable, Sequence

from bot.outgoing import Button, press
from bot.texts import Texts
from core.billing.plan_models import PaymentPlan, PlanState
from core.billing.plan_queries import PlanView
from core.billing.plan_rules import Part


def part_lines(texts: Texts, parts: Sequence[Part], currency: str, *, paid: int = 0) -> list[str]:
    """Return the parts of a plan, one line each; the first `paid` of them are paid."""
    return [
        texts.get(
            "plan.part_paid" if position <= paid else "plan.part",
            position=position,
            amount=texts.money(part.amount_minor, currency),
            day=texts.day(part.due),
        )
        for position, part in enumerate(parts, 1)
    ]


def next_words(texts: Texts, found: PlanView) -> Iterable[str]:
    """Yield what is to be paid next on a plan that runs."""
    if found.next is None or found.plan.state is not PlanState.AGREED:
        return
    yield texts.get(
        "plan.next",
        amount=texts.money(found.next.amount_minor, found.plan.currency),
        position=found.next.position,
        count=len(found.parts),
        day=texts.day(found.next.due),
        left=texts.money(found.left_minor, found.plan.currency),
    )


def state_words(texts: Texts, plan: PaymentPlan, *, decided_by: str | None = None) -> str:
    """Return where a plan stands, in one line."""
    return texts.get(
        f"plan.state_{plan.state}",
        number=plan.number,
        name=decided_by or "",
        reason=plan.reason or "",
    )


def describe_plan(texts: Texts, found: PlanView, *, for_staff: bool) -> str:
    """Return a plan's screen: what it pays, by which parts, and where it stands."""
    plan = found.plan
    lines = [
        texts.get(
            "plan.head",
            number=plan.number,
            service=texts.plain(f"service.{found.service}"),
            debt=texts.money(plan.debt_minor, plan.currency),
        ),
        texts.get("bill.where", address=found.address, account=found.account_number),
        texts.get("plan.bills", bills=", ".join(found.bills)),
    ]
    if for_staff:
        lines.append(
            texts.get(
                "dispute.from",
                name=found.person_name,
                phone=found.phone or "-",
                at=texts.moment(plan.opened_at),
            )
        )
        if found.broken_before:
            lines.append(texts.count("plan.broken_before", found.broken_before))
    has_begun = plan.agreed_at is not None
    paid = found.next.position - 1 if found.next else len(found.parts)
    lines += part_lines(texts, found.parts, plan.currency, paid=paid if has_begun else 0)
    lines.append(state_words(texts, plan, decided_by=found.decided_by))
    return texts.lines([*lines, *next_words(texts, found)])


def pay_part_key(texts: Texts, found: PlanView) -> list[list[Button]]:
    """Return the button that pays exactly the next part of a plan that runs."""
    if found.plan.state is not PlanState.AGREED or found.next is None:
        return []
    amount = texts.money(found.next.amount_minor, found.plan.currency)
    label = texts.plain("plan.pay", amount=amount, position=found.next.position)
    return [[Button(label, press("paypart", found.plan.number))]]


def plan_keys(texts: Texts, found: PlanView, *, person_id: int, is_own: bool) -> list[list[Button]]:
    """Return what a person can do with a plan: one of its people, or else a manager."""
    number, state = found.plan.number, found.plan.state
    yes = Button(texts.plain("plan.agree"), press("planyes", number))
    back = Button(texts.plain("plan.withdraw"), press("planback", number))
    if is_own:
        return {
            PlanState.ASKED: [[back]],
            PlanState.OFFERED: [[yes], [back]],
            PlanState.AGREED: pay_part_key(texts, found),
        }.get(state, [])
    if state is PlanState.OFFERED and found.plan.person_id == person_id:
        return [[back]]
    no = Button(texts.plain("plan.decline"), press("planno", number))
    return [[yes], [no]] if state is PlanState.ASKED else []

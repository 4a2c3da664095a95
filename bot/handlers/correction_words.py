"""Credit notes, bills made again and objections in words, for the chat and the back office."""

from collections.abc import Iterable, Sequence

from bot.handlers import plan_words
from bot.handlers.bill_words import title
from bot.outgoing import Button, press
from bot.texts import Markup, Texts
from core.billing.correction_models import CreditKind, CreditNote, DisputeState, Ground
from core.billing.correction_queries import BillStory, CreditView, Replaced
from core.billing.dispute_queries import DisputeView
from core.billing.queries import BillSummary
from core.billing.rebilling import Gift, Rebilled


def reason_words(texts: Texts, note: CreditNote) -> str:
    """Return why a credit note was written."""
    if note.kind is CreditKind.OLD_USE:
        return texts.plain("credit.reason_old_use")
    return note.reason


def story_lines(texts: Texts, story: BillStory, *, for_staff: bool = False) -> Iterable[str]:
    """Yield what became of a bill after it was issued, one line each."""
    if story.replaces:
        yield texts.get("bill.replaces", number=story.replaces)
    if story.replaced_by:
        yield texts.get("bill.replaced_by", number=story.replaced_by)
    for note in story.credits:
        yield texts.get(
            "credit.line",
            number=note.number,
            amount=texts.money(note.amount_minor, note.currency),
            day=texts.day(note.at),
            reason=reason_words(texts, note),
        )
    if story.dispute is not None:
        yield dispute_words(texts, story.dispute, for_staff=for_staff)
    if story.plan is not None:
        yield plan_words.state_words(texts, story.plan)


def describe_credit(texts: Texts, view: CreditView, answered: DisputeView | None) -> str:
    """Return the message about a credit note: what is taken off, why, what is left and answered."""
    note, bill = view.note, view.summary.bill
    left = view.summary.left_minor
    return texts.lines(
        [
            texts.get(
                "credit.head",
                number=note.number,
                amount=texts.money(note.amount_minor, note.currency),
                title=Markup(title(texts, view.summary)),
            ),
            texts.get("credit.reason", reason=reason_words(texts, note)),
            texts.get("credit.left", left=texts.money(left, bill.currency))
            if left
            else texts.get("credit.nothing_left"),
            _upheld(texts, answered),
        ]
    )


def _upheld(texts: Texts, dispute: DisputeView | None) -> str | None:
    if dispute is None:
        return None
    return texts.get("dispute.upheld_by", number=dispute.number, name=dispute.answered_by or "")


def describe_replaced(texts: Texts, pairs: Sequence[Replaced], answered: DisputeView | None) -> str:
    """Return the one message about bills made again: old and new, why, and the difference."""
    first = pairs[0].old
    lines = [
        texts.get("rebill.head", title=Markup(title(texts, first))),
        texts.get("rebill.reason", reason=first.bill.void_reason or ""),
    ]
    difference = 0
    for pair in pairs:
        old, new = net_minor(pair.old), net_minor(pair.new)
        difference += new - old
        asked = pair.new.bill.total_minor if pair.new else 0
        lines.append(
            texts.get(
                "rebill.pair" if pair.new else "rebill.gone",
                old=pair.old.bill.number,
                new=pair.new.bill.number if pair.new else "",
                days=texts.days(pair.old.bill.starts_date, pair.old.bill.ends_date),
                before=texts.money(pair.old.bill.total_minor, first.bill.currency),
                after=texts.money(asked, first.bill.currency),
            )
        )
        lines += [
            texts.get(
                "rebill.credited",
                number=each.bill.number,
                credited=texts.money(each.bill.credited_minor, first.bill.currency),
                left=texts.money(net_minor(each), first.bill.currency),
            )
            for each in (pair.old, pair.new)
            if each is not None and each.bill.credited_minor
        ]
        lines += [
            _gift_words(texts, note, is_kept=pair.keeps_credits, currency=first.bill.currency)
            for note in pair.credits
        ]
    lines.append(difference_words(texts, difference, first.bill.currency))
    lines += [
        texts.get(
            "rebill.to_pay",
            number=new.bill.number,
            left=texts.money(new.left_minor, new.bill.currency),
            due=texts.day(new.bill.due_date) if new.bill.due_date else "",
        )
        for new in (pair.new for pair in pairs)
        if new is not None and new.left_minor
    ] or [texts.get("credit.nothing_left")]
    return texts.lines([*lines, _upheld(texts, answered)])


def _gift_words(texts: Texts, note: CreditNote | Gift, *, is_kept: bool, currency: str) -> str:
    return texts.get(
        "rebill.credit_kept" if is_kept else "rebill.credit_taken",
        number=note.number,
        amount=texts.money(note.amount_minor, currency),
        reason=note.reason,
    )


def net_minor(summary: BillSummary | None) -> int:
    """Return what a bill asks for less what was credited. Units: minor units."""
    return summary.bill.total_minor - summary.bill.credited_minor if summary else 0


def difference_words(texts: Texts, minor: int, currency: str) -> str:
    """Return what corrected bills come to, against those before."""
    key = "rebill.more" if minor > 0 else "rebill.less"
    return texts.get(key if minor else "rebill.same", amount=texts.money(abs(minor), currency))


def describe_preview(texts: Texts, found: Rebilled) -> str:
    """Return what billing again would do, for whoever decides on it."""
    lines = [texts.get("rebill.preview")]
    for pair in found.pairs:
        lines.append(
            texts.get(
                "rebill.line" if pair.new else "rebill.line_gone",
                old=pair.old,
                before=texts.money(pair.old_minor, found.currency),
                after=texts.money(pair.new_minor, found.currency),
            )
        )
        if pair.oddity:
            lines.append(texts.get("rebill.odd", reason=texts.plain(f"held.{pair.oddity}")))
        if pair.old_use_minor:
            amount = texts.money(pair.old_use_minor, found.currency)
            lines.append(texts.get("rebill.old_use", amount=amount))
        lines += [
            _gift_words(texts, gift, is_kept=pair.kept_minor > 0, currency=found.currency)
            for gift in pair.gifts
        ]
    more = sum(pair.new_minor - pair.old_minor for pair in found.pairs)
    return texts.lines([*lines, difference_words(texts, more, found.currency)])


def subject_words(texts: Texts, dispute: DisputeView) -> str:
    """Return what an objection is about."""
    if dispute.bill_number is not None:
        return texts.plain(f"bill.title_{dispute.service}", number=dispute.bill_number)
    value = "" if dispute.value is None else texts.quantity(dispute.value, dispute.service)
    return texts.plain("dispute.about_reading", serial=dispute.serial or "", value=value)


def dispute_words(texts: Texts, dispute: DisputeView, *, for_staff: bool) -> str:
    """Return where an objection stands: who answers by when, or what was answered."""
    if dispute.state is DisputeState.OPEN:
        key = "dispute.open" if dispute.responsible else "dispute.open_unnamed"
        if dispute.is_late:
            key = "dispute.overdue_by" if dispute.responsible else "dispute.overdue"
        if for_staff:
            key = "dispute.staff_overdue" if dispute.is_late else "dispute.staff_open"
        words = texts.get(
            key,
            number=dispute.number,
            name=dispute.responsible or "",
            day=texts.day(dispute.promised_date),
        )
        if not dispute.delay:
            return words
        return texts.lines([words, texts.get("dispute.delay", reason=dispute.delay)])
    whose = "staff" if for_staff else "state"
    return texts.get(
        f"dispute.{whose}_{dispute.state}",
        number=dispute.number,
        name=dispute.answered_by or "",
        day=texts.day(dispute.answered_at) if dispute.answered_at else "",
        answer=dispute.answer or "",
    )


def describe_dispute(texts: Texts, dispute: DisputeView, *, for_staff: bool) -> str:
    """Return an objection's screen."""
    lines = [
        texts.get("dispute.head", number=dispute.number, subject=subject_words(texts, dispute)),
        texts.get("bill.where", address=dispute.address, account=dispute.account_number),
        texts.get(
            "dispute.said" if dispute.words else "dispute.said_no_more",
            ground=texts.plain(f"dispute.ground_{dispute.ground}"),
            words=dispute.words,
        ),
    ]
    if for_staff:
        lines.append(
            texts.get(
                "dispute.from",
                name=dispute.person_name,
                phone=dispute.phone or texts.plain("dispute.no_phone"),
                at=texts.moment(dispute.opened_at),
            )
        )
    lines.append(dispute_words(texts, dispute, for_staff=for_staff))
    if dispute.state is DisputeState.OPEN and not for_staff:
        key = "dispute.clocks_stand" if dispute.bill_number else "dispute.reading_waits"
        lines.append(texts.get(key))
    if dispute.state is DisputeState.UPHELD and dispute.key is not None:
        right = dispute.right_value
        value = "" if right is None else texts.quantity(right, dispute.service)
        key = "dispute.struck_out" if right is None else "dispute.right_number"
        lines.append(texts.get(key, value=value))
    return texts.lines(lines)


def ground_keys(texts: Texts) -> list[list[Button]]:
    """Return the usual reasons to object as buttons."""
    return [
        [Button(texts.plain(f"dispute.ground_{ground}"), press("objectas", ground))]
        for ground in Ground
    ]

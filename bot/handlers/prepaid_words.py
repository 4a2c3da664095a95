"""Prepaid balances in words, for the chat."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from bot.handlers.usage_pictures import heading
from bot.texts import Texts
from core.accounts.models import Operator
from core.accounts.service import Place
from core.billing.burn import Burn, is_outdated
from core.billing.prepaid import Balance
from core.billing.prepaid_rules import least_top_up
from core.money import round_to


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A balance, with how long it lasts and what the operator adds."""

    operator: Operator
    balance: Balance
    burn: Burn | None
    now: datetime


def describe_balance(texts: Texts, place: Place, known: Known, *, steps: Collection[int]) -> str:
    """Return what is left at a place, how long it lasts, and when its people are told."""
    lines = [heading(texts, place), *_left_words(texts, known), *lasts_words(texts, known)]
    if steps:
        lines.append(texts.get("prepaid.told_at", steps=step_words(texts, steps)))
    else:
        lines.append(texts.get("prepaid.told_at_zero"))
    return texts.lines(lines)


def step_words(texts: Texts, steps: Collection[int]) -> str:
    """Return amounts side by side, the highest first."""
    return ", ".join(texts.money(step) for step in sorted(steps, reverse=True))


def _left_words(texts: Texts, known: Known) -> Iterator[str]:
    balance, emergency = known.balance, known.operator.emergency_minor
    if balance.minor is None:
        yield texts.get("prepaid.unknown", credit=texts.money(balance.credit_minor))
        return
    key = "prepaid.left_estimated" if balance.is_estimated else "prepaid.left"
    yield texts.get(key, left=texts.money(balance.minor))
    if balance.read_at is not None and is_outdated(balance, now=known.now):
        yield texts.get("prepaid.as_of", read=texts.moment(balance.read_at))
    if balance.minor <= -emergency:
        yield used_up_words(texts, known)
    elif balance.minor <= 0:
        yield emergency_words(texts, known)


def emergency_words(texts: Texts, known: Known) -> str:
    """Return how much emergency credit is left."""
    emergency = known.operator.emergency_minor
    return texts.get(
        "prepaid.emergency",
        rest=texts.money(emergency + (known.balance.minor or 0)),
        emergency=texts.money(emergency),
    )


def missing_words(texts: Texts, operator: Operator, balance: Balance) -> str | None:
    """Return how much has to be topped up for supply, where no credit is left."""
    missing = 0
    if balance.minor is not None:
        missing = least_top_up(balance.minor, emergency_minor=operator.emergency_minor)
    return texts.get("prepaid.missing", missing=texts.money(missing)) if missing else None


def receipt_words(texts: Texts, operator: Operator, balance: Balance) -> str:
    """Return what is left after a payment, and how much is still missing."""
    left = None
    if balance.minor is not None:
        left = texts.get("prepaid.left", left=texts.money(balance.minor))
    return texts.lines([left, missing_words(texts, operator, balance)])


def used_up_words(texts: Texts, known: Known) -> str:
    """Return that supply may be cut, when it never is, and what puts that off."""
    operator = known.operator
    least = least_top_up(known.balance.minor or 0, emergency_minor=operator.emergency_minor)
    return texts.get(
        "prepaid.used_up",
        missing=texts.money(least),
        opens=operator.prepaid_cut_from,
        closes=operator.prepaid_cut_until,
        hotline=operator.hotline,
    )


def lasts_words(texts: Texts, known: Known) -> Iterator[str]:
    """Yield what a day costs and until when the balance lasts, as far as that can be said."""
    burn, left = known.burn, known.balance.minor
    if left is None:
        return
    if burn is None:
        if left > 0:
            yield texts.get("prepaid.no_burn")
        return
    a_day = texts.money(int(round_to(burn.minor, digits=0)))
    if left <= 0:
        yield texts.get("prepaid.burn", burn=a_day)
    elif burn.days_left < 1:
        yield texts.get("prepaid.lasts_today", burn=a_day)
    else:
        yield texts.count(
            "prepaid.lasts", burn.days_left, burn=a_day, until=texts.day(burn.lasts_until)
        )

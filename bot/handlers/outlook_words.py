"""The running bill, what-if bills and budgets in words, for the chat."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from bot.handlers.bill_words import all_line_words
from bot.handlers.usage_pictures import heading
from bot.texts import Texts
from core.accounts.models import Service
from core.accounts.service import Place
from core.billing.bill_rows import lines_of
from core.billing.models import BillLine
from core.billing.outlook import Outlook
from core.billing.running import WhatIf

_NUMBER = re.compile(r"(?:[-\u2212\u2013] ?)?\d(?:[\d.,' \u00a0]*\d)?")
_UNITS = {service: f"whatif.units_{service}" for service in Service}


def words_of(texts: Texts, key: str) -> list[str]:
    """Return the words that a catalog gives for a notion, longest first."""
    words = (fold(word) for word in texts.plain(key).split("|"))
    return sorted(words, key=len, reverse=True)


def fold(typed: str) -> str:
    """Return what was typed as it is compared: full-width and capital letters made plain."""
    return unicodedata.normalize("NFKC", typed).casefold()


def find_number(typed: str) -> str:
    """Return the first number in a sentence as it was typed, empty for none."""
    found = _NUMBER.search(typed)
    return found[0] if found else ""


def find_quantity(texts: Texts, typed: str) -> tuple[str, Service] | None:
    """Return the number before a unit, and whose unit it is."""
    for service, key in _UNITS.items():
        units = "|".join(map(re.escape, words_of(texts, key)))
        found = re.search(rf"({_NUMBER.pattern})\s*(?:{units})", typed)
        if found:
            return found[1], service
    return None


def describe_outlook(texts: Texts, place: Place, outlook: Outlook) -> str:
    """Return what the running bill of a place comes to so far and by its end."""
    period = outlook.running.basis.period
    days = texts.days(period.starts, period.ends)
    lines = [heading(texts, place), texts.get("outlook.period", days=days)]
    lines += _so_far_words(texts, outlook)
    lines.append(_forecast_words(texts, outlook))
    if outlook.used is not None and outlook.tier:
        lines.append(_tier_words(texts, outlook))
    if outlook.running.is_bill_due:
        lines.append(texts.get("outlook.bill_due"))
    return texts.lines(lines)


def _so_far_words(texts: Texts, outlook: Outlook) -> list[str]:
    heard = outlook.heard_at and texts.moment(outlook.heard_at)
    if outlook.used is None or outlook.cost_minor is None:
        key = "outlook.unknown_since" if heard else "outlook.unknown"
        return [texts.get(key, heard=heard)]
    said = texts.get(
        "outlook.so_far_estimated" if outlook.is_estimated else "outlook.so_far",
        quantity=texts.quantity(outlook.used, outlook.running.service, places_max=1),
        cost=texts.money(outlook.cost_minor, outlook.running.currency),
    )
    if not outlook.is_silent:
        return [said]
    key = "outlook.guessed_since" if outlook.is_estimated else "outlook.silent_since"
    return [said, texts.get(key, heard=heard or "")]


def _forecast_words(texts: Texts, outlook: Outlook) -> str:
    forecast, costs = outlook.forecast, outlook.costs
    if forecast is None or costs is None:
        return texts.get("outlook.no_forecast")
    service = outlook.running.service
    return texts.get(
        "outlook.forecast_by_bills" if outlook.by_bills else "outlook.forecast",
        likely=texts.money(costs.likely, outlook.running.currency),
        low=texts.money(costs.low, outlook.running.currency),
        high=texts.money(costs.high, outlook.running.currency),
        # As the prices count them: what is behind the point of whole units is cut.
        least=texts.quantity(Decimal(int(forecast.low)), service),
        most=texts.quantity(Decimal(int(forecast.high)), service),
    )


def _tier_words(texts: Texts, outlook: Outlook) -> str:
    coming = outlook.next_tier
    if coming is None:
        return texts.get("outlook.tier_stays", tier=outlook.tier)
    return coming_tier_words(texts, outlook.running.service, asdict(coming))


def coming_tier_words(texts: Texts, service: Service, coming: Mapping[str, Any]) -> str:
    """Return that a tier is going to be reached; `coming` are the fields of a `NextTier`."""
    values = {
        "tier": coming["tier"],
        "above": texts.quantity(Decimal(coming["above"]), service),
        "window": texts.plain(f"outlook.window_{coming['window']}"),
    }
    if coming["days"]:
        return texts.count("outlook.tier_in", coming["days"], **values)
    return texts.get("outlook.tier_now", **values)


def describe_what_if(texts: Texts, place: Place, found: WhatIf) -> str:
    """Return what a bill would be, each tier in words, and what it was reckoned with."""
    running, computed = found.running, found.computed
    basis = running.basis
    used = sum(basis.used.values(), Decimal(0))
    lines = all_line_words(
        texts,
        [BillLine(**line) for line in lines_of(computed)],
        labels=running.tariff.labels,
        service=running.service,
        currency=computed.currency,
    )
    return texts.lines(
        [
            heading(texts, place),
            texts.get(
                "whatif.head",
                quantity=texts.quantity(found.counted, running.service),
                days=texts.days(basis.period.starts, basis.period.ends),
                total=texts.money(computed.total_minor, computed.currency),
            ),
            "",
            *lines,
            "",
            texts.count(
                "whatif.reckoned",
                basis.people,
                place=running.tariff.place.get(texts.locale, running.tariff.code),
                used=texts.quantity(used, running.service),
            ),
            texts.get("outlook.bill_due") if running.is_bill_due else None,
        ]
    )

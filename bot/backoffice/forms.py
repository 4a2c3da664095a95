"""What the office's forms have in common: trying an act, reading an amount."""

from collections.abc import Awaitable
from typing import Annotated

from fastapi import Form

from bot.api.billing import AmountNotPositive
from bot.backoffice.desk import Visit
from bot.routes import explain
from bot.texts import Texts
from core.errors import DomainError
from core.money import Money

REASON_LENGTH_MAX = 200
Typed = Annotated[str, Form(max_length=200)]
Key = Annotated[str, Form(min_length=16, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


async def attempt(visit: Visit, act: Awaitable[object]) -> str:
    """Do an act wholly, or return why it was refused."""
    try:
        async with visit.session.begin_nested():
            await act
    except DomainError as refusal:
        return explain(visit.texts, refusal)
    return ""


def read_amount(texts: Texts, typed: str) -> int:
    """
    Return a typed amount as minor units of the operator's currency.

    Raises:
        NotANumber, TooManyPlaces, AmountTooFine, AmountNotPositive: it is none that can be paid.
    """
    minor = Money.exactly(texts.parse_quantity(typed), texts.currency).minor
    if minor <= 0:
        raise AmountNotPositive
    return minor

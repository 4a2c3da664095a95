"""What the office's forms have in common: who may send them, trying an act, reading an amount."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated

from fastapi import Form, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api.billing import AmountNotPositive
from bot.backoffice.sessions import Visitor
from bot.backoffice.shell import find_visitor, is_own_page, show_message, texts_for
from bot.routes import explain
from bot.texts import Texts
from core.errors import DomainError
from core.money import Money

REASON_LENGTH_MAX = 200
Typed = Annotated[str, Form(max_length=200)]
Key = Annotated[str, Form(min_length=16, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


async def admit(
    request: Request, session: AsyncSession, now: datetime
) -> tuple[Visitor, Texts] | Response:
    """Return who looks at a page, or the page that says why not; forms only from our own pages."""
    if request.method == "POST" and not is_own_page(request):
        return await show_message(session, "foreign", 403)
    visitor = await find_visitor(request, session, now)
    if visitor is None:
        return await show_message(session, "signed_out", 401)
    return visitor, await texts_for(session, visitor)


async def attempt(session: AsyncSession, texts: Texts, act: Awaitable[object]) -> str:
    """Do an act wholly, or return why it was refused."""
    try:
        async with session.begin_nested():
            await act
    except DomainError as refusal:
        return explain(texts, refusal)
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

"""Telegram's question before a payment: may it go on? Ten seconds are all there is to answer."""

import asyncio

import structlog
from telegram import PreCheckoutQuery
from telegram.error import BadRequest, Forbidden, TelegramError

from bot import routes
from bot.clock import Clock
from bot.texts import Texts, locale_for
from core.accounts import service as accounts
from core.billing import invoices
from core.db import Database
from core.errors import DomainError

log = structlog.get_logger()

PAUSES = (0, 0.3, 0.7, 1, 2, 3)  # before each try; ten seconds are all there is


class Checkout:
    """Looks at the bill, the amount and the payer once more, and says yes or why not."""

    def __init__(self, database: Database, clock: Clock, *, default_locale: str) -> None:
        self._database = database
        self._clock = clock
        self._default_locale = default_locale

    async def answer(self, query: PreCheckoutQuery) -> None:
        """Answer one question, again where it was not heard, until it is too late for an answer."""
        reason = await self._find_refusal(query)
        for pause in PAUSES:
            await asyncio.sleep(pause)
            try:
                await query.answer(ok=reason is None, error_message=reason)
            except (BadRequest, Forbidden) as error:
                log.warning("checkout.not_answered", reason=str(error))
                return
            except TelegramError as error:
                log.warning("checkout.not_heard", reason=str(error))
            else:
                return

    async def _find_refusal(self, query: PreCheckoutQuery) -> str | None:
        user = query.from_user
        async with self._database.transaction() as session:
            speaker = await accounts.meet(
                session,
                channel=accounts.TELEGRAM,
                address=str(user.id),
                name=user.full_name[:200],
                locale=locale_for(user.language_code, default=self._default_locale),
                language_code=user.language_code,
                now=self._clock.now(),
            )
            operator = await accounts.get_operator(session)
            try:
                await invoices.check_checkout(
                    session,
                    payload=query.invoice_payload,
                    amount_minor=query.total_amount,
                    currency=query.currency,
                    person_id=speaker.person_id,
                )
            except DomainError as refusal:
                texts = Texts(
                    speaker.locale, timezone=operator.timezone, currency=operator.currency
                )
                return routes.explain(texts, refusal)
        return None

"""Telegram's question before a payment: may it go on? Ten seconds are all there is to answer."""

import structlog
from telegram import PreCheckoutQuery
from telegram.error import TelegramError

from bot import routes
from bot.clock import Clock
from bot.texts import Texts, locale_for
from core.accounts import service as accounts
from core.billing import payments
from core.db import Database
from core.errors import DomainError

log = structlog.get_logger()


class Checkout:
    """Looks at the bill, the amount and the payer once more, and says yes or why not."""

    def __init__(self, database: Database, clock: Clock, *, default_locale: str) -> None:
        self._database = database
        self._clock = clock
        self._default_locale = default_locale

    async def answer(self, query: PreCheckoutQuery) -> None:
        """Answer one question; an answer that comes too late is Telegram's to refuse."""
        reason = await self._find_refusal(query)
        try:
            await query.answer(ok=reason is None, error_message=reason)
        except TelegramError as error:
            log.warning("checkout.not_answered", reason=str(error))

    async def _find_refusal(self, query: PreCheckoutQuery) -> str | None:
        user = query.from_user
        async with self._database.transaction() as session:
            speaker = await accounts.meet(
                session,
                channel=accounts.TELEGRAM,
                address=str(user.id),
                name=user.full_name[:200],
                locale=locale_for(user.language_code, default=self._default_locale),
                now=self._clock.now(),
            )
            operator = await accounts.get_operator(session)
            try:
                await payments.check_checkout(
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

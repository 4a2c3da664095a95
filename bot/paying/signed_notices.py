"""A provider that speaks our own protocol (docs/payments.md): a page to pay on, signed notices."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final
from urllib.parse import urlencode

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from bot.paying.provider import Answer, NotSigned, NotUnderstood, Order, require_recent
from core.billing.models import EventKind
from core.billing.provider_events import NewEvent
from core.money import Money

SIGNATURE: Final = "shuidian-signature"
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x20-\x7e]+$")]


class Notice(BaseModel):
    """What the provider says of a payment; one that it says again has the same `id`."""

    id: Text
    kind: EventKind
    payment: Text
    order: Text
    item: Annotated[str, Field(max_length=200)] = ""
    amount: Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,4})?$")]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    at: AwareDatetime


def sign(secret: str, signed: bytes, *, at: datetime) -> str:
    """Return the signature of a message of a moment, as its header has it."""
    stamp = int(at.timestamp())
    mark = hmac.new(secret.encode(), f"{stamp}.".encode() + signed, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={mark}"


def require_signed(secret: str, header: str, signed: bytes, *, now: datetime) -> None:
    """
    Go on only with a message that was signed with the secret, and lately.

    Raises:
        NotSigned: it was not.
    """
    parts = [part.partition("=") for part in header.split(",")]
    stamp = next((value for name, _, value in parts if name == "t"), "")
    marks = [value.encode() for name, _, value in parts if name == "v1"]
    require_recent(stamp, now=now)
    right = hmac.new(secret.encode(), f"{stamp}.".encode() + signed, hashlib.sha256)
    if not any(hmac.compare_digest(right.hexdigest().encode(), mark) for mark in marks):
        raise NotSigned("signature")


class SignedNotices:
    """The provider at an address, with the secret that we share."""

    name = "link"
    kept = Answer(body='{"status": "kept"}')

    def __init__(self, *, address: str, secret: str) -> None:
        self._address = address
        self._secret = secret

    def read(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Sequence[NewEvent]:
        """Return the one event of a notice."""
        require_signed(self._secret, headers.get(SIGNATURE, ""), body, now=now)
        try:
            notice = Notice.model_validate_json(body)
        except ValidationError as error:
            raise NotUnderstood(f"{error.error_count()} fields") from error
        money = Money.exactly(Decimal(notice.amount), notice.currency)
        return [
            NewEvent(
                provider=self.name,
                event_id=notice.id,
                kind=notice.kind,
                reference=notice.payment,
                order=notice.order,
                item=notice.item,
                amount_minor=money.minor,
                currency=money.currency,
                at=notice.at,
                body=body.decode(),
            )
        ]

    async def open(self, order: Order, *, now: datetime) -> str:
        """Return the provider's page for an order, signed so that nobody changes the amount."""
        asked = urlencode(
            {
                "order": order.reference,
                "title": order.title,
                "amount": str(Money(order.amount_minor, order.currency).amount),
                "currency": order.currency,
                "back": order.back,
                "notify": order.notify,
            }
        )
        signature = urlencode({"signature": sign(self._secret, asked.encode(), at=now)})
        return f"{self._address}?{asked}&{signature}"

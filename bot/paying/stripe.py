"""Stripe: Checkout Sessions to pay on, and its signed events."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from fastapi.concurrency import run_in_threadpool

from bot.paying.provider import (
    Answer,
    NotSigned,
    NotUnderstood,
    Order,
    ProviderUnreachable,
    require_recent,
)
from core.billing.models import EventKind
from core.billing.provider_events import NewEvent
from core.money import Money

# Imports of the library stand inside: it takes half a second, and most operators do without it.
# ruff: noqa: PLC0415

# Source: docs.stripe.com/currencies. TWD has two digits there and none on our bills.
_NO_DIGITS: Final = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "UGX", "VND", "VUV"}
    | {"XAF", "XOF", "XPF"}
)
_THREE_DIGITS: Final = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
# What an event is about, and where it says how much.
_SESSION, _CHARGE, _DISPUTE = "amount_total", "amount_refunded", "amount"
_KINDS: Final = {
    "checkout.session.completed:paid": (EventKind.SUCCEEDED, _SESSION),
    "checkout.session.completed:unpaid": (EventKind.PENDING, _SESSION),
    "checkout.session.async_payment_succeeded": (EventKind.SUCCEEDED, _SESSION),
    "checkout.session.async_payment_failed": (EventKind.FAILED, _SESSION),
    "charge.refunded": (EventKind.REFUNDED, _CHARGE),  # the sum of all so far
    "charge.dispute.created:needs_response": (EventKind.CHARGED_BACK, _DISPUTE),
    "charge.dispute.created:under_review": (EventKind.CHARGED_BACK, _DISPUTE),
    "charge.dispute.funds_withdrawn": (EventKind.CHARGED_BACK, _DISPUTE),
    "charge.dispute.funds_reinstated": (EventKind.REINSTATED, _DISPUTE),
    "charge.dispute.closed:won": (EventKind.REINSTATED, _DISPUTE),
    "charge.dispute.closed:lost": (EventKind.CHARGED_BACK, _DISPUTE),
}


class Stripe:
    """One Stripe account; with a key it also opens pages to pay on."""

    name = "stripe"
    kept = Answer(body='{"status": "kept"}')

    def __init__(self, *, webhook_secret: str, api_key: str, api_base: str) -> None:
        self._webhook_secret = webhook_secret
        self._api_key = api_key
        self._api_base = api_base

    def read(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Sequence[NewEvent]:
        """Return what an event says of a payment; kinds that we do not need say nothing."""
        from stripe import SignatureVerificationError, WebhookSignature

        header = headers.get("stripe-signature", "")
        try:
            WebhookSignature.verify_header(body, header, self._webhook_secret)
        except (SignatureVerificationError, UnicodeDecodeError) as error:
            raise NotSigned("signature") from error
        require_recent(dict(part.split("=", 1) for part in header.split(","))["t"], now=now)
        try:
            return list(self._events(json.loads(body), body.decode()))
        except (KeyError, TypeError, ValueError) as error:
            raise NotUnderstood(repr(error)) from error

    def _events(self, said: dict[str, Any], body: str) -> Iterator[NewEvent]:
        thing = said["data"]["object"]
        status = thing.get("payment_status") or thing.get("status")
        found = _KINDS.get(said["type"]) or _KINDS.get(f"{said['type']}:{status}")
        if found is None or not thing.get("payment_intent"):
            return
        kind, field = found
        currency = thing["currency"].upper()
        amount = Decimal(thing[field]).scaleb(-_digits(currency))
        yield NewEvent(
            provider=self.name,
            event_id=said["id"],
            kind=kind,
            reference=thing["payment_intent"],
            order=thing.get("client_reference_id") or "",
            item=thing["id"] if field == _DISPUTE else "",
            amount_minor=Money.exactly(amount, currency).minor,
            currency=currency,
            at=datetime.fromtimestamp(said["created"], UTC),
            body=body,
        )

    async def open(self, order: Order, *, now: datetime) -> str:
        """Return the page of a new Checkout Session."""
        from stripe import StripeClient, StripeError

        assert now  # noqa: S101 (Stripe has a clock of its own)
        client = StripeClient(self._api_key, base_addresses={"api": self._api_base})
        amount = Money(order.amount_minor, order.currency).amount
        price = {
            "currency": order.currency.lower(),
            "unit_amount": int(amount.scaleb(_digits(order.currency))),
            "product_data": {"name": order.title},
        }
        asked = {
            "mode": "payment",
            "client_reference_id": order.reference,
            "line_items": [{"quantity": 1, "price_data": price}],
            "success_url": order.back,
            "cancel_url": order.back,
        }
        try:
            session = await run_in_threadpool(
                client.v1.checkout.sessions.create,
                asked,  # type: ignore[arg-type]  # the library wants its own dictionaries
                {"idempotency_key": order.reference},
            )
        except StripeError as error:
            raise ProviderUnreachable(str(error)) from error
        return str(session.url)


def _digits(currency: str) -> int:
    if currency in _NO_DIGITS:
        return 0
    return 3 if currency in _THREE_DIGITS else 2

"""Alipay's asynchronous notifications: a form, signed RSA2 by Alipay's key."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Final
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from bot.paying.provider import (
    Answer,
    NotSigned,
    NotUnderstood,
    read_key,
    require_signature,
)
from core.billing.models import EventKind
from core.billing.provider_events import NewEvent
from core.money import Money

ZONE: Final = ZoneInfo("Asia/Shanghai")
CURRENCY: Final = "CNY"
FIELDS_MAX: Final = 100


class Alipay:
    """
    One Alipay application.

    Source: opendocs.alipay.com/open/270/105902 (asynchronous notifications of a trade).
    """

    name = "alipay"
    kept = Answer(body="success", media_type="text/plain")

    def __init__(self, *, app_id: str, public_key: str) -> None:
        self._app_id = app_id
        self._key = read_key(public_key)

    def read(self, _: Mapping[str, str], body: bytes, *, now: datetime) -> Sequence[NewEvent]:
        """Return what a notification says; Alipay repeats it for a day, so its time says little."""
        assert now  # noqa: S101 (what comes again has the same `notify_id`, and that is kept once)
        told = _read_form(body)
        signed = "&".join(
            f"{name}={told[name]}" for name in sorted(told) if name not in {"sign", "sign_type"}
        )
        charset = told.get("charset", "utf-8")
        require_signature(self._key, told.get("sign", ""), signed.encode(charset))
        if told.get("sign_type") != "RSA2" or told.get("app_id") != self._app_id:
            raise NotSigned("not for us")
        try:
            return list(self._events(told, body.decode("ascii")))
        except (KeyError, ValueError, InvalidOperation) as error:
            raise NotUnderstood(repr(error)) from error

    def _events(self, told: Mapping[str, str], body: str) -> Iterator[NewEvent]:
        def event(kind: EventKind, name: str, amount: str, at: str) -> NewEvent:
            return NewEvent(
                provider=self.name,
                event_id=f"{told['notify_id']}{name}",
                kind=kind,
                reference=told["trade_no"],
                order=told["out_trade_no"],
                item="",
                amount_minor=Money.exactly(Decimal(amount), CURRENCY).minor,
                currency=CURRENCY,
                at=datetime.strptime(at, "%Y-%m-%d %H:%M:%S").replace(tzinfo=ZONE),
                body=body,
            )

        fate, notified = told["trade_status"], told["notify_time"]
        paid_at, refunded = told.get("gmt_payment", ""), told.get("refund_fee", "")
        if fate in {"TRADE_SUCCESS", "TRADE_FINISHED"} or (fate == "TRADE_CLOSED" and refunded):
            yield event(EventKind.SUCCEEDED, "", told["total_amount"], paid_at or notified)
        elif fate == "TRADE_CLOSED":
            yield event(EventKind.FAILED, "", told["total_amount"], notified)
        elif fate == "WAIT_BUYER_PAY":
            yield event(EventKind.PENDING, "", told["total_amount"], notified)
        if refunded and Decimal(refunded):  # the sum of all refunds so far
            yield event(EventKind.REFUNDED, ":refund", refunded, notified)


def _read_form(body: bytes) -> dict[str, str]:
    try:
        read = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
        charset = dict(read).get("charset", "utf-8")
        if charset.lower() not in {"utf-8", "utf8", "gbk", "gb2312", "gb18030"}:
            raise NotSigned("charset")
        return dict(
            parse_qsl(
                body.decode("ascii"),
                keep_blank_values=True,
                encoding=charset,
                errors="strict",
                max_num_fields=FIELDS_MAX,
            )
        )
    except ValueError as error:
        raise NotSigned("no form") from error

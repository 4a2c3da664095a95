"""WeChat Pay's notifications (API v3): signed by its key, what matters is encrypted with ours."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bot.paying.provider import (
    Answer,
    NotSigned,
    NotUnderstood,
    read_key,
    require_recent,
    require_signature,
)
from core.billing.models import EventKind
from core.billing.provider_events import NewEvent

CURRENCY: Final = "CNY"
_FATES: Final = {
    "SUCCESS": EventKind.SUCCEEDED,
    "USERPAYING": EventKind.PENDING,
    "PAYERROR": EventKind.FAILED,
    "CLOSED": EventKind.FAILED,
    "REVOKED": EventKind.FAILED,
}


class WeChatPay:
    """
    One WeChat Pay merchant.

    Source: pay.weixin.qq.com/doc/v3/merchant (verifying signatures, decrypting notifications).
    """

    name = "wechat"
    kept = Answer(body='{"code": "SUCCESS", "message": ""}')

    def __init__(self, *, merchant_id: str, public_key: str, key_id: str, api_key: str) -> None:
        self._merchant_id = merchant_id
        self._key = read_key(public_key)
        self._key_id = key_id
        self._cipher = AESGCM(api_key.encode())

    def read(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Sequence[NewEvent]:
        """Return what a notification says of a payment or a refund."""
        stamp, nonce = headers.get("wechatpay-timestamp", ""), headers.get("wechatpay-nonce", "")
        require_recent(stamp, now=now)
        if headers.get("wechatpay-serial") != self._key_id:
            raise NotSigned("another key")
        signed = f"{stamp}\n{nonce}\n".encode() + body + b"\n"
        require_signature(self._key, headers.get("wechatpay-signature", ""), signed)
        try:
            said = json.loads(body)
            told = json.loads(self._decrypt(said["resource"]))
            if told.get("mchid", self._merchant_id) != self._merchant_id:
                raise NotSigned("not for us")
            return list(self._events(said, told))
        except (KeyError, TypeError, ValueError, InvalidTag) as error:
            raise NotUnderstood(repr(error)) from error

    def _decrypt(self, sealed: Mapping[str, str]) -> bytes:
        if sealed["algorithm"] != "AEAD_AES_256_GCM":
            raise ValueError(sealed["algorithm"])
        return self._cipher.decrypt(
            sealed["nonce"].encode(),
            base64.b64decode(sealed["ciphertext"]),
            sealed.get("associated_data", "").encode(),
        )

    def _events(self, said: dict[str, Any], told: dict[str, Any]) -> Iterator[NewEvent]:
        amount, item, kind = told["amount"], "", _FATES.get(told.get("trade_state", ""))
        minor = amount["total"]
        if said["event_type"] == "REFUND.SUCCESS":
            kind, item, minor = EventKind.REFUNDED, told["refund_id"], amount["refund"]
        elif not said["event_type"].startswith("TRANSACTION."):
            return  # a refund that was not made moved nothing
        if kind is None:
            return
        yield NewEvent(
            provider=self.name,
            event_id=said["id"],
            kind=kind,
            reference=told["transaction_id"],
            order=told["out_trade_no"],
            item=item,
            amount_minor=int(minor),  # fen, always
            currency=amount.get("currency", CURRENCY),
            at=datetime.fromisoformat(told.get("success_time") or said["create_time"]),
            body=json.dumps(told, ensure_ascii=False),
        )

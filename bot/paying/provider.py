"""What every payment provider is to the service: signed words in, and perhaps a page to pay on."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from core.billing.provider_events import NewEvent

WINDOW: Final = timedelta(minutes=5)  # what is older may be a recording, said again
TOKEN_LENGTH: Final = 24


class NotSigned(Exception):
    """A message without the provider's signature, or too old, or not for us; nothing is kept."""


class NotUnderstood(Exception):
    """A signed message that is not as the provider's documents say; it is refused, to be resent."""


class ProviderUnreachable(Exception):
    """A provider did not open a page to pay on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a payer is about to pay; `reference` names the bill and is used once."""

    reference: str
    title: str
    amount_minor: int
    currency: str
    back: str
    notify: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider wants to hear once its message is kept."""

    body: str
    media_type: str = "application/json"


class Provider(Protocol):
    """
    A provider as we know it: what it says, and what it wants to hear.

    `read` returns the events of a message whose signature is good; it raises NotSigned or
    NotUnderstood. An event without meaning for us gives none.
    """

    name: str
    kept: Answer

    def read(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Sequence[NewEvent]:
        """Return what a message says."""


class Opening(Protocol):
    """A provider that has a page to pay on."""

    name: str

    async def open(self, order: Order, *, now: datetime) -> str:
        """Return the address to which the payer goes, or raise ProviderUnreachable."""


class Links:
    """The links to our payment page; whoever has one may pay that bill and see what is open."""

    def __init__(self, base_url: Callable[[], str], secret: str) -> None:
        self._base_url = base_url
        self._secret = secret.encode()

    def for_bill(self, number: str) -> str:
        """Return the link of a bill, empty when there is no payment page."""
        if not self._secret:
            return ""
        return f"{self._base_url().rstrip('/')}/pay/{number}/{self._token(number)}"

    def is_ours(self, number: str, token: str) -> bool:
        """Tell whether a link was made by us."""
        return bool(self._secret) and hmac.compare_digest(self._token(number), token)

    def notify(self, name: str) -> str:
        """Return where a provider reports payments."""
        return f"{self._base_url().rstrip('/')}/pay/notify/{name}"

    def _token(self, number: str) -> str:
        return hmac.new(self._secret, f"bill:{number}".encode(), hashlib.sha256).hexdigest()[
            :TOKEN_LENGTH
        ]


def origin_of(address: str) -> str:
    """Return scheme and host of an address, empty for none."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def new_order(number: str) -> str:
    """Return a new reference for paying a bill: its number, and a mark that makes it unique."""
    return f"{number}-{secrets.token_hex(4)}"


def require_recent(stamp: str, *, now: datetime) -> None:
    """
    Go on only with a message of the last minutes.

    Units: `stamp` seconds since 1970.

    Raises:
        NotSigned: it is of another time.
    """
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) < 12):  # noqa: PLR2004 (till 5138)
        raise NotSigned("no time")
    if abs(now - datetime.fromtimestamp(int(stamp), UTC)) > WINDOW:
        raise NotSigned("too old")


def read_key(written: str) -> RSAPublicKey:
    """
    Return a provider's public key, PEM or only its base64.

    Raises:
        ValueError: it is none.
    """
    lines = [line for line in written.replace("\\n", "\n").split() if "-" not in line]
    lines = [line for line in lines if line not in {"BEGIN", "END", "PUBLIC", "KEY"}]
    key = load_der_public_key(base64.b64decode("".join(lines)))
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not an RSA key")  # noqa: TRY004 (a setting's value is wrong)
    return key


def require_signature(key: RSAPublicKey, signature: str, signed: bytes) -> None:
    """
    Go on only with what the holder of a key signed (RSA-SHA256, PKCS #1 v1.5).

    Raises:
        NotSigned: somebody else did, or nobody.
    """
    try:
        key.verify(base64.b64decode(signature, validate=True), signed, PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise NotSigned("signature") from error

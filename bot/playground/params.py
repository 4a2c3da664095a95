"""What a caller of the Bot API sent: text, numbers, JSON and files, however they came."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.playground.refusals import Refusal

Json = dict[str, Any]
TRUE = {"true", "yes", "1"}


@dataclass(frozen=True)
class Upload:
    """A file that came with a request."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True)
class Params:
    """The parameters of one call, read the way Telegram reads them."""

    values: Mapping[str, object] = field(default_factory=dict)
    uploads: Mapping[str, Upload] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Tell whether the parameter was sent at all."""
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        """Read a parameter as text; what was not sent is empty."""
        value = self.values.get(name)
        if value is None:
            return ""
        if isinstance(value, bool | dict | list):
            value = json.dumps(value, ensure_ascii=False)
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise Refusal("strings must be encoded in UTF-8") from None
        return str(value)

    def required(self, name: str) -> str:
        """Read a text that must not be empty."""
        if text := self.text(name):
            return text
        raise Refusal(f'parameter "{name}" is required')

    def number(self, name: str, default: int = 0) -> int:
        """Read a whole number; what is none is the default."""
        try:
            return int(self.text(name))
        except ValueError:
            return default

    def real(self, name: str) -> float:
        """Read a number with a fraction; what is none is 0."""
        try:
            return float(self.text(name))
        except ValueError:
            return 0.0

    def flag(self, name: str) -> bool:
        """Read a yes or no; what was not sent is no."""
        return self.text(name).lower() in TRUE

    def document(self, name: str, *, kind: str = "") -> Any:  # noqa: ANN401 - JSON is anything
        """Read a nested object or list, sent as JSON or as its text."""
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        if not value.strip():
            return None
        try:
            return json.loads(value)
        except ValueError:
            raise Refusal(f"can't parse {kind or name} JSON object") from None

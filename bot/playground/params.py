"""What a caller of the Bot API sent: text, numbers, JSON and files, however they came."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from bot.playground.refusals import Refusal, require

Json = dict[str, Any]


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

    def text(self, name: str) -> str:
        """Read a parameter as text; what was not sent is empty."""
        value = self.values.get(name)
        if value is None:
            return ""
        text = value if isinstance(value, str) else json.dumps(value)
        text.encode()  # half a surrogate pair fails here, before it is kept or shown
        return text

    def required(self, name: str) -> str:
        """Read a text that must not be empty."""
        text = self.text(name)
        require(text, f'parameter "{name}" is required')
        return text

    def number(self, name: str, default: int = 0) -> int:
        """Read a whole number; what is none is the default."""
        try:
            return int(self.text(name))
        except ValueError:
            return default

    def flag(self, name: str) -> bool:
        """Read a yes or no; what was not sent is no."""
        return self.text(name).lower() in {"true", "yes", "1"}

    def document(self, name: str, *, kind: str = "") -> Any:  # noqa: ANN401 - JSON is anything
        """Read a nested object or list, sent as JSON or as its text."""
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value.strip() else None
        except ValueError:
            raise Refusal(f"can't parse {kind or name} JSON object") from None


async def read_params(request: Request) -> Params:
    """Read the parameters of a request from its query and its body."""
    values: Json = dict(request.query_params)
    uploads: dict[str, Upload] = {}
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            values |= json.loads(await request.body() or b"{}")
        except (TypeError, ValueError):
            raise Refusal("can't parse JSON object") from None
    else:
        async with request.form(max_part_size=1024 * 1024) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    content = await value.read()
                    uploads[name] = Upload(value.filename or "", value.content_type or "", content)
                else:
                    values[name] = value
    return Params(values, uploads)

"""The recorded and composed messages of `tests/data`, and the shipped profiles that read them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from bot.gateway.profile import Profile, load_profiles

DATA = Path(__file__).parents[1] / "data"
PROFILES: Mapping[str, Profile] = load_profiles(timezone="Asia/Shanghai")
RECEIVED_AT = datetime(2026, 10, 5, 8, tzinfo=UTC)


def lines(name: str) -> list[dict[str, Any]]:
    text = (DATA / name).read_text(encoding="utf-8")
    return [json.loads(line, parse_float=Decimal) for line in text.splitlines()]


def as_bytes(payload: object) -> bytes:
    if isinstance(payload, str):
        return payload.encode()
    # Only the test writes numbers as their own text: a float would change them.
    return _written(payload).encode()


def _written(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{_written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return str(value) if isinstance(value, Decimal) else json.dumps(value)

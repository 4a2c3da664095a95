"""HTTP from the demo to its own two servers."""

from typing import Any

import aiohttp


async def call(http: aiohttp.ClientSession, verb: str, path: str, *, body: object = None) -> Any:  # noqa: ANN401 (JSON is anything)
    """Make a request and return what was answered; a refusal is an error."""
    async with http.request(verb, path, json=body, raise_for_status=True) as answer:
        return await answer.json()

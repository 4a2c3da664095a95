"""The sender of updates to a webhook: lanes in parallel, order within a lane, patient retries."""

import asyncio
import ipaddress
import json
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from bot.playground.faults import Faults
from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal

PORTS: Final = {80, 88, 443, 8443}
LONGEST_WAIT: Final = 3600
GONE_FOR: Final = 23 * 3600
ANSWER_SECONDS: Final = 60
CONFIRMED: Final = -1.0


def check_address(url: str) -> None:
    """Let https through on Telegram's ports, and anything on this machine."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise Refusal("invalid webhook URL specified") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Refusal("invalid webhook URL specified")
    if is_loopback(parts.hostname):
        return
    if parts.scheme != "https":
        raise Refusal("bad webhook: An HTTPS URL must be provided for webhook")
    if port not in PORTS:
        raise Refusal("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")
    raise Refusal("bad webhook: the playground sends to this machine only")


def is_loopback(host: str) -> bool:
    """Tell whether a host name can only mean this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Webhook:
    """The lanes to one address; a failing update holds up its own lane only."""

    def __init__(
        self,
        *,
        faults: Faults,
        retry_seconds: float,
        confirm: Callable[[int], None],
        note_error: Callable[[str], None],
        give_up: Callable[[], None],
    ) -> None:
        self.carry_out: Callable[[str, Params], Awaitable[object]] | None = None
        self._faults = faults
        self._retry_seconds = retry_seconds
        self._confirm = confirm
        self._note_error = note_error
        self._give_up = give_up
        self._hook: Json = {}
        self._places = asyncio.Semaphore(1)
        self._lanes: dict[str, deque[Json]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._gone_since: float | None = None

    def aim(self, hook: Json) -> None:
        """Choose where updates go."""
        self._hook = hook
        self._places = asyncio.Semaphore(hook["max_connections"])
        self._gone_since = None

    def push(self, item: Json) -> None:
        """Put an update at the end of its lane."""
        if (lane := self._lanes.get(item["lane"])) is not None:
            lane.append(item)
            return
        self._lanes[item["lane"]] = deque([item])
        task = asyncio.get_running_loop().create_task(self._run(item["lane"]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Stop all lanes where they are."""
        for task in self._tasks:
            task.cancel()
        self._lanes = {}

    async def stop(self) -> None:
        """Stop all lanes and close the connections."""
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _run(self, name: str) -> None:
        lane = self._lanes[name]
        failures = 0
        while lane:
            item = lane[0]
            wait = CONFIRMED if item["until"] < time.time() else await self._post(item["update"])
            if wait == CONFIRMED:
                lane.popleft()
                self._confirm(item["update"]["update_id"])
                failures = 0
            else:
                await asyncio.sleep(max(wait, self._pause(failures)))
                failures += 1
        if self._lanes.get(name) is lane:
            del self._lanes[name]

    def _pause(self, failures: int) -> float:
        """Answer with the pause before the next try: none, then 2, 4, 8 ... seconds."""
        longest = 60 + secrets.randbelow(61)
        return min(self._retry_seconds * 2 ** (failures - 1), longest) if failures else 0.0

    async def _post(self, update: Json) -> float:
        """Send one update; answer with CONFIRMED or with the pause the receiver asks for."""
        if self._faults.take("webhook_down"):
            self._note_error("Connection refused")
            return 0.0
        self._session = self._session or aiohttp.ClientSession()
        secret = self._hook["secret"]
        headers = {"X-Telegram-Bot-Api-Secret-Token": secret} if secret else {}
        try:
            async with self._places:
                response = await self._session.post(
                    self._hook["url"],
                    data=json.dumps(update, ensure_ascii=False).encode(),
                    headers=headers | {"Content-Type": "application/json"},
                    allow_redirects=False,
                    ssl=False,  # a certificate for this machine is always a home-made one
                    timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                )
                body = await response.read()
        except aiohttp.ClientConnectorError:
            self._note_error("Connection refused")
            return 0.0
        except (aiohttp.ClientError, TimeoutError):
            self._note_error("Connection reset by peer")
            return 0.0
        if response.ok and response.status < 300:  # noqa: PLR2004 - HTTP's own bound
            self._gone_since = None
            await self._obey(body)
            return CONFIRMED
        return self._complain(response)

    def _complain(self, response: aiohttp.ClientResponse) -> float:
        if response.status != 410:  # noqa: PLR2004 - HTTP's own number for "gone"
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = time.monotonic()
        elif time.monotonic() - self._gone_since > GONE_FOR:
            self._give_up()
            return 0.0
        words = f"{response.status} {response.reason or ''}".strip()
        self._note_error(f"Wrong response from the webhook: {words}")
        asked = response.headers.get("Retry-After", "0")
        return float(min(int(asked), LONGEST_WAIT)) if asked.isdecimal() else 0.0

    async def _obey(self, body: bytes) -> None:
        """Carry out the call that a webhook may give as its answer; its result is unseen."""
        try:
            values = json.loads(body)
        except ValueError:
            return
        if isinstance(values, dict) and self.carry_out and isinstance(values.get("method"), str):
            await self.carry_out(values.pop("method"), Params(values))

"""The sender of updates to a webhook: lanes in parallel, order within a lane, patient retries."""

import asyncio
import ipaddress
import json
import re
import secrets
import time
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from bot.playground.faults import Faults
from bot.playground.options import Options
from bot.playground.params import Json, Params
from bot.playground.refusals import Refusal, require, too_many_requests
from bot.playground.store import Store
from bot.playground.updates import Updates

PORTS: Final = {80, 88, 443, 8443}
LONGEST_SECRET: Final = 256
LONGEST_WAIT: Final = 3600
GONE_FOR: Final = 23 * 3600
ANSWER_SECONDS: Final = 60
DOUBLINGS: Final = 8


def check_address(url: str) -> None:
    """Let https through on Telegram's ports, and anything on this machine."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise Refusal("invalid webhook URL specified") from None
    known = parts.scheme in {"http", "https"} and parts.hostname
    require(known, "invalid webhook URL specified")
    if is_loopback(parts.hostname or ""):
        return
    https = parts.scheme == "https"
    require(https, "bad webhook: An HTTPS URL must be provided for webhook")
    words = "bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"
    require(port in PORTS, words)
    raise Refusal("bad webhook: the playground sends to this machine only")


def is_loopback(host: str) -> bool:
    """Tell whether a host name can only mean this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Webhook:
    """The lanes to one address; a failing update holds up its own lane only."""

    def __init__(self, updates: Updates, *, store: Store, faults: Faults, options: Options) -> None:
        updates.push = self._push
        self._updates = updates
        self._store = store
        self._faults = faults
        self._options = options
        self._places = asyncio.Semaphore(1)
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._set_at = float("-inf")
        self._gone_since: float | None = None

    def set(self, params: Params) -> str:
        """Answer setWebhook: send the updates to an address from now on; an empty one ends that."""
        url, secret = params.text("url").strip(), params.text("secret_token")
        if not url:
            return self.delete(params)
        require(len(secret) <= LONGEST_SECRET, "secret token is too long")
        plain = re.fullmatch(r"[A-Za-z0-9_-]*", secret)
        require(plain, "secret token contains unallowed characters")
        check_address(url)
        if time.monotonic() - self._set_at < self._options.set_webhook_seconds:
            raise too_many_requests(1)
        self._set_at = time.monotonic()
        self._updates.remember_allowed(params)
        if params.flag("drop_pending_updates"):
            self._updates.forget_all()
        places = min(max(params.number("max_connections", 40), 1), 100)
        hook = {"url": url, "secret": secret, "max_connections": places}
        before: Json = self._store.get("webhook") or {}
        self._store.put("webhook", 0, hook)
        self._updates.end_poll("terminated by setWebhook request")
        self.restart()
        same = before | hook == before
        return f"Webhook {'is already' if same else 'was'} set"

    def delete(self, params: Params) -> str:
        """Answer deleteWebhook: go back to polling."""
        if params.flag("drop_pending_updates"):
            self._updates.forget_all()
        was = "was" if self._store.get("webhook") else "is already"
        self._store.drop("webhook")
        self.restart()
        return f"Webhook {was} deleted"

    def describe(self) -> Json:
        """Answer getWebhookInfo."""
        hook: Json = self._store.get("webhook") or {"url": ""}
        allowed = self._store.get("allowed_updates")
        return {
            **{name: value for name, value in hook.items() if name != "secret"},
            **({"allowed_updates": allowed} if allowed else {}),
            "has_custom_certificate": False,
            "pending_update_count": len(self._updates.pending),
        }

    def restart(self) -> None:
        """Stop all lanes where they are, and begin anew if there is an address."""
        for task in self._lanes.values():
            task.cancel()
        self._lanes = {}
        self._gone_since = None
        if hook := self._store.get("webhook"):
            self._places = asyncio.Semaphore(hook["max_connections"])
            for item in self._updates.pending.values():
                self._push(item)

    async def stop(self) -> None:
        """End all deliveries; what is unconfirmed comes again after the next start."""
        tasks = list(self._lanes.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _push(self, item: Json) -> None:
        lane = item["lane"]
        if lane not in self._lanes or self._lanes[lane].done():
            self._lanes[lane] = asyncio.get_running_loop().create_task(self._run(lane))

    async def _run(self, lane: str) -> None:
        failures = 0
        while item := self._first(lane):
            wait = await self._post(item["update"])
            if wait is None:
                self._updates.confirm(item["update"]["update_id"])
                failures = 0
            else:
                await asyncio.sleep(max(wait, self._pause(failures)))
                failures += 1

    def _first(self, lane: str) -> Json | None:
        self._updates.drop_expired()
        waiting = self._updates.pending.values()
        return next((item for item in waiting if item["lane"] == lane), None)

    def _pause(self, failures: int) -> float:
        """Answer with the pause before the next try: none, then 2, 4, 8 ... seconds."""
        doubled = self._options.retry_seconds * 2 ** min(failures - 1, DOUBLINGS)
        return min(doubled, 60 + secrets.randbelow(61)) if failures else 0.0

    async def _post(self, update: Json) -> float | None:
        """Send one update; answer with the pause the receiver asks for, None when it arrived."""
        if self._faults.take("webhook_down"):
            return self._fail("Connection refused")
        self._session = self._session or aiohttp.ClientSession()
        hook = self._store.get("webhook")
        headers = {"Content-Type": "application/json"}
        if hook["secret"]:
            headers["X-Telegram-Bot-Api-Secret-Token"] = hook["secret"]
        try:
            async with self._places:
                response = await self._session.post(
                    hook["url"],
                    data=json.dumps(update, ensure_ascii=False).encode(),
                    headers=headers,
                    allow_redirects=False,
                    ssl=False,  # a certificate for this machine is always a home-made one
                    timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
                )
                await response.read()
        except aiohttp.ClientConnectorError:
            return self._fail("Connection refused")
        except (aiohttp.ClientError, TimeoutError):
            return self._fail("Connection reset by peer")
        if 200 <= response.status < 300:  # noqa: PLR2004 - HTTP's own bounds
            self._gone_since = None
            return None
        return self._complain(response)

    def _complain(self, response: aiohttp.ClientResponse) -> float:
        if response.status != 410:  # noqa: PLR2004 - HTTP's own number for "gone"
            self._gone_since = None
        elif self._gone_since is None:
            self._gone_since = time.monotonic()
        elif time.monotonic() - self._gone_since > GONE_FOR:
            self.delete(Params())
            return 0.0
        asked = response.headers.get("Retry-After", "0")
        pause = float(min(int(asked), LONGEST_WAIT)) if asked.isdecimal() else 0.0
        reason = f"{response.status} {response.reason or ''}".strip()
        return self._fail(f"Wrong response from the webhook: {reason}", pause=pause)

    def _fail(self, words: str, *, pause: float = 0.0) -> float:
        error = {"last_error_date": int(time.time()), "last_error_message": words}
        self._store.put("webhook", 0, self._store.get("webhook") | error)
        return pause

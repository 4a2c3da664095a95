"""A gateway in a test: sends what the world's meters measure, over the real HTTP API."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from sqlalchemy import update

from bot.api.auth import issue_token
from core.accounts.models import ApiKey
from core.monitoring.models import Meter, Quantity
from tests.e2e.conftest import Stage

STEP = timedelta(minutes=10)


@dataclass
class Gateway:
    """All meters of the world behind one credential."""

    http: aiohttp.ClientSession
    base: str
    token: str
    serials: dict[int, str]

    async def post(self, path: str, body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.http.post(f"{self.base}{path}", json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.http.get(f"{self.base}{path}", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def read(self, meter: int, value: str, at: datetime) -> Any:
        reading = {"meter": self.serials[meter], "value": value, "taken_at": at.isoformat()}
        return await self.post("/api/v1/readings", {"readings": [reading]})

    async def sample(
        self, meter: int, quantity: Quantity, values: list[str], *, until: datetime
    ) -> Any:
        """Send values ten minutes apart, the last one at a moment."""
        first = until - STEP * (len(values) - 1)
        samples = [
            {
                "meter": self.serials[meter],
                "quantity": quantity.value,
                "value": value,
                "taken_at": (first + STEP * place).isoformat(),
            }
            for place, value in enumerate(values)
        ]
        return await self.post("/api/v1/readings", {"samples": samples})


async def open_gateway(stage: Stage) -> Gateway:
    async with stage.service.database.transaction() as session:
        token = await issue_token(session, name="cabinet", scope="gateway", now=stage.clock.now())
        key = (await session.scalars(ApiKey.__table__.select())).one()
        await session.execute(update(Meter).values(gateway_id=key))
        rows = await session.execute(Meter.__table__.select())
        serials = {row.id: row.serial for row in rows}
    return Gateway(stage.http, stage.web, token, serials)

"""What is normal when nobody has said anything yet."""

from decimal import Decimal

from core.monitoring.models import Limit, Quantity
from core.monitoring.ranges import ensure_default_limits, list_limits


async def limits(database) -> list[tuple[str, Decimal | None, Decimal | None]]:
    async with database.transaction() as session:
        return [(each.quantity, each.low, each.high) for each, _, _ in await list_limits(session)]


class TestEnsureDefaultLimits:
    async def test_says_what_is_usually_normal_once(self, database):
        for _ in range(2):
            async with database.transaction() as session:
                await ensure_default_limits(session)

        assert await limits(database) == [
            ("pressure", 140, 600),
            ("voltage", Decimal("198.0"), Decimal("235.4")),
        ]

    async def test_adds_nothing_to_what_somebody_said(self, database):
        async with database.transaction() as session:
            own = Limit(quantity=Quantity.VOLTAGE, low=Decimal(207), deadband=0, hold_seconds=0)
            session.add(own)
        async with database.transaction() as session:
            await ensure_default_limits(session)

        assert await limits(database) == [("voltage", 207, None)]

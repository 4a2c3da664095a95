"""The demo's clock: wound by one process, followed by others, still when nobody winds it."""

from datetime import UTC, datetime, timedelta

from bot.clock import SystemClock
from bot.demo.clock import UNWOUND_AFTER, FollowedClock, WoundClock
from core.db import Database

SHOWN = datetime(2027, 1, 1, tzinfo=UTC)
MOMENT = timedelta(seconds=2)


class TestClock:
    async def test_shows_the_same_to_its_followers(self, database: Database) -> None:
        owner, follower = WoundClock.at_start(), FollowedClock.at_start()
        await owner.turn(database, shown_at=SHOWN, rate=0)
        await follower.read(database)

        assert owner.now() == follower.now() == SHOWN

    def test_stands_still_when_nobody_winds_it(self) -> None:
        long_ago = SystemClock().now() - timedelta(days=3)
        clock = FollowedClock(set_at=long_ago, shown_at=SHOWN, rate=3600)

        assert clock.now() == SHOWN + UNWOUND_AFTER * 3600

    async def test_goes_on_at_the_usual_speed_and_never_back(self, database: Database) -> None:
        owner = WoundClock.at_start()
        await owner.turn(database, shown_at=SHOWN, rate=3600)
        before = owner.now()
        again = WoundClock.at_start()
        await again.resume(database)

        assert again.rate == 1
        assert before <= again.now() <= before + MOMENT * 3600

    async def test_keeps_its_moment_when_only_the_speed_changes(self, database: Database) -> None:
        owner = WoundClock.at_start()
        await owner.turn(database, shown_at=SHOWN, rate=1)
        await owner.turn(database, rate=60)

        assert owner.rate == 60
        assert SHOWN <= owner.now() <= SHOWN + MOMENT * 60

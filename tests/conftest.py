"""A real PostgreSQL for every test: one server and one database a run, set back each time."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from core.db import Database
from tests.databases import Reusable
from tests.world import World

# A busy machine is no failure. `make fuzz` tries many more examples than every run can.
settings.register_profile("brief", deadline=None, max_examples=20)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "brief"))


def pytest_xdist_auto_num_workers() -> int:
    """Tests wait for sockets and timers more than they work; one server serves all of them."""
    return min(2 * (os.cpu_count() or 1) + 1, 6)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    given = os.environ.get("SHUIDIAN_TEST_DATABASE_URL")
    if given:
        yield given
        return
    from bot.postgres import embedded  # noqa: PLC0415 (only when no server was given)

    state = Path(__file__).parent.parent / ".state" / "tests"
    with embedded(state, fsync=False, max_connections=300) as server:
        yield server.url


@pytest.fixture(scope="session")
def reusable(server_url: str) -> Iterator[Reusable]:
    made = Reusable(server_url)
    yield made
    made.drop()


@pytest.fixture
def database_url(request: pytest.FixtureRequest, reusable: Reusable) -> str:
    """A database as new; with the world in it, if the test asks for the world too."""
    reusable.set_back("peopled" if "world" in request.fixturenames else "bare")
    return reusable.url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
def world(reusable: Reusable, database_url: str) -> World:
    """A street with two homes, both services, a neighbour, a technician and two managers."""
    assert database_url
    return reusable.world

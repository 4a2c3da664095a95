"""Debts of both services, each on a fresh database."""

import pytest

from core.accounts.models import Service
from core.db import Database
from tests.supply.debt import Debt, begin_debt
from tests.world import World


@pytest.fixture(params=list(Service))
async def debt(request: pytest.FixtureRequest, database: Database, world: World) -> Debt:
    """A home that does not pay, once for each service."""
    return await begin_debt(database, world, request.param)


@pytest.fixture
async def power(database: Database, world: World) -> Debt:
    """A home that does not pay for electricity."""
    return await begin_debt(database, world, Service.ELECTRICITY)

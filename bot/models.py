"""Every table of the service in one metadata; importing this module registers them all."""

import core.accounts.models
import core.audit
import core.billing.budgets
import core.billing.correction_models
import core.billing.models
import core.billing.plan_models
import core.billing.prepaid
import core.billing.run_models
import core.monitoring.gateway_models
import core.monitoring.models
import core.notices.models
import core.numbers
import core.outages.models
import core.repairs.models
import core.supply.models  # noqa: F401 (imported for their tables, like those below)
from bot import dialogues, inbox, timetable  # noqa: F401
from bot.api import idempotency  # noqa: F401
from bot.backoffice import sessions  # noqa: F401
from bot.demo import clock, models  # noqa: F401
from bot.gateway import taken  # noqa: F401
from core.db import Base

METADATA = Base.metadata

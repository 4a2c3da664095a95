"""Supply: loading any part of it has it told of debts, so that no cut outlives its ground."""

from core.billing.settlement import tell_of_debts
from core.supply.restoring import restore_relieved

tell_of_debts(restore_relieved)

"""The table of all background work and timed jobs: names on the left, the core on the right."""

from collections.abc import Mapping
from datetime import time

from bot import inbox
from bot.billing_runs import AUDIT_BOOKS, ISSUE_CHUNK, PROPOSE_RUN, start_audit, start_due
from bot.early_warnings import WARN_EARLY, start_warnings
from bot.tasks import Work
from bot.timetable import Job
from core.billing.chunks import issue_chunk
from core.billing.dispute_promises import tell_late
from core.billing.dunning import run_dunning
from core.billing.early_warnings import warn_early
from core.billing.plan_watch import look_after_plans
from core.billing.prepaid import look_at_balances
from core.billing.proposals import propose_run, report_reach
from core.billing.reading_window import remind_to_read
from core.billing.recomputing import audit_books
from core.billing.suspense import remind_of_suspense
from core.monitoring.gateways import forget_refused
from core.monitoring.held import remind_of_held
from core.monitoring.leaks import look_for_leaks
from core.monitoring.losses import watch_losses
from core.monitoring.silence import look_for_silence
from core.monitoring.standstills import note_standstills
from core.monitoring.vacations import watch_vacations
from core.notices import schedules
from core.outages.service import take_up_overruns
from core.repairs.deadlines import close_silent, doubt_words, escalate_late
from core.repairs.intake import take_up_alarms
from core.repairs.urgency import weigh_repairs
from core.supply.commands import give_up
from core.supply.credit_cuts import take_up_used_up
from core.supply.protecting import take_up_dangers
from core.supply.reports import watch_cuts
from core.supply.restoring import take_up_settled
from core.supply.service import take_up_arrears

TAKE_UP_ALARMS = "take-up-alarms"

WORKS: Mapping[str, Work] = {
    TAKE_UP_ALARMS: take_up_alarms,
    PROPOSE_RUN: propose_run,
    ISSUE_CHUNK: issue_chunk,
    WARN_EARLY: warn_early,
    AUDIT_BOOKS: audit_books,
}

# Sweeps run at every ring and catch what a lost job would have done; the others run once a day.
JOBS: Mapping[str, Job] = {
    job.name: job
    for job in (
        Job(name=TAKE_UP_ALARMS, run=take_up_alarms),
        Job(name="leaks", run=look_for_leaks),
        Job(name="silence", run=look_for_silence),
        Job(name="vacations", run=watch_vacations),
        Job(name="held-readings", run=remind_of_held, at=time(8, 30), tells_how_things_stand=True),
        Job(name="doubt-words", run=doubt_words),
        Job(name="weigh-repairs", run=weigh_repairs),
        Job(name="escalate-repairs", run=escalate_late),
        Job(name="close-repairs", run=close_silent),
        Job(name="outage-overruns", run=take_up_overruns),
        Job(name="push-schedules", run=schedules.take_up_due),
        Job(name="dunning", run=run_dunning),
        Job(name="plans", run=look_after_plans),
        Job(name="late-disputes", run=tell_late, at=time(9, 30)),
        Job(name="give-up-commands", run=give_up),
        Job(name="watch-cuts", run=watch_cuts),
        Job(name="restore-settled", run=take_up_settled, at=time(7)),
        Job(name="protect-homes", run=take_up_dangers),
        Job(name="propose-cuts", run=take_up_arrears),
        Job(name="prepaid", run=look_at_balances),
        Job(name="propose-prepaid-cuts", run=take_up_used_up),
        Job(name="billing", run=start_due, at=time(2, 10)),
        Job(name="suspense", run=remind_of_suspense, at=time(8, 45), tells_how_things_stand=True),
        Job(name="early-warnings", run=start_warnings, at=time(10), tells_how_things_stand=True),
        Job(name="billing-reach", run=report_reach),
        Job(name="forget-old", run=inbox.forget_old, at=time(3, 30)),
        Job(name="reading-reminders", run=remind_to_read, at=time(9), tells_how_things_stand=True),
        Job(name="losses", run=watch_losses, at=time(7, 30), tells_how_things_stand=True),
        Job(name="audit", run=start_audit, at=time(4, 20), tells_how_things_stand=True),
        Job(name="standstills", run=note_standstills, at=time(4)),
        Job(name="forget-refused", run=forget_refused, at=time(3, 40)),
    )
}

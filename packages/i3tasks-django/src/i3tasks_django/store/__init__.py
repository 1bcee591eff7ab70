"""The only writer of state: one verb a file, each one the statement that the protocol names.

The clock is the database's, per statement. Every write is guarded in its outer WHERE, so whoever comes
second changes nothing and is told so by a value.
"""

from i3tasks_django.store.cancel import Cancellation, cancel
from i3tasks_django.store.claim import claim
from i3tasks_django.store.clean import Cleaned, clean
from i3tasks_django.store.create import create_running
from i3tasks_django.store.database import database_now
from i3tasks_django.store.flow import Flow
from i3tasks_django.store.heartbeat import heartbeat
from i3tasks_django.store.insert import NewExecution
from i3tasks_django.store.relay import due_doorbells, postpone, ring_again
from i3tasks_django.store.release import postpone_unregistered, release
from i3tasks_django.store.reopen import reopen
from i3tasks_django.store.rescue import expired, rescue
from i3tasks_django.store.schedules import Declared, Entry, declare, edit
from i3tasks_django.store.settle import STALE, Settlement, settle, settle_within, were_settled
from i3tasks_django.store.then import then
from i3tasks_django.store.tick import (
    DueSchedule,
    due_schedules,
    fired_already,
    free_moment,
    is_any_due,
    is_running,
    move_on,
    record_ticks,
)

__all__ = [
    "STALE",
    "Cancellation",
    "Cleaned",
    "Declared",
    "DueSchedule",
    "Entry",
    "Flow",
    "NewExecution",
    "Settlement",
    "cancel",
    "claim",
    "clean",
    "create_running",
    "database_now",
    "declare",
    "due_doorbells",
    "due_schedules",
    "edit",
    "expired",
    "fired_already",
    "free_moment",
    "heartbeat",
    "is_any_due",
    "is_running",
    "move_on",
    "postpone",
    "postpone_unregistered",
    "record_ticks",
    "release",
    "reopen",
    "rescue",
    "ring_again",
    "settle",
    "settle_within",
    "then",
    "were_settled",
]

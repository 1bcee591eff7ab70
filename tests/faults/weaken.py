"""A pytest plugin that weakens the product, to see that a test notices: ``WEAKEN=fence pytest -p weaken``.

Each way replaces a text in a statement or in a function's source. A text that is no longer there is an error,
so that no weakening can quietly come to nothing.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import textwrap
from dataclasses import dataclass

VARIABLE = "WEAKEN"

_MEMBERS = (
    "(SELECT COUNT(*) FROM i3tasks_django_taskexecution AS member"
    " WHERE member.task_group_id = i3tasks_django_taskgroup.id AND "
)
_SUCCEEDED = "member.state = 'success' AND member.member_number IS NOT NULL"
_FAILED = "member.state IN ('failed', 'cancelled')"


@dataclass(frozen=True, slots=True)
class Change:
    """One text of a module's statement or function, and what stands there instead."""

    module: str
    name: str
    old: str
    new: str

    def make(self) -> None:
        module = importlib.import_module(f"i3tasks_django.store.{self.module}")
        before = getattr(module, self.name)
        text = before if isinstance(before, str) else textwrap.dedent(inspect.getsource(before))
        assert self.old in text, (
            f"{self.module}.{self.name} no longer says {self.old!r}: weaken it in another way"
        )
        text = text.replace(self.old, self.new)
        if isinstance(before, str):
            setattr(module, self.name, text)
            return
        exec(text, module.__dict__)
        _replace_everywhere(before, getattr(module, self.name))


WEAKENINGS: dict[str, list[Change]] = {
    # The settle guard without the fence: whoever lost a try ends it for whoever has it now.
    "fence": [Change("settle", "_END", " AND fence = held", "")],
    # The claim's guard in the sub-select only, where READ COMMITTED does not look again after waiting.
    "claim": [
        Change("claim", "_SQL", "ORDER BY try_id {free}", "ORDER BY try_id"),
        Change("claim", "_SQL", "    AND {is_pending} AND (run_after", "    AND (run_after"),
    ],
    # Read which tries are lost, then write: one that ended in between is reopened.
    "rescue": [
        Change(
            "rescue",
            "_rescue",
            'free_of_locks(silent).values_list("pk", "task_execution"))\n'
            "    writable = free_executions(execution_of.values())",
            'silent.values_list("pk", "task_execution"))\n    writable = set(execution_of.values())',
        ),
        Change("rescue", "_SQL", " AND {is_running} AND lease_until < {now}", ""),
    ],
    # The group counts its members (calls, that is) instead of their ends: write skew.
    "join": [
        Change(
            "flow",
            "_COUNT",
            "completed_count + failed_count + {completed:d} + {failed:d}",
            f"{_MEMBERS} ({_SUCCEEDED} OR {_FAILED}))",
        ),
        Change("flow", "_COUNT", "failed_count + {failed:d}", f"{_MEMBERS} {_FAILED})"),
        Change("flow", "_COUNT", "completed_count + {completed:d}", f"{_MEMBERS} {_SUCCEEDED})"),
    ],
    # .then() reads how far the call is, and does not lock it.
    "then": [
        Change(
            "then",
            "_TOUCH_EXECUTION",
            "UPDATE i3tasks_django_taskexecution SET state = state WHERE id = %s\n"
            "RETURNING state, cancel_requested_at, chain",
            "SELECT state, cancel_requested_at, chain FROM i3tasks_django_taskexecution WHERE id = %s",
        )
    ],
    # Nobody rings a second time.
    "relay": [Change("relay", "_SQL", "next_publish_at <= {now}", "1 = 0")],
    # Two people edit a schedule, and the second does not see the first one's work; and a tick that was
    # planned before an edit is fired after it.
    "version": [
        Change("schedules", "edit", ", version=row.version", ""),
        Change("tick", "move_on", ", version=row.version", ""),
    ],
}


def pytest_sessionstart() -> None:
    """When the project is set up and before tests are collected."""
    for change in WEAKENINGS[os.environ[VARIABLE]] if os.environ.get(VARIABLE) else ():
        change.make()


def _replace_everywhere(before: object, after: object) -> None:
    """In every module of ours that has imported the function by name."""
    for name, module in list(sys.modules.items()):
        if name.startswith("i3tasks_django"):
            for attribute, value in list(vars(module).items()):
                if value is before:
                    setattr(module, attribute, after)

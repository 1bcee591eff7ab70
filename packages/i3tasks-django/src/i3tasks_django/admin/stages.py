"""A place in a chain: what came before it, what waits for it, what follows."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.utils.safestring import SafeString

from i3tasks_core.states import ExecutionState
from i3tasks_core.steps import Otherwise, Steps, call_names, listeners, load
from i3tasks_django.admin import rendering
from i3tasks_django.models import TaskExecution, TaskGroup

Stage = TaskExecution | TaskGroup

_ENDED_BADLY = (ExecutionState.FAILED, ExecutionState.CANCELLED)


class StageFields:
    """What the pages of an execution and of a group show alike."""

    stage_fields = ("called_after", "called_by", "belongs_to", "what_follows", "followed_by")
    admin_site: admin.AdminSite

    @admin.display(description="chained from")
    def called_after(self, obj: Stage) -> SafeString | str:
        before = _named().filter(pk=obj.chained_from_id) if obj.chained_from_id else ()
        return rendering.lines(rendering.call(one, self.admin_site.name, _remark(obj)) for one in before)

    @admin.display(description="called by")
    def called_by(self, obj: Stage) -> SafeString | str:
        return rendering.lines(self._group(obj.joins_group_id, _remark(obj)))

    @admin.display(description="belongs to")
    def belongs_to(self, obj: Stage) -> SafeString | str:
        return rendering.lines(self._group(obj.task_group_id))

    @admin.display(description="what follows")
    def what_follows(self, obj: Stage) -> SafeString | str:
        chain = load(obj.chain)
        names, otherwise = call_names(chain), _if_it_fails(chain) if _is_open(obj) else []
        shown = [still_to_come(obj, names)] * bool(names)
        return rendering.lines([*shown, *([f"if it fails: {rendering.tasks(otherwise)}"] * bool(otherwise))])

    @admin.display(description="followed by")
    def followed_by(self, obj: Stage) -> SafeString | str:
        site, link = self.admin_site.name, "joins_group" if isinstance(obj, TaskGroup) else "chained_from"
        calls = _named().filter(**{link: obj.pk}).order_by("pk")
        groups = TaskGroup.objects.filter(**{link: obj.pk}).defer("chain").order_by("pk")
        return rendering.lines(
            [
                *(rendering.call(one, site, _remark(one)) for one in calls),
                *(rendering.group(one, site, _remark(one)) for one in groups),
            ]
        )

    def _group(self, pk: UUID | None, remark: str = "") -> list[SafeString]:
        found = TaskGroup.objects.filter(pk=pk).defer("chain") if pk else ()
        return [rendering.group(one, self.admin_site.name, remark) for one in found]


def still_to_come(obj: Stage, names: Sequence[str], most: int = rendering.MOST_TASKS) -> SafeString | str:
    """The tasks that follow, by name only: once they are called, their own pages show their arguments."""
    shown, why_not = rendering.tasks(names, most), _why_not(obj)
    return rendering.with_remark(shown, why_not) if names and why_not else shown


def _why_not(obj: Stage) -> str:
    has_ended_badly = _state(obj) in _ENDED_BADLY
    if has_ended_badly and isinstance(obj, TaskExecution):
        return "not unless this call runs again and succeeds"
    return "will not run" if has_ended_badly or obj.cancel_requested_at else ""


def _if_it_fails(chain: Steps) -> list[str]:
    otherwise = (step for step in listeners(chain) if isinstance(step, Otherwise))
    return [name for step in otherwise for name in call_names(step.steps)]


def _is_open(obj: Stage) -> bool:
    """Also a group that has failed: it says so when its last member has ended."""
    return obj.finished_at is None and obj.cancel_requested_at is None


def _state(obj: Stage) -> str:
    return obj.status if isinstance(obj, TaskGroup) else obj.state


def _remark(obj: Stage) -> str:
    return "after its failure" if obj.after_failure else ""


def _named() -> QuerySet[TaskExecution]:
    return TaskExecution.objects.only("task_path", "task_name", "state", "after_failure")

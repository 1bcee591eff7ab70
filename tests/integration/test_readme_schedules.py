"""The README's page on schedules is run as it stands."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from i3tasks_core.schedule_problems import schedule_problems
from i3tasks_django.models import TaskSchedule
from i3tasks_django.scheduling import fire_due
from i3tasks_django.task import _known

sys.path.insert(0, str(Path(__file__).parents[1] / "workspace"))
import readme

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")


@pytest.fixture
def shop():
    before = dict(_known)
    module = ModuleType("orders.tasks")
    exec(readme.block("schedules tasks"), module.__dict__)
    yield module
    _known.clear()
    _known.update(before)


def test_the_page_schedules_what_it_says(shop, i3tasks):
    names: dict[str, object] = {}
    exec(readme.block("schedules settings"), names)

    i3tasks(schedules=names["SCHEDULES"])
    fire_due()

    assert schedule_problems(names["SCHEDULES"], ["default", "heavy"]) == []
    assert dict(TaskSchedule.objects.values_list("key", "timezone")) == {
        "@orders.tasks.clean_up": "Europe/Rome",
        names["SCHEDULES"][0].key: "America/Chicago",
        "weekly report": "Europe/Rome",
    }

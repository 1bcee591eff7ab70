"""A wrong schedule in the settings is named with what to write instead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from i3tasks_core.config import Schedule
from i3tasks_core.schedule_problems import schedule_problems

SOUND = Schedule("shop.tasks", "report", "0 3 * * *", ["daily"], {"copies": 2})


def problems(*schedules):
    return schedule_problems(schedules, ["default", "heavy"])


def test_sound_schedules_have_none():
    full = replace(
        SOUND, name="nightly", timezone="Europe/Rome", misfire="all", overlap="skip", queue_name="heavy"
    )
    assert problems(SOUND, full, replace(SOUND, cron="* * * * * */5")) == []


@pytest.mark.parametrize(
    ("field", "value", "hint"),
    [
        ("module_name", "", "write a text of 1 to 200 characters"),
        ("func_name", None, "write a text of 1 to 200 characters"),
        ("name", 7, "write a text of 1 to 200 characters, or None"),
        ("name", "a\x00b", "write a text of 1 to 200 characters, or None"),
        ("name", "@nightly", "no @ first"),
        ("kwargs", {1: 2}, "write JSON"),
        ("cron", "every night", 'write five fields, "0 3 * * *"'),
        ("cron", "61 * * * *", 'write five fields, "0 3 * * *"'),
        ("timezone", "Rome", 'write one such as "Europe/Rome"'),
        ("misfire", "sometimes", 'write one of "latest", "skip", "all"'),
        ("overlap", True, 'write one of "allow", "skip"'),
        ("queue_name", "nowhere", "write one of 'default', 'heavy', or None"),
        ("args", "daily", "write args as a list and kwargs as a dict"),
        ("kwargs", ["daily"], "write args as a list and kwargs as a dict"),
        ("args", [object()], "write JSON"),
    ],
)
def test_a_wrong_field_is_named_with_what_to_write(field, value, hint):
    (problem,) = problems(
        SOUND,
        replace(SOUND, cron="1 1 * * *", **{field: value}) if field != "cron" else replace(SOUND, cron=value),
    )

    assert problem.code == "E030"
    assert problem.field in (f"I3TASKS.schedules[1].{field}", "I3TASKS.schedules[1].args")
    assert hint in problem.hint


def test_all_problems_are_told_at_once():
    wrong = replace(SOUND, cron="", misfire="", module_name="")
    assert {problem.field.rpartition(".")[2] for problem in problems(wrong)} == {
        "cron",
        "misfire",
        "module_name",
    }


def test_two_that_cannot_be_told_apart_are_told():
    (problem,) = problems(SOUND, replace(SOUND, args=["weekly"]), SOUND)

    assert (problem.code, problem.field) == ("E031", "I3TASKS.schedules[2]")


def test_the_key_is_the_name_or_what_the_schedule_consists_of():
    assert replace(SOUND, name="nightly").key == "nightly"
    plain = Schedule("shop.tasks", "report", "0 3 * * *")
    assert plain.key == "shop.tasks.report [0 3 * * *]"
    assert (
        len({plain.key, SOUND.key, replace(SOUND, kwargs={}).key, replace(SOUND, args=("daily",)).key}) == 3
    )

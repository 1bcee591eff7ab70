"""Topic and subscription names."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i3tasks_core import names

ALLOWED = string.ascii_letters + string.digits + "-_.~+%"
queue_names = st.text(ALLOWED, min_size=1, max_size=40)


def test_a_topic_is_the_namespace_and_the_queue():
    assert names.topic_id("tasks.shop", "heavy") == "tasks.shop.heavy"


def test_a_subscription_adds_its_own_name():
    assert names.subscription_id("tasks.shop", "heavy", "heavy-pull") == "tasks.shop.heavy.heavy-pull"


def test_dots_inside_queue_and_subscription_become_dashes_but_the_namespace_keeps_its_own():
    assert names.subscription_id("tasks.shop", "a.b", "c.d.e") == "tasks.shop.a-b.c-d-e"


def test_paths_are_those_of_the_service():
    assert names.topic_path("shop", "tasks.heavy") == "projects/shop/topics/tasks.heavy"
    assert names.subscription_path("shop", "tasks.heavy.x") == "projects/shop/subscriptions/tasks.heavy.x"


@pytest.mark.parametrize("name", ["abc", "a" * 255, "Shop.tasks", "a-_.~+%9"])
def test_names_that_the_service_takes(name):
    assert names.is_resource_id(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "a" * 256,
        "1abc",
        ".abc",
        "google",
        "goog.tasks",
        "a/b",
        "a b",
        "abc\n",
        "tâches",
        "a:b",
        "a\x00b",
    ],
)
def test_names_that_the_service_refuses(name):
    assert not names.is_resource_id(name)


@settings(max_examples=50)
@given(queue_names, queue_names)
def test_the_last_two_levels_never_hold_a_dot(queue, subscription):
    given_levels = names.subscription_id("tasks", queue, subscription).split(".")

    assert len(given_levels) == 3
    assert names.topic_id("tasks", queue) == ".".join(given_levels[:2])

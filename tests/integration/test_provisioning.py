"""Topics and subscriptions are declared, drift is told and mended."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command
from google.pubsub_v1.types import ExpirationPolicy, PushConfig, Subscription

from i3tasks_django.runtime import runtime
from i3tasks_django.types import PullQueue, PushQueue


def ensure(*options):
    out = io.StringIO()
    call_command("i3tasks_ensure_pubsub", *options, stdout=out)
    return out.getvalue()


def subscription(queue_name, subscription_name):
    path = f"projects/{runtime().pubsub.project_id}/subscriptions/tasks.test.{queue_name}.{subscription_name}"
    return runtime().clients.subscriber().get_subscription(subscription=path)


def test_everything_is_created_once(pubsub):
    first, second = ensure(), ensure()

    assert first.count("created") == 4
    assert second.count("present") == 4
    push, pull = subscription("default", "default"), subscription("heavy", "heavy-pull")
    assert push.push_config.push_endpoint == "http://127.0.0.1:1/i3/tasks-push/"
    assert pull.push_config.push_endpoint == ""
    for made in (push, pull):
        assert made.retry_policy.minimum_backoff.total_seconds() == 10
        assert made.retry_policy.maximum_backoff.total_seconds() == 600
        assert "expiration_policy" in made
        assert not made.expiration_policy.ttl
    assert (push.ack_deadline_seconds, pull.ack_deadline_seconds) == (600, 60)


def test_only_print_changes_nothing(pubsub):
    assert ensure("--only-print").count("missing") == 4
    assert ensure("--only-print").count("missing") == 4


def test_dots_in_names_become_dashes(embedded_pubsub, i3tasks):
    i3tasks(other_queues=(PullQueue("very.heavy", "pull.one"),))

    assert "subscriptions/tasks.test.very-heavy.pull-one" in ensure()


def test_drift_is_told_field_by_field_and_mended_when_asked(embedded_pubsub, i3tasks):
    ensure()
    path = subscription("default", "default").name
    runtime().clients.subscriber().update_subscription(
        request={
            "subscription": Subscription(
                name=path,
                ack_deadline_seconds=20,
                push_config=PushConfig(push_endpoint="http://127.0.0.1:1/old/"),
                expiration_policy=ExpirationPolicy(ttl={"seconds": 86_400 * 31}),
            ),
            "update_mask": {
                "paths": ["ack_deadline_seconds", "push_config", "expiration_policy", "retry_policy"]
            },
        }
    )

    told = ensure()
    assert "push_config is http://127.0.0.1:1/old/, should be http://127.0.0.1:1/i3/tasks-push/" in told
    assert "ack_deadline_seconds is 20 s, should be 600 s" in told
    assert "retry_policy is none (at once), should be 10–600 s" in told
    assert "expiration_policy is after 31 idle days, should be never" in told
    assert told.count("drifted") == 4
    assert subscription("default", "default").ack_deadline_seconds == 20
    assert ensure("--fix", "--only-print").count("drifted") == 4
    assert ensure("--fix").count("fixed") == 4
    assert ensure().count("present") == 4


def test_a_queue_that_turns_from_push_to_pull_is_told(embedded_pubsub, i3tasks):
    i3tasks(other_queues=(PushQueue("heavy", "heavy-pull", "http://127.0.0.1:1/i3/tasks-push/"),))
    ensure()
    i3tasks(other_queues=(PullQueue("heavy", "heavy-pull"),))

    assert "push_config is http://127.0.0.1:1/i3/tasks-push/, should be none (pull)" in ensure()


def test_a_pubsub_that_is_away_is_one_readable_line():
    with pytest.raises(CommandError) as raised:
        ensure()
    assert "\n" not in str(raised.value)
    assert "look up projects/test/topics/tasks.test.default" in str(raised.value)

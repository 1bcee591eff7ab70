"""Topics and subscriptions are declared, drift is told and mended."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.pubsub_v1.types import ExpirationPolicy, PushConfig, Subscription

from i3tasks_core.pubsub import subscription as subscriptions
from i3tasks_django.publishing import declare
from i3tasks_django.runtime import runtime
from i3tasks_django.types import OIDC, PullQueue, PushQueue

ENDPOINT = "http://127.0.0.1:1/i3/tasks-push/"
AUTH = OIDC(audience="https://shop.example.com/", service_account_email="push@shop.iam.gserviceaccount.com")


def ensure(*options):
    out = io.StringIO()
    call_command("i3tasks_ensure_pubsub", *options, stdout=out)
    return out.getvalue()


def ensure_differing(*options):
    """What the command tells when it ends with the exit code for a difference."""
    out = io.StringIO()
    with pytest.raises(CommandError) as raised:
        call_command("i3tasks_ensure_pubsub", *options, stdout=out)
    assert raised.value.returncode == 3
    assert "\n" not in str(raised.value)
    return f"{out.getvalue()}{raised.value}"


def path_of(queue_name, subscription_name):
    return f"projects/{runtime().pubsub.project_id}/subscriptions/tasks.test.{queue_name}.{subscription_name}"


def topic_of(queue_name):
    return f"projects/{runtime().pubsub.project_id}/topics/tasks.test.{queue_name}"


def subscription(queue_name, subscription_name):
    return (
        runtime().clients.subscriber().get_subscription(subscription=path_of(queue_name, subscription_name))
    )


def update(*paths, **fields):
    """Change the default queue's subscription behind our back; fields that are named only become unset."""
    runtime().clients.subscriber().update_subscription(
        request={
            "subscription": Subscription(name=path_of("default", "default"), **fields),
            "update_mask": {"paths": [*paths, *fields]},
        }
    )


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
        assert "dead_letter_policy" not in made
        assert "oidc_token" not in made.push_config
    assert (push.ack_deadline_seconds, pull.ack_deadline_seconds) == (600, 60)


def test_only_print_changes_nothing(pubsub):
    assert ensure_differing("--only-print").count("missing  ") == 4
    assert ensure_differing("--only-print").count("missing  ") == 4
    ensure()
    assert ensure("--only-print").count("present") == 4


def test_dots_in_names_become_dashes(embedded_pubsub, i3tasks):
    i3tasks(other_queues=(PullQueue("very.heavy", "pull.one"),))

    assert "subscriptions/tasks.test.very-heavy.pull-one" in ensure()


def test_drift_is_told_field_by_field_and_mended_when_asked(pubsub, i3tasks):
    ensure()
    update(
        "retry_policy",
        ack_deadline_seconds=20,
        push_config=PushConfig(push_endpoint="http://127.0.0.1:1/old/"),
    )

    told = ensure_differing()
    assert (
        "push_config.push_endpoint is http://127.0.0.1:1/old/, should be http://127.0.0.1:1/i3/tasks-push/"
        in told
    )
    assert "ack_deadline_seconds is 20 s, should be 600 s" in told
    assert "retry_policy is none (at once), should be 10–600 s" in told
    assert told.count("drifted") == 3
    assert "3 to be mended with --fix" in told
    assert subscription("default", "default").ack_deadline_seconds == 20
    assert ensure_differing("--fix", "--only-print").count("drifted") == 3
    assert ensure("--fix").count("fixed") == 3
    assert ensure().count("present") == 4


def test_a_subscription_that_expires_is_told_and_mended(embedded_pubsub):
    """Google's emulator takes no other expiry."""
    ensure()
    update(expiration_policy=ExpirationPolicy(ttl={"seconds": 86_400 * 31}))

    assert "expiration_policy is after 31 idle days, should be never" in ensure_differing()
    assert ensure("--fix").count("fixed") == 1
    update("expiration_policy")
    assert "expiration_policy is after 31 idle days, should be never" in ensure_differing()
    assert ensure("--fix").count("fixed") == 1
    assert ensure().count("present") == 4


def test_a_queue_that_turns_from_push_to_pull_is_told_and_mended(pubsub, i3tasks):
    i3tasks(other_queues=(PushQueue("heavy", "heavy-pull", "http://127.0.0.1:1/i3/tasks-push/"),))
    ensure()
    i3tasks(other_queues=(PullQueue("heavy", "heavy-pull"),))

    told = ensure_differing()
    assert "push_config.push_endpoint is http://127.0.0.1:1/i3/tasks-push/, should be none (pull)" in told
    assert ensure("--fix").count("fixed") == 2
    assert subscription("heavy", "heavy-pull").push_config.push_endpoint == ""
    assert ensure().count("present") == 4


def test_what_is_set_by_others_survives_a_fix(embedded_pubsub):
    ensure()
    update(labels={"team": "shop"}, ack_deadline_seconds=20)

    ensure("--fix")

    assert dict(subscription("default", "default").labels) == {"team": "shop"}


class TestDeadLetters:
    @pytest.fixture
    def dead(self, i3tasks):
        i3tasks(
            default_queue=PushQueue("default", "default", ENDPOINT, dead_letter_topic="shop.dead"),
            other_queues=(PullQueue("heavy", "heavy-pull", dead_letter_topic="shop.dead"),),
        )
        return f"projects/{runtime().pubsub.project_id}/topics/shop.dead"

    def test_go_to_a_topic_that_is_created_once(self, pubsub, dead):
        first = ensure()

        assert first.count("created") == 5
        assert first.count(dead) == 1
        for made in (subscription("default", "default"), subscription("heavy", "heavy-pull")):
            assert made.dead_letter_policy.dead_letter_topic == dead
            assert made.dead_letter_policy.max_delivery_attempts == 20
        assert ensure().count("present") == 5

    def test_that_go_elsewhere_or_nowhere_are_told_and_mended(self, pubsub, i3tasks, dead):
        ensure()
        i3tasks(default_queue=PushQueue("default", "default", ENDPOINT, dead_letter_topic="other.dead"))

        told = ensure_differing("--only-print")
        assert (
            f"dead_letter_policy is {dead} after 20 attempts, should be {dead[:-9]}other.dead after" in told
        )
        i3tasks(default_queue=PushQueue("default", "default", ENDPOINT), other_queues=())
        assert f"dead_letter_policy is {dead} after 20 attempts, should be none" in ensure_differing()
        assert ensure("--fix").count("fixed") == 1
        assert "dead_letter_policy" not in subscription("default", "default")
        assert ensure().count("present") == 2


class TestTheTokenOfPushes:
    def test_is_put_on_push_subscriptions_only(self, pubsub, i3tasks):
        i3tasks(push_auth=AUTH)

        ensure()

        token = subscription("default", "default").push_config.oidc_token
        assert token.audience == AUTH.audience
        assert token.service_account_email == AUTH.service_account_email
        assert "oidc_token" not in subscription("heavy", "heavy-pull").push_config
        assert ensure().count("present") == 4

    def test_is_put_there_by_a_service_that_starts(self, either_database, embedded_pubsub, i3tasks):
        i3tasks(push_auth=AUTH)

        assert declare()

        assert subscription("default", "default").push_config.oidc_token.audience == AUTH.audience

    def test_that_is_not_there_or_another_is_told_and_mended(self, pubsub, i3tasks):
        ensure()
        i3tasks(push_auth=AUTH)

        told = ensure_differing()
        assert f"push_config.oidc_token.audience is none, should be {AUTH.audience}" in told
        assert "service_account_email is none, should be push@shop.iam.gserviceaccount.com" in told
        other = PushConfig.OidcToken(audience="x", service_account_email=AUTH.service_account_email)
        update(push_config=PushConfig(push_endpoint=ENDPOINT, oidc_token=other))
        told = ensure_differing()
        assert f"push_config.oidc_token.audience is x, should be {AUTH.audience}" in told
        assert told.count("drifted") == 1
        assert ensure("--fix").count("fixed") == 1
        assert ensure().count("present") == 4

    def test_that_no_setting_asks_for_is_left_to_whoever_put_it_there(self, pubsub):
        ensure()
        theirs = PushConfig.OidcToken(audience="run", service_account_email=AUTH.service_account_email)
        update(push_config=PushConfig(push_endpoint="http://127.0.0.1:1/old/", oidc_token=theirs))

        assert ensure("--fix").count("fixed") == 1

        config = subscription("default", "default").push_config
        assert (config.push_endpoint, config.oidc_token.audience) == (ENDPOINT, "run")


class TestWhatCannotBeChanged:
    def test_a_filter_is_told_with_what_to_do(self, pubsub):
        ensure()
        runtime().clients.subscriber().delete_subscription(subscription=path_of("default", "default"))
        runtime().clients.subscriber().create_subscription(
            request=Subscription(
                name=path_of("default", "default"),
                topic=topic_of("default"),
                filter='attributes.kind = "x"',
                ack_deadline_seconds=20,
                push_config=PushConfig(push_endpoint=ENDPOINT),
                expiration_policy=ExpirationPolicy(),
            )
        )

        told = ensure_differing("--fix")

        assert 'filter is attributes.kind = "x", should be none; cannot be changed: delete the subscr' in told
        assert told.count("fixed") == 2
        assert told.count("drifted") == 1
        assert "1 to be mended by hand" in told

    def test_a_subscription_whose_topic_was_deleted_is_told(self, pubsub):
        ensure()
        runtime().clients.publisher().delete_topic(topic=topic_of("default"))

        told = ensure_differing("--fix")

        assert f"created  {topic_of('default')}" in told
        assert f"topic is _deleted-topic_, should be {topic_of('default')}; cannot be changed" in told

    def test_a_detached_one_and_an_export_are_told_apart(self):
        """No emulator has these."""
        queue = PushQueue("default", "default", ENDPOINT)
        want = subscriptions.wanted(queue, "shop", "tasks", None)
        have = Subscription(want)
        have.detached = True
        have.bigquery_config = {"table": "shop.tasks.messages"}
        have.push_config = PushConfig(push_endpoint=ENDPOINT, no_wrapper={"write_metadata": True})

        found = {drift.field: drift for drift in subscriptions.drifts(have, want)}

        assert set(found) == {"detached", "bigquery_config", "push_config.wrapper"}
        assert found["detached"].remedy
        mended = subscriptions.mended(have, want, ["bigquery_config", "push_config"])
        assert "bigquery_config" not in mended
        assert "no_wrapper" not in mended.push_config


class TestWhatIsInTheWay:
    def failure(self, *options):
        with pytest.raises(CommandError) as raised:
            ensure(*options)
        assert raised.value.returncode == 1
        assert "\n" not in str(raised.value)
        return str(raised.value)

    @pytest.fixture
    def refuse(self, monkeypatch, settings_for_google_cloud):
        """Google Cloud answers with that error, whatever it is asked."""

        def answer(error):
            def call(**_request):
                raise error

            client = SimpleNamespace(get_topic=call, create_topic=call)
            monkeypatch.setattr(runtime().clients, "publisher", lambda: client)

        return answer

    def test_an_emulator_that_is_away_is_one_readable_line(self):
        told = self.failure()

        assert "look up projects/test/topics/tasks.test.default" in told
        assert "start the emulator, or correct PUBSUB_CONFIG['HOST'], which is '127.0.0.1:1'" in told

    @pytest.mark.parametrize(
        ("error", "advice"),
        [
            (
                api.PermissionDenied("User not authorized to perform this action."),
                "grant the account that runs this the role roles/pubsub.editor in the project production",
            ),
            (
                api.PermissionDenied(
                    "Cloud Pub/Sub API has not been used in project 5 before or it is off.\nx"
                ),
                "run gcloud services enable pubsub.googleapis.com --project=production",
            ),
            (
                api.NotFound("Requested project not found or user does not have access to it (project=x)."),
                "PUBSUB_CONFIG['PROJECT_ID'] is 'production': write the project's id, not its name",
            ),
            (api.Unauthenticated("Request had invalid credentials."), "PUBSUB_CONFIG['CREDENTIALS']"),
            (auth.DefaultCredentialsError("Your default credentials were not found.\n"), "['CREDENTIALS']"),
            (api.ServiceUnavailable("failed to connect"), "see that pubsub.googleapis.com can be reached"),
            (auth.TransportError("no route"), "see that pubsub.googleapis.com can be reached"),
        ],
    )
    @pytest.mark.parametrize("options", [(), ("--only-print",)])
    def test_a_refusal_names_the_resource_and_what_to_change(self, refuse, error, advice, options):
        refuse(error)

        told = self.failure(*options)

        assert "projects/production/topics/tasks.test.default: " in told
        assert advice in told

    def test_an_account_that_may_not_act_as_the_pushing_one_is_told_which(
        self, settings_for_google_cloud, i3tasks, refuse
    ):
        i3tasks(push_auth=AUTH)
        refuse(api.PermissionDenied("iam.serviceAccounts.actAs permission is needed"))

        assert "roles/iam.serviceAccountUser on push@shop.iam.gserviceaccount.com" in self.failure()


def test_exit_codes_are_what_help_says(embedded_pubsub):
    def run(*options, target=embedded_pubsub.host):
        return subprocess.run(
            [sys.executable, "-m", "django", "i3tasks_ensure_pubsub", *options],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parent.parent),
                "TEST_PUBSUB": target,
                "TEST_PROJECT": embedded_pubsub.project_id,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert run("--only-print").returncode == 3
    assert run().returncode == 0
    assert run("--only-print").returncode == 0
    away = run(target="127.0.0.1:1")
    assert away.returncode == 1
    assert "Traceback" not in away.stderr
    assert len(away.stderr.splitlines()) == 1

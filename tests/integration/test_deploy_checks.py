"""``manage.py check --deploy`` names the doors that stand open."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.test.utils import override_settings

from i3tasks_django.types import OIDC, PushQueue

IDENTITY = OIDC(audience="https://shop.example.com/", service_account_email="push@shop.example.com")
PUSH = PushQueue("default", "default", "https://shop.example.com/i3/tasks-push/")
CLOUD = {"EMULATOR": False, "PROJECT_ID": "shop", "CREDENTIALS": None}


def found(*, deploy=True):
    warnings = run_checks(include_deployment_checks=deploy)
    return {warning.id: warning for warning in warnings if warning.id.startswith("i3tasks.")}


@pytest.fixture
def safe(override):
    """Settings of which nothing is to be said."""
    config = replace(settings.I3TASKS, default_queue=PUSH, push_auth=IDENTITY, beat_token="s3cret")
    override(PUBSUB_CONFIG=CLOUD, I3TASKS=config, DEBUG=False)


@pytest.mark.usefixtures("safe")
class TestInProduction:
    def test_closed_doors_are_passed_over_in_silence(self):
        assert found() == {}

    def test_a_push_endpoint_in_the_clear_is_named(self, i3tasks):
        open_queue = PushQueue("mail", "mail", "http://shop.example.com/i3/tasks-push/")
        i3tasks(other_queues=(*settings.I3TASKS.other_queues, open_queue))

        assert list(found()) == ["i3tasks.W002"]
        assert "'mail'" in found()["i3tasks.W002"].msg

    def test_a_push_without_a_token_is_a_warning(self, i3tasks):
        i3tasks(push_auth=None)

        assert list(found()) == ["i3tasks.W003"]
        assert "signature" in found()["i3tasks.W003"].msg

    def test_a_closed_beat_endpoint_is_no_warning(self, i3tasks):
        i3tasks(push_auth=None, beat_token=None)

        assert list(found()) == ["i3tasks.W003"]

    def test_a_beat_endpoint_that_debug_opens_is_named(self, i3tasks, override):
        i3tasks(push_auth=None, beat_token=None)
        override(DEBUG=True)

        assert "DEBUG is True" in found()["i3tasks.W001"].msg

    @pytest.mark.parametrize("guard", [{"beat_token": None}, {"push_auth": None}])
    def test_one_guard_of_the_beat_endpoint_is_enough(self, i3tasks, override, guard):
        i3tasks(**guard)
        override(DEBUG=True)

        assert "i3tasks.W001" not in found()

    def test_settings_that_are_wrong_are_left_to_the_errors(self):
        with override_settings(I3TASKS=replace(settings.I3TASKS, push_auth="push@shop.example.com")):
            assert list(found()) == ["i3tasks.E008"]


def test_beside_an_emulator_the_open_beat_endpoint_is_named_and_nothing_else():
    assert list(found()) == ["i3tasks.W001"]
    assert "EMULATOR is True" in found()["i3tasks.W001"].msg


def test_googles_tokens_beside_an_emulator_are_named(i3tasks):
    i3tasks(push_auth=IDENTITY)
    assert list(found()) == ["i3tasks.W004"]

    i3tasks(push_auth=replace(IDENTITY, certs_url="http://127.0.0.1:41234/oauth2/v1/certs"))
    assert found() == {}


def test_certificates_of_ones_own_are_an_error_in_production(i3tasks):
    i3tasks(push_auth=replace(IDENTITY, certs_url="http://127.0.0.1:41234/oauth2/v1/certs"))
    assert "i3tasks.E008" not in found()

    with override_settings(PUBSUB_CONFIG=CLOUD):
        assert "leave it out" in found()["i3tasks.E008"].hint.lower()


def test_every_warning_says_what_to_do_and_none_comes_outside_a_deployment(override):
    assert found(deploy=False) == {}
    override(PUBSUB_CONFIG=CLOUD, DEBUG=True)

    assert set(found()) == {"i3tasks.W001", "i3tasks.W002", "i3tasks.W003"}
    assert all(warning.hint.endswith(".") for warning in found().values())

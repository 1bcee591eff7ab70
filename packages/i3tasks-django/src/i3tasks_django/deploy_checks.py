"""Doors that stand open: warnings of ``manage.py check --deploy``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import checks

from i3tasks_core.config import I3TasksSettings, PushQueue
from i3tasks_django import runtime


def check_doors(**_: Any) -> list[checks.CheckMessage]:
    """Registered with Django for deployments. Settings that are wrong have errors of their own."""
    if runtime.problems():
        return []
    config = settings.I3TASKS
    if settings.PUBSUB_CONFIG.get("EMULATOR"):
        return [*_beat_warnings(), *_emulator_warnings(config)]
    return [*_beat_warnings(), *_push_warnings(config), *_token_warnings(config)]


def _beat_warnings() -> Iterator[checks.Warning]:
    from i3tasks_django.views.beat import is_beat_open

    if is_beat_open():
        yield checks.Warning(
            "The beat endpoint answers everybody: neither I3TASKS.beat_token nor I3TASKS.push_auth is set, "
            f"and {'DEBUG' if settings.DEBUG else 'EMULATOR'} is True.",
            hint="Set beat_token to a long random text.",
            id="i3tasks.W001",
        )


def _push_warnings(config: I3TasksSettings) -> Iterator[checks.Warning]:
    for queue in config.queues:
        if isinstance(queue, PushQueue) and not queue.push_endpoint.startswith("https://"):
            yield checks.Warning(
                f"The push endpoint of queue {queue.queue_name!r} is {queue.push_endpoint!r}: tokens and "
                "messages travel in the clear.",
                hint="Write an address that begins with https://.",
                id="i3tasks.W002",
            )


def _token_warnings(config: I3TasksSettings) -> Iterator[checks.Warning]:
    if config.push_auth is None:
        yield checks.Warning(
            "I3TASKS.push_auth is not set: strangers are turned away by the messages' signature alone.",
            hint="Set push_auth=OIDC(audience=…, service_account_email=…), so that they get no further than "
            "their token.",
            id="i3tasks.W003",
        )


def _emulator_warnings(config: I3TasksSettings) -> Iterator[checks.Warning]:
    if config.push_auth is not None and config.push_auth.certs_url is None:
        yield checks.Warning(
            "I3TASKS.push_auth asks for tokens of Google's, which no emulator can sign: pushes are refused.",
            hint="Set certs_url to what i3tasks-emulator prints as PUBSUB_CERTS_URL, or push_auth to None.",
            id="i3tasks.W004",
        )

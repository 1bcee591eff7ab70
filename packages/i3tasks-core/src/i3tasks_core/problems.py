"""Everything that is wrong with the settings, told at once, each with what to write instead."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from i3tasks_core import names
from i3tasks_core.config import AnyQueue, PullQueue, PushQueue, Schedule
from i3tasks_core.oidc_problems import oidc_problems
from i3tasks_core.problem import Problem
from i3tasks_core.registry import MAX_NAME

__all__ = ["Problem", "pubsub_problems", "settings_problems"]

_HOST = re.compile(r"[^\s/:]+:\d{1,5}")
_MOST = 1_000_000
_LEASES = (timedelta(seconds=1), timedelta(days=1))
_RETENTIONS = (timedelta(minutes=1), timedelta(days=36_500))
_PUBSUB_FIELDS = ("EMULATOR", "HOST", "PROJECT_ID", "CREDENTIALS")


def settings_problems(given: Any) -> list[Problem]:
    """Everything wrong with an ``I3TasksSettings``; an empty list when it will do.

    Args:
        given: the settings, whose fields may hold anything, whatever their types promise.
    """
    return [
        *_namespace_problems(given),
        *_queue_problems(given),
        *_number_problems(given),
        *_flag_problems(given),
        *oidc_problems(given.push_auth),
    ]


def pubsub_problems(setting: Any) -> list[Problem]:
    """Everything wrong with a ``PUBSUB_CONFIG`` dict."""
    if not isinstance(setting, Mapping):
        return [
            Problem(
                code="E001",
                field="PUBSUB_CONFIG",
                message=f"is {setting!r}",
                hint='write a dict, e.g. {"EMULATOR": True, "HOST": "localhost:8085", "PROJECT_ID": "shop"}',
            )
        ]
    return list(_pubsub_problems(setting))


def _pubsub_problems(setting: Mapping[str, Any]) -> Iterator[Problem]:
    for key in setting:
        if key not in _PUBSUB_FIELDS:
            yield Problem(
                code="E002",
                field=f"PUBSUB_CONFIG[{key!r}]",
                message="is not a field",
                hint=f"use {', '.join(_PUBSUB_FIELDS)}",
            )
    emulator, project = setting.get("EMULATOR", False), setting.get("PROJECT_ID")
    if not isinstance(emulator, bool):
        yield Problem(
            code="E003",
            field="PUBSUB_CONFIG['EMULATOR']",
            message=f"is {emulator!r}",
            hint="write True (a Pub/Sub emulator at HOST) or False (Google Cloud)",
        )
    if not isinstance(project, str) or not project or "/" in project:
        yield Problem(
            code="E004",
            field="PUBSUB_CONFIG['PROJECT_ID']",
            message=f"is {project!r}",
            hint="write the id of the Google Cloud project (any name with an emulator)",
        )
    host = setting.get("HOST")
    if emulator is True and not (isinstance(host, str) and _HOST.fullmatch(host)):
        yield Problem(
            code="E005",
            field="PUBSUB_CONFIG['HOST']",
            message=f"is {host!r}",
            hint='EMULATOR needs the emulator\'s address, e.g. "localhost:8085"',
        )
    yield from _credentials_problems(emulator=emulator, credentials=setting.get("CREDENTIALS"))


def _credentials_problems(*, emulator: Any, credentials: Any) -> Iterator[Problem]:
    if emulator is True or credentials is None or credentials is False:
        return
    if wrong := _wrong_with_account(credentials):
        yield Problem(
            code="E006",
            field="PUBSUB_CONFIG['CREDENTIALS']",
            message=f"is {credentials!r}, which {wrong}",
            hint="write the path of a service account's JSON file, or None for Application Default "
            "Credentials",
        )


def _wrong_with_account(path: Any) -> str | None:
    try:
        account = json.loads(Path(path).read_bytes())
    except (OSError, TypeError):
        return "is no file that can be read"
    except ValueError:
        return "is not JSON"
    if not isinstance(account, dict) or not {"client_email", "private_key"} <= account.keys():
        return "is no service account's"
    return None


def _namespace_problems(given: Any) -> Iterator[Problem]:
    if not _is_namespace(given.namespace):
        yield Problem(
            code="E010",
            field="I3TASKS.namespace",
            message=f"is {given.namespace!r}",
            hint="write text of letters, digits, '.', '-' or '_' that starts with a letter, "
            'e.g. "tasks.shop"',
        )


def _queue_problems(given: Any) -> Iterator[Problem]:
    # A wrong namespace has a problem of its own and must not hide what is wrong with the queues.
    namespace = given.namespace if _is_namespace(given.namespace) else "tasks"
    if not isinstance(given.default_queue, PushQueue):
        yield Problem(
            code="E011",
            field="I3TASKS.default_queue",
            message=f"is {given.default_queue!r}",
            hint="write a PushQueue(queue_name, subscription_name, push_endpoint); pull queues go "
            "into other_queues",
        )
    else:
        yield from _problems_of_queue("I3TASKS.default_queue", given.default_queue, namespace)
    if not isinstance(given.other_queues, tuple | list):
        yield Problem(
            code="E012",
            field="I3TASKS.other_queues",
            message=f"is {given.other_queues!r}",
            hint="write a tuple of PushQueue and PullQueue",
        )
        return
    seen = {_topic(given.default_queue, namespace)}
    for index, queue in enumerate(given.other_queues):
        where = f"I3TASKS.other_queues[{index}]"
        if not isinstance(queue, PushQueue | PullQueue):
            yield Problem(
                code="E012", field=where, message=f"is {queue!r}", hint="write a PushQueue or a PullQueue"
            )
            continue
        yield from _problems_of_queue(where, queue, namespace)
        topic = _topic(queue, namespace)
        if topic is not None and topic in seen:
            yield Problem(
                code="E013",
                field=f"{where}.queue_name",
                message=f"is {queue.queue_name!r} and gives the topic {topic!r} like another queue's",
                hint="give every queue a name of its own; a queue is push or pull, never both",
            )
        seen.add(topic)
    yield from _circle_problems(given, seen)


def _number_problems(given: Any) -> Iterator[Problem]:
    for name, least in (
        ("default_max_retries", 0),
        ("health_window_minutes", 1),
        ("health_stuck_minutes", 1),
        ("health_failed_threshold", 0),
        ("health_pending_age_seconds_threshold", 1),
    ):
        value = getattr(given, name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST:
            yield Problem(
                code="E014",
                field=f"I3TASKS.{name}",
                message=f"is {value!r}",
                hint=f"write a whole number from {least} to {_MOST:,}",
            )
    if not isinstance(given.lease, timedelta) or not _LEASES[0] <= given.lease <= _LEASES[1]:
        yield Problem(
            code="E015",
            field="I3TASKS.lease",
            message=f"is {given.lease!r}",
            hint="write a timedelta from a second to a day, e.g. timedelta(seconds=60)",
        )
    if not _is_retention(given.autoclean_older_than):
        yield Problem(
            code="E034",
            field="I3TASKS.autoclean_older_than",
            message=f"is {given.autoclean_older_than!r}",
            hint="write a timedelta from a minute to 36,500 days, e.g. timedelta(days=30), or None to keep "
            "everything",
        )


def _is_retention(value: Any) -> bool:
    return value is None or (isinstance(value, timedelta) and _RETENTIONS[0] <= value <= _RETENTIONS[1])


def _flag_problems(given: Any) -> Iterator[Problem]:
    for name in ("force_sync", "run_queue_create_command_on_startup"):
        if not isinstance(getattr(given, name), bool):
            yield Problem(
                code="E016",
                field=f"I3TASKS.{name}",
                message=f"is {getattr(given, name)!r}",
                hint="write True or False",
            )
    for name in ("health_token", "beat_token", "status_token"):
        value = getattr(given, name)
        if value is not None and (not isinstance(value, str) or not value):
            # The value is a secret, however wrong: it is not repeated.
            yield Problem(
                code="E017",
                field=f"I3TASKS.{name}",
                message=f"is an empty or {type(value).__name__} value",
                hint="write a long random text, or None",
            )
    if not isinstance(given.schedules, tuple | list) or not all(
        isinstance(schedule, Schedule) for schedule in given.schedules
    ):
        yield Problem(
            code="E018",
            field="I3TASKS.schedules",
            message=f"is {given.schedules!r}",
            hint="write a tuple of Schedule(module_name, func_name, cron, args, kwargs)",
        )


def _is_namespace(value: Any) -> bool:
    """Whether names that begin with it are names to Pub/Sub."""
    return isinstance(value, str) and names.is_resource_id(names.topic_id(value, "q"))


def _topic(queue: Any, namespace: str) -> str | None:
    """What tells queues apart: ``a.b`` and ``a-b`` are one topic, and each would get the other's messages."""
    name = getattr(queue, "queue_name", None)
    return names.topic_id(namespace, name) if isinstance(name, str) else None


def _problems_of_queue(where: str, queue: Any, namespace: str) -> Iterator[Problem]:
    unnamed = [name for name in ("queue_name", "subscription_name") if not _is_text(getattr(queue, name))]
    for name in unnamed:
        yield Problem(
            code="E013",
            field=f"{where}.{name}",
            message=f"is {getattr(queue, name)!r}",
            hint="write a non-empty text",
        )
    refused = [
        resource
        for resource in (() if unnamed else _resources_of(queue, namespace))
        if not names.is_resource_id(resource)
    ]
    for resource in refused:
        yield Problem(
            code="E013",
            field=where,
            message=f"gives the Pub/Sub name {resource!r}, which Pub/Sub refuses",
            hint="use letters, digits and -_.~+% only, at most 255 characters in all",
        )
    if not unnamed and not refused and len(queue.queue_name) > MAX_NAME:
        yield Problem(
            code="E013",
            field=f"{where}.queue_name",
            message=f"is {queue.queue_name!r}, which is {len(queue.queue_name)} characters long",
            hint=f"write at most {MAX_NAME} characters",
        )
    yield from _dead_letter_problems(where, queue)
    if isinstance(queue, PushQueue) and not _is_http_url(queue.push_endpoint):
        yield Problem(
            code="E019",
            field=f"{where}.push_endpoint",
            message=f"is {queue.push_endpoint!r}",
            hint='write the full address of the push route, e.g. "https://shop.example.com/i3/tasks-push/"',
        )


def _dead_letter_problems(where: str, queue: Any) -> Iterator[Problem]:
    topic = queue.dead_letter_topic
    if topic is not None and not (isinstance(topic, str) and names.is_resource_id(topic)):
        yield Problem(
            code="E035",
            field=f"{where}.dead_letter_topic",
            message=f"is {topic!r}",
            hint='write the id of a topic in the same project, e.g. "tasks.shop.dead", without '
            '"projects/…/topics/"; or None',
        )


def _circle_problems(given: Any, topics: Collection[str | None]) -> Iterator[Problem]:
    """A dead letter that rings again would go round for ever."""
    places = [f"I3TASKS.other_queues[{index}]" for index in range(len(given.other_queues))]
    for where, queue in zip(["I3TASKS.default_queue", *places], given.queues, strict=True):
        name = getattr(queue, "dead_letter_topic", None)
        if isinstance(name, str) and name in topics:
            yield Problem(
                code="E035",
                field=f"{where}.dead_letter_topic",
                message=f"is {name!r}, the topic of a queue",
                hint="name a topic that no queue of I3TASKS reads, or None",
            )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _resources_of(queue: AnyQueue, namespace: str) -> tuple[str, str]:
    return (
        names.topic_id(namespace, queue.queue_name),
        names.subscription_id(namespace, queue.queue_name, queue.subscription_name),
    )


def _is_http_url(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        url = urlsplit(value)
        has_address = bool(url.hostname) and url.port != 0
    except ValueError:  # "http://[", or a port that is no number
        return False
    return has_address and url.scheme in ("http", "https") and url.path not in ("", "/")

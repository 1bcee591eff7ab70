"""The settings as values. Making one raises nothing: ``problems`` tells everything that is wrong with it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class PushQueue:
    """A queue whose messages Pub/Sub posts to ``push_endpoint``.

    Args:
        dead_letter_topic: id of a topic in the same project that takes the messages which nobody could read
            or would take for hours; give it a subscription, or nothing keeps them. No task depends on it.
    """

    queue_name: str
    subscription_name: str
    push_endpoint: str
    dead_letter_topic: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class PullQueue:
    """A queue whose messages a worker asks for.

    Args:
        dead_letter_topic: see ``PushQueue``.
    """

    queue_name: str
    subscription_name: str
    dead_letter_topic: str | None = field(default=None, kw_only=True)


AnyQueue = PushQueue | PullQueue


class Misfire(StrEnum):
    """What becomes of ticks that nobody fired in time."""

    LATEST = "latest"
    SKIP = "skip"
    ALL = "all"


class Overlap(StrEnum):
    """What becomes of a tick while the call of the one before it has not ended."""

    ALLOW = "allow"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A task to call whenever a cron expression says so.

    Args:
        module_name: the task's module.
        func_name: its name there.
        cron: five fields, or six with seconds.
        args: positional arguments.
        kwargs: keyword arguments.
        name: tells this schedule from others; needed only to change its ``cron`` and keep its history.
        timezone: whose wall clock the expression is read on; None means the project's ``TIME_ZONE``.
        misfire: ``"latest"`` makes up for missed ticks by one run, ``"all"`` by all, ``"skip"`` by none.
        overlap: ``"skip"`` passes a tick by while the run before it has not ended.
        queue_name: instead of the task's own queue.
    """

    module_name: str
    func_name: str
    cron: str
    args: list[Any] | tuple[Any, ...] = field(default=(), repr=False)
    kwargs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    name: str | None = field(default=None, kw_only=True)
    timezone: str | None = field(default=None, kw_only=True)
    misfire: str = field(default="latest", kw_only=True)
    overlap: str = field(default="allow", kw_only=True)
    queue_name: str | None = field(default=None, kw_only=True)

    @property
    def full_name(self) -> str:
        return f"{self.module_name}.{self.func_name}"

    @property
    def key(self) -> str:
        """What tells it from the others: its name, or everything that it consists of."""
        if self.name:
            return self.name
        if not self.args and not self.kwargs:
            return f"{self.full_name} [{self.cron}]"
        given = json.dumps([list(self.args), dict(self.kwargs)], sort_keys=True, default=repr)
        return f"{self.full_name} [{self.cron}] {hashlib.sha256(given.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OIDC:
    """Who may ring: the token that Pub/Sub, or Cloud Scheduler, puts on its requests, signed by Google.

    Attributes:
        audience: whom the token is for, word for word; by custom the address of the push endpoint.
        service_account_email: whom it was made for; its address must be verified.
        certs_url: where the certificates of an emulator's tokens are, refused without ``EMULATOR``; None
            means Google's.
    """

    audience: str
    service_account_email: str
    certs_url: str | None = None


@dataclass(frozen=True, slots=True)
class I3TasksSettings:
    """The ``I3TASKS`` setting.

    Args:
        namespace: prefix of topic and subscription names.
        default_queue: where tasks without a queue of their own go.
        other_queues: further queues, push and pull mixed.
        schedules: cron schedules.
        force_sync: ``.delay()`` runs the task at once, in the caller's process. For tests.
        default_max_retries: retries of a task that names none; 3 means at most four tries.
        run_queue_create_command_on_startup: serving processes declare topics and subscriptions as they start.
        health_token: asked of whoever reads the health page; None leaves it open.
        health_window_minutes: what ``totals`` and ``by_task`` look back on.
        health_stuck_minutes: a try running longer than this counts as stuck.
        health_failed_threshold: more failed tries than this in the window are a warning.
        health_pending_age_seconds_threshold: an unfinished try due for longer than this is critical.
        beat_token: asked of whoever calls the beat endpoint; without it the endpoint is open only
            with ``EMULATOR`` or ``DEBUG``.
        lease: a worker that falls silent for this long loses its tries to others. Heartbeats come four
            to a lease and scans for lost tries six, so a killed worker's task runs again within 1.2 leases.
        autoclean_older_than: what ended longer ago is deleted, a little every minute; None keeps everything.
        push_auth: the token that the push endpoint asks for, and that opens the beat endpoint; None asks for
            none: the signature in every message still keeps out whoever does not know ``SECRET_KEY``.
        status_token: asked of whoever reads the state of a call; None means ``health_token``, and without
            either a signed address is the only way in.
    """

    namespace: str
    default_queue: PushQueue
    other_queues: Sequence[AnyQueue] = ()
    schedules: Sequence[Schedule] = ()
    force_sync: bool = False
    default_max_retries: int = 3
    run_queue_create_command_on_startup: bool = True
    health_token: str | None = field(default=None, repr=False)
    health_window_minutes: int = 60
    health_stuck_minutes: int = 15
    health_failed_threshold: int = 5
    health_pending_age_seconds_threshold: int = 300
    beat_token: str | None = field(default=None, kw_only=True, repr=False)
    lease: timedelta = field(default=timedelta(seconds=60), kw_only=True)
    autoclean_older_than: timedelta | None = field(default=None, kw_only=True)
    push_auth: OIDC | None = field(default=None, kw_only=True)
    status_token: str | None = field(default=None, kw_only=True, repr=False)

    @property
    def queues(self) -> tuple[AnyQueue, ...]:
        return (self.default_queue, *self.other_queues)


@dataclass(frozen=True, slots=True, kw_only=True)
class PubSubConfig:
    """The ``PUBSUB_CONFIG`` setting.

    Attributes:
        emulator: speak to ``host`` without credentials and without TLS.
        host: ``name:port`` of the emulator.
        credentials: path of a service account's JSON file; None uses Application Default Credentials.
        push_auth: the token that Pub/Sub puts on its pushes; a setting of ``I3TASKS``.
    """

    emulator: bool
    project_id: str
    host: str | None = None
    credentials: str | None = None
    push_auth: OIDC | None = None

    @classmethod
    def of(cls, setting: Mapping[str, Any], push_auth: OIDC | None = None) -> PubSubConfig:
        """Read a dict in which ``pubsub_problems`` found nothing wrong."""
        return cls(
            emulator=bool(setting.get("EMULATOR")),
            project_id=setting["PROJECT_ID"],
            host=setting.get("HOST"),
            credentials=os.fspath(setting["CREDENTIALS"]) if setting.get("CREDENTIALS") else None,
            push_auth=push_auth,
        )

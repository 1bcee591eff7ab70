"""The one place where settings become objects."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from i3tasks_core import names
from i3tasks_core.config import AnyQueue, I3TasksSettings, PubSubConfig
from i3tasks_core.envelope import derive_key
from i3tasks_core.errors import UnknownQueue
from i3tasks_core.lease import Heart
from i3tasks_core.oidc_problems import signer_problems
from i3tasks_core.problems import Problem, pubsub_problems, settings_problems
from i3tasks_core.pubsub.clients import Clients
from i3tasks_core.pubsub.publisher import Publisher
from i3tasks_core.pubsub.push_token import TokenVerifier
from i3tasks_core.schedule_problems import schedule_problems
from i3tasks_django import store
from i3tasks_django.store.database import connection, give_back_pooled_connections

_SETTINGS = frozenset({"I3TASKS", "PUBSUB_CONFIG", "SECRET_KEY", "SECRET_KEY_FALLBACKS"})


class Runtime:
    """What the settings come to in this process. Making one opens nothing and starts nothing."""

    def __init__(self, config: I3TasksSettings, pubsub: PubSubConfig) -> None:
        self.config = config
        self.pubsub = pubsub
        self.queues: dict[str, AnyQueue] = {queue.queue_name: queue for queue in config.queues}
        self.topics = {
            name: names.topic_path(pubsub.project_id, names.topic_id(config.namespace, name))
            for name in self.queues
        }
        self.clients = Clients(pubsub)
        self.publisher = Publisher(self.clients)
        self.heart = Heart(self._renew, every=config.lease / 4)
        self.tokens = TokenVerifier(config.push_auth) if config.push_auth else None

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """The signing key, then those of older secrets that messages may still carry."""
        return tuple(derive_key(str(key)) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))

    @cached_property
    def patience(self) -> float:
        """Seconds a finished try may wait for its database to write its end.

        Well below the lease, but for SQLite: there a writer may have to wait for another's long transaction,
        with the heart beating on beside it.
        """
        lease = self.config.lease.total_seconds()
        return 10 * lease if connection().vendor == "sqlite" else lease / 3

    @property
    def worker_name(self) -> str:
        return f"{socket.gethostname()}:{os.getpid()}"[:100]

    def queue(self, queue_name: str) -> AnyQueue:
        """The queue of that name.

        Raises:
            UnknownQueue: the settings list no such queue.
        """
        try:
            return self.queues[queue_name]
        except KeyError:
            raise UnknownQueue(queue_name, self.queues) from None

    def _renew(self, claims: Any) -> set[int]:
        try:
            return store.heartbeat(claims, self.config.lease)
        finally:
            give_back_pooled_connections()


_lock = threading.Lock()
_current: Runtime | None = None


def runtime() -> Runtime:
    """This process's runtime, made at the first call.

    Raises:
        ImproperlyConfigured: names every wrong setting and what to write instead.
    """
    global _current  # noqa: PLW0603 - one composition root a process
    if _current is None:
        with _lock:
            if _current is None:
                _current = _make()
    return _current


def problems() -> list[Problem]:
    """Everything wrong with this project's settings of ours."""
    found = pubsub_problems(getattr(settings, "PUBSUB_CONFIG", None))
    config = getattr(settings, "I3TASKS", None)
    if isinstance(config, I3TasksSettings):
        wrong = settings_problems(config) or signer_problems(config.push_auth, is_emulator=_is_emulator())
        # Queues and schedules must be readable before one can look into the schedules.
        return found + (wrong or schedule_problems(config.schedules, [q.queue_name for q in config.queues]))
    missing = Problem(
        code="E009",
        field="I3TASKS",
        message="is missing" if config is None else f"is {config!r}",
        hint='write I3TASKS = I3TasksSettings(namespace="tasks.shop", default_queue=PushQueue(…)), '
        "imported from i3tasks_django.types",
    )
    return [*found, missing]


def _is_emulator() -> bool:
    pubsub = getattr(settings, "PUBSUB_CONFIG", None)
    return isinstance(pubsub, Mapping) and pubsub.get("EMULATOR") is True


def _make() -> Runtime:
    if found := problems():
        raise ImproperlyConfigured("; ".join(map(str, found)))
    config = settings.I3TASKS
    return Runtime(config, PubSubConfig.of(settings.PUBSUB_CONFIG, config.push_auth))


def _forget(*, setting: str, **_: Any) -> None:
    global _current  # noqa: PLW0603
    if setting in _SETTINGS:
        _current = None


setting_changed.connect(_forget)

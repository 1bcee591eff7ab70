from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings

import databases
import processes
from i3tasks_core.config import PubSubConfig
from i3tasks_django.publishing import declare
from i3tasks_django.runtime import Runtime
from i3tasks_django.types import PushQueue


@pytest.fixture
def make_stack(
    database: databases.Database, override: Callable[..., Runtime]
) -> Iterator[Callable[..., processes.Stack]]:
    """Makes the services of this test; the test's own process gets their settings too."""
    with ExitStack() as exits:

        def make(**options: Any) -> processes.Stack:
            services = exits.enter_context(processes.stack(database, **options))
            push = PushQueue("default", "default", services.push_endpoint)
            override(I3TASKS=replace(settings.I3TASKS, default_queue=push))
            return services

        yield make


@pytest.fixture
def services(make_stack: Callable[..., processes.Stack], pubsub: PubSubConfig) -> processes.Stack:
    """On every database and every Pub/Sub."""
    made = make_stack()
    declare()
    return made


@pytest.fixture
def embedded_services(
    make_stack: Callable[..., processes.Stack], embedded_pubsub: PubSubConfig
) -> processes.Stack:
    """On every database, with the embedded Pub/Sub."""
    made = make_stack()
    declare()
    return made

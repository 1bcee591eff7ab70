"""Tasks that misbehave end as failed or lost after the allowed tries, and the next one is not touched."""

from __future__ import annotations

import signal
from typing import Any

import pytest

import messages
import processes
from i3tasks_django import ChainHandle
from i3tasks_django.models import TaskExecutionTry
from processes import wait_until
from project import tasks
from project.misbehaving import (
    DEEDS,
    ERRORS,
    LEFTOVERS,
    LEFTOVERS_OF_A_FILE,
    LEFTOVERS_OF_A_SESSION,
    RESULTS,
    do,
    give_back,
    leave_a_thread_that_must_be_waited_for,
    leave_behind,
    look,
    raise_what,
)

PATIENCE = 60.0
WAYS = [(database, mode) for database in ("postgresql", "sqlite") for mode in ("pull", "push")]


def once(database: str, mode: str) -> pytest.MarkDecorator:
    """That way always, and the others on request."""
    ways = [
        pytest.param(*way, marks=[] if way == (database, mode) else pytest.mark.chaos, id="-".join(way))
        for way in WAYS
    ]
    return pytest.mark.parametrize(("database", "mode"), ways, indirect=True)


SURVIVED = ("exits", "recurses without end", "asks for too much memory")
DEADLY = [name for name in DEEDS if name not in SURVIVED]


class Serving:
    """One process that runs tasks in one thread, and a beat; who has died is replaced."""

    def __init__(self, services: processes.Stack, mode: str) -> None:
        self._services, self._mode = services, mode
        services.beat()
        self._runner = self._start()

    def call(self, task: Any, *args: Any) -> ChainHandle:
        queue_name = "default" if self._mode == "push" else "heavy"
        handle: ChainHandle = task.using(queue_name=queue_name).delay(*args)
        return handle

    def until_ended(self, *handles: ChainHandle) -> None:
        def have_ended() -> bool:
            if not self._runner.is_alive():
                self._runner = self._start()
            return all(handle.refresh().state != "pending" for handle in handles)

        wait_until(have_ended, PATIENCE, "everything ends")

    def is_the_same(self) -> bool:
        """Whether no process has died so far."""
        workers = {attempt.worker for attempt in TaskExecutionTry.objects.exclude(worker="")}
        return len(workers) == 1

    def exit_code_of_sigterm(self) -> int:
        self._runner.signal(signal.SIGTERM)
        return self._runner.exit_code(20)

    def _start(self) -> processes.Process:
        if self._mode == "push":
            return self._services.receiver(I3TASKS_THREADS="1")
        return self._services.worker(I3TASKS_CONCURRENCY="1")


@pytest.fixture
def lease() -> float:
    """Long enough for whoever has 100 MB in hand and no processor to himself."""
    return 5.0


@pytest.fixture
def serving(two_ways: processes.Stack, mode: str) -> Serving:
    return Serving(two_ways, mode)


@once("sqlite", "push")
def test_whatever_a_task_gives_back_or_raises_it_fails_and_its_process_goes_on(serving):
    results = {name: serving.call(give_back, name) for name in RESULTS}
    errors = {name: serving.call(raise_what, name) for name in ERRORS}
    deeds = {name: serving.call(do, name) for name in SURVIVED}
    serving.until_ended(*results.values(), *errors.values(), *deeds.values())

    for name, handle in results.items():
        assert messages.states(handle) == ["failed"], f"{name}: to run it again would not help"
    for name, handle in (errors | deeds).items():
        # Of what cannot even be looked at nobody can say whether a second try would help.
        allowed = 1 if name == "no class" else 2
        assert messages.states(handle) == ["failed"] * allowed, name
    for handle in (results | errors | deeds).values():
        assert all(attempt.error_class and attempt.traceback for attempt in messages.tries(handle))
    serving.until_ended(last := serving.call(tasks.add, 1, 2))
    assert last.result(timeout=0) == 3
    assert serving.is_the_same()


def each_is_lost(serving: Serving, names: list[str]) -> None:
    for name in names:
        handle = serving.call(do, name)
        serving.until_ended(handle)
        assert messages.states(handle) == ["lost"] * 2, name
        serving.until_ended(last := serving.call(tasks.add, 1, 2))
        assert last.result(timeout=0) == 3


@once("postgresql", "pull")
def test_a_task_that_ends_its_process_is_lost_as_often_as_it_is_allowed(serving):
    each_is_lost(serving, ["ends the process"])


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_task_that_ends_its_process_in_whatever_way_is_lost(serving):
    each_is_lost(serving, DEADLY)


def leftovers(vendor: str) -> list[str]:
    return [*LEFTOVERS, *(LEFTOVERS_OF_A_SESSION if vendor == "postgresql" else LEFTOVERS_OF_A_FILE)]


def look_with(serving: Serving, name: str) -> Any:
    handle = serving.call(look, name)
    serving.until_ended(handle)
    return handle.result(timeout=0)


@once("postgresql", "pull")
def test_what_a_task_leaves_behind_does_not_reach_the_next_one(serving, database):
    before = look_with(serving, "before")
    found: dict[str, Any] = {}
    for name in leftovers(database.vendor):
        handle = serving.call(leave_behind, name)
        serving.until_ended(handle)
        assert handle.state == "success" or name == "a broken block", messages.tries(handle)[0].error_message
        try:
            found[name] = look_with(serving, name)
        except Exception as error:
            found[name] = error
    assert found == dict.fromkeys(found, before)


@once("sqlite", "pull")
def test_a_thread_that_a_task_leaves_behind_does_not_keep_its_process(serving):
    serving.until_ended(serving.call(leave_a_thread_that_must_be_waited_for))

    assert serving.exit_code_of_sigterm() == 0

"""Two want the same rows at once: the second waits or passes by, then does what it would do afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from chaos import any_seed, seeded
from django.db import connections
from duels import DUELS, Duel, told
from test_then_around_the_end import race

import databases
from concurrency import at_once
from i3tasks_core.pubsub.publisher import Publisher
from i3tasks_django.store.database import connection

HOLD = 0.5
"""Seconds for which the first one has the rows before its COMMIT."""


@pytest.fixture(autouse=True)
def pubsub_that_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publisher, "publish", lambda *_given: None)


class Held:
    """A verb whose COMMIT waits until the other one is done, or for half a second.

    Attributes:
        has_rows: set when everything is written.
        other_is_done: to be set when it is.
        was_passed_by: whether the other one was done before the COMMIT.
    """

    def __init__(self) -> None:
        self.has_rows, self.other_is_done = threading.Event(), threading.Event()
        self.was_passed_by = False

    def run(self, action: Callable[[], Any]) -> Any:
        current: Any = connection()  # this thread's
        commit, is_first = current._commit, iter([True])

        def hold() -> None:
            if next(is_first, False):
                self.has_rows.set()
                self.was_passed_by = self.other_is_done.wait(HOLD)
            commit()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(current, "_commit", hold)
            return action()

    def afterwards(self, action: Callable[[], Any]) -> Any:
        assert self.has_rows.wait(10)
        try:
            return action()
        finally:
            self.other_is_done.set()


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("name", DUELS)
def test_whoever_comes_second_does_not_disturb_who_has_the_rows(name):
    duel = DUELS[name]
    alone, both = (_one_after_the_other(duel, second=second) for second in (False, True))
    assert (both != alone) is duel.goes_on

    given, held = _prepared(duel), Held()
    at_once(lambda: held.run(lambda: duel.first(given)), lambda: held.afterwards(lambda: duel.second(given)))

    assert held.was_passed_by is duel.passes_by
    assert told() == (both if duel.goes_on and not duel.passes_by else alone)


@pytest.mark.usefixtures("either_database")
@pytest.mark.parametrize("name", DUELS)
def test_whoever_is_faster_it_ends_as_if_they_came_one_after_the_other(name):
    race_often(name, any_seed(), 2)


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("name", DUELS)
@pytest.mark.parametrize("seed", [1, 22, 333, any_seed()], ids=["1", "22", "333", "fresh"])
def test_of_two_hundred_races_each_ends_as_if_they_came_one_after_the_other(seed, name):
    race_often(name, seed, 50)


def race_often(name: str, seed: int, rounds: int) -> None:
    duel = DUELS[name]
    possible = [_one_after_the_other(duel, second=True), _one_after_the_other(duel, second=False)]
    turned = Duel(duel.prepare, duel.second, duel.first)
    possible += [_one_after_the_other(turned, second=True), _one_after_the_other(turned, second=False)]

    seen: set[int] = set()
    with seeded(seed) as dice, race(dice, count=2) as threads:
        for _ in range(rounds):
            given = _prepared(duel)
            actions = [lambda given=given: duel.first(given), lambda given=given: duel.second(given)]
            threads.run(*actions)
            found = told()
            assert found in possible
            seen.add(possible.index(found))
    print(f"{name}, {connection().vendor}: seed {seed}: {rounds} times, {len(seen)} different ends")


def _prepared(duel: Duel) -> SimpleNamespace:
    databases.clear()
    return duel.prepare()


def _one_after_the_other(duel: Duel, *, second: bool) -> list[Any]:
    given = _prepared(duel)
    duel.first(given)
    if second:
        duel.second(given)
    connections["default"].close()
    return told()

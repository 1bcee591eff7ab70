"""Every statement of the store fails once before it took effect and once after, COMMIT included.

In process, so that all of them are tried in the normal suite: each act is repeated with another of its
statements broken each time, until none is left to break.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import invariants
import pytest
from acts import ACTS, Act, bring_to_an_end
from breaking import Breaking, Fault
from django.db import Error, close_old_connections
from oracle import Oracle

import databases
from i3tasks_core.pubsub.publisher import Publisher


@pytest.fixture(autouse=True)
def pubsub_that_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens behind it: the test delivers by itself."""
    monkeypatch.setattr(Publisher, "publish", lambda *_given: None)
    monkeypatch.setattr(Publisher, "open", lambda _self: None)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes again comes at once: our database has nothing to recover from."""
    for module in ("tenacity.nap", "project.fault_tasks"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(sleep=lambda _seconds: None))


FAULTS = [
    ("postgresql", "refused"),
    ("postgresql", "cut after"),
    ("sqlite", "cut after"),
    # What adds little: before its COMMIT a transaction is undone wherever it was cut off.
    pytest.param("postgresql", "cut before", marks=pytest.mark.chaos),
    pytest.param("sqlite", "refused", marks=pytest.mark.chaos),
    pytest.param("sqlite", "cut before", marks=pytest.mark.chaos),
]


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize(("database", "moment"), FAULTS, indirect=["database"])
def test_whichever_statement_fails_nothing_is_lost_and_nothing_comes_twice(
    name, moment, database, i3tasks, tmp_path
):
    i3tasks(run_queue_create_command_on_startup=False)
    broken = list(break_each(ACTS[name], moment, tmp_path))
    print(f"{name}, {database.vendor}: {len(broken)} statements {moment}")
    assert broken


def break_each(act: Act, moment: str, folder: Path) -> Iterator[str]:
    """One statement after the other, on rows of their own; the statements that were broken."""
    number = 0
    while (broken := try_with(act, Fault(number=number, moment=moment), folder)) is not None:
        yield broken
        number += 1


def try_with(act: Act, fault: Fault, folder: Path) -> str | None:
    databases.clear()
    oracle = Oracle(folder / f"{fault}")
    oracle.path.touch()
    given = act.prepare(str(oracle.path))
    breaking, is_done = Breaking(fault), False
    try:
        with breaking.at_work():
            act.run(given)
            is_done = True
    except Error:
        assert breaking.broken is not None
        close_old_connections()  # as Django does before every request
    try:
        bring_to_an_end()
        act.check(given, is_done)
        if act.is_traced:
            invariants.check(invariants.Rows(), oracle.read(), most_lost=0, may_fail=True)
    except BaseException as error:
        error.add_note(f"{fault}: {breaking.broken}")
        raise
    return breaking.broken

"""The tables of states are closed: every step leads to a state that has a row of its own."""

from __future__ import annotations

import pytest

from i3tasks_core.states import (
    EXECUTION_TRANSITIONS,
    TRY_TRANSITIONS,
    UNFINISHED,
    ExecutionState,
    TryState,
)

TABLES = [(TryState, TRY_TRANSITIONS), (ExecutionState, EXECUTION_TRANSITIONS)]


def reachable(table, start):
    seen, todo = set(), [start]
    while todo:
        state = todo.pop()
        if state not in seen:
            seen.add(state)
            todo.extend(table[state])
    return seen


@pytest.mark.parametrize(("states", "table"), TABLES)
def test_every_state_has_a_row(states, table):
    assert set(table) == set(states)


@pytest.mark.parametrize(("states", "table"), TABLES)
def test_every_step_leads_to_a_known_state_and_none_to_itself(states, table):
    for state, following in table.items():
        assert following <= set(states)
        assert state not in following


@pytest.mark.parametrize(("states", "table"), TABLES)
def test_every_state_can_be_reached_from_pending(states, table):
    assert reachable(table, states.PENDING) == set(states)


def test_a_try_that_has_ended_stays_as_it_is():
    for state in set(TryState) - UNFINISHED:
        assert TRY_TRANSITIONS[state] == frozenset()


def test_unfinished_are_just_the_states_with_a_way_out():
    assert {state for state, following in TRY_TRANSITIONS.items() if following} == UNFINISHED


def test_only_a_running_try_succeeds_fails_or_is_lost():
    for ending in (TryState.SUCCESS, TryState.FAILED, TryState.LOST):
        assert [state for state in TryState if ending in TRY_TRANSITIONS[state]] == [TryState.RUNNING]


def test_a_success_is_never_taken_back():
    assert EXECUTION_TRANSITIONS[ExecutionState.SUCCESS] == frozenset()


def test_the_words_are_the_ones_in_the_database():
    assert [str(state) for state in TryState] == [
        "pending", "running", "success", "failed", "lost", "cancelled",
    ]  # fmt: skip
    assert [str(state) for state in ExecutionState] == ["pending", "success", "failed", "cancelled"]
    assert all(len(state) <= 16 for state in [*TryState, *ExecutionState])

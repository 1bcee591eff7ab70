"""The heart renews what is held, all of it in one go, and forgets what is not."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection
from datetime import timedelta

import pytest
from core_values import make_claim

from i3tasks_core.claim import Claim
from i3tasks_core.lease import Heart
from waiting import wait_until

QUICK = timedelta(milliseconds=5)
NEVER = timedelta(days=1)


class Store:
    """Says which leases are still ours, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[Claim]] = []
        self.lost: set[int] = set()
        self.error: BaseException | None = None

    def renew(self, claims: Collection[Claim]) -> set[int]:
        self.asked.append(list(claims))
        if self.error is not None:
            raise self.error
        return {claim.try_id for claim in claims} - self.lost

    def ids(self) -> list[list[int]]:
        return [sorted(claim.try_id for claim in claims) for claims in self.asked]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def heart(store: Store) -> Heart:
    """One that beats only when the test says so."""
    return Heart(store.renew, NEVER)


def test_making_one_starts_nothing(store):
    before = threading.active_count()
    Heart(store.renew, QUICK)

    assert threading.active_count() == before


def test_everything_held_is_renewed_in_one_call(heart, store):
    heart.hold([make_claim(try_id=1), make_claim(try_id=2)])
    heart.hold([make_claim(try_id=3)])
    heart._beat()

    assert store.ids() == [[1, 2, 3]]


def test_with_nothing_held_nobody_is_asked(heart, store):
    heart.hold([])
    heart._beat()

    assert store.asked == []


def test_what_was_dropped_is_not_renewed(heart, store):
    first, second = make_claim(try_id=1), make_claim(try_id=2)
    heart.hold([first, second])
    heart.drop([first])
    heart._beat()

    assert store.ids() == [[2]]


def test_dropping_what_is_not_held_does_no_harm(heart, store):
    heart.drop([make_claim(try_id=9)])
    heart._beat()

    assert store.asked == []


def test_a_claim_is_held_while_its_block_runs_and_no_longer(heart, store):
    with heart.holding(make_claim(try_id=1)):
        heart._beat()
    heart._beat()

    assert store.ids() == [[1]]


def test_a_claim_is_dropped_when_its_block_fails(heart, store):
    with pytest.raises(ValueError), heart.holding(make_claim(try_id=1)):
        raise ValueError
    heart._beat()

    assert store.asked == []


def test_a_lost_lease_is_reported_once_and_not_renewed_again(heart, store, caplog):
    store.lost = {1}
    heart.hold([make_claim(try_id=1), make_claim(try_id=2)])
    with caplog.at_level(logging.ERROR, "i3tasks"):
        heart._beat()
        heart._beat()

    assert store.ids() == [[1, 2], [2]]
    assert [record.fields["try_id"] for record in caplog.records if record.event == "lease_lost"] == [1]


def test_an_error_of_renew_loses_nothing(heart, store, caplog):
    store.error = ConnectionError("the database is away")
    heart.hold([make_claim(try_id=1)])
    with caplog.at_level(logging.ERROR, "i3tasks"):
        heart._beat()
    store.error = None
    heart._beat()

    assert store.ids() == [[1], [1]]
    assert [record.event for record in caplog.records] == ["heartbeat_failed"]


def test_dropping_an_older_claim_of_a_try_keeps_the_newer_one(heart, store):
    older, newer = make_claim(try_id=1, fence=1), make_claim(try_id=1, fence=2)
    heart.hold([older])
    heart.hold([newer])
    heart.drop([older])
    heart._beat()

    assert store.asked == [[newer]]


def test_a_try_claimed_anew_during_the_beat_is_not_taken_for_lost(store):
    newer = make_claim(try_id=1, fence=2)

    def renew(claims):
        if claims[0].fence == 1:
            heart.hold([newer])  # released and claimed again while the statement ran
            return set()
        return store.renew(claims)

    heart = Heart(renew, NEVER)
    heart.hold([make_claim(try_id=1, fence=1)])
    heart._beat()
    heart._beat()

    assert store.asked == [[newer]]


def test_a_claim_dropped_during_the_beat_is_not_reported_as_lost(store, caplog):
    claim = make_claim(try_id=1)

    def renew(_claims):
        heart.drop([claim])  # it has just been settled, so its row is not running any more
        return set()

    heart = Heart(renew, NEVER)
    heart.hold([claim])
    with caplog.at_level(logging.ERROR, "i3tasks"):
        heart._beat()

    assert not caplog.records


# --- the thread


def test_it_beats_by_itself_again_and_again(store):
    heart = Heart(store.renew, QUICK)
    with heart.holding(make_claim(try_id=1)):
        wait_until(lambda: len(store.asked) >= 3)
    assert store.ids()[:3] == [[1]] * 3


def test_its_thread_survives_an_error_of_renew(store):
    store.error = ValueError("a bug")
    heart = Heart(store.renew, QUICK)
    with heart.holding(make_claim(try_id=1)):
        wait_until(lambda: len(store.asked) >= 2)
        store.error = None
        seen = len(store.asked)
        wait_until(lambda: len(store.asked) > seen + 1)


def test_one_thread_serves_all_claims(store):
    names = lambda: [thread.name for thread in threading.enumerate()].count("i3tasks-heart")  # noqa: E731
    before = names()
    heart = Heart(store.renew, NEVER)
    for number in range(5):
        heart.hold([make_claim(try_id=number)])

    assert names() == before + 1


def test_after_a_fork_the_child_renews_its_own_claims_and_not_the_parents(store):
    heart = Heart(store.renew, QUICK)
    heart.hold([make_claim(try_id=1)])
    wait_until(lambda: store.asked)
    child = os.fork()
    if child == 0:  # no pytest in here: whatever happens, leave by _exit
        try:
            store.asked.clear()
            heart.hold([make_claim(try_id=2)])
            wait_until(lambda: len(store.asked) >= 2)
            os._exit(42 if store.ids()[:2] == [[2], [2]] else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 42
    heart.drop([make_claim(try_id=1)])

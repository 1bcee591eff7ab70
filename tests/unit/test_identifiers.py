"""UUID version 7, after RFC 9562 §5.7."""

from __future__ import annotations

import os
import random
import time
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from i3tasks_core import identifiers
from i3tasks_core.identifiers import uuid7, uuid7_at


def at(monkeypatch, milliseconds, random=0, nanoseconds=0):
    monkeypatch.setattr(identifiers.time, "time_ns", lambda: milliseconds * 1_000_000 + nanoseconds)
    monkeypatch.setattr(identifiers._dice, "getrandbits", lambda count: random & (1 << count) - 1)
    return uuid7()


def test_it_carries_version_and_variant():
    for _ in range(200):
        made = uuid7()
        assert made.version == 7
        assert made.variant == uuid.RFC_4122


def test_its_first_48_bits_are_unix_milliseconds():
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000

    assert before <= made.int >> 80 <= after


def test_the_layout_is_that_of_the_rfc_example(monkeypatch):
    # RFC 9562, appendix A.6: 2022-02-22T19:22:22Z, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F
    random = 0x18C4DC0C0C07398F
    fraction = -(-0xCC3 * 1_000_000 // 4096)  # the first nanosecond that gives this rand_a

    made = at(monkeypatch, 0x017F22E279B0, random, nanoseconds=fraction)

    assert made == uuid.UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


@pytest.mark.parametrize("random", [0, 2**64 - 1])
@pytest.mark.parametrize("nanoseconds", [0, 999_999])
def test_all_other_bits_touch_neither_time_nor_version_nor_variant(monkeypatch, random, nanoseconds):
    made = at(monkeypatch, 1_700_000_000_000, random, nanoseconds)

    assert made.int >> 80 == 1_700_000_000_000
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_62_bits_are_random(monkeypatch):
    differing = at(monkeypatch, 1, 0).int ^ at(monkeypatch, 1, 2**64 - 1).int

    assert differing.bit_count() == 62


@pytest.mark.parametrize("later_by", [1_000_000, 245])
def test_a_later_one_sorts_later_whatever_the_dice(monkeypatch, later_by):
    earlier = at(monkeypatch, 1_700_000_000_000, 2**64 - 1)
    later = at(monkeypatch, 1_700_000_000_000, 0, later_by)

    assert earlier < later
    assert str(earlier) < str(later)
    assert earlier.bytes < later.bytes


def test_ten_thousand_are_all_different():
    assert len({uuid7() for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize("microsecond", [0, 1, 245, 999, 1_000, 123_456, 999_999])
def test_the_smallest_of_a_moment_parts_the_earlier_from_the_later(monkeypatch, microsecond):
    moment = datetime(2026, 5, 4, 3, 2, 1, microsecond, tzinfo=UTC)
    since_1970 = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    bound = uuid7_at(moment)
    before = at(monkeypatch, 0, 2**64 - 1, (since_1970 - 1) * 1_000)
    after = at(monkeypatch, 0, 0, since_1970 * 1_000)

    assert before < bound <= after
    assert before.hex < bound.hex <= after.hex
    assert (bound.version, bound.variant) == (7, uuid.RFC_4122)


def test_the_smallest_of_a_moment_is_the_same_in_every_time_zone():
    moment = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)

    assert uuid7_at(moment) == uuid7_at(moment.astimezone(timezone(timedelta(hours=-9))))


def test_no_id_is_smaller_than_that_of_a_moment_before_1970():
    assert uuid7_at(datetime(1, 1, 1, tzinfo=UTC)) == uuid7_at(datetime(1970, 1, 1, tzinfo=UTC))
    assert uuid7_at(datetime(1, 1, 1, tzinfo=UTC)) < uuid7()


def test_nobody_elses_seed_repeats_an_id(monkeypatch):
    monkeypatch.setattr(identifiers.time, "time_ns", lambda: 1)
    random.seed(1)
    first = uuid7()
    random.seed(1)

    assert uuid7() != first


def test_a_forked_child_throws_dice_of_its_own(monkeypatch):
    monkeypatch.setattr(identifiers.time, "time_ns", lambda: 1)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, uuid7().bytes)
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reader, 16) != uuid7().bytes

"""The protocol as a state machine over the real code: no order of calls, crashes and repairs breaks it."""

from __future__ import annotations

from collections.abc import Callable

import machine
import pytest
from chaos import any_seed, seeded
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from i3tasks_core.lease import Heart
from i3tasks_core.pubsub.publisher import Publisher
from i3tasks_django.runtime import Runtime

pytestmark = pytest.mark.usefixtures("database")

QUICK = settings(
    max_examples=25,
    stateful_step_count=50,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],  # to explain a failure it would trace every line, failing or not
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=100, stateful_step_count=100)


@pytest.fixture(autouse=True)
def _driven_by_hand(
    i3tasks: Callable[..., Runtime], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No thread does anything by itself, and what hundreds of failing calls log is not kept."""
    i3tasks(run_queue_create_command_on_startup=False)
    monkeypatch.setattr(Publisher, "open", lambda _publisher: None)
    monkeypatch.setattr(Publisher, "publish", lambda _publisher, _topic, rung: machine.broker.take(rung))
    monkeypatch.setattr(Heart, "hold", lambda _heart, _claims: None)
    caplog.set_level("CRITICAL", logger="i3tasks")


@pytest.mark.timeout(900)  # a failure is made small first, which may take minutes
def test_every_order_of_steps_keeps_the_invariants():
    play(5, QUICK)


@pytest.mark.chaos
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("dice", [1, 2, 3, None])
def test_very_many_orders_of_steps_keep_the_invariants(dice):
    play(any_seed() if dice is None else dice, LONG)


def play(dice: int, how: settings) -> None:
    with seeded(dice):
        run_state_machine_as_test(seed(dice)(type("Seeded", (machine.Machine,), {})), settings=how)

"""The README's page on chains and groups is run as it stands, and does what it says."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

import messages
from i3tasks_django.models import TaskExecution

sys.path.insert(0, str(Path(__file__).parents[1] / "workspace"))
import readme

pytestmark = pytest.mark.usefixtures("database", "silent_pubsub")


@pytest.fixture(scope="module")
def shop() -> ModuleType:
    """The page's tasks, in a module as a worker would import it."""
    module = ModuleType("readme_tasks")
    sys.modules[module.__name__] = module
    exec(readme.block("composition tasks"), module.__dict__)
    return module


def run(shop, number):
    """Run one block of the page and everything that it calls; what was called, without ids."""
    exec(readme.blocks("composition")[number], dict(shop.__dict__))
    messages.deliver_all()
    return messages.called()


def test_then_and_on_success(shop):
    assert run(shop, 0) == [
        "charge success 70",
        "charge_and_tell success 70",
        "receipt success '70 paid for order 7'",
        "receipt success '70 paid for order 7'",
    ]


def test_a_chain_with_a_group(shop):
    packed = ["book packed", "lamp packed"]
    assert run(shop, 1) == [
        "charge success 70",
        *(f"pack success {text!r}" for text in packed),
        f"ship success {packed}",
    ]


def test_a_chain_that_fails_is_heard(shop):
    text = readme.blocks("composition")[1].replace("charge.s(7)", "charge.using().s(13)")
    exec(text, dict(shop.__dict__))
    messages.deliver_all()

    assert messages.called() == ["charge failed", "apologise success 'sorry: no cover'"]


def test_a_group_of_members_called_one_by_one_and_one_dispatched(shop):
    packed = ["book packed", "lamp packed", "chair packed"]
    called = run(shop, 2)

    assert called.count(f"ship success {packed}") == 2
    assert len(called) == 8


def test_very_many_calls(shop):
    exec(readme.blocks("composition")[3], dict(shop.__dict__))

    assert TaskExecution.objects.count() == 2_500
    assert len(readme.blocks("composition")) == 4

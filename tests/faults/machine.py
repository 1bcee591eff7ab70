"""The real code, one step at a time, in any order that Hypothesis thinks of, with a clock of its own.

The broker is a list. A worker is what it holds in its hands: claims that it has not run, and ends that it has
not written. A crash empties a hand; who just waits is a worker that was stopped and comes back.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Any, TypeVar

from django.db import transaction
from django.db.models.functions import Now
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from list_broker import Broker
from named_calls import runs
from plans import Leaf, Node, Plan, leaves, trees, value_of
from virtual_time import VirtualTime
from watch import Look, Watch

import databases
import messages
from i3tasks_core.claim import Claim
from i3tasks_core.envelope import Envelope
from i3tasks_core.finish import Finish
from i3tasks_core.schedule import Cron
from i3tasks_django import ChainHandle, store
from i3tasks_django.delivery import Delivery, Verdict
from i3tasks_django.maintenance import relay, rescue_lost
from i3tasks_django.models import TaskExecutionTry, TaskGroup, TaskSchedule, TaskScheduleTick
from i3tasks_django.runtime import runtime
from i3tasks_django.scheduling import fire_due

T = TypeVar("T")

any_of_them = st.integers(0, 63)
batches = st.lists(any_of_them, min_size=1, max_size=4)
yes_or_no = st.booleans()
MOST_TICKS = 5  # there is more to see than these
WHAT_NEXT = ["hold", "run", "release", "release by mistake"]
broker = Broker()  # of the machine that is running


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        databases.clear()
        runs.clear()
        global broker  # noqa: PLW0603 - the publisher that tests replace belongs to the process too
        broker = Broker()
        self.clock = VirtualTime()
        self.watch = Watch()
        self.claims: list[Claim] = []
        self.ran: list[Finish] = []
        self._names = count(1)
        self._claimed: set[tuple[int, int]] = set()
        self._born: dict[str, float] = {}
        self._at = self.clock.now()
        self._seen = Look()
        self._is_idle = False

    @initialize(misfire=st.sampled_from(["latest", "all", "skip"]), first=trees, second=trees)
    def begin(self, misfire: str, first: Any, second: Any) -> None:
        """The schedule's tick is half a day away, so that none falls due while the test runs."""
        self.watch.plans += [self._dispatched(first), self._dispatched(second)]
        now = store.database_now()
        self._cron = f"0 {(now.hour + 12) % 24} * * *"
        TaskSchedule.objects.create(
            key="daily", task_path="named_calls", task_name="tick", task_args=["daily"], cron=self._cron,
            timezone="UTC", misfire=misfire, next_run_at=Cron(self._cron, "UTC").following(now),
        )  # fmt: skip

    # Calls

    @rule(tree=trees, undone=st.none() | trees, is_kept=st.sampled_from([True, True, True, False]))
    def call(self, tree: Any, undone: Any, is_kept: bool) -> None:
        """In a transaction that commits or is rolled back, perhaps beside a savepoint that is."""
        with transaction.atomic():
            plan = self._dispatched(tree)
            with transaction.atomic():
                if undone is not None:
                    self._dispatched(undone)
                transaction.set_rollback(True)
            transaction.set_rollback(not is_kept)
        if is_kept:
            self.watch.plans.append(plan)

    @rule(leaf=leaves, how_many=st.integers(1, 3))
    def call_many(self, leaf: Leaf, how_many: int) -> None:
        plans = [Plan(leaf, self._names) for _ in range(how_many)]
        task: Any = value_of(plans[0].root)
        task.task.delay_many((plan.root.label, leaf.failures) for plan in plans)
        self.watch.plans += plans

    @rule(which=any_of_them, leaf=leaves)
    def then(self, which: int, leaf: Leaf) -> None:
        if self._lacks(self._with_handles()):
            return
        (plan,) = _some(self._with_handles(), [which])
        node = Node(label=f"call {next(self._names)}", leaf=leaf)
        state = plan.state(self._seen.states)
        handle = _again(plan.handle).then(value_of(node))
        assert bool(handle.refused) is (plan.is_cancelled or state not in ("pending", "success"))
        if not handle.refused:
            plan.add(node)

    @rule(which=any_of_them)
    def cancel(self, which: int) -> None:
        if self._lacks(self._with_handles()):
            return
        (plan,) = _some(self._with_handles(), [which])
        states = {label: state for label, state in self._seen.states.items() if label in plan.labels()}
        done = _again(plan.handle).cancel()
        still_open = {label for label, state in states.items() if state == "pending"}
        assert {self._seen.names[pk] for pk in (*done.cancelled, *done.running)} == still_open
        if still_open:
            plan.is_cancelled = True
            self.watch.stopped |= {label: len(self._seen.tries[label]) for label in states}

    # The broker and its subscribers

    @rule(places=batches, is_acknowledged=yes_or_no, what=st.sampled_from(WHAT_NEXT))
    def pull(self, places: list[int], is_acknowledged: bool, what: str) -> None:
        """Many messages are claimed together; unless they are acknowledged they will come again."""
        if self._lacks(broker.messages):
            return
        asked = _some(broker.messages, places)
        admission = Delivery(runtime()).admit(asked)
        assert set(admission.consumed) == {message.ack_id for message in asked}
        self._holds(admission.claims)
        if is_acknowledged:
            broker.forget(asked)
        if what == "run":
            self._run(admission.claims)
        elif what != "hold":
            self._release(admission.claims, is_mistaken=what == "release by mistake")

    @rule(place=any_of_them, is_acknowledged=yes_or_no)
    def push(self, place: int, is_acknowledged: bool) -> None:
        """One message is taken to its end."""
        if self._lacks(broker.messages):
            return
        asked = _some(broker.messages, [place])
        delivery = Delivery(runtime())
        before = len(runs)
        delivery.deliver(delivery.read(asked[0].data, asked[0].attributes))
        self._nothing_ran_early(before)
        if is_acknowledged:
            broker.forget(asked)

    @rule(places=batches, is_away=st.sampled_from([False, False, True]))
    def the_broker_falters(self, places: list[int], is_away: bool) -> None:
        """It loses messages, and may not answer for a while."""
        broker.is_away = is_away
        if broker.messages:
            broker.forget(_some(broker.messages, places[:2]))

    # Workers

    @rule(places=batches)
    def run(self, places: list[int]) -> None:
        if self._lacks(self.claims):
            return
        self._run(_some(self.claims, places))

    @rule(places=batches, is_answer_lost=yes_or_no)
    def settle(self, places: list[int], is_answer_lost: bool) -> None:
        if self._lacks(self.ran):
            return
        # Of two who ran one try, each is a worker of his own.
        finishes = list({finish.claim.try_id: finish for finish in _some(self.ran, places)}.values())
        held = [_is_held(finish.claim) for finish in finishes]
        for _ in range(
            2 if is_answer_lost else 1
        ):  # who does not know whether it was written writes it again
            verdicts = Delivery(runtime())._settle_free(finishes)
            assert [verdict is Verdict.SETTLED for verdict in verdicts] == held
        self.ran = [finish for finish in self.ran if finish not in finishes]

    @rule(which=any_of_them)
    def crash(self, which: int) -> None:
        """Before the run, or between it and its end."""
        if self._lacks(self.claims or self.ran):
            return
        which %= len(self.claims) + len(self.ran)
        if which < len(self.claims):
            del self.claims[which]
        else:
            del self.ran[which - len(self.claims)]

    @rule()
    def heartbeat(self) -> None:
        if self._lacks(self.claims or self.ran):
            return
        held = sorted([*self.claims, *(finish.claim for finish in self.ran)], key=lambda claim: claim.fence)
        newest = list({claim.try_id: claim for claim in held}.values())
        for of_one_worker in (newest, [claim for claim in held if claim not in newest]):
            kept = store.heartbeat(of_one_worker, runtime().config.lease)
            assert kept == {claim.try_id for claim in of_one_worker if _is_held(claim)}

    # Time and repair

    @rule(
        seconds=st.sampled_from([0, 1, 11, 61, 601]),
        is_rescuing=yes_or_no,
        is_relaying=st.sampled_from([True, True, False]),
    )
    def time_passes(self, seconds: int, is_rescuing: bool, is_relaying: bool) -> None:
        """With a beat that comes by, or falls over, or does half of its work."""
        self.clock.pass_by(seconds)
        if is_rescuing:
            rescue_lost()
        if is_relaying:
            relay()

    @rule(days=st.integers(0, 3), beats=st.integers(1, 2), is_edited=yes_or_no)
    def tick(self, days: int, beats: int, is_edited: bool) -> None:
        if self._lacks(range(TaskScheduleTick.objects.count(), MOST_TICKS)):
            return
        planned = TaskSchedule.objects.get()
        if is_edited:  # by two at once; and a beat was stopped over its plan
            assert store.edit(TaskSchedule.objects.get(), cron=self._cron)
            assert not store.edit(planned, cron="0 1 * * *")
            assert not store.move_on(planned, planned.next_run_at)
        self.clock.pass_days(days)
        before = TaskScheduleTick.objects.count()
        for _ in range(beats):
            fire_due()
        wanted = {"all": days, "latest": min(days, 1), "skip": 0}[planned.misfire]
        assert TaskScheduleTick.objects.count() - before == wanted

    @invariant()
    def everything_holds(self) -> None:
        if self._is_idle:
            self._is_idle = False
            return
        assert not broker.wrong
        self._seen = self.watch.check()
        for label in self._seen.states.keys() - self._born.keys():
            self._born[label] = self._at
        self._at = self.clock.now()

    def teardown(self) -> None:
        """I1: whatever happened, what is left comes to its end without further faults."""
        if sys.exc_info()[0] is not None:
            return  # something is wrong already: what came after it would only hide it
        broker.is_away = False
        for _ in range(60):
            if not TaskExecutionTry.objects.filter(state__in=["pending", "running"]).exists():
                break
            self._drain()
        self.watch.check_end()

    def _drain(self) -> None:
        """Every crash is over, every message is delivered, and two hours pass."""
        relay()
        delivery = Delivery(runtime())
        while broker.messages:
            asked, broker.messages = broker.messages, []
            admission = delivery.admit(asked)
            self._holds(admission.claims)
            self.claims.clear()
            before = len(runs)
            delivery.settle([ran for claim in admission.claims if (ran := delivery.run(claim))])
            self._nothing_ran_early(before)
            self.everything_holds()
        self.clock.pass_by(2 * 3600)
        rescue_lost()
        self.everything_holds()

    def _dispatched(self, tree: Any) -> Plan:
        plan = Plan(tree, self._names)
        plan.handle = value_of(plan.root).delay()
        return plan

    def _lacks(self, items: Sequence[Any]) -> bool:
        """Whether a step has nothing to work on.

        Not a precondition: what may be drawn must not depend on the real time that has passed meanwhile.
        """
        self._is_idle = not items
        return self._is_idle

    def _with_handles(self) -> list[Plan]:
        return [plan for plan in self.watch.plans if plan.handle]

    def _holds(self, claims: list[Claim]) -> None:
        early = TaskExecutionTry.objects.filter(
            pk__in=[claim.try_id for claim in claims], run_after__gt=Now()
        )
        assert not early.exists(), "a try was claimed before its time"
        for claim in claims:
            assert (claim.try_id, claim.fence) not in self._claimed, f"{claim} was claimed twice"
            self._claimed.add((claim.try_id, claim.fence))
            if claim.task_name != "tick":
                label = claim.args[0]
                assert label not in self.watch.stopped, f"{label} was cancelled and was claimed"
        self.claims += claims

    def _release(self, claims: list[Claim], *, is_mistaken: bool) -> None:
        """Who hands tries back, to somebody else, and runs them still is refused by the fence alone."""
        Delivery(runtime()).release(claims)
        if is_mistaken:
            bells = [messages.received(_bell_of(claim), str(claim.try_id)) for claim in claims]
            self._holds(Delivery(runtime()).admit(bells).claims)
            self._run(claims)
        else:
            self.claims = [claim for claim in self.claims if claim not in claims]

    def _run(self, claims: list[Claim]) -> None:
        for claim in claims:
            before = len(runs)
            finish = Delivery(runtime()).run(claim)
            assert len(runs) == before + 1 or claim.task_name == "tick"
            self._nothing_ran_early(before)
            self.claims.remove(claim)
            if finish is not None:
                self.ran.append(finish)

    def _nothing_ran_early(self, before: int) -> None:
        delays = {label: leaf.delay for plan in self.watch.plans for label, leaf in plan.leaves().items()}
        for run in runs[before:]:
            assert self.clock.now() >= self._born[run.label] + delays[run.label], f"{run} was early"
        claimed = dict(TaskExecutionTry.objects.values_list("pk", "fence"))
        for try_id, times in Counter(run.try_id for run in runs).items():
            assert times <= claimed[try_id], (
                f"try {try_id} was claimed {claimed[try_id]} times and run {times}"
            )


def _some(items: Sequence[T], places: Sequence[int]) -> list[T]:
    """Those at some places, of however many there are."""
    return [items[place] for place in sorted({place % len(items) for place in places})]


def _is_held(claim: Claim) -> bool:
    return TaskExecutionTry.objects.filter(pk=claim.try_id, state="running", fence=claim.fence).exists()


def _bell_of(claim: Claim) -> Envelope:
    return Envelope(try_id=claim.try_id, execution_id=claim.execution_id, queue_name=claim.queue_name)


def _again(handle: ChainHandle | TaskGroup | None) -> Any:
    """The same, as another process would hold it."""
    return ChainHandle(handle.id) if isinstance(handle, ChainHandle) else TaskGroup.objects.get(pk=handle.pk)

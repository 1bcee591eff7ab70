"""Two workers of four threads each and 24 tasks of a second: three turns, if nobody waits for another."""

from __future__ import annotations

import time

from benchmarks.sessions import Machine, Session

_TASKS = 24
_WORKER = ("i3tasks_worker", "--queue", "heavy", "--concurrency", "4")


def measure_fleet(ready: Session, _machine: Machine, is_quick: bool) -> dict[str, float]:
    tasks = 8 if is_quick else _TASKS
    ready.notes.clear()
    before = ready.finished()
    with ready.service(*_WORKER) as first, ready.service(*_WORKER):
        began_at = time.time()
        ready.call("one_by_one", count=tasks, function="sleep_a_second")
        ended_at = ready.wait_until_finished(first, tasks, before + tasks)
    return {f"seconds, {tasks} one-second tasks on two workers of four threads (aim: 4)": ended_at - began_at}

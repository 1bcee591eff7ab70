"""What is printed at the end."""

from __future__ import annotations

from collections.abc import Iterator

from i3tasks_django.models import TaskGroup
from i3tasks_examples.survey.measures import Measures


def lines(measures: Measures) -> Iterator[str]:
    """A survey in a few lines."""
    succeeded, failed = measures.succeeded_count, len(measures.failures)
    queues = ", ".join(f"{count} on {name!r}" for name, count in sorted(measures.tasks_by_queue.items()))
    yield f"  tasks         {measures.task_count}: {succeeded} succeeded, {failed} failed"
    yield f"  groups        {_groups(measures)}"
    yield f"  queues        {queues}"
    yield f"  tries         {len(measures.attempts)}"
    for error_class, count in sorted(measures.errors.items()):
        yield f"  failed tries  {count} × {error_class}{_fate(measures, error_class)}"
    for failure in measures.failures:
        yield f"  failed        {failure.subject}: {failure.error_class}: {failure.error_message}"
    for attempt in measures.retried:
        if attempt.is_last:
            yield f"  retried       {attempt.subject}: {attempt.state} at try {attempt.try_number}"
    yield f"  throughput    {measures.tasks_per_second:.0f} tasks/s over {measures.seconds:.1f} s"
    yield (
        f"  call → start  p50 {measures.wait_percentile(50):.2f} s, p99 {measures.wait_percentile(99):.2f} s "
        f"(all called at once: mostly standing in line); {measures.first_wait * 1000:.0f} ms for the first "
        "call, alone"
    )


def _groups(measures: Measures) -> str:
    succeeded = measures.groups.get(TaskGroup.STATUS_SUCCESS, 0)
    failed = measures.groups.get(TaskGroup.STATUS_FAILED, 0)
    return f"{sum(measures.groups.values())}: {succeeded} succeeded, {failed} failed"


def _fate(measures: Measures, error_class: str) -> str:
    final = sum(failure.error_class == error_class for failure in measures.failures)
    if final == measures.errors[error_class]:
        return ", not repeated"
    return ", followed by another try" if not final else f", {final} for good"

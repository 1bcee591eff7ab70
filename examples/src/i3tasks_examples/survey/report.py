"""The report of a survey: one HTML file that needs nothing else."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone

from i3tasks_examples.survey import library
from i3tasks_examples.survey.measures import Measures
from i3tasks_examples.survey.models import LibraryReport, ModuleReport, PackageReport, UnparsableFile

MOST_ROWS = 15
_BARS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What happened in one slice of time; heights in percent of the tallest bar."""

    label: str
    pushed: float
    pulled: float


def render(measures: Measures) -> str:
    """The whole report as HTML."""
    reports = ModuleReport.objects.all()
    return render_to_string(
        "survey/report.html",
        {
            "python": f"Python {platform.python_version()}",
            "machine": f"{platform.system()} {platform.machine()}",
            "made_at": timezone.now(),
            "left_out": ", ".join(library.LEFT_OUT),
            "library": LibraryReport.objects.last(),
            "packages": _packages(),
            "unparsable": UnparsableFile.objects.all(),
            "largest": reports.order_by("-line_count", "name")[:MOST_ROWS],
            "longest": reports.order_by("-longest_function_line_count", "name")[:MOST_ROWS],
            "undefined": reports.exclude(undefined_names=[]),
            "star_import_count": reports.filter(has_star_import=True).count(),
            "measures": measures,
            "wait_p50": measures.wait_percentile(50),
            "wait_p99": measures.wait_percentile(99),
            "bars": list(_bars(measures)),
        },
    )


def _packages() -> list[dict[str, Any]]:
    """The packages with the most lines, with a bar for each."""
    found = list(PackageReport.objects.order_by("-line_count", "package")[:MOST_ROWS])
    most = max((report.line_count for report in found), default=1) or 1
    return [{"report": report, "percent": 100 * report.line_count / most} for report in found]


def _bars(measures: Measures) -> Iterable[Bar]:
    """How many tries ended when, push and pull apart."""
    last = max(attempt.finished for attempt in measures.attempts)
    width = max(last / _BARS, 0.001)
    slices: Counter[tuple[int, bool]] = Counter(
        (min(int(attempt.finished / width), _BARS - 1), attempt.queue_name == "heavy")
        for attempt in measures.attempts
    )
    totals = [slices[index, False] + slices[index, True] for index in range(_BARS)]
    tallest = max(totals) or 1
    for index, total in enumerate(totals):
        pushed, pulled = slices[index, False], slices[index, True]
        yield Bar(
            label=f"{index * width:.1f}–{(index + 1) * width:.1f} s: {total} tries, "
            f"{pushed} pushed and {pulled} pulled",
            pushed=100 * pushed / tallest,
            pulled=100 * pulled / tallest,
        )

"""The report of a survey: one HTML file that needs nothing else."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, QuerySet, Sum
from django.template.loader import render_to_string
from django.utils import timezone

from i3tasks_examples.survey import library
from i3tasks_examples.survey.measures import Measures
from i3tasks_examples.survey.models import ModuleReport, PackageReport

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
            "totals": _totals(reports),
            "packages": _packages(reports),
            "summaries": PackageReport.objects.all(),
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


def _totals(reports: QuerySet[ModuleReport]) -> dict[str, int]:
    return reports.aggregate(
        modules=Count("pk"),
        lines=Sum("line_count"),
        functions=Sum("function_count"),
        classes=Sum("class_count"),
    )


def _packages(reports: QuerySet[ModuleReport]) -> list[dict[str, Any]]:
    """The packages with the most lines, with a bar for each."""
    found = list(
        reports.values("package")
        .annotate(
            modules=Count("pk"),
            lines=Sum("line_count"),
            functions=Sum("function_count"),
            classes=Sum("class_count"),
        )
        .order_by("-lines", "package")[:MOST_ROWS]
    )
    most = max((row["lines"] for row in found), default=1) or 1
    return [{**row, "percent": 100 * row["lines"] / most} for row in found]


def _bars(measures: Measures) -> Iterable[Bar]:
    """How many tries ended when, push and pull apart."""
    last = max(attempt.finished for attempt in measures.attempts)
    width = max(last / _BARS, 0.001)
    slices: Counter[tuple[int, str]] = Counter(
        (min(int(attempt.finished / width), _BARS - 1), attempt.queue_name) for attempt in measures.attempts
    )
    totals = [slices[index, "default"] + slices[index, "heavy"] for index in range(_BARS)]
    tallest = max(totals) or 1
    for index, total in enumerate(totals):
        pushed, pulled = slices[index, "default"], slices[index, "heavy"]
        yield Bar(
            label=f"{index * width:.1f}–{(index + 1) * width:.1f} s: {total} tries, "
            f"{pushed} pushed and {pulled} pulled",
            pushed=100 * pushed / tallest,
            pulled=100 * pulled / tallest,
        )

"""The tasks."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from django.db.models import Sum

from i3tasks_django import RetryPolicy, task
from i3tasks_examples.survey import library
from i3tasks_examples.survey.analysis import analyse
from i3tasks_examples.survey.models import ModuleReport, PackageReport


class ReportsMissing(Exception):
    """A package cannot be summed up while modules of it have not been surveyed."""

    def __init__(self, package: str, missing: list[str]) -> None:
        self.package = package
        self.missing = missing
        super().__init__(
            f"{len(missing)} modules of {package} have not been surveyed yet, {missing[0]} among them"
        )


# A file that is not Python today will not be Python in five seconds.
@task(retry=RetryPolicy(no_retry_for=(SyntaxError,)))
def survey_file(path: str) -> dict[str, int]:
    """Survey one file and keep what was found.

    Written so that a second run does no harm, rather than with ``atomic=True``: SQLite has one writer at a
    time, and a transaction around the parsing would make all tasks wait for each other.
    """
    file = Path(path)
    name = library.name_of(file)
    facts = analyse(file.read_bytes(), path)
    longest = facts.longest_function
    ModuleReport.objects.update_or_create(
        name=name,
        defaults={
            "package": library.package_of(name),
            "line_count": facts.line_count,
            "function_count": len(facts.functions),
            "class_count": facts.class_count,
            "longest_function": longest.name if longest else "",
            "longest_function_line": longest.line if longest else None,
            "longest_function_line_count": longest.line_count if longest else 0,
            "has_star_import": facts.has_star_import,
            "undefined_names": [
                {"name": undefined.name, "line": undefined.line, "scope": undefined.scope}
                for undefined in facts.undefined
            ],
        },
    )
    return {"lines": facts.line_count, "functions": len(facts.functions)}


# atomic: the summary's row and the record of the task's success are one transaction.
@task(max_retries=20, retry=RetryPolicy(base=timedelta(seconds=3), maximum=timedelta(seconds=6)), atomic=True)
def sum_up_package(package: str) -> dict[str, int]:
    """Add up the reports of a package's modules.

    Raises:
        ReportsMissing: some are not there yet. The next try may find them.
    """
    expected = {library.name_of(path) for path in library.modules_of(package)}
    reports = ModuleReport.objects.filter(name__in=expected)
    if missing := sorted(expected - set(reports.values_list("name", flat=True))):
        raise ReportsMissing(package, missing)
    totals: dict[str, int] = reports.aggregate(
        line_count=Sum("line_count"), function_count=Sum("function_count"), class_count=Sum("class_count")
    )
    longest = reports.order_by("-longest_function_line_count", "name").first()
    PackageReport.objects.update_or_create(
        package=package,
        defaults={
            **totals,
            "module_count": len(expected),
            "longest_function": longest.longest_function if longest else "",
            "longest_function_line_count": longest.longest_function_line_count if longest else 0,
        },
    )
    return totals

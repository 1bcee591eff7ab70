"""The tasks."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from django.db.models import Count, Sum

from i3tasks_django import RetryPolicy, TaskMetadata, task
from i3tasks_examples.survey import library
from i3tasks_examples.survey.analysis import analyse
from i3tasks_examples.survey.models import LibraryReport, ModuleReport, PackageReport, UnparsableFile


class ReportsMissing(Exception):
    """A package cannot be summed up while modules of it have not been surveyed."""

    def __init__(self, package: str, missing_count: int) -> None:
        self.package = package
        self.missing_count = missing_count
        super().__init__(f"{missing_count} modules of {package} have not been surveyed yet")


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


# atomic: the report's row and the record of the task's success are one transaction.
@task(
    queue_name="reports",
    max_retries=20,
    retry=RetryPolicy(base=timedelta(seconds=3), maximum=timedelta(seconds=6)),
    atomic=True,
)
def sum_up_package(package: str, module_count: int) -> dict[str, int]:
    """Add up the reports of a package's modules.

    Raises:
        ReportsMissing: some are not there yet. The next try may find them; as the step after a group this
            task never has to.
    """
    reports = ModuleReport.objects.filter(package=package)
    if missing_count := max(0, module_count - reports.count()):
        raise ReportsMissing(package, missing_count)
    totals: dict[str, int] = reports.aggregate(
        module_count=Count("pk"),
        line_count=Sum("line_count"),
        function_count=Sum("function_count"),
        class_count=Sum("class_count"),
    )
    longest = reports.latest("longest_function_line_count", "name")
    PackageReport.objects.update_or_create(
        package=package,
        defaults={
            **totals,
            "longest_function": longest.longest_function,
            "longest_function_line_count": longest.longest_function_line_count,
        },
    )
    return totals


@task(queue_name="reports", bind=True, atomic=True)
def sum_up_library(*, task_metadata: TaskMetadata) -> dict[str, int]:
    """Add up what the packages' chains gave back: each gives the result of its last step."""
    packages = task_metadata.group.results()
    totals = {name: sum(package[name] for package in packages) for name in packages[0]}
    LibraryReport.objects.create(package_count=len(packages), **totals)
    return totals


@task(queue_name="reports", bind=True, atomic=True)
def note_unparsable(*, task_metadata: TaskMetadata) -> list[str]:
    """Keep the names and the errors of the group's members that failed."""
    failures = task_metadata.group.failures()
    for failure in failures:
        name = library.name_of(Path(failure.args[0]))
        UnparsableFile.objects.update_or_create(name=name, defaults={"error": failure.error_message})
    return [failure.args[0] for failure in failures]

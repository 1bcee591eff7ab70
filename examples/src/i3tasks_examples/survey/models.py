"""What the tasks found out."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class ModuleReport(models.Model):
    """One surveyed file.

    ``name`` is its path within the library, with slashes. ``undefined_names`` is a list of
    ``{"name", "line", "scope"}``; it says nothing when ``has_star_import`` is true.
    """

    name = models.CharField(max_length=250, unique=True)
    package = models.CharField(max_length=100, db_index=True)
    line_count = models.PositiveIntegerField()
    function_count = models.PositiveIntegerField()
    class_count = models.PositiveIntegerField()
    longest_function = models.CharField(max_length=250, blank=True)
    longest_function_line = models.PositiveIntegerField(null=True)
    longest_function_line_count = models.PositiveIntegerField(default=0)
    has_star_import = models.BooleanField(default=False)
    undefined_names = models.JSONField(default=list)

    objects: ClassVar[models.Manager[ModuleReport]] = models.Manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class UnparsableFile(models.Model):
    """One file that is not Python."""

    name = models.CharField(max_length=250, unique=True)
    error = models.TextField()

    objects: ClassVar[models.Manager[UnparsableFile]] = models.Manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Totals(models.Model):
    """What reports add up to."""

    module_count = models.PositiveIntegerField()
    line_count = models.PositiveIntegerField()
    function_count = models.PositiveIntegerField()
    class_count = models.PositiveIntegerField()

    class Meta:
        abstract = True


class PackageReport(Totals):
    """What the reports of one package's modules add up to."""

    package = models.CharField(max_length=100, unique=True)
    longest_function = models.CharField(max_length=250, blank=True)
    longest_function_line_count = models.PositiveIntegerField(default=0)

    objects: ClassVar[models.Manager[PackageReport]] = models.Manager()

    class Meta:
        ordering = ["package"]

    def __str__(self) -> str:
        return self.package


class LibraryReport(Totals):
    """What the reports of all packages of one survey add up to."""

    package_count = models.PositiveIntegerField()
    made_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[LibraryReport]] = models.Manager()

    class Meta:
        ordering = ["made_at"]

    def __str__(self) -> str:
        return f"{self.module_count} modules in {self.package_count} packages"

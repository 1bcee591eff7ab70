from django.contrib import admin

from i3tasks_examples.survey.models import LibraryReport, ModuleReport, PackageReport, UnparsableFile


@admin.register(ModuleReport)
class ModuleReportAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in its stubs only
    list_display = (
        "name",
        "line_count",
        "function_count",
        "class_count",
        "longest_function",
        "longest_function_line_count",
    )
    list_filter = ("has_star_import",)
    search_fields = ("name", "longest_function")


@admin.register(PackageReport)
class PackageReportAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in its stubs only
    list_display = ("package", "module_count", "line_count", "function_count", "class_count")


@admin.register(LibraryReport)
class LibraryReportAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in its stubs only
    list_display = ("made_at", "package_count", "module_count", "line_count", "function_count", "class_count")


@admin.register(UnparsableFile)
class UnparsableFileAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in its stubs only
    list_display = ("name", "error")

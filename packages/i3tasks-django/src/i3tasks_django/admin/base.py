"""What all lists share: lean queries over big tables, and rows that nobody edits by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.text import capfirst

from i3tasks_django.admin.filters import QueueFilter, StateFilter, TaskFilter, to_execution

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
    _Paginator = Paginator[Any]
else:
    _Admin, _Paginator = admin.ModelAdmin, Paginator

MOST_LISTED = 10_000


class BoundedPaginator(_Paginator):
    """Counts no further than anybody turns pages: counting a big table takes longer than showing it."""

    @cached_property
    def count(self) -> int:
        return cast("QuerySet[Any]", self.object_list)[:MOST_LISTED].count()


class LeanChangeList(ChangeList):
    """Leaves the long columns in the database, adds what the list alone shows."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        shown = cast("LeanAdmin", self.model_admin)
        return shown.listed(rows).defer(*shown.long_fields)


class LeanAdmin(_Admin):
    """A list with filters that stays cheap however big the table is."""

    actions_on_bottom = True
    list_filter: ClassVar[tuple[type[SimpleListFilter], ...]] = (StateFilter, QueueFilter, TaskFilter)
    list_per_page = 100
    long_fields: tuple[str, ...] = ()
    ordering = ("-id",)
    paginator = BoundedPaginator
    search_fields = ("id",)  # shows the box; get_search_results says what it finds
    search_help_text = (
        f"An execution's id, or words of a task's name. The newest {MOST_LISTED:,} that match are listed."
    )
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by = ()

    def listed(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        return LeanChangeList

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Any],
        search_term: str,
    ) -> tuple[QuerySet[Any], bool]:
        for word in search_term.split():
            queryset = queryset.filter(self.found_by(word))
        return queryset, False

    def found_by(self, word: str) -> Q:
        """What a word in the search box finds."""
        return _found_by(word, to_execution(self.model))

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:  # noqa: ARG002
        """Only our filters: a stock lookup into the arguments' JSON would tell what the mask hides."""
        return lookup in {shown.parameter_name for shown in self.list_filter}


class ReadOnlyAdmin(LeanAdmin):
    """A list and a page to read. The only writers of state are the store's verbs."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        # Not "select … to change": nothing can be changed here.
        title = capfirst(str(self.opts.verbose_name_plural))
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """True for the list's actions only: saving a row from a form would undo what a worker wrote."""
        return obj is None and super().has_change_permission(request)


def _found_by(word: str, execution: str) -> Q:
    try:
        return Q(**{f"{execution}pk": UUID(word)})
    except ValueError:
        pass
    path, dot, name = word.rpartition(".")
    found = Q(**{f"{execution}task_path__icontains": word}) | Q(**{f"{execution}task_name__icontains": word})
    if dot:
        found |= Q(**{f"{execution}task_path__iendswith": path, f"{execution}task_name__istartswith": name})
    return found

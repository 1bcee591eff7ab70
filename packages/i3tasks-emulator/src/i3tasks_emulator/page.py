"""Lists, a page at a time."""

from bisect import bisect_right
from collections.abc import Iterable

from i3tasks_emulator.errors import invalid
from i3tasks_emulator.wire import Proto

MAX_PAGE = 1_000


def page_of(names: Iterable[str], request: Proto) -> tuple[list[str], str]:
    """The names a list request asks for, in order, and the token of the next page (empty on the last).

    The token is the last name of the page: a list that changes in between skips and repeats nothing else.

    Raises:
        StatusError: INVALID_ARGUMENT for a negative page size.
    """
    if request.page_size < 0:
        raise invalid(f"Invalid page size (page_size={request.page_size})")
    ordered = sorted(names)
    start = bisect_right(ordered, request.page_token)
    end = start + min(request.page_size or MAX_PAGE, MAX_PAGE)
    page = ordered[start:end]
    return page, page[-1] if end < len(ordered) else ""

"""The figures as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.figures import FIGURES, Figure, Figures

_WIDTH = 9


def render(rows: Mapping[str, Figures], advantage: Figures | None = None) -> str:
    """A row for each name; columns that nobody has a figure for are left out."""
    shown = [figure for figure in FIGURES if any(figure.key in row for row in rows.values())]
    last = {"ours : best durable": advantage} if advantage else {}
    width = max(map(len, [*rows, *last]), default=0)
    return "\n".join(_lines(rows, last, shown, width))


def _lines(
    rows: Mapping[str, Figures], last: Mapping[str, Figures], shown: Sequence[Figure], width: int
) -> Iterator[str]:
    for line in (0, 1):
        yield _line("", [figure.title[line] for figure in shown], width)
    for name, row in rows.items():
        yield _line(name, [_number(row.get(figure.key), figure.digits) for figure in shown], width)
    for name, row in last.items():
        yield _line(name, [_number(row.get(figure.key), 2, "×") for figure in shown], width)


def _line(name: str, cells: Sequence[str], width: int) -> str:
    return f"{name:{width}}" + "".join(f"{cell:>{_WIDTH}}" for cell in cells)


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "–" if value is None else f"{value:,.{digits}f}{unit}"

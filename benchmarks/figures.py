"""What is told of a peer: which figures there are, their medians over the rounds, and how ours compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Figures = dict[str, float]
"""One round's figures by key. A figure that a peer does not have is absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A column.

    Attributes:
        title: its head, in two lines.
        digits: after the point.
        is_rate: more is better; of the others, less is.
    """

    key: str
    title: tuple[str, str]
    digits: int = 0
    is_rate: bool = False


FIGURES = (
    Figure(key="calls", title=("call", "/s"), is_rate=True),
    Figure(key="bulk", title=("bulk", "/s"), is_rate=True),
    Figure(key="drain", title=("drain", "/s"), is_rate=True),
    Figure(key="push", title=("push", "/s"), is_rate=True),
    Figure(key="p50", title=("p50", "ms"), digits=1),
    Figure(key="p99", title=("p99", "ms"), digits=1),
    Figure(key="worker_mib", title=("worker", "MiB")),
    Figure(key="beat_mib", title=("beat", "MiB")),
    Figure(key="call_sql", title=("SQL a", "call"), digits=2),
    Figure(key="call_brackets", title=("+BEGIN", "COMMIT"), digits=2),
    Figure(key="run_sql", title=("SQL a", "run"), digits=2),
    Figure(key="run_brackets", title=("+BEGIN", "COMMIT"), digits=2),
    Figure(key="cpu", title=("CPU s", "/1,000"), digits=2),
)


def medians(rounds: Iterable[Figures]) -> Figures:
    found = list(rounds)
    keys = {key: None for figures in found for key in figures}
    return {key: median(figures[key] for figures in found if key in figures) for key in keys}


def advantages(ours: Mapping[str, float], peers: Sequence[Mapping[str, float]]) -> Figures:
    """How many times better ours are than the best of these peers, figure by figure; below 1, worse."""
    found: Figures = {}
    for figure in FIGURES:
        others = [peer[figure.key] for peer in peers if peer.get(figure.key)]
        own = ours.get(figure.key)
        if own and others:
            found[figure.key] = own / max(others) if figure.is_rate else min(others) / own
    return found


def percentile(values: Sequence[float], percent: int) -> float:
    """Of sorted values."""
    return values[min(len(values) - 1, len(values) * percent // 100)]

"""Chains and groups in each other, as values that Hypothesis makes; what a leaf is, each test says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Row:
    """A chain."""

    steps: tuple[Any, ...]
    on_failure: bool


@dataclass(frozen=True)
class Fan:
    """A group."""

    members: tuple[Any, ...]
    on_failure: bool


def trees_of(
    leaves: st.SearchStrategy[Any], *, shortest: int, widest: int, most_leaves: int
) -> st.SearchStrategy[Any]:
    """Trees with such leaves.

    Args:
        leaves: makes one.
        shortest: steps of a chain, at least; a group may be empty.
        widest: steps of a chain or members of a group, at most.
        most_leaves: of a tree, at most.
    """
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(Row, st.lists(inner, min_size=shortest, max_size=widest).map(tuple), st.booleans()),
            st.builds(Fan, st.lists(inner, max_size=widest).map(tuple), st.booleans()),
        ),
        max_leaves=most_leaves,
    )

"""What was asked for, as trees of named calls, and what the rows must say of it at any moment.

I4 each chain step once, in order · I5 each group joined once, after its last member. A next step is written
in the transaction that ends the one before it, so this holds after every commit and not only in the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from named_calls import ledger_step, step

from i3tasks_django import ChainHandle, chain, group
from i3tasks_django.composition import Composable
from i3tasks_django.models import TaskGroup
from trees import Fan, trees_of


@dataclass(frozen=True)
class Leaf:
    """One call.

    Attributes:
        failures: it fails in so many of its first tries; with more than its retries it fails for good.
        delay: seconds after its turn has come before which it must not run.
        is_atomic: its own write and its success are one transaction.
    """

    failures: int = 0
    delay: int = 0
    is_atomic: bool = False


leaves = st.builds(
    Leaf,
    failures=st.sampled_from([0, 0, 0, 1, 3]),
    delay=st.sampled_from([0, 0, 600]),
    is_atomic=st.booleans(),
)
trees = trees_of(leaves, shortest=2, widest=3, most_leaves=5)


@dataclass
class Node:
    """A part of a plan with the names of its calls."""

    label: str = ""
    leaf: Leaf | None = None
    parts: tuple[Node, ...] = ()
    is_group: bool = False
    handler: Node | None = None

    def labels(self) -> Iterator[str]:
        if self.leaf:
            yield self.label
        for part in (*self.parts, *([self.handler] if self.handler else [])):
            yield from part.labels()


class Plan:
    """One call of somebody's with everything that is to follow it.

    Attributes:
        is_cancelled: somebody cancelled it before all of it had ended: nothing new comes of it.
        handle: what the call gave back; None for one of very many.
    """

    def __init__(self, tree: Any, names: Iterator[int]) -> None:
        self.root = _named(tree, names)
        self._later: list[Node] = []
        self.is_cancelled = False
        self.handle: ChainHandle | TaskGroup | None = None

    def labels(self) -> set[str]:
        return {label for node in (self.root, *self._later) for label in node.labels()}

    def leaves(self) -> dict[str, Leaf]:
        return {node.label: node.leaf for node in _all(self.root, *self._later) if node.leaf}

    def add(self, leaf: Node) -> None:
        """A step that ``then()`` took."""
        self._later.append(leaf)

    def state(self, found: Mapping[str, str]) -> str:
        """What it has come to: pending, success, failed or cancelled.

        Args:
            found: the state of each call that there is.

        Raises:
            AssertionError: a call is there that must not be, or is missing.
        """
        return self._chain((self.root, *self._later), found)

    def _state(self, node: Node, found: Mapping[str, str]) -> str:
        """Of a part whose turn has come."""
        if node.leaf:
            if node.label in found:
                return found[node.label]
            assert self.is_cancelled, f"{node.label} did not come when its turn did"
            return "cancelled"
        state = self._group(node, found) if node.is_group else self._chain(node.parts, found)
        if node.handler:
            is_called = node.handler.label in found
            assert state == "failed" or self.is_cancelled or not is_called, (
                f"{node.handler.label} came too early"
            )
            assert state != "failed" or self.is_cancelled or is_called, f"{node.handler.label} was not called"
        return state

    def _chain(self, steps: tuple[Node, ...], found: Mapping[str, str]) -> str:
        for place, part in enumerate(steps):
            state = self._state(part, found)
            if state != "success":
                early = [label for after in steps[place + 1 :] for label in after.labels() if label in found]
                assert not early, f"{early} came although {list(part.labels())} is {state}"
                return state
        return "success"

    def _group(self, node: Node, found: Mapping[str, str]) -> str:
        states = {self._state(member, found) for member in node.parts}
        return next((state for state in ("pending", "failed", "cancelled") if state in states), "success")


def value_of(node: Node) -> Composable:
    """The chain, group or signature that one dispatches."""
    if node.leaf:
        made = ledger_step if node.leaf.is_atomic else step
        if node.leaf.delay:
            made = made.using(run_after=node.leaf.delay)
        return made.s(node.label, node.leaf.failures)
    handler = value_of(node.handler) if node.handler else None
    compose = group if node.is_group else chain
    return compose(*(value_of(part) for part in node.parts), on_failure=handler)


def _named(tree: Any, names: Iterator[int]) -> Node:
    if isinstance(tree, Leaf):
        return Node(label=f"call {next(names)}", leaf=tree)
    is_group = isinstance(tree, Fan)
    parts = tuple(_named(part, names) for part in (tree.members if is_group else tree.steps))
    handler = _named(Leaf(), names) if tree.on_failure else None
    return Node(parts=parts, is_group=is_group, handler=handler)


def _all(*nodes: Node) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from _all(*node.parts, *([node.handler] if node.handler else []))

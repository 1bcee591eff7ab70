"""i3tasks beside its peers, in one run on one machine: ``uv run --group bench python -m benchmarks``.

Every peer runs on the same PostgreSQL, which keeps its durability, in several rounds; the table shows
medians, and below them the medians of each round's ratios. Figures of one run compare with each other;
machines differ.
"""

from __future__ import annotations

import argparse
import inspect
import json
import platform
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from benchmarks import environments, servers, table
from benchmarks.environments import Environments
from benchmarks.figures import Figures, advantages, medians
from benchmarks.measures import Size, measure
from benchmarks.peers import OURS, OURS_ALONE, OURS_ON_SQLITE, PEERS
from benchmarks.peers.peer import Peer
from benchmarks.scenarios import SCENARIOS
from benchmarks.sessions import Machine, Session, session

QUICK = Size(task_count=100, trickle_seconds=1)


def main() -> None:
    options = _options()
    size = QUICK if options.quick else Size(task_count=options.tasks, trickle_seconds=5)
    # As Ctrl+C does: so that a terminated run ends its servers.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="i3tasks-benchmarks-")))
        machine = Machine(
            database=exits.enter_context(servers.database()),
            environments=Environments(folder),
            pubsub_kind=options.pubsub,
        )
        report = Report(machine, size)
        report.run(_present(options.only, options.pubsub), 1 if options.quick else options.rounds)
        report.run_scenarios(options.scenarios, is_quick=options.quick)
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
        say(f"\nwritten to {options.json}")
    sys.exit(1 if report.failures else 0)


class Report:
    """What a run has found so far."""

    def __init__(self, machine: Machine, size: Size) -> None:
        self._machine = machine
        self._size = size
        self._rounds: dict[str, list[Figures]] = {}
        self._scenarios: dict[str, dict[str, float]] = {}
        self.failures: dict[str, str] = {}

    def run(self, peers: list[Peer], rounds: int) -> None:
        """Round after round: what slows the machine for a while slows everyone."""
        say("PostgreSQL: " + ", ".join(f"{k} {v}" for k, v in self._machine.database.settings.items()))
        for number in range(1, rounds + 1):
            for peer in peers:
                say(f"round {number} of {rounds}: {peer.name}")
                self._measure(peer)
        self._print(peers)

    def as_json(self) -> dict[str, object]:
        return {
            "python": platform.python_version(),
            "postgresql": self._machine.database.settings,
            "pubsub": self._machine.pubsub_kind,
            "tasks": self._size.task_count,
            "versions": {
                peer.name: environments.versions(peer)
                for peer in (*PEERS, OURS_ON_SQLITE)
                if peer.name in self._rounds
            },
            "rounds": self._rounds,
            "medians": {name: medians(rounds) for name, rounds in self._rounds.items()},
            "advantages": self._advantages(),
            "scenarios": self._scenarios,
            "failures": self.failures,
        }

    def run_scenarios(self, names: Iterable[str], *, is_quick: bool) -> None:
        """Each begins with empty tables, but when it is to be quick: one begins where the other has ended."""
        chosen = list(names)
        for together in [chosen] if is_quick and chosen else [[name] for name in chosen]:
            with self._survived(" ".join(together)), session(OURS_ALONE, self._machine) as ready:
                for name in together:
                    self._run_scenario(name, ready, is_quick)

    def _run_scenario(self, name: str, ready: Session, is_quick: bool) -> None:
        say(f"\n{name}: {inspect.getdoc(inspect.getmodule(SCENARIOS[name]))}")
        self._scenarios[name] = SCENARIOS[name](ready, self._machine, is_quick)
        for what, value in self._scenarios[name].items():
            say(f"{value:14,.2f}  {what}")

    def _measure(self, peer: Peer) -> None:
        if peer.name not in self.failures:
            with self._survived(peer.name):
                figures = measure(peer, self._machine, self._size)
                self._rounds.setdefault(peer.name, []).append(figures)

    @contextmanager
    def _survived(self, name: str) -> Iterator[None]:
        """One that fails is told, and the others are still worth their figures."""
        try:
            yield
        except (RuntimeError, psycopg.Error) as error:
            self.failures[name] = str(error)
            say(f"  FAILED: {error}")

    def _advantages(self) -> Figures:
        """Of each round, and of those the medians: a machine's speed drifts from one round to the next."""
        durable = [peer.name for peer in PEERS if peer.is_durable and peer is not OURS]
        others = [self._rounds[name] for name in durable if name in self._rounds]
        ours = self._rounds.get(OURS.name, [])
        return medians(
            advantages(own, [rounds[number] for rounds in others if number < len(rounds)])
            for number, own in enumerate(ours)
        )

    def _print(self, peers: Iterable[Peer]) -> None:
        shown = [peer for peer in peers if peer.name in self._rounds]
        if not shown:
            return
        rows = {_title(peer): medians(self._rounds[peer.name]) for peer in shown if not peer.is_sqlite}
        say("\n" + table.render(rows, self._advantages()))
        for peer in shown:
            if peer.is_sqlite:
                say("\n" + table.render({peer.name: medians(self._rounds[peer.name])}))
        say("")
        if any(not peer.is_durable for peer in shown):
            say("* not durable: a call can be lost after its caller's transaction has committed")
        for peer in shown:
            say(f"{peer.name} ({', '.join(environments.versions(peer))}): {peer.remark}")


def say(line: str) -> None:
    """Print a line now, also into a pipe."""
    print(line, flush=True)


def _title(peer: Peer) -> str:
    return peer.name if peer.is_durable else f"{peer.name} *"


def _present(only: list[str], pubsub_kind: str) -> list[Peer]:
    """Those asked for that can run here; the others are named with what they miss."""
    chosen = [peer for peer in (*PEERS, OURS_ON_SQLITE) if peer.name in only]
    return [peer for peer in chosen if not _skipped(peer, pubsub_kind)]


def _skipped(peer: Peer, pubsub_kind: str) -> bool:
    needs = {pubsub_kind if need == "pubsub" else need for need in peer.needs}
    reasons = [environments.missing(peer), *map(servers.missing, sorted(needs))]
    found = [reason for reason in reasons if reason]
    if found:
        say(f"{peer.name} is left out: {'; '.join(found)}")
    return bool(found)


def _options() -> argparse.Namespace:
    names = [peer.name for peer in (*PEERS, OURS_ON_SQLITE)]
    scenarios = list(SCENARIOS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each peer (%(default)s)")
    parser.add_argument("--tasks", type=int, default=5_000, help="of each backlog (%(default)s)")
    parser.add_argument(
        "--only", type=_words, default=names, help=f"of {', '.join(names)}; none for none of them"
    )
    parser.add_argument(
        "--scenarios",
        type=_words,
        default=scenarios,
        help=f"what is measured of us alone, of {', '.join(scenarios)}; none for none of them",
    )
    parser.add_argument("--quick", action="store_true", help="everything once and small; figures mean little")
    parser.add_argument("--pubsub", choices=("embedded", "google"), default="embedded")
    parser.add_argument("--json", type=Path, default=Path("benchmarks.json"), help="(%(default)s)")
    options = parser.parse_args()
    for option, chosen, known in (
        ("--only", options.only, names),
        ("--scenarios", options.scenarios, scenarios),
    ):
        if unknown := set(chosen) - set(known):
            parser.error(f"{option}: {', '.join(sorted(unknown))} is not one of {', '.join(known)}")
    return options


def _words(text: str) -> list[str]:
    return [] if text == "none" else text.split(",")


if __name__ == "__main__":
    main()

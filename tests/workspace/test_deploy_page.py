"""docs/deploy.md takes the example from nothing to a running stack: its commands are what runs here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import podman
import psycopg
import pytest
import readme

import postgres
import processes
from ports import free_port

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

COMPOSE = "deploy/compose.yaml"
ON_THIS_MACHINE = f"{COMPOSE}:tests/workspace/compose.override.yaml"
SURVEYS = 4
"""One by itself, and one before each restart."""


@dataclass
class Page:
    """The page's commands, on servers of this machine, and the database that they lead to."""

    machine: podman.Machine
    database: psycopg.Connection[tuple[int]]
    ports: dict[str, int]
    environment: dict[str, str]

    def run(self, title: str) -> str:
        script = readme.block(title, readme.DEPLOY).replace(COMPOSE, ON_THIS_MACHINE)
        script = script.replace(":8080/", f":{self.ports['beat']}/")
        return self.machine.run("bash", "-e", "-c", script, **self.environment)

    def count(self, what: str) -> int:
        (row,) = self.database.execute(f"SELECT count(*) FROM i3tasks_django_task{what}").fetchall()
        return row[0]

    def unfinished(self, at: float) -> int:
        """Tasks that were asked for by that moment, and had not ended."""
        moment = f"TO_TIMESTAMP({at})"
        return self.count(
            f"execution WHERE created_at < {moment} AND (finished_at IS NULL OR finished_at > {moment})"
        )

    def started_at(self, name: str) -> float:
        """When a container's process began, in seconds since 1970."""
        return float(self.machine.run("podman", "inspect", "--format", "{{.State.StartedAt.Unix}}", name))

    def answers(self, service: str) -> bool:
        return processes.get(self.ports[service], "/health/ready")[0] == 200

    def running(self) -> dict[str, str]:
        """The process ids of the running containers, by name."""
        listed = self.machine.run("podman", "ps", "--format", "{{.Names}} {{.Pid}}")
        return dict(line.split() for line in listed.splitlines())


@pytest.fixture
def page(images: podman.Machine, postgres_server: postgres.Cluster, embedded_target: str) -> Iterator[Page]:
    server = {"host": "127.0.0.1", "port": postgres_server.port, "user": "postgres", "autocommit": True}
    with psycopg.connect(**server) as maker:
        maker.execute("CREATE DATABASE example")
    ports = {"receiver": free_port(), "beat": free_port()}
    environment = {
        "COMPOSE_FILE": ON_THIS_MACHINE,
        "TEST_POSTGRES_PORT": str(postgres_server.port),
        "TEST_PUBSUB": embedded_target,
        "TEST_RECEIVER_PORT": str(ports["receiver"]),
        "TEST_BEAT_PORT": str(ports["beat"]),
    }
    with psycopg.connect(**server, dbname="example") as database:
        yield Page(images, database, ports, environment)
    images.run("podman", "rm", "--all", "--force", "--time", "0")


def test_the_page_leads_to_a_stack_that_survives_its_own_restart(page, capsys):
    page.run("stack")
    for service in ("receiver", "beat"):
        processes.wait_until(lambda service=service: page.answers(service), 60, service)
    said = page.run("survey")
    assert "Asked for " in said
    assert '"status": "ok"' in said

    before, began = page.running(), time.monotonic()
    page.run("restart")
    took = time.monotonic() - began
    after = page.running()
    waited = {name: page.unfinished(page.started_at(name)) for name in after}
    assert len(after) == 3
    assert all(after[name] != pid for name, pid in before.items()), (before, after)

    page.run("scale")
    assert len([name for name in page.running() if "_worker_" in name]) == 3
    processes.wait_until(lambda: not page.count("execution WHERE state = 'pending'"), 300, "the drain")
    tasks, lost = page.count("execution"), page.count("executiontry WHERE state = 'lost'")
    pulled = page.count("execution WHERE queue_name = 'heavy'")
    with capsys.disabled():
        print(
            f"\n{tasks} tasks, {pulled} of them pulled; all containers restarted in {took:.1f} s, "
            f"unfinished as each came back: {waited}; {lost} tries lost"
        )
    assert tasks >= SURVEYS * 500
    assert pulled >= SURVEYS * 250
    # The beat is back so soon that nothing need be left by then.
    for service in ("receiver", "worker"):
        assert sum(count for name, count in waited.items() if service in name) > 0, (service, waited)
    assert lost == 0
    # Two files of each survey are no Python, and fail at once.
    assert page.count("execution WHERE state <> 'success'") == 2 * SURVEYS

    page.run("stop")
    # podman-compose forgets the workers that `scale` has added; Docker's own does not.
    assert {name for name in page.running() if name.endswith("_1")} == set()

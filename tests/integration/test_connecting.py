"""What a service asks of the operating system for its connections to PostgreSQL."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import OperationalError, connection

import databases
from i3tasks_django import store
from i3tasks_django.connecting import limit_waits
from i3tasks_django.store.database import drop_dead_connections

LEASE = timedelta(seconds=60)


@pytest.fixture
def on_postgres(postgres_session: databases.Database) -> Iterator[None]:
    with databases.current(postgres_session):
        yield


def tcp_option(number: int) -> int:
    connection.close()
    connection.ensure_connection()
    with socket.socket(fileno=os.dup(connection.connection.fileno())) as end:
        return end.getsockopt(socket.IPPROTO_TCP, number)


@pytest.mark.usefixtures("on_postgres")
def test_a_server_that_is_gone_without_a_word_is_noticed():
    limit_waits()

    assert tcp_option(socket.TCP_USER_TIMEOUT) == 20_000
    assert tcp_option(socket.TCP_KEEPIDLE) == 10


@pytest.mark.usefixtures("on_postgres")
def test_what_the_project_says_of_it_stays():
    connection.settings_dict["OPTIONS"] = {"tcp_user_timeout": 7_000}
    limit_waits()

    assert tcp_option(socket.TCP_USER_TIMEOUT) == 7_000
    assert tcp_option(socket.TCP_KEEPINTVL) == 5


def test_a_file_has_no_other_end(sqlite_session):
    with databases.current(sqlite_session):
        limit_waits()

        assert "keepalives_idle" not in connection.settings_dict["OPTIONS"]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("look", [lambda: store.expired(1), lambda: store.claim([], lease=LEASE, worker="w")])
def test_a_connection_that_was_cut_is_an_error_of_djangos_and_no_obstacle(database, look):
    with connection.cursor() as cursor, pytest.raises(OperationalError):
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert connection.connection.closed

    with suppress(OperationalError):  # of Django's, as those expect that try again
        look()
    connection.errors_occurred = True
    drop_dead_connections()

    assert store.expired(1) == []

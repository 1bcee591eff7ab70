"""What a service asks of the operating system for its connections to PostgreSQL."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from django.db import connection

import databases
from i3tasks_django.connecting import limit_waits


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

"""The Postgres store through a real PgBouncer that lends one server connection, transaction by transaction."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from flows.datasets.tlc import GREEN
from flows.stores.postgres import PostgresStore
from infra.local import embedded_postgres as postgres
from infra.local.processes import free_port, spawn, stop, wait_healthy
from tests.integration.stores_fixtures import FEBRUARY, JANUARY, Pass, replaced, server, source, uri  # noqa: F401

BOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

CONFIGURATION = """
[databases]
{dbname} = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
"""

SETTINGS = "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name <> 'application_name' ORDER BY 1"


@pytest.fixture
def through(uri: str, tmp_path: Path):  # noqa: F811
    """The database's address through a PgBouncer of its own."""
    if BOUNCER is None:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    address, port = conninfo_to_dict(uri), free_port()
    pooled = make_conninfo(host="127.0.0.1", port=port, user=address["user"], dbname=address["dbname"])
    configuration, log = tmp_path / "pgbouncer.ini", tmp_path / "pgbouncer.log"
    configuration.touch(mode=0o600)
    configuration.write_text(CONFIGURATION.format(**address, own_port=port))
    # It refuses to run as root, as PostgreSQL does.
    command = [*postgres.as_not_root(), BOUNCER, configuration]
    process = spawn("PgBouncer", command, log, env=os.environ, cwd=tmp_path, **postgres.spawn_options(tmp_path))
    try:
        wait_healthy(process, log, lambda: postgres.answers(pooled), seconds=30)
        yield pooled
    finally:
        stop(process)


def settings_of_the_next_client(conninfo: str) -> dict[str, str]:
    with psycopg.connect(conninfo, autocommit=True) as client:
        return dict(client.execute(SETTINGS).fetchall())


def test_the_session_of_the_next_client_is_unchanged(through, tmp_path):
    before = settings_of_the_next_client(through)
    store = PostgresStore(through)
    first = replaced(store, Pass(JANUARY, tmp_path, bad=3), source())
    store.record(first)
    assert store.entries(GREEN) == [first] and store.counts(GREEN) == {JANUARY: 1000}
    assert settings_of_the_next_client(through) == before


def test_a_blocked_month_needs_no_second_connection(through, tmp_path):
    store = PostgresStore(through)
    good = replaced(store, Pass(JANUARY, tmp_path, bad=3), source())
    blocked = replaced(store, Pass(JANUARY, tmp_path, rows=300, bad=4, blocks=True), source("sha256:2"))
    assert store.entries(GREEN) == [blocked, good] and store.counts(GREEN) == {JANUARY: 1000}
    with psycopg.connect(through) as client:
        assert client.execute("SELECT count(*) FROM green_trips_2021_01_blocked").fetchone() == (300,)


def test_concurrent_loads_take_turns(through, tmp_path):
    store, failures = PostgresStore(through), []

    def load(month) -> None:
        try:
            store.replace(Pass(month, tmp_path, bad=1), source())
        except Exception as error:
            failures.append(error)

    loads = [threading.Thread(target=load, args=(month,)) for month in (JANUARY, FEBRUARY, JANUARY, FEBRUARY)]
    for one in loads:
        one.start()
    for one in loads:
        one.join()
    assert failures == [] and store.counts(GREEN) == {JANUARY: 1000, FEBRUARY: 1000}

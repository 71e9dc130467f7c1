"""Faults in the middle of a load into Postgres leave existing data unchanged, and the next run loads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest

from flows.datasets.tlc import GREEN
from flows.errors import Refused, StoreFailed, StoreUnavailable
from flows.stores import postgres_tables
from flows.stores.postgres import PostgresStore
from infra.settings import ROOT
from tests.integration.stores_fixtures import FEBRUARY, JANUARY, Pass, Server, server, source, uri  # noqa: F401

TABLES = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"


def state(store: PostgresStore, uri: str) -> tuple:  # noqa: F811
    with psycopg.connect(uri) as connection:
        (tables,) = connection.execute(TABLES).fetchone()
    return store.entries(GREEN), store.counts(GREEN), store.count_rejected(JANUARY), tables


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("at", range(4))
def test_an_exception_at_any_batch_leaves_no_table(uri, tmp_path, at, blocks):  # noqa: F811
    store = PostgresStore(uri)
    store.replace(Pass(JANUARY, tmp_path, bad=3), source())
    before = state(store, uri)

    def fail(number: int) -> None:
        if number == at:
            raise Refused("https://example.org/x.csv.gz", "ends in the middle")

    with pytest.raises(Refused, match="ends in the middle"):
        store.replace(Pass(JANUARY, tmp_path, between=fail, bad=9, blocks=blocks), source("sha256:2"))
    assert state(store, uri) == before


@pytest.mark.parametrize("step", ["_replace_rejected", "replace_entry"])
def test_an_exception_after_the_rows(uri, tmp_path, monkeypatch, step):  # noqa: F811
    store = PostgresStore(uri)
    store.replace(Pass(JANUARY, tmp_path, bad=3), source())
    before = state(store, uri)
    monkeypatch.setattr(f"flows.stores.postgres.{step}", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.replace(Pass(JANUARY, tmp_path, rows=5), source("sha256:2"))
    assert state(store, uri) == before


LOADER = """
import sys, time
from pathlib import Path
from flows.stores.postgres import PostgresStore
from tests.integration.stores_fixtures import JANUARY, Pass, source

def slowly(number):
    if number == 2:
        print("in the middle", flush=True)
    time.sleep(0.1)

slow = Pass(JANUARY, Path(sys.argv[2]), rows=600, batches=600, between=slowly)
PostgresStore(sys.argv[1]).replace(slow, source("sha256:2"))
"""


def loader(uri: str, directory: Path) -> subprocess.Popen:  # noqa: F811
    """A process in the middle of a load that would take a minute."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    child = subprocess.Popen(
        [sys.executable, "-c", LOADER, uri, str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert child.stdout.readline() == "in the middle\n"
    return child


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_loader(uri, tmp_path, with_signal):  # noqa: F811
    """Its lock is released: the next load need not wait."""
    store = PostgresStore(uri)
    store.replace(Pass(JANUARY, tmp_path, bad=3), source())
    before = state(store, uri)
    with loader(uri, tmp_path) as child:
        assert state(store, uri) == before
        child.send_signal(with_signal)
    assert state(store, uri) == before
    assert store.replace(Pass(JANUARY, tmp_path, rows=5), source("sha256:2")).rows_loaded == store.count(JANUARY) == 5


def test_a_first_load_that_is_killed_leaves_no_month(uri, tmp_path):  # noqa: F811
    store = PostgresStore(uri)
    with loader(uri, tmp_path) as child:
        child.kill()
    assert (store.entries(GREEN), store.counts(GREEN)) == ([], {})
    store.replace(Pass(JANUARY, tmp_path), source())
    assert store.counts(GREEN) == {JANUARY: 1000}


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("end", ["killed", "stopped", "restarted", "connection ended"])
def test_the_server_stops_during_a_load(tmp_path, end, blocks):
    own = Server(tmp_path)
    try:
        store = PostgresStore(own.url)
        store.replace(Pass(JANUARY, tmp_path, bad=3), source())
        with psycopg.connect(own.url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        before = state(store, own.url)

        def go_away(number: int) -> None:
            if number != 3:
                return
            if end == "connection ended":
                with psycopg.connect(own.url) as other:
                    other.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                    )
                return
            own.kill() if end == "killed" else own.stop()
            if end == "restarted":
                own.start()

        with pytest.raises(StoreUnavailable) as failed:
            one = Pass(JANUARY, tmp_path, between=go_away, rows=200_000, blocks=blocks)
            store.replace(one, source("sha256:2"))
        assert "\n" not in str(failed.value)
        if end in ("killed", "stopped"):
            with pytest.raises(StoreUnavailable):
                store.entries(GREEN)
            (own.data / "postmaster.pid").unlink(missing_ok=True)
            own.start()
        assert state(store, own.url) == before
        store.replace(Pass(JANUARY, tmp_path, rows=5), source("sha256:2"))
        assert store.count(JANUARY) == 5
    finally:
        own.stop()


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("08006", StoreUnavailable),  # connection_failure
        ("40001", StoreUnavailable),  # serialization_failure
        ("40P01", StoreUnavailable),  # deadlock_detected
        ("53100", StoreUnavailable),  # disk_full
        ("55P03", StoreUnavailable),  # lock_not_available
        ("57P01", StoreUnavailable),  # admin_shutdown
        ("58030", StoreUnavailable),  # io_error
        ("22P05", StoreFailed),  # untranslatable_character
        ("42501", StoreFailed),  # insufficient_privilege
        ("23514", StoreFailed),  # check_violation
    ],
)
@pytest.mark.parametrize("table", ["load_ledger", "green_trips_2021_01"])
def test_the_sqlstate_decides_whether_a_load_is_retried(uri, tmp_path, table, sqlstate, kind):  # noqa: F811
    store = PostgresStore(uri)
    store.replace(Pass(JANUARY, tmp_path, bad=3), source())
    with psycopg.connect(uri) as connection:
        connection.execute(
            f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$;
                CREATE TRIGGER fail BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fail()"""
        )
    before = state(store, uri)
    with pytest.raises(kind) as failed:
        store.replace(Pass(JANUARY, tmp_path, rows=5), source("sha256:2"))
    assert "\n" not in str(failed.value) and state(store, uri) == before


def test_a_connection_that_is_not_made(uri, tmp_path):  # noqa: F811
    with psycopg.connect(uri) as connection:
        connection.execute("DROP ROLE IF EXISTS crowded")
        connection.execute("CREATE ROLE crowded LOGIN PASSWORD 'crowded' CONNECTION LIMIT 0")
    address = psycopg.conninfo.conninfo_to_dict(uri)
    for change, kind in (
        ({"port": "1"}, StoreUnavailable),
        ({"host": "nowhere.invalid"}, StoreUnavailable),
        ({"user": "crowded", "password": "crowded"}, StoreUnavailable),
        ({"password": "wrong"}, StoreFailed),
        ({"user": "missing_role"}, StoreFailed),
        ({"dbname": "nowhere"}, StoreFailed),
        ({"sslmode": "require"}, StoreFailed),
    ):
        store = PostgresStore(psycopg.conninfo.make_conninfo(**address | change))
        for call in (lambda s=store: s.entries(GREEN), lambda s=store: s.replace(Pass(JANUARY, tmp_path), source())):
            with pytest.raises(kind) as failed:
                call()
            assert address["password"] not in str(failed.value)


def test_environment_variables_that_may_be_the_cause_are_named(uri, monkeypatch):  # noqa: F811
    monkeypatch.setenv("PGSSLMODE", "require")
    with pytest.raises(StoreFailed, match=r"SSL was required \(PGSSLMODE of the environment counts as well\)"):
        PostgresStore(uri).entries(GREEN)


def test_a_table_that_stays_locked(uri, tmp_path, monkeypatch):  # noqa: F811
    store = PostgresStore(uri)
    store.replace(Pass(JANUARY, tmp_path), source())
    monkeypatch.setattr(postgres_tables, "ALTER_TRIES", 1)
    with psycopg.connect(uri) as other:
        other.execute("LOCK green_trips")
        with pytest.raises(StoreUnavailable, match="green_trips: is in use, for too long to add"):
            store.replace(Pass(FEBRUARY, tmp_path), source())


NOTHING = """
    CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TRIGGER nothing BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION nothing()"""


@pytest.mark.parametrize(
    ("table", "event", "by_rule"),
    [
        ("green_trips_2021_01", "DELETE", True),
        ("green_trips_2021_01", "DELETE", False),
        ("green_trips_2021_01", "INSERT", False),
        ("rejected_rows", "DELETE", True),
        ("rejected_rows", "INSERT", False),
        ("load_ledger", "DELETE", True),
        ("load_ledger", "INSERT", True),
        ("load_ledger", "INSERT", False),
    ],
)
def test_a_rule_or_a_trigger_that_does_nothing_instead(uri, tmp_path, table, event, by_rule):  # noqa: F811
    """Rows that a DELETE leaves, or an INSERT does not store, are noticed before the load commits."""
    store = PostgresStore(uri)
    store.replace(Pass(JANUARY, tmp_path, bad=3), source())
    rule = f"CREATE RULE nothing AS ON {event} TO {table} DO INSTEAD NOTHING"
    with psycopg.connect(uri) as connection:
        connection.execute(rule if by_rule else NOTHING.format(event=event, table=table))
    before = state(store, uri)
    with pytest.raises(StoreFailed) as failed:
        store.replace(Pass(JANUARY, tmp_path, rows=500, bad=2), source("sha256:2"))
    assert "\n" not in str(failed.value) and state(store, uri) == before


def test_a_column_is_added_between_readers(uri, tmp_path):  # noqa: F811
    """A long reader holds the column up; others go on reading meanwhile, and the load goes on when it ends."""
    import pyarrow as pa

    store = PostgresStore(uri)
    first = Pass(JANUARY, tmp_path)
    store.replace(first, source())
    longer = first.schema.insert(3, pa.field("robot_fee", pa.float64()))
    with psycopg.connect(uri) as reader, psycopg.connect(uri, autocommit=True) as other:
        reader.execute("SELECT count(*) FROM green_trips")
        load = threading.Thread(target=store.replace, args=(Pass(FEBRUARY, tmp_path, schema=longer), source()))
        load.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'green_trips'::regclass"
        wait_for(lambda: other.execute(waiting).fetchone() == (1,))
        assert other.execute("SELECT count(*) FROM green_trips").fetchone() == (1000,)  # and does not hang
        reader.rollback()
        load.join(20)
    assert store.counts(GREEN) == {JANUARY: 1000, FEBRUARY: 1000}

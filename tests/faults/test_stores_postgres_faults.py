"""What goes wrong in the middle of a load into Postgres leaves the old month as it was, and the next run loads."""

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

from flows.errors import Refused, StoreFailed
from flows.stores.postgres import PostgresStore
from infra.settings import ROOT
from tests.integration.stores_fixtures import FEBRUARY, JANUARY, Pass, Server, server, source, uri  # noqa: F401

TABLES = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"


def state(store: PostgresStore, uri: str) -> tuple:  # noqa: F811
    with psycopg.connect(uri) as connection:
        (tables,) = connection.execute(TABLES).fetchone()
    return store.entries(), store.counts(), store.count_rejected(JANUARY), tables


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("at", range(4))
def test_an_exception_at_any_batch(uri, tmp_path, at, blocks):  # noqa: F811
    store = PostgresStore(uri)
    store.replace(Pass(JANUARY, tmp_path, bad=3), source())
    before = state(store, uri)

    def fail(number: int) -> None:
        if number == at:
            raise Refused("https://example.org/x.csv.gz", "ends in the middle")

    with pytest.raises(Refused, match="ends in the middle"):
        store.replace(Pass(JANUARY, tmp_path, between=fail, bad=9, blocks=blocks), source("sha256:2"))
    assert state(store, uri) == before
    store.replace(Pass(JANUARY, tmp_path, rows=5), source("sha256:2"))
    assert store.count(JANUARY) == 5


@pytest.mark.parametrize("step", ["_replace_rejected", "_replace_entry"])
def test_an_exception_after_the_rows(uri, tmp_path, monkeypatch, step):  # noqa: F811
    store = PostgresStore(uri)
    store.replace(Pass(JANUARY, tmp_path, bad=3), source())
    before = state(store, uri)
    monkeypatch.setattr(f"flows.stores.postgres.{step}", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.replace(Pass(JANUARY, tmp_path, rows=5), source("sha256:2"))
    assert state(store, uri) == before


def test_a_pass_that_miscounts_is_not_believed(uri, tmp_path):  # noqa: F811
    store = PostgresStore(uri)
    store.replace(Pass(JANUARY, tmp_path, bad=3), source())
    before = state(store, uri)
    lies = Pass(JANUARY, tmp_path, rows=10)
    batches = lies._batches

    def one_too_many():
        yield from batches()
        lies.counts.rows_clean += 1

    lies._batches = one_too_many
    with pytest.raises(StoreFailed, match="green_trips_2021_01: took 10 rows of 11"):
        store.replace(lies, source("sha256:2"))
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
    """Its lock goes with it: the next load need not wait."""
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
    assert (store.entries(), store.counts()) == ([], {})
    store.replace(Pass(JANUARY, tmp_path), source())
    assert store.counts() == {JANUARY: 1000}


def test_the_server_dies_in_the_middle(tmp_path):
    own = Server(tmp_path)
    try:
        store = PostgresStore(own.url)
        store.replace(Pass(JANUARY, tmp_path, bad=3), source())
        with psycopg.connect(own.url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        before = state(store, own.url)

        def die(number: int) -> None:
            if number == 3:
                own.kill()

        with pytest.raises(StoreFailed) as failed:
            store.replace(Pass(JANUARY, tmp_path, between=die, rows=200_000), source("sha256:2"))
        assert "\n" not in str(failed.value)
        (own.data / "postmaster.pid").unlink(missing_ok=True)
        own.start()
        assert state(store, own.url) == before
        store.replace(Pass(JANUARY, tmp_path, rows=5), source("sha256:2"))
        assert store.count(JANUARY) == 5
    finally:
        own.stop()


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
        began = time.monotonic()
        assert other.execute("SELECT count(*) FROM green_trips").fetchone() == (1000,)
        assert time.monotonic() - began < 3
        reader.rollback()
        load.join(20)
    assert store.counts() == {JANUARY: 1000, FEBRUARY: 1000}

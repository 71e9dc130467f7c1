"""The Postgres store on a real server: what it stores, and what concurrent readers see."""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import replace

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql

from flows.datasets.tlc import GREEN
from flows.errors import StoreFailed
from flows.pipeline.open_stores import libpq_uri
from flows.stores.postgres import PostgresStore
from infra.blocks import postgres_block
from infra.postgres_url import postgres_url
from infra.settings import Settings
from tests.integration.stores_fixtures import FEBRUARY, JANUARY, Pass, replaced, server, source, uri  # noqa: F401
from tests.ledger_entries import refused_entry


@pytest.fixture
def store(uri: str) -> PostgresStore:  # noqa: F811
    return PostgresStore(uri)


@pytest.fixture
def query(uri: str):  # noqa: F811
    with psycopg.connect(uri, autocommit=True) as connection:

        def rows(text, *values):
            done = connection.execute(text, values or None)
            return done.fetchall() if done.description else []

        yield rows


def test_rejected_rows_are_stored_unchanged(store, query, tmp_path):
    store.replace(Pass(JANUARY, tmp_path, bad=7), source())
    assert query("SELECT DISTINCT dataset, partition_key, reason, row FROM rejected_rows") == [
        ("green", "2021-01", "zero_passengers", '{"n":"\\u0000"}')
    ]


def test_every_value_is_stored_unchanged(store, query, tmp_path):
    extra = [("new_fee", "1.25"), ('od"d\\', "é\n"), ("empty", None)]
    store.replace(Pass(JANUARY, tmp_path, rows=3, batches=1, value=-0.1, extra=extra), source())
    row = "vendor_id, pickup_datetime::text, trip_distance, store_and_fwd_flag, ehail_fee, source_month::text"
    assert query(f"SELECT {row} FROM green_trips ORDER BY 1") == [
        (n, "2021-01-31 23:59:59.123456", -0.1, flag, None, "2021-01-01") for n, flag in enumerate(["N", None, "Y"])
    ]
    assert query("SELECT DISTINCT extra_columns::text FROM green_trips")[0][0] == json.dumps(
        dict(extra), ensure_ascii=False, separators=(",", ":")
    )


def test_the_tables_of_a_blocked_partition(store, query, tmp_path):
    extra = [("new_fee", "1.25")]
    store.replace(Pass(JANUARY, tmp_path, rows=300, bad=4, extra=extra, blocks=True), source())
    assert query("SELECT count(*), min(extra_columns->>'new_fee') FROM green_trips_2021_01_blocked") == [(300, "1.25")]
    assert query("SELECT count(*) FROM green_trips_2021_01_blocked_rejected") == [(4,)]
    store.replace(Pass(JANUARY, tmp_path, rows=300, blocks=True), source("sha256:2"))
    store.replace(Pass(JANUARY, tmp_path, rows=800), source("sha256:3"))
    assert query("SELECT to_regclass('green_trips_2021_01_blocked')") == [(None,)]


# As the first version made it.
LEDGER_BEFORE = """
    CREATE TABLE trips_ledger (
        service text NOT NULL, month text NOT NULL, status text NOT NULL, source text NOT NULL, checksum text NOT NULL,
        bytes bigint NOT NULL, rows_read bigint NOT NULL, rows_loaded bigint NOT NULL, rows_rejected bigint NOT NULL,
        reasons json NOT NULL, contract_version text NOT NULL, checks json NOT NULL,
        started timestamptz NOT NULL, finished timestamptz NOT NULL, flow_run_id text,
        PRIMARY KEY (service, month, status), CHECK (rows_read = rows_loaded + rows_rejected));
    INSERT INTO trips_ledger VALUES ('green', '2020-12', 'loaded', 'https://example.org/1', 'sha256:0', 1, 2, 2, 0,
        '{}', '1', '[]', '2021-01-01 00:00+00', '2021-01-01 00:01+00', NULL)"""


def test_entries_are_kept_beside_those_of_an_earlier_version(store, query):
    query(LEDGER_BEFORE)
    (first,) = store.entries(GREEN)
    assert (first.load_id, first.source_etag) == ("", None)
    for entry in (refused_entry(JANUARY), replace(refused_entry(JANUARY), message="another", source_etag=None)):
        store.record(entry)
        assert store.entries(GREEN) == [first, entry] and store.entry(JANUARY, "refused") == entry


def test_an_entry_of_an_earlier_version_is_seen_again(store, query):
    query(LEDGER_BEFORE)
    (first,) = store.entries(GREEN)
    store.record(replace(first, source_etag='"new"'))
    assert store.entries(GREEN) == [replace(first, source_etag='"new"')]


def test_an_invalid_row_of_the_ledger_is_reported(store, query):
    store.record(refused_entry(JANUARY))
    query("UPDATE load_ledger SET status = 'archived'")
    with pytest.raises(StoreFailed, match=r"load_ledger: has a row that is not an entry .* 'archived' is none of"):
        store.entries(GREEN)


@pytest.mark.parametrize("table", ["load_ledger", "rejected_rows"])
def test_a_column_of_a_later_version_is_refused_by_name_and_kept(store, query, tmp_path, table):
    good = replaced(store, Pass(JANUARY, tmp_path, bad=1), source())
    query(f"ALTER TABLE {table} ADD COLUMN robot text; UPDATE {table} SET robot = 'r2'")
    calls = [lambda: store.replace(Pass(JANUARY, tmp_path, between=lambda n: pytest.fail("was read")), source("2"))]
    for call in calls + ([lambda: store.record(refused_entry(JANUARY))] if table == "load_ledger" else []):
        with pytest.raises(StoreFailed, match=f"{table}: does not fit .* of this version: robot is not in it"):
            call()
    assert store.entries(GREEN) == [good] and query(f"SELECT robot FROM {table}") == [("r2",)]


def test_a_column_that_the_rejected_rows_lack_is_added(store, query, tmp_path):
    query("CREATE TABLE rejected_trips (service text, source_month date, row text)")
    store.replace(Pass(JANUARY, tmp_path, bad=2), source())
    assert query("SELECT count(reason), max(row_number) FROM rejected_rows") == [(2, 2)]


@pytest.mark.parametrize("in_use_by", ["a view", "a reader"])
def test_a_blocked_month_that_is_in_use_is_emptied_and_filled_again(store, uri, query, tmp_path, in_use_by):  # noqa: F811
    rows = "SELECT count(*), min(trip_distance) FROM green_trips_2021_01_blocked"
    store.replace(Pass(JANUARY, tmp_path, rows=300, bad=4, blocks=True), source())
    with psycopg.connect(uri) as other:
        if in_use_by == "a view":
            query(f"CREATE VIEW mine AS {rows}")
            query("CREATE VIEW also_mine AS SELECT * FROM green_trips_2021_01_blocked_rejected")
        else:
            other.execute(rows)
            other.execute("SELECT * FROM green_trips_2021_01_blocked_rejected")
        store.replace(Pass(JANUARY, tmp_path, rows=200, bad=1, value=2.0, blocks=True), source("sha256:2"))
        assert query(rows) == [(200, 2.0)]
        assert query("SELECT count(*) FROM green_trips_2021_01_blocked_rejected") == [(1,)]
        assert replaced(store, Pass(JANUARY, tmp_path), source("sha256:3")).status == "loaded"
        assert query(rows) == [(0, None)]
        store.replace(Pass(JANUARY, tmp_path, rows=100, blocks=True), source("sha256:4"))
        assert query(rows) == [(100, 1.0)] and store.counts(GREEN) == {JANUARY: 1000}


def database(server, encoding: str) -> str:  # noqa: F811
    name = f"d{uuid.uuid4().hex[:12]}"
    options = f"ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {options}")
    return server.url.replace("/postgres", f"/{name}")


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize(
    ("encoding", "default"),
    [
        ("LATIN1", None),
        ("LATIN9", None),
        ("WIN1252", None),
        ("SQL_ASCII", None),
        ("UTF8", "LATIN1"),
    ],
)
def test_text_in_any_encoding_of_the_database(server, tmp_path, encoding, default, blocks):  # noqa: F811
    """Binary COPY stores the bytes that it is sent: `é` as two characters, where the server takes them for LATIN1."""
    uri = database(server, encoding)  # noqa: F811
    if default:
        with psycopg.connect(uri) as connection:
            connection.execute(f"ALTER DATABASE {connection.info.dbname} SET client_encoding = '{default}'")
    store = PostgresStore(uri)
    entry = replaced(store, Pass(JANUARY, tmp_path, bad=2, extra=[("zone", "Café")], blocks=blocks), source("sha256:é"))
    assert store.entries(GREEN) == [entry]
    with psycopg.connect(uri, client_encoding="UTF8") as connection:
        table = "green_trips_2021_01_blocked" if blocks else "green_trips"
        assert connection.execute(f"SELECT DISTINCT extra_columns::text FROM {table}").fetchall() == [
            ('{"zone":"Café"}',)
        ]
    if encoding in ("LATIN1", "LATIN9", "WIN1252"):
        with pytest.raises(StoreFailed, match=f'has no equivalent in encoding "{encoding}"') as failed:
            store.replace(Pass(JANUARY, tmp_path, rows=5, extra=[("zone", "東京")], blocks=blocks), source("sha256:2"))
        assert "\n" not in str(failed.value) and store.entries(GREEN) == [entry]
        assert store.counts(GREEN) == ({} if blocks else {JANUARY: 1000})


def test_a_user_a_password_and_a_database_with_spaces_and_signs(server, tmp_path):  # noqa: F811
    name, password = f"a user {uuid.uuid4().hex}", "p w@/:%#?\\'\""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), password))
        connection.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(name)))
    own = postgres_url(user=name, password=password, host="127.0.0.1", port=server.port, dbname=name)
    block = postgres_block(Settings(_env_file=None, postgres_url=f"{own}?options=-c%20statement_timeout%3D9s"))
    store = PostgresStore(libpq_uri(block))
    assert store.replace(Pass(JANUARY, tmp_path), source()).rows_loaded == store.count(JANUARY) == 1000


def test_the_schema_that_the_block_names(uri, query, tmp_path):  # noqa: F811
    query("CREATE SCHEMA taxi")
    block = postgres_block(Settings(_env_file=None, postgres_url=uri))
    block.connect_args = {"options": "-c search_path=taxi", "application_name": "mine"}
    store = PostgresStore(libpq_uri(block))
    store.replace(Pass(JANUARY, tmp_path, bad=2, blocks=True), source())
    store.replace(Pass(JANUARY, tmp_path, bad=2), source())
    assert (store.counts(GREEN), store.count_rejected(JANUARY)) == ({JANUARY: 1000}, 2)
    assert query("SELECT count(*) FROM taxi.green_trips") == [(1000,)]
    assert query("SELECT to_regclass('public.green_trips'), to_regclass('public.load_ledger')") == [(None, None)]


def test_columns_that_the_contract_gained_are_added(store, query, tmp_path):
    store.replace(Pass(JANUARY, tmp_path), source())
    whole = Pass(JANUARY, tmp_path).schema
    longer = whole.insert(3, pa.field("robot_fee", pa.float64())).insert(0, pa.field("robot", pa.string()))
    store.replace(Pass(FEBRUARY, tmp_path, schema=longer), source())
    assert store.counts(GREEN) == {JANUARY: 1000, FEBRUARY: 1000}
    assert query("SELECT count(*), count(robot_fee) FROM green_trips") == [(2000, 0)]
    with pytest.raises(
        StoreFailed, match="green_trips: does not fit the contract: robot is not in it; robot_fee is not in it"
    ):
        store.replace(Pass(JANUARY, tmp_path, schema=whole), source())


def test_any_other_difference_is_refused_before_anything_is_read(store, uri, tmp_path):  # noqa: F811
    store.replace(Pass(JANUARY, tmp_path), source())
    with psycopg.connect(uri) as connection:
        connection.execute("ALTER TABLE green_trips ALTER trip_distance TYPE real")
    with pytest.raises(StoreFailed, match="trip_distance is real, not double precision") as refused:
        store.replace(Pass(FEBRUARY, tmp_path, between=lambda number: pytest.fail("was read")), source())
    assert "\n" not in str(refused.value)
    assert store.counts(GREEN) == {JANUARY: 1000}


def test_readers_see_the_old_month_or_the_new_one(store, uri, tmp_path):  # noqa: F811
    """In every way to read: each statement by itself, prepared, and in one long snapshot."""
    store.replace(Pass(JANUARY, tmp_path, value=0.0), source())
    seen, stop = set(), threading.Event()
    count = "SELECT count(*), min(trip_distance), max(trip_distance) FROM green_trips WHERE source_month = '2021-01-01'"

    def read(prepare: bool) -> None:
        with psycopg.connect(uri, autocommit=True) as connection:
            while not stop.is_set():
                seen.add(connection.execute(count, prepare=prepare).fetchone())

    readers = [threading.Thread(target=read, args=(prepare,)) for prepare in (True, False)]
    with psycopg.connect(uri) as snapshot:
        snapshot.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        snapshot.execute("SELECT 1 FROM load_ledger")
        for reader in readers:
            reader.start()
        for number in range(1, 9):
            store.replace(Pass(JANUARY, tmp_path, value=float(number)), source())
        stop.set()
        for reader in readers:
            reader.join()
        assert snapshot.execute(count).fetchone() == (1000, 0.0, 0.0)
    assert seen <= {(1000, float(n), float(n)) for n in range(9)} and len(seen) > 2


def test_a_load_does_not_wait_for_a_long_reader(store, uri, tmp_path):  # noqa: F811
    store.replace(Pass(JANUARY, tmp_path), source())
    with psycopg.connect(uri) as reader:
        reader.execute("SELECT count(*) FROM green_trips")
        store.replace(Pass(JANUARY, tmp_path, rows=900), source())
        store.replace(Pass(FEBRUARY, tmp_path), source())
        assert reader.execute("SELECT count(*) FROM green_trips").fetchone() == (1900,)


def test_no_exception_has_the_password(uri, tmp_path):  # noqa: F811
    password = psycopg.conninfo.conninfo_to_dict(uri)["password"]
    for broken in (uri.replace(password, "hush%20hush"), uri.replace(password, "hush hush"), uri + "?hush=1&hush"):
        for call in (lambda s: s.replace(Pass(JANUARY, tmp_path), source()), lambda s: s.entries(GREEN)):
            with pytest.raises(StoreFailed) as failed:
                call(PostgresStore(broken.replace("?hush=1&hush", "?password=hush hush")))
            assert "hush" not in str(failed.value) and password not in str(failed.value)
            assert failed.value.__cause__ is None

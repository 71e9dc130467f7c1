"""Fixtures of the store tests: a PostgreSQL server, a database per test, passes over generated rows."""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from flows.datasets.dataset import Partition
from flows.datasets.outcome import Outcome
from flows.datasets.quality_check import CheckResult
from flows.datasets.rejected import REJECTED_SCHEMA
from flows.datasets.tlc import GREEN
from flows.errors import StoreFailed
from flows.stores.bigquery import BigQueryStore
from flows.stores.bucket import BucketStore
from flows.stores.ledger import LedgerEntry, LoadSource
from flows.stores.postgres import PostgresStore
from flows.stores.store import Store
from infra.local import embedded_postgres as postgres
from infra.local.processes import Process, free_port, spawn, stop, wait_healthy
from infra.settings import ROOT

JANUARY, FEBRUARY = GREEN.partition(2021, 1), GREEN.partition(2021, 2)


@dataclass
class Pass:
    """A `Cleaning` for a store, with generated rows: `rows` clean ones in `batches` batches, and `bad` rejected.

    `between(n)` is called before batch n is given out; `value` is in every row's trip_distance.
    """

    partition: Partition
    directory: Path
    rows: int = 1000
    batches: int = 4
    bad: int = 0
    value: float = 1.0
    extra: list[tuple[str, str | None]] | None = None
    between: Callable[[int], None] = lambda number: None
    blocks: bool = False
    schema: pa.Schema = None

    def __post_init__(self) -> None:
        self.schema = self.schema or self.partition.dataset.schema
        self.directory.mkdir(parents=True, exist_ok=True)
        self.rejected = self.directory / f"{uuid.uuid4()}.rejected.parquet"

    def reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def into(self, write: Callable[[pa.RecordBatchReader], int]) -> Outcome:
        inserted = write(self.reader())
        if inserted != self.rows:
            raise StoreFailed(str(self.partition), f"inserted {inserted} rows, expected {self.rows}")
        return Outcome(
            rows_read=self.rows + self.bad,
            rows_loaded=self.rows,
            reasons={"zero_passengers": self.bad} if self.bad else {},
            checks=(CheckResult("row_count", float(self.rows), 1.0, "block", not self.blocks),),
            contract_version="1",
        )

    def _batches(self) -> Iterator[pa.RecordBatch]:
        size = max(1, -(-self.rows // self.batches))
        for number, start in enumerate(range(0, self.rows, size)):
            self.between(number)
            yield self._batch(min(size, self.rows - start), start)
        if self.bad:
            partition = (self.partition.dataset.name, self.partition.key)
            rows = [(*partition, n + 1, "zero_passengers", '{"n":"\\u0000"}') for n in range(self.bad)]
            columns = [list(column) for column in zip(*rows, strict=True)]
            pq.write_table(pa.table(columns, schema=REJECTED_SCHEMA), self.rejected)

    def _batch(self, rows: int, start: int) -> pa.RecordBatch:
        moments = [dt.datetime(2021, 1, 31, 23, 59, 59, 123456)] * rows
        values = {
            self.partition.dataset.partition_column: [self.partition.column_value] * rows,
            "location_id": list(range(start, start + rows)),
            "at": moments,
            "pickup_datetime": moments,
            "vendor_id": list(range(start, start + rows)),
            "trip_distance": [self.value] * rows,
            "store_and_fwd_flag": ["N", None] * (rows // 2) + ["Y"] * (rows % 2),
            "extra_columns": [self.extra] * rows,
        }
        columns = [
            pa.array(values[f.name], f.type) if f.name in values else pa.nulls(rows, f.type) for f in self.schema
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def source(checksum: str = "sha256:1") -> LoadSource:
    return LoadSource(f"https://example.org/{checksum}.csv.gz", checksum, 12345, flow_run_id="run-1")


def replaced(store: Store, cleaning: Pass, source: LoadSource, **options: Any) -> LedgerEntry:
    """Load the pass. Returns the ledger entry, which has the same counts as the outcome."""
    outcome = store.replace(cleaning, source, **options)
    entry = store.entry(cleaning.partition, "blocked" if outcome.blocking else "loaded")
    assert entry is not None
    for name in ("rows_read", "rows_loaded", "rows_rejected", "reasons", "contract_version"):
        assert getattr(entry, name) == getattr(outcome, name)
    assert entry.checks == [asdict(check) for check in outcome.checks]
    return entry


class Server:
    """A PostgreSQL server of the tests' own, which can be killed and started again."""

    def __init__(self, state: Path) -> None:
        self.state, self.data, self.port = state, state / "pg", free_port()
        postgres.make_cluster(self.data)
        self.start()

    @property
    def url(self) -> str:
        return postgres.url(self.data, self.port, "postgres")

    def start(self) -> None:
        log = self.state / "pg.log"
        # A crash of the machine is not tested here, and a slow disk would only slow the tests down.
        command = [*postgres.server_command(self.data, self.port), "-c", "fsync=off"]
        options = postgres.spawn_options(self.data)
        self.process: Process = spawn(
            "PostgreSQL", command, log, env=os.environ, cwd=self.state, stop_signal=signal.SIGINT, **options
        )
        wait_healthy(self.process, log, lambda: postgres.answers(self.url), seconds=30)

    def kill(self) -> None:
        """Kill every process of the server, as a power cut would."""
        found = self.process.alive()
        family = [found, *found.children(recursive=True)]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=10)

    def stop(self) -> None:
        stop(self.process)

    def database(self) -> str:
        name = f"d{uuid.uuid4().hex[:12]}"
        postgres.ensure_databases(self.url, name)
        return postgres.url(self.data, self.port, name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    try:
        running = Server(tmp_path_factory.mktemp("postgres"))
    except postgres.PostgresUnavailable as reason:
        pytest.skip(str(reason))
    yield running
    running.stop()


@pytest.fixture
def uri(server: Server) -> str:
    """A new database."""
    return server.database()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.ConnectionError:
        return False


@contextmanager
def emulator(kind: str, state: Path) -> Iterator[str]:
    """Run the storage or bigquery emulator; gives its address."""
    port, log = free_port(), state / f"{kind}.log"
    command = [sys.executable, "-m", "infra.emulators", kind, "--port", str(port), "--state", state / kind]
    process = spawn(kind, command, log, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=state)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_healthy(process, log, lambda: answers(f"{address}/health"), seconds=30)
        yield address
    finally:
        stop(process)


@pytest.fixture(scope="module")
def storage_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[storage.Client]:
    with emulator("storage", tmp_path_factory.mktemp("storage")) as address:
        options = {"api_endpoint": address}
        yield storage.Client(project="taxiway-local", credentials=AnonymousCredentials(), client_options=options)


@pytest.fixture
def bucket(storage_client: storage.Client) -> storage.Bucket:
    """A new bucket."""
    return storage_client.create_bucket(f"b{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="module")
def bigquery_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bigquery.Client]:
    with emulator("bigquery", tmp_path_factory.mktemp("bigquery")) as address:
        options = {"api_endpoint": address}
        yield bigquery.Client(project="taxiway-local", credentials=AnonymousCredentials(), client_options=options)


@pytest.fixture
def dataset(bigquery_client: bigquery.Client) -> str:
    """A new dataset."""
    name = f"d{uuid.uuid4().hex[:12]}"
    bigquery_client.create_dataset(name)
    return name


@pytest.fixture
def bucket_address(bucket: storage.Bucket) -> str:
    """A new bucket, as `open_bucket` takes it."""
    return f"{bucket.client._connection.API_BASE_URL} {bucket.name}"


@pytest.fixture
def dataset_address(bigquery_client: bigquery.Client, dataset: str) -> str:
    """A new dataset, as `open_bigquery` takes it."""
    return f"{bigquery_client._connection.API_BASE_URL} {dataset}"


def emulated(address: str) -> dict[str, Any]:
    """A Google client's arguments for the emulator at the address."""
    options = {"api_endpoint": address}
    return {"project": "taxiway-local", "credentials": AnonymousCredentials(), "client_options": options}


def open_bucket(address: str) -> BucketStore:
    server, name = address.split()
    return BucketStore(storage.Client(**emulated(server)).bucket(name))


def open_bigquery(address: str) -> BigQueryStore:
    server, name = address.split()
    return BigQueryStore(bigquery.Client(**emulated(server)), name)


# Every store that the suites over all stores run on: the fixture that gives a new place, and what opens a store there.
STORES: dict[str, tuple[str, Callable[[str], Store]]] = {
    "postgres": ("uri", PostgresStore),
    "bucket": ("bucket_address", open_bucket),
    "bigquery": ("dataset_address", open_bigquery),
}


@dataclass(frozen=True)
class Place:
    """A new and empty place of one kind of store."""

    kind: str
    address: str

    def open(self) -> Store:
        return STORES[self.kind][1](self.address)


@pytest.fixture(params=list(STORES))
def place(request: pytest.FixtureRequest) -> Place:
    return Place(request.param, request.getfixturevalue(STORES[request.param][0]))

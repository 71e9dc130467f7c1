"""Google's clients for the tests of the emulators, or of real Google if TAXIWAY_LIVE_PROJECT names a project.

Real Google is called with the application-default credentials. Bucket and dataset are new, and deleted at the end.
"""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from google.cloud import bigquery, storage
from google.oauth2 import service_account as google_service_account

from infra.emulators.credentials import service_account
from infra.local.processes import Process, free_port, spawn, stop, wait_healthy
from infra.settings import ROOT

LIVE = os.environ.get("TAXIWAY_LIVE_PROJECT")
PROJECT = LIVE or "taxiway-local"

emulated = pytest.mark.skipif(bool(LIVE), reason="tests the emulators only; TAXIWAY_LIVE_PROJECT is set")


class Emulator:
    """One emulator in a process of its own, which can be stopped or killed, and started again on the same state."""

    def __init__(self, kind: str, state: Path) -> None:
        self._kind, self._state = kind, state
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "infra.emulators", self._kind, "--port", str(self.port)]
        self.log = self._state / f"{self._kind}.log"
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        command += ["--state", str(self._state / self._kind)]
        self.process: Process = spawn(self._kind, command, self.log, env=environment, cwd=self._state)
        wait_healthy(self.process, self.log, self._answers, seconds=30)

    def stop(self) -> None:
        stop(self.process)

    def kill(self) -> None:
        """Stop the process without a chance to clean up."""
        process = self.process.alive()
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def restart(self) -> None:
        self.stop()
        self.start()

    def storage_client(self) -> storage.Client:
        return storage.Client(PROJECT, self._credentials(), client_options={"api_endpoint": self.address})

    def bigquery_client(self) -> bigquery.Client:
        return bigquery.Client(PROJECT, self._credentials(), client_options={"api_endpoint": self.address})

    def _credentials(self) -> google_service_account.Credentials:
        key = service_account(PROJECT, f"{self.address}/token")
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        return google_service_account.Credentials.from_service_account_info(key, scopes=scopes)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.address}/health", timeout=2).ok
        except requests.ConnectionError:
            return False


@cache
def shared(kind: str) -> Emulator:
    """Return the emulator that all test modules share. It is stopped when the test run ends.

    It is no session fixture, because each module that imports one gets its own.
    """
    state = tempfile.TemporaryDirectory(prefix=f"taxiway-{kind}-")
    emulator = Emulator(kind, Path(state.name))
    atexit.register(state.cleanup)
    atexit.register(emulator.stop)
    return emulator


@pytest.fixture(scope="module")
def storage_emulator() -> Emulator | None:
    return None if LIVE else shared("storage")


@pytest.fixture(scope="module")
def bigquery_emulator() -> Emulator | None:
    return None if LIVE else shared("bigquery")


@pytest.fixture(scope="module")
def storage_client(storage_emulator: Emulator | None) -> storage.Client:
    return storage_emulator.storage_client() if storage_emulator else storage.Client(LIVE)


@pytest.fixture(scope="module")
def bucket(storage_client: storage.Client) -> Iterator[storage.Bucket]:
    made = storage_client.create_bucket(f"taxiway-test-{uuid.uuid4().hex[:12]}", location="US")
    yield made
    if LIVE:
        made.delete(force=True)


@pytest.fixture(scope="module")
def bigquery_client(bigquery_emulator: Emulator | None) -> bigquery.Client:
    return bigquery_emulator.bigquery_client() if bigquery_emulator else bigquery.Client(LIVE)


@pytest.fixture(scope="module")
def dataset(bigquery_client: bigquery.Client) -> Iterator[str]:
    """The full name of a new dataset."""
    name = f"{PROJECT}.taxiway_test_{uuid.uuid4().hex[:12]}"
    bigquery_client.create_dataset(name)
    yield name
    if LIVE:
        bigquery_client.delete_dataset(name, delete_contents=True, not_found_ok=True)


SCHEMA = [
    bigquery.SchemaField("vendor_id", "INTEGER"),
    bigquery.SchemaField("pickup_datetime", "DATETIME"),
    bigquery.SchemaField("fare_amount", "FLOAT"),
    bigquery.SchemaField("flag", "STRING"),
    bigquery.SchemaField("source_month", "DATE", mode="REQUIRED"),
]


@pytest.fixture
def trips(bigquery_client: bigquery.Client, dataset: str) -> str:
    """The full name of a new table, partitioned by month."""
    table = bigquery.Table(f"{dataset}.trips_{uuid.uuid4().hex[:8]}", schema=SCHEMA)
    table.time_partitioning = bigquery.TimePartitioning(type_="MONTH", field="source_month")
    bigquery_client.create_table(table)
    return str(table.reference)


def _rows(month: str, count: int, vendor: int = 1) -> list[dict[str, Any]]:
    """Return rows of a month."""
    row = {"vendor_id": vendor, "pickup_datetime": "2021-01-31T23:59:59", "fare_amount": 2.5, "source_month": month}
    return [row | {"flag": str(number)} for number in range(count)]


def parquet(month: str, count: int, vendor: int = 1, **columns: pa.Array) -> io.BytesIO:
    """Return the same rows as a parquet file; `columns` replaces or adds columns."""
    kinds = {
        "vendor_id": pa.int32(),
        "pickup_datetime": pa.timestamp("us"),
        "fare_amount": pa.float64(),
        "flag": pa.string(),
        "source_month": pa.date32(),
    }
    given = _rows(month, count, vendor)
    table = {name: pa.array([row[name] for row in given]).cast(kind) for name, kind in kinds.items()}
    file = io.BytesIO()
    pq.write_table(pa.table(table | columns), file)
    file.seek(0)
    return file


def load_config(**options: Any) -> bigquery.LoadJobConfig:
    """Return the configuration with which the stores replace a partition, changed by `options`."""
    settings = {"schema": SCHEMA, "source_format": "PARQUET", "write_disposition": "WRITE_TRUNCATE"}
    settings["create_disposition"] = "CREATE_NEVER"
    return bigquery.LoadJobConfig(**{name: value for name, value in (settings | options).items() if value is not None})


def load(client: bigquery.Client, target: str, file: io.BytesIO, **options: Any) -> bigquery.LoadJob:
    """Load a file and wait for the end of the job; raise its error."""
    return finished(client.load_table_from_file(file, target, job_config=load_config(**options)))


def finished(job: Any) -> Any:
    """Wait for the end of the job; raise its error. `result` alone polls once a second."""
    while not job.done():
        time.sleep(0.02)
    job.result()
    return job


def months(client: bigquery.Client, table: str) -> dict[str, int]:
    """Count the rows of each month in the table."""
    counts = client.query_and_wait(f"SELECT source_month, COUNT(*) FROM `{table}` GROUP BY source_month")
    return {month.isoformat()[:7]: count for month, count in counts}

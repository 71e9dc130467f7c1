"""A load into the bucket or BigQuery that fails on the way: an exception, a killed process, a slow connection."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest

from flows.errors import Refused
from flows.stores.bucket import BucketStore
from flows.stores.warehouse import WarehouseStore
from infra.settings import ROOT
from tests.integration.stores_fixtures import (  # noqa: F401
    JANUARY,
    STORES,
    Pass,
    bigquery_client,
    bucket,
    bucket_address,
    dataset,
    dataset_address,
    source,
    state,
    storage_client,
)


@pytest.fixture(params=["bucket", "warehouse"])
def store(request):
    if request.param == "bucket":
        return BucketStore(request.getfixturevalue("bucket"))
    return WarehouseStore(request.getfixturevalue("bigquery_client"), request.getfixturevalue("dataset"))


@pytest.mark.parametrize("at", range(4))
def test_an_exception_at_any_batch(store, tmp_path, at):
    store.replace(Pass(JANUARY, tmp_path, bad=3), source())
    before = state(store)

    def fail(number: int) -> None:
        if number == at:
            raise Refused("https://example.org/x.csv.gz", "ends in the middle")

    with pytest.raises(Refused, match="ends in the middle"):
        store.replace(Pass(JANUARY, tmp_path, between=fail, bad=9), source("sha256:2"))
    assert state(store) == before


LOADER = """
import sys, time
from pathlib import Path
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage
from flows.stores.bucket import BucketStore
from flows.stores.warehouse import WarehouseStore
from tests.integration.stores_fixtures import JANUARY, Pass, source

kind, address, name, directory = sys.argv[1:]
options = {"project": "taxiway-local", "credentials": AnonymousCredentials()}
options["client_options"] = {"api_endpoint": address}
if kind == "bucket":
    store = BucketStore(storage.Client(**options).bucket(name))
else:
    store = WarehouseStore(bigquery.Client(**options), name)

def slowly(number):
    if number == 2:
        print("in the middle", flush=True)
        time.sleep(60)

store.replace(Pass(JANUARY, Path(directory), between=slowly), source("sha256:2"))
"""


def test_a_killed_loader(store, request, tmp_path):
    store.replace(Pass(JANUARY, tmp_path, bad=3), source())
    before = state(store)
    if isinstance(store, BucketStore):
        where = "bucket", request.getfixturevalue("storage_client")._connection.API_BASE_URL
        name = request.getfixturevalue("bucket").name
    else:
        where = "warehouse", request.getfixturevalue("bigquery_client")._connection.API_BASE_URL
        name = request.getfixturevalue("dataset")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOADER, *where, name, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as child:
        assert child.stdout.readline() == "in the middle\n"
        child.send_signal(signal.SIGKILL)
    assert state(store) == before
    store.replace(Pass(JANUARY, tmp_path, rows=5), source("sha256:2"))
    assert (store.counts(), store.count_rejected(JANUARY)) == ({JANUARY: 5}, 0)


class Noise(Pass):
    """Rows that cannot be compressed, so that a month of few rows is large."""

    def _batch(self, rows: int, start: int) -> pa.RecordBatch:
        batch, random = super()._batch(rows, start), np.random.default_rng(start)
        columns = [
            pa.array(random.random(rows)) if field.type == pa.float64() else column
            for field, column in zip(batch.schema, batch.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def pipe(source: socket.socket, to: socket.socket, rate: int | None) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            if rate:
                time.sleep(len(data) / rate)
            to.sendall(data)
    for end in (source, to):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def slow_line(port: int, rate: int) -> Iterator[int]:
    """A line to the port that takes `rate` bytes a second. Gives its own port."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                for ends in ((client, server, rate), (server, client, None)):
                    threading.Thread(target=pipe, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


@pytest.mark.parametrize("kind", ["bucket", "bigquery"])
def test_a_line_on_which_a_month_takes_longer_than_any_answer(request, tmp_path, monkeypatch, kind):
    address, name = request.getfixturevalue(STORES[kind][0]).split()
    for module in ("bucket", "warehouse_jobs"):
        monkeypatch.setattr(f"flows.stores.{module}.TIMEOUT", (3.0, 3.0))
    cleaning = Noise(JANUARY, tmp_path, rows=120_000, batches=10)
    with slow_line(urlsplit(address).port, 1_000_000) as port:
        store = STORES[kind][1](f"http://127.0.0.1:{port} {name}")
        assert store.replace(cleaning, source()).rows_loaded == store.count(JANUARY) == 120_000

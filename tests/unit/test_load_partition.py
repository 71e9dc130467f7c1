"""A disk that fails during a load: nothing is recorded of the source, and a retry may succeed."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from flows.datasets.tlc import GREEN
from flows.datasets.tlc.generate import generate
from flows.errors import SourceUnavailable
from flows.pipeline.due import Due, Reason
from flows.pipeline.load_partition import load_file, load_partition
from flows.reading.parquet_file import ParquetFile
from flows.stores.batches import write_parquet
from flows.stores.ledger import LoadSource
from infra.settings import settings

MONTH = GREEN.partition(2021, 1)
SOURCE = LoadSource("https://a.example/x.csv.gz", "sha256:1", 9)


class Files:
    """A store that only writes the partition to a file."""

    name = "bucket"

    def replace(self, cleaning, source, *, work_dir):
        return cleaning.into(lambda batches: write_parquet(batches, cleaning.schema, work_dir / "month.parquet"))


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow beyond 4 KB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_a_transient_error(tmp_path):
    file = tmp_path / f"{MONTH.stem}.csv.gz"
    generate(MONTH, file, rows=200, seed=1)
    with full_disk(), pytest.raises(SourceUnavailable, match=f"{MONTH}: failed on the local disk: .*too large"):
        asyncio.run(load_file.fn(Files(), MONTH, file, SOURCE))


def test_a_missing_spool_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("TAXIWAY_SPOOL_DIR", str(tmp_path / "nowhere"))
    settings.cache_clear()
    end = asyncio.run(load_partition(Files(), Due(MONTH, Reason.NEW), None, force=False))
    settings.cache_clear()
    assert end.transient and "nowhere" in str(end) and "unexpected" not in str(end)


def test_a_disk_error_is_not_a_damaged_file(tmp_path):
    """A refused source would wait until it changes."""
    with pytest.raises(FileNotFoundError):
        ParquetFile(tmp_path / "gone.parquet", "https://a.example/x.parquet")

"""A pipeline's data path without Prefect, as a process of its own: clean a file into Postgres, or into parquet."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from flows.datasets.cleaning import Cleaning
from flows.datasets.tlc import YELLOW
from flows.stores.ledger import LoadSource
from flows.stores.postgres import PostgresStore

MONTH = YELLOW.partition(2021, 1)


def csv_to_postgres(file: str, url: str) -> None:
    """As `flows/web_to_postgres.py` does it after the download: typed, checked, rejected rows kept, month replaced."""
    with tempfile.TemporaryDirectory() as directory:
        cleaning = Cleaning(Path(file), MONTH, YELLOW.rules.get("postgres", ()), Path(directory, "rejected.parquet"))
        PostgresStore(url).replace(cleaning, LoadSource(file, "sha256:0", 0), work_dir=Path(directory))


def csv_to_parquet(file: str, out: str) -> None:
    """As `flows/web_to_gcs.py` does it up to the upload."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as directory:
        cleaning = Cleaning(Path(file), MONTH, YELLOW.rules.get("bucket", ()), Path(directory, "rejected.parquet"))
        with pq.ParquetWriter(out, cleaning.schema, compression="zstd", compression_level=3) as writer:

            def write(batches: pa.RecordBatchReader) -> int:
                rows = 0
                for batch in batches:
                    writer.write_batch(batch)
                    rows += len(batch)
                return rows

            cleaning.into(write)


if __name__ == "__main__":
    {"postgres": csv_to_postgres, "parquet": csv_to_parquet}[sys.argv[1]](*sys.argv[2:])

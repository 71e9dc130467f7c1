"""Generates months with TLC's layouts and typical errors, for use without TLC's server and for benchmarks.

    python -m flows.datasets.tlc.generate green 2021-01 --rows 76518 --out /tmp/months

The same service, month, rows, seed and file type give the same bytes, with the same versions of numpy, pyarrow and
zlib.
"""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import typer

from flows.datasets.dataset import Partition
from flows.datasets.registry import named
from flows.datasets.tlc import DATASETS, GREEN, YELLOW
from flows.datasets.tlc.generated.hire import HireMonth
from flows.datasets.tlc.generated.taxi import TaxiMonth

BLOCK = 1 << 17
"""Rows that are generated, and written as a row group, at a time; this limits the memory."""


def generate(month: Partition, path: Path, *, rows: int, seed: int = 1) -> Path:
    """Write a month of `rows` rows to `path`, as `.parquet` or `.csv.gz` by its extension, and return the path.

    The names, order and types of the columns are those of TLC's file of that month; a csv has the layout of 2019. The
    rows have the errors of real files: no meter fields (from 2020 on), zero passengers, negative fares, pickups of
    other months and years, absurd distances. The file gets its name when it is complete.

    Raises:
        ValueError: another extension, a negative number of rows, a month before the service's first, or a layout that
            is not generated (csv before 2019, yellow before 2011).
    """
    csv = path.name.endswith(".csv.gz")
    if not csv and path.suffix != ".parquet":
        raise ValueError(f"{path.name}: a generated month is a .parquet or a .csv.gz")
    if rows < 0:
        raise ValueError(f"{month}: {rows} rows cannot be generated")
    if month.key < month.dataset.first:
        raise ValueError(f"{month}: TLC's first {month.dataset} month is {month.dataset.first}")
    taxi = month.dataset in (YELLOW, GREEN)
    source = (TaxiMonth if taxi else HireMonth)(month, rows, csv=csv)
    part = path.with_name(f".{path.name}.part")
    try:
        with (_csv if csv else _parquet)(part, source.schema, month) as write:
            for start in range(0, rows, BLOCK):
                write(source.batch(_dice(month, seed, rows, start), start, min(start + BLOCK, rows)))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _dice(month: Partition, seed: int, rows: int, start: int) -> np.random.Generator:
    """A separate random generator for every block, so that no block depends on another one's draws."""
    number = DATASETS.index(month.dataset)
    return np.random.Generator(np.random.SFC64([seed, number, month.start.year, month.start.month, rows, start]))


Write = Callable[[pa.RecordBatch], None]


@contextmanager
def _parquet(path: Path, schema: pa.Schema, month: Partition) -> Iterator[Write]:
    # TLC used gzip until 2023-01 and zstd since. Always zstd here: gzip would take longer than everything else.
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        yield writer.write_batch


@contextmanager
def _csv(path: Path, schema: pa.Schema, month: Partition) -> Iterator[Write]:
    ending = b"\r\n" if month.start.year <= 2020 else b"\n"  # as TLC's files of these years
    plain = pc.WriteOptions(include_header=False, quoting_style="none")

    def write(batch: pa.RecordBatch) -> None:
        text = pa.BufferOutputStream()
        pc.write_csv(batch, text, plain)
        file.write(bytes(text.getvalue()).replace(b"\n", ending))

    # Without a name and a time in gzip's header, which would differ from run to run.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as file:
        file.write(",".join(schema.names).encode() + ending)
        yield write


def main(
    service: Annotated[str, typer.Argument(help="yellow, green, fhv or fhvhv")],
    month: Annotated[dt.datetime, typer.Argument(formats=["%Y-%m"], help="the month, as 2021-01")],
    rows: Annotated[int | None, typer.Option(min=0, help="default: as many as TLC published, or 100,000")] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="directory, created if needed")] = Path(),
    seed: Annotated[int, typer.Option(min=0)] = 1,
    csv: Annotated[bool, typer.Option("--csv", help="write .csv.gz instead of .parquet")] = False,
) -> None:
    """Generate a month, write it under TLC's file name and print its path."""
    try:
        partition = named(service).partition(month.year, month.month)
        if rows is None:
            rows = partition.published_rows or 100_000
        out.mkdir(parents=True, exist_ok=True)
        ending = ".csv.gz" if csv else ".parquet"
        typer.echo(generate(partition, out / f"{partition.stem}{ending}", rows=rows, seed=seed))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


if __name__ == "__main__":
    typer.run(main)

"""`make inspect`: read any file or URL by the contract, and show which rows would be loaded and rejected."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.datasets.cleaning import Cleaning
from flows.datasets.dataset import Dataset, Partition
from flows.datasets.layout import dataset_of
from flows.datasets.registry import datasets, named
from flows.errors import Refused, TaxiwayError
from flows.reading.address import public
from flows.reading.download import fetch
from flows.reading.open_file import open_raw


@dataclass
class Inspection:
    """A file's dataset, layout and row counts by the contract, without any store's rules; or why it is refused.

    `service` is None if neither the file's name nor its columns identify the dataset.
    """

    service: str | None = None
    layout: str | None = None
    rows_read: int = 0
    rows_clean: int = 0
    rows_rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    missing_columns: list[str] = field(default_factory=list)
    extra_columns: list[str] = field(default_factory=list)
    refused: str | None = None


def inspect(source: str, dataset: Dataset | None = None) -> Inspection:
    """Read a file or URL (https, http, file) by the contract. Nothing is stored.

    Without `dataset`, the file's name or else its columns identify it.
    """
    found = Inspection(service=dataset.name if dataset else None)
    shown = _shown(source)
    with tempfile.TemporaryDirectory(prefix="taxiway-inspect-") as work:
        try:
            path = fetch(source, Path(work, "spool")).path if "://" in source else _local(source)
            partition = _partition(path, shown, dataset)
            found.service = partition.dataset.name
            cleaning = Cleaning(path, partition, [], Path(work, "rejected.parquet"), subject=shown)
            found.layout, found.missing_columns = cleaning.layout.name, list(cleaning.layout.missing)
            outcome = cleaning.into(lambda batches: sum(batch.num_rows for batch in batches))
        except TaxiwayError as refused:
            found.refused = " ".join(str(refused).split())
            return found
    found.rows_read, found.rows_clean = outcome.rows_read, outcome.rows_loaded
    found.rows_rejected = outcome.rows_rejected
    found.reasons = dict(Counter(outcome.reasons).most_common())
    found.extra_columns = list(outcome.extra_columns)
    return found


def _shown(source: str) -> str:
    return public(source) if "://" in source else source


def _local(source: str) -> Path:
    path = Path(source).expanduser()
    if path.is_dir():
        raise Refused(source, "is a directory")
    try:
        path.open("rb").close()
    except OSError as error:
        raise Refused(source, f"cannot be read: {error.strerror}") from None
    return path


def _partition(path: Path, source: str, dataset: Dataset | None) -> Partition:
    """The partition of the file's name; without one, the first partition of the dataset, as nothing is stored."""
    named_in = (each.partition_in(path.name) for each in ([dataset] if dataset else datasets().values()))
    if partition := next(filter(None, named_in), None):
        return partition
    dataset = dataset or dataset_of(open_raw(path, source).header)
    if not dataset:
        raise Refused(source, "is of no known dataset, by its name or by its columns")
    return next(dataset.partitions_until(dt.date.max))


def _table(source: str, found: Inspection) -> Table:
    """The inspection as a table for the terminal."""
    table = Table(title=Text(Path(_shown(source)).name), title_justify="left", show_header=False)
    for name, value in asdict(found).items():
        shown = f"{value:,}" if isinstance(value, int) else value
        if isinstance(value, dict):
            shown = "\n".join(f"{reason}: {rows:,}" for reason, rows in value.items())
        if isinstance(value, list):
            shown = ", ".join(value)
        if shown:
            table.add_row(name, Text(str(shown)))
    return table


def main(
    file: Annotated[str, typer.Argument(help="path or URL (https, http, file) of a csv, csv.gz or parquet file")],
    service: Annotated[str | None, typer.Option(help="the dataset; default: by the file's name or columns")] = None,
) -> None:
    """Read any file by the contract: a table on standard error, one JSON object on standard output.

    Exits with 1 if the file is refused.
    """
    try:
        dataset = named(service) if service else None
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from None
    found = inspect(file, dataset)
    Console(stderr=True).print(_table(file, found))
    print(json.dumps(asdict(found)))
    raise typer.Exit(1 if found.refused else 0)


if __name__ == "__main__":
    typer.run(main)

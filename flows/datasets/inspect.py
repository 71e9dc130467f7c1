"""`make inspect`: any file or URL read through the contract, and what would become of its rows."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.datasets.cleaning import Cleaning, open_raw
from flows.datasets.layout import service_of
from flows.datasets.partition import Month, Service
from flows.datasets.source_address import public
from flows.errors import Refused, TaxiwayError
from flows.reading.download import fetch

TLC_NAME = re.compile(r"(yellow|green|fhvhv|fhv)_tripdata_(\d{4})-(0[1-9]|1[0-2])(?!\d)")

# What `source_month` says where the file's name tells no month; no row leaves this command.
NO_MONTH = (1, 1)


@dataclass
class Inspection:
    """What a file is and what would become of its rows, by the contract alone: no store's rules.

    Attributes:
        service: yellow, green, fhv or fhvhv; None where neither name nor columns tell.
        layout: the layout's name; None for a file refused before its header was read.
        rows_read, rows_clean, rows_rejected: rows, the first the sum of the others; 0 for a refused file.
        reasons: reason -> rejected rows.
        missing_columns: the contract's columns that the file does not have.
        extra_columns: the file's columns that the contract does not have.
        refused: why the file is refused whole, in one line; None where it is not.
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


def inspect(source: str, service: Service | None = None) -> Inspection:
    """Read a file, or what a URL (https, http, file) gives, through the contract; nothing of it is kept.

    Without `service` the file's name tells it, else its columns.
    """
    found = Inspection(service=service)
    shown = _shown(source)
    with tempfile.TemporaryDirectory(prefix="taxiway-inspect-") as work:
        try:
            path = fetch(source, Path(work, "spool")).path if "://" in source else _local(source)
            month = _month(path, shown, service)
            found.service = month.service
            cleaning = Cleaning(path, month, [], Path(work, "rejected.parquet"), subject=shown)
            counts = cleaning.counts
            found.layout = counts.layout
            found.missing_columns, found.extra_columns = counts.missing_columns, counts.extra_columns
            for _ in cleaning.reader():
                pass
        except TaxiwayError as refused:
            found.refused = " ".join(str(refused).split())
            return found
    found.rows_read, found.rows_clean, found.rows_rejected = counts.rows_read, counts.rows_clean, counts.rows_rejected
    found.reasons = dict(counts.reasons.most_common())
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


def _month(path: Path, source: str, service: Service | None) -> Month:
    """The month that the file's name tells, of the service given, named or shown by the columns."""
    name = TLC_NAME.search(path.name)
    year, month = (int(name[2]), int(name[3])) if name else NO_MONTH
    found = service or (Service(name[1]) if name else service_of(open_raw(path, source).header))
    if not found:
        raise Refused(source, "tells no service, neither by its name nor by its columns")
    return Month(found, max(year, 1), month)


def _table(source: str, found: Inspection) -> Table:
    """The same for a person."""
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
    service: Annotated[Service | None, typer.Option(help="whose trips; else the file's name or columns tell")] = None,
) -> None:
    """Read any file through the contract: a table on standard error, one JSON object on standard output.

    Exits with 1 where the file is refused.
    """
    found = inspect(file, service)
    Console(stderr=True).print(_table(file, found))
    print(json.dumps(asdict(found)))
    raise typer.Exit(1 if found.refused else 0)


if __name__ == "__main__":
    typer.run(main)

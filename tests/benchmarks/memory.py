"""`make bench-memory`: the peak memory of a load of 1.5 million rows beside that of one of 15 million."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from flows.datasets.tlc.generate import generate
from tests.benchmarks.load import database, measure
from tests.benchmarks.our_way import MONTH


def main(rows: Annotated[int, typer.Option(help="of the smaller month; the other has ten times")] = 1_500_000) -> None:
    """Measure, and print one table."""
    table = Table("csv.gz to", "rows", "wall s", "CPU s", "peak MB", "times the memory")
    with tempfile.TemporaryDirectory(prefix="taxiway-bench-") as directory, database(Path(directory)) as url:
        file = Path(directory, f"{MONTH.stem}.csv.gz")
        peaks: dict[str, float] = {}
        for count in (rows, 10 * rows):
            generate(MONTH, file, rows=count, seed=1)
            for what, to in (("postgres", url), ("parquet", str(Path(directory, "out.parquet")))):
                cost = measure("our_way", what, str(file), to)
                ratio = cost.peak / peaks.setdefault(what, cost.peak)
                figures = (f"{cost.wall:.1f}", f"{cost.cpu:.1f}", f"{cost.peak:.0f}", f"{ratio:.2f}")
                table.add_row(what, f"{count:,}", *figures)
    Console(width=100).print(table)


if __name__ == "__main__":
    typer.run(main)

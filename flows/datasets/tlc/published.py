"""How many rows TLC published for each month.

`published_counts.csv` holds, for 2009-01 to 2024-05, the number of rows of every parquet file that TLC published, as
recorded by the repository lykmapipo/NYC-TLC-Trip-Data from the files themselves. TLC's earlier CSV files hold up to
10% fewer rows for some months (green 2019-04: 514,392 against 567,852). No figure of that table is an estimate; a month
that is not in it is unknown.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path


def published_rows(service: str, month: str) -> int | None:
    """How many rows TLC's parquet file of a month (`2021-01`) holds; None where that is not known."""
    return _counts().get((service, month))


@cache
def _counts() -> dict[tuple[str, str], int]:
    with Path(__file__).with_name("published_counts.csv").open(newline="") as file:
        return {(row["service"], row["month"]): int(row["rows"]) for row in csv.DictReader(file)}

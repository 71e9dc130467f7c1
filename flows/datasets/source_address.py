"""Where a month is, which months there are, and how many rows TLC published for each.

`published_counts.csv` holds, for 2009-01 to 2024-05, the number of rows of every parquet file that TLC published, as
recorded by the repository lykmapipo/NYC-TLC-Trip-Data from the files themselves. TLC's earlier CSV files hold up to
10% fewer rows for some months (green 2019-04: 514,392 against 567,852). No figure of that table is an estimate; a month
it does not have is simply unknown.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from flows.datasets.partition import Month, Service
from flows.reading import address
from flows.reading.address import PUBLIC_URL, public, require_public

__all__ = [
    "FIRST_MONTH",
    "PUBLIC_URL",
    "months_of",
    "months_until",
    "public",
    "published_rows",
    "require_public",
    "source_url",
]

FIRST_MONTH = {
    Service.YELLOW: Month(Service.YELLOW, 2009, 1),
    Service.GREEN: Month(Service.GREEN, 2013, 8),
    Service.FHV: Month(Service.FHV, 2015, 1),
    Service.FHVHV: Month(Service.FHVHV, 2019, 2),
}
"""The first month that TLC published, per service."""


def source_url(template: str, month: Month) -> str:
    """Where a month is, by a template. Raises ValueError, one line that says what is wrong with the template."""
    fields = {"service": month.service.value, "year": month.year, "month": month.month}
    return address.source_url(template, fields, required=("year", "month"))


def months_of(text: str) -> list[int]:
    """Month numbers from text such as `1,2,3` or `1-3,12`: ascending, each once.

    Raises:
        ValueError: one line, if there is none, or one is not 1 to 12.
    """
    numbers: set[int] = set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        low, dash, high = part.partition("-")
        try:
            span = range(int(low), int(high if dash else low) + 1)
        except ValueError:
            raise ValueError(f"months {text!r}: {part!r} is not a month; write them as 1,2,3 or 1-3") from None
        if not span or span[0] < 1 or span[-1] > 12:
            raise ValueError(f"months {text!r}: {part!r} is not within 1 to 12")
        numbers.update(span)
    if not numbers:
        raise ValueError(f"months {text!r}: there is none; write them as 1,2,3 or 1-3")
    return sorted(numbers)


def months_until(service: Service, last: dt.date) -> Iterator[Month]:
    """Every month of a service from the first that TLC published to the one that holds the day `last`, in order."""
    month = FIRST_MONTH[service]
    while month.first <= last:
        yield month
        month = Month(service, month.year + month.month // 12, month.month % 12 + 1)


def published_rows(month: Month) -> int | None:
    """How many rows TLC's parquet file of a month holds; None where that is not known."""
    return _published().get((month.service.value, month.label))


@cache
def _published() -> dict[tuple[str, str], int]:
    with Path(__file__).with_name("published_counts.csv").open(newline="") as file:
        return {(row["service"], row["month"]): int(row["rows"]) for row in csv.DictReader(file)}

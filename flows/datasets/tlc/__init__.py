"""The trip records of the New York City Taxi and Limousine Commission (TLC): four datasets with monthly partitions."""

from __future__ import annotations

import csv
from collections.abc import Collection
from functools import cache, partial
from pathlib import Path

from flows.datasets.column import Column
from flows.datasets.dataset import Dataset, Partitioning
from flows.datasets.tlc.checks import CHECKS, SAMPLE_ROWS
from flows.datasets.tlc.columns import FHV_COLUMNS, FHVHV_COLUMNS, GREEN_COLUMNS, YELLOW_COLUMNS
from flows.datasets.tlc.layouts import LAYOUTS
from flows.datasets.tlc.rules import RULES

TLC_URL = "https://d37ci6vzurychx.cloudfront.net/trip-data/{service}_tripdata_{year}-{month:02}.parquet"


def published_rows(service: str, month: str) -> int | None:
    """How many rows TLC's parquet file of a month (`2021-01`) has; None if unknown."""
    return _published_counts().get((service, month))


@cache
def _published_counts() -> dict[tuple[str, str], int]:
    """The exact row counts of TLC's parquet files, 2009-01 to 2024-05, from lykmapipo/NYC-TLC-Trip-Data.

    TLC's earlier CSV files have up to 10% fewer rows in some months (green 2019-04: 514,392 instead of 567,852).
    """
    with Path(__file__).with_name("published_counts.csv").open(newline="") as file:
        return {(row["service"], row["month"]): int(row["rows"]) for row in csv.DictReader(file)}


def _trips(name: str, first: str, columns: tuple[Column, ...], *marks: str, signature: Collection[str] = ()) -> Dataset:
    return Dataset(
        name=name,
        table=f"{name}_trips",
        columns=columns,
        partitioning=Partitioning.MONTH,
        source=TLC_URL,
        file_name="{service}_tripdata_{year}-{month:02}",
        first=first,
        rules=RULES,
        checks=CHECKS,
        sample_rows=SAMPLE_ROWS,
        published_rows=partial(published_rows, name),
        layouts={layout: header for layout, header in LAYOUTS.items() if layout.partition("-")[0] == name},
        marks=frozenset(marks),
        signature=frozenset(signature),
    )


YELLOW = _trips(
    "yellow",
    "2009-01",
    YELLOW_COLUMNS,
    *("tpeppickupdatetime", "trippickupdatetime"),
    # The files of 2010 to 2014 have no column name that only yellow files have.
    signature=("vendorid", "pickupdatetime", "totalamount"),
)
GREEN = _trips("green", "2013-08", GREEN_COLUMNS, "lpeppickupdatetime")
FHV = _trips("fhv", "2015-01", FHV_COLUMNS, "dispatchingbasenum", "dispatchingbasenumber")
FHVHV = _trips("fhvhv", "2019-02", FHVHV_COLUMNS, "hvfhslicensenum")

DATASETS = (YELLOW, GREEN, FHV, FHVHV)

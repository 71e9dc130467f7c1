"""The trip records of the New York City Taxi and Limousine Commission (TLC): four datasets, a partition a month."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from flows.datasets.column import Column
from flows.datasets.dataset import Dataset, Partitioning
from flows.datasets.tlc.checks import CHECKS, SAMPLE_ROWS
from flows.datasets.tlc.columns import FHV_COLUMNS, FHVHV_COLUMNS, GREEN_COLUMNS, YELLOW_COLUMNS
from flows.datasets.tlc.layouts import LAYOUTS
from flows.datasets.tlc.published import published_rows
from flows.datasets.tlc.rules import RULES

TLC_URL = "https://d37ci6vzurychx.cloudfront.net/trip-data/{service}_tripdata_{year}-{month:02}.parquet"


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
    # The files of 2010 to 2014 have no name of their own.
    signature=("vendorid", "pickupdatetime", "totalamount"),
)
GREEN = _trips("green", "2013-08", GREEN_COLUMNS, "lpeppickupdatetime")
FHV = _trips("fhv", "2015-01", FHV_COLUMNS, "dispatchingbasenum", "dispatchingbasenumber")
FHVHV = _trips("fhvhv", "2019-02", FHVHV_COLUMNS, "hvfhslicensenum")

DATASETS = (YELLOW, GREEN, FHV, FHVHV)

"""The taxi zones of New York: TLC's lookup table of location ids, a dataset of one partition."""

from __future__ import annotations

from flows.datasets.column import INT, TEXT, Column
from flows.datasets.dataset import Dataset, Partitioning
from flows.datasets.quality_check import duplicate_rows, rejected_rows

ZONES = Dataset(
    name="zones",
    table="zones",
    columns=(
        Column("location_id", INT, required=True),
        Column("borough", TEXT),
        Column("zone", TEXT),
        Column("service_zone", TEXT),
    ),
    partitioning=Partitioning.WHOLE,
    source="https://d37ci6vzurychx.cloudfront.net/misc/taxi_zone_lookup.csv",
    file_name="taxi_zone_lookup",
    # With a row too few or too many, every join is wrong.
    checks=(rejected_rows("rows_rejected", block=0.0), duplicate_rows("duplicate_rows", block=0.0)),
    layouts={"zones": "LocationID,Borough,Zone,service_zone"},
    marks=frozenset({"borough", "servicezone"}),
)

DATASETS = (ZONES,)

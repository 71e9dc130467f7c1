"""All real files of TLC in one table: complete months, samples of other years, first lines, and files without data."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flows.datasets.dataset import Partition
from flows.datasets.inspect import inspect
from flows.datasets.registry import named
from flows.datasets.tlc import GREEN
from flows.errors import Refused
from tests.reading import TLC, cleaned, needs_tlc

pytestmark = needs_tlc


class Expected(NamedTuple):
    """The counts of a complete month or a sample, by pandas."""

    layout: str
    rows: int
    zero_passengers: int
    outside_month: int
    dollars: float


FILES = {
    "green_tripdata_2013-08.csv": Expected("green-2013-08", 7_623, 3, 0, 121_680.67),
    "green_tripdata_2020-03.csv.gz": Expected("green-2019", 223_406, 294, 22, 3_733_767.72),
    "green_tripdata_2020-04.csv.gz": Expected("green-2019", 35_612, 132, 6, 701_002.26),
    "green_tripdata_2020-04.parquet": Expected("green-2019", 35_644, 132, 6, 701_850.27),
    "green_tripdata_2020-12.csv.gz": Expected("green-2019", 83_130, 210, 3, 1_933_848.78),
    "green_tripdata_2020-12.parquet": Expected("green-2019", 83_130, 210, 3, 1_933_848.78),
    "green_tripdata_2021-01.parquet": Expected("green-2019", 76_518, 147, 3, 1_803_898.05),
    "green_tripdata_2022-01.parquet": Expected("green-2019", 62_495, 214, 4, 1_093_070.80),
    "green_tripdata_2023-01.parquet": Expected("green-2019", 68_211, 336, 4, 1_486_275.22),
    "green_tripdata_2023-02.parquet": Expected("green-2019", 64_809, 370, 26, 1_418_317.50),
    "green_tripdata_2023-12.parquet": Expected("green-2019", 64_215, 462, 4, 1_557_922.15),
    "green_tripdata_2024-01.parquet": Expected("green-2019", 56_551, 512, 2, 1_266_922.59),
    "green_tripdata_2024-02.parquet": Expected("green-2019", 53_577, 535, 6, 1_212_653.08),
    "green_tripdata_2024-03.parquet": Expected("green-2019", 57_457, 559, 10, 1_316_042.93),
    "green_tripdata_2024-12.parquet": Expected("green-2019", 53_994, 747, 18, 1_295_611.51),
    "green_tripdata_2025-01.parquet": Expected("green-2025", 48_326, 647, 43, 1_093_822.36),
    "green_tripdata_2025-07.parquet": Expected("green-2025", 48_205, 762, 13, 1_238_099.21),
    "samples/fhv_tripdata_2020-04.csv": Expected("fhv-2022", 1_000, 0, 0, 0.00),
    "samples/fhvhv_tripdata_2020-04.csv": Expected("fhvhv-2022", 1_000, 0, 0, 0.00),
    "samples/green_tripdata_2019-01.csv": Expected("green-2019", 1_000, 1, 11, 17_790.05),
    "samples/yellow_tripdata_2009-01.csv": Expected("yellow-2009", 1_000, 0, 0, 10_854.89),
    "samples/yellow_tripdata_2015-01.csv": Expected("yellow-2015", 999, 0, 0, 15_285.71),
    "samples/yellow_tripdata_2018-11.parquet": Expected("yellow-2016-07", 10_000, 116, 22, 160_549.07),
    "samples/yellow_tripdata_2019-06.csv": Expected("yellow-2019", 1_000, 29, 16, 19_126.68),
    "samples/yellow_tripdata_2020-04.csv": Expected("yellow-2022", 1_000, 35, 0, 16_454.20),
    "samples/yellow_tripdata_2022-01.parquet": Expected("yellow-2022", 100_000, 2147, 25, 2_129_691.67),
    "samples/yellow_tripdata_2025-02.parquet": Expected("yellow-2025", 5_000, 24, 0, 125_524.09),
}

BAD = {
    "bad/yellow_tripdata_2020-04.html.csv.gz": "is an HTML page, not a data file",
    "bad/yellow_tripdata_2021-01.truncated.parquet": "is a cut-off parquet file: no PAR1 at its end, after 1,918,543 "
    "bytes",
    "bad/yellow_tripdata_2024-01.accessdenied.parquet": "is an XML document, not a data file (AccessDenied)",
}

# Not trip data, but not damaged either.
OTHER = {"PROVENANCE.tsv", "README.md", "published_counts.csv", "taxi_zone_lookup.csv"}

# First month of a layout -> its name, per service: which head must be read as which. The code knows no such dates.
HEADS = {
    "yellow": {
        "2009-01": "yellow-2009",
        "2010-01": "yellow-2010",
        "2015-01": "yellow-2015",
        "2016-07": "yellow-2016-07",
        "2019-01": "yellow-2019",
    },
    "green": {"2013-08": "green-2013-08", "2015-01": "green-2015", "2016-07": "green-2016-07", "2019-01": "green-2019"},
    "fhv": {
        "2015-01": "fhv-2015",
        "2017-01": "fhv-2017",
        "2017-07": "fhv-2017-07",
        "2018-01": "fhv-2018",
        "2019-01": "fhv-2017-07",
    },
    "fhvhv": {"2019-01": "fhvhv-2019"},
}


def month_of(path: Path) -> Partition:
    service, year, month = re.match(r"(\w+?)_tripdata_(\d{4})-(\d\d)", path.name).groups()
    return named(service).partition(int(year), int(month))


def test_the_table_has_every_file():
    heads = {f"heads/{path.name}" for path in (TLC / "heads").iterdir()}
    found = {str(path.relative_to(TLC)) for path in TLC.rglob("*") if path.is_file()}
    assert found == {*FILES, *BAD, *OTHER, *heads}
    assert len(heads) == 152


@pytest.mark.parametrize("name", FILES)
def test_whole_months_and_samples(name):
    path, expected = TLC / name, FILES[name]
    month = month_of(path)
    clean, counts, rejected = cleaned(path, month, GREEN.rules.get("bucket", ()))
    assert counts.layout == expected.layout
    assert (counts.rows_read, counts.rows_loaded, rejected) == (expected.rows, expected.rows, [])
    assert counts.extra_columns == ()
    pickups = clean["pickup_datetime"]
    inside = pc.and_(pc.equal(pc.year(pickups), month.start.year), pc.equal(pc.month(pickups), month.start.month))
    assert pc.sum(pc.invert(inside)).as_py() == expected.outside_month
    if month.dataset in ("yellow", "green"):
        assert (pc.sum(pc.equal(clean["passenger_count"], 0)).as_py() or 0) == expected.zero_passengers
        assert round(pc.sum(clean["total_amount"]).as_py(), 2) == expected.dollars
    assert pc.unique(clean["source_month"]).to_pylist() == [month.first_day]


@pytest.mark.parametrize("name", ["green_tripdata_2020-04.csv.gz", "green_tripdata_2021-01.parquet"])
def test_postgres_rejects_zero_passengers(name):
    path, expected = TLC / name, FILES[name]
    _, counts, rejected = cleaned(path, month_of(path), GREEN.rules.get("postgres", ()))
    assert counts.reasons == {"zero_passengers": expected.zero_passengers}
    assert counts.rows_read == expected.rows
    assert {float(row["row"]["passenger_count"]) for row in rejected} == {0}


def test_csv_and_parquet_of_a_month_hold_the_same_rows():
    month = GREEN.partition(2020, 12)
    # Where the CSV has no vendor, the parquet that TLC made of the month later has one.
    unlike = ["vendor_id", "extra_columns"]
    months = [cleaned(TLC / f"{month.stem}.{kind}", month).clean.drop_columns(unlike) for kind in ("csv.gz", "parquet")]
    of_csv, of_parquet = (table.sort_by([(name, "ascending") for name in table.column_names]) for table in months)
    assert of_csv.equals(of_parquet)


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_not_data_are_refused(name):
    with pytest.raises(Refused) as refused:
        cleaned(TLC / name, month_of(TLC / name))
    assert refused.value.reason == BAD[name]
    inspected = inspect(str(TLC / name))
    assert inspected.refused.endswith(BAD[name])


def test_a_table_of_no_dataset_is_refused():
    assert "is of no known dataset" in inspect(str(TLC / "published_counts.csv")).refused


def test_the_zones_are_a_dataset():
    found = inspect(str(TLC / "taxi_zone_lookup.csv"))
    assert (found.service, found.layout, found.rows_clean, found.rows_rejected) == ("zones", "zones", 265, 0)


def test_first_lines_of_files_of_every_layout():
    """Each row but the cut-off last one is clean; what the last one is, its own commas and quotes say."""
    for path in sorted((TLC / "heads").iterdir()):
        month = month_of(path)
        clean, counts, rejected = cleaned(path, month)
        eras = HEADS[month.dataset.name]
        assert counts.layout == eras[max(first for first in eras if first <= month.key)], path.name
        header, *lines = [line.strip("\r") for line in path.read_text().split("\n") if line.strip("\r")]
        whole = len(lines[-1].split(",")) >= len(next(csv.reader([header]))) and lines[-1].count('"') % 2 == 0
        assert counts.rows_read == len(lines), path.name
        assert counts.rows_loaded == len(lines) - (not whole), path.name
        assert [(row["row_number"], row["row"]) for row in rejected] == (
            [] if whole else [(len(lines), {"line": lines[-1]})]
        )
        assert set(counts.reasons) <= {"short_row", "stray_quote"}
        assert counts.extra_columns == ()
        assert pc.all(pc.equal(pc.year(clean["pickup_datetime"]), month.start.year)).as_py(), path.name


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [
        ("yellow_tripdata_2009-02", "vendor_id", [3, 2, 3, 2]),  # DDS, VTS
        ("yellow_tripdata_2009-02", "payment_type", [2, 2, 2, 2]),  # CASH
        ("yellow_tripdata_2009-12", "payment_type", [1, 2, 2, 1]),  # Credit
        ("yellow_tripdata_2010-02", "payment_type", [1, 2, 5, 5]),  # CRE, CAS, "NA "
        ("yellow_tripdata_2010-02", "store_and_fwd_flag", ["N", "N", "N", "N"]),  # 0
        ("yellow_tripdata_2014-02", "payment_type", [2, 1, 1, 2]),  # CSH, CRD
        (
            "fhv_tripdata_2018-01",
            "dispatching_base_num",
            ["B02884"] * 11 + ["B02914"],
        ),  # the second of two such columns is empty
        ("fhv_tripdata_2017-07", "sr_flag", [None] * 13),
        ("green_tripdata_2013-08", "pickup_longitude", [0.0] * 7 + [-73.937767028808594]),
    ],
)
def test_values_of_old_files(name, column, values):
    path = TLC / "heads" / f"{name}.csv"
    assert cleaned(path, month_of(path)).clean[column].to_pylist() == values


def test_parquet_of_one_month_is_read_in_batches_of_bounded_size():
    from flows.reading.parquet_file import BATCH_ROWS, ParquetFile

    path = TLC / "samples/yellow_tripdata_2022-01.parquet"
    sizes = [len(batch.columns) for batch in ParquetFile(path, "x").batches()]
    assert max(sizes) <= BATCH_ROWS and sum(sizes) == pq.read_metadata(path).num_rows

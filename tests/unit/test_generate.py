"""Generated months: the same bytes for the same seed, TLC's layout of the month, the errors of real files."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from flows.datasets.registry import named
from flows.datasets.tlc import DATASETS, GREEN, YELLOW
from flows.datasets.tlc.generate import BLOCK, generate
from flows.datasets.tlc.generated.chance import Odds
from flows.datasets.tlc.generated.file_layouts import layout
from flows.datasets.tlc.generated.taxi import NO_ONE, UNMETERED

ROOT = Path(__file__).resolve().parents[2]
TLC = Path(os.environ.get("TLC_DATA", ROOT.parent / "shared" / "tlc"))
ROWS = 60_000

YELLOW_2021_01 = YELLOW.partition(2021, 1)
GREEN_2021_01 = GREEN.partition(2021, 1)


@pytest.fixture(scope="module")
def yellow(tmp_path_factory) -> pa.Table:
    return pq.read_table(generate(YELLOW_2021_01, tmp_path_factory.mktemp("month") / "a.parquet", rows=ROWS))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("ending", ["parquet", "csv.gz"])
@pytest.mark.parametrize("service", DATASETS)
def test_the_same_month_rows_and_seed_give_the_same_bytes(tmp_path, service, ending):
    month = service.partition(2021, 1)
    first = digest(generate(month, tmp_path / f"a.{ending}", rows=3000, seed=5))
    assert digest(generate(month, tmp_path / f"b.{ending}", rows=3000, seed=5)) == first
    for other, rows, seed in ((month, 3000, 6), (month, 3001, 5), (service.partition(2021, 2), 3000, 5)):
        assert digest(generate(other, tmp_path / f"c.{ending}", rows=rows, seed=seed)) != first


@pytest.mark.parametrize("rows", [0, 1, 2, BLOCK, BLOCK + 1])
@pytest.mark.parametrize("ending", ["parquet", "csv.gz"])
def test_a_month_has_the_requested_number_of_rows(tmp_path, rows, ending):
    path = generate(GREEN_2021_01, tmp_path / f"a.{ending}", rows=rows)
    if ending == "parquet":
        assert pq.ParquetFile(path).metadata.num_rows == rows
    else:
        assert gzip.decompress(path.read_bytes()).count(b"\n") == rows + 1


def test_no_other_file_is_left(tmp_path):
    generate(GREEN_2021_01, tmp_path / "a.parquet", rows=10)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


REAL = [*sorted(TLC.glob("*.parquet")), TLC / "samples" / "yellow_tripdata_2022-01.parquet"]


@pytest.mark.skipif(not TLC.is_dir(), reason=f"no real TLC files at {TLC} (set TLC_DATA)")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_the_layout_is_that_of_the_real_file_of_the_month(path):
    service, _, label = path.stem.split("_")
    month = named(service).partition(*map(int, label.split("-")))
    assert layout(month, csv=False) == pq.read_schema(path).remove_metadata()


@pytest.mark.skipif(not TLC.is_dir(), reason=f"no real TLC files at {TLC} (set TLC_DATA)")
@pytest.mark.parametrize("name", ["yellow_2019-10", "yellow_2020-06", "green_2020-06", "fhv_2020-05", "fhvhv_2020-05"])
def test_the_csv_header_is_that_of_the_real_file(name, tmp_path):
    service, label = name.split("_")
    month = named(service).partition(*map(int, label.split("-")))
    made = gzip.decompress(generate(month, tmp_path / "a.csv.gz", rows=10).read_bytes())
    head = (TLC / "heads" / f"{service}_tripdata_{label}.csv").read_bytes()
    assert made.split(b"\n")[0] == head.split(b"\n")[0]


@pytest.mark.parametrize(
    ("service", "date", "expected"),
    [
        ("yellow", (2020, 7), {"airport_fee": "null", "VendorID": "int64", "passenger_count": "double"}),
        ("yellow", (2020, 8), {"airport_fee": "double"}),
        ("yellow", (2020, 10), {"airport_fee": "null"}),
        ("yellow", (2018, 12), {"congestion_surcharge": "null"}),
        ("yellow", (2023, 2), {"Airport_fee": "double", "PULocationID": "int32", "store_and_fwd_flag": "large_string"}),
        ("yellow", (2025, 1), {"cbd_congestion_fee": "double"}),
        ("yellow", (2026, 6), {"request_source": "large_string"}),
        ("green", (2019, 8), {"ehail_fee": "double"}),
        ("green", (2023, 1), {"ehail_fee": "null", "payment_type": "double"}),
        ("fhv", (2019, 3), {"SR_Flag": "null", "PUlocationID": "double"}),
        ("fhvhv", (2025, 1), {"cbd_congestion_fee": "double", "trip_time": "int64", "wav_match_flag": "large_string"}),
    ],
)
def test_columns_change_by_month_as_in_tlc_files(service, date, expected, tmp_path):
    path = generate(named(service).partition(*date), tmp_path / "a.parquet", rows=2000)
    schema = pq.read_schema(path)
    assert {name: str(schema.field(name).type) for name in expected} == expected


def test_rows_without_a_meter_come_last_and_lack_its_fields(yellow):
    missing = yellow["passenger_count"].is_null().to_numpy()
    share = UNMETERED[YELLOW][2021]
    assert missing.sum() == round(ROWS * share)
    assert missing[-missing.sum() :].all()
    for name in ("RatecodeID", "store_and_fwd_flag", "congestion_surcharge", "airport_fee"):
        assert (yellow[name].is_null().to_numpy() == missing).all()
    assert set(yellow.filter(pa.array(missing))["payment_type"].to_pylist()) == {0}


def test_generated_rows_have_the_errors_of_real_files(yellow):
    passengers = yellow["passenger_count"].drop_null().to_numpy()
    assert np.mean(passengers == 0) == pytest.approx(NO_ONE, abs=0.003)
    negative = pc.less(yellow["total_amount"], 0)
    assert 0.002 < pc.mean(negative).as_py() < 0.01
    assert set(yellow.filter(negative)["payment_type"].to_pylist()) <= {0, 3, 4}
    assert 0 < pc.sum(pc.greater(yellow["trip_distance"], 1000)).as_py() < ROWS * 0.001
    months = pc.strftime(yellow["tpep_pickup_datetime"], "%Y-%m").to_pylist()
    outside = {label: months.count(label) for label in set(months) - {"2021-01"}}
    assert "2020-12" in outside
    assert 0 < sum(outside.values()) < ROWS * 0.002


def test_values_are_consistent(yellow):
    sane = yellow.filter(pc.and_(pc.less(yellow["trip_distance"], 100), pc.greater(yellow["fare_amount"], 0)))
    distance, fare = sane["trip_distance"].to_numpy(), sane["fare_amount"].to_numpy()
    assert np.corrcoef(distance, fare)[0, 1] > 0.8
    parts = ["fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount", "improvement_surcharge"]
    metered = sane.filter(pc.is_valid(sane["passenger_count"]))
    total = sum(metered[name].to_numpy() for name in [*parts, "congestion_surcharge", "airport_fee"])
    assert np.allclose(total, metered["total_amount"].to_numpy(), atol=0.005)
    assert (
        pc.subtract(yellow["tpep_dropoff_datetime"], yellow["tpep_pickup_datetime"]).cast("int64").to_numpy() >= 0
    ).all()


def test_trips_follow_the_hours_and_reach_every_zone(yellow):
    hours = np.bincount(pc.hour(yellow["tpep_pickup_datetime"]).to_numpy(), minlength=24)
    assert hours[18] > 5 * hours[4] > 0
    assert set(yellow["PULocationID"].to_pylist()) == set(range(1, 266))
    midnight = pc.equal(yellow["tpep_pickup_datetime"], pa.scalar(np.datetime64("2021-01-01", "us")))
    assert pc.sum(midnight).as_py() < 5


def test_no_row_is_a_duplicate(yellow):
    assert yellow.group_by(yellow.column_names, use_threads=False).aggregate([]).num_rows == ROWS


def test_csv_and_parquet_hold_the_same_trips(tmp_path):
    made = pa.csv.read_csv(generate(GREEN_2021_01, tmp_path / "a.csv.gz", rows=5000))
    twin = pq.read_table(generate(GREEN_2021_01, tmp_path / "a.parquet", rows=5000))
    assert made.column_names == twin.column_names
    for name in ("PULocationID", "trip_distance", "total_amount", "passenger_count"):
        assert made[name].cast("float64").equals(twin[name].cast("float64"))
    # In the csv of these years a row without a meter has no vendor either.
    assert made["VendorID"].null_count == twin["passenger_count"].null_count > 0


@pytest.mark.parametrize(
    ("month", "name", "rows", "says"),
    [
        (GREEN_2021_01, "a.csv", 1, "is a .parquet or a .csv.gz"),
        (GREEN_2021_01, "a.parquet", -1, "-1 rows"),
        (GREEN.partition(2013, 7), "a.parquet", 1, "first green month is 2013-08"),
        (YELLOW.partition(2010, 12), "a.parquet", 1, "begin in 2011"),
        (GREEN.partition(2018, 12), "a.csv.gz", 1, "layout of 2019 on"),
    ],
)
def test_unsupported_months_are_refused(tmp_path, month, name, rows, says):
    with pytest.raises(ValueError, match=says):
        generate(month, tmp_path / name, rows=rows)
    assert list(tmp_path.iterdir()) == []


def test_odds_are_met():
    drawn = Odds({1: 3.0, 2: 1.0}).draw(np.random.default_rng(1), 100_000)
    assert np.mean(drawn == 1) == pytest.approx(0.75, abs=0.01)


def test_the_command_line_writes_under_the_name_of_tlc(tmp_path):
    command = [
        sys.executable,
        "-m",
        "flows.datasets.tlc.generate",
        "green",
        "2021-01",
        "--rows",
        "50",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    path = tmp_path / "green_tripdata_2021-01.parquet"
    assert done.stdout.replace("\n", "") == str(path)
    assert pq.ParquetFile(path).metadata.num_rows == 50
    wrong = subprocess.run([*command[:4], "2013-01"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "first green month" in wrong.stderr

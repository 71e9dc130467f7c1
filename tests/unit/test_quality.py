"""Checks over a whole month, and the count of duplicate rows."""

from __future__ import annotations

import datetime as dt
import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.datasets import duplicates
from flows.datasets.column import normalized
from flows.datasets.dataset import Partition
from flows.datasets.duplicates import Duplicates
from flows.datasets.quality import Quality
from flows.datasets.quality_check import CheckResult
from flows.datasets.registry import named
from flows.datasets.tlc import FHV, FHVHV, GREEN
from flows.datasets.tlc.checks import CHECKS, FAR
from flows.datasets.tlc.checks import SAMPLE_ROWS as SAMPLE

TLC = Path(os.environ.get("TLC_DATA", Path(__file__).resolve().parents[3] / "shared" / "tlc"))
FUTURE = GREEN.partition(2031, 4)  # no published count
KNOWN = GREEN.partition(2021, 1)
PUBLISHED = 76_518


def trips(month: Partition, rows: int, **columns: object) -> pa.RecordBatch:
    """Rows of the contract, all different, all within the month; `columns` replace what they name."""
    start = np.datetime64(month.first_day, "us")
    values: dict[str, object] = {
        "pickup_datetime": start + np.arange(rows) * np.timedelta64(1_000_000, "us"),
        "dropoff_datetime": start + np.arange(rows) * np.timedelta64(1_300_000, "us"),
        "passenger_count": np.ones(rows, "i4"),
        "trip_distance": np.linspace(0.5, 20, rows),
        "total_amount": np.linspace(5, 90, rows),
        "source_month": [month.first_day] * rows,
    } | columns
    arrays = [
        pa.array(values[f.name], f.type) if f.name in values else pa.nulls(rows, f.type) for f in month.dataset.schema
    ]
    return pa.record_batch(arrays, schema=month.dataset.schema)


def judged(month: Partition, *batches: pa.RecordBatch, read: int | None = None, missing=()) -> dict[str, CheckResult]:
    with closing(Quality(month)) as gathered:
        for batch in batches:
            gathered.add(batch)
        rows = sum(batch.num_rows for batch in batches)
        return {result.name: result for result in gathered.results(rows if read is None else read, missing)}


def test_a_good_month_passes_every_check():
    results = judged(FUTURE, trips(FUTURE, SAMPLE + 1))
    assert list(results) == [check.name for check in CHECKS if "published" not in check.name]
    assert all(result.passed and result.value == 0 for result in results.values())


@pytest.mark.parametrize(
    ("read", "off", "short"),
    [
        (PUBLISHED, None, None),
        (int(PUBLISHED * 0.996), None, None),
        (int(PUBLISHED * 0.906), "warn", None),  # green 2019-04 as csv
        (int(PUBLISHED * 0.79), "warn", "block"),
        (PUBLISHED * 2, "warn", None),
        (SAMPLE, "warn", "warn"),  # a sample: said, but loaded
    ],
)
def test_rows_are_compared_with_the_published_count(read, off, short):
    results = judged(KNOWN, trips(KNOWN, 10), read=read)
    for name, action in (("rows_off_published", off), ("rows_short_of_published", short)):
        assert results[name].passed is (action is None)
        assert action in (None, results[name].action)


@pytest.mark.parametrize(
    ("check", "column", "bad"),
    [
        ("pickups_outside_month", "pickup_datetime", dt.datetime(2031, 3, 31, 23, 59, 59, 999_999)),
        ("pickups_outside_month", "pickup_datetime", dt.datetime(2031, 5, 1)),
        ("pickups_outside_month", "pickup_datetime", dt.datetime(2008, 12, 31)),
        ("negative_totals", "total_amount", -0.01),
        ("distances_beyond_200_miles", "trip_distance", 200.01),
        ("nulls_in_total_amount", "total_amount", None),
        ("nulls_in_trip_distance", "trip_distance", None),
    ],
)
def test_a_share_of_bad_rows_warns_and_a_greater_one_blocks(check, column, bad):
    rows = 10_000
    good = trips(FUTURE, rows).column(column).to_pylist()
    for count, action in ((5, None), (400, "warn"), (6_000, "block")):
        result = judged(FUTURE, trips(FUTURE, rows, **{column: [bad] * count + good[count:]}))[check]
        assert result.value == count / rows
        assert result.passed is (action is None)
        assert action in (None, result.action)
        assert f"{count:,} of 10,000 rows" in result.detail


def test_the_edges_of_the_month_are_within_it():
    edges = [dt.datetime(2031, 4, 1), dt.datetime(2031, 4, 30, 23, 59, 59, 999_999)]
    assert judged(FUTURE, trips(FUTURE, 2, pickup_datetime=edges))["pickups_outside_month"].value == 0


def test_a_small_file_is_never_blocked():
    rows = SAMPLE
    results = judged(FUTURE, trips(FUTURE, rows, total_amount=np.full(rows, -1.0), trip_distance=np.full(rows, 1e6)))
    assert {result.action for result in results.values() if not result.passed} == {"warn"}


def test_a_column_that_the_file_lacks_is_not_checked():
    batch = trips(FUTURE, 10, passenger_count=[None] * 10)
    assert judged(FUTURE, batch)["nulls_in_passenger_count"].value == 1
    assert "nulls_in_passenger_count" not in judged(FUTURE, batch, missing=["passenger_count"])


def test_checks_apply_only_to_columns_of_the_contract():
    month = FHV.partition(2031, 4)
    assert list(judged(month, trips(month, 10))) == [
        "rows_rejected",
        "pickups_outside_month",
        "duplicate_rows",
        "nulls_in_dropoff_datetime",
    ]
    month = FHVHV.partition(2031, 4)
    assert "distances_beyond_200_miles" in judged(month, trips(month, 10))


def test_a_month_without_rows_is_checked():
    results = judged(KNOWN, read=0)
    assert results["rows_off_published"].value == 1
    assert results["duplicate_rows"].passed


def test_pickups_outside_the_month_are_counted_to_the_microsecond():
    inside = [dt.datetime(2031, 4, 1), dt.datetime(2031, 4, 30, 23, 59, 59, 999_999)]
    outside = [dt.datetime(2031, 3, 31, 23, 59, 59, 999_999), dt.datetime(2031, 5, 1), dt.datetime(2001, 1, 1)]
    result = judged(FUTURE, trips(FUTURE, 5, pickup_datetime=[*inside, *outside]))["pickups_outside_month"]
    assert result.value == 0.6


@pytest.mark.parametrize(
    ("rejected", "passed", "action"), [(0.05, True, "warn"), (0.2, False, "warn"), (0.6, False, "block")]
)
def test_half_a_month_rejected_is_blocked_even_of_a_sample(rejected, passed, action):
    result = judged(FUTURE, trips(FUTURE, int(100 * (1 - rejected))), read=100)["rows_rejected"]
    assert (round(result.value, 2), result.passed, result.action) == (rejected, passed, action)


def test_a_month_whose_every_row_is_rejected_is_blocked():
    assert judged(FUTURE, read=3)["rows_rejected"].action == "block"


def test_a_month_with_every_row_twice_is_blocked():
    batch = trips(FUTURE, SAMPLE)
    result = judged(FUTURE, batch, batch)["duplicate_rows"]
    assert (result.value, result.action, result.passed) == (0.5, "block", False)


def counted(*batches: pa.RecordBatch, spill: Path | None = None) -> int:
    with closing(Duplicates(spill)) as found:
        for batch in batches:
            found.add(batch)
        return found.count()


def test_a_difference_in_any_column_makes_rows_different():
    row = trips(FUTURE, 1)
    for index, column in enumerate(row.schema):
        kind = column.type
        if pa.types.is_map(kind):
            others = [[("a", "b")], [("a", None)], [("b", "a")], [("a", "b"), ("c", "d")], []]
        elif pa.types.is_string(kind):
            others = ["N", "Y", "", " "]
        elif pa.types.is_timestamp(kind):
            others = [dt.datetime(2031, 4, 2), dt.datetime(2031, 4, 2, 0, 0, 0, 1)]
        elif pa.types.is_date(kind):
            others = [dt.date(2031, 4, 2)]
        else:
            others = [0, 1, 2, -1, 64]
        changed = [
            row.set_column(index, column, pa.array([other], kind))
            for other in others
            if [other] != row.column(index).to_pylist()
        ]
        assert counted(row, *changed) == 0, column.name
        assert counted(row, row, *changed, *changed) == 1 + len(changed), column.name


def test_negative_zero_and_the_order_of_extra_columns_make_no_difference():
    assert counted(trips(FUTURE, 1, trip_distance=[0.0]), trips(FUTURE, 1, trip_distance=[-0.0])) == 1
    one, two = ([("a", "1"), ("b", "2")], [("b", "2"), ("a", "1")])
    assert counted(trips(FUTURE, 1, extra_columns=[one]), trips(FUTURE, 1, extra_columns=[two])) == 1


KINDS = {
    "i": (pa.int32(), st.integers(-3, 3)),
    "f": (pa.float64(), st.sampled_from([0.0, 1.0, 2.0, 0.1, -1.0])),
    "t": (pa.timestamp("us"), st.integers(0, 3)),
    "s": (pa.string(), st.sampled_from(["", "N", "Y"])),
    "m": (
        pa.map_(pa.string(), pa.string()),
        st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy")), max_size=1),
    ),
}
ROW = st.tuples(*(st.none() | values for _, values in KINDS.values()))


@settings(max_examples=100, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=60), st.integers(0, 59), st.integers(1, 60))
def test_duplicates_are_counted_as_python_counts_them(rows, skip, size):
    table = pa.table(
        [pa.array([row[i] for row in rows], kind) for i, (kind, _) in enumerate(KINDS.values())], list(KINDS)
    )
    kept = table.slice(min(skip, len(rows) - 1))
    seen = [repr(row) for row in rows[min(skip, len(rows) - 1) :]]
    assert counted(*kept.to_batches(size)) == len(seen) - len(set(seen))


def test_the_count_is_the_same_with_a_temporary_file(monkeypatch, tmp_path):
    rng = np.random.default_rng(1)
    batches = [pa.record_batch([pa.array(rng.integers(0, 20_000, 1000))], ["a"]) for _ in range(30)]
    distinct = len({value for batch in batches for value in batch.column(0).to_pylist()})
    assert counted(*batches, spill=tmp_path) == 30_000 - distinct
    monkeypatch.setattr(duplicates, "RUN", 2500)
    assert counted(*batches, spill=tmp_path) == 30_000 - distinct
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not TLC.is_dir(), reason=f"no real TLC files at {TLC} (set TLC_DATA)")
@pytest.mark.parametrize("path", sorted(TLC.glob("*.parquet")), ids=lambda path: path.stem)
def test_every_real_month_passes_every_check(path):
    service, _, label = path.stem.split("_")
    month = named(service).partition(*map(int, label.split("-")))
    known, rows = month.dataset.columns_by_name, 0
    with closing(Quality(month)) as gathered:
        for batch in pq.ParquetFile(path).iter_batches():
            rows += batch.num_rows
            by_name = {
                known[normalized(name)].name: column
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }
            arrays = [
                by_name[f.name].cast(f.type) if f.name in by_name else pa.nulls(len(batch), f.type)
                for f in month.dataset.schema
            ]
            gathered.add(pa.record_batch(arrays, names=month.dataset.schema.names))
        results = gathered.results(rows)
    assert [result for result in results if not result.passed] == []
    assert next(result for result in results if result.name == "duplicate_rows").value == 0


def test_every_check_has_a_name_and_ordered_limits():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.warn is not None or check.block is not None
        assert check.warn is None or check.block is None or check.warn < check.block
    assert FAR == 200

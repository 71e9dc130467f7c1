"""Parquet with columns of any type, and damaged parquet."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.datasets.cleaning import Cleaning
from flows.datasets.tlc import DATASETS, GREEN, YELLOW
from flows.errors import Refused
from tests.reading import cleaned, cleaned_table

MONTH = YELLOW.partition(2021, 1)
PICKUP = dt.datetime(2021, 1, 2, 3, 4, 5)


def trips(rows: int = 2, **columns: pa.Array) -> pa.Table:
    """A table with the columns given, and a pickup time if there is none among them."""
    return pa.table({"tpep_pickup_datetime": pa.array([PICKUP] * rows, pa.timestamp("us"))} | columns)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None], pa.int64()),
        pa.array([1, None], pa.int8()),
        pa.array([1.0, None]),
        pa.array([1.0, float("nan")]),
        pa.array(["1", None]),
        pa.array(["1.0", ""], pa.large_string()),
        pa.array([" 1", None]).dictionary_encode(),
    ],
    ids=lambda values: str(values.type),
)
def test_a_column_of_other_types_is_the_same_column(values):
    outcome = cleaned_table(trips(passenger_count=values))
    assert outcome.clean["passenger_count"].to_pylist() == [1, None]


def test_a_column_and_a_table_of_nulls():
    outcome = cleaned_table(trips(airport_fee=pa.nulls(2), store_and_fwd_flag=pa.nulls(2)))
    assert outcome.clean["airport_fee"].to_pylist() == [None, None]
    assert outcome.counts.extra_columns == ()


def test_values_that_cannot_be_read_reject_their_rows():
    outcome = cleaned_table(
        trips(3, passenger_count=pa.array([1.0, 1.5, float("inf")]), VendorID=pa.array([1, 2, 2**40]))
    )
    assert [(row["row_number"], row["reason"]) for row in outcome.rejected] == [
        (2, "unreadable:passenger_count"),
        (3, "unreadable:vendor_id"),
    ]
    assert outcome.rejected[0]["row"]["passenger_count"] == 1.5
    assert outcome.rejected[1]["row"] == {
        "tpep_pickup_datetime": "2021-01-02 03:04:05.000000",
        "passenger_count": "inf",
        "VendorID": 2**40,
    }


def test_unknown_columns_of_any_type_are_kept_as_text():
    table = trips(
        mood=pa.array([1.5, None]),
        seats=pa.array([[1, 2], None]),
        raw=pa.array([b"\xff", b"ok"]),
        none=pa.nulls(2),
        __index_level_0__=pa.array([0, 1]),
    )
    outcome = cleaned_table(table)
    assert [dict(row["extra_columns"]) for row in outcome.rows] == [
        {"mood": "1.5", "seats": "[1, 2]", "raw": "\\xff"},
        {"raw": "ok"},
    ]
    assert outcome.counts.extra_columns == ("mood", "seats", "raw", "none")


def test_columns_of_one_name():
    table = pa.Table.from_arrays(
        [pa.array([PICKUP]), pa.array(["a"]), pa.array(["b"])], names=["tpep_pickup_datetime", "mood", "mood"]
    )
    assert cleaned_table(table).rows[0]["extra_columns"] == [("mood_2", "a"), ("mood_3", "b")]


def test_rows_are_numbered_across_row_groups(tmp_path):
    path = tmp_path / "a.parquet"
    table = trips(1000, passenger_count=pa.array([None if n == 777 else "x" if n == 900 else "1" for n in range(1000)]))
    pq.write_table(table, path, row_group_size=64)
    outcome = cleaned(path, MONTH)
    assert [row["row_number"] for row in outcome.rejected] == [901]
    assert outcome.clean["passenger_count"].null_count == 1


def test_a_file_of_the_contract_reads_back_the_same(tmp_path):
    first = cleaned_table(trips(mood=pa.array(["good", None]), passenger_count=pa.array([0, 3]))).clean
    path = tmp_path / "yellow_tripdata_2021-01.parquet"
    pq.write_table(first, path, compression="zstd")
    outcome = cleaned(path, MONTH)
    assert outcome.clean.equals(first)
    assert outcome.counts.layout == "taxiway"
    assert outcome.counts.missing_columns == ()
    assert outcome.counts.extra_columns == ("mood",)


def test_another_month_of_the_contract_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(cleaned_table(trips()).clean, path)
    with pytest.raises(Refused, match="holds rows of 2021-01-01, not of 2021-02"):
        cleaned(path, YELLOW.partition(2021, 2))
    with pytest.raises(Refused, match="has the columns of yellow, not green"):
        cleaned(path, GREEN.partition(2021, 1))


def test_a_file_that_only_resembles_the_contract_is_refused():
    with pytest.raises(Refused, match="has a column source_month of type int64, not date32"):
        cleaned_table(
            trips(extra_columns=pa.nulls(2, pa.map_(pa.string(), pa.string())), source_month=pa.array([1, 2]))
        )
    with pytest.raises(Refused, match="has a column extra_columns of type string, not map"):
        cleaned_table(trips(extra_columns=pa.array(["a", "b"]), source_month=pa.array([dt.date(2021, 1, 1)] * 2)))


def test_extension_types():
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16), b"x" * 16], pa.binary(16)))
    words = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["1", "x"]))
    outcome = cleaned_table(trips(passenger_count=words, mood=uuids))
    assert outcome.clean["passenger_count"].to_pylist() == [1]
    assert outcome.rejected[0]["row"]["passenger_count"] == "x"


def test_an_unknown_time_zone():
    pickups = pa.array([0, 1], pa.int64()).cast(pa.timestamp("us", "Nowhere/Town"))
    outcome = cleaned_table(trips(tpep_pickup_datetime=pickups))
    assert outcome.counts.reasons == {"unreadable:pickup_datetime": 2}
    assert outcome.rejected[0]["row"]["tpep_pickup_datetime"] == "1970-01-01 00:00:00.000000Z"


def test_no_rows_are_refused():
    with pytest.raises(Refused, match="has a header and not one row"):
        cleaned_table(trips().slice(0, 0))


def test_a_damaged_page_is_refused_and_leaves_no_rejected_rows(tmp_path):
    path, rejected = tmp_path / "a.parquet", tmp_path / "rejected.parquet"
    flags = [f"flag {n}" if n % 7 else "a\0" for n in range(200_000)]
    pq.write_table(trips(len(flags), store_and_fwd_flag=pa.array(flags)), path, row_group_size=50_000)
    whole = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(3).column(1).data_page_offset
    whole[start : start + 2000] = bytes(2000)
    path.write_bytes(whole)
    cleaning = Cleaning(path, MONTH, [], rejected)
    with pytest.raises(Refused, match="is a damaged parquet file: "):
        cleaning.into(lambda batches: sum(map(len, batches)))
    assert not rejected.exists()


def test_a_damaged_footer_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(trips(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-200] + bytes(192) + whole[-8:])
    with pytest.raises(Refused, match="is a damaged parquet file: ") as refused:
        cleaned(path, MONTH)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("service", DATASETS)
def test_files_of_every_contract_read_back_the_same(service):
    empty = {field.name: pa.nulls(2, field.type) for field in service.schema}
    empty["pickup_datetime"] = pa.array([PICKUP, PICKUP], pa.timestamp("us"))
    empty["source_month"] = pa.array([dt.date(2021, 1, 1)] * 2)
    table = pa.table(empty, schema=service.schema)
    assert cleaned_table(table, service).clean.equals(table)

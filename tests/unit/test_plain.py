"""Columns of every Arrow type that parquet can hold: as a contract's column, as an unknown one, in rejected rows."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flows.datasets.tlc import GREEN
from flows.reading.plain import plain, text_of
from tests.reading import cleaned_table

MORNING = dt.datetime(2021, 1, 2, 3, 4, 5)
BAD = "unreadable"


class Kind(NamedTuple):
    """Two values of a type; what the second is as a column of the contract, and as text."""

    values: pa.Array
    column: str
    value: object
    text: str


def counted(kind: pa.DataType, first: int = 0, second: int = 1) -> pa.Array:
    """Two values of a type that counts something."""
    stored_as = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array([first, second], stored_as).cast(kind)


def moments(kind: pa.DataType) -> pa.Array:
    return pa.array([MORNING, MORNING], pa.timestamp("us")).cast(pa.timestamp(kind.unit), safe=False).cast(kind)


def money(kind: pa.DataType) -> pa.Array:
    return pa.array([Decimal("1.50"), Decimal("2.50")], kind)


def stored(kind: pa.BaseExtensionType, values: list) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


FLAG, COUNT, TOTAL, PICKUP = "store_and_fwd_flag", "RatecodeID", "total_amount", "tpep_pickup_datetime"
UNKNOWN = "Nowhere/Town"
FAR, EARLY = 2**40 * 10**6, -(10**17)  # microseconds: the year 36812, and one before the year 1

KINDS = {
    "string": Kind(pa.array(["Y", "N"]), FLAG, "N", "N"),
    "large_string": Kind(pa.array(["Y", "N"], pa.large_string()), FLAG, "N", "N"),
    "string_view": Kind(pa.array(["Y", "N"], pa.string_view()), FLAG, "N", "N"),
    "string_view of times": Kind(pa.array(["2021-01-01 00:00:00", str(MORNING)], pa.string_view()), PICKUP, MORNING,
                                 str(MORNING)),
    "string_view of numbers": Kind(pa.array(["1", "2.5"], pa.string_view()), TOTAL, 2.5, "2.5"),
    "binary": Kind(pa.array([b"Y", b"N"]), FLAG, "N", "N"),
    "large_binary": Kind(pa.array([b"Y", b"N"], pa.large_binary()), FLAG, "N", "N"),
    "binary_view": Kind(pa.array([b"Y", b"N"], pa.binary_view()), FLAG, "N", "N"),
    "binary that is no text": Kind(pa.array([b"\xfe", b"\xff"], pa.binary_view()), FLAG, BAD, r"\xff"),
    "fixed_size_binary": Kind(pa.array([b"Y", b"N"], pa.binary(1)), FLAG, "N", "N"),
    "dictionary": Kind(pa.array(["Y", "N"]).dictionary_encode(), FLAG, "N", "N"),
    "dictionary of numbers": Kind(pa.array([1.5, 2.5]).dictionary_encode(), TOTAL, 2.5, "2.5"),
    "bool": Kind(pa.array([True, False]), FLAG, "N", "false"),
    "int8": Kind(counted(pa.int8()), COUNT, 1, "1"),
    "int64": Kind(counted(pa.int64(), 0, 2**40), COUNT, BAD, str(2**40)),
    "uint8": Kind(counted(pa.uint8()), COUNT, 1, "1"),
    "uint32": Kind(pa.array([1, 2**32 - 1], pa.uint32()), COUNT, BAD, str(2**32 - 1)),
    "uint64": Kind(pa.array([1, 2**64 - 1], pa.uint64()), COUNT, BAD, str(2**64 - 1)),
    "half float": Kind(pa.array([1.5, 2.5]).cast(pa.float16()), TOTAL, 2.5, "2.5"),
    "half float that counts": Kind(pa.array([1.0, 2.0]).cast(pa.float16()), COUNT, 2, "2"),
    "float": Kind(pa.array([1.5, 2.5], pa.float32()), TOTAL, 2.5, "2.5"),
    "infinity": Kind(pa.array([1.5, float("inf")]), TOTAL, BAD, "inf"),
    "decimal32": Kind(money(pa.decimal32(5, 2)), TOTAL, 2.5, "2.50"),
    "decimal64": Kind(money(pa.decimal64(10, 2)), TOTAL, 2.5, "2.50"),
    "decimal128": Kind(money(pa.decimal128(38, 9)), TOTAL, 2.5, "2.500000000"),
    "decimal256": Kind(money(pa.decimal256(76, 2)), TOTAL, 2.5, "2.50"),
    "decimal that counts": Kind(money(pa.decimal128(5, 2)), COUNT, BAD, "2.50"),
    "date32": Kind(counted(pa.date32()), PICKUP, dt.datetime(1970, 1, 2), "1970-01-02"),
    "date64": Kind(counted(pa.date64(), 0, 86_400_000), PICKUP, dt.datetime(1970, 1, 2), "1970-01-02"),
    "date32 of a far year": Kind(pa.array([0, 2**30], pa.int32()).cast(pa.date32()), PICKUP, BAD,
                                 f"<value out of range: {2**30}>"),
    "time32": Kind(counted(pa.time32("ms")), PICKUP, BAD, "00:00:00.001"),
    "time64": Kind(counted(pa.time64("us")), PICKUP, BAD, "00:00:00.000001"),
    "duration": Kind(counted(pa.duration("s")), COUNT, BAD, "1"),
    "timestamp[ms]": Kind(moments(pa.timestamp("ms")), PICKUP, MORNING, f"{MORNING}.000"),
    "timestamp[ns]": Kind(moments(pa.timestamp("ns")), PICKUP, MORNING, f"{MORNING}.000000000"),
    "timestamp in UTC": Kind(moments(pa.timestamp("us", "UTC")), PICKUP, MORNING, f"{MORNING}.000000Z"),
    "timestamp in a known zone": Kind(moments(pa.timestamp("us", "America/New_York")), PICKUP,
                                      dt.datetime(2021, 1, 1, 22, 4, 5), "2021-01-01 22:04:05.000000-0500"),
    "timestamp with an offset": Kind(moments(pa.timestamp("us", "-05:00")), PICKUP,
                                     dt.datetime(2021, 1, 1, 22, 4, 5), "2021-01-01 22:04:05.000000-0500"),
    # Which wall clock showed the time is not known, so that it is no pickup time.
    "timestamp in an unknown zone": Kind(moments(pa.timestamp("us", UNKNOWN)), PICKUP, BAD, f"{MORNING}.000000Z"),
    "timestamp[ns] in an unknown zone": Kind(moments(pa.timestamp("ns", UNKNOWN)), PICKUP, BAD,
                                             f"{MORNING}.000000000Z"),
    "timestamp in a local zone": Kind(moments(pa.timestamp("us", "/etc/localtime")), PICKUP, BAD, f"{MORNING}.000000Z"),
    "timestamp in Windows' zone": Kind(moments(pa.timestamp("us", "Eastern Standard Time")), PICKUP, BAD,
                                       f"{MORNING}.000000Z"),
    "timestamp before the year 1": Kind(counted(pa.timestamp("us"), 0, EARLY), PICKUP, BAD,
                                        "-1199-02-15 14:13:20.000000"),
    "timestamp of a far year": Kind(counted(pa.timestamp("us"), 0, FAR), PICKUP, BAD,
                                    f"<value out of range: {FAR}>"),
    "json": Kind(stored(pa.json_(), ["1", "2"]), COUNT, 2, "2"),
    "uuid": Kind(stored(pa.uuid(), [bytes(16), bytes(range(16))]), COUNT, BAD, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    "bool8": Kind(stored(pa.bool8(), [1, 0]), FLAG, "N", "0"),
    "list": Kind(pa.array([[1], [2, None]]), COUNT, BAD, "[2, null]"),
    "large_list": Kind(pa.array([["a"], []], pa.large_list(pa.large_string())), COUNT, BAD, "[]"),
    "fixed_size_list": Kind(pa.array([[1.5], [2.5]], pa.list_(pa.float64(), 1)), COUNT, BAD, "[2.5]"),
    "list of views": Kind(pa.array([["a"], ["b"]], pa.list_(pa.string_view())), COUNT, BAD, '["b"]'),
    "list of times": Kind(pa.array([[MORNING], [MORNING]]), COUNT, BAD, f'["{MORNING}.000000"]'),
    "list of times in an unknown zone": Kind(
        pa.array([[0], [1]]).cast(pa.list_(pa.timestamp("us", UNKNOWN))), COUNT, BAD, '["1970-01-01 00:00:00.000001Z"]'
    ),
    "list of far years": Kind(pa.array([[0], [FAR]]).cast(pa.list_(pa.timestamp("us"))), COUNT, BAD,
                              f'["<value out of range: {FAR}>"]'),
    "struct": Kind(pa.array([{"a": 1, "b": ["x"]}, {"a": None, "b": ["é"]}]), COUNT, BAD, '{"a": null, "b": ["é"]}'),
    "struct of views": Kind(pa.StructArray.from_arrays([pa.array(["x", "y"], pa.string_view())], ["a"]), COUNT, BAD,
                            '{"a": "y"}'),
    "struct with one name twice": Kind(pa.StructArray.from_arrays([pa.array([1, 2])] * 2, ["a", "a"]), COUNT, BAD,
                                       '{"a_1": 2, "a_2": 2}'),
    "struct of times in an unknown zone": Kind(
        pa.StructArray.from_arrays([moments(pa.timestamp("us", UNKNOWN))], ["t"]), COUNT, BAD,
        f'{{"t": "{MORNING}.000000Z"}}'),
    "struct of far days": Kind(
        pa.StructArray.from_arrays([pa.array([0, 2**30], pa.int32()).cast(pa.date32())], ["d"]), COUNT, BAD,
        f'{{"d": "<value out of range: {2**30}>"}}'),
    "map": Kind(pa.array([[("a", 1)], [("b", 2)]], pa.map_(pa.string(), pa.int64())), COUNT, BAD,
                '[{"key": "b", "value": 2}]'),
    "map of text": Kind(pa.array([[("a", "x")], [("b", "y")]], pa.map_(pa.string(), pa.string())), COUNT, BAD,
                        '[{"key": "b", "value": "y"}]'),
}  # fmt: skip


def trips(**columns: pa.Array) -> pa.Table:
    """Two trips, the first without passengers."""
    return pa.table({PICKUP: pa.array([MORNING, MORNING]), "passenger_count": pa.array([0, 2])} | columns)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_column_of_the_contract_of_any_type(kind):
    outcome = cleaned_table(trips(**{kind.column: kind.values}), rules=GREEN.rules.get("postgres", ()))
    assert outcome.rejected[0]["row_number"] == 1
    assert outcome.counts.extra_columns == ()
    if kind.value == BAD:
        assert (outcome.counts.rows_loaded, outcome.counts.rows_rejected) == (0, 2)
        assert outcome.rejected[1]["reason"].startswith("unreadable:")
        assert str(outcome.rejected[1]["row"][kind.column]) == kind.text
    else:
        assert (outcome.counts.rows_loaded, outcome.counts.reasons) == (1, {"zero_passengers": 1})
        assert kind.value in outcome.rows[0].values()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_unknown_column_of_any_type(kind):
    outcome = cleaned_table(trips(mood=kind.values), rules=GREEN.rules.get("postgres", ()))
    assert (outcome.counts.rows_loaded, outcome.counts.reasons) == (1, {"zero_passengers": 1})
    assert outcome.rows[0]["extra_columns"] == [("mood", kind.text)]
    assert str(outcome.rejected[0]["row"]["mood"]) == text_of(plain(kind.values))[0].as_py()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_slice_and_a_null_of_any_type(kind):
    values = pa.concat_arrays([kind.values, pa.nulls(2, kind.values.type)])
    texts = text_of(plain(values))
    texts.validate(full=True)
    assert texts.null_count == 2
    assert text_of(plain(values.slice(1, 2))).equals(texts.slice(1, 2))
    assert plain(values).filter(pa.array([False, True, True, False])).null_count == 1


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pc.run_end_encode(pa.array(["a", "a", None])), ["a", "a", None]),
        (pa.DictionaryArray.from_arrays([1, 0, None], pa.array(["a", "b"], pa.string_view())), ["b", "a", None]),
        (pa.DictionaryArray.from_arrays([1, 0, None], pa.array([[1], [2]])), ["[2]", "[1]", None]),
        (pa.array([[1], [], None], pa.list_view(pa.int64())), ["[1]", "[]", None]),
    ],
    ids=["run-end encoded", "dictionary of views", "dictionary of lists", "list_view"],
)  # fmt: skip
def test_types_that_parquet_does_not_hold(values, texts):
    assert text_of(plain(values)).to_pylist() == texts


def test_int96_times_are_read_as_written():
    """As Spark and older Hive write times; pyarrow's nanoseconds would wrap outside the years 1677 to 2262."""
    written = [dt.datetime(year, 1, 1) for year in (1, 1000, 1677, 1678, 2021, 2262, 2263, 3000, 9999)]
    times = pa.array(written, pa.timestamp("us"))
    outcome = cleaned_table(
        pa.table({PICKUP: times, "booked_at": times}), use_deprecated_int96_timestamps=True, store_schema=False
    )
    assert [row["pickup_datetime"] for row in outcome.rows] == written
    assert [dict(row["extra_columns"])["booked_at"][:10] for row in outcome.rows] == [str(t)[:10] for t in written]

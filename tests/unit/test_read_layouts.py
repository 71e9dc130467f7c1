"""Property: rows of the contract, written in any layout TLC ever published, as any kind of file, read back the same."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.datasets.column import FLOAT, INT, TEXT, TIME, Column, normalized
from flows.datasets.dataset import Dataset
from flows.datasets.registry import named
from flows.datasets.tlc.layouts import LAYOUTS
from tests.reading import cleaned

MOMENTS = st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2100, 1, 1))
WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="\\"), min_size=1, max_size=9
)
VALUES = {
    INT: st.integers(-(2**31), 2**31 - 1),
    FLOAT: st.floats(allow_nan=False, allow_infinity=False),
    TIME: MOMENTS,
    TEXT: st.one_of(WORDS, st.just('say "a, b"'), st.just("two\nlines"), st.just("NA")),
}


def service_of(name: str) -> Dataset:
    """The service of a layout."""
    return named(name.partition("-")[0])


def values(column: Column):
    """What the column can hold; of a flag only what is not another word for it."""
    some = st.sampled_from(["Y", "N"]) if column.words and column.type == TEXT else VALUES[column.type]
    return some if column.required else st.none() | some


@st.composite
def batches(draw):
    """A layout's name, and rows of the columns it has."""
    name = draw(st.sampled_from(sorted(LAYOUTS)))
    service = service_of(name)
    known = service.columns_by_name
    has = {known[normalized(header)].name for header in LAYOUTS[name].split(",")}
    row = st.fixed_dictionaries({c.name: values(c) if c.name in has else st.none() for c in service.columns})
    return name, draw(st.lists(row, min_size=1, max_size=12))


def in_layout(name: str, rows: list[dict]) -> dict[str, list]:
    """File column -> values, in the layout's order; of two columns with one meaning the second is empty."""
    known, columns, seen = service_of(name).columns_by_name, {}, set()
    for header in LAYOUTS[name].split(","):
        column = known[normalized(header)].name
        columns[header] = [None if column in seen else row[column] for row in rows]
        seen.add(column)
    return columns


def as_text(value: object) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


@st.composite
def csv_files(draw, columns: dict[str, list]) -> bytes:
    """The columns as CSV, in one of the ways TLC and others wrote it."""
    headers, rows = list(columns), [list(map(as_text, row)) for row in zip(*columns.values(), strict=True)]
    if draw(st.booleans()):
        headers, rows = ["", *headers], [[str(n), *row] for n, row in enumerate(rows)]
    if draw(st.booleans()):
        headers = [header.swapcase() + " " for header in headers]
    extra = ["", ""] if draw(st.booleans()) else []
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = io.StringIO()
    style = {"lineterminator": end, "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))}
    csv.writer(text, **style).writerow(headers)
    text.write(draw(st.sampled_from(["", end])))
    csv.writer(text, **style).writerows([*row, *extra] for row in rows)
    mark = draw(st.sampled_from(["", "\ufeff"]))
    return (mark + text.getvalue()).encode()


KINDS = {
    INT: [pa.int32(), pa.int64(), pa.float64(), pa.string()],
    FLOAT: [pa.float64()],
    TIME: [pa.timestamp("us"), pa.timestamp("ns"), pa.string()],
    TEXT: [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())],
}


@st.composite
def parquet_tables(draw, name: str, columns: dict[str, list]) -> pa.Table:
    """The columns as a table, each in one of the types that TLC gave it from month to month."""
    known = service_of(name).columns_by_name
    arrays = {}
    for header, of in columns.items():
        array = pa.array(of, known[normalized(header)].type)
        kind = draw(st.sampled_from(KINDS[array.type]))
        if array.null_count == len(array):
            arrays[header] = pa.nulls(len(array))
        else:
            arrays[header] = array.dictionary_encode() if pa.types.is_dictionary(kind) else array.cast(kind)
    return pa.table(arrays)


def same(path, name: str, rows: list[dict]) -> None:
    service = service_of(name)
    outcome = cleaned(path, service.partition(2021, 1))
    assert outcome.rejected == []
    assert outcome.counts.layout == name
    assert outcome.rows == [{**row, "extra_columns": None, "source_month": dt.date(2021, 1, 1)} for row in rows]


SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@SETTINGS
@given(st.data())
def test_csv(tmp_path_factory, data):
    name, rows = data.draw(batches())
    text = data.draw(csv_files(in_layout(name, rows)))
    packed = data.draw(st.booleans())
    path = tmp_path_factory.getbasetemp() / f"trips.csv{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(text, 1) if packed else text)
    same(path, name, rows)


@SETTINGS
@given(st.data())
def test_parquet(tmp_path_factory, data):
    name, rows = data.draw(batches())
    path = tmp_path_factory.getbasetemp() / "trips.parquet"
    pq.write_table(data.draw(parquet_tables(name, in_layout(name, rows))), path, store_schema=data.draw(st.booleans()))
    same(path, name, rows)

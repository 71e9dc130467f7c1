"""Values of every type in files, cast to the contract's types; and which of them cannot be read."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.datasets.column import FLOAT, INT, TEXT, TIME, Column
from flows.datasets.tlc.columns import FLAGS, PAYMENTS, RATES, VENDORS
from flows.reading.cast import cast
from flows.reading.plain import plain

BAD = "bad"
NUMBER, AMOUNT, NAME, MOMENT = Column("n", INT), Column("a", FLOAT), Column("t", TEXT), Column("m", TIME)
PAYMENT, VENDOR, RATE, FLAG = (
    Column("p", INT, words=PAYMENTS),
    Column("v", INT, words=VENDORS),
    Column("r", INT, words=RATES),
    Column("f", TEXT, words=FLAGS),
)


def read(values: pa.Array, column: Column) -> list:
    """The values read; BAD where one cannot be."""
    found, bad = cast(plain(values), column.type, column.words)
    found.validate(full=True)
    assert found.type == column.type
    is_bad = [False] * len(values) if bad is None else bad.to_pylist()
    assert not any(wrong and value is not None for wrong, value in zip(is_bad, found.to_pylist(), strict=True))
    return [BAD if wrong else value for wrong, value in zip(is_bad, found.to_pylist(), strict=True)]


def time(*of: int) -> dt.datetime:
    return dt.datetime(*of)


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        (NUMBER, "1", 1),
        (NUMBER, "1.0", 1),
        (NUMBER, " 1 ", 1),
        (NUMBER, "+1", 1),
        (NUMBER, "-1.", -1),
        (NUMBER, "1e3", 1000),
        (NUMBER, "", None),
        (NUMBER, " ", None),
        (NUMBER, "NaN", None),
        (NUMBER, "NULL", None),
        (NUMBER, "1.5", BAD),
        (NUMBER, "one", BAD),
        (NUMBER, "2147483648", BAD),
        (NUMBER, "-2147483648", -(2**31)),
        (NUMBER, "0x10", BAD),
        (NUMBER, "1 2", BAD),
        (AMOUNT, ".5", 0.5),
        (AMOUNT, "4.0999999999999996", 4.1),
        (AMOUNT, "-3", -3.0),
        (AMOUNT, "nan", None),
        (AMOUNT, "inf", BAD),
        (AMOUNT, "1e999", BAD),
        (AMOUNT, "$5", BAD),
        (AMOUNT, "1,000", BAD),
        (AMOUNT, "1,234.50", BAD),
        (AMOUNT, "1.234,50", BAD),
        (AMOUNT, "12,5", BAD),
        (AMOUNT, "1_000", BAD),
        (AMOUNT, "(13.30)", BAD),
        (AMOUNT, "13.30-", BAD),
        (AMOUNT, "0x1p3", BAD),
        (AMOUNT, "\uff11\uff13", BAD),
        (AMOUNT, "true", BAD),
        (AMOUNT, "1e400", BAD),
        (AMOUNT, "1e308", 1e308),
        (AMOUNT, "13\u00a0", 13.0),
        (NUMBER, "3000000000.0", BAD),
        (NUMBER, "true", BAD),
        (NAME, "B02884", "B02884"),
        (NAME, "  B02884         ", "B02884"),
        (NAME, "NA", "NA"),
        (NAME, "  ", None),
        (NAME, "a\0b", BAD),
        (FLAG, "Y", "Y"),
        (FLAG, "n", "N"),
        (FLAG, "0", "N"),
        (FLAG, "1.0", "Y"),
        (FLAG, "*", "*"),
        (FLAG, "TRUE", "Y"),
        (FLAG, "nan", None),
        (FLAG, r"\N", None),
        (NAME, r"\N", None),
        (NAME, "null", "null"),
        (FLAG, " ", None),
        (PAYMENT, "CASH", 2),
        (PAYMENT, "Cas", 2),
        (PAYMENT, "CSH", 2),
        (PAYMENT, "Credit", 1),
        (PAYMENT, "CRE", 1),
        (PAYMENT, "CRD", 1),
        (PAYMENT, "No Charge", 3),
        (PAYMENT, "No ", 3),
        (PAYMENT, "Dis", 4),
        (PAYMENT, "NA ", 5),
        (PAYMENT, "UNK", 5),
        (PAYMENT, "1.0", 1),
        (PAYMENT, "", None),
        (PAYMENT, "barter", BAD),
        (VENDOR, "CMT", 1),
        (VENDOR, "VTS", 2),
        (VENDOR, "DDS", 3),
        (VENDOR, "2", 2),
        (MOMENT, "2021-01-31 23:59:59", time(2021, 1, 31, 23, 59, 59)),
        (MOMENT, "2021-01-31T23:59:59", time(2021, 1, 31, 23, 59, 59)),
        (MOMENT, "2020-04-24 08:20:17.000001", time(2020, 4, 24, 8, 20, 17, 1)),
        (MOMENT, "2020-04-24 08:20:17.123456789", time(2020, 4, 24, 8, 20, 17, 123456)),
        (MOMENT, "2021-01-31", time(2021, 1, 31)),
        (MOMENT, "2021-01-31 23:59", time(2021, 1, 31, 23, 59)),
        (MOMENT, "2021-01-31 23:59:59 UTC", time(2021, 1, 31, 23, 59, 59)),
        (MOMENT, "2021-01-31T23:59:59Z", time(2021, 1, 31, 23, 59, 59)),
        (MOMENT, "2021-01-31 23:59:59-05:00", time(2021, 1, 31, 23, 59, 59)),
        (MOMENT, "01/31/2015 12:34:56 AM", time(2015, 1, 31, 0, 34, 56)),
        (MOMENT, "1/3/2015 0:34", time(2015, 1, 3, 0, 34)),
        (MOMENT, "1/3/15 0:34", time(2015, 1, 3, 0, 34)),
        (MOMENT, "2015 Jan 31 12:34:56 PM", time(2015, 1, 31, 12, 34, 56)),
        (MOMENT, "2015/1/3 10:34:56", time(2015, 1, 3, 10, 34, 56)),
        (MOMENT, " 2021-01-31 23:59:59 ", time(2021, 1, 31, 23, 59, 59)),
        (MOMENT, "", None),
        (MOMENT, "2021-02-30 00:00:00", BAD),
        (MOMENT, "2/30/2021 00:00", BAD),
        (MOMENT, "0000-01-01 00:00:00", BAD),
        (MOMENT, "pickup_datetime", BAD),
        (MOMENT, "1609459200", BAD),
        (MOMENT, "1609459200000", BAD),
        (MOMENT, "44197.4166", BAD),
        (MOMENT, "2021-01-31T23:59:59.000", time(2021, 1, 31, 23, 59, 59)),
        (MOMENT, "31/01/2021 10:00:00", BAD),
        (MOMENT, "31.01.2021 10:00", BAD),
        (MOMENT, "2021-01-31 10:00:00 PM", BAD),
        (MOMENT, "01/31/2021 13:00:00 PM", BAD),
        (MOMENT, "2021-01-31 23:59:60", BAD),
        (MOMENT, "2021-01-31 10:00:00 EST", BAD),
        (MOMENT, "0000-00-00 00:00:00", BAD),
        (MOMENT, "10000-01-01 00:00:00", BAD),
        (RATE, "JFK", 2),
        (RATE, "Standard rate", 1),
        (RATE, "99.0", 99),
        (RATE, "Airport", BAD),
        (PAYMENT, "Flex Fare trip", 0),
        (PAYMENT, "Voided trip", 6),
        (VENDOR, "Creative Mobile Technologies, LLC", 1),
        (VENDOR, "Curb Mobility, LLC", 2),
    ],
)
def test_text(column, text, value):
    assert read(pa.array([text]), column) == [value]
    # What a value is read as does not depend on its neighbours.
    assert read(pa.array([text, None, "?!"]), column)[:2] == [value, None]
    assert read(pa.array([text]).dictionary_encode(), column) == [value]


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.int32(), pa.uint16(), pa.int64(), pa.float32(), pa.float64(), pa.string()]
)
def test_numbers_of_every_type(kind):
    values = pa.array([1, 2, None], pa.int64()).cast(kind)
    assert read(values, NUMBER) == [1, 2, None]
    assert read(values, AMOUNT) == [1.0, 2.0, None]
    assert read(values.dictionary_encode(), NUMBER) == [1, 2, None]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()])
def test_text_of_every_type(kind):
    assert read(pa.array(["B02884", None, " "]).cast(kind), NAME) == ["B02884", None, None]


@pytest.mark.parametrize("column", [NUMBER, AMOUNT, NAME, MOMENT, FLAG], ids=lambda column: str(column.type))
def test_a_column_of_nulls_is_null(column):
    assert read(pa.nulls(2), column) == [None, None]
    assert read(pa.nulls(2, pa.float64()), column) == [None, None]
    assert read(pa.array([], pa.string()), column) == []


@pytest.mark.parametrize(
    ("values", "column", "expected"),
    [
        (pa.array([1.5, float("nan"), float("inf"), 2.0**31]), NUMBER, [BAD, None, BAD, BAD]),
        (pa.array([float("nan"), float("-inf")]), AMOUNT, [None, BAD]),
        (pa.array([2**40, -5]), NUMBER, [BAD, -5]),
        (pa.array([2**63, 1], pa.uint64()), NUMBER, [BAD, 1]),
        (pa.array([2**53 + 1]), AMOUNT, [float(2**53)]),
        (pa.array([Decimal("1.50"), Decimal("2.00")]), AMOUNT, [1.5, 2.0]),
        (pa.array([Decimal("1.50"), Decimal("2.00")]), NUMBER, [BAD, 2]),
        (pa.array([Decimal("0.3"), Decimal("1.1")], pa.decimal128(38, 9)), AMOUNT, [0.3, 1.1]),
        (pa.array([Decimal(100), None], pa.decimal128(5, -2)), NUMBER, [100, None]),
        (pa.array([True, False]), NUMBER, [1, 0]),
        (pa.array([True, None]), AMOUNT, [BAD, None]),
        (pa.array([True, False, None]), FLAG, ["Y", "N", None]),
        (pa.array([0.0, 1.0, None]), FLAG, ["N", "Y", None]),
        (pa.array([7, None]), NAME, ["7", None]),
        (pa.array([[1], None]), NUMBER, [BAD, None]),
        (pa.array([dt.date(2021, 1, 1), None]), NUMBER, [BAD, None]),
        (pa.array([1_609_459_200, None]), MOMENT, [BAD, None]),
        (pa.array([dt.time(1)]), MOMENT, [BAD]),
        (pa.array([b"\xff", b"ok"]), NAME, [BAD, "ok"]),
    ],
    ids=str,
)
def test_what_fits_and_what_does_not(values, column, expected):
    assert read(values, column) == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York", "+05:00"])
def test_times_of_every_unit_keep_their_wall_clock(unit, zone):
    wall = time(2021, 7, 1, 12, 30)
    values = pa.array([wall, None], pa.timestamp(unit))
    if zone:
        values = pa.compute.assume_timezone(values, zone)
    assert read(values, MOMENT) == [wall, None]


def test_dates_are_midnights():
    assert read(pa.array([dt.date(2021, 1, 2)]), MOMENT) == [time(2021, 1, 2)]
    assert read(pa.array([dt.date(2021, 1, 2)], pa.date64()), MOMENT) == [time(2021, 1, 2)]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_times_beyond_the_calendar_are_unreadable(unit):
    values = pa.array([2**62, -(2**62), 0], pa.int64()).cast(pa.timestamp(unit))
    assert read(values, MOMENT) == [BAD, BAD, time(1970, 1, 1)]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.text(max_size=12), st.integers().map(str), st.floats().map(str)), max_size=8),
    st.sampled_from([NUMBER, AMOUNT, NAME, MOMENT, FLAG, PAYMENT]),
)
def test_any_text_is_read_or_marked_as_bad(texts, column):
    together = read(pa.array(texts, pa.string()), column)
    assert together == [value for text in texts for value in read(pa.array([text], pa.string()), column)]
    # Nothing turns into null in silence: only white space and, of what is not text, the usual words for nothing.
    for text, value in zip(texts, together, strict=True):
        if value is None and text is not None:
            words = ("", "nan", "nat", "null", "none", "na", "n/a", "<na>", "\\n")
            assert text.strip().lower() in (words if column is not NAME else ("", "\\n")) or not text.strip()

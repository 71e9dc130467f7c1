"""Casts the columns of a file to the types of a schema, and marks the values that cannot be read.

The fast path is one vectorised cast. If it fails for a column of a batch, a slow path reads what it can (padding, "1.0"
for an integer, other date formats, words for codes).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from flows.reading.plain import text_of

# Words of a column as their values: lower case -> value.
Words = Mapping[str, int | str]
NO_WORDS: Words = MappingProxyType({})

# Texts that mean null in a number, a time or a flag.
NULL_WORDS = pa.array(["", "nan", "nat", "null", "none", "na", "n/a", "<na>", "\\n"])
# How Hive, PostgreSQL and MySQL export a null of any column.
EXPORTED_NULL = "\\N"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

TIME = pa.timestamp("us")
# The range that PostgreSQL, BigQuery and Python all support: years 1 to 9999.
FIRST, LAST = (pa.scalar(moment, TIME) for moment in (dt.datetime(1, 1, 1), dt.datetime.max))

# Other date formats: exports of NYC Open Data, and of spreadsheets.
DATE_FORMATS = (
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%m/%d/%y %H:%M",
    "%Y %b %d %I:%M:%S %p",
    "%Y/%m/%d %H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
)


class Cast(NamedTuple):
    """A column in another type, with a mask of the values that cannot be read (null in `values`); None if all can."""

    values: pa.Array
    bad: pa.BooleanArray | None


def cast(values: pa.Array, target: pa.DataType, words: Words = NO_WORDS) -> Cast:
    """Cast a column of a plain type to int32, float64, string or timestamp[us] without a time zone.

    In a number, a time or a flag, an empty text, a NaN and the usual words for null are null. Text is trimmed, and an
    empty text is null. A time with a zone keeps its wall clock time.
    """
    if pa.types.is_null(values.type):
        return Cast(pa.nulls(len(values), target), None)
    if pa.types.is_string(target):
        return _text(values, words)
    if pa.types.is_timestamp(target):
        return _time(values)
    return _number(values, target, words)


def as_text(values: pa.Array) -> pa.StringArray:
    """Plain values as trimmed text; an empty one and EXPORTED_NULL are null."""
    text = pc.utf8_trim_whitespace(text_of(values))
    return _without(text, pc.or_(pc.equal(text, ""), pc.equal(text, EXPORTED_NULL)))


# Text


def _text(values: pa.Array, words: Words) -> Cast:
    text = as_text(values)
    if words:
        text = _flags(text, words)
    bad = _unreadable_text(text)
    return Cast(text if bad is None else pc.if_else(bad, None, text), bad)


def _flags(text: pa.StringArray, words: Words) -> pa.StringArray:
    """The words of a flag column as their values; other words are unchanged, and NULL_WORDS are null."""
    values = pa.array(sorted(set(words.values())))
    if pc.all(pc.is_in(text, values), min_count=0).as_py():
        return text
    return pc.coalesce(_by_word(text, pa.string(), words), _without_null_words(text))


def _by_word(text: pa.StringArray, target: pa.DataType, words: Words) -> pa.Array:
    """The values of the words; null for any other text."""
    return pa.array(words.values(), target).take(pc.index_in(pc.utf8_lower(text), pa.array(list(words))))


def _unreadable_text(text: pa.StringArray) -> pa.BooleanArray | None:
    r"""Which texts no store accepts: those with a NUL, or with bytes that were not UTF-8 (written as `\xNN`)."""
    raw = _bytes_of(text)
    if b"\0" not in raw and b"\\x" not in raw:
        return None
    bad = pc.fill_null(pc.match_substring_regex(text, r"\x00|\\x[89a-f][0-9a-f]"), False)
    return bad if pc.any(bad).as_py() else None


def _bytes_of(text: pa.StringArray) -> bytes:
    """The bytes of all the texts, one after the other."""
    data = text.buffers()[2]
    return data.to_pybytes() if data else b""


# Numbers


def _number(values: pa.Array, target: pa.DataType, words: Words) -> Cast:
    kind = values.type
    if pa.types.is_string(kind):
        return _number_of_text(values, target, words)
    if pa.types.is_decimal(kind):  # as text first: Arrow's cast to double turns 0.300000000 into 0.30000000000000004
        return _number_of_text(values.cast(pa.string()), target, words)
    if pa.types.is_boolean(kind) and pa.types.is_integer(target):
        values = values.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return Cast(pa.nulls(len(values), target), pc.is_valid(values))
    return _of_number(values, target)


def _number_of_text(text: pa.StringArray, target: pa.DataType, words: Words) -> Cast:
    try:
        if not _hexadecimal(text):
            return _of_number(text.cast(target), target)
    except pa.ArrowInvalid:
        pass
    trimmed = _without_null_words(text)
    if words:  # before the words for null: as a type of payment "NA" means unknown
        codes = _by_word(pc.utf8_trim_whitespace(text), target, words)
        trimmed = pc.coalesce(codes.cast(pa.string()), trimmed)
    readable = pc.match_substring_regex(trimmed, NUMBER)
    number = _of_number(pc.if_else(readable, trimmed, None).cast(pa.float64()), target).values
    return Cast(number, _bad_values(trimmed, number))


def _hexadecimal(text: pa.StringArray) -> bool:
    """Whether there may be a number like 0x10, which a cast would read as 16."""
    raw = _bytes_of(text)
    return b"x" in raw or b"X" in raw


def _of_number(values: pa.Array, target: pa.DataType) -> Cast:
    """Numbers as int32 or float64; NaN is null, infinities and fractions of an integer are unreadable."""
    if pa.types.is_floating(values.type) and not pc.all(pc.is_finite(values), min_count=0).as_py():
        return _of_odd_double(values.cast(pa.float64()), target)
    if values.type == target:
        return Cast(values, None)
    try:
        return Cast(values.cast(target), None)
    except pa.ArrowInvalid:
        return _in_target_range(values, target)


def _of_odd_double(values: pa.DoubleArray, target: pa.DataType) -> Cast:
    values = pc.if_else(pc.is_nan(values), None, values)
    finite = pc.if_else(pc.is_finite(values), values, None)
    number = _of_number(finite, target).values
    return Cast(number, _bad_values(values, number))


def _in_target_range(values: pa.Array, target: pa.DataType) -> Cast:
    as_double = values.cast(pa.float64(), safe=False)
    if pa.types.is_floating(target):  # integers too large to be exact as a double are rounded
        return Cast(as_double, None)
    fits = pc.and_(pc.greater_equal(as_double, INT32_MIN), pc.less_equal(as_double, INT32_MAX))
    fits = pc.and_(fits, pc.equal(as_double, pc.floor(as_double)))
    number = pc.if_else(fits, as_double, None).cast(target)
    return Cast(number, _bad_values(values, number))


# Times


def _time(values: pa.Array) -> Cast:
    kind = values.type
    if pa.types.is_string(kind):
        return _time_of_text(values)
    if pa.types.is_timestamp(kind):
        return _in_supported_years(values, _wall_clock(values))
    if pa.types.is_date(kind):
        return _in_supported_years(values, _microseconds(values.cast(pa.timestamp("ms"))))
    return Cast(pa.nulls(len(values), TIME), pc.is_valid(values))


def _wall_clock(values: pa.TimestampArray) -> pa.TimestampArray:
    """The wall clock times in the values' own zone."""
    zone = values.type.tz
    if zone is None:
        return _microseconds(values)
    if zone.upper() in ("UTC", "ETC/UTC", "GMT", "Z", "+00:00"):  # needs no time zone database
        return _microseconds(values.cast(pa.int64()).cast(pa.timestamp(values.type.unit)))
    try:
        return _microseconds(pc.local_timestamp(values))
    except pa.ArrowInvalid:  # an unknown zone
        return pa.nulls(len(values), TIME)


def _microseconds(values: pa.TimestampArray) -> pa.TimestampArray:
    if values.type.unit in ("us", "ns"):
        return values.cast(TIME, safe=False)  # nanoseconds are cut off
    try:
        return values.cast(TIME)
    except pa.ArrowInvalid:  # a year out of the range of microseconds
        unit = pa.scalar(1_000_000 if values.type.unit == "s" else 1_000)
        most = (2**63 - 1) // unit.as_py()
        count = values.cast(pa.int64())
        return pc.multiply(pc.if_else(pc.less_equal(pc.abs(count), most), count, None), unit).cast(TIME)


def _in_supported_years(was: pa.Array, times: pa.TimestampArray) -> Cast:
    """The times in years that every store supports; others are unreadable."""
    extremes = pc.min_max(times)
    least, most = extremes["min"], extremes["max"]
    if least.is_valid and (least.value < FIRST.value or most.value > LAST.value):
        fits = pc.and_(pc.greater_equal(times, FIRST), pc.less_equal(times, LAST))
        times = pc.if_else(fits, times, None)
    return Cast(times, _bad_values(was, times))


def _time_of_text(text: pa.StringArray) -> Cast:
    try:
        return _in_supported_years(text, text.cast(TIME))
    except pa.ArrowInvalid:
        pass
    trimmed = pc.replace_substring_regex(_without_null_words(text), " UTC$", "")  # as BigQuery writes times
    try:
        return _in_supported_years(trimmed, trimmed.cast(TIME))
    except pa.ArrowInvalid:
        return _in_supported_years(trimmed, pa.array([_moment(value) for value in trimmed.to_pylist()], TIME))


def _moment(text: str | None) -> dt.datetime | None:
    """A wall clock time in ISO 8601 or one of DATE_FORMATS; None for any other text."""
    if text is None:
        return None
    try:
        return dt.datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return next((moment for pattern in DATE_FORMATS if (moment := _by_format(text, pattern))), None)


def _by_format(text: str, pattern: str) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(text, pattern)
    except ValueError:
        return None


# Shared by several types


def _without_null_words(text: pa.StringArray) -> pa.StringArray:
    """The trimmed texts; NULL_WORDS are null."""
    trimmed = pc.utf8_trim_whitespace(text)
    return _without(trimmed, pc.is_in(pc.utf8_lower(trimmed), NULL_WORDS))


def _bad_values(was: pa.Array, now: pa.Array) -> pa.BooleanArray | None:
    """A mask of the values that have become null; None if there are none."""
    if was.null_count == now.null_count:
        return None
    return pc.and_(pc.is_valid(was), pc.is_null(now))


def _without(values: pa.Array, where: pa.BooleanArray) -> pa.Array:
    return pc.if_else(where, None, values) if pc.any(where).as_py() else values

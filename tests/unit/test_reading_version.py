"""The values read from a fixed set of files. If a value or a reason changes, stored months must be loaded again."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal

import pyarrow as pa

from flows.datasets import version
from flows.datasets.column import FLOAT, INT, TEXT, TIME, normalized
from flows.datasets.dataset import Dataset
from flows.datasets.registry import named
from flows.datasets.tlc.layouts import LAYOUTS
from tests.reading import Cleaned, cleaned_table, cleaned_text

# The first of each is what the other columns of its row hold.
TEXTS = {
    INT: ["1", "2.0", "", "x", "-1", "99999999999", "NULL"],
    FLOAT: ["1.5", "-3", "", "1,234.50", "inf", "nan", "1e3", "abc", " 0.3 ", "$2", "0x10"],
    TIME: ["2021-01-02 03:04:05", "2021-01-02T03:04:05.123", "2021-01-31 23:59:59 UTC", "01/02/2021 03:04:05 PM", ""],
    TEXT: ["Y", "", " a b ", r"\N", "no", "CRD", "CMT", "true", "x" * 300],
}
LINES = ["1,2", '"1","2021-01-02 03:04:05', ",,,,"]

MOMENT = dt.datetime(2021, 1, 2, 3, 4, 5, 678901)
ARRAYS = {
    INT: [pa.array([1, None, 3], pa.int64()), pa.array([1.0, 1.5, None]), pa.array([True, False, None])],
    FLOAT: [
        pa.array([Decimal("0.3"), Decimal("-12.50"), None]),
        pa.array([1, 2, None], pa.int64()),
        pa.array([0.1, float("nan"), None], pa.float32()),
    ],
    TIME: [
        pa.array([MOMENT, MOMENT, dt.datetime(1, 1, 1)], pa.timestamp("us")),
        pa.array([MOMENT, MOMENT, None], pa.timestamp("ns", "UTC")),
        pa.array([MOMENT.date()] * 3),
    ],
    TEXT: [
        pa.array(["Y", "", None]).dictionary_encode(),
        pa.array([b"N", b"\xff", None]),
        pa.array([1.0, 2.0, None]),
    ],
}


def types_of(layout: str) -> dict[str, pa.DataType]:
    """The layout's columns and the types that the contract has for them."""
    known = service_of(layout).columns_by_name
    return {name: known[normalized(name)].type for name in LAYOUTS[layout].split(",")}


def service_of(layout: str) -> Dataset:
    return named(layout.partition("-")[0])


def text_file(layout: str) -> str:
    """A CSV file of the layout: every text in every column, and rows too long, too short and quoted wrongly."""
    kinds = list(types_of(layout).values())
    plain = [TEXTS[kind][0] for kind in kinds]
    changed = [[*plain[:at], text, *plain[at + 1 :]] for at, kind in enumerate(kinds) for text in TEXTS[kind]]
    rows = [",".join(f'"{text}"' for text in row) for row in changed]
    rows += [f"{rows[0]},", f'{rows[0]},"7"', f'{rows[0]},"",""', *LINES]
    return "\n".join([LAYOUTS[layout], "", *rows, ""])


def table(layout: str, number: int) -> pa.Table:
    """A parquet table of the layout, in the types of this number, with a column that the contract does not have."""
    columns = {name: ARRAYS[kind][number] for name, kind in types_of(layout).items()}
    return pa.table({**columns, "other": pa.array([[1, 2], [], None])})


def described(outcome: Cleaned) -> list[object]:
    rejected = [(row["row_number"], row["reason"], row["row"]) for row in outcome.rejected]
    return [outcome.rows, sorted(outcome.counts.reasons.items()), rejected]


def test_the_version_of_the_reader_is_that_of_what_it_reads():
    read = [described(cleaned_text(text_file(layout), service_of(layout))) for layout in sorted(LAYOUTS)]
    read += [
        described(cleaned_table(table(layout, number), service_of(layout)))
        for layout in sorted(LAYOUTS)
        for number in range(len(ARRAYS[INT]))
    ]
    found = hashlib.sha256(repr(read).encode()).hexdigest()[:12]
    assert found == version.READING, (
        f"Other values are read than before. If they should be, set READING = {found!r} in flows/datasets/version.py: "
        "every month that is stored will be loaded again."
    )

"""CSV as published, and damaged: a line is a row, or rejected with a reason, or the whole file is refused."""

from __future__ import annotations

import gzip
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flows.datasets.registry import named
from flows.datasets.tlc import FHV, YELLOW
from flows.datasets.tlc.layouts import LAYOUTS
from flows.errors import Refused
from flows.reading import text_blocks
from tests.reading import cleaned, cleaned_text

HEADER = "vendor_id,pickup_datetime,passenger_count,store_and_fwd_flag,total_amount"
ROW = "1,2021-01-02 03:04:05,2,N,9.5"


def csv(*rows: str, header: str = HEADER, end: str = "\n") -> str:
    return end.join([header, *rows, ""])


def flags(outcome) -> list:
    return [row["store_and_fwd_flag"] for row in outcome.rows]


def reasons(outcome) -> list[tuple[int, str]]:
    return [(row["row_number"], row["reason"]) for row in outcome.rejected]


PLAIN = cleaned_text(csv(ROW, ROW.replace("N", "Y"))).rows


@pytest.mark.parametrize(
    "text",
    [
        csv(ROW, ROW.replace("N", "Y"), end="\r\n"),
        csv(ROW, ROW.replace("N", "Y"), end="\r"),
        csv(ROW, ROW.replace("N", "Y")).rstrip(),
        "\ufeff" + csv(ROW, ROW.replace("N", "Y")),
        "\n\r\n" + csv(ROW, ROW.replace("N", "Y")),
        csv("", ROW, "", "", ROW.replace("N", "Y"), ""),
        csv("\r", ROW, ROW.replace("N", "Y"), end="\n"),
        csv(ROW + "\r", ROW.replace("N", "Y") + "\r\r"),
        csv(ROW + ",,", ROW.replace("N", "Y") + ",,"),
        csv(ROW, ROW.replace("N", "Y") + ",,"),
        csv(ROW + ",", ROW.replace("N", "Y")),
        csv(ROW + ", ,  ", ROW.replace("N", "Y")),
        csv(ROW + ",,", ROW.replace("N", "Y") + ",,", header=HEADER + ",,"),
        csv(ROW, ROW.replace("N", "Y"), header=HEADER.replace(",", ", ")),
        csv(ROW, ROW.replace("N", "Y"), header='"' + HEADER.replace(",", '","') + '"'),
        csv(*('"' + row.replace(",", '","') + '"' for row in (ROW, ROW.replace("N", "Y")))),
        csv(*(row.replace(",", " , ") for row in (ROW, ROW.replace("N", "Y")))),
        csv("0," + ROW, "1," + ROW.replace("N", "Y"), header="," + HEADER),
        csv("0," + ROW, "1," + ROW.replace("N", "Y"), header="Unnamed: 0," + HEADER),
        csv("1.0,2021-01-02 03:04:05.000000,2.0,N,9.5", ROW.replace("N", "Y")),
        csv("CMT,1/2/2021 3:04:05,2,0,9.5", ROW.replace("N", "1")),
    ],
)
def test_other_ways_to_write_the_same_rows(text):
    outcome = cleaned_text(text)
    assert outcome.rows == PLAIN
    assert not outcome.rejected and not outcome.counts.extra_columns


def test_gzip_of_several_members(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(csv(ROW).encode()) + gzip.compress(f"{ROW}\n".encode()))
    assert cleaned(path, YELLOW.partition(2021, 1)).counts.rows_loaded == 2


def test_lines_that_are_not_rows_are_rejected_with_their_number():
    outcome = cleaned_text(csv(ROW, "1,2", ROW, ROW + "," * 60, "", "word", ROW, "1,2021-01-02 03:04:05,2,N"))
    assert outcome.counts.rows_loaded == 3
    assert reasons(outcome) == [(2, "short_row"), (4, "long_row"), (5, "short_row"), (7, "short_row")]
    assert outcome.rejected[0]["row"] == {"line": "1,2"}


def test_a_cut_off_last_line_is_rejected():
    assert reasons(cleaned_text(csv(ROW, ROW[:20]).rstrip())) == [(2, "short_row")]
    quoted = csv('"1","2021-01-02 03:04:05","2","N","9.5"', '"1","2021-01-').rstrip()
    assert reasons(cleaned_text(quoted)) == [(2, "short_row")]


def test_a_value_that_cannot_be_read_rejects_its_row_only():
    outcome = cleaned_text(csv(ROW, ROW.replace("9.5", "lots"), ROW.replace("2021-01-02", "yesterday"), ROW))
    assert outcome.counts.rows_loaded == 2
    assert reasons(outcome) == [(2, "unreadable:total_amount"), (3, "unreadable:pickup_datetime")]
    assert outcome.rejected[0]["row"]["total_amount"] == "lots"
    assert outcome.rejected[0]["row"] == dict(
        zip(HEADER.split(","), ROW.replace("9.5", "lots").split(","), strict=True)
    )


def test_a_row_without_a_required_value_is_rejected():
    outcome = cleaned_text(csv(ROW, ROW.replace("2021-01-02 03:04:05", "")))
    assert reasons(outcome) == [(2, "missing:pickup_datetime")]
    assert outcome.rejected[0]["row"]["pickup_datetime"] is None


def test_a_header_in_the_middle_is_a_rejected_row():
    assert reasons(cleaned_text(csv(ROW, HEADER, ROW))) == [(2, "unreadable:vendor_id")]


FULL = "1,2021-01-01 10:00:00,2021-01-01 10:10:00,1,2.5,1,N,142,239,1,10,0.5,0.5,2,0,0.3,13.3"
OF_2010 = "CMT,2010-03-04 10:00:00,2010-03-04 10:10:00,1,2.5,-73.97,40.76,1,,-73.98,40.75,Cas,8.1,0,0.5,0,0,8.6"


@pytest.mark.parametrize(
    ("layout", "row", "long"),
    [
        ("yellow-2016-07", FULL, FULL.replace(",1,10,", ",1,,10,")),  # every value is still readable, one place on
        ("yellow-2016-07", FULL, FULL.replace("2.5", "2,5")),
        ("yellow-2016-07", FULL, FULL.replace("N,", "N,,,")),
        ("yellow-2016-07", FULL, FULL + ",,x"),
        ("yellow-2016-07", FULL, FULL.replace("N", '"N","a"')),
        ("yellow-2010", OF_2010, OF_2010.replace("Cas,", "Cas,,")),
        ("yellow-2010", OF_2010, OF_2010.replace("Cas,", "2,").replace(",1,,-", ",1,,,-")),
        ("yellow-2010", OF_2010, "," + OF_2010),
    ],
)
@pytest.mark.parametrize("others", ["", ",", ",,,"], ids=["", "one comma at the end", "three commas at the end"])
def test_a_row_with_a_field_too_many_is_rejected(layout, row, long, others):
    outcome = cleaned_text(csv(row + others, row, long, row + others, header=LAYOUTS[layout]))
    assert reasons(outcome) == [(3, "long_row")]
    assert outcome.rejected[0]["row"] == {"line": long}
    assert len(outcome.rows) == 3 and outcome.rows[0] == outcome.rows[1] == outcome.rows[2]
    assert outcome.counts.extra_columns == ()


def test_a_file_whose_rows_all_have_a_field_too_many():
    """As R writes row names: a header of one name fewer than fields."""
    outcome = cleaned_text(csv(*[f"{number},{FULL}" for number in range(5000)], header=LAYOUTS["yellow-2016-07"]))
    assert outcome.counts.reasons == {"long_row": 5000}


def test_unknown_columns_are_kept_as_text():
    outcome = cleaned_text(csv(ROW + ",1.50,x", ROW + ",,", header=f"{HEADER},tax,mood "))
    assert [row["extra_columns"] for row in outcome.rows] == [[("tax", "1.50"), ("mood", "x")], None]
    assert outcome.counts.extra_columns == ("tax", "mood")


def test_unnamed_columns_at_the_end_are_kept_if_they_have_values():
    outcome = cleaned_text(
        csv(ROW, ROW + ",,", ROW + ",a,", ROW + ",,b", ROW + ",,,", ROW + ",,,c", header=HEADER + ",,")
    )
    assert [row["extra_columns"] for row in outcome.rows] == [
        None, None, [("column_6", "a")], [("column_7", "b")], None,
    ]  # fmt: skip
    assert outcome.counts.extra_columns == ("column_6", "column_7")
    assert reasons(outcome) == [(6, "long_row")]


def test_columns_with_the_same_name_are_all_kept():
    outcome = cleaned_text(csv(ROW + ",9.5,8,7", header=HEADER + ",total_amount,total_amount,total_amount"))
    assert outcome.rows[0]["total_amount"] == 9.5
    assert outcome.rows[0]["extra_columns"] == [("total_amount_7", "8"), ("total_amount_8", "7")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_text_in_another_unicode_encoding_is_refused(encoding):
    with pytest.raises(Refused, match=r"is UTF-16 text|is binary, neither CSV nor parquet"):
        cleaned_text(csv(ROW).encode(encoding))


@pytest.mark.parametrize("separator", ["\t", "|", ";"])
def test_another_separator_is_refused(separator):
    with pytest.raises(Refused, match="has no pickup_datetime column"):
        cleaned_text(csv(ROW).replace(",", separator))


def test_a_column_of_a_synonym_fills_gaps_and_its_contradictions_are_kept():
    rows = ["B1,B1,2021-01-01", "B1,,2021-01-01", ",B2,2021-01-01", "B1,B2,2021-01-01"]
    header = "Dispatching_base_number,Dispatching_base_num,Pickup_date"
    outcome = cleaned_text(csv(*rows, header=header), FHV)
    assert [row["dispatching_base_num"] for row in outcome.rows] == ["B1", "B1", "B2", "B2"]
    assert [row["extra_columns"] for row in outcome.rows] == [None, None, None, [("Dispatching_base_number", "B1")]]


def test_quotes():
    outcome = cleaned_text(
        csv(
            ROW.replace("N", '"a,b"'),
            ROW.replace("N", '"say ""x"""'),
            ROW.replace("N", '5" pipe'),
            ROW.replace("N", '"two\nlines"'),
            ROW.replace("N", '"two\r\nlines"'),
        )
    )
    assert flags(outcome) == ["a,b", 'say "x"', '5" pipe', "two\nlines", "two\nlines"]


def test_a_stray_quote_breaks_only_its_own_line():
    stray = ROW.replace("N", '"N')
    outcome = cleaned_text(csv(ROW, stray, ROW, stray, *[ROW] * 20, stray))
    assert outcome.counts.rows_loaded == 22
    assert reasons(outcome) == [(2, "stray_quote"), (4, "stray_quote"), (25, "stray_quote")]
    assert outcome.rejected[0]["row"] == {"line": stray}


def test_bytes_that_are_not_utf8_reject_their_row_only():
    text = csv(ROW, ROW.replace("N", "\xff"), ROW.replace("N", "ÿ")).encode()
    outcome = cleaned_text(text.replace("\xff".encode(), b"\xff", 1))
    assert flags(outcome) == ["N", "ÿ"]
    assert reasons(outcome) == [(2, "unreadable:store_and_fwd_flag")]
    assert outcome.rejected[0]["row"]["store_and_fwd_flag"] == "\\xff"


def test_nul_bytes_reject_their_row_only():
    outcome = cleaned_text(csv(ROW, ROW.replace("N", "N\0"), ROW.replace("9.5", "9\0")))
    assert reasons(outcome) == [(2, "unreadable:store_and_fwd_flag"), (3, "unreadable:total_amount")]
    assert outcome.rejected[0]["row"]["store_and_fwd_flag"] == "N\0"


def test_carriage_returns_and_blank_lines_that_cancel_out_in_the_count_of_lines():
    outcome = cleaned_text(csv(ROW, ROW.replace("N", "a\rb"), "", ROW))
    assert flags(outcome) == ["N", "a\rb", "N"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEADER, "has a header and not one row"),
        (csv("", ""), "has a header and not one row"),
        ("x" * (text_blocks.LONGEST_LINE + 2), "is not CSV: a line is longer than 1,048,576 bytes"),
        (csv(ROW, "x" * (3 * text_blocks.LONGEST_LINE)), "is not CSV: a line is longer than 1,048,576 bytes"),
        (csv(*[ROW] * 5000, "<<<<<<< HEAD", ROW), "holds merge-conflict markers"),
        (csv(*[ROW] * 5000, "=======", ROW), "holds merge-conflict markers"),
        ('"vendor_id\n1', "has no readable header: "),
        ("Not Found", "has no pickup_datetime column: its header is 'Not Found'"),
        (csv(ROW).replace(",", ";"), "has no pickup_datetime column: its header is "),
    ],
)
def test_refusals(text, reason):
    with pytest.raises(Refused) as refused:
        cleaned_text(text)
    assert refused.value.reason.startswith(reason)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.9999])
def test_a_truncated_gzip_is_refused(tmp_path, keep):
    rng = random.Random(1)
    rows = (ROW.replace("9.5", str(rng.random())) for _ in range(20_000))
    whole = gzip.compress(csv(*rows).encode())
    path = tmp_path / "a.csv.gz"
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(Refused, match="is a truncated gzip file"):
        cleaned(path, YELLOW.partition(2021, 1))


def test_a_damaged_gzip_is_refused(tmp_path):
    whole = bytearray(gzip.compress(csv(*[ROW] * 1000).encode()))
    whole[-7] ^= 1
    path = tmp_path / "a.csv.gz"
    path.write_bytes(whole)
    with pytest.raises(Refused, match="is a damaged gzip file"):
        cleaned(path, YELLOW.partition(2021, 1))


LINES = st.one_of(
    st.just(ROW),
    st.just(ROW.replace("N", '"N"')),
    st.just(ROW.replace("N", '"N')),
    st.just(ROW.replace("N", '"two\nlines"')),
    st.just(ROW.replace("N", "a\rb")),
    st.just(ROW.replace("N", 'a"b')),
    st.just(ROW + ",,"),
    st.just(ROW + ",x"),
    st.just("1,2"),
    st.just(""),
    st.text('"\r\n,ab1 \0é', max_size=12),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, min_size=1, max_size=25), st.sampled_from(["\n", "\r\n"]), st.integers(40, 300))
@example([ROW.replace("N", '"N'), ROW], "\n", 50)
@example([ROW.replace("N", '"N'), '\0",', ROW + ",,"], "\n", 40)
def test_block_boundaries_do_not_change_the_result(lines, end, block):
    text = csv(ROW, *lines, end=end).encode()

    def read():
        outcome = cleaned_text(text)
        return outcome.rows, outcome.rejected, outcome.counts

    whole = read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_blocks, "BLOCK", block)
        assert read() == whole
    assert whole[2].rows_read <= 1 + len(lines) + "".join(lines).count("\n")


def test_every_csv_layout_is_named_in_the_counts():
    for name, header in LAYOUTS.items():
        service = named(name.split("-")[0])
        row = ",".join("2021-01-01 00:00:00" if "date" in column.lower() else "" for column in header.split(","))
        counts = cleaned_text(csv(row, header=header), service).counts
        assert (counts.layout, counts.rows_loaded) == (name, 1)

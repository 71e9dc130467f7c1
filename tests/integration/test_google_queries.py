"""GoogleSQL and the results of queries, by the real client."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from google.api_core.exceptions import BadRequest, NotFound
from google.cloud import bigquery
from google.cloud.bigquery import ArrayQueryParameter, QueryJobConfig, ScalarQueryParameter

from tests.integration.google_fixtures import (
    bigquery_client,
    bigquery_emulator,
    dataset,
    load,
    months,
    parquet,
    storage_emulator,
    trips,
)

# Each is true in GoogleSQL.
TRUE = r"""
EXTRACT(DAYOFWEEK FROM DATE '2021-01-03') = 1
EXTRACT(ISOWEEK FROM DATE '2021-01-03') = 53
EXTRACT(HOUR FROM DATETIME '2021-01-03 11:05:00') = 11
DATE_TRUNC(DATE '2021-02-17', MONTH) = DATE '2021-02-01'
DATE_TRUNC(DATE '2021-02-17', WEEK) = DATE '2021-02-14'
DATE_TRUNC(DATE '2021-02-17', ISOWEEK) = DATE '2021-02-15'
DATETIME_TRUNC(DATETIME '2021-02-17 11:05:59', HOUR) = DATETIME '2021-02-17 11:00:00'
TIMESTAMP_TRUNC(TIMESTAMP '2021-02-17 11:05:59+00', DAY) = TIMESTAMP '2021-02-17 00:00:00+00'
DATE_ADD(DATE '2021-01-31', INTERVAL 1 MONTH) = DATE '2021-02-28'
DATE_DIFF(DATE '2021-03-01', DATE '2021-02-28', MONTH) = 1
DATETIME_DIFF(DATETIME '2021-01-01 11:01:00', DATETIME '2021-01-01 10:59:00', HOUR) = 1
TIMESTAMP_DIFF(TIMESTAMP '2021-01-01 11:01:00+00', TIMESTAMP '2021-01-01 10:59:00+00', HOUR) = 0
DATE(TIMESTAMP '2021-01-01 02:30:00+00', 'America/New_York') = DATE '2020-12-31'
DATETIME(TIMESTAMP '2021-01-01 02:30:00+00') = DATETIME '2021-01-01 02:30:00'
FORMAT_DATE('%Y-%m', DATE '2021-02-03') = '2021-02'
PARSE_DATE('%Y-%m-%d', '2021-02-03') = DATE '2021-02-03'
7 / 2 = 3.5
DIV(7, 2) = 3
SAFE_DIVIDE(1, 0) IS NULL
ROUND(-2.5) = -3
CAST(2.5 AS INT64) = 3
CAST(NUMERIC '1.50' AS STRING) = '1.5'
NUMERIC '0.1' + NUMERIC '0.2' = NUMERIC '0.3'
SAFE_CAST('x' AS INT64) IS NULL
GREATEST(1, NULL) IS NULL
CONCAT('a', NULL) IS NULL
SUBSTR('abc', -2, 1) = 'b'
SPLIT('a,b', ',')[OFFSET(1)] = 'b'
REGEXP_EXTRACT('a12', r'\d+') = '12'
REGEXP_EXTRACT('a', r'\d+') IS NULL
1 IN UNNEST([1, 2])
(SELECT STRING_AGG(x, ',' ORDER BY x DESC) FROM UNNEST(['a', 'b']) AS x) = 'b,a'
(SELECT COUNTIF(x > 1) FROM UNNEST([1, 2]) AS x) = 1
(SELECT COUNTIF(x > 1) FROM UNNEST([1]) AS x WHERE x > 5) = 0
(SELECT SUM(n) FROM (SELECT COUNTIF(x > 5) OVER () AS n FROM UNNEST([1, 2]) AS x)) = 0
JSON_VALUE('{"a": "b"}', '$.a') = 'b'
TO_HEX(MD5('a')) = '0cc175b9c0f1b6a831c399e269772661'
""".strip().splitlines()


def values(client: bigquery.Client, query: str, *parameters, **options) -> list[tuple]:
    config = QueryJobConfig(query_parameters=parameters, **options)
    return [tuple(row) for row in client.query_and_wait(query, job_config=config)]


def test_expressions_have_the_value_that_they_have_in_bigquery(bigquery_client):
    found = values(bigquery_client, "SELECT " + ", ".join(f"{each} AS e{n}" for n, each in enumerate(TRUE)))[0]
    assert [expression for expression, value in zip(TRUE, found, strict=True) if value is not True] == []


def test_every_type_is_returned_as_itself(bigquery_client):
    query = """
        SELECT 1 AS i, 1.5 AS f, NUMERIC '1.25' AS n, 'ä' AS s, b'\\x00\\xff' AS b, TRUE AS t, DATE '2021-01-31' AS d,
          DATETIME '2021-01-31 23:59:59.123456' AS dt, TIMESTAMP '2021-01-31 23:59:59.123456+00' AS ts,
          [1, 2] AS a, CAST(NULL AS STRING) AS z, CAST('nan' AS FLOAT64) AS nan,
          [TIMESTAMP '1970-01-01 00:00:01+00'] AS at, TIMESTAMP_MICROS(1000000) AS micros,
          TIMESTAMP_MILLIS(1000) AS millis, TIMESTAMP_SECONDS(1) AS seconds,
          PARSE_TIMESTAMP('%Y-%m-%d %H:%M:%S', '1970-01-01 00:00:01') AS parsed
    """
    moment = dt.datetime(2021, 1, 31, 23, 59, 59, 123456)
    second = dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)
    row = values(bigquery_client, query)[0]
    assert row[:11] == (
        1, 1.5, Decimal("1.25"), "ä", b"\x00\xff", True, dt.date(2021, 1, 31), moment, moment.replace(tzinfo=dt.UTC),
        [1, 2], None,
    )  # fmt: skip
    assert row[11] != row[11]
    assert row[12] == [second]
    assert row[13:] == (second,) * 4
    found = bigquery_client.query(query).result().schema
    assert [field.field_type for field in found] == [
        "INTEGER", "FLOAT", "NUMERIC", "STRING", "BYTES", "BOOLEAN", "DATE", "DATETIME", "TIMESTAMP", "INTEGER",
        "STRING", "FLOAT", "TIMESTAMP", "TIMESTAMP", "TIMESTAMP", "TIMESTAMP", "TIMESTAMP",
    ]  # fmt: skip
    assert found[9].mode == "REPEATED"


def test_columns_without_a_name_are_numbered(bigquery_client):
    found = bigquery_client.query("SELECT COUNT(*), 2 AS b, SUM(x) FROM UNNEST([1]) AS x").result()
    assert [field.name for field in found.schema] == ["f0_", "b", "f1_"]
    with pytest.raises(BadRequest, match=r"(?i)duplicate"):
        values(bigquery_client, "SELECT 1 AS a, 2 AS a")


def test_parameters(bigquery_client, trips):
    load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 5))
    month = ScalarQueryParameter("month", "DATE", dt.date(2021, 1, 1))
    flags = ArrayQueryParameter("flags", "STRING", ["1", "3", "it's"])
    query = f"SELECT COUNT(*) FROM `{trips}` WHERE source_month = @month AND flag IN UNNEST(@flags)"
    assert values(bigquery_client, query, month, flags) == [(2,)]
    empty = ScalarQueryParameter("x", "STRING", None)
    assert values(bigquery_client, "SELECT @x IS NULL", empty) == [(True,)]
    moment = dt.datetime(2021, 1, 1, 12, tzinfo=dt.UTC)
    kept = [
        ScalarQueryParameter("ts", "TIMESTAMP", moment),
        ScalarQueryParameter("n", "NUMERIC", Decimal("1.5")),
        ScalarQueryParameter("t", "BOOL", False),
    ]
    assert values(bigquery_client, "SELECT @ts, @n, @t", *kept) == [(moment, Decimal("1.5"), False)]
    with pytest.raises(BadRequest):
        values(bigquery_client, "SELECT @missing")


def test_results_in_pages_and_in_order(bigquery_client):
    query = "SELECT x FROM UNNEST(GENERATE_ARRAY(1, 25000)) AS x ORDER BY x DESC"
    result = bigquery_client.query(query).result(page_size=7000)
    assert result.total_rows == 25000
    assert [row["x"] for row in result] == list(range(25000, 0, -1))
    assert bigquery_client.query(query).result(max_results=3).to_arrow()["x"].to_pylist() == [25000, 24999, 24998]
    assert len(list(bigquery_client.query_and_wait(query))) == 25000


def test_a_query_with_no_rows(bigquery_client, trips):
    result = bigquery_client.query(f"SELECT * FROM `{trips}`").result()
    assert (result.total_rows, list(result), len(result.schema)) == (0, [], 5)


def test_names_with_and_without_a_default(bigquery_client, dataset, trips):
    name = trips.rsplit(".", 1)[1]
    short = QueryJobConfig(default_dataset=dataset)
    for table in (f"`{trips}`", trips.split(".", 1)[1], f"`{dataset}`.{name}"):
        assert values(bigquery_client, f"SELECT COUNT(*) FROM {table}") == [(0,)]
    query = f"WITH {name}_cte AS (SELECT 1 AS x) SELECT {name}.flag, x FROM {name}, {name}_cte"
    assert list(bigquery_client.query_and_wait(query, job_config=short)) == []


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("SELEC 1", BadRequest),
        ("SELECT nothing FROM `{trips}`", BadRequest),
        ("SELECT COUNT(*) FROM `{trips}_missing`", NotFound),
        ("SELECT COUNT(*) FROM missing", BadRequest),
        ("SELECT 1 / x FROM UNNEST([0]) AS x", BadRequest),
        ("DELETE FROM `{trips}`", BadRequest),
    ],
)
def test_queries_that_are_wrong(bigquery_client, trips, query, error):
    with pytest.raises(error):
        bigquery_client.query(query.format(trips=trips), retry=None).result()


def test_rows_are_deleted(bigquery_client, trips):
    load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 5))
    load(bigquery_client, f"{trips}$202102", parquet("2021-02-01", 2))
    text = f"DELETE FROM `{trips}` WHERE source_month = @month AND flag IN UNNEST(@flags)"
    parameters = [
        ScalarQueryParameter("month", "DATE", dt.date(2021, 1, 1)),
        ArrayQueryParameter("flags", "STRING", ["0", "1", "7"]),
    ]
    job = bigquery_client.query(text, job_config=QueryJobConfig(query_parameters=parameters))
    assert list(job.result()) == []
    assert (job.num_dml_affected_rows, job.statement_type) == (2, "DELETE")
    assert months(bigquery_client, trips) == {"2021-01": 3, "2021-02": 2}

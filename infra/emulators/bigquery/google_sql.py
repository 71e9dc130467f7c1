"""GoogleSQL to DuckDB's SQL by sqlglot, with the differences that sqlglot does not translate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, ParseError, TokenError, UnsupportedError

from infra.emulators.bigquery import table_fields
from infra.emulators.bigquery.table_names import Dataset, Table
from infra.emulators.rest import GoogleError, unsupported

# Parts of EXTRACT that DuckDB counts in another way.
_COUNTED_OTHERWISE = {"WEEK", "ISOYEAR", "DATE", "TIME", "DATETIME"}


@dataclass(frozen=True)
class Statement:
    """One statement in DuckDB's SQL: a DELETE from `target`, or a SELECT."""

    sql: str
    target: Table | None
    reads: list[Table]


def translate(options: dict[str, Any], project: str, default: Dataset | None) -> Statement:
    """Translate the query of a job's `options`, with its parameters. `default` is the dataset of unqualified tables.

    Raises 400 (invalidQuery) for what is not GoogleSQL, 501 for what is not supported.
    """
    tree = _parse(options["query"])
    target, reads = None, []
    for node, table in _tables(tree, project, default):
        if isinstance(tree, exp.Delete) and node is tree.this:
            target = table
        else:
            reads.append(table)
        node.set("catalog", None)
        node.set("db", exp.to_identifier(table.dataset.schema, quoted=True))
        node.set("this", exp.to_identifier(table.name, quoted=True))
    _refuse(tree)
    if isinstance(tree, exp.Query):
        _name_columns(tree)
    return Statement(_duckdb(tree, options), target, sorted(set(reads), key=str))


def _parse(query: str) -> exp.Expr:
    try:
        trees = [tree for tree in sqlglot.parse(query, read="bigquery") if tree is not None]
    except (ParseError, TokenError) as error:
        raise GoogleError(400, "invalidQuery", f"Syntax error: {str(error).splitlines()[0]}") from None
    if len(trees) != 1:
        raise unsupported("scripts" if trees else "an empty query")
    if not isinstance(trees[0], exp.Query | exp.Delete):
        raise unsupported(f"the statement {trees[0].sql('bigquery')[:60]}")
    if isinstance(trees[0], exp.Delete) and not trees[0].args.get("where"):
        raise GoogleError(400, "invalidQuery", "DELETE must have a WHERE clause")
    return trees[0]


def _tables(tree: exp.Expr, project: str, default: Dataset | None) -> list[tuple[exp.Table, Table]]:
    """Return the tables in a tree, without common table expressions."""
    common = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    nodes = [each for each in tree.find_all(exp.Table) if each.args.get("db") or each.name.lower() not in common]
    return [(node, _table(node, project, default)) for node in nodes]


def _table(node: exp.Table, project: str, default: Dataset | None) -> Table:
    known = isinstance(node.this, exp.Identifier) and "INFORMATION_SCHEMA" not in node.sql("bigquery").upper()
    if not known or "$" in node.name or "*" in node.name or node.name.startswith("__"):
        raise unsupported(f"the table expression {node.sql('bigquery')}")
    if node.db:
        return Table.parse(node.catalog or project, node.db, node.name)
    if default is None:
        message = f'Table "{node.name}" must be qualified with a dataset (e.g. dataset.table).'
        raise GoogleError(400, "invalid", message)
    return Table.parse(default.project, default.name, node.name)


def _refuse(tree: exp.Expr) -> None:
    """Raise 501 for what would be translated to something else."""
    for function in tree.find_all(exp.Anonymous, exp.SafeFunc, exp.AnonymousAggFunc, exp.Format):
        raise unsupported(f"the function {function.sql('bigquery').split('(')[0]}")
    for select in tree.find_all(exp.Select):
        if select.args.get("kind"):
            raise unsupported(f"SELECT AS {select.args['kind']}")
    for extract in tree.find_all(exp.Extract):
        if extract.name.upper() in _COUNTED_OTHERWISE or isinstance(extract.this, exp.WeekStart):
            raise unsupported(f"EXTRACT({extract.this.sql('bigquery')} FROM ...)")
    for node in tree.find_all(exp.TimestampTrunc, exp.DatetimeTrunc, exp.DateDiff, exp.DatetimeDiff, exp.TimestampDiff):
        if "WEEK" in str(node.args.get("unit")).upper():
            raise unsupported(node.sql("bigquery"))
    for expression in tree.find_all(exp.Struct, exp.TableSample, exp.Pivot, exp.Version):
        raise unsupported(expression.sql("bigquery")[:60])
    for parsed in tree.find_all(exp.StrToTime):
        if parsed.args.get("zone"):
            raise unsupported("PARSE_TIMESTAMP with a time zone")


def _name_columns(tree: exp.Query) -> None:
    """Name the columns without a name f0_, f1_ and so on."""
    select: exp.Expr = tree
    number = 0
    while isinstance(select, exp.SetOperation | exp.Subquery):
        select = select.this
    for column in list(select.expressions):
        if not isinstance(column, exp.Alias | exp.Column | exp.Star):
            column.replace(exp.alias_(column.copy(), f"f{number}_"))
            number += 1


def _duckdb(tree: exp.Expr, request: dict[str, Any]) -> str:
    # The innermost first, so that an outer node copies what has been translated already.
    nodes: list[exp.Expr] = list(tree.find_all(*_REPLACEMENTS))
    for node in reversed(nodes):
        _REPLACEMENTS[type(node)](node)
    _bind_parameters(tree, request.get("queryParameters") or [])
    try:
        return tree.sql("duckdb", identify=True, unsupported_level=ErrorLevel.RAISE)
    except UnsupportedError as error:
        raise unsupported(str(error)) from None


def _bind_parameters(tree: exp.Expr, given: list[dict[str, Any]]) -> None:
    """Replace the names of parameters in the query by their values, as literals with a type."""
    if not all(each.get("name") for each in given):
        raise unsupported("query parameters without a name")
    values = {each["name"].lower(): _parameter(each) for each in given}
    for node in list(tree.find_all(exp.Parameter)):
        name = node.name.lower()
        if name not in values:
            raise GoogleError(400, "invalidQuery", f"Query parameter '{name}' not found")
        node.replace(values[name].copy())


def _parameter(given: dict[str, Any]) -> exp.Expr:
    kind, value = given["parameterType"], given.get("parameterValue") or {}
    if kind["type"] != "ARRAY":
        return _scalar(kind["type"], value.get("value"))
    element = kind["arrayType"]["type"]
    values = [_scalar(element, each.get("value")) for each in value.get("arrayValues") or []]
    return exp.cast(exp.Array(expressions=values), f"{_column(element)}[]", dialect="duckdb")


def _scalar(kind: str, value: str | None) -> exp.Expr:
    literal = exp.null() if value is None else exp.Literal.string(value)
    return exp.cast(literal, _column(kind), dialect="duckdb")


def _column(kind: str) -> str:
    if kind in ("STRUCT", "ARRAY", "BYTES"):
        raise unsupported(f"a query parameter of type {kind}")
    return table_fields.column_type(table_fields.parse({"fields": [{"name": "parameter", "type": kind}]})[0])


def _as_double(node: exp.Literal) -> None:
    # 1.5 is a FLOAT64 in GoogleSQL and a DECIMAL in DuckDB.
    if not node.is_string and not node.this.isdigit():
        node.replace(exp.cast(node.copy(), "DOUBLE", dialect="duckdb"))


def _as_numeric(node: exp.DataType) -> None:
    # sqlglot writes NUMERIC without its scale, which is three digits in DuckDB.
    if node.this == exp.DataType.Type.DECIMAL and not node.expressions:
        node.replace(exp.DataType.build("DECIMAL(38, 9)", dialect="duckdb"))


def _fail_on_zero(node: exp.Div) -> None:
    # DuckDB divides by zero to infinity; GoogleSQL fails.
    if isinstance(node.expression, exp.Literal) and node.expression.to_py():
        return
    divisor = node.expression.copy()
    error = exp.Anonymous(this="error", expressions=[exp.Literal.string("division by zero")])
    zero = exp.EQ(this=exp.paren(divisor.copy()), expression=exp.Literal.number(0))
    node.set("expression", exp.Case(ifs=[exp.If(this=zero, true=error)], default=divisor))


def _same_type(node: exp.DateTrunc | exp.DateAdd | exp.DateSub) -> None:
    # Truncating a DATE, or adding to it, gives a DATE; DuckDB gives a TIMESTAMP.
    inner = node.copy()
    node.replace(exp.Anonymous(this="cast_to_type", expressions=[inner, inner.this.copy()]))


def _day_and_week_number(node: exp.Extract) -> None:
    # Sunday is 1 in GoogleSQL and 0 in DuckDB. DuckDB's WEEK is the ISO week.
    if node.name.upper() == "DAYOFWEEK":
        node.replace(exp.paren(exp.Add(this=node.copy(), expression=exp.Literal.number(1))))
    elif node.name.upper() == "ISOWEEK":
        node.set("this", exp.var("WEEK"))


def _whole_units(node: exp.TimestampDiff) -> None:
    # TIMESTAMP_DIFF counts whole units; DATE_DIFF, DATETIME_DIFF and DuckDB's date_diff count boundaries.
    unit = exp.Literal.string(node.args["unit"].name.lower())
    node.replace(exp.Anonymous(this="date_sub", expressions=[unit, node.expression.copy(), node.this.copy()]))


def _as_timestamp(node: exp.UnixToTime | exp.StrToTime) -> None:
    # TIMESTAMP_MICROS, TIMESTAMP_MILLIS, TIMESTAMP_SECONDS and PARSE_TIMESTAMP; DuckDB's functions return no time zone.
    node.replace(exp.cast(node.copy(), "TIMESTAMPTZ", dialect="duckdb"))


def _count_if(node: exp.CountIf) -> None:
    # COUNTIF of no rows is 0 in GoogleSQL and NULL in DuckDB.
    if isinstance(node.this, exp.Distinct):
        raise unsupported("COUNTIF with DISTINCT")
    one = exp.If(this=node.this.copy(), true=exp.Literal.number(1))
    node.replace(exp.Count(this=exp.Case(ifs=[one])))


def _cast(node: exp.Cast) -> None:
    # GoogleSQL rounds a half away from zero, DuckDB to the even number. A NUMERIC's text has no trailing zeros.
    if node.to.this == exp.DataType.Type.BIGINT:
        _cast_by_type(node, "DOUBLE", "CAST(ROUND(TRY_CAST({0} AS DOUBLE)) AS BIGINT)")
    elif node.to.this == exp.DataType.Type.TEXT:
        _cast_by_type(node, "DECIMAL%", "RTRIM(RTRIM(CAST({0} AS TEXT), '0'), '.')")


def _cast_by_type(node: exp.Cast, kind: str, instead: str) -> None:
    """Use `instead` for the cast if DuckDB finds that the operand is of its type `kind`."""
    inner = node.this.sql("duckdb", identify=True)
    special = sqlglot.parse_one(instead.format(inner), read="duckdb")
    is_kind = sqlglot.parse_one(f"TYPEOF({inner}) LIKE '{kind}'", read="duckdb")
    node.replace(exp.Case(ifs=[exp.If(this=is_kind, true=special)], default=node.copy()))


_REPLACEMENTS: dict[type[exp.Expr], Callable[[Any], None]] = {
    exp.Literal: _as_double,
    exp.DataType: _as_numeric,
    exp.Div: _fail_on_zero,
    exp.DateTrunc: _same_type,
    exp.DateAdd: _same_type,
    exp.DateSub: _same_type,
    exp.Extract: _day_and_week_number,
    exp.TimestampDiff: _whole_units,
    exp.UnixToTime: _as_timestamp,
    exp.StrToTime: _as_timestamp,
    exp.CountIf: _count_if,
    exp.Cast: _cast,
    exp.TryCast: _cast,
}

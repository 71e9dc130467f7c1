"""GoogleSQL into DuckDB's SQL, by sqlglot, with the differences that sqlglot leaves; what is not known is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, ParseError, TokenError, UnsupportedError

from infra.emulators.bigquery import parameters as query_parameters
from infra.emulators.bigquery.ddl import Creation, creation
from infra.emulators.bigquery.names import Dataset, Table
from infra.emulators.rest import GoogleError, unsupported

_DATA = {exp.Insert: "INSERT", exp.Update: "UPDATE", exp.Delete: "DELETE", exp.Merge: "MERGE"}
# Their numbers begin elsewhere, or their weeks do.
_UNLIKE = {"WEEK", "ISOYEAR", "DATE", "TIME", "DATETIME"}


@dataclass(frozen=True)
class Statement:
    """One statement, translated."""

    kind: str
    sql: str
    target: Table | None = None
    reads: list[Table] = field(default_factory=list)
    creation: Creation | None = None
    if_exists: bool = False

    @property
    def changes_rows(self) -> bool:
        """Whether it is DML."""
        return self.kind in _DATA.values()


def translate(
    query: str,
    request: dict[str, Any],
    project: str,
    default: Dataset | None,
    columns_of: Callable[[Table], list[str]],
) -> Statement:
    """Translate a query. `request` holds its parameters; `columns_of` gives a table's columns or raises 404.

    Raises 400 (invalidQuery) for what is no GoogleSQL, 501 for what is not known here.
    """
    tree = _parsed(query)
    kind = _kind(tree)
    names = _Names(tree, project, default)
    target, reads = names.target(_target(tree)), names.others(_target(tree))
    for table in reads:
        columns_of(table)
    _refuse(tree)
    if isinstance(tree, exp.Drop):
        return Statement(kind, "", target, if_exists=bool(tree.args.get("exists")))
    made = creation(tree) if isinstance(tree, exp.Create) else None
    columns = columns_of(target) if target and not made else []
    if isinstance(tree, exp.Merge):
        _spell_out_rows(tree, columns)
    names.rename()
    if isinstance(tree, exp.Query):
        _name_columns(tree)
    source = tree.expression if made else tree
    return Statement(kind, _duckdb(source, request) if source else "", target, reads, made)


def _parsed(query: str) -> exp.Expression:
    try:
        numbered = query_parameters.numbered(query)
        trees = [tree for tree in sqlglot.parse(numbered, read="bigquery") if tree is not None]
    except (ParseError, TokenError) as error:
        raise GoogleError(400, "invalidQuery", f"Syntax error: {str(error).splitlines()[0]}") from None
    if len(trees) != 1:
        raise unsupported("scripts" if trees else "an empty query")
    return trees[0]


def _kind(tree: exp.Expression) -> str:
    if isinstance(tree, exp.Query):
        return "SELECT"
    if type(tree) in _DATA:
        if isinstance(tree, exp.Update | exp.Delete) and not tree.args.get("where"):
            raise GoogleError(400, "invalidQuery", f"{_DATA[type(tree)]} must have a WHERE clause")
        return _DATA[type(tree)]
    if isinstance(tree, exp.Create) and tree.kind == "TABLE":
        return "CREATE_TABLE_AS_SELECT" if tree.expression else "CREATE_TABLE"
    if isinstance(tree, exp.Drop) and tree.kind == "TABLE" and len(tree.args["tables"]) == 1:
        return "DROP_TABLE"
    raise unsupported(f"the statement {tree.sql('bigquery')[:60]}")


def _target(tree: exp.Expression) -> exp.Table | None:
    if isinstance(tree, exp.Query):
        return None
    target = tree.args["tables"][0] if isinstance(tree, exp.Drop) else tree.this
    return target.this if isinstance(target, exp.Schema) else target


class _Names:
    """The tables that a tree names, common table expressions apart."""

    def __init__(self, tree: exp.Expression, project: str, default: Dataset | None) -> None:
        self._project, self._default = project, default
        common = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
        self._tables = {
            id(node): (node, self._table(node))
            for node in tree.find_all(exp.Table)
            if node.args.get("db") or node.name.lower() not in common
        }

    def target(self, node: exp.Table | None) -> Table | None:
        """The table that is written to."""
        return None if node is None else self._tables[id(node)][1]

    def others(self, target: exp.Table | None) -> list[Table]:
        """The tables that are read."""
        return sorted({table for node, table in self._tables.values() if node is not target}, key=str)

    def rename(self) -> None:
        """Call every table what it is called in DuckDB."""
        for node, table in self._tables.values():
            node.set("catalog", None)
            node.set("db", exp.to_identifier(table.dataset.schema, quoted=True))
            node.set("this", exp.to_identifier(table.name, quoted=True))

    def _table(self, node: exp.Table) -> Table:
        known = isinstance(node.this, exp.Identifier) and "INFORMATION_SCHEMA" not in node.sql("bigquery").upper()
        if not known or "$" in node.name or "*" in node.name or node.name.startswith("__"):
            raise unsupported(f"the table expression {node.sql('bigquery')}")
        project, dataset = node.catalog or self._project, node.db
        if not dataset and self._default is None:
            message = f'Table "{node.name}" must be qualified with a dataset (e.g. dataset.table).'
            raise GoogleError(400, "invalid", message)
        if not dataset and self._default:
            project, dataset = self._default.project, self._default.name
        return Table.parse(project, dataset, node.name)


def _refuse(tree: exp.Expression) -> None:
    for node in tree.find_all(exp.Anonymous, exp.SafeFunc, exp.AnonymousAggFunc, exp.Format):
        raise unsupported(f"the function {node.sql('bigquery').split('(')[0]}")
    for node in tree.find_all(exp.Select):
        if node.args.get("kind"):
            raise unsupported(f"SELECT AS {node.args['kind']}")
    for node in tree.find_all(exp.Extract):
        if node.name.upper() in _UNLIKE or isinstance(node.this, exp.WeekStart):
            raise unsupported(f"EXTRACT({node.this.sql('bigquery')} FROM ...)")
    for node in tree.find_all(exp.TimestampTrunc, exp.DatetimeTrunc, exp.DateDiff, exp.DatetimeDiff, exp.TimestampDiff):
        if "WEEK" in str(node.args.get("unit")).upper():
            raise unsupported(node.sql("bigquery"))
    for node in tree.find_all(exp.Struct, exp.TableSample, exp.Pivot, exp.Version):
        raise unsupported(node.sql("bigquery")[:60])


def _spell_out_rows(tree: exp.Merge, columns: list[str]) -> None:
    """`INSERT ROW` with the columns' names, which DuckDB wants."""
    source = tree.args["using"].alias_or_name
    for when in tree.args["whens"].expressions:
        then = when.args["then"]
        if isinstance(then, exp.Insert) and isinstance(then.this, exp.Var) and then.name.upper() == "ROW":
            then.set("this", exp.Tuple(expressions=[exp.column(name, quoted=True) for name in columns]))
            values = [exp.column(name, table=source, quoted=True) for name in columns]
            then.set("expression", exp.Tuple(expressions=values))


def _name_columns(tree: exp.Query) -> None:
    """Columns without a name are called f0_, f1_ and so on."""
    select, number = tree, 0
    while isinstance(select, exp.SetOperation | exp.Subquery):
        select = select.this
    for column in list(select.expressions):
        if not isinstance(column, exp.Alias | exp.Column | exp.Star):
            column.replace(exp.alias_(column.copy(), f"f{number}_"))
            number += 1


def _duckdb(tree: exp.Expression, request: dict[str, Any]) -> str:
    # The innermost first: what stands around it then takes it along as it is to be.
    for node in reversed(list(tree.find_all(*_DIFFERENT))):
        _DIFFERENT[type(node)](node)
    query_parameters.bind(tree, query_parameters.of(request))
    try:
        return tree.sql("duckdb", identify=True, unsupported_level=ErrorLevel.RAISE)
    except UnsupportedError as error:
        raise unsupported(str(error)) from None


def _as_double(node: exp.Literal) -> None:
    # 1.5 is a FLOAT64 in GoogleSQL and a DECIMAL in DuckDB.
    if not node.is_string and not node.this.isdigit():
        node.replace(exp.cast(node.copy(), "DOUBLE", dialect="duckdb"))


def _as_numeric(node: exp.DataType) -> None:
    # sqlglot leaves NUMERIC without its scale, which DuckDB takes to be three digits.
    if node.this == exp.DataType.Type.DECIMAL and not node.expressions:
        node.replace(exp.DataType.build("DECIMAL(38, 9)", dialect="duckdb"))


def _guarded(node: exp.Div) -> None:
    # DuckDB divides by zero to infinity; GoogleSQL fails.
    if isinstance(node.expression, exp.Literal) and node.expression.to_py():
        return
    divisor = node.expression.copy()
    error = exp.Anonymous(this="error", expressions=[exp.Literal.string("division by zero")])
    zero = exp.EQ(this=exp.paren(divisor.copy()), expression=exp.Literal.number(0))
    node.set("expression", exp.Case(ifs=[exp.If(this=zero, true=error)], default=divisor))


def _same_type(node: exp.Expression) -> None:
    # Truncating a DATE, or adding to it, gives a DATE; DuckDB gives a TIMESTAMP.
    inner = node.copy()
    node.replace(exp.Anonymous(this="cast_to_type", expressions=[inner, inner.this.copy()]))


def _from_one(node: exp.Extract) -> None:
    # Sunday is 1 in GoogleSQL and 0 in DuckDB, whose weeks are the ISO's.
    if node.name.upper() == "DAYOFWEEK":
        node.replace(exp.paren(exp.Add(this=node.copy(), expression=exp.Literal.number(1))))
    elif node.name.upper() == "ISOWEEK":
        node.set("this", exp.var("WEEK"))


def _whole_units(node: exp.TimestampDiff) -> None:
    # TIMESTAMP_DIFF counts whole units; the others, and all of DuckDB's date_diff, count the boundaries between.
    unit = exp.Literal.string(node.args["unit"].name.lower())
    node.replace(exp.Anonymous(this="date_sub", expressions=[unit, node.expression.copy(), node.this.copy()]))


def _cast(node: exp.Cast) -> None:
    # A half is rounded away from zero, to the even number in DuckDB; and a NUMERIC's text has no zeros at its end.
    if node.to.this == exp.DataType.Type.BIGINT:
        _where_type(node, "DOUBLE", "CAST(ROUND(TRY_CAST({0} AS DOUBLE)) AS BIGINT)")
    elif node.to.this == exp.DataType.Type.TEXT:
        _where_type(node, "DECIMAL%", "RTRIM(RTRIM(CAST({0} AS TEXT), '0'), '.')")


def _where_type(node: exp.Cast, kind: str, instead: str) -> None:
    """Let `instead` stand for the cast where its operand is of the DuckDB type `kind`, which only DuckDB knows."""
    inner = node.this.sql("duckdb", identify=True)
    special = sqlglot.parse_one(instead.format(inner), read="duckdb")
    is_kind = sqlglot.parse_one(f"TYPEOF({inner}) LIKE '{kind}'", read="duckdb")
    node.replace(exp.Case(ifs=[exp.If(this=is_kind, true=special)], default=node.copy()))


_DIFFERENT: dict[type, Callable[[Any], None]] = {
    exp.Literal: _as_double,
    exp.DataType: _as_numeric,
    exp.Div: _guarded,
    exp.DateTrunc: _same_type,
    exp.DateAdd: _same_type,
    exp.DateSub: _same_type,
    exp.Extract: _from_one,
    exp.TimestampDiff: _whole_units,
    exp.Cast: _cast,
    exp.TryCast: _cast,
}

"""Query parameters as typed literals."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from infra.emulators.bigquery import table_fields
from infra.emulators.rest import GoogleError, unsupported

Parameters = dict[str, exp.Expr]


def parse(options: dict[str, Any]) -> Parameters:
    """Return the named parameters of a query job's `options`, by lower-case name."""
    given = options.get("queryParameters") or []
    if not all(each.get("name") for each in given):
        raise unsupported("query parameters without a name")
    return {each["name"].lower(): _literal(each) for each in given}


def bind(tree: exp.Expr, parameters: Parameters) -> exp.Expr:
    """Replace the names of parameters in the query by their values; raise 400 for a missing one."""
    for node in list(tree.find_all(exp.Parameter)):
        name = node.name.lower()
        if name not in parameters:
            raise GoogleError(400, "invalidQuery", f"Query parameter '{name}' not found")
        node.replace(parameters[name].copy())
    return tree


def _literal(parameter: dict[str, Any]) -> exp.Expr:
    kind, value = parameter["parameterType"], parameter.get("parameterValue") or {}
    if kind["type"] == "ARRAY":
        element = kind["arrayType"]
        values = [_scalar(element["type"], each.get("value")) for each in value.get("arrayValues") or []]
        return exp.cast(exp.Array(expressions=values), f"{_column(element['type'])}[]", dialect="duckdb")
    return _scalar(kind["type"], value.get("value"))


def _scalar(kind: str, value: str | None) -> exp.Expr:
    column = _column(kind)
    if value is None:
        return exp.cast(exp.null(), column, dialect="duckdb")
    return exp.cast(exp.Literal.string(value), column, dialect="duckdb")


def _column(kind: str) -> str:
    if kind in ("STRUCT", "ARRAY", "BYTES"):
        raise unsupported(f"a query parameter of type {kind}")
    return table_fields.column_type(table_fields.parse({"fields": [{"name": "parameter", "type": kind}]})[0])

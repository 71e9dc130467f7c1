"""Query parameters as typed literals."""

from __future__ import annotations

import base64
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.tokens import TokenType

from infra.emulators.bigquery import schema
from infra.emulators.rest import GoogleError, unsupported

Parameters = dict[str, exp.Expression]

_POSITION = "position_"


def of(request: dict[str, Any]) -> Parameters:
    """The parameters of a query's configuration: by lower-case name, or by place."""
    given = request.get("queryParameters") or []
    if (request.get("parameterMode") or "").upper() == "NAMED" or any(each.get("name") for each in given):
        return {each["name"].lower(): _literal(each) for each in given}
    return {f"{_POSITION}{position}": _literal(each) for position, each in enumerate(given)}


def numbered(query: str) -> str:
    """The query with each `?` as a name by its place in the text, which a parsed tree no longer tells."""
    marks = [t for t in sqlglot.tokenize(query, read="bigquery") if t.token_type == TokenType.PLACEHOLDER]
    for position, mark in reversed(list(enumerate(marks))):
        query = f"{query[: mark.start]}@{_POSITION}{position}{query[mark.end + 1 :]}"
    return query


def bind(tree: exp.Expression, parameters: Parameters) -> exp.Expression:
    """Put the parameters where the query names them; raises 400 for one that is not given."""
    for node in list(tree.find_all(exp.Parameter)):
        name = node.name.lower()
        if name not in parameters:
            raise GoogleError(400, "invalidQuery", f"Query parameter '{name}' not found")
        node.replace(parameters[name].copy())
    return tree


def _literal(parameter: dict[str, Any]) -> exp.Expression:
    kind, value = parameter["parameterType"], parameter.get("parameterValue") or {}
    if kind["type"] == "ARRAY":
        element = kind["arrayType"]
        values = [_scalar(element["type"], each.get("value")) for each in value.get("arrayValues") or []]
        return exp.cast(exp.Array(expressions=values), f"{_column(element['type'])}[]", dialect="duckdb")
    return _scalar(kind["type"], value.get("value"))


def _scalar(kind: str, value: str | None) -> exp.Expression:
    column = _column(kind)
    if value is None:
        return exp.cast(exp.null(), column, dialect="duckdb")
    if column == "BLOB":
        return exp.Unhex(this=exp.Literal.string(base64.b64decode(value).hex()))
    return exp.cast(exp.Literal.string(value), column, dialect="duckdb")


def _column(kind: str) -> str:
    if kind in ("STRUCT", "ARRAY"):
        raise unsupported(f"a query parameter of type {kind} there")
    return schema.column_type(schema.fields_of({"fields": [{"name": "parameter", "type": kind}]})[0])

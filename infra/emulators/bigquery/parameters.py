"""Query parameters as typed literals."""

from __future__ import annotations

import base64
from typing import Any

from sqlglot import exp

from infra.emulators.bigquery import schema
from infra.emulators.rest import GoogleError, unsupported

Parameters = dict[str | int, exp.Expression]


def of(request: dict[str, Any]) -> Parameters:
    """The parameters of a query's configuration: by lower-case name, or by position from 0."""
    given = request.get("queryParameters") or []
    if (request.get("parameterMode") or "").upper() == "NAMED" or any(each.get("name") for each in given):
        return {each["name"].lower(): _literal(each) for each in given}
    return {position: _literal(each) for position, each in enumerate(given)}


def bind(tree: exp.Expression, parameters: Parameters) -> exp.Expression:
    """Put the parameters where the query names them; raises 400 for one that is not given."""
    position = 0
    # By position means by place in the text, and a tree is walked in that order depth first.
    for node in list(tree.find_all(exp.Parameter, exp.Placeholder, bfs=False)):
        if isinstance(node, exp.Parameter):
            key: str | int = node.name.lower()
        else:
            key, position = position, position + 1
        if key not in parameters:
            raise GoogleError(400, "invalidQuery", f"Query parameter '{key}' not found")
        node.replace(parameters[key].copy())
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

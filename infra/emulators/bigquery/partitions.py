"""Partitioning by a date column, clustering, and the partition that a decorator names."""

from __future__ import annotations

import datetime as dt
from typing import Any

from infra.emulators.bigquery.names import Table, quoted
from infra.emulators.bigquery.schema import Field
from infra.emulators.rest import invalid, only_known, unsupported

_DECORATOR = {"MONTH": "%Y%m", "DAY": "%Y%m%d"}
NULLS = "__NULL__"
Layout = dict[str, Any]


def layout_of(body: dict[str, Any], fields: list[Field]) -> Layout:
    """The `timePartitioning` and `clustering` of a request, checked against the fields; {} for neither."""
    layout: Layout = {}
    if given := body.get("timePartitioning"):
        only_known(given, {"type", "field", "expirationMs"}, "timePartitioning")
        if given.get("type") not in _DECORATOR:
            raise unsupported(f"partitioning by {given.get('type')}")
        if not given.get("field"):
            raise unsupported("partitioning by ingestion time")
        if _field(fields, given["field"])["type"] != "DATE":
            raise unsupported(f"partitioning by {given['field']}, which is not a DATE")
        layout["timePartitioning"] = {"type": given["type"], "field": given["field"]}
        if given.get("expirationMs"):
            layout["timePartitioning"]["expirationMs"] = str(given["expirationMs"])
    if names := (body.get("clustering") or {}).get("fields"):
        for name in names:
            _field(fields, name)
        if len(names) > 4:
            raise invalid("A table can be clustered by four columns at most.")
        layout["clustering"] = {"fields": names}
    return layout


def check_same(table: Table, existing: Layout, given: Layout) -> None:
    """Raise 400 where a job brings a layout other than that of the table it writes to."""
    if given and _told(given) != _told(existing):
        raise invalid(
            f"Incompatible table partitioning specification. Destination table {table} exists with partitioning "
            f"specification {_told(existing)}, but transfer target partitioning specification is {_told(given)}."
        )


def condition(table: Table, layout: Layout) -> str | None:
    """The SQL condition of the partition that `table` names; None where it has no decorator."""
    if table.partition is None:
        return None
    partitioning = layout.get("timePartitioning")
    if partitioning is None:
        raise invalid(f"Cannot address a partition of a table that is not partitioned: {table}")
    column = quoted(partitioning["field"])
    if table.partition == NULLS:
        return f"{column} IS NULL"
    first = _first_day(table, partitioning["type"])
    if partitioning["type"] == "DAY":
        return f"{column} IS NOT DISTINCT FROM DATE '{first}'"
    after = (first.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
    return f"coalesce({column} >= DATE '{first}' AND {column} < DATE '{after}', false)"


def expired(layout: Layout) -> str | None:
    """The SQL condition of rows whose partition has expired; None where partitions do not expire."""
    partitioning = layout.get("timePartitioning") or {}
    if "expirationMs" not in partitioning:
        return None
    start = f"date_trunc('{partitioning['type']}', {quoted(partitioning['field'])})"
    return f"{start} + to_milliseconds({int(partitioning['expirationMs'])}) < now()::TIMESTAMP"


def _first_day(table: Table, kind: str) -> dt.date:
    text, form = str(table.partition), _DECORATOR[kind]
    try:
        day = dt.datetime.strptime(text, form).date()
        if day.strftime(form) == text:
            return day
    except ValueError:
        pass
    raise invalid(f"Invalid partition id {text} for a table partitioned by {kind}: {table.whole}")


def _field(fields: list[Field], name: str) -> Field:
    for field in fields:
        if field["name"].lower() == name.lower():
            return field
    raise invalid(f"The field specified for partitioning or clustering cannot be found in the schema: {name}")


def _told(layout: Layout) -> str:
    partitioning, clustering = layout.get("timePartitioning"), layout.get("clustering")
    told = [f"interval(type:{partitioning['type'].lower()},field:{partitioning['field']})"] if partitioning else []
    told += [f"clustering({', '.join(clustering['fields'])})"] if clustering else []
    return " ".join(told) or "none"

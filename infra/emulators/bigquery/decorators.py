"""Partitioning by a column, and the partition that a table decorator such as `$202101` names."""

from __future__ import annotations

import datetime as dt
from typing import Any

from infra.emulators.bigquery.table_fields import column_type
from infra.emulators.bigquery.table_names import Table, quoted
from infra.emulators.rest import invalid, only_known, unsupported

_DECORATOR = {"MONTH": "%Y%m", "DAY": "%Y%m%d", "HOUR": "%Y%m%d%H"}


def partitioning(body: dict[str, Any]) -> dict[str, Any]:
    """Return the `timePartitioning` of a request; {} if it has none. Raise 501 for kinds that are not supported."""
    given = body.get("timePartitioning")
    if not given:
        return {}
    only_known(given, {"type", "field", "expirationMs"}, "timePartitioning")
    if given.get("type") not in _DECORATOR:
        raise unsupported(f"partitioning by {given.get('type')}")
    if not given.get("field"):
        raise unsupported("partitioning by ingestion time")
    expiration = {"expirationMs": str(given["expirationMs"])} if given.get("expirationMs") else {}
    return {"timePartitioning": {"type": given["type"], "field": given["field"]} | expiration}


def check_same(table: Table, existing: dict[str, Any], given: dict[str, Any]) -> None:
    """Raise 400 if a request would change a table's partitioning."""
    before, after = existing.get("timePartitioning") or {}, given["timePartitioning"]
    if (before.get("type"), before.get("field")) != (after["type"], after["field"]):
        raise invalid(f"Cannot change partitioning specification of table {table} to {after['type']}({after['field']})")


def condition(table: Table, resource: dict[str, Any]) -> str | None:
    """Return the SQL condition of the partition that `table` names; None if it has no decorator."""
    if table.partition is None:
        return None
    if "timePartitioning" not in resource:
        raise invalid(f"Cannot address a partition of a table that is not partitioned: {table}")
    kind, name = resource["timePartitioning"]["type"], resource["timePartitioning"]["field"]
    start = _start(table, kind)
    month_later = (start.replace(day=1) + dt.timedelta(days=31)).replace(day=1)
    end = {"MONTH": month_later, "DAY": start + dt.timedelta(days=1), "HOUR": start + dt.timedelta(hours=1)}[kind]
    field = next(field for field in resource["schema"]["fields"] if field["name"].lower() == name.lower())
    column, to = quoted(name), column_type(field)
    return f"{column} >= CAST('{start}' AS {to}) AND {column} < CAST('{end}' AS {to})"


def expired(resource: dict[str, Any]) -> str | None:
    """Return the SQL condition of rows whose partition has expired; None if partitions do not expire."""
    given = resource.get("timePartitioning") or {}
    if "expirationMs" not in given:
        return None
    start = f"date_trunc('{given['type']}', {quoted(given['field'])})"
    return f"{start} + to_milliseconds({int(given['expirationMs'])}) < now()::TIMESTAMP"


def _start(table: Table, kind: str) -> dt.datetime:
    text, form = str(table.partition), _DECORATOR[kind]
    if text.startswith("__"):
        raise unsupported(f"the partition {text}")
    try:
        start = dt.datetime.strptime(text, form)
        if start.strftime(form) == text:
            return start
    except ValueError:
        pass
    raise invalid(f"Invalid partition id {text} for a table partitioned by {kind}: {table.whole}")

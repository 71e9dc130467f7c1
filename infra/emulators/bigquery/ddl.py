"""CREATE TABLE: its columns, partitioning, clustering and options as a table's resource has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from infra.emulators.rest import unsupported


@dataclass(frozen=True)
class Creation:
    """What a CREATE TABLE says of the table. `columns` is empty where a query gives them."""

    columns: list[dict[str, Any]]
    body: dict[str, Any]
    replace: bool
    if_missing: bool


def creation(tree: exp.Create) -> Creation:
    """Read a CREATE TABLE; raises 501 for any clause that is not known here."""
    for clause in ("clone", "shallow", "with_", "indexes", "begin", "no_schema_binding"):
        if tree.args.get(clause):
            raise unsupported(f"CREATE TABLE with {clause}")
    columns = tree.this.expressions if isinstance(tree.this, exp.Schema) else []
    if columns and tree.expression:
        raise unsupported("CREATE TABLE with both columns and a query")
    body: dict[str, Any] = {}
    for each in tree.args["properties"].expressions if tree.args.get("properties") else []:
        body |= _property(each)
    return Creation(
        [_column(each) for each in columns], body, bool(tree.args.get("replace")), bool(tree.args.get("exists"))
    )


def _property(node: exp.Expression) -> dict[str, Any]:
    if isinstance(node, exp.PartitionedByProperty):
        return {"timePartitioning": _partitioning(node.this)}
    if isinstance(node, exp.ClusterProperty):
        return {"clustering": {"fields": [column.name for column in node.expressions]}}
    if isinstance(node, exp.Property) and node.name.lower() == "description":
        return {"description": node.args["value"].name}
    raise unsupported(f"CREATE TABLE with {node.sql('bigquery')}")


def _partitioning(node: exp.Expression) -> dict[str, str]:
    if isinstance(node, exp.DateTrunc) and isinstance(node.this, exp.Column):
        return {"type": node.args["unit"].name.upper(), "field": node.this.name}
    if isinstance(node, exp.Column | exp.Identifier):
        return {"type": "DAY", "field": node.name}
    raise unsupported(f"PARTITION BY {node.sql('bigquery')}")


def _column(node: exp.Expression) -> dict[str, Any]:
    if not isinstance(node, exp.ColumnDef) or node.kind is None:
        raise unsupported(f"the column {node.sql('bigquery')}")
    kind, mode, more = node.kind, "NULLABLE", {}
    if kind.this == exp.DataType.Type.ARRAY:
        kind, mode = kind.expressions[0], "REPEATED"
    for constraint in node.constraints:
        match constraint.kind:
            case exp.NotNullColumnConstraint() if not constraint.kind.args.get("allow_null"):
                mode = "REQUIRED"
            case exp.Properties(expressions=[exp.Property() as option]) if option.name.lower() == "description":
                more = {"description": option.args["value"].name}
            case _:
                raise unsupported(f"the column {node.sql('bigquery')}")
    return {"name": node.name, "type": kind.sql("bigquery"), "mode": mode} | more

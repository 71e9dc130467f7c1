"""The rules for trips, by store."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from flows.datasets.rule import Action, Rule


def _is_zero(values: pa.Array) -> pa.BooleanArray:
    return pc.equal(values, 0)


ZERO_PASSENGERS = Rule(
    name="zero_passengers",
    action=Action.REJECT,
    column="passenger_count",
    where=_is_zero,
    why="The driver entered zero passengers; an unknown count is kept.",
)

FILL_PASSENGERS = Rule(
    name="fill_passengers",
    action=Action.FILL,
    column="passenger_count",
    where=pc.is_null,
    value=0,
    why="An unknown passenger count becomes 0, so that sums in BigQuery need not handle nulls.",
)

RULES = {"postgres": (ZERO_PASSENGERS,), "bigquery": (FILL_PASSENGERS,)}
"""Store -> its rules. The bucket has none."""

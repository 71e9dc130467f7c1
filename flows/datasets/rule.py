"""The rules that rows must pass on their way into a store, in one table; which store uses which stands below it.

That a row fits the contract is no rule here but a condition of all: see `flows.datasets.cleaning`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc


class Action(StrEnum):
    """What a rule does."""

    REJECT = "reject"
    FILL = "fill"


@dataclass(frozen=True)
class Rule:
    """One rule on one column; a service without the column is not touched by it.

    Attributes:
        name: what the rule is called; of a rejected row, the reason.
        action: REJECT takes the row out and keeps it with the reason; FILL puts `value` where `where` is true.
        column: the contract's column it looks at.
        where: the rows it is about, as a boolean array (a null counts as false) from the column's values.
        value: what FILL puts there, of the column's type.
        why: one sentence for a person.
    """

    name: str
    action: Action
    column: str
    where: Callable[[pa.Array], pa.BooleanArray]
    value: int | float | str | None = None
    why: str = ""


def _is_zero(values: pa.Array) -> pa.BooleanArray:
    return pc.equal(values, 0)


RULES = (
    Rule(
        name="zero_passengers",
        action=Action.REJECT,
        column="passenger_count",
        where=_is_zero,
        why="A trip that carried nobody, by the count the driver entered; an unknown count is kept.",
    ),
    Rule(
        name="fill_passengers",
        action=Action.FILL,
        column="passenger_count",
        where=pc.is_null,
        value=0,
        why="An unknown passenger count becomes 0, so that sums over the warehouse need not mind nulls.",
    ),
)

BY_NAME: Mapping[str, Rule] = {rule.name: rule for rule in RULES}

RULES_OF: Mapping[str, Sequence[Rule]] = {
    "postgres": [BY_NAME["zero_passengers"]],
    "bucket": [],
    "warehouse": [BY_NAME["fill_passengers"]],
}
"""Store -> the rules that its pipeline applies, in this order."""

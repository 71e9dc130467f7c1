"""Rules: what rows must pass on their way into a store.

That a row fits the contract is no rule but a condition of all: see `flows.datasets.cleaning`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa


class Action(StrEnum):
    """What a rule does."""

    REJECT = "reject"
    FILL = "fill"


@dataclass(frozen=True)
class Rule:
    """One rule on one column; it does not apply to a dataset without the column.

    Attributes:
        name: the rule's name, and the reason of the rows that it rejects.
        action: REJECT takes the row out and keeps it with the reason; FILL puts `value` where `where` is true.
        column: the contract's column that it is about.
        where: the rows that it applies to, as a boolean array (a null counts as false) from the column's values.
        value: what FILL puts there, of the column's type.
        why: one sentence for a person.
    """

    name: str
    action: Action
    column: str
    where: Callable[[pa.Array], pa.BooleanArray]
    value: int | float | str | None = None
    why: str = ""

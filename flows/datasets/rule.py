"""Rules for rows that are loaded into a store. The contract applies before them, see `flows.datasets.cleaning`."""

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
        action: REJECT rejects the row; FILL replaces the column's value by `value`.
        column: the contract's column that it applies to.
        where: the rows that it applies to, as a boolean array (null is false) from the column's values.
        value: the new value of FILL, of the column's type.
        why: the reason for the rule, in one sentence.
    """

    name: str
    action: Action
    column: str
    where: Callable[[pa.Array], pa.BooleanArray]
    value: int | float | str | None = None
    why: str = ""

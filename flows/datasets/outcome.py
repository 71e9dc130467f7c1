"""The outcome of a load: what happened to the partition's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flows.datasets.quality_check import CheckResult


@dataclass(frozen=True)
class Outcome:
    """Every row of the source is either loaded, or rejected and counted by `reasons`.

    `missing_columns` are the contract's columns that the file does not have, `extra_columns` the reverse.
    """

    rows_read: int
    rows_loaded: int
    reasons: Mapping[str, int]
    checks: tuple[CheckResult, ...]
    contract_version: str
    layout: str = ""
    missing_columns: tuple[str, ...] = ()
    extra_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rows_read != self.rows_loaded + self.rows_rejected:
            parts = f"{self.rows_loaded} loaded + {self.rows_rejected} rejected"
            raise ValueError(f"{self.rows_read} rows read, but {parts}")

    @property
    def rows_rejected(self) -> int:
        """How many rows were rejected."""
        return sum(self.reasons.values())

    @property
    def blocking(self) -> tuple[str, ...]:
        """The names of the checks that block the partition."""
        return tuple(check.name for check in self.checks if check.action == "block" and not check.passed)

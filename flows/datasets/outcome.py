"""What became of a partition's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flows.datasets.quality_check import CheckResult


@dataclass(frozen=True)
class Outcome:
    """The outcome of one load: every row of the source is either loaded or rejected.

    Attributes:
        rows_read: data rows in the source: lines that are not blank, after the header.
        rows_loaded: rows that passed the contract and the rules, and were written.
        reasons: reason -> rejected rows.
        checks: what the checks found, in their order.
        contract_version: the version of the contract, see `flows.datasets.version`.
        layout: the name of the file's layout.
        missing_columns: the contract's columns that the file does not have.
        extra_columns: the file's columns that the contract does not have.
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
            raise ValueError(
                f"{self.rows_read} rows read, but {self.rows_loaded} loaded + {self.rows_rejected} rejected"
            )

    @property
    def rows_rejected(self) -> int:
        """Rows that are kept apart, each with the reason."""
        return sum(self.reasons.values())

    @property
    def blocking(self) -> tuple[str, ...]:
        """The names of the checks that block the partition."""
        return tuple(check.name for check in self.checks if check.action == "block" and not check.passed)

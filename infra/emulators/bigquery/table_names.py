"""Names of datasets and tables: in requests, in messages, and in DuckDB."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Dataset:
    """A dataset of a project."""

    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.project}:{self.name}"

    @property
    def schema(self) -> str:
        """The name of the DuckDB schema with its tables."""
        return f"{self.project}.{self.name}"

    @property
    def reference(self) -> dict[str, str]:
        """The name as in a resource."""
        return {"projectId": self.project, "datasetId": self.name}


@dataclass(frozen=True)
class Table:
    """A table of a dataset, or one partition of it: `partition` is the decorator after `$`."""

    dataset: Dataset
    name: str
    partition: str | None = None

    @classmethod
    def parse(cls, project: str, dataset: str, table: str) -> Table:
        """Parse the three names of a request."""
        name, _, partition = table.partition("$")
        return cls(Dataset(project, dataset), name, partition or None)

    @classmethod
    def of(cls, reference: dict[str, Any]) -> Table:
        """Parse a tableReference."""
        return cls.parse(reference["projectId"], reference["datasetId"], reference["tableId"])

    def __str__(self) -> str:
        return f"{self.dataset}.{self.name}" + (f"${self.partition}" if self.partition else "")

    @property
    def whole(self) -> Table:
        """The table itself, without a decorator."""
        return replace(self, partition=None)

    @property
    def key(self) -> str:
        """The key of the table's resource, and of the lock for writing to the table."""
        return f"{self.dataset.schema}.{self.name}"

    @property
    def sql(self) -> str:
        """The table in DuckDB's SQL."""
        return f"{quoted(self.dataset.schema)}.{quoted(self.name)}"

    @property
    def reference(self) -> dict[str, str]:
        """The name as in a resource, without a decorator."""
        return self.dataset.reference | {"tableId": self.name}


def quoted(identifier: str) -> str:
    """Return an identifier in DuckDB's SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a string in DuckDB's SQL."""
    return "'" + text.replace("'", "''") + "'"

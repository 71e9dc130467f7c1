"""The names of the bucket store's objects."""

from __future__ import annotations

import re

from flows.datasets.dataset import Dataset, Partition
from flows.stores.ledger import LedgerEntry


def data_name(partition: Partition) -> str:
    """The object with the partition's rows."""
    return f"data/{partition.dataset}/{partition.stem}.parquet"


def blocked_name(partition: Partition) -> str:
    """The object with a blocked partition."""
    return f"blocked/{partition.dataset}/{partition.stem}.parquet"


def rejected_name(entry: LedgerEntry) -> str:
    """The object with the rejected rows of the entry's load, if there are any. Older versions had no load ids."""
    name = f"{entry.partition.dataset}/{entry.partition.stem}{entry.load_id and f'.{entry.load_id}'}"
    return f"blocked/{name}.rejected.parquet" if entry.status == "blocked" else f"rejected/{name}.parquet"


def load_id_of(name: str, partition: Partition) -> str | None:
    """The load id in the name of an object of the partition's rejected rows, "" without one; None for other objects."""
    stem, load_id = re.escape(f"{partition.dataset}/{partition.stem}"), r"(?:\.([0-9a-f]{32}))?"
    found = re.fullmatch(rf"rejected/{stem}{load_id}\.parquet|blocked/{stem}{load_id}\.rejected\.parquet", name)
    return found and (found[1] or found[2] or "")


def refused_name(partition: Partition) -> str:
    """The empty object whose metadata says why the partition's source was refused."""
    return f"refused/{partition.dataset}/{partition.stem}"


PLACES = ("data", "blocked", "refused")
NAMES = {"loaded": data_name, "blocked": blocked_name, "refused": refused_name}


def partition_of(name: str, dataset: Dataset) -> Partition | None:
    """The partition of a data object's name; None for any other object."""
    partition = dataset.partition_in(name)
    return partition if partition and data_name(partition) == name else None

"""The ledger: the source, row counts and checks of each partition in a store."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from flows.datasets.dataset import Dataset, Partition
from flows.datasets.outcome import Outcome

Status = Literal["loaded", "blocked", "refused"]

TIMES = ("started", "finished", "source_modified")


def now() -> dt.datetime:
    """This moment, UTC, to the microsecond (what every store keeps without loss)."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class LoadSource:
    """The source of a partition; times are UTC.

    Attributes:
        url: the address it was read from (https, file, gs).
        checksum: `sha256:...` of the bytes, or `generation:...` of a bucket object; equal means same content.
        started: when the work on this partition began.
        etag, modified: the version and the time of change that the source's server gives, if it does.
    """

    url: str
    checksum: str
    bytes: int
    flow_run_id: str | None = None
    started: dt.datetime = field(default_factory=now)
    etag: str | None = None
    modified: dt.datetime | None = None


def new_load_id() -> str:
    """A new id for one attempt to load a partition."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class LedgerEntry:
    """One partition in one store: its source and the count of every row.

    A partition has at most one entry of each status. A `blocked` one failed a check: its rows are stored separately. A
    `refused` one is a source that could not be loaded: it has no rows, and the reason is in `message`. Both leave
    existing data unchanged. `source_etag` and `source_modified` are the source's version when it was last seen, which
    may be after the load: the same bytes may be published again.

    Raises:
        ValueError: the row counts do not add up, or a time has no zone.
    """

    partition: Partition
    status: Status
    source: str
    checksum: str
    bytes: int
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    reasons: dict[str, int]
    contract_version: str
    checks: list[dict[str, Any]]
    started: dt.datetime
    finished: dt.datetime
    flow_run_id: str | None = None
    load_id: str = ""
    source_etag: str | None = None
    source_modified: dt.datetime | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        where = f"ledger of {self.partition}"
        if self.status not in get_args(Status):
            raise ValueError(f"{where}: status {self.status!r} is none of {', '.join(get_args(Status))}")
        if self.rows_read != self.rows_loaded + self.rows_rejected:
            read, parts = self.rows_read, f"{self.rows_loaded} loaded + {self.rows_rejected} rejected"
            raise ValueError(f"{where}: {read} rows read, but {parts}")
        if sum(self.reasons.values()) != self.rows_rejected:
            raise ValueError(
                f"{where}: {self.rows_rejected} rows rejected, but reasons for {sum(self.reasons.values())}"
            )
        if any(time is not None and time.tzinfo is None for time in self._times.values()):
            raise ValueError(f"{where}: a time without a zone")

    @classmethod
    def of(cls, partition: Partition, outcome: Outcome, source: LoadSource, load_id: str) -> LedgerEntry:
        """The entry of a load: blocked if a check that blocks has failed. The load id is new for each attempt."""
        return cls(
            partition=partition,
            status="blocked" if outcome.blocking else "loaded",
            source=source.url,
            checksum=source.checksum,
            bytes=source.bytes,
            rows_read=outcome.rows_read,
            rows_loaded=outcome.rows_loaded,
            rows_rejected=outcome.rows_rejected,
            reasons=dict(outcome.reasons),
            contract_version=outcome.contract_version,
            checks=[asdict(check) for check in outcome.checks],
            started=source.started,
            finished=now(),
            flow_run_id=source.flow_run_id,
            load_id=load_id,
            source_etag=source.etag,
            source_modified=source.modified,
        )

    @property
    def _times(self) -> dict[str, dt.datetime | None]:
        return {name: getattr(self, name) for name in TIMES}

    def to_dict(self) -> dict[str, Any]:
        """The entry for JSON: the partition as `dataset` and `partition_key`, times as ISO 8601 text in UTC."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        names = {"dataset": self.partition.dataset.name, "partition_key": self.partition.key}
        times = {name: time and time.astimezone(dt.UTC).isoformat() for name, time in self._times.items()}
        return names | {name: value for name, value in values.items() if name != "partition"} | times

    @classmethod
    def from_dict(cls, dataset: Dataset, values: Mapping[str, Any]) -> LedgerEntry:
        """The reverse of `to_dict`; unknown fields are ignored.

        Raises ValueError, KeyError, TypeError or AttributeError if the values are not an entry.
        """
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        given = {name: known[name] for name in TIMES if known.get(name)}
        times = {name: dt.datetime.fromisoformat(time).astimezone(dt.UTC) for name, time in given.items()}
        return cls(**{**known, **times, "partition": dataset.partition_of(partition_key(values))})

    def to_json(self) -> str:
        """One line of compact JSON, ASCII only, so that it also fits a header."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_json(cls, dataset: Dataset, text: str) -> LedgerEntry:
        """The reverse of `to_json`; raises as `from_dict` does."""
        return cls.from_dict(dataset, json.loads(text))


def partition_key(values: Mapping[str, Any]) -> str:
    """The partition's key in a stored entry. Versions with monthly partitions only called it `month`."""
    return str(values.get("partition_key") or values["month"])


def may_record(entry: LedgerEntry, stored: LedgerEntry | None) -> bool:
    """Whether `Store.record` may write `entry` over the stored one: if it is refused, or of the same load."""
    return entry.status == "refused" or (stored is not None and stored.load_id == entry.load_id)


def unchanged(entry: LedgerEntry | None, source: LoadSource, contract_version: str) -> bool:
    """Whether the entry is of the same bytes (from any URL) and contract: loading them again would change nothing."""
    return entry is not None and (entry.checksum, entry.contract_version) == (source.checksum, contract_version)

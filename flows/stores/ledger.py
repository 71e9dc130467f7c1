"""The ledger: what is known of each month in a store, and whether its source has changed since."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from flows.datasets.partition import Month, Service

if TYPE_CHECKING:
    from flows.datasets.cleaning import Cleaning

Status = Literal["loaded", "blocked", "refused"]

TIMES = ("started", "finished", "source_modified")


def now() -> dt.datetime:
    """This moment, UTC, to the microsecond (what every store keeps without loss)."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class LoadSource:
    """Where a month comes from, as the caller knows it before the store is touched.

    Attributes:
        url: the address it was read from (https, file, gs).
        checksum: `sha256:...` of the bytes, or `generation:...` of a bucket object; equal means same content.
        bytes: size of the source.
        flow_run_id: the run that loads it, if there is one.
        started: when the work on this month began, UTC.
        etag: the version that the source's server names, if it does.
        modified: when the source says that it was last modified, UTC, if it does.
    """

    url: str
    checksum: str
    bytes: int
    flow_run_id: str | None = None
    started: dt.datetime = field(default_factory=now)
    etag: str | None = None
    modified: dt.datetime | None = None


def new_load_id() -> str:
    """Names one attempt to load a month, and no other one."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class LedgerEntry:
    """One month of one service in one store: where it came from and what became of every row of it.

    A month has at most one entry of each status. `blocked` is a month that a quality check kept out: its rows are
    stored apart, and what was loaded before is unchanged. `refused` is a source that could not be loaded, with the
    reason as `message` and no rows; it has not changed anything either.

    `source_etag` and `source_modified` are the source's version when it was last seen, which may be later than the
    load: the same bytes may be published again.

    Raises:
        ValueError: if rows are unaccounted for (`rows_read` is not `rows_loaded + rows_rejected`, or the reasons do not
            add up to `rows_rejected`), or if a time has no zone.
    """

    service: str
    month: str
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
        where = f"ledger of {self.service} {self.month}"
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
    def of(cls, cleaning: Cleaning, source: LoadSource, load_id: str) -> LedgerEntry:
        """The entry of a pass that has ended (its reader is exhausted): blocked if a check that blocks has failed.

        The load id is of this attempt (see `new_load_id`): what a store deletes of an earlier one is not of this one.
        """
        counts, month = cleaning.counts, cleaning.month
        blocked = any(check.action == "block" and not check.passed for check in cleaning.checks)
        return cls(
            service=str(month.service),
            month=month.label,
            status="blocked" if blocked else "loaded",
            source=source.url,
            checksum=source.checksum,
            bytes=source.bytes,
            rows_read=counts.rows_read,
            rows_loaded=counts.rows_clean,
            rows_rejected=counts.rows_rejected,
            reasons=dict(counts.reasons),
            contract_version=cleaning.contract_version,
            checks=[asdict(check) for check in cleaning.checks],
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

    @property
    def of_month(self) -> Month:
        """The month this entry is about."""
        year, month = self.month.split("-")
        return Month(Service(self.service), int(year), int(month))

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it: times as ISO 8601 text in UTC."""
        times = {name: time and time.astimezone(dt.UTC).isoformat() for name, time in self._times.items()}
        return {**asdict(self), **times}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LedgerEntry:
        """The reverse of `to_dict`: of this version, of an older one with fewer fields, of a newer one with more.

        Raises ValueError, KeyError, TypeError or AttributeError for what is not an entry.
        """
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        given = {name: known[name] for name in TIMES if known.get(name)}
        times = {name: dt.datetime.fromisoformat(time).astimezone(dt.UTC) for name, time in given.items()}
        return cls(**{**known, **times})

    def to_json(self) -> str:
        """One line of compact JSON, ASCII only, so that it also fits a header."""
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> LedgerEntry:
        """The reverse of `to_json`; raises as `from_dict` does."""
        return cls.from_dict(json.loads(text))


def may_record(entry: LedgerEntry, stored: LedgerEntry | None) -> bool:
    """Whether `Store.record` may write `entry` over the stored one of its month and status.

    What is known of a source may be added to the load that has read it, not to another load that has come since.
    """
    return entry.status == "refused" or (stored is not None and stored.load_id == entry.load_id)


def unchanged(entry: LedgerEntry | None, source: LoadSource, contract_version: str) -> bool:
    """Whether the entry is about the same content, under the same contract: to load it again would change nothing.

    The contract's version is what `flows.datasets.version` gives for the service and the store. The address does not
    matter (a mirror of the same bytes is the same source).
    """
    return entry is not None and (entry.checksum, entry.contract_version) == (source.checksum, contract_version)

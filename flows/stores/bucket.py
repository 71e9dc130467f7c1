"""The bucket store: a month is one parquet object, its ledger entry is that object's own metadata.

Object and entry are therefore written in one atomic step: an upload appears whole or not at all, and a precondition on
the generation that it replaces makes a lost race visible. The rejected rows are an object of their own, which has to
be written before or after. It is written (or, if the month has none, deleted) before: the data object is what commits
the load, so a crash between the two leaves the old month with its old entry, and the next run, which finds the source
changed against that entry, writes both again. Until then the entry's count of rejected rows tells them apart.
"""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.exceptions import NotFound, PreconditionFailed

from flows.errors import Refused, StoreFailed
from flows.stores.batches import checked, write_parquet
from flows.stores.google import one_line
from flows.stores.ledger import LedgerEntry, LoadSource, Status, may_record, now
from flows.trips.month import Month, Service

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Bucket

    from flows.trips.clean import Cleaning

# An object's metadata may take 8 KiB; an entry with every reason and check there is takes five.
LEDGER = "ledger"

UPLOAD_CHUNK = 8 << 20
TIMEOUT = (10.0, 120.0)
RACES = 5

# Holds most parquet footers. One ends with its own length, four bytes, and the magic number, four more.
FOOTER = 64 << 10


class BucketStore:
    """Months in a Cloud Storage bucket: `data/{service}/{service}_tripdata_{year}-{month:02}.parquet`, the same under
    `rejected/`, and under `blocked/` for a month that a quality check has kept out.

    Every method raises StoreFailed, one line, for what Cloud Storage refuses after the client's own retries.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def replace(self, cleaning: Cleaning, source: LoadSource, *, work_dir: Path | None = None) -> LedgerEntry:
        """Run the pass into a parquet file and put it in place of the month's object, with its ledger entry.

        Whatever goes wrong before the upload is complete leaves the old object. Of two loads of the same month at once
        the one that loses the race uploads again. A month that a quality check blocks goes to `blocked/` and changes
        nothing else.

        Args:
            cleaning: a pass that has not begun.
            source: where it comes from, for the ledger.
            work_dir: where the parquet file is made (and removed); the system's temporary folder by default.

        Returns:
            the ledger entry, `loaded` or `blocked`.

        Raises:
            StoreFailed: what Cloud Storage refuses, a batch that does not fit the contract, a lost row.
            Exception: whatever the pass raises (Refused, for one), as it is.
        """
        month = cleaning.month
        with tempfile.TemporaryDirectory(dir=work_dir) as directory:
            file = Path(directory) / f"{month.stem}.parquet"
            rows = write_parquet(checked(cleaning), cleaning.schema, file)
            entry = LedgerEntry.of(cleaning, source)
            if rows != entry.rows_loaded:
                raise StoreFailed(str(month), f"{rows} rows written of {entry.rows_loaded}")
            rejected = cleaning.rejected if entry.rows_rejected else None
            with one_line(self._url(data_name(month))):
                if entry.status == "blocked":
                    self._put(blocked_name(month), file, entry, blocked_rejected_name(month), rejected)
                else:
                    self._put(data_name(month), file, entry, rejected_name(month), rejected)
                    self._delete(blocked_name(month))
                    self._delete(blocked_rejected_name(month))
                self._delete(refused_name(month))
        return entry

    def download(self, month: Month, to: Path, *, flow_run_id: str | None = None) -> tuple[Path, LoadSource]:
        """Copy the month's object into the folder `to`, one generation of it, with its checksum verified.

        Returns:
            the file, and the source as the warehouse's ledger records it (`checksum` is the object's generation).

        Raises:
            Refused: if the bucket does not have the month.
        """
        started, name = now(), data_name(month)
        file = to / f"{month.stem}.parquet"
        with one_line(self._url(name)):
            for _ in range(RACES):
                blob = self._bucket.get_blob(name, timeout=TIMEOUT)
                if blob is None:
                    raise Refused(self._url(name), "the bucket does not have this month")
                try:
                    pinned = self._bucket.blob(name, generation=blob.generation)
                    pinned.download_to_filename(file, timeout=TIMEOUT, checksum="crc32c")
                except NotFound:  # replaced since: the next turn reads the new one
                    continue
                checksum = f"generation:{blob.generation}"
                return file, LoadSource(self._url(name), checksum, blob.size, flow_run_id, started)
        raise StoreFailed(self._url(name), f"was replaced {RACES} times while it was read")

    def record(self, entry: LedgerEntry) -> None:
        """Write the entry of its month and status, and touch no row of data.

        A `loaded` or `blocked` entry is written only while the object there is of the same load.
        """
        name = NAMES[entry.status](entry.of_month)
        with one_line(self._url(name)):
            for _ in range(RACES):
                blob = self._bucket.get_blob(name, timeout=TIMEOUT)
                if not may_record(entry, _entry_of(blob)):
                    return
                try:
                    self._write_entry(name, blob, entry)
                    return
                except (NotFound, PreconditionFailed):  # deleted, or changed by someone else: look again
                    continue
        raise StoreFailed(self._url(name), f"was changed by someone else {RACES} times")

    def _write_entry(self, name: str, there: Blob | None, entry: LedgerEntry) -> None:
        """Write the entry on the object that was seen there; where there was none, on a new and empty one."""
        metadata = {LEDGER: entry.to_json()}
        if there is None:
            blob = self._bucket.blob(name)
            blob.metadata = metadata
            blob.upload_from_string(b"", if_generation_match=0, timeout=TIMEOUT)
        else:
            there.metadata = (there.metadata or {}) | metadata
            there.patch(
                if_generation_match=there.generation, if_metageneration_match=there.metageneration, timeout=TIMEOUT
            )

    def entry(self, month: Month, status: Status = "loaded") -> LedgerEntry | None:
        """The month's ledger entry of that status; None if there is none."""
        name = NAMES[status](month)
        with one_line(self._url(name)):
            return _entry_of(self._bucket.get_blob(name, timeout=TIMEOUT))

    def entries(self) -> list[LedgerEntry]:
        """The whole ledger, entries of every status, by service and month."""
        found = [_entry_of(blob) for prefix in ("data/", "blocked/", "refused/") for blob in self._list(prefix)]
        return sorted((e for e in found if e is not None), key=lambda e: (e.service, e.month, e.status))

    def count(self, month: Month) -> int:
        """Rows of the month's object, from its parquet footer; 0 if there is none."""
        return self._rows(data_name(month))

    def count_rejected(self, month: Month) -> int:
        """Rows of the month's object of rejected rows, from its parquet footer; 0 if there is none."""
        return self._rows(rejected_name(month))

    def counts(self) -> dict[Month, int]:
        """Rows of every month under `data/`, from the parquet footers, whatever the ledger says."""
        found = (month_of(blob.name) for blob in self._list("data/"))
        return {month: self.count(month) for month in found if month is not None}

    def _put(self, name: str, file: Path, entry: LedgerEntry, rejected_to: str, rejected: Path | None) -> None:
        """Write the rejected rows, and then the file in place of what is there now; again if someone else did."""
        for _ in range(RACES):
            there = self._bucket.get_blob(name, timeout=TIMEOUT)
            if rejected is None:
                self._delete(rejected_to)
            else:
                self._upload(rejected_to, rejected, {}, None)
            try:
                self._upload(name, file, {LEDGER: entry.to_json()}, there.generation if there else 0)
                return
            except PreconditionFailed:
                # Either someone else's object is there now, or our own, and only the answer to our upload was lost.
                there = _entry_of(self._bucket.get_blob(name, timeout=TIMEOUT))
                if there is not None and there.load_id == entry.load_id:
                    return
        raise StoreFailed(self._url(name), f"was replaced by someone else {RACES} times during the upload")

    def _upload(self, name: str, file: Path, metadata: dict[str, str], replaces: int | None) -> None:
        blob = self._bucket.blob(name, chunk_size=UPLOAD_CHUNK)
        blob.metadata = metadata
        # Given the checksum beforehand, the server refuses what arrived changed, and the old object stays. Else the
        # client would compare afterwards, and delete the new object when the old one is gone already.
        blob.upload_from_filename(
            file,
            content_type="application/vnd.apache.parquet",
            if_generation_match=replaces,
            timeout=TIMEOUT,
            checksum="crc32c",
            crc32c_checksum_value=_crc32c(file),
        )

    def _delete(self, name: str) -> None:
        try:
            self._bucket.blob(name).delete(timeout=TIMEOUT)
        except NotFound:
            return

    def _list(self, prefix: str) -> Iterator[Blob]:
        with one_line(self._url(prefix)):
            yield from self._bucket.list_blobs(prefix=prefix, timeout=TIMEOUT)

    def _rows(self, name: str) -> int:
        with one_line(self._url(name)):
            try:
                footer = self._tail(name, FOOTER)
                needed = int.from_bytes(footer[-8:-4], "little") + 8
                if needed > len(footer):
                    footer = self._tail(name, needed)
            except NotFound:
                return 0
        return pq.read_metadata(pa.BufferReader(footer)).num_rows

    def _tail(self, name: str, size: int) -> bytes:
        return self._bucket.blob(name).download_as_bytes(start=-size, checksum=None, timeout=TIMEOUT)

    def _url(self, name: str) -> str:
        return f"gs://{self._bucket.name}/{name}"


def data_name(month: Month) -> str:
    """The object that is the month."""
    return f"data/{month.service}/{month.stem}.parquet"


def rejected_name(month: Month) -> str:
    """The object with the month's rejected rows; there is none where there are no such rows."""
    return f"rejected/{month.service}/{month.stem}.parquet"


def blocked_name(month: Month) -> str:
    """The object with a month that a quality check has kept out."""
    return f"blocked/{month.service}/{month.stem}.parquet"


def blocked_rejected_name(month: Month) -> str:
    """The object with the rejected rows of a month that was kept out."""
    return f"blocked/{month.service}/{month.stem}.rejected.parquet"


def refused_name(month: Month) -> str:
    """The empty object whose metadata say why a source of the month was refused."""
    return f"refused/{month.service}/{month.stem}"


NAMES = {"loaded": data_name, "blocked": blocked_name, "refused": refused_name}


def month_of(name: str) -> Month | None:
    """The month of a data object's name; None for any other object."""
    found = re.fullmatch(r"data/(\w+)/\w+_tripdata_(\d{4})-(\d\d)\.parquet", name)
    if not found or found[1] not in list(Service):
        return None
    month = Month(Service(found[1]), int(found[2]), int(found[3]))
    return month if data_name(month) == name else None


def _entry_of(blob: Blob | None) -> LedgerEntry | None:
    text = ((blob.metadata if blob else None) or {}).get(LEDGER)
    return LedgerEntry.from_json(text) if text else None


def _crc32c(file: Path) -> str:
    """The file's CRC32C as Cloud Storage writes it: base64 of the big-endian bytes."""
    checksum = google_crc32c.Checksum()
    with file.open("rb") as stream:
        for _ in checksum.consume(stream, 1 << 20):
            pass
    return base64.b64encode(checksum.digest()).decode("ascii")

"""The bucket store: a partition is one parquet object, its ledger entry is that object's metadata.

So object and entry are written in one atomic step: an upload appears whole or not at all, and a precondition on the
generation that it replaces detects a concurrent load. The rejected rows are a separate object, whose name has the id of
the load (`load_id`). It is written first: the data object commits the load, and the load id in its entry says which
rejected rows are valid. After an interrupted load, the old partition still has its own rejected rows. The rejected rows
of replaced loads are deleted after the commit; those of interrupted loads, by a later load.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq
import requests
from google.api_core.exceptions import NotFound, PreconditionFailed, RequestRangeNotSatisfiable

from flows.datasets.cleaning import Cleaning
from flows.datasets.dataset import Dataset, Partition
from flows.datasets.outcome import Outcome
from flows.errors import Refused, StoreFailed, TaxiwayError
from flows.stores.batches import verified, write_parquet
from flows.stores.bucket_objects import (
    NAMES,
    PLACES,
    blocked_name,
    data_name,
    load_id_of,
    partition_of,
    refused_name,
    rejected_name,
)
from flows.stores.google_errors import LEFT_OVER, failures_as_warnings, one_line, seconds_to_send
from flows.stores.ledger import LedgerEntry, LoadSource, Status, may_record, new_load_id, now
from flows.stores.store import count_or_error

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Bucket

# An object's metadata may have 8 KiB; an entry with every reason and every check has five.
LEDGER = "ledger"

UPLOAD_CHUNK = 8 << 20
TIMEOUT = (10.0, 120.0)
RACES = 5

# The size of most parquet footers is below this. A footer ends with its length (four bytes) and the magic number.
FOOTER = 64 << 10
MAGIC = b"PAR1"


class BucketStore:
    """A `Store` in a folder of a Cloud Storage bucket: an object `data/{dataset}/{stem}.parquet` per partition.

    A blocked partition is under `blocked/`, and the rejected rows of a load are
    `rejected/{dataset}/{stem}.{load_id}.parquet`. An empty object under `refused/` has the entry of a refused source.
    The bucket's `user_project`, if it has one, pays for every request.
    """

    name = "bucket"

    def __init__(self, bucket: Bucket, folder: str = "") -> None:
        self._bucket, self._folder = bucket, f"{folder.strip('/')}/" if folder.strip("/") else ""

    def replace(self, cleaning: Cleaning, source: LoadSource, *, work_dir: Path | None = None) -> Outcome:
        """Run the pass into a parquet file and replace the partition's object, see `Store.replace`."""
        partition = cleaning.partition
        with tempfile.TemporaryDirectory(dir=work_dir) as directory:
            file = Path(directory) / f"{partition.stem}.parquet"
            outcome = cleaning.into(lambda batches: write_parquet(verified(batches, cleaning), cleaning.schema, file))
            entry = LedgerEntry.of(partition, outcome, source, new_load_id())
            name = NAMES[entry.status](partition)
            with one_line(self._url(name)):
                if entry.rows_rejected:
                    self._upload(rejected_name(entry), cleaning.rejected, {}, None)
                before = self._put(name, file, entry)
        with failures_as_warnings(self._url(name)):
            self._clean_up(entry, before)
        return outcome

    def download(self, partition: Partition, to: Path, *, flow_run_id: str | None = None) -> tuple[Path, LoadSource]:
        """Copy one generation of the partition's object into the folder `to`; its checksum is verified.

        Returns the file, and the source for BigQuery's ledger (`checksum` is the object's generation). Raises Refused
        if the bucket does not have the partition.
        """
        started, name = now(), data_name(partition)
        file = to / f"{partition.stem}.parquet"
        with one_line(self._url(name)):
            for _ in range(RACES):
                blob = self._get(name)
                if blob is None:
                    raise Refused(self._url(name), "does not exist in the bucket")
                try:
                    pinned = self._blob(name, generation=blob.generation)
                    pinned.download_to_filename(file, timeout=TIMEOUT, checksum="crc32c")
                except NotFound:  # replaced meanwhile: read the new one
                    continue
                checksum = f"generation:{blob.generation}"
                return file, LoadSource(self._url(name), checksum, blob.size, flow_run_id, started)
        raise StoreFailed(self._url(name), f"was replaced {RACES} times while it was read")

    def record(self, entry: LedgerEntry) -> None:
        """Write the entry of its partition and status, see `Store.record`."""
        name = NAMES[entry.status](entry.partition)
        with one_line(self._url(name)):
            for _ in range(RACES):
                blob = self._get(name)
                if not may_record(entry, _entry_of(blob, entry.partition.dataset)):
                    return
                try:
                    self._write_entry(name, blob, entry)
                    return
                except PreconditionFailed:  # changed meanwhile: read it again
                    continue
                except NotFound:
                    if blob is None:  # there is no such bucket
                        raise
        raise StoreFailed(self._url(name), f"was changed by another process {RACES} times")

    def _write_entry(self, name: str, existing: Blob | None, entry: LedgerEntry) -> None:
        """Write the entry to the object that was read or, if there was none, to a new and empty one."""
        metadata = {LEDGER: entry.to_json()}
        if existing is None:
            blob = self._blob(name)
            blob.metadata = metadata
            blob.upload_from_string(b"", if_generation_match=0, timeout=TIMEOUT)
        else:
            existing.metadata = (existing.metadata or {}) | metadata
            existing.patch(
                if_generation_match=existing.generation,
                if_metageneration_match=existing.metageneration,
                timeout=TIMEOUT,
            )

    def entry(self, partition: Partition, status: Status = "loaded") -> LedgerEntry | None:
        """The partition's ledger entry of that status, if there is one."""
        name = NAMES[status](partition)
        with one_line(self._url(name)):
            return _entry_of(self._get(name), partition.dataset)

    def entries(self, dataset: Dataset) -> list[LedgerEntry]:
        """All ledger entries of the dataset, sorted by partition and status."""
        found = [_entry_of(blob, dataset) for place in PLACES for _, blob in self._list(f"{place}/{dataset}/")]
        return sorted(filter(None, found), key=lambda entry: (entry.partition, entry.status))

    def count(self, partition: Partition) -> int:
        """How many rows the partition's object has, from its parquet footer."""
        return self._rows(data_name(partition))

    def count_rejected(self, partition: Partition) -> int:
        """How many rejected rows are stored of the load that the partition's entry is of, from their parquet footer."""
        entry = self.entry(partition)
        return self._rows(rejected_name(entry)) if entry else 0

    def counts(self, dataset: Dataset) -> dict[Partition, int | TaxiwayError]:
        """How many rows of each partition are under `data/`, from the parquet footers; or why they cannot be read."""
        found = (partition_of(name, dataset) for name, _ in self._list(f"data/{dataset}/"))
        return {partition: count_or_error(self.count, partition) for partition in found if partition}

    def _put(self, name: str, file: Path, entry: LedgerEntry) -> LedgerEntry | None:
        """Replace the object by the file; retry if another load replaces it first. Returns the replaced entry."""
        dataset = entry.partition.dataset
        for _ in range(RACES):
            existing = self._get(name)
            try:
                self._upload(name, file, {LEDGER: entry.to_json()}, existing.generation if existing else 0)
                return _entry_of(existing, dataset)
            except PreconditionFailed:
                # Another load has replaced the object, or we have and the answer to our upload was lost.
                found = _entry_of(self._get(name), dataset)
                if found is not None and found.load_id == entry.load_id:
                    return _entry_of(existing, dataset)
        raise StoreFailed(self._url(name), f"was replaced by another process {RACES} times during the upload")

    def _clean_up(self, entry: LedgerEntry, before: LedgerEntry | None) -> None:
        """Delete what can never be valid again, now that the load of this entry has committed."""
        partition = entry.partition
        self._delete(refused_name(partition))
        ended = [before]
        if entry.status == "loaded":
            blocked = self._get(blocked_name(partition))
            if blocked is not None:
                self._delete(blocked_name(partition), blocked.generation)
                ended.append(_entry_of(blocked, partition.dataset))
        # None: an object of no load
        keep = {None} | {found.load_id for status in ("loaded", "blocked") if (found := self.entry(partition, status))}
        replaced = {found.load_id for found in ended if found}
        left_over = now() - LEFT_OVER
        for prefix in ("rejected/", "blocked/"):
            for name, blob in self._list(f"{prefix}{partition.dataset}/{partition.stem}."):
                load_id = load_id_of(name, partition)
                if load_id not in keep and (load_id in replaced or blob.updated < left_over):
                    self._delete(name, blob.generation)

    def _upload(self, name: str, file: Path, metadata: dict[str, str], replaces: int | None) -> None:
        blob = self._blob(name, chunk_size=UPLOAD_CHUNK)
        blob.metadata = metadata
        # With the checksum in the request, the server rejects a corrupted upload, and the old object is unchanged.
        # Without it, the client would compare afterwards and delete the new object: then neither is left.
        blob.upload_from_filename(
            file,
            content_type="application/vnd.apache.parquet",
            if_generation_match=replaces,
            timeout=seconds_to_send(min(file.stat().st_size, UPLOAD_CHUNK)),
            checksum="crc32c",
            crc32c_checksum_value=_crc32c(file),
        )

    def _delete(self, name: str, generation: int | None = None) -> None:
        """Delete the object if it exists, and is still of that generation."""
        with suppress(NotFound, PreconditionFailed):
            self._blob(name).delete(if_generation_match=generation, timeout=TIMEOUT)

    def _list(self, prefix: str) -> Iterator[tuple[str, Blob]]:
        """The objects whose names start with the prefix, each with its name in our folder."""
        with one_line(self._url(prefix)):
            for blob in self._bucket.list_blobs(prefix=self._folder + prefix, timeout=TIMEOUT):
                yield blob.name.removeprefix(self._folder), blob

    def _rows(self, name: str) -> int:
        """How many rows the parquet object has; 0 if it does not exist. Raises StoreFailed for any other object."""
        with one_line(self._url(name)):
            try:
                footer = self._tail(name, FOOTER)
                needed = int.from_bytes(footer[-8:-4], "little") + 8
                if needed > len(footer) and footer.endswith(MAGIC):
                    footer = self._tail(name, needed)
                return pq.read_metadata(pa.BufferReader(footer)).num_rows
            except NotFound:
                return 0
            except (RequestRangeNotSatisfiable, pa.ArrowInvalid, OSError) as wrong:
                if isinstance(wrong, requests.RequestException):  # which is an OSError
                    raise
                raise StoreFailed(self._url(name), "is not a complete parquet file") from wrong

    def _tail(self, name: str, size: int) -> bytes:
        return self._blob(name).download_as_bytes(start=-size, checksum=None, timeout=TIMEOUT)

    def _get(self, name: str) -> Blob | None:
        return self._bucket.get_blob(self._folder + name, timeout=TIMEOUT)

    def _blob(self, name: str, **options: int) -> Blob:
        return self._bucket.blob(self._folder + name, **options)

    def _url(self, name: str) -> str:
        return f"gs://{self._bucket.name}/{self._folder}{name}"


def _entry_of(blob: Blob | None, dataset: Dataset) -> LedgerEntry | None:
    """The ledger entry in the object's metadata, if there is a valid one."""
    text = ((blob.metadata if blob else None) or {}).get(LEDGER)
    try:
        return LedgerEntry.from_json(dataset, text) if text else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _crc32c(file: Path) -> str:
    """The file's CRC32C as Cloud Storage writes it: base64 of the big-endian bytes."""
    checksum = google_crc32c.Checksum()
    with file.open("rb") as stream:
        for _ in checksum.consume(stream, 1 << 20):
            pass
    return base64.b64encode(checksum.digest()).decode("ascii")

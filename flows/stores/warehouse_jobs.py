"""Load jobs: a parquet file in place of one month's partition of a BigQuery table, once, whatever the network does."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.exceptions import Conflict, NotFound
from google.cloud import bigquery

from flows.errors import StoreFailed
from flows.trips.month import Month

TYPES = {
    pa.int32(): "INTEGER",
    pa.int64(): "INTEGER",
    pa.float64(): "FLOAT",
    pa.bool_(): "BOOLEAN",
    pa.string(): "STRING",
    pa.date32(): "DATE",
    pa.timestamp("us"): "DATETIME",
    pa.timestamp("us", "UTC"): "TIMESTAMP",
}

TIMEOUT = (10.0, 120.0)
LOAD_SECONDS = 1800.0


class LoadJobs:
    """Loads into the tables of one dataset, each partitioned by MONTH of its column `source_month`.

    Load jobs are free, atomic, and not under the quota of DML statements.
    """

    def __init__(self, client: bigquery.Client, dataset: str) -> None:
        self._client, self._dataset = client, dataset
        self._location: str | None = None

    def table(self, name: str) -> str:
        """The full name of a table of the dataset."""
        return f"{self._client.project}.{self._dataset}.{name}"

    def replace(self, name: str, month: Month, file: Path, identity: str) -> None:
        """Put the rows of the parquet file in place of those of the table's month; make the table if it is absent.

        Columns that the file has and the table has not are added.

        Args:
            name: the table.
            month: whose partition.
            file: its schema becomes the job's, so that nothing is guessed from the values of one month.
            identity: equal for loads of equal content. The job's id is made from it, so that a request which is sent
                again because its answer was lost, or a load which another run has begun, is not done twice.

        Raises:
            google.api_core.exceptions.ClientError: BigQuery said no; the old rows are there.
            google.api_core.exceptions.GoogleAPIError, TimeoutError: no answer; the load may yet happen.
            StoreFailed: the job says that it wrote another number of rows than the file has.
        """
        footer = pq.ParquetFile(file)
        schema, rows = fields(footer.schema_arrow), footer.metadata.num_rows
        self._ensure(name, schema)
        job = self._start(name, month, file, schema, identity)
        _wait(job)
        if job.output_rows != rows:
            raise StoreFailed(self.table(name), f"load job {job.job_id} wrote {job.output_rows} rows of {rows}")

    def rows(self, name: str) -> Iterator[bigquery.Row]:
        """All rows of a (small) table; none if it is absent."""
        try:
            yield from self._client.list_rows(self._client.get_table(self.table(name), timeout=TIMEOUT))
        except NotFound:
            return

    def exists(self, name: str) -> bool:
        """Whether there is such a table."""
        try:
            self._client.get_table(self.table(name), timeout=TIMEOUT)
        except NotFound:
            return False
        return True

    def query(self, name: str, text: str, **parameters: object) -> list[bigquery.Row]:
        """The query's rows, `{}` in it being the table and `@name` a DATE; none if there is no such table."""
        given = [bigquery.ScalarQueryParameter(key, "DATE", value) for key, value in parameters.items()]
        config = bigquery.QueryJobConfig(query_parameters=given, use_query_cache=False)
        if not self.exists(name):
            return []
        job = self._client.query(text.format(f"`{self.table(name)}`"), job_config=config, location=self._where())
        return list(job.result(timeout=LOAD_SECONDS))

    def _ensure(self, name: str, schema: list[bigquery.SchemaField]) -> None:
        if not self.exists(name):
            table = bigquery.Table(self.table(name), schema)
            table.time_partitioning = bigquery.TimePartitioning(
                type_=bigquery.TimePartitioningType.MONTH, field="source_month"
            )
            self._client.create_table(table, exists_ok=True, timeout=TIMEOUT)

    def _start(
        self, name: str, month: Month, file: Path, schema: list[bigquery.SchemaField], identity: str
    ) -> bigquery.LoadJob:
        """Start the job; or find it started, where the answer to our request was lost or another run was first.

        A job of the same id that has ended is another matter: that it failed, or loaded what was since replaced, does
        not make it this load. Then the next number is taken.
        """
        target = f"{self.table(name)}${month.year}{month.month:02}"
        ours = uuid.uuid4().hex
        config = bigquery.LoadJobConfig(
            schema=schema,
            source_format=bigquery.SourceFormat.PARQUET,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            schema_update_options=[bigquery.SchemaUpdateOption.ALLOW_FIELD_ADDITION],
            labels={"service": str(month.service), "month": month.label, "load": ours},
        )
        digest = hashlib.sha256(f"{self._dataset} {target} {identity}".encode()).hexdigest()[:24]
        for number in count(1):
            job_id = f"taxiway-{name}-{month.label}-{digest}-{number}"
            job = self._find(job_id) or self._insert(job_id, file, target, config)
            if job.labels.get("load") == ours or job.state != "DONE":
                return job
        raise AssertionError("numbers have no end")

    def _find(self, job_id: str) -> bigquery.LoadJob | None:
        try:
            return self._client.get_job(job_id, location=self._where(), timeout=TIMEOUT)
        except NotFound:
            return None

    def _insert(self, job_id: str, file: Path, target: str, config: bigquery.LoadJobConfig) -> bigquery.LoadJob:
        try:
            with file.open("rb") as stream:
                return self._client.load_table_from_file(
                    stream,
                    target,
                    size=file.stat().st_size,
                    job_id=job_id,
                    location=self._where(),
                    job_config=config,
                    timeout=TIMEOUT,
                )
        except Conflict:
            return self._client.get_job(job_id, location=self._where(), timeout=TIMEOUT)

    def _where(self) -> str:
        """The dataset's location, which every job has to name outside of the US and EU."""
        if self._location is None:
            self._location = self._client.get_dataset(self._dataset, timeout=TIMEOUT).location
        return self._location


def _wait(job: bigquery.LoadJob) -> None:
    """Wait for the job's end and raise its error. The client's own wait asks once a second: as long as a load takes."""
    deadline, pause = time.monotonic() + LOAD_SECONDS, 0.05
    while not job.done(timeout=TIMEOUT):
        if time.monotonic() > deadline:
            raise TimeoutError(f"load job {job.job_id} has not ended in {LOAD_SECONDS:.0f} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)
    job.result()


def fields(schema: pa.Schema) -> list[bigquery.SchemaField]:
    """The schema as BigQuery's; a timestamp without zone is a DATETIME."""
    return [bigquery.SchemaField(f.name, TYPES[f.type], "NULLABLE" if f.nullable else "REQUIRED") for f in schema]

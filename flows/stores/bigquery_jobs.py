"""Jobs and rows of the tables of one BigQuery dataset: a parquet file into one month's partition, and back."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.exceptions import Conflict, NotFound
from google.cloud import bigquery

from flows.datasets.partition import Month
from flows.errors import StoreFailed
from flows.stores.google_errors import seconds_to_send

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
PARAMETERS = {dt.date: "DATE", dt.datetime: "TIMESTAMP", str: "STRING"}

APPEND, REPLACE = bigquery.WriteDisposition.WRITE_APPEND, bigquery.WriteDisposition.WRITE_TRUNCATE

TIMEOUT = (10.0, 120.0)
LOAD_SECONDS = 1800.0
READERS = 8

LOAD_ID = "load_id"


class LoadJobs:
    """Loads into the tables of one dataset, each partitioned by MONTH of its column `source_month`.

    Load jobs are free and atomic, and so are reads of a few rows of one partition, which are no queries.
    """

    def __init__(self, client: bigquery.Client, dataset: str) -> None:
        self._client, self._dataset = client, dataset
        self._location: str | None = None

    def table(self, name: str) -> str:
        """The full name of a table of the dataset."""
        return f"{self._client.project}.{self._dataset}.{name}"

    def load(self, name: str, month: Month, file: Path, write: str, job_id: str) -> None:
        """Put the rows of the parquet file in the table's month; make the table if it is absent.

        Columns that the file has and the table has not are added.

        Args:
            name: the table.
            month: whose partition.
            file: its schema becomes the job's, so that nothing is guessed from the values of one month.
            write: APPEND to the partition's rows, or REPLACE them.
            job_id: of this one attempt. A request that is sent again because its answer was lost is not done twice.

        Raises:
            google.api_core.exceptions.ClientError: BigQuery said no; the old rows are there.
            google.api_core.exceptions.GoogleAPIError, TimeoutError: no answer; the load may yet happen.
            StoreFailed: the job says that it wrote another number of rows than the file has; or the table's rows
                expire, and nothing was done.
        """
        footer = pq.ParquetFile(file)
        schema, rows = fields(footer.schema_arrow), footer.metadata.num_rows
        self._ensure(name, schema)
        config = bigquery.LoadJobConfig(
            schema=schema,
            source_format=bigquery.SourceFormat.PARQUET,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            write_disposition=write,
            schema_update_options=[bigquery.SchemaUpdateOption.ALLOW_FIELD_ADDITION],
            labels={"service": str(month.service), "month": month.label},
        )
        job = self._insert(job_id, file, f"{self.table(name)}{decorator(month)}", config)
        _wait(job)
        if job.output_rows != rows:
            raise StoreFailed(self.table(name), f"load job {job.job_id} wrote {job.output_rows} rows of {rows}")

    def job(self, job_id: str) -> bigquery.LoadJob | None:
        """The job; None if there is none of this id. BigQuery keeps jobs for six months."""
        try:
            return self._client.get_job(job_id, location=self._where(), timeout=TIMEOUT)
        except NotFound:
            return None

    def columns(self, name: str) -> set[str]:
        """The names of the table's columns; none if it is absent."""
        table = self._find(name)
        return {field.name for field in table.schema} if table else set()

    def rows(self, name: str, month: Month | None = None) -> Iterator[bigquery.Row]:
        """All rows of a (small) table, or of its month; none if it is absent."""
        table = self._find(name)
        if table is None:
            return
        try:
            if month is None:
                yield from self._client.list_rows(table, timeout=TIMEOUT)
            else:
                yield from self._partition(name, month, table.schema)
        except NotFound:  # deleted since, or a partition that is not there
            return

    def load_ids(self, name: str, months: list[Month]) -> dict[Month, str]:
        """The load id of the first row that is found in each month's partition; "" where the row has none.

        Every row of a partition has the same. Months without rows are left out.
        """
        columns = self.columns(name) if months else set()
        if not columns:
            return {}
        # A partition of a version that had no load ids is told from an empty one by any other column.
        column = bigquery.SchemaField(*((LOAD_ID, "STRING") if LOAD_ID in columns else ("source_month", "DATE")))

        def first(month: Month) -> list[bigquery.Row]:
            try:
                return list(self._partition(name, month, [column], most=1))
            except NotFound:
                return []

        with ThreadPoolExecutor(READERS) as pool:
            found = zip(months, pool.map(first, months), strict=True)
            return {month: rows[0].get(LOAD_ID) or "" for month, rows in found if rows}

    def query(self, name: str, text: str, **parameters: dt.date | str | list[str]) -> list[bigquery.Row]:
        """The query's rows; none if there is no such table.

        Args:
            name: the table.
            text: SQL, `{table}` in it being the table, `{load_id}` its rows' load id, "" where they have none.
            **parameters: the values of `@name` in it.
        """
        columns = self.columns(name)
        if not columns:
            return []
        given = [_parameter(key, value) for key, value in parameters.items()]
        config = bigquery.QueryJobConfig(query_parameters=given, use_query_cache=False)
        load_id = f"IFNULL({LOAD_ID}, '')" if LOAD_ID in columns else "''"
        sql = text.format(table=f"`{self.table(name)}`", load_id=load_id)
        job = self._client.query(sql, job_config=config, location=self._where(), timeout=TIMEOUT)
        return list(job.result(timeout=LOAD_SECONDS))

    def _partition(
        self, name: str, month: Month, columns: list[bigquery.SchemaField], most: int | None = None
    ) -> Iterator[bigquery.Row]:
        target = bigquery.TableReference.from_string(f"{self.table(name)}{decorator(month)}")
        return self._client.list_rows(target, selected_fields=columns, max_results=most, timeout=TIMEOUT)

    def _find(self, name: str) -> bigquery.Table | None:
        try:
            return self._client.get_table(self.table(name), timeout=TIMEOUT)
        except NotFound:
            return None

    def _ensure(self, name: str, schema: list[bigquery.SchemaField]) -> None:
        """Make the table if it is absent. Raises StoreFailed where its rows would vanish with time."""
        table = self._find(name) or self._create(name, schema)
        partitioning = table.time_partitioning
        if partitioning is not None and partitioning.expiration_ms:
            lift = _lift(self.table(name), "partition_expiration_days")
            raise StoreFailed(
                self.table(name),
                f"its partitions expire after {partitioning.expiration_ms / 86_400_000:g} days: {lift}",
            )
        if table.expires:
            lift = _lift(self.table(name), "expiration_timestamp")
            raise StoreFailed(self.table(name), f"the table expires at {table.expires:%F %T} UTC: {lift}")

    def _create(self, name: str, schema: list[bigquery.SchemaField]) -> bigquery.Table:
        """Make a table whose rows stay, whatever the dataset's defaults are: a month of years ago would go at once."""
        table = bigquery.Table(self.table(name), schema)
        table.time_partitioning = bigquery.TimePartitioning(
            type_=bigquery.TimePartitioningType.MONTH, field="source_month"
        )
        made = self._client.create_table(table, exists_ok=True, timeout=TIMEOUT)
        if made.expires or made.time_partitioning.expiration_ms:
            # No expiration cannot be asked for at creation: nothing said means the dataset's default.
            made.expires = made.time_partitioning.expiration_ms = None
            made = self._client.update_table(made, ["expires", "time_partitioning"], timeout=TIMEOUT)
        return made

    def _insert(self, job_id: str, file: Path, target: str, config: bigquery.LoadJobConfig) -> bigquery.LoadJob:
        size = file.stat().st_size
        try:
            with file.open("rb") as stream:
                return self._client.load_table_from_file(
                    stream,
                    target,
                    size=size,
                    job_id=job_id,
                    location=self._where(),
                    job_config=config,
                    timeout=seconds_to_send(size),
                )
        except Conflict:  # the job of our own first request, whose answer was lost
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


def _lift(table: str, option: str) -> str:
    return f"loaded months would vanish; run ALTER TABLE `{table}` SET OPTIONS ({option} = NULL)"


def decorator(month: Month) -> str:
    """What names the month's partition after a table's name."""
    return f"${month.year}{month.month:02}"


def fields(schema: pa.Schema) -> list[bigquery.SchemaField]:
    """The schema as BigQuery's; a timestamp without zone is a DATETIME."""
    return [bigquery.SchemaField(f.name, TYPES[f.type], "NULLABLE" if f.nullable else "REQUIRED") for f in schema]


def _parameter(
    name: str, value: dt.date | str | list[str]
) -> bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter:
    if isinstance(value, list):
        return bigquery.ArrayQueryParameter(name, "STRING", value)
    return bigquery.ScalarQueryParameter(name, PARAMETERS[type(value)], value)

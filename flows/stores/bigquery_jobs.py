"""Load jobs, queries and row reads on the tables of one BigQuery dataset."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
from google.api_core.exceptions import Conflict, NotFound
from google.cloud import bigquery

from flows.datasets.dataset import Partition
from flows.errors import StoreFailed
from flows.stores.bigquery_tables import LOAD_ID, TIMEOUT, decorator, ensure_table, fields, find_table
from flows.stores.google_errors import seconds_to_send

APPEND, REPLACE = bigquery.WriteDisposition.WRITE_APPEND, bigquery.WriteDisposition.WRITE_TRUNCATE

LOAD_SECONDS = 1800.0
READERS = 8


class LoadJobs:
    """The tables of one BigQuery dataset.

    Load jobs are free and atomic. So are reads of a few rows of one partition, which are not queries.
    """

    def __init__(self, client: bigquery.Client, dataset: str) -> None:
        self._client, self._dataset = client, dataset
        self._location: str | None = None

    def table(self, name: str) -> str:
        """The full name of a table of the dataset."""
        return f"{self._client.project}.{self._dataset}.{name}"

    def load(self, name: str, partition: Partition, file: Path, write: str, job_id: str) -> None:
        """Load a parquet file into the table's partition: APPEND to its rows, or REPLACE them.

        The table is created, or gets the file's new columns. The job's schema is that of the file, so that BigQuery
        does not infer it from one month's values. The job id is of this attempt: a request that is sent again because
        its answer was lost starts no second job.

        Raises:
            google.api_core.exceptions.ClientError: BigQuery rejected the load; existing data is unchanged.
            google.api_core.exceptions.GoogleAPIError, TimeoutError: no answer; the load may still happen.
            StoreFailed: the job wrote another number of rows than the file has; or the table's rows expire.
        """
        footer = pq.ParquetFile(file)
        schema, rows = fields(footer.schema_arrow), footer.metadata.num_rows
        ensure_table(self._client, self.table(name), schema, partition.dataset)
        # Replacing a whole table replaces its schema as well; BigQuery then rejects schema update options.
        replaces_table = write == REPLACE and not partition.dataset.partition_column
        updates = [] if replaces_table else [bigquery.SchemaUpdateOption.ALLOW_FIELD_ADDITION]
        config = bigquery.LoadJobConfig(
            schema=schema,
            source_format=bigquery.SourceFormat.PARQUET,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            write_disposition=write,
            schema_update_options=updates,
            labels={"dataset": partition.dataset.name, "partition": partition.key.lower()},
        )
        job = self._insert(job_id, file, f"{self.table(name)}{decorator(partition)}", config)
        _wait(job)
        if job.output_rows != rows:
            raise StoreFailed(self.table(name), f"load job {job.job_id} wrote {job.output_rows} rows of {rows}")

    def job(self, job_id: str) -> bigquery.LoadJob | None:
        """The job of that id, if there is one. BigQuery keeps jobs for six months."""
        try:
            return cast(bigquery.LoadJob, self._client.get_job(job_id, location=self._where(), timeout=TIMEOUT))
        except NotFound:
            return None

    def columns(self, name: str) -> set[str]:
        """The names of the table's columns; none if it does not exist."""
        table = find_table(self._client, self.table(name))
        return {field.name for field in table.schema} if table else set()

    def rows(self, name: str, partition: Partition | None = None) -> Iterator[bigquery.Row]:
        """All rows of a (small) table, or of one partition; none if it does not exist."""
        table = find_table(self._client, self.table(name))
        if table is None:
            return
        try:
            if partition is None:
                yield from self._client.list_rows(table, timeout=TIMEOUT)
            else:
                yield from self._partition(name, partition, table.schema)
        except NotFound:  # deleted since, or a missing partition
            return

    def load_ids(self, name: str, partitions: list[Partition]) -> dict[Partition, str]:
        """The load id of each partition that has rows, read from one row: all have the same; "" if they have none."""
        columns = self.columns(name) if partitions else set()
        if not columns:
            return {}
        # In a table without load ids, read any other column.
        column = bigquery.SchemaField(LOAD_ID if LOAD_ID in columns else min(columns), "STRING")

        def first(partition: Partition) -> list[bigquery.Row]:
            try:
                return list(self._partition(name, partition, [column], most=1))
            except NotFound:
                return []

        with ThreadPoolExecutor(READERS) as pool:
            found = zip(partitions, pool.map(first, partitions), strict=True)
            return {partition: rows[0].get(LOAD_ID) or "" for partition, rows in found if rows}

    def query(
        self, name: str, text: str, partition: Partition | None = None, **parameters: dt.datetime | str | list[str]
    ) -> list[bigquery.Row]:
        """The query's rows; none if the table does not exist.

        In the SQL text, `{table}` is the table, `{load_id}` a row's load id (or ""), `{of_partition}` the condition for
        rows of the partition, and `@name` a parameter.
        """
        columns = self.columns(name)
        if not columns:
            return []
        of_partition = "TRUE"
        given = [_parameter(key, value) for key, value in parameters.items()]
        if partition and partition.dataset.partition_column:
            of_partition = f"{partition.dataset.partition_column} = @partition_start"
            given.append(_parameter("partition_start", partition.column_value))
        config = bigquery.QueryJobConfig(query_parameters=given, use_query_cache=False)
        load_id = f"IFNULL({LOAD_ID}, '')" if LOAD_ID in columns else "''"
        sql = text.format(table=f"`{self.table(name)}`", load_id=load_id, of_partition=of_partition)
        job = self._client.query(sql, job_config=config, location=self._where(), timeout=TIMEOUT)
        return list(job.result(timeout=LOAD_SECONDS))

    def _partition(
        self, name: str, partition: Partition, columns: list[bigquery.SchemaField], most: int | None = None
    ) -> Iterator[bigquery.Row]:
        target = bigquery.TableReference.from_string(f"{self.table(name)}{decorator(partition)}")
        return self._client.list_rows(target, selected_fields=columns, max_results=most, timeout=TIMEOUT)

    def _insert(self, job_id: str, file: Path, target: str, config: bigquery.LoadJobConfig) -> bigquery.LoadJob:
        size = file.stat().st_size
        options: dict[str, Any] = {"job_id": job_id, "location": self._where(), "timeout": seconds_to_send(size)}
        try:
            with file.open("rb") as stream:
                return self._client.load_table_from_file(stream, target, size=size, job_config=config, **options)
        except Conflict:  # the job exists: the answer to our first request was lost
            return cast(bigquery.LoadJob, self._client.get_job(job_id, location=self._where(), timeout=TIMEOUT))

    def _where(self) -> str:
        """The dataset's location, which every job has to name outside of the US and EU."""
        if self._location is None:
            self._location = self._client.get_dataset(self._dataset, timeout=TIMEOUT).location
        return self._location


def _wait(job: bigquery.LoadJob) -> None:
    """Wait for the job's end and raise its error. The client polls once a second, which takes as long as a load."""
    deadline, pause = time.monotonic() + LOAD_SECONDS, 0.05
    while not job.done(timeout=TIMEOUT):
        if time.monotonic() > deadline:
            raise TimeoutError(f"load job {job.job_id} has not ended in {LOAD_SECONDS:.0f} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 5.0)
    job.result()


def _parameter(
    name: str, value: dt.date | str | list[str]
) -> bigquery.ScalarQueryParameter | bigquery.ArrayQueryParameter:
    match value:
        case list():
            return bigquery.ArrayQueryParameter(name, "STRING", value)
        case dt.datetime():
            return bigquery.ScalarQueryParameter(name, "TIMESTAMP" if value.tzinfo else "DATETIME", value)
        case dt.date():
            return bigquery.ScalarQueryParameter(name, "DATE", value)
        case _:
            return bigquery.ScalarQueryParameter(name, "STRING", value)

"""Load jobs: files into a table or one partition of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from infra.emulators.bigquery import catalog, gcs, schema, sources
from infra.emulators.bigquery.database import Cursor, Database
from infra.emulators.bigquery.faults import told_as_google
from infra.emulators.bigquery.jobs import Job
from infra.emulators.bigquery.schema import Field
from infra.emulators.bigquery.writing import Target, write
from infra.emulators.rest import invalid, only_known, unsupported

_KNOWN = {
    "destinationTable",
    "schema",
    "sourceFormat",
    "sourceUris",
    "writeDisposition",
    "createDisposition",
    "schemaUpdateOptions",
    "timePartitioning",
    "clustering",
    "autodetect",
    "ignoreUnknownValues",
    "parquetOptions",
    "skipLeadingRows",
    "fieldDelimiter",
    "quote",
    "nullMarker",
    "allowQuotedNewlines",
    "allowJaggedRows",
    "encoding",
}
_READING = "Error while reading data, error message: "
_FORMATS = ("PARQUET", "NEWLINE_DELIMITED_JSON", "CSV")


def admit(configuration: dict[str, Any], uploaded: bool) -> None:
    """Raise where a load job asks for what cannot be done, before there is a job."""
    only_known({k: v for k, v in configuration.items() if v not in (0, "0")}, _KNOWN, "a load job")
    Target.of(configuration, "WRITE_APPEND")
    schema.fields_of(configuration.get("schema"))
    if configuration.get("sourceFormat", "CSV") not in _FORMATS:
        raise unsupported(f"loading {configuration['sourceFormat']}")
    if bool(configuration.get("sourceUris")) == uploaded:
        raise invalid("A load job takes its data from sourceUris or from an upload.")


def run(db: Database, job: Job) -> None:
    """Load. The old rows are there until the transaction that replaces them commits."""
    options = job.configuration["load"]
    target = Target.of(options, "WRITE_APPEND")
    with tempfile.TemporaryDirectory() as folder:
        paths = [job.media] if job.media else gcs.fetch(options["sourceUris"], Path(folder))
        with told_as_google("invalid", _READING), db.transaction(catalog.key(target.table)) as cursor:
            job.watch(cursor)
            fields, select = _source(cursor, target, paths, options)
            rows = write(cursor, target, fields, select)
            statistics = {
                "inputFiles": str(len(paths)),
                "inputFileBytes": str(sum(path.stat().st_size for path in paths)),
                "outputRows": str(rows),
                "badRecords": "0",
            }
            job.succeed(cursor, {"load": statistics})


def _source(cursor: Cursor, target: Target, paths: list[Path], options: dict[str, Any]) -> tuple[list[Field], str]:
    """The fields that the load brings, and the SELECT that gives its rows."""
    kind = options.get("sourceFormat", "CSV")
    fields = schema.fields_of(options.get("schema"))
    if not fields and kind == "PARQUET":
        fields = sources.parquet_fields(paths, options)
    if not fields:
        existing = catalog.find_table(cursor, target.table)
        if existing is None:
            raise unsupported(f"guessing the schema of {kind} (autodetect): give the job a schema")
        fields = existing["schema"]["fields"]
    match kind:
        case "PARQUET":
            return fields, sources.parquet_select(paths, fields, options)
        case "CSV":
            return fields, sources.csv_select(paths, fields, options)
        case _:
            return fields, sources.json_select(cursor, paths, fields, options)

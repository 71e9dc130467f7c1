"""Copy jobs, from table to table; extract jobs, from a table to objects."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from infra.emulators.bigquery import catalog, gcs, partitions, schema
from infra.emulators.bigquery.database import Cursor, Database
from infra.emulators.bigquery.faults import told_as_google
from infra.emulators.bigquery.jobs import Job
from infra.emulators.bigquery.names import Table, literal, quoted
from infra.emulators.bigquery.writing import Target, write
from infra.emulators.rest import invalid, only_known, unsupported

_COPY = {"sourceTable", "sourceTables", "destinationTable", "writeDisposition", "createDisposition"}
_EXTRACT = {"sourceTable", "destinationUris", "destinationFormat", "compression", "fieldDelimiter", "printHeader"}
_COMPRESSIONS = {"PARQUET": {"NONE": "uncompressed", "SNAPPY": "snappy", "GZIP": "gzip", "ZSTD": "zstd"}}
_OF_TEXT = {"NONE": "none", "GZIP": "gzip"}


def admit_copy(configuration: dict[str, Any]) -> None:
    """Raise where a copy job asks for what cannot be done, before there is a job."""
    only_known(configuration, _COPY, "a copy job")
    Target.of(configuration, "WRITE_EMPTY")


def run_copy(db: Database, job: Job) -> None:
    """Copy one or several tables or partitions; a table that is made on the way is laid out as the first source."""
    options = job.configuration["copy"]
    sources = [Table.of(each) for each in options.get("sourceTables") or [options["sourceTable"]]]
    table = Table.of(options["destinationTable"])
    with told_as_google("invalid"), db.transaction(catalog.key(table)) as cursor:
        job.watch(cursor)
        resources = [catalog.table(cursor, source) for source in sources]
        layout = {key: resources[0][key] for key in ("timePartitioning", "clustering") if key in resources[0]}
        fields = resources[0]["schema"]["fields"]
        for source, resource in zip(sources, resources, strict=True):
            schema.evolve(str(source), fields, resource["schema"]["fields"])
        target = Target.of(options | layout, "WRITE_EMPTY")
        rows = write(cursor, target, fields, " UNION ALL BY NAME ".join(map(_rows, sources, resources)))
        job.succeed(cursor, {"copy": {"copiedRows": str(rows)}})


def admit_extract(configuration: dict[str, Any]) -> None:
    """Raise where an extract job asks for what cannot be done, before there is a job."""
    only_known(configuration, _EXTRACT, "an extract job")
    if len(configuration.get("destinationUris") or []) != 1:
        raise unsupported("an extract to other than one URI")
    if configuration.get("destinationFormat", "CSV") not in ("CSV", "PARQUET", "NEWLINE_DELIMITED_JSON"):
        raise unsupported(f"extracting {configuration['destinationFormat']}")


def run_extract(db: Database, job: Job) -> None:
    """Write a table or partition to one object; a `*` in its name becomes the number of the first file, as it does."""
    options = job.configuration["extract"]
    source, uri = Table.of(options["sourceTable"]), options["destinationUris"][0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "extract"
        with told_as_google("invalid"), db.cursor() as cursor:
            job.watch(cursor)
            _copy_out(cursor, source, path, options)
        gcs.store(path, uri.replace("*", "000000000000"))
    with db.transaction() as cursor:
        job.succeed(cursor, {"extract": {"destinationUriFileCounts": ["1"]}})


def _copy_out(cursor: Cursor, source: Table, path: Path, options: dict[str, Any]) -> None:
    kind = options.get("destinationFormat", "CSV")
    known = _COMPRESSIONS.get(kind, _OF_TEXT)
    compression = known.get(options.get("compression") or "NONE")
    if compression is None:
        raise unsupported(f"{options['compression']} for {kind}")
    resource = catalog.table(cursor, source)
    clauses = {"CSV": "FORMAT csv", "PARQUET": "FORMAT parquet"}.get(
        kind, "FORMAT json"
    ) + f", COMPRESSION {compression}"
    select = _rows(source, resource)
    if kind == "CSV":
        if any(field["mode"] == "REPEATED" for field in resource["schema"]["fields"]):
            raise invalid("Operation cannot be performed on a nested schema. Field: repeated")
        header = str(options.get("printHeader", True)).lower()
        clauses += f", HEADER {header}, DELIMITER {literal(options.get('fieldDelimiter') or ',')}"
    cursor.execute(f"COPY ({select}) TO {literal(str(path))} ({clauses})")


def _rows(source: Table, resource: dict[str, Any]) -> str:
    where = partitions.condition(source, resource)
    names = ", ".join(quoted(field["name"]) for field in resource["schema"]["fields"])
    return f"SELECT {names} FROM {source.sql} WHERE {where or 'true'}"

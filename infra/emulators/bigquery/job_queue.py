"""Jobs: run in the background, stored with their state, cancelled when the emulator stops."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from infra.emulators.bigquery import duckdb_file
from infra.emulators.bigquery.duckdb_file import Cursor, Database
from infra.emulators.bigquery.resources import duplicate, now
from infra.emulators.rest import GoogleError, fault, not_found

_PARALLEL = 4  # jobs that run at the same time; they share the threads of DuckDB
_STATUS = {"notFound": 404, "duplicate": 409, "notImplemented": 501, "backendError": 500}


class Job:
    """One job. The code that runs it calls `succeed` in the transaction that writes the job's data."""

    def __init__(self, resource: dict[str, Any], media: Path | None = None) -> None:
        self.resource, self.media = resource, media
        self.done = threading.Event()
        self.cancelled = False
        self._cursor: Cursor | None = None

    @property
    def reference(self) -> dict[str, str]:
        """Project, id and location."""
        return self.resource["jobReference"]

    @property
    def key(self) -> str:
        """The key of the job's resource."""
        return f"{self.reference['projectId']}.{self.reference['jobId']}"

    @property
    def configuration(self) -> dict[str, Any]:
        """The `configuration` of the request."""
        return self.resource["configuration"]

    @property
    def error(self) -> GoogleError | None:
        """The HTTP error for a failed job; None for any other."""
        proto = self.resource["status"].get("errorResult")
        return proto and GoogleError(_STATUS.get(proto["reason"], 400), proto["reason"], proto["message"])

    def watch(self, cursor: Cursor) -> None:
        """Interrupt `cursor` when the job is cancelled; raise if it is cancelled already."""
        self._cursor = cursor
        if self.cancelled:
            raise _cancelled()

    def succeed(self, cursor: Cursor, statistics: dict[str, Any]) -> None:
        """Store that the job is done, as part of the cursor's transaction."""
        self.resource["statistics"] |= statistics | {"endTime": now()}
        duckdb_file.put(cursor, "job", self.key, self.resource | {"status": {"state": "DONE"}})

    def fail(self, cursor: Cursor, error: GoogleError) -> None:
        """Store that the job failed."""
        self.resource["statistics"]["endTime"] = now()
        self.resource["status"] = {"state": "DONE", "errorResult": error.proto, "errors": [error.proto]}
        duckdb_file.put(cursor, "job", self.key, self.resource)

    def cancel(self) -> None:
        """Stop the job and wait for its end."""
        self.cancelled = True
        # Repeated, because DuckDB ignores an interruption between two statements.
        while not self.done.wait(0.05):
            if self._cursor is not None:
                with suppress(duckdb.Error):
                    self._cursor.interrupt()


class Jobs:
    """All jobs. `work` runs one; it must end with `Job.succeed` or an exception."""

    def __init__(self, db: Database, work: Callable[[Job], None]) -> None:
        self._db, self._work = db, work
        self._pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="job")
        self._lock = threading.Lock()
        self._running: dict[str, Job] = {}
        self._fail_interrupted()

    def start(
        self, project: str, reference: dict[str, Any], configuration: dict[str, Any], media: Path | None = None
    ) -> Job:
        """Create a job and queue it; raise 409 if its id has been used before."""
        job = Job(_resource(project, reference, configuration), media)
        with self._lock, self._db.transaction() as cursor:
            if duckdb_file.get(cursor, "job", job.key):
                raise duplicate(f"Job {job.resource['id']}")
            duckdb_file.put(cursor, "job", job.key, job.resource)
            self._running[job.key] = job
        self._pool.submit(self._run, job)
        return job

    def get(self, project: str, job_id: str, location: str | None = None) -> Job:
        """Return a job; raise 404 if it does not exist."""
        job = self._running.get(f"{project}.{job_id}")
        if job is None:
            with self._db.cursor() as cursor:
                stored = duckdb_file.get(cursor, "job", f"{project}.{job_id}")
            if stored is not None:
                job = Job(stored)
                job.done.set()
        if job is None or (location and location.lower() != job.reference["location"].lower()):
            raise not_found(f"Not found: Job {project}:{location + '.' if location else ''}{job_id}")
        return job

    def list(self, project: str) -> list[dict[str, Any]]:
        """Return the resources of the project's jobs, newest first."""
        with self._db.cursor() as cursor:
            stored = duckdb_file.under(cursor, "job", f"{project}.")
        return sorted(stored, key=lambda r: (int(r["statistics"]["creationTime"]), r["id"]), reverse=True)

    def close(self) -> None:
        """Cancel the running jobs and wait for their end."""
        jobs = list(self._running.values())
        for job in jobs:
            job.cancelled = True
        for job in jobs:
            job.cancel()
        self._pool.shutdown()

    def _run(self, job: Job) -> None:
        job.resource["status"] = {"state": "RUNNING"}
        job.resource["statistics"]["startTime"] = now()
        try:
            self._work(job)
            job.resource["status"] = {"state": "DONE"}
        except Exception as error:  # every error ends the job, or clients would wait for it forever
            with self._db.transaction() as cursor:
                if job.cancelled:
                    job.fail(cursor, _cancelled())
                else:
                    job.fail(cursor, error if isinstance(error, GoogleError) else fault(error))
        finally:
            if job.media:
                job.media.unlink(missing_ok=True)
            self._running.pop(job.key, None)
            job.done.set()

    def _fail_interrupted(self) -> None:
        """Store an error for each job that a kill of the emulator interrupted. Such a job has changed nothing."""
        with self._db.transaction() as cursor:
            for resource in duckdb_file.under(cursor, "job", ""):
                if resource["status"]["state"] != "DONE":
                    stopped = GoogleError(500, "backendError", "The emulator was stopped while the job ran.")
                    Job(resource).fail(cursor, stopped)


def _resource(project: str, reference: dict[str, Any], configuration: dict[str, Any]) -> dict[str, Any]:
    job_id = reference.get("jobId") or f"job_{secrets.token_urlsafe(18)}"
    location = reference.get("location") or "US"
    kind = "LOAD" if "load" in configuration else "QUERY"
    return {
        "kind": "bigquery#job",
        "id": f"{project}:{location}.{job_id}",
        "etag": secrets.token_urlsafe(12),
        "jobReference": {"projectId": project, "jobId": job_id, "location": location},
        "configuration": configuration | {"jobType": kind},
        "status": {"state": "PENDING"},
        "statistics": {"creationTime": now()},
    }


def _cancelled() -> GoogleError:
    return GoogleError(400, "stopped", "Job execution was cancelled: User requested cancellation")

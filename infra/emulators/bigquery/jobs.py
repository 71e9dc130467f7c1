"""Jobs: admitted, run in the background, waited for, cancelled, and remembered."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb

from infra.emulators.bigquery import database
from infra.emulators.bigquery.catalog import duplicate
from infra.emulators.bigquery.database import Cursor, Database
from infra.emulators.rest import GoogleError, fault, invalid, not_found

_AT_ONCE = 4  # jobs that run together; DuckDB shares its threads among them
_STATUS = {"notFound": 404, "duplicate": 409, "notImplemented": 501, "internalError": 500, "backendError": 500}


class Job:
    """One job. Its work reports the end by `succeed`, in the transaction that holds the job's data."""

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
        """What the job is kept under."""
        return f"{self.reference['projectId']}.{self.reference['jobId']}"

    @property
    def configuration(self) -> dict[str, Any]:
        """What was asked for."""
        return self.resource["configuration"]

    @property
    def error(self) -> GoogleError | None:
        """Why the job failed, as an HTTP answer; None for any other job."""
        proto = self.resource["status"].get("errorResult")
        return proto and GoogleError(_STATUS.get(proto["reason"], 400), proto["reason"], proto["message"])

    def watch(self, cursor: Cursor) -> None:
        """Let a cancellation interrupt what `cursor` does; raises where the job was cancelled before."""
        self._cursor = cursor
        if self.cancelled:
            raise GoogleError(400, "stopped", "Job execution was cancelled: User requested cancellation")

    def succeed(self, cursor: Cursor, statistics: dict[str, Any]) -> None:
        """Write down that the job is done, as part of the cursor's transaction."""
        self.resource["statistics"] |= statistics | {"endTime": now()}
        database.put(cursor, "job", self.key, self.resource | {"status": {"state": "DONE"}})

    def fail(self, cursor: Cursor, error: GoogleError) -> None:
        """Write down that the job failed."""
        self.resource["statistics"]["endTime"] = now()
        self.resource["status"] = {"state": "DONE", "errorResult": error.proto, "errors": [error.proto]}
        database.put(cursor, "job", self.key, self.resource)

    def cancel(self) -> None:
        """Ask the job to stop, and do not wait for it."""
        if not self.done.is_set() and not self.cancelled:
            self.cancelled = True
            threading.Thread(target=self._interrupt, daemon=True).start()

    def _interrupt(self) -> None:
        # Again and again: DuckDB forgets an interruption that comes between two statements.
        while not self.done.wait(0.05):
            if self._cursor is not None:
                with suppress(duckdb.Error):
                    self._cursor.interrupt()


class Jobs:
    """Every job there was. `work` runs one, by its type; it ends with `Job.succeed` or an exception."""

    def __init__(self, db: Database, work: Callable[[Job], None]) -> None:
        self._db, self._work = db, work
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="job")
        self._lock = threading.Lock()
        self._under_way: dict[str, Job] = {}
        self._fail_those_cut_off()

    def start(self, project: str, reference: dict[str, Any], configuration: dict[str, Any], **more: Any) -> Job:
        """Admit a job and queue it; raises 409 where its id was used before, by whatever job."""
        job = Job(_resource(project, reference, configuration), **more)
        with self._lock, self._db.transaction() as cursor:
            if database.get(cursor, "job", job.key):
                raise duplicate(f"Job {job.resource['id']}")
            database.put(cursor, "job", job.key, job.resource)
            self._under_way[job.key] = job
        self._pool.submit(self._run, job)
        return job

    def get(self, project: str, job_id: str, location: str | None = None) -> Job:
        """A job, at work or of the past; raises 404."""
        job = self._under_way.get(f"{project}.{job_id}")
        if job is None:
            with self._db.cursor() as cursor:
                kept = database.get(cursor, "job", f"{project}.{job_id}")
            if kept is not None:
                job = Job(kept)
                job.done.set()
        if job is None or (location and location.lower() != job.reference["location"].lower()):
            raise not_found(f"Not found: Job {project}:{location + '.' if location else ''}{job_id}")
        return job

    def list(self, project: str) -> list[dict[str, Any]]:
        """The resources of the project's jobs, newest first."""
        with self._db.cursor() as cursor:
            kept = database.under(cursor, "job", f"{project}.")
        current = [self._under_way[key].resource if (key := _key(r)) in self._under_way else r for r in kept]
        return sorted(current, key=lambda r: (int(r["statistics"]["creationTime"]), r["id"]), reverse=True)

    def close(self) -> None:
        """Cancel what runs and wait for it."""
        for job in list(self._under_way.values()):
            job.cancel()
        self._pool.shutdown(cancel_futures=True)

    def _run(self, job: Job) -> None:
        job.resource["status"] = {"state": "RUNNING"}
        job.resource["statistics"]["startTime"] = now()
        try:
            self._work(job)
            job.resource["status"] = {"state": "DONE"}
        except Exception as error:  # whatever went wrong is the job's error: a client must see its end
            with self._db.transaction() as cursor:
                job.fail(cursor, _told(job, error))
        finally:
            if job.media:
                job.media.unlink(missing_ok=True)
            self._under_way.pop(job.key, None)
            job.done.set()

    def _fail_those_cut_off(self) -> None:
        """A job that the last stop cut off has changed nothing, and says so."""
        with self._db.transaction() as cursor:
            for resource in database.under(cursor, "job", ""):
                if resource["status"]["state"] != "DONE":
                    stopped = GoogleError(500, "backendError", "The emulator was stopped while the job ran.")
                    Job(resource).fail(cursor, stopped)


def now() -> str:
    """The time as it stands in statistics, in milliseconds."""
    return str(time.time_ns() // 1_000_000)


def _resource(project: str, reference: dict[str, Any], configuration: dict[str, Any]) -> dict[str, Any]:
    job_id = reference.get("jobId") or f"job_{secrets.token_urlsafe(18)}"
    if not re.fullmatch(r"[\w\-]{1,1024}", job_id, re.ASCII):
        raise invalid(f'Invalid job ID "{job_id}".')
    location = reference.get("location") or "US"
    kind = next(name for name in ("load", "query", "copy", "extract") if name in configuration)
    return {
        "kind": "bigquery#job",
        "id": f"{project}:{location}.{job_id}",
        "etag": secrets.token_urlsafe(12),
        "jobReference": {"projectId": project, "jobId": job_id, "location": location},
        "configuration": configuration | {"jobType": kind.upper()},
        "status": {"state": "PENDING"},
        "statistics": {"creationTime": now()},
        "user_email": f"throwaway@{project}.iam.gserviceaccount.com",
    }


def _key(resource: dict[str, Any]) -> str:
    return f"{resource['jobReference']['projectId']}.{resource['jobReference']['jobId']}"


def _told(job: Job, error: Exception) -> GoogleError:
    if job.cancelled:
        return GoogleError(400, "stopped", "Job execution was cancelled: User requested cancellation")
    if isinstance(error, GoogleError):
        return error
    return fault(error)

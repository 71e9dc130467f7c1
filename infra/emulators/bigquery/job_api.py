"""What the API does with jobs and the results of queries."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.emulators.bigquery import load, query, results, transfer
from infra.emulators.bigquery.database import Database
from infra.emulators.bigquery.jobs import Job, Jobs
from infra.emulators.bigquery.names import Table
from infra.emulators.bigquery.table_api import page
from infra.emulators.rest import GoogleError, invalid, not_found, only_known, unsupported

if TYPE_CHECKING:
    from infra.emulators.bigquery.app import Call

_CONFIGURATION = {"load", "query", "copy", "extract", "labels", "dryRun", "jobType"}
_JOB = {"configuration", "jobReference", "kind"}
_QUERY = {
    "query",
    "useLegacySql",
    "queryParameters",
    "parameterMode",
    "defaultDataset",
    "useQueryCache",
    "labels",
    "dryRun",
    "location",
    "maxResults",
    "timeoutMs",
    "requestId",
    "formatOptions",
    "jobCreationMode",
    "kind",
}
_OF_JOB = {"query", "useLegacySql", "queryParameters", "parameterMode", "defaultDataset", "useQueryCache"}
_KEPT = 24 * 3600  # seconds that results are kept, as long as Google keeps them; looked at when the emulator starts
_PATIENCE = 10.0  # seconds that a request for results waits where it does not say


class JobApi:
    """The methods `jobs.*`. Results of queries are files in the folder `kept`."""

    def __init__(self, db: Database, kept: Path) -> None:
        self._db, self._kept = db, kept
        kept.mkdir(exist_ok=True)
        for result in kept.iterdir():
            if time.time() - result.stat().st_mtime > _KEPT:
                result.unlink()
        self._jobs = Jobs(db, self._run)

    def admit(self, body: dict[str, Any], *, uploaded: bool = False) -> None:
        """Raise where a job asks for what cannot be done."""
        configuration = body.get("configuration") or {}
        only_known(body, _JOB, "a job")
        only_known(configuration, _CONFIGURATION, "a job's configuration")
        match [kind for kind in ("load", "query", "copy", "extract") if kind in configuration]:
            case ["load"]:
                load.admit(configuration["load"], uploaded)
            case ["query"]:
                query.admit(configuration["query"])
            case ["copy"]:
                transfer.admit_copy(configuration["copy"])
            case ["extract"]:
                transfer.admit_extract(configuration["extract"])
            case _:
                raise invalid("A job must have one configuration: load, query, copy or extract.")

    def insert(self, call: Call) -> dict[str, Any]:
        """jobs.insert, without data."""
        project, configuration = call.path["project"], call.body.get("configuration") or {}
        self.admit(call.body)
        if configuration.get("dryRun"):
            return self._dry(project, configuration)
        return _shown(self._jobs.start(project, call.body.get("jobReference") or {}, configuration))

    def load(self, project: str, body: dict[str, Any], media: Path) -> dict[str, Any]:
        """jobs.insert with data: the file `media` is the job's own, to delete at its end."""
        try:
            self.admit(body, uploaded=True)
            return _shown(self._jobs.start(project, body.get("jobReference") or {}, body["configuration"], media=media))
        except BaseException:
            media.unlink(missing_ok=True)
            raise

    def get(self, call: Call) -> dict[str, Any]:
        """jobs.get."""
        return _shown(self._job(call))

    def list(self, call: Call) -> dict[str, Any]:
        """jobs.list, newest first."""
        if call.query.get("parentJobId"):
            raise unsupported("children of a job")
        found = self._jobs.list(call.path["project"])
        if state := call.query.get("stateFilter"):
            found = [each for each in found if each["status"]["state"].lower() == state.lower()]
        earliest, latest = int(call.query.get("minCreationTime") or 0), int(call.query.get("maxCreationTime") or 2**62)
        found = [each for each in found if earliest <= int(each["statistics"]["creationTime"]) <= latest]
        return page(call, "jobs", [_listed(each) for each in found])

    def cancel(self, call: Call) -> dict[str, Any]:
        """jobs.cancel: asks, and does not wait."""
        job = self._job(call)
        job.cancel()
        return {"kind": "bigquery#jobCancelResponse", "job": _shown(job)}

    def query(self, call: Call) -> dict[str, Any]:
        """jobs.query: a query job, waited for. A request repeated under its requestId is answered by the same job."""
        body, project = call.body, call.path["project"]
        only_known(body, _QUERY, "a query")
        configuration: dict[str, Any] = {"query": {key: body[key] for key in _OF_JOB if key in body}}
        configuration |= {"labels": body["labels"]} if body.get("labels") else {}
        self.admit({"configuration": configuration})
        if body.get("dryRun"):
            told = self._dry(project, configuration)["statistics"]["query"]
            return {"kind": "bigquery#queryResponse", "jobComplete": True, "cacheHit": False} | told
        reference = {"location": body.get("location")}
        if body.get("requestId"):
            reference["jobId"] = f"request_{body['requestId']}"
        try:
            job = self._jobs.start(project, reference, configuration)
        except GoogleError as error:
            if error.reason != "duplicate":
                raise
            job = self._jobs.get(project, reference["jobId"])
        window = {
            "formatOptions.useInt64Timestamp": str(
                (body.get("formatOptions") or {}).get("useInt64Timestamp", "")
            ).lower()
        }
        window |= {key: str(body[key]) for key in ("maxResults", "timeoutMs") if body.get(key) is not None}
        return self._answer(job, window) | {"kind": "bigquery#queryResponse"}

    def results(self, call: Call) -> dict[str, Any]:
        """jobs.getQueryResults."""
        return self._answer(self._job(call), call.query) | {"kind": "bigquery#getQueryResultsResponse"}

    def close(self) -> None:
        """Cancel what runs and wait for it."""
        self._jobs.close()

    def _run(self, job: Job) -> None:
        match job.configuration["jobType"]:
            case "LOAD":
                load.run(self._db, job)
            case "QUERY":
                query.run(self._db, job, self._kept)
            case "COPY":
                transfer.run_copy(self._db, job)
            case "EXTRACT":
                transfer.run_extract(self._db, job)

    def _dry(self, project: str, configuration: dict[str, Any]) -> dict[str, Any]:
        if "query" not in configuration:
            raise unsupported("a dry run of anything but a query")
        told = query.dry_run(self._db, project, configuration["query"])
        return {
            "kind": "bigquery#job",
            "jobReference": {"projectId": project, "location": "US"},
            "configuration": configuration | {"jobType": "QUERY"},
            "status": {"state": "DONE"},
            "statistics": {"query": told},
        }

    def _job(self, call: Call) -> Job:
        return self._jobs.get(call.path["project"], call.path["job"], call.query.get("location"))

    def _answer(self, job: Job, window: dict[str, str]) -> dict[str, Any]:
        """The state of a query job and, once it is done, a page of its rows; raises its error where it failed."""
        answer: dict[str, Any] = {"jobReference": job.reference, "jobComplete": False}
        patience = float(window["timeoutMs"]) / 1000 if "timeoutMs" in window else _PATIENCE
        if not job.done.wait(patience):
            return answer
        if job.error:
            raise job.error
        told = job.resource["statistics"].get("query")
        if told is None:
            raise invalid(f"Job {job.resource['id']} is no query.")
        answer |= {"jobComplete": True, "cacheHit": False, "etag": job.resource["etag"]}
        answer |= {key: told[key] for key in ("numDmlAffectedRows", "dmlStats") if key in told}
        result = job.resource.get("_result")
        if result is None:
            return answer
        schema = {"fields": result["fields"]}
        return answer | {"schema": schema, "totalRows": str(result["rows"])} | self._page(result, window)

    def _page(self, result: dict[str, Any], window: dict[str, str]) -> dict[str, Any]:
        if "table" in result:
            table = Table.of(result["table"])
            with self._db.cursor() as cursor:
                return results.page_of_table(cursor, table.whole, None, result["fields"], window)
        path = self._kept / result["file"]
        if not path.exists():
            raise not_found("The results of the query are gone.")
        return results.page_of_file(path, result["fields"], window)


def _shown(job: Job) -> dict[str, Any]:
    """A job's resource as it is told, at this moment."""
    return {key: value for key, value in job.resource.items() if not key.startswith("_")}


def _listed(resource: dict[str, Any]) -> dict[str, Any]:
    error = resource["status"].get("errorResult")
    shown = {key: value for key, value in resource.items() if not key.startswith("_")}
    return shown | {"state": resource["status"]["state"]} | ({"errorResult": error} if error else {})

"""The API's methods for jobs and the results of queries."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from infra.emulators.bigquery import load_job, query_job, result_pages
from infra.emulators.bigquery.api_call import Call
from infra.emulators.bigquery.duckdb_file import Database
from infra.emulators.bigquery.job_queue import Job, Jobs
from infra.emulators.media import Digest
from infra.emulators.rest import invalid, not_found, only_known, unsupported

_OF_JOB = {"query", "useLegacySql", "queryParameters", "parameterMode", "defaultDataset", "useQueryCache"}
_OF_REQUEST = {"location", "maxResults", "timeoutMs", "requestId", "formatOptions", "jobCreationMode"}
_KEPT = 24 * 3600  # seconds that results are kept, as in BigQuery; older ones are deleted when the emulator starts
_WAIT = 10.0  # seconds that a request for results waits if it has no timeout


class JobApi:
    """The methods `jobs.*`. Results of queries are files in the folder `folder`."""

    def __init__(self, db: Database, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        for result in folder.iterdir():
            if time.time() - result.stat().st_mtime > _KEPT:
                result.unlink()

        def run(job: Job) -> None:
            if job.configuration["jobType"] == "LOAD":
                load_job.run(db, job)
            else:
                query_job.run(db, job, folder)

        self._jobs = Jobs(db, run)

    def insert(self, call: Call) -> dict[str, Any]:
        """jobs.insert, without data."""
        self._check(call.body)
        reference, configuration = call.body.get("jobReference") or {}, call.body["configuration"]
        return _public(self._jobs.start(call.path["project"], reference, configuration).resource)

    def prepare_load(self, request: Request, project: str, media_type: str, body: dict[str, Any]) -> dict[str, Any]:
        """Check the request of a load job with an uploaded file."""
        self._check(body, uploaded=True)
        return {"project": project, "body": body}

    async def load(self, about: dict[str, Any], media: Path, digest: Digest) -> dict[str, Any]:
        """jobs.insert with an uploaded file, which is deleted when the job ends."""
        project, body = about["project"], about["body"]
        reference = body.get("jobReference") or {}
        job = await run_in_threadpool(self._jobs.start, project, reference, body["configuration"], media)
        return _public(job.resource)

    def get(self, call: Call) -> dict[str, Any]:
        """jobs.get."""
        return _public(self._job(call).resource)

    def list(self, call: Call) -> dict[str, Any]:
        """jobs.list, newest first, in one page."""
        only_known(call.query, {"projection", "prettyPrint"}, "jobs.list")
        jobs = [_public(each) for each in self._jobs.list(call.path["project"])]
        return {"kind": "bigquery#jobList", "jobs": jobs}

    def query(self, call: Call) -> dict[str, Any]:
        """jobs.query: run a query job and wait."""
        body = call.body
        only_known(body, _OF_JOB | _OF_REQUEST, "jobs.query")
        configuration: dict[str, Any] = {"query": {key: body[key] for key in _OF_JOB if key in body}}
        self._check({"configuration": configuration})
        job = self._jobs.start(call.path["project"], {"location": body.get("location")}, configuration)
        options = {key: str(body[key]) for key in ("maxResults", "timeoutMs") if body.get(key) is not None}
        int_timestamps = (body.get("formatOptions") or {}).get("useInt64Timestamp", "")
        options["formatOptions.useInt64Timestamp"] = str(int_timestamps)
        return self._answer(job, options) | {"kind": "bigquery#queryResponse"}

    def results(self, call: Call) -> dict[str, Any]:
        """jobs.getQueryResults."""
        return self._answer(self._job(call), call.query) | {"kind": "bigquery#getQueryResultsResponse"}

    def close(self) -> None:
        """Cancel the running jobs and wait for their end."""
        self._jobs.close()

    def _check(self, body: dict[str, Any], *, uploaded: bool = False) -> None:
        """Raise 400 or 501 for a job that is wrong or not supported, before it is created."""
        configuration = body.get("configuration") or {}
        only_known(body, {"configuration", "jobReference"}, "a job")
        only_known(configuration, {"load", "query", "labels"}, "a job's configuration")
        if "load" in configuration:
            load_job.check(configuration["load"])
        if "query" in configuration:
            query_job.check(configuration["query"])
        if uploaded != ("load" in configuration) or uploaded == ("query" in configuration):
            raise unsupported("jobs.insert other than a query, or a load with an uploaded file")

    def _job(self, call: Call) -> Job:
        return self._jobs.get(call.path["project"], call.path["job"], call.query.get("location"))

    def _answer(self, job: Job, options: dict[str, str]) -> dict[str, Any]:
        """Return a query job's state and, once it is done, a page of its rows; raise the error of a failed job."""
        answer: dict[str, Any] = {"jobReference": job.reference, "jobComplete": False}
        if not job.done.wait(float(options["timeoutMs"]) / 1000 if "timeoutMs" in options else _WAIT):
            return answer
        if job.error:
            raise job.error
        statistics = job.resource["statistics"].get("query")
        if statistics is None:
            raise invalid(f"Job {job.resource['id']} is not a query.")
        answer |= {"jobComplete": True, "cacheHit": False, "etag": job.resource["etag"]}
        result = job.resource.get("_result")
        if result is None:
            return answer | {"numDmlAffectedRows": statistics["numDmlAffectedRows"]}
        path = self._folder / result["file"]
        if not path.exists():
            raise not_found("The results of the query have expired.")
        answer |= {"schema": {"fields": result["fields"]}, "totalRows": str(result["rows"])}
        return answer | result_pages.page_of_file(path, result["fields"], options)


def _public(resource: dict[str, Any]) -> dict[str, Any]:
    """Return a job's resource without the emulator's own keys, and with the keys that only a listing has."""
    shown = {key: value for key, value in resource.items() if not key.startswith("_")}
    error = resource["status"].get("errorResult")
    return shown | {"state": resource["status"]["state"]} | ({"errorResult": error} if error else {})

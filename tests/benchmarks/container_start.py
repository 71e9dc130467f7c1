"""From "run created" to "flow running in its container", image warm: the median of five, and where the time goes.

    python -m tests.benchmarks.container_start

Needs a Docker engine. Brings up a stack of its own and takes it down again. The moments are the server's (states, logs)
and the engine's (container), of one machine and so of one clock.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows.datasets.tlc import GREEN
from flows.datasets.tlc.generate import generate
from tests.docker.project import NAME, SOURCE, Project, until

RUNS = 5
TARGET_SECONDS = 8.0
MONTH = GREEN.partition(2021, 1)
MOMENTS = ("claimed by the agent", "container made", "container started", "run taken up in it", "flow running")


def measured(project: Project, source: str) -> dict[str, float]:
    """Seconds from the creation of one run to each moment."""
    deployment = project.call("GET", "/deployments/name/etl_web_to_postgres/docker")["id"]
    parameters = {"service": "green", "year": 2021, "month": 1, "source_url": source}
    run = project.call("POST", f"/deployments/{deployment}/create_flow_run", {"parameters": parameters})
    container = until(lambda: container_of(project, run["id"]), 120)
    [made] = json.loads(project.docker("inspect", container))
    states = until(lambda: running(project, run["id"]), 120, pause=0.05)
    ended = ("COMPLETED", "FAILED", "CRASHED")
    until(lambda: project.call("GET", f"/flow_runs/{run['id']}")["state"]["type"] in ended, 120)
    taken = until(lambda: first_log(project, run["id"], "pull step"), 30)
    started = json.loads(project.docker("inspect", container, check=False) or "[{}]")[0].get("State", made["State"])
    moments = (states["Pending"], made["Created"], started["StartedAt"], taken, states["Running"])
    created = moment(run["created"])
    return {name: (moment(when) - created).total_seconds() for name, when in zip(MOMENTS, moments, strict=True)}


def container_of(project: Project, run: str) -> str:
    """The run's container once it has started; else empty."""
    return project.docker("ps", "--quiet", "--no-trunc", f"--filter=label=io.prefect.flow-run-id={run}")


def running(project: Project, run: str) -> dict[str, str] | None:
    """When the run came to which state, once it is running."""
    states = project.call("GET", f"/flow_run_states/?flow_run_id={run}")
    seen = {state["name"]: state["timestamp"] for state in states}
    return seen if "Running" in seen else None


def first_log(project: Project, run: str, text: str) -> str | None:
    """When the run first logged the text."""
    body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 50}
    return next(
        (log["timestamp"] for log in project.call("POST", "/logs/filter", body) if text in log["message"]), None
    )


def moment(text: str) -> datetime:
    """A time as the server or the engine (in nanoseconds) writes it."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}+00:00")


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder), registry="")
        project.commit()
        project.module("infra.environment")
        project.module("infra.image", "build")
        months = Path(folder, "source")
        months.mkdir()
        generate(MONTH, months / f"{MONTH.stem}.parquet", rows=1000)
        try:
            project.module("infra.compose", "up")
            project.module("infra.deploy", "apply")
            serve = ("taxiway", "python", "-m", "http.server", "8000", "--directory", "/source")
            where = (f"--network={NAME}", f"--volume={months}:/source:ro", f"--name={SOURCE}")
            project.docker("run", "--detach", "--rm", *where, *serve)
            source = f"http://{SOURCE}:8000/" + "{service}_tripdata_{year}-{month:02}.parquet"
            with project.agent(Path(folder, "agent.log")):
                measured(project, source)  # warms the image's pages
                runs = [measured(project, source) for _ in range(RUNS)]
        finally:
            project.docker("rm", "--force", SOURCE, check=False)
            project.docker("compose", "--profile=*", "down", "--volumes")
            project.docker("image", "rm", "--force", project.image, check=False)
    show(runs)


def show(runs: list[dict[str, float]]) -> None:
    """The median of every moment, and of the time since the one before."""
    table = Table("seconds since the run was created", "median", "each run", "since the moment before (median)")
    before = dict.fromkeys(range(len(runs)), 0.0)
    for name in MOMENTS:
        at = [run[name] for run in runs]
        step = statistics.median(now - before[index] for index, now in enumerate(at))
        table.add_row(name, f"{statistics.median(at):.1f}", "  ".join(f"{one:.1f}" for one in at), f"{step:.1f}")
        before = dict(enumerate(at))
    console = Console(width=120)
    console.print(table)
    median = statistics.median(run[MOMENTS[-1]] for run in runs)
    verdict = "within" if median <= TARGET_SECONDS else "over"
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    console.print(f"{median:.1f} s, {verdict} the target of {TARGET_SECONDS:.0f} s; load per processor {load:.1f}")


if __name__ == "__main__":
    main()

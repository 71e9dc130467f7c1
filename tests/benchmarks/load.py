"""`make bench`: a month loaded our way and the usual way, in turn, as whole processes: time, memory, ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from flows.datasets.tlc.generate import generate
from infra.local import embedded_postgres as postgres
from infra.local.processes import free_port, spawn, stop, wait_healthy
from infra.settings import ROOT
from tests.benchmarks.our_way import MONTH

# For each job the ways to do it: a name, its module and options. The first is what the others are held against.
WAYS = {
    "postgres": {
        "usual, psycopg2": ("usual_way", "psycopg2"),
        "usual, psycopg 3": ("usual_way", "psycopg3"),
        "ours": ("our_way",),
    },
    "parquet": {"usual": ("usual_way",), "ours": ("our_way",)},
}


@dataclass(frozen=True)
class Cost:
    """What one process cost: wall and CPU seconds, peak resident memory in MB."""

    wall: float
    cpu: float
    peak: float


def measure(way: str, what: str, *arguments: str) -> Cost:
    """Run one way of one job as a process and take the system's own account of it."""
    began = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", f"tests.benchmarks.{way}", what, *arguments], cwd=ROOT)
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"taxiway: {way} {what} failed")
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def median(costs: list[Cost]) -> Cost:
    """The median of each figure by itself."""
    return Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in ("wall", "cpu", "peak")))


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """An embedded PostgreSQL of its own in the folder. Gives its URL."""
    data, port, log = folder / "postgres", free_port(), folder / "postgres.log"
    postgres.make_cluster(data)
    command = postgres.server_command(data, port)
    server = spawn("postgres", command, log, env=os.environ, cwd=ROOT, **postgres.spawn_options(data))
    try:
        url = postgres.url(data, port, "postgres")
        wait_healthy(server, log, lambda: postgres.answers(url), seconds=30)
        yield url
    finally:
        stop(server)


def main(
    rows: Annotated[int, typer.Option(help="rows of the generated yellow month")] = 1_369_765,
    runs: Annotated[int, typer.Option(help="runs of each way, in turn")] = 3,
) -> None:
    """Measure, and print one table."""
    table = Table("csv.gz to", "way", "wall s", "CPU s", "peak MB", "times faster", title=f"{rows:,} rows, {runs} runs")
    with tempfile.TemporaryDirectory(prefix="taxiway-bench-") as directory, database(Path(directory)) as url:
        file = generate(MONTH, Path(directory, f"{MONTH.stem}.csv.gz"), rows=rows, seed=1)
        for what, to in (("postgres", url), ("parquet", str(Path(directory, "out.parquet")))):
            costs: dict[str, list[Cost]] = {name: [] for name in WAYS[what]}
            for _ in range(runs):
                for name, (way, *options) in WAYS[what].items():
                    costs[name].append(measure(way, what, str(file), to, *options))
            middle = {name: median(measured) for name, measured in costs.items()}
            usual = next(iter(middle.values())).wall
            for name, cost in middle.items():
                figures = (f"{cost.wall:.1f}", f"{cost.cpu:.1f}", f"{cost.peak:.0f}", f"{usual / cost.wall:.1f}")
                table.add_row(what, name, *figures)
    Console(width=100).print(table)


if __name__ == "__main__":
    typer.run(main)

"""`make bench`: a month loaded our way and the usual way, in turn, as whole processes: time, memory, ratios."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from flows.trips.generate import generate
from infra import postgres
from infra.processes import free_port, spawn, stop, wait_healthy
from infra.settings import ROOT
from tests.benchmarks.our_way import MONTH

WAYS = ("usual_way", "our_way")


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


def main(
    rows: Annotated[int, typer.Option(help="rows of the generated yellow month")] = 1_369_765,
    runs: Annotated[int, typer.Option(help="runs of each way, in turn")] = 3,
) -> None:
    """Measure, and print one table."""
    table = Table("csv.gz to", "way", "wall s", "CPU s", "peak MB", "times faster", title=f"{rows:,} rows, {runs} runs")
    with tempfile.TemporaryDirectory(prefix="taxiway-bench-") as directory:
        folder = Path(directory)
        file = generate(MONTH, folder / f"{MONTH.stem}.csv.gz", rows=rows, seed=1)
        data, port = folder / "postgres", free_port()
        postgres.make_cluster(data)
        log = folder / "postgres.log"
        server = spawn("postgres", postgres.server_command(data, port), log, env=os.environ, cwd=ROOT,
                       **postgres.spawn_options(data))  # fmt: skip
        try:
            url = postgres.url(data, port, "postgres")
            wait_healthy(server, log, lambda: postgres.answers(url), seconds=30)
            for what, to in (("postgres", url), ("parquet", str(folder / "out.parquet"))):
                costs: dict[str, list[Cost]] = {way: [] for way in WAYS}
                for _ in range(runs):
                    for way in WAYS:
                        costs[way].append(measure(way, what, str(file), to))
                middle = {way: median(costs[way]) for way in WAYS}
                for way, cost in middle.items():
                    ratio = f"{middle['usual_way'].wall / cost.wall:.1f}"
                    table.add_row(what, way, f"{cost.wall:.1f}", f"{cost.cpu:.1f}", f"{cost.peak:.0f}", ratio)
        finally:
            stop(server)
    Console(width=100).print(table)


if __name__ == "__main__":
    typer.run(main)

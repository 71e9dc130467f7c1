"""`make demo`: all pipelines on this machine, on the embedded stack, which is stopped at the end.

Some months go from the web to the bucket, from there to BigQuery, and from the web to Postgres. The runs are created
through the API, as the UI does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from flows.datasets.dataset import Partition
from flows.datasets.registry import named
from flows.datasets.tlc.generate import generate
from flows.errors import Forbidden, TaxiwayError
from flows.reading.address import require_public
from flows.reading.download import probe
from flows.reading.retry import RetryPolicy
from infra.local.embedded_postgres import PostgresUnavailable
from infra.local.processes import NotHealthy
from infra.local.stack import AlreadyUp, Stack
from infra.months import months_of
from infra.settings import settings

# A log has no terminal width.
console = Console(width=None if sys.stdout.isatty() else 110)

# One short attempt to reach TLC's address: without a network the demo must not hang.
BRIEFLY = RetryPolicy(attempts=1, connect_timeout=3.0, read_timeout=5.0, total_timeout=8.0)

# Rows of a generated month whose published row count is not known: about those of a green month.
GENERATED_ROWS = 75_000


class DemoFailed(Exception):
    """The demo failed; the message is one line."""


def main(
    service: Annotated[str, typer.Option(help="yellow or green")] = "green",
    year: Annotated[int, typer.Option(help="year of the files")] = 2021,
    months: Annotated[str, typer.Option(help="months of the year, such as 1,2,3")] = "1,2,3",
    source_url: Annotated[str, typer.Option(help="URL template; default: TLC, else generated months")] = "",
    keep: Annotated[bool, typer.Option("--keep", help="leave the stack and its UI running")] = False,
) -> None:
    """Run all pipelines, print what they loaded, stop everything."""
    # Both signals as Ctrl-C, on which asyncio stops cleanly. A shell starts background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    started = time.monotonic()
    try:
        demo(partitions_of(service, year, months), source_url, keep=keep)
    except (DemoFailed, TaxiwayError, NotHealthy, PostgresUnavailable, AlreadyUp) as error:
        console.print(f"taxiway: {error}", style="red", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("taxiway: stopped; nothing is left running")
        sys.exit(130)
    console.print(f"taxiway: demo done in {time.monotonic() - started:.0f} s", style="bold green")


def partitions_of(service: str, year: int, months: str) -> list[Partition]:
    """The partitions of these months. Raises DemoFailed for an unknown dataset, year or month."""
    if service not in ("yellow", "green"):
        raise DemoFailed(f"SERVICE={service}: the demo supports yellow and green")
    if not 2009 <= year <= 2100:
        raise DemoFailed(f"YEAR={year}: TLC's files start in 2009")
    try:
        return [named(service).partition(year, month) for month in months_of(months)]
    except ValueError as error:
        raise DemoFailed(f"MONTHS={months}: {error}") from None


def demo(months: list[Partition], template: str, *, keep: bool) -> None:
    """Start the stack, load the months into all three stores, report. Stop the stack unless `keep` is set."""
    config = settings()
    stack = Stack(config.state_dir, config, keep=keep)
    with ExitStack() as cleanup:
        source = cleanup.enter_context(reachable_source(template, months, config.state_dir))
        with console.status("starting PostgreSQL, the Prefect server and the Google emulators"):
            stack.up()
        cleanup.callback(stack.down)
        console.print(f"stack is up: {stack.ui_url}")
        os.environ.update(stack.operator_environment)
        from demo import runs as demo_runs  # Prefect reads its settings when it is first imported

        with console.status("saving the blocks, applying the deployments"):
            demo_runs.prepare(stack)
        run_all(demo_runs, months, source)
        show(demo_runs.report(months), config.state_dir / "report")
        if keep:
            cleanup.pop_all()
            console.print(f"taxiway: the stack is kept: {stack.ui_url} (make down stops it)", highlight=False)


@contextmanager
def reachable_source(template: str, months: list[Partition], state: Path) -> Iterator[str]:
    """The URL template to load from: the given one, else TLC's, else one of generated months served on loopback.

    Empty if the setting has a template, which may contain a password: the runs read it themselves.
    """
    if template:
        try:
            require_public(template)
        except ValueError as error:
            raise DemoFailed(f"SOURCE_URL {error}") from None
        try:
            months[0].url(template)
        except ValueError as error:
            raise DemoFailed(str(error)) from None
        yield template
    elif settings().source_url:
        yield ""
    elif published_source_answers(months[0]):
        yield months[0].dataset.source
    else:
        folder = state / "generated"
        folder.mkdir(parents=True, exist_ok=True)
        for month in months:
            file = folder / f"{month.stem}.parquet"
            if not file.exists():
                generate(month, file, rows=month.published_rows or GENERATED_ROWS, seed=0)
        with served(folder) as address:
            yield f"{address}/{{service}}_tripdata_{{year}}-{{month:02}}.parquet"


def published_source_answers(month: Partition) -> bool:
    """Whether TLC's address can be reached. It may refuse the month: the runs then report that."""
    try:
        probe(month.url(month.dataset.source), policy=BRIEFLY)
    except Forbidden:
        return True
    except TaxiwayError as error:
        console.print(f"TLC's address cannot be reached ({error.reason}): using generated months", soft_wrap=True)
        return False
    return True


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP on loopback. Yields its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def run_all(demo_runs: ModuleType, months: list[Partition], source: str) -> None:
    """Run the three pipelines and show their progress. Raises DemoFailed with the run's message if one fails."""
    columns = (SpinnerColumn(), TextColumn("{task.description:<22}"), BarColumn(), TextColumn("{task.fields[state]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        for together in demo_runs.ROUNDS:
            runs = {pipeline: demo_runs.start(pipeline, months, source) for pipeline in together}
            bars = {pipeline: progress.add_task(pipeline, total=len(months), state="") for pipeline in runs}
            while runs:
                time.sleep(0.3)
                for pipeline, run in list(runs.items()):
                    done, state = demo_runs.progress(run)
                    progress.update(bars[pipeline], completed=done, state=state.name)
                    if state.is_final():
                        del runs[pipeline]
                        if not state.is_completed():
                            raise DemoFailed(f"{pipeline} ended {state.name}: {state.message}")


def show(summary: list[dict[str, Any]], folder: Path) -> None:
    """Print one table of everything that was loaded, and where the report is."""
    table = Table(title="rows read = loaded + rejected", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("store", "service", "month"):
        table.add_column(name)
    for name in ("rows read", "loaded", "rejected", "MB", "s", "rows/s"):
        table.add_column(name, justify="right")
    for row in summary:
        counts = (f"{row[name]:,}" for name in ("rows_read", "rows_loaded", "rows_rejected"))
        megabytes, seconds = f"{row['bytes'] / 1e6:.1f}", f"{row['seconds']:.1f}"
        table.add_row(
            row["store"], row["service"], row["month"], *counts, megabytes, seconds, f"{row['rows_per_second']:,}"
        )
    console.print(table)
    console.print(f"report: {folder / 'report.html'} and {folder / 'summary.json'}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)

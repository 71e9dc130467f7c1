"""A report of loads: `summary.json`, and `report.html` with inline SVG, which loads nothing from the network."""

from __future__ import annotations

import html
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import sqlalchemy

from flows.datasets.dataset import Partition
from flows.stores.ledger import LedgerEntry

WIDTH, HEIGHT = 720, 190  # of a plot, in SVG units
HEAD, FOOT = 18, 22  # the space for the labels over and under the bars


@dataclass(frozen=True)
class Loaded:
    """A store's name and its ledger entry of one partition."""

    store: str
    entry: LedgerEntry

    @property
    def seconds(self) -> float:
        """From the start of the download to the end of the load."""
        return (self.entry.finished - self.entry.started).total_seconds()

    def summary(self) -> dict[str, object]:
        """The row of `summary.json`."""
        entry = self.entry
        return {
            "store": self.store,
            "service": entry.partition.dataset.name,
            "month": entry.partition.key,
            "rows_read": entry.rows_read,
            "rows_loaded": entry.rows_loaded,
            "rows_rejected": entry.rows_rejected,
            "bytes": entry.bytes,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(entry.rows_read / self.seconds),
        }


@dataclass(frozen=True)
class Profile:
    """Trips by day (all days of the months), and by hour of the day."""

    by_day: pd.Series
    by_hour: pd.Series


def profile(postgres_url: str, months: Sequence[Partition]) -> Profile:
    """Count the trips in Postgres by their pickup times, without pickups outside the months."""
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(postgres_url))
    query = sqlalchemy.text(
        f"SELECT date_trunc('hour', pickup_datetime) AS hour, count(*) AS trips FROM {months[0].dataset.table} "
        "WHERE source_month = ANY(:months) GROUP BY 1"
    )
    with engine.connect() as connection:
        hours = pd.read_sql(query, connection, params={"months": [month.first_day for month in months]})
    engine.dispose()
    hours["hour"] = pd.to_datetime(hours["hour"])
    trips = hours.set_index("hour")["trips"]
    days = pd.DatetimeIndex(
        [day for month in sorted(months) for day in pd.date_range(month.start, month.next.start, inclusive="left")]
    )
    by_day = trips.groupby(trips.index.normalize()).sum().reindex(days, fill_value=0)
    inside = trips[trips.index.normalize().isin(days)]
    return Profile(by_day, inside.groupby(inside.index.hour).sum().reindex(range(24), fill_value=0))


def write_summary(path: Path, loaded: Sequence[Loaded]) -> None:
    """Write the rows as a JSON list of objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.summary() for row in loaded], indent=1) + "\n")


def write_page(path: Path, title: str, loaded: Sequence[Loaded], times: Profile | None) -> None:
    """Write the page: what was loaded, the trips' times (if there are any), and why rows were rejected."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sections = [
        ("Partitions", partitions_table(loaded)),
        *(plots(times) if times else []),
        ("Rejected rows by reason", reasons(loaded)),
        ("Checks", checks_table(loaded)),
    ]
    body = "".join(f"<section><h2>{heading}</h2>{content}</section>" for heading, content in sections)
    path.write_text(PAGE.format(title=html.escape(title), body=body))


def plots(times: Profile) -> list[tuple[str, str]]:
    """The headings and the plots of the trips' times."""
    days = {f"{day:%b %-d}": int(trips) for day, trips in times.by_day.items()}
    hours = {f"{hour}": int(trips) for hour, trips in times.by_hour.items()}
    return [
        ("Trips per day, in Postgres", bars(days, every=7)),
        ("Pickups by hour of the day", bars(hours, every=1)),
    ]


def bars(values: Mapping[str, int], *, every: int) -> str:
    """A bar for each value as inline SVG; a label under every `every`th, and the value itself as a tooltip."""
    top, step, floor = max([*values.values(), 1]), WIDTH / max(len(values), 1), HEIGHT - FOOT
    marks = [f'<text x="{WIDTH}" y="10" text-anchor="end">most: {top:,}</text>']
    for position, (label, value) in enumerate(values.items()):
        height, x = (floor - HEAD) * value / top, position * step
        marks.append(
            f'<rect x="{x:.1f}" y="{floor - height:.1f}" width="{step * 0.8:.1f}" height="{height:.1f}">'
            f"<title>{html.escape(label)}: {value:,}</title></rect>"
        )
        if position % every == 0:
            marks.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}">{html.escape(label)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(marks)}</svg>'


def reasons(loaded: Sequence[Loaded]) -> str:
    """Rejected rows by store and reason, the most frequent first, as horizontal bars."""
    total: Counter[str] = Counter()
    for row in loaded:
        total.update({f"{row.store}: {reason}": count for reason, count in row.entry.reasons.items()})
    if not total:
        return "<p>No row was rejected.</p>"
    line, most, marks = 22, max(total.values()), []
    for position, (label, count) in enumerate(total.most_common()):
        y, width = position * line, (WIDTH - 340) * count / most
        marks.append(f'<text x="0" y="{y + 14}">{html.escape(label)}</text>')
        marks.append(f'<rect x="260" y="{y + 4}" width="{width:.1f}" height="{line - 8}"/>')
        marks.append(f'<text x="{266 + width:.1f}" y="{y + 14}">{count:,}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {line * len(total)}" role="img">{"".join(marks)}</svg>'


def partitions_table(loaded: Sequence[Loaded]) -> str:
    """Rows read, loaded and rejected, for each partition in each store."""
    head = ("store", "service", "month", "rows read", "loaded", "rejected", "MB", "s", "rows/s")
    return table(head, [cells(row) for row in loaded])


def cells(row: Loaded) -> list[str]:
    """A partition in a store as text, in the order of the table's head."""
    entry, summary = row.entry, row.summary()
    counts = [f"{number:,}" for number in (entry.rows_read, entry.rows_loaded, entry.rows_rejected)]
    speed = [f"{entry.bytes / 1e6:.1f}", f"{row.seconds:.1f}", f"{summary['rows_per_second']:,}"]
    return [row.store, entry.partition.dataset.name, entry.partition.key, *counts, *speed]


def checks_table(loaded: Sequence[Loaded]) -> str:
    """One row per check: its worst value, the partition that has it, and the partitions that failed the check."""
    found: dict[str, list[tuple[dict[str, Any], str]]] = defaultdict(list)
    for row in loaded:
        for check in row.entry.checks:
            found[check["name"]].append((check, f"{row.store} {row.entry.partition.key}"))
    rows = [check_cells(name, results) for name, results in found.items()]
    head = ("check", "limit", "worst", "where", "passed", "not passed")
    return table(head, rows) if rows else "<p>None.</p>"


def check_cells(name: str, results: Sequence[tuple[dict[str, Any], str]]) -> list[str]:
    """A check's row as text, in the order of the table's head; its values are shares."""
    worst, where = max(results, key=lambda result: result[0]["value"])
    failed = [f"<b>{check['action']}: {place}</b>" for check, place in results if not check["passed"]]
    passed = f"{len(results) - len(failed)} of {len(results)}"
    return [html.escape(name), f"{worst['limit']:.2%}", f"{worst['value']:.2%}", where, passed, "<br>".join(failed)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table."""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{body}</table>"


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --bar: #d9a400; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 780px; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; }} h2 {{ font-size: 1.05rem; margin: 2rem 0 .5rem; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
td, th {{ padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #8884; }}
td:first-child, th:first-child {{ text-align: left; }}
svg {{ width: 100%; height: auto; overflow: visible; }}
svg rect {{ fill: var(--bar); }} svg text {{ font-size: 10px; fill: currentColor; }}
</style>
<h1>{title}</h1>{body}
</html>
"""

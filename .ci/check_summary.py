"""Check a demo's summary: each store accounts for every row of each month, and the published count is what was read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flows.datasets.registry import named
from infra.months import months_of

STORES = {"bucket", "bigquery", "postgres"}


def main(summary: str, service: str, year: str, months: str) -> None:
    """Exit with one line for the first thing that is wrong."""
    rows = json.loads(Path(summary).read_text())
    expected = [named(service).partition(int(year), month) for month in months_of(months)]
    if {(row["store"], row["month"]) for row in rows} != {(store, month.key) for store in STORES for month in expected}:
        sys.exit(f"{summary}: not the months and stores that were asked for")
    published = {month.key: month.published_rows for month in expected}
    for row in rows:
        name = f"{row['store']} {row['month']}"
        if row["rows_read"] != row["rows_loaded"] + row["rows_rejected"]:
            sys.exit(f"{name}: {row['rows_read']} rows read, but {row['rows_loaded']} + {row['rows_rejected']}")
        if row["rows_read"] != published[row["month"]]:
            sys.exit(f"{name}: {row['rows_read']} rows read, but TLC published {published[row['month']]}")
    print(f"{len(rows)} loads account for every published row: {published}")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The checks of every month of trips, and their limits.

The limits are above what real files have: in 20 complete green months of 2013 to 2025 and in samples of yellow ones,
there was no duplicate row, and at most 0.09% of pickups outside the month (green 2025-01), 1.9% of negative totals
(yellow 2025-02), 0.1% of distances beyond 200 miles (green 2022-01), 47% of rows without a passenger count (green
2021-01).
"""

from __future__ import annotations

import pyarrow.compute as pc

from flows.datasets.quality_check import (
    difference_from_published,
    duplicate_rows,
    matching_rows,
    missing_of_published,
    nulls,
    outside_partition,
    rejected_rows,
)

SAMPLE_ROWS = 5_000
"""TLC's smallest known month has 7,623 rows."""

FAR = 200.0
"""Miles; no taxi trip of New York is longer."""

CHECKS = (
    # TLC's older CSV files have up to 0.4% (yellow), once 9.4% (green 2019-04) fewer rows than the parquet files.
    difference_from_published("rows_off_published", warn=0.005),
    missing_of_published("rows_short_of_published", block=0.2),
    # Zero passengers, which Postgres rejects, are 1 to 3% of a month. If half is rejected, the layout was misread:
    # such a file must not replace a good month, even if it is a sample.
    rejected_rows("rows_rejected", warn=0.1, block=0.5, always=True),
    matching_rows(
        "pickups_outside_month", "pickup_datetime", outside_partition, "begin outside the month", warn=0.002, block=0.5
    ),
    matching_rows(
        "negative_totals",
        "total_amount",
        lambda values, start, end: pc.less(values, 0.0),
        "have a negative total",
        warn=0.03,
        block=0.5,
    ),
    matching_rows(
        "distances_beyond_200_miles",
        "trip_distance",
        lambda values, start, end: pc.greater(values, FAR),
        "are longer than 200 miles",
        warn=0.002,
        block=0.5,
    ),
    # In a file with its month twice, the share is a half.
    duplicate_rows("duplicate_rows", warn=0.0001, block=0.4),
    nulls("passenger_count", warn=0.6),
    nulls("dropoff_datetime", warn=0.05),
    nulls("trip_distance", warn=0.01, block=0.5),
    nulls("total_amount", warn=0.01, block=0.5),
)

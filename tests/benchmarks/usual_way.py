"""The usual way, as the course's ingestion scripts do it: what the pipelines are measured against."""

from __future__ import annotations

import sys

import pandas as pd
import sqlalchemy

CHUNK = 100_000
TIMES = ["tpep_pickup_datetime", "tpep_dropoff_datetime"]


def csv_to_postgres(file: str, url: str, driver: str) -> None:
    """pandas in chunks of 100,000 rows and `to_sql`, rows with zero passengers left out.

    The driver is psycopg2, which is the course's, or psycopg3, its successor.
    """
    dialect = f"postgresql+{driver.removesuffix('3')}://"
    engine = sqlalchemy.create_engine(url.replace("postgresql://", dialect, 1))
    for number, chunk in enumerate(pd.read_csv(file, chunksize=CHUNK, parse_dates=TIMES, low_memory=False)):
        kept = chunk[chunk["passenger_count"] != 0]
        kept.to_sql("yellow_taxi_trips", engine, if_exists="append" if number else "replace", index=False)


def csv_to_parquet(file: str, out: str) -> None:
    """The whole month as one frame, written with gzip."""
    frame = pd.read_csv(file, parse_dates=TIMES, low_memory=False)
    frame.to_parquet(out, compression="gzip")


if __name__ == "__main__":
    {"postgres": csv_to_postgres, "parquet": csv_to_parquet}[sys.argv[1]](*sys.argv[2:])

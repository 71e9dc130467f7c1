"""The names, order and types of the columns of TLC's files, by month, as seen in the published files.

Parquet from 2011 (yellow) or the service's first month on; CSV as from 2019 on. The first month with a value in fhvhv's
airport_fee is a guess (2021-03).
"""

from __future__ import annotations

import pyarrow as pa

from flows.datasets.dataset import Partition
from flows.datasets.tlc import FHV, FHVHV, GREEN, YELLOW

_ZONES = ["PULocationID", "DOLocationID"]
_MONEY = ["fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount"]
_CODES = {"passenger_count", "RatecodeID", "trip_type", "payment_type"}
_WHOLE = {"VendorID", "trip_time", *_ZONES}
_TEXT = {
    "store_and_fwd_flag",
    "request_source",
    "hvfhs_license_num",
    "dispatching_base_num",
    "originating_base_num",
    "Affiliated_base_number",
}

_ORDER = {
    YELLOW: [
        *["VendorID", "tpep_pickup_datetime", "tpep_dropoff_datetime", "passenger_count", "trip_distance"],
        *["RatecodeID", "store_and_fwd_flag", *_ZONES, "payment_type", *_MONEY],
        *["improvement_surcharge", "total_amount", "congestion_surcharge"],
    ],
    GREEN: [
        *["VendorID", "lpep_pickup_datetime", "lpep_dropoff_datetime", "store_and_fwd_flag", "RatecodeID", *_ZONES],
        *["passenger_count", "trip_distance", *_MONEY, "ehail_fee", "improvement_surcharge", "total_amount"],
        *["payment_type", "trip_type", "congestion_surcharge"],
    ],
    FHV: [
        *["dispatching_base_num", "pickup_datetime", "dropOff_datetime", "PUlocationID", "DOlocationID"],
        *["SR_Flag", "Affiliated_base_number"],
    ],
    FHVHV: [
        *["hvfhs_license_num", "dispatching_base_num", "originating_base_num", "request_datetime"],
        *["on_scene_datetime", "pickup_datetime", "dropoff_datetime", *_ZONES, "trip_miles", "trip_time"],
        *["base_passenger_fare", "tolls", "bcf", "sales_tax", "congestion_surcharge", "airport_fee", "tips"],
        *["driver_pay", "shared_request_flag", "shared_match_flag", "access_a_ride_flag", "wav_request_flag"],
        "wav_match_flag",
    ],
}

_HIRE_CSV = ["dispatching_base_num", "pickup_datetime", "dropoff_datetime", *_ZONES, "SR_Flag"]
_CSV_ORDER = _ORDER | {FHV: _HIRE_CSV, FHVHV: ["hvfhs_license_num", *_HIRE_CSV]}


def layout(month: Partition, *, csv: bool) -> pa.Schema:
    """The schema of a month's file; for CSV, the types before they are written as text.

    Raises ValueError if the layout of that month is not supported.
    """
    if csv and month.start.year < 2019:
        raise ValueError(f"{month}: a generated csv has the layout of 2019 on; take .parquet")
    if month.start.year < 2011:
        raise ValueError(f"{month}: generated yellow months begin in 2011")
    if csv:
        return pa.schema([(name, _csv_type(name)) for name in _CSV_ORDER[month.dataset]])
    return pa.schema([(name, _parquet_type(name, month)) for name in _parquet_order(month)])


def _csv_type(name: str) -> pa.DataType:
    if "datetime" in name:
        return pa.timestamp("s")
    if name in _WHOLE | _CODES:
        return pa.int64()
    if name in ("ehail_fee", "SR_Flag"):
        return pa.null()
    return pa.string() if _is_text(name) else pa.float64()


def _parquet_order(month: Partition) -> list[str]:
    when, names = (month.start.year, month.start.month), list(_ORDER[month.dataset])
    if month.dataset is YELLOW:
        names.append("Airport_fee" if when >= (2023, 2) else "airport_fee")
    if month.dataset is not FHV and when >= (2025, 1):
        names.append("cbd_congestion_fee")
    if month.dataset in (YELLOW, GREEN) and when >= (2026, 6):
        names.append("request_source")
    return names


def _parquet_type(name: str, month: Partition) -> pa.DataType:
    new = (month.start.year, month.start.month) >= (2023, 2)  # TLC's writer changed its types with this month
    if "datetime" in name:
        return pa.timestamp("us")
    if name in _valueless(month):
        return pa.null()
    if _is_text(name):
        return pa.large_string() if new else pa.string()
    if name in _WHOLE:
        return pa.int32() if new and name != "trip_time" else pa.int64()
    if name in _CODES and (new or (name == "payment_type" and month.dataset is YELLOW)):
        return pa.int64()
    return pa.float64()


def _is_text(name: str) -> bool:
    return name in _TEXT or name.endswith(("request_flag", "match_flag", "ride_flag"))


def _valueless(month: Partition) -> set[str]:
    """The columns without a value in a month, which have no type in TLC's files."""
    when, names = (month.start.year, month.start.month), set()
    if when < (2019, 1):
        names.add("congestion_surcharge")
    if month.dataset is YELLOW and (when <= (2020, 7) or when == (2020, 10)):
        names.add("airport_fee")
    if month.dataset is FHVHV and when < (2021, 3):
        names.add("airport_fee")
    if (2019, 9) <= when <= (2023, 1):
        names.add("ehail_fee")
    if when >= (2019, 3):
        names.add("SR_Flag")
    return names

"""Copies of the records from other publishers, with other names, types and words."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

import pyarrow as pa
import pytest

from flows.datasets.dataset import Dataset
from flows.datasets.tlc import FHV, GREEN, YELLOW
from tests.reading import cleaned_table, cleaned_text

PICKUP, DROPOFF = dt.datetime(2021, 1, 2, 3, 4, 5), dt.datetime(2021, 1, 2, 3, 14, 5)
FARE = {
    "fare_amount": 10.0, "extra": 0.5, "mta_tax": 0.5, "tip_amount": 2.0, "tolls_amount": 0.0,
    "improvement_surcharge": 0.3, "total_amount": 13.3,
}  # fmt: skip
ZONES = {"pickup_location_id": 142, "dropoff_location_id": 239}
TRIP = {
    "vendor_id": 1, "pickup_datetime": PICKUP, "dropoff_datetime": DROPOFF, "passenger_count": 1, "trip_distance": 2.5,
    "rate_code_id": 1, "store_and_fwd_flag": "N", "payment_type": 2,
}  # fmt: skip


class Copy(NamedTuple):
    """One row of a copy, and the expected values."""

    service: Dataset
    row: dict[str, str]
    trip: dict[str, object]
    extra: dict[str, str]


def row(names: str, values: str) -> dict[str, str]:
    return dict(zip(names.split(","), values.split(","), strict=True))


BIGQUERY = row(
    "vendor_id,pickup_datetime,dropoff_datetime,passenger_count,trip_distance,rate_code,store_and_fwd_flag,"
    "payment_type,fare_amount,extra,mta_tax,tip_amount,tolls_amount,imp_surcharge,airport_fee,total_amount,"
    "pickup_location_id,dropoff_location_id,data_file_year,data_file_month",
    "1,2021-01-02 03:04:05 UTC,2021-01-02 03:14:05 UTC,1,2.5,1.0,N,2,10,0.5,0.5,2,0,0.3,1.25,13.3,142,239,2021,1",
)
OF_BIGQUERY = {**TRIP, **FARE, **ZONES, "airport_fee": 1.25}

COPIES = {
    "BigQuery, yellow": Copy(
        YELLOW, BIGQUERY, OF_BIGQUERY, {"data_file_year": "2021", "data_file_month": "1"}
    ),
    "BigQuery, green": Copy(
        GREEN,
        row(
            "vendor_id,pickup_datetime,dropoff_datetime,store_and_fwd_flag,rate_code,passenger_count,trip_distance,"
            "fare_amount,extra,mta_tax,tip_amount,tolls_amount,ehail_fee,airport_fee,total_amount,payment_type,"
            "distance_between_service,time_between_service,trip_type,imp_surcharge,pickup_location_id,"
            "dropoff_location_id,data_file_year,data_file_month",
            "1,2021-01-02 03:04:05 UTC,2021-01-02 03:14:05 UTC,N,1.0,1,2.5,10,0.5,0.5,2,0,,,13.3,2.0,0,0,1.0,0.3,142,"
            "239,2021,1",
        ),
        {**TRIP, **FARE, **ZONES, "trip_type": 1},
        {"distance_between_service": "0", "time_between_service": "0", "data_file_year": "2021",
         "data_file_month": "1"},
    ),
    "BigQuery, fhv": Copy(
        FHV,
        row("location_id,pickup_datetime,dispatching_base_num,borough", "142,2021-01-02 03:04:05 UTC,B02510,Queens"),
        {"pickup_datetime": PICKUP, "pickup_location_id": 142, "dispatching_base_num": "B02510"},
        {"borough": "Queens"},
    ),
    "NYC Open Data, its API": Copy(
        YELLOW,
        row(
            "vendorid,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,ratecodeid,"
            "store_and_fwd_flag,pulocationid,dolocationid,payment_type,fare_amount,extra,mta_tax,tip_amount,"
            "tolls_amount,improvement_surcharge,total_amount",
            "1,2021-01-02T03:04:05.000,2021-01-02T03:14:05.000,1,2.5,1,N,142,239,2,10,0.5,0.5,2,0,0.3,13.3",
        ),
        {**TRIP, **FARE, **ZONES},
        {},
    ),
    "NYC Open Data, its download": Copy(
        YELLOW,
        row(
            "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,store_and_fwd_flag,total_amount",
            "1,01/02/2021 03:04:05 AM,01/02/2021 03:14:05 AM,N,13.3",
        ),
        {"pickup_datetime": PICKUP, "dropoff_datetime": DROPOFF, "total_amount": 13.3},
        {},
    ),
    "Azure Open Datasets, yellow": Copy(
        YELLOW,
        row(
            "vendorID,tpepPickupDateTime,tpepDropoffDateTime,passengerCount,tripDistance,puLocationId,doLocationId,"
            "startLon,startLat,endLon,endLat,rateCodeId,storeAndFwdFlag,paymentType,fareAmount,extra,mtaTax,"
            "improvementSurcharge,tipAmount,tollsAmount,totalAmount,puYear,puMonth",
            "CMT,2021-01-02T03:04:05Z,2021-01-02T03:14:05Z,1,2.5,142,239,,,,,1,0,CSH,10,0.5,0.5,0.3,2,0,13.3,2021,1",
        ),
        {**TRIP, **FARE, **ZONES},
        {"puYear": "2021", "puMonth": "1"},
    ),
    "Azure Open Datasets, fhv": Copy(
        FHV,
        row(
            "dispatchBaseNum,pickupDateTime,dropOffDateTime,puLocationId,doLocationId,srFlag,puYear,puMonth",
            "B02510,2021-01-02 03:04:05,2021-01-02 03:14:05,142,239,1,2021,1",
        ),
        {"pickup_datetime": PICKUP, "dropoff_datetime": DROPOFF, **ZONES, "dispatching_base_num": "B02510",
         "sr_flag": 1},
        {"puYear": "2021", "puMonth": "1"},
    ),
    "ClickHouse": Copy(
        YELLOW,
        row(
            "trip_id,vendor_id,pickup_date,pickup_datetime,dropoff_date,dropoff_datetime,store_and_fwd_flag,"
            "rate_code_id,passenger_count,trip_distance,fare_amount,extra,mta_tax,tip_amount,tolls_amount,"
            "improvement_surcharge,total_amount,payment_type_,cab_type,dropoff_ctlabel",
            r"7,CMT,2021-01-02,2021-01-02 03:04:05,2021-01-02,2021-01-02 03:14:05,0,1,1,2.5,10,0.5,0.5,2,0,0.3,13.3,"
            r"CSH,yellow,\N",
        ),
        {**TRIP, **FARE},
        {"trip_id": "7", "pickup_date": "2021-01-02", "dropoff_date": "2021-01-02", "cab_type": "yellow"},
    ),
    "labels of the data dictionaries": Copy(
        GREEN,
        row(
            "VendorID,lpep_pickup_datetime,RatecodeID,payment_type,trip_type,total_amount",
            "VeriFone Inc.,2021-01-02 03:04:05,Negotiated fare,No charge,Street-hail,13.3",
        ),
        {"vendor_id": 2, "rate_code_id": 5, "payment_type": 3, "trip_type": 1},
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_copy_is_read_like_the_original(copy):
    outcome = cleaned_text(f"{','.join(copy.row)}\n{','.join(copy.row.values())}\n", copy.service)
    assert outcome.rejected == []
    assert {name: outcome.rows[0][name] for name in copy.trip} == copy.trip
    assert dict(outcome.rows[0]["extra_columns"] or []) == copy.extra


def test_bigquerys_parquet():
    """NUMERIC is decimal128(38, 9), TIMESTAMP is in UTC and shows New York's wall clock, codes are text."""
    types = dict.fromkeys(BIGQUERY, pa.decimal128(38, 9))
    types |= dict.fromkeys(("pickup_datetime", "dropoff_datetime"), pa.timestamp("us", "UTC"))
    types |= dict.fromkeys(("passenger_count", "data_file_year", "data_file_month"), pa.int64())
    types |= dict.fromkeys(("vendor_id", "rate_code", "store_and_fwd_flag", "payment_type"), pa.string())
    types |= dict.fromkeys(("pickup_location_id", "dropoff_location_id"), pa.string())
    texts = {name: pa.array([value.removesuffix(" UTC")]) for name, value in BIGQUERY.items()}
    columns = {name: text.cast(pa.timestamp("us")).cast(types[name]) if "time" in name else text.cast(types[name])
               for name, text in texts.items()}  # fmt: skip
    outcome = cleaned_table(pa.table(columns))
    assert {name: outcome.rows[0][name] for name in OF_BIGQUERY} == OF_BIGQUERY
    assert outcome.counts.extra_columns == ("data_file_year", "data_file_month")


def test_a_date_column_does_not_replace_a_time_column():
    """If a file has both, in any order; a date without a time, as in the hire files of 2015, is midnight."""
    for header in ("pickup_date,pickup_datetime", "pickup_datetime,Pickup_date"):
        values = {"date": "2021-01-02", "datetime": "2021-01-02 03:04:05"}
        line = ",".join(values[name.lower().removeprefix("pickup_")] for name in header.split(","))
        outcome = cleaned_text(f"dispatching_base_num,{header}\nB1,{line}\n", FHV)
        assert outcome.rows[0]["pickup_datetime"] == PICKUP
    alone = cleaned_text("Dispatching_base_num,Pickup_date\nB1,2021-01-02\n", FHV)
    assert alone.rows[0]["pickup_datetime"] == dt.datetime(2021, 1, 2)

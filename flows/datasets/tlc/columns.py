"""The contracts: one typed schema per service, the same for every month that TLC has published.

Names are the same for all services and years; meanings, units and codes are those of TLC's data dictionaries
(https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page: "Yellow Trips", "Green Trips", "FHV Trips" and
"High Volume FHV Trips Data Dictionary"). Synonyms are from the headers of the published files.

Copies of the records from other publishers are read as well. Their other column names:
- BigQuery's `bigquery-public-data.new_york_taxi_trips` (and the older `new_york`): `imp_surcharge`, `rate_code`, zones
  and codes as text ("1.0"), times in UTC that show New York's wall clock; also NYC Open Data's "2014 Yellow Taxi Trip
  Data" (https://data.cityofnewyork.us/d/gkne-dk5s).
- Azure Open Datasets (https://learn.microsoft.com/azure/open-datasets/dataset-taxi-for-hire-vehicle, and -yellow,
  -green): `dispatchBaseNum`; the other names are TLC's in camel case.
- ClickHouse (https://clickhouse.com/docs/get-started/sample-datasets/nyc-taxi): `pickup_date` and `dropoff_date`, days
  only, beside `pickup_datetime` and `dropoff_datetime`.
Their other columns (`data_file_year`, `puMonth`, `trip_id`) are kept in `extra_columns`.
"""

from __future__ import annotations

from flows.datasets.column import FLOAT, INT, TEXT, TIME, Column

# The files of 2009 to 2014 have the companies' initials: Creative Mobile Technologies is code 1 of the dictionary, and
# VeriFone Transportation Systems, later Curb Mobility, code 2. Digital Dispatch Systems has no code in the dictionary:
# 3 is ours, which TLC has never used.
VENDORS = {
    **dict.fromkeys(("cmt", "creative mobile technologies, llc"), 1),
    **dict.fromkeys(("vts", "verifone inc.", "curb mobility, llc"), 2),
    "dds": 3,
    "myle technologies inc": 6,
    "helix": 7,
}

RATES = {
    "standard rate": 1,
    "jfk": 2,
    "newark": 3,
    "nassau or westchester": 4,
    "negotiated fare": 5,
    "group ride": 6,
    "null/unknown": 99,
}

TRIP_TYPES = {"street-hail": 1, "dispatch": 2}

# The dictionary's codes: 0 flex fare, 1 credit card, 2 cash, 3 no charge, 4 dispute, 5 unknown, 6 voided trip.
PAYMENTS = {
    "flex fare trip": 0,
    **dict.fromkeys(("credit", "credit card", "cre", "crd"), 1),
    **dict.fromkeys(("cash", "cas", "csh"), 2),
    **dict.fromkeys(("no charge", "no", "noc"), 3),
    **dict.fromkeys(("dispute", "dis"), 4),
    **dict.fromkeys(("unknown", "unk", "na"), 5),
    **dict.fromkeys(("voided trip", "voided", "void", "voi"), 6),
}

# The dictionary's flags are Y and N; files of 2009 and 2010 write 0 and 1 (as text or as a double).
FLAGS = {
    **dict.fromkeys(("y", "yes", "true", "t", "1", "1.0"), "Y"),
    **dict.fromkeys(("n", "no", "false", "f", "0", "0.0"), "N"),
}

PICKUP_NAMES = ("trip_pickup_datetime", "tpep_pickup_datetime", "lpep_pickup_datetime", "pickup_date")
DROPOFF_NAMES = ("trip_dropoff_datetime", "tpep_dropoff_datetime", "lpep_dropoff_datetime", "dropoff_date")

PICKUP = Column("pickup_datetime", TIME, PICKUP_NAMES, required=True)
DROPOFF = Column("dropoff_datetime", TIME, DROPOFF_NAMES)
# For-hire files of 2015 and 2016 have only one zone: where the trip began.
PICKUP_ZONE = Column("pickup_location_id", INT, ("pu_location_id", "location_id"))
DROPOFF_ZONE = Column("dropoff_location_id", INT, ("do_location_id",))
# A shared ride of a for-hire base: 1 or null.
SHARED_RIDE = Column("sr_flag", INT, ("shared_ride_flag",), words={"y": 1, "n": 0})


def _taxi_trip() -> tuple[Column, ...]:
    """The columns of a taxi trip: distances in miles, places as zones or (until 2016) in degrees."""
    return (
        Column("vendor_id", INT, ("vendor_name", "vendor"), words=VENDORS),
        PICKUP,
        DROPOFF,
        Column("passenger_count", INT),
        Column("trip_distance", FLOAT),
        Column("rate_code_id", INT, ("rate_code",), words=RATES),
        Column("store_and_fwd_flag", TEXT, ("store_and_forward", "store_and_forward_flag"), words=FLAGS),
        PICKUP_ZONE,
        DROPOFF_ZONE,
        Column("pickup_longitude", FLOAT, ("start_lon",)),
        Column("pickup_latitude", FLOAT, ("start_lat",)),
        Column("dropoff_longitude", FLOAT, ("end_lon",)),
        Column("dropoff_latitude", FLOAT, ("end_lat",)),
    )


def _taxi_fare() -> tuple[Column, ...]:
    """The costs of a taxi trip, in dollars. `extra` (rush hour, overnight) was called `surcharge` until 2014."""
    return (
        Column("payment_type", INT, words=PAYMENTS),
        Column("fare_amount", FLOAT, ("fare_amt",)),
        Column("extra", FLOAT, ("surcharge",)),
        Column("mta_tax", FLOAT),
        Column("tip_amount", FLOAT, ("tip_amt",)),
        Column("tolls_amount", FLOAT, ("tolls_amt",)),
        Column("improvement_surcharge", FLOAT, ("imp_surcharge",)),
        Column("total_amount", FLOAT, ("total_amt",)),
        Column("congestion_surcharge", FLOAT),
    )


YELLOW_COLUMNS = (
    *_taxi_trip(),
    *_taxi_fare(),
    Column("airport_fee", FLOAT),
    Column("cbd_congestion_fee", FLOAT),
    Column("request_source", TEXT),
)

GREEN_COLUMNS = (
    *_taxi_trip(),
    *_taxi_fare(),
    Column("ehail_fee", FLOAT),
    Column("trip_type", INT, words=TRIP_TYPES),
    Column("cbd_congestion_fee", FLOAT),
    Column("request_source", TEXT),
)

FHV_COLUMNS = (
    Column("dispatching_base_num", TEXT, ("dispatching_base_number", "dispatch_base_num")),
    PICKUP,
    DROPOFF,
    PICKUP_ZONE,
    DROPOFF_ZONE,
    SHARED_RIDE,
    Column("affiliated_base_number", TEXT, ("affiliated_base_num",)),
)

FHVHV_COLUMNS = (
    Column("hvfhs_license_num", TEXT, ("hvfhs_license_number",)),
    Column("dispatching_base_num", TEXT, ("dispatching_base_number",)),
    Column("originating_base_num", TEXT, ("originating_base_number",)),
    Column("request_datetime", TIME),
    Column("on_scene_datetime", TIME),
    PICKUP,
    DROPOFF,
    PICKUP_ZONE,
    DROPOFF_ZONE,
    Column("trip_distance", FLOAT, ("trip_miles",)),
    Column("trip_time", INT),
    Column("base_passenger_fare", FLOAT),
    Column("tolls_amount", FLOAT, ("tolls",)),
    Column("bcf", FLOAT),
    Column("sales_tax", FLOAT),
    Column("congestion_surcharge", FLOAT),
    Column("airport_fee", FLOAT),
    Column("tip_amount", FLOAT, ("tips",)),
    Column("driver_pay", FLOAT),
    Column("shared_request_flag", TEXT, words=FLAGS),
    Column("shared_match_flag", TEXT, words=FLAGS),
    Column("access_a_ride_flag", TEXT, words=FLAGS),
    Column("wav_request_flag", TEXT, words=FLAGS),
    Column("wav_match_flag", TEXT, words=FLAGS),
    Column("cbd_congestion_fee", FLOAT),
    SHARED_RIDE,
)

"""Which column of a file is which column of the contract: by the names' meaning, whatever the month."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.datasets.partition import Service
from flows.datasets.tlc.contract import CONTRACT, EXTRA_COLUMNS, SOURCE_MONTH, columns_by_meaning, meaning, schema
from flows.errors import Refused

OWN = "taxiway"
"""The layout of the contract itself: a file that this project wrote."""

MOST_COLUMNS = 500

_TAXI = "VendorID,{0}pep_pickup_datetime,{0}pep_dropoff_datetime,passenger_count,trip_distance,RatecodeID,"
_FARE = "payment_type,fare_amount,extra,mta_tax,tip_amount,tolls_amount,"
_YELLOW = f"{_TAXI.format('t')}store_and_fwd_flag,PULocationID,DOLocationID,{_FARE}improvement_surcharge,total_amount"
_GREEN = (
    "VendorID,lpep_pickup_datetime,lpep_dropoff_datetime,store_and_fwd_flag,RatecodeID,PULocationID,DOLocationID,"
    "passenger_count,trip_distance,fare_amount,extra,mta_tax,tip_amount,tolls_amount,ehail_fee,improvement_surcharge,"
    "total_amount,payment_type,trip_type"
)
_GREEN_PLACES = (
    "VendorID,lpep_pickup_datetime,Lpep_dropoff_datetime,Store_and_fwd_flag,RateCodeID,Pickup_longitude,"
    "Pickup_latitude,Dropoff_longitude,Dropoff_latitude,Passenger_count,Trip_distance,Fare_amount,Extra,MTA_tax,"
    "Tip_amount,Tolls_amount,Ehail_fee,"
)
_FHV = "Dispatching_base_num,Pickup_DateTime,DropOff_datetime,PUlocationID,DOlocationID"
_FHVHV = (
    "hvfhs_license_num,dispatching_base_num,originating_base_num,request_datetime,on_scene_datetime,pickup_datetime,"
    "dropoff_datetime,PULocationID,DOLocationID,trip_miles,trip_time,base_passenger_fare,tolls,bcf,sales_tax,"
    "congestion_surcharge,airport_fee,tips,driver_pay,shared_request_flag,shared_match_flag,access_a_ride_flag,"
    "wav_request_flag,wav_match_flag"
)

# Header of every layout that TLC has published, by the month (or year) whose file first had it. A layout only gets its
# name from here: columns are matched one by one, so that a file of no known layout is read as well.
LAYOUTS: Mapping[str, str] = {
    "yellow-2009": "vendor_name,Trip_Pickup_DateTime,Trip_Dropoff_DateTime,Passenger_Count,Trip_Distance,Start_Lon,"
    "Start_Lat,Rate_Code,store_and_forward,End_Lon,End_Lat,Payment_Type,Fare_Amt,surcharge,mta_tax,Tip_Amt,Tolls_Amt,"
    "Total_Amt",
    "yellow-2010": "vendor_id,pickup_datetime,dropoff_datetime,passenger_count,trip_distance,pickup_longitude,"
    "pickup_latitude,rate_code,store_and_fwd_flag,dropoff_longitude,dropoff_latitude,payment_type,fare_amount,"
    "surcharge,mta_tax,tip_amount,tolls_amount,total_amount",
    "yellow-2015": "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,trip_distance,pickup_longitude,"
    "pickup_latitude,RateCodeID,store_and_fwd_flag,dropoff_longitude,dropoff_latitude,payment_type,fare_amount,extra,"
    "mta_tax,tip_amount,tolls_amount,improvement_surcharge,total_amount",
    "yellow-2016-07": _YELLOW,
    "yellow-2019": f"{_YELLOW},congestion_surcharge",
    "yellow-2022": f"{_YELLOW},congestion_surcharge,airport_fee",
    "yellow-2025": f"{_YELLOW},congestion_surcharge,Airport_fee,cbd_congestion_fee",
    "yellow-2026-06": f"{_YELLOW},congestion_surcharge,Airport_fee,cbd_congestion_fee,request_source",
    "green-2013-08": f"{_GREEN_PLACES}Total_amount,Payment_type,Trip_type ",
    "green-2015": f"{_GREEN_PLACES}improvement_surcharge,Total_amount,Payment_type,Trip_type ",
    "green-2016-07": _GREEN,
    "green-2019": f"{_GREEN},congestion_surcharge",
    "green-2025": f"{_GREEN},congestion_surcharge,cbd_congestion_fee",
    "green-2026-06": f"{_GREEN},congestion_surcharge,cbd_congestion_fee,request_source",
    "fhv-2015": "Dispatching_base_num,Pickup_date,locationID",
    "fhv-2017": _FHV,
    "fhv-2017-07": f"{_FHV},SR_Flag",
    "fhv-2018": "Pickup_DateTime,DropOff_datetime,PUlocationID,DOlocationID,SR_Flag,Dispatching_base_number,"
    "Dispatching_base_num",
    "fhv-2022": f"{_FHV},SR_Flag,Affiliated_base_number",
    "fhvhv-2019": "hvfhs_license_num,dispatching_base_num,pickup_datetime,dropoff_datetime,PULocationID,DOLocationID,"
    "SR_Flag",
    "fhvhv-2022": _FHVHV,
    "fhvhv-2025": f"{_FHVHV},cbd_congestion_fee",
}

# Column names that only one service has ever had, and that it has always had.
_MARKS = {
    Service.FHVHV: {"hvfhslicensenum"},
    Service.GREEN: {"lpeppickupdatetime"},
    Service.YELLOW: {"tpeppickupdatetime", "trippickupdatetime"},
}


@dataclass(frozen=True)
class Layout:
    """How one file's columns stand to the contract.

    Attributes:
        service: whose contract.
        name: the known layout, `taxiway` for the contract's own, or the nearest known one with what differs.
        header: the file's column names, as they are.
        sources: contract column -> positions in the file, in the order of the column's names; of several, the first
            that has a value counts.
        extra: positions of columns that the contract does not know -> the name they are kept under.
        missing: contract columns that the file does not have: null in every row.
    """

    service: Service
    name: str
    header: tuple[str, ...]
    sources: Mapping[str, tuple[int, ...]]
    extra: Mapping[int, str]
    missing: tuple[str, ...]

    @property
    def own(self) -> bool:
        """Whether the file is one that this project wrote, in the contract's own layout."""
        return self.name == OWN

    def label(self, at: int) -> str:
        """What a column of the file is called where each name may stand once."""
        name = self.header[at]
        return name if name and self.header.count(name) == 1 else f"{name or 'column'}_{at + 1}"


def read_layout(header: Sequence[str], service: Service | None, subject: str) -> Layout:
    """The layout of a file with this header; without `service` the header must tell it.

    Raises:
        Refused: the columns are another service's or nobody's, or a required one is missing.
    """
    names = tuple(header)
    if len(names) > MOST_COLUMNS:
        raise Refused(subject, f"has {len(names):,} columns, which no trip record has: {_first(names)}")
    marked = _marked(names)
    service = service or service_of(names)
    if service is None:
        raise Refused(subject, f"has no columns of trip records: {_first(names)}")
    if marked not in (None, service):
        raise Refused(subject, f"has the columns of {marked} trips, not {service}: {_first(names)}")
    layout = _match(names, service)
    absent = [column.name for column in CONTRACT[service] if column.required and column.name in layout.missing]
    if absent:
        raise Refused(subject, f"has no {', '.join(absent)} column: {_first(names)}")
    return layout


def service_of(header: Sequence[str]) -> Service | None:
    """The service whose columns these are, or None."""
    found = {meaning(name) for name in header}
    # Yellow files of 2010 to 2014 have no name of their own: theirs are those that the contract took for all.
    taxi = Service.YELLOW if {"vendorid", "pickupdatetime", "totalamount"} <= found else None
    return _marked(header) or taxi


def _marked(header: Sequence[str]) -> Service | None:
    """The service whose columns these must be, because no other has such names."""
    found = {meaning(name) for name in header}
    own = (service for service in Service if tuple(header) == tuple(schema(service).names))
    marked = (service for service, marks in _MARKS.items() if marks & found)
    base = Service.FHV if found & {"dispatchingbasenum", "dispatchingbasenumber"} else None
    return next(own, None) or next(marked, base)


def _match(names: tuple[str, ...], service: Service) -> Layout:
    own = {EXTRA_COLUMNS, SOURCE_MONTH} <= set(names)
    known = columns_by_meaning(service)
    sources: dict[str, tuple[int, ...]] = {}
    extra: dict[int, str] = {}
    for position, name in enumerate(names):
        if _is_index(position, name) or (own and name in (EXTRA_COLUMNS, SOURCE_MONTH)):
            continue
        column = known.get(meaning(name))
        if column:
            sources[column.name] = (*sources.get(column.name, ()), position)
        else:
            extra[position] = name.strip() or f"column_{position + 1}"
    for column in CONTRACT[service]:
        rank = [meaning(name) for name in (column.name, *column.synonyms)]
        if len(sources.get(column.name, ())) > 1:
            sources[column.name] = tuple(sorted(sources[column.name], key=lambda at: rank.index(meaning(names[at]))))
    return Layout(
        service,
        OWN if own else _name(names, service),
        names,
        sources,
        _distinct(extra),
        tuple(column.name for column in CONTRACT[service] if column.name not in sources),
    )


def _is_index(position: int, name: str) -> bool:
    """Whether a column is a data frame's row index, which pandas writes first and without a name, or under its own."""
    return (position == 0 and meaning(name) in ("", "unnamed0")) or name.startswith("__index_level_")


def _distinct(extra: Mapping[int, str]) -> dict[int, str]:
    """Names of extra columns, with the position added where two would be kept under one."""
    count = Counter(extra.values())
    return {at: name if count[name] == 1 else f"{name}_{at + 1}" for at, name in extra.items()}


def _name(names: tuple[str, ...], service: Service) -> str:
    """The known layout with the same columns, in whatever order; or the nearest one and what differs."""
    found = {meaning(name) for at, name in enumerate(names) if not _is_index(at, name)}
    known = {name: _meanings(header) for name, header in LAYOUTS.items() if name.split("-")[0] == service}
    nearest = min(known, key=lambda name: len(known[name] ^ found))
    more, fewer = len(found - known[nearest]), len(known[nearest] - found)
    return nearest + (f" (+{more} -{fewer} columns)" if more or fewer else "")


def _meanings(header: str) -> set[str]:
    return {meaning(name) for name in header.split(",")}


def _first(names: tuple[str, ...]) -> str:
    """The header as an error shows it: one line, not too long."""
    shown = ",".join(names[:100])[:100].encode("unicode_escape").decode()
    return f"its header is {shown!r}" if names else "it has no header"

"""The header of every layout that TLC has published, by the first month (or year) with that layout."""

from __future__ import annotations

from collections.abc import Mapping

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

"""Yellow and green rows like TLC's, with its tariffs by date and the errors of real files.

The shares (hours, weekdays, passengers, payment, rows without the meter's fields, negative fares) are rounded from the
published green 2021-01 and 2025-01 and from samples of yellow 2022-01 and 2025-02.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.datasets.dataset import Partition
from flows.datasets.tlc import GREEN, YELLOW
from flows.datasets.tlc.generated.chance import Clock, Odds, chosen, spread, zones
from flows.datasets.tlc.generated.file_layouts import layout
from flows.datasets.tlc.generated.rows import Block

STRAY = 3e-4
"""Share of rows with a pickup outside the month."""
ABSURD = 2e-4
"""Share of rows with a distance of thousands of miles."""
NEGATIVE = 5e-3
"""Share of rows whose amounts are negative: refunds."""
STUCK = 3e-3
"""Share of rows whose meter ran for nearly a day."""

NO_ONE = 0.02
"""Share of zero passengers among the rows that have a count."""

UNMETERED = {
    YELLOW: {2020: 0.06, 2021: 0.07, 2022: 0.03, 2023: 0.04, 2024: 0.1, 2025: 0.22},
    GREEN: {2020: 0.3, 2021: 0.4, 2022: 0.1, 2023: 0.07, 2024: 0.04, 2025: 0.05},
}
"""Share of rows without the meter's fields (passengers, rate code, ...), by year: none before, the last one after."""

# Pickups by hour of a working day and by day of the week from Monday on, in 1/1000.
_YELLOW_HOURS = (28, 18, 14, 14, 6, 5, 14, 28, 38, 41, 44, 44, 45, 52, 52, 55, 59, 69, 80, 61, 66, 62, 63, 44)
_GREEN_HOURS = (15, 11, 8, 6, 5, 6, 18, 40, 50, 53, 54, 53, 52, 58, 61, 70, 78, 85, 79, 63, 47, 37, 29, 22)
_YELLOW_WEEK = (108, 129, 144, 149, 161, 170, 138)
_GREEN_WEEK = (141, 150, 160, 165, 165, 115, 104)

_JFK, _LAGUARDIA = 132, 138
_YELLOW_ZONES = zones(237, 161, 236, _JFK, 186, _LAGUARDIA, 230, 162, 142, 48, 170, 234, 239, 163, 68, 141, 79, 107)
_GREEN_ZONES = zones(74, 75, 43, 95, 166, 41, 82, 97, 42, 244, 7, 33, 130, 181, 65, 226)

_VENDORS = Odds({2: 0.8, 1: 0.2})
_RATES = Odds({1: 0.945, 2: 0.03, 5: 0.018, 3: 0.003, 4: 0.002, 99: 0.002})
_PASSENGERS = Odds({0: NO_ONE, 1: 0.74, 2: 0.14, 3: 0.04, 4: 0.02, 5: 0.025, 6: 0.0145, 7: 0.0005})
_PAYMENTS = Odds({1: 0.72, 2: 0.268, 3: 0.006, 4: 0.006})
_REFUNDS = Odds({3: 0.6, 4: 0.4})
_FLAGS = Odds({0: 0.99, 1: 0.01})
_TIPS = Odds({0.0: 0.12, 0.1: 0.08, 0.15: 0.15, 0.2: 0.4, 0.25: 0.2, 0.3: 0.05})
_CHANCE = Odds({part / 100: 1.0 for part in range(100)})

_SIGNED = ("fare_amount", "extra", "mta_tax", "tolls_amount", "improvement_surcharge")
_SURCHARGES = ("congestion_surcharge", "airport_fee", "cbd_congestion_fee")


@dataclass(frozen=True)
class Tariff:
    """The prices of a month's trips, in dollars: TLC's fares and surcharges, and tolls."""

    start: float
    step: float
    night: float
    rush: float
    jfk: float
    improvement: float
    toll: float
    congestion: float
    airport: float
    cbd: float


def tariff(month: Partition) -> Tariff:
    """The tariff of a month."""
    when, green = (month.start.year, month.start.month), month.dataset is GREEN
    risen = when >= (2023, 1)  # by the fare rise of 2022-12-19
    return Tariff(
        start=3.0 if risen else 2.5,
        step=0.7 if risen else 0.5,
        night=1.0 if risen else 0.5,
        rush=2.5 if risen else 1.0,
        jfk=70.0 if risen else 52.0,
        improvement=1.0 if risen else 0.3 if when >= (2015, 1) else 0.0,
        toll=6.94 if when >= (2023, 8) else 6.55 if when >= (2021, 4) else 6.12,
        congestion=0.0 if when < (2019, 2) else 2.75 if green else 2.5,
        airport=1.75 if when >= (2023, 4) else 1.25 if when >= (2020, 8) else 0.0,
        cbd=0.75 if when >= (2025, 1) else 0.0,
    )


class TaxiMonth:
    """A generated yellow or green month; `schema` is its file's."""

    def __init__(self, month: Partition, rows: int, *, csv: bool) -> None:
        self.month, self.schema, self._csv = month, layout(month, csv=csv), csv
        self._green = month.dataset is GREEN
        self._tariff = tariff(month)
        hours, week = (_GREEN_HOURS, _GREEN_WEEK) if self._green else (_YELLOW_HOURS, _YELLOW_WEEK)
        self._clock = Clock(month, hours, week)
        shares = UNMETERED[month.dataset]
        share = shares[min(month.start.year, max(shares))] if month.start.year >= min(shares) else 0.0
        self._unmetered = round(rows * share)
        self._metered = rows - self._unmetered

    def batch(self, rng: np.random.Generator, start: int, stop: int) -> pa.RecordBatch:
        """The rows `start` to `stop` - 1: first the metered ones, then the others, from the first day on again."""
        block = Block(stop - start)
        index = np.arange(start, stop)
        unmetered = index >= self._metered
        self._trip(rng, block)
        self._times(rng, block, index, unmetered)
        self._fare(rng, block, unmetered)
        self._refund(rng, block)
        self._total(block)
        self._forget(block, unmetered)
        return block.batch(self.schema)

    def _trip(self, rng: np.random.Generator, block: Block) -> None:
        rows, values = block.rows, block.values
        places = _GREEN_ZONES if self._green else _YELLOW_ZONES
        values["vendorid"] = _VENDORS.draw(rng, rows)
        values["ratecodeid"] = _RATES.draw(rng, rows)
        values["passenger_count"] = _PASSENGERS.draw(rng, rows)
        values["payment_type"] = _PAYMENTS.draw(rng, rows)
        values["pulocationid"], values["dolocationid"] = places.draw(rng, rows), places.draw(rng, rows)
        values["store_and_fwd_flag"] = _FLAGS.draw(rng, rows)
        block.words["store_and_fwd_flag"] = ["N", "Y"]
        values["trip_type"] = np.where(values["ratecodeid"] == 5, 2, 1)
        miles = np.exp(rng.standard_normal(rows) * 0.85 + 0.65)
        miles += 7.0 * (values["pulocationid"] == _JFK) + 9.0 * (values["ratecodeid"] == 2)
        values["trip_distance"] = np.round(np.minimum(miles, 80.0), 2)

    def _times(self, rng: np.random.Generator, block: Block, index: NDArray[Any], unmetered: NDArray[Any]) -> None:
        rows, values = block.rows, block.values
        of_metered = self._clock.in_order(rng, np.where(unmetered, 0, index), self._metered)
        of_others = self._clock.in_order(rng, np.where(unmetered, index - self._metered, 0), self._unmetered)
        pickup = np.where(unmetered, of_others, of_metered)
        speed = spread(rng, rows, 7.0, 17.0)  # miles an hour
        taken = (values["trip_distance"] / speed * 3600 + spread(rng, rows, 30, 240)).astype(np.int64)
        stuck = chosen(rng, rows, STUCK)
        taken[stuck] = rng.integers(80_000, 86_400, len(stuck))
        strays = chosen(rng, rows, STRAY)
        pickup[strays] = self._clock.strays(rng, len(strays))
        dropoff = pickup + taken
        if self.month.start.year < 2023:  # until then, rows without a meter had only the minute
            pickup, dropoff = (np.where(unmetered, time // 60 * 60, time) for time in (pickup, dropoff))
        prefix = "lpep" if self._green else "tpep"
        values[f"{prefix}_pickup_datetime"], values[f"{prefix}_dropoff_datetime"] = pickup, dropoff
        block.values["hour"], block.values["taken"] = pickup // 3600 % 24, np.minimum(taken, 7200)

    def _fare(self, rng: np.random.Generator, block: Block, unmetered: NDArray[Any]) -> None:
        rows, values, cost = block.rows, block.values, self._tariff
        miles, rate = values["trip_distance"], values["ratecodeid"]
        steps = np.floor(miles * 4.2 + values["taken"] / 150)  # a fifth of a mile or a slow minute each
        upfront = np.round(5.0 + miles * 3.1 + values["taken"] / 90 + spread(rng, rows, 0, 6), 2)
        fare = np.where(unmetered, upfront, cost.start + cost.step * steps)
        fare = np.where(rate == 2, cost.jfk, np.where(rate == 5, np.round(spread(rng, rows, 5, 90), 2), fare))
        hour, luck = values["hour"], _CHANCE.draw(rng, rows)
        night, rush = (hour >= 20) | (hour < 6), (hour >= 16) & (hour < 20)
        values["fare_amount"] = np.round(fare, 2)
        values["extra"] = np.where(unmetered, 0.0, cost.night * night + cost.rush * rush)
        values["mta_tax"] = np.where(unmetered & (self.month.start.year < 2023), 0.0, 0.5)
        values["improvement_surcharge"] = np.full(rows, cost.improvement)
        values["tolls_amount"] = cost.toll * ((luck < 0.04) | (rate == 2))
        values["congestion_surcharge"] = cost.congestion * (luck >= (0.7 if self._green else 0.1))
        values["airport_fee"] = cost.airport * np.isin(values["pulocationid"], (_JFK, _LAGUARDIA))
        values["cbd_congestion_fee"] = cost.cbd * (luck >= (0.93 if self._green else 0.27))
        by_card = (values["payment_type"] == 1) | unmetered
        values["tip_amount"] = np.round(fare * _TIPS.draw(rng, rows) * by_card, 2)
        # After the fares: an absurd distance is an error of the meter and was not charged.
        absurd = chosen(rng, rows, ABSURD)
        miles[absurd] = np.round(spread(rng, len(absurd), 1_000, 250_000), 2)

    def _refund(self, rng: np.random.Generator, block: Block) -> None:
        refunds = chosen(rng, block.rows, NEGATIVE)
        block.values["payment_type"][refunds] = _REFUNDS.draw(rng, len(refunds))
        block.values["tip_amount"][refunds] = 0.0
        for name in (*_SIGNED, *_SURCHARGES):
            block.values[name][refunds] = -np.abs(block.values[name][refunds])

    def _total(self, block: Block) -> None:
        present = {column.name.lower() for column in self.schema if column.type != "null"}
        parts = [name for name in (*_SIGNED, "tip_amount", *_SURCHARGES) if name in present]
        block.values["total_amount"] = np.round(sum(block.values[name] for name in parts), 2)

    def _forget(self, block: Block, unmetered: NDArray[Any]) -> None:
        """Remove the fields that a row without a meter does not have; in a csv, vendor and payment as well."""
        missing = ["passenger_count", "ratecodeid", "store_and_fwd_flag", "trip_type"]
        missing += ["congestion_surcharge", "airport_fee"]
        if self._csv:
            missing.append("vendorid")
        if self._csv or self._green:
            missing.append("payment_type")
        else:
            block.values["payment_type"][unmetered] = 0
        if unmetered.any():
            block.nulls |= dict.fromkeys(missing, unmetered)

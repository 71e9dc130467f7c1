"""Rows of for-hire vehicles (fhv) and of the high-volume companies (fhvhv: Uber, Lyft), as TLC publishes them.

The shares of nulls and flags are rounded from samples of 2020-04.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from flows.datasets.dataset import Partition
from flows.datasets.tlc import FHV
from flows.datasets.tlc.generated.chance import Clock, Odds, chosen, spread, zones
from flows.datasets.tlc.generated.file_layouts import layout
from flows.datasets.tlc.generated.rows import Block

_HOURS = (26, 18, 13, 10, 11, 17, 30, 44, 52, 44, 40, 40, 42, 44, 47, 50, 52, 60, 62, 58, 56, 58, 55, 41)
_WEEK = (130, 132, 138, 142, 156, 165, 137)

_ZONES = zones(132, 138, 61, 79, 76, 37, 161, 234, 42, 244, 231, 170, 89, 225, 246, 48, 164, 188)
_BASES = [f"B{number:05}" for number in range(9, 3400, 17)]
_BASE = Odds({index: 1.0 / (index % 41 + 1) for index in range(len(_BASES))})
_LICENSE = Odds({0: 0.74, 1: 0.26})
_LUCK = Odds({part / 1000: 1.0 for part in range(1000)})

_STRAY, _ABSURD = 1e-4, 1e-5
_FLAGS = {
    "shared_request_flag": 0.02,
    "shared_match_flag": 0.005,
    "wav_request_flag": 0.002,
    "wav_match_flag": 0.06,
}


class HireMonth:
    """A generated fhv or fhvhv month; `schema` is its file's."""

    def __init__(self, month: Partition, rows: int, *, csv: bool) -> None:
        self.schema = layout(month, csv=csv)
        self._rows, self._month, self._clock = rows, month, Clock(month, _HOURS, _WEEK)

    def batch(self, rng: np.random.Generator, start: int, stop: int) -> pa.RecordBatch:
        """The rows `start` to `stop` - 1."""
        block = Block(stop - start)
        self._trip(rng, block, start)
        if self._month.dataset is FHV:
            self._base(rng, block)
        else:
            self._company(rng, block)
            self._pay(rng, block)
        return block.batch(self.schema)

    def _trip(self, rng: np.random.Generator, block: Block, start: int) -> None:
        rows, values = block.rows, block.values
        pickup = self._clock.in_order(rng, np.arange(start, start + rows), self._rows)
        strays = chosen(rng, rows, _STRAY)
        pickup[strays] = self._clock.strays(rng, len(strays))
        miles = np.round(np.minimum(np.exp(rng.standard_normal(rows) * 0.9 + 1.1), 120.0), 3)
        taken = (miles / spread(rng, rows, 8.0, 22.0) * 3600 + spread(rng, rows, 60, 300)).astype(np.int64)
        values["pickup_datetime"] = pickup
        values["dropoff_datetime"] = pickup + taken
        values["pulocationid"], values["dolocationid"] = _ZONES.draw(rng, rows), _ZONES.draw(rng, rows)
        values["trip_miles"], values["trip_time"] = miles, taken
        values["dispatching_base_num"] = _BASE.draw(rng, rows)
        block.words["dispatching_base_num"] = _BASES

    def _base(self, rng: np.random.Generator, block: Block) -> None:
        """The columns of fhv: trips without zones, and the base that a trip was passed on to."""
        rows, values, nulls = block.rows, block.values, block.nulls
        luck = _LUCK.draw(rng, rows)
        elsewhere = luck < 0.03
        values["affiliated_base_number"] = np.where(elsewhere, _BASE.draw(rng, rows), values["dispatching_base_num"])
        block.words["affiliated_base_number"] = _BASES
        nulls["affiliated_base_number"] = luck >= 0.994
        nulls["pulocationid"], nulls["dolocationid"] = (luck > 0.1) & (luck < 0.42), (luck > 0.3) & (luck < 0.355)
        values["sr_flag"], nulls["sr_flag"] = np.ones(rows, np.int64), luck > 0.2

    def _company(self, rng: np.random.Generator, block: Block) -> None:
        """The columns of fhvhv trips: the company, the time of the request, and the yes-or-no flags."""
        rows, values = block.rows, block.values
        lyft = _LICENSE.draw(rng, rows)
        values["hvfhs_license_num"] = lyft
        block.words["hvfhs_license_num"] = ["HV0003", "HV0005"]
        values["originating_base_num"] = values["dispatching_base_num"]
        block.words["originating_base_num"] = _BASES
        waited = rng.integers(0, 240, rows)
        values["on_scene_datetime"] = values["pickup_datetime"] - waited
        values["request_datetime"] = values["on_scene_datetime"] - rng.integers(30, 600, rows)
        block.nulls |= dict.fromkeys(("originating_base_num", "on_scene_datetime"), lyft == 1)
        luck = _LUCK.draw(rng, rows)
        for name, share in _FLAGS.items():
            values[name] = (luck < share).astype(np.int64)
            block.words[name] = ["N", "Y"]
        # Uber writes a space here.
        values["access_a_ride_flag"] = lyft
        block.words["access_a_ride_flag"] = [" ", "N"]

    def _pay(self, rng: np.random.Generator, block: Block) -> None:
        rows, values = block.rows, block.values
        miles = values["trip_miles"]
        fare = np.round(2.5 + miles * 1.6 + values["trip_time"] / 60 * 0.55 + spread(rng, rows, 0, 6), 2)
        refunds = chosen(rng, rows, 2e-4)
        fare[refunds] = -fare[refunds]
        luck = _LUCK.draw(rng, rows)
        values["base_passenger_fare"] = fare
        values["tolls"] = 6.55 * (luck < 0.05)
        values["bcf"] = np.round(np.abs(fare) * 0.0275, 2)
        values["sales_tax"] = np.round(np.abs(fare) * 0.08875, 2)
        values["congestion_surcharge"] = 2.75 * (luck < 0.36)
        values["airport_fee"] = 2.5 * np.isin(values["pulocationid"], (132, 138))
        values["cbd_congestion_fee"] = 1.5 * (luck < 0.3)
        values["tips"] = np.round(np.abs(fare) * 0.2 * (luck >= 0.84), 2)
        values["driver_pay"] = np.round(np.abs(fare) * 0.8, 2)
        absurd = chosen(rng, rows, _ABSURD)
        miles[absurd] = np.round(spread(rng, len(absurd), 300, 5_000), 2)

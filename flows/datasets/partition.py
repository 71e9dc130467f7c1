"""One month of one service: the unit that a file holds, a task processes, a store replaces and a ledger row records."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum


class Service(StrEnum):
    """The four record types that TLC publishes."""

    YELLOW = "yellow"
    GREEN = "green"
    FHV = "fhv"
    FHVHV = "fhvhv"


@dataclass(frozen=True, order=True)
class Month:
    """A calendar month of one service, as TLC names its files; not the month of any pickup in it."""

    service: Service
    year: int
    month: int

    @property
    def first(self) -> dt.date:
        """The first day: the value of `source_month` in every row of the month."""
        return dt.date(self.year, self.month, 1)

    @property
    def label(self) -> str:
        """The month as YYYY-MM."""
        return f"{self.year}-{self.month:02}"

    @property
    def stem(self) -> str:
        """TLC's file name without its ending: `green_tripdata_2021-01`."""
        return f"{self.service}_tripdata_{self.label}"

    def __str__(self) -> str:
        return f"{self.service} {self.label}"

"""Many rounds of two concurrent loads of one month, into every store."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

from tests.integration.stores_fixtures import (
    bigquery_client,
    bucket,
    bucket_address,
    dataset,
    dataset_address,
    place,
    server,
    storage_client,
    uri,
)
from tests.integration.stores_races import race, race_with_a_kill

ROUNDS = 20


def test_concurrent_loads_leave_one_of_them_complete(place, tmp_path):
    for _ in range(ROUNDS):
        race(place, tmp_path)


def test_a_concurrent_load_is_killed(place, tmp_path):
    """The kill comes later in each round, so that it meets every step of a load."""
    for number in range(ROUNDS):
        race_with_a_kill(place, tmp_path, after=number * 0.025)

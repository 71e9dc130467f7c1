"""The rules, and the effect of each store's rules on a month."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flows.datasets.dataset import Dataset
from flows.datasets.registry import datasets
from flows.datasets.rule import Action
from flows.datasets.tlc import DATASETS, FHV, GREEN, YELLOW
from flows.datasets.tlc.rules import RULES
from tests.reading import cleaned_text

STORES = ("postgres", "bucket", "bigquery")

TEXT = """VendorID,lpep_pickup_datetime,passenger_count,total_amount
1,2021-01-01 00:00:00,0,1
1,2021-01-01 00:00:01,,2
1,2021-01-01 00:00:02,3,3
1,2021-01-01 00:00:03,0,many
"""


def passengers(store: str, service: Dataset = GREEN, text: str = TEXT):
    outcome = cleaned_text(text, service, GREEN.rules.get(store, ()))
    return outcome.clean["passenger_count"].to_pylist(), dict(outcome.counts.reasons)


def test_every_rule_is_named_once_and_is_about_a_column():
    rules = [rule for of_store in RULES.values() for rule in of_store]
    assert len({rule.name for rule in rules}) == len(rules)
    types = {column.name: column.type for dataset in DATASETS for column in dataset.columns}
    for rule in rules:
        assert rule.why
        assert rule.where(pa.nulls(1, types[rule.column])).type == pa.bool_()
        if rule.action is Action.FILL:
            pa.scalar(rule.value, types[rule.column])


def test_rules_are_for_known_stores():
    assert all(set(dataset.rules) <= set(STORES) for dataset in datasets().values())


@pytest.mark.parametrize(
    ("store", "values", "reasons"),
    [
        ("postgres", [None, 3], {"zero_passengers": 1, "unreadable:total_amount": 1}),
        ("bucket", [0, None, 3], {"unreadable:total_amount": 1}),
        ("bigquery", [0, 0, 3], {"unreadable:total_amount": 1}),
    ],
)
def test_the_rules_of_each_store(store, values, reasons):
    assert passengers(store) == (values, reasons)


def test_a_rejected_row_keeps_its_original_values():
    rejected = cleaned_text(TEXT, GREEN, GREEN.rules.get("postgres", ())).rejected
    assert [(row["row_number"], row["reason"]) for row in rejected] == [
        (1, "zero_passengers"),
        (4, "unreadable:total_amount"),
    ]
    assert rejected[0]["row"] == {
        "VendorID": "1",
        "lpep_pickup_datetime": "2021-01-01 00:00:00",
        "passenger_count": "0",
        "total_amount": "1",
    }


@pytest.mark.parametrize("store", STORES)
def test_a_rule_does_not_apply_to_a_service_without_the_column(store):
    text = "dispatching_base_num,pickup_datetime\nB00001,2021-01-01 00:00:00\n"
    assert cleaned_text(text, FHV, GREEN.rules.get(store, ())).counts.rows_loaded == 1


@pytest.mark.parametrize("store", STORES)
def test_a_file_without_the_column(store):
    text = "tpep_pickup_datetime,total_amount\n2021-01-01 00:00:00,1\n"
    expected = [0] if store == "bigquery" else [None]
    assert passengers(store, YELLOW, text) == (expected, {})

"""The rules, and what each store's list of them does to a month."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flows.datasets.partition import Service
from flows.datasets.rule import BY_NAME, RULES, RULES_OF, Action
from flows.datasets.tlc.contract import CONTRACT
from tests.reading import cleaned_text

TEXT = """VendorID,lpep_pickup_datetime,passenger_count,total_amount
1,2021-01-01 00:00:00,0,1
1,2021-01-01 00:00:01,,2
1,2021-01-01 00:00:02,3,3
1,2021-01-01 00:00:03,0,many
"""


def passengers(store: str, service: Service = Service.GREEN, text: str = TEXT):
    outcome = cleaned_text(text, service, RULES_OF[store])
    return outcome.clean["passenger_count"].to_pylist(), dict(outcome.counts.reasons)


def test_every_rule_is_named_once_and_is_about_a_column():
    assert len(BY_NAME) == len(RULES)
    types = {column.name: column.type for columns in CONTRACT.values() for column in columns}
    for rule in RULES:
        assert rule.why
        assert rule.where(pa.nulls(1, types[rule.column])).type == pa.bool_()
        if rule.action is Action.FILL:
            pa.scalar(rule.value, types[rule.column])


def test_every_store_lists_rules_of_the_table():
    assert set(RULES_OF) == {"postgres", "bucket", "warehouse"}
    assert {rule.name for rules in RULES_OF.values() for rule in rules} == set(BY_NAME)


@pytest.mark.parametrize(
    ("store", "values", "reasons"),
    [
        ("postgres", [None, 3], {"zero_passengers": 1, "unreadable:total_amount": 1}),
        ("bucket", [0, None, 3], {"unreadable:total_amount": 1}),
        ("warehouse", [0, 0, 3], {"unreadable:total_amount": 1}),
    ],
)
def test_what_each_store_keeps(store, values, reasons):
    assert passengers(store) == (values, reasons)


def test_a_rejected_row_is_kept_as_the_file_has_it():
    rejected = cleaned_text(TEXT, Service.GREEN, RULES_OF["postgres"]).rejected
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


@pytest.mark.parametrize("store", RULES_OF)
def test_a_service_without_the_column_is_left_alone(store):
    text = "dispatching_base_num,pickup_datetime\nB00001,2021-01-01 00:00:00\n"
    assert cleaned_text(text, Service.FHV, RULES_OF[store]).counts.rows_clean == 1


@pytest.mark.parametrize("store", RULES_OF)
def test_a_file_without_the_column(store):
    text = "tpep_pickup_datetime,total_amount\n2021-01-01 00:00:00,1\n"
    expected = [0] if store == "warehouse" else [None]
    assert passengers(store, Service.YELLOW, text) == (expected, {})

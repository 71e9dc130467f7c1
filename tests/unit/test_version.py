"""The contract's version: what changes it, for which datasets, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from flows.datasets.cleaning import Cleaning
from flows.datasets.column import Column
from flows.datasets.quality_check import Check
from flows.datasets.rule import Action, Rule
from flows.datasets.source_code import function_code
from flows.datasets.tlc import FHV, GREEN, YELLOW
from flows.datasets.tlc.checks import CHECKS
from flows.datasets.tlc.columns import PAYMENTS
from flows.datasets.version import contract_version, version_of

RULES = GREEN.rules["postgres"]
COLUMNS = GREEN.columns
STORES = ("postgres", "bucket", "bigquery")
LIMIT = 0.0


def negative(values: pa.Array) -> pa.BooleanArray:
    return pc.less(values, LIMIT)


NEGATIVE_TOTAL = Rule("negative_total", Action.REJECT, "total_amount", negative)


def with_column(name: str, /, **changes) -> list[Column]:
    return [replace(column, **changes) if column.name == name else column for column in COLUMNS]


def with_check(name: str, /, **changes) -> list[Check]:
    return [replace(check, **changes) if check.name == name else check for check in CHECKS]


@pytest.mark.parametrize(
    ("columns", "rules", "checks"),
    [
        (with_column("extra", name="extras"), RULES, CHECKS),
        (with_column("extra", type=pa.int32()), RULES, CHECKS),
        (with_column("extra", synonyms=("surcharge", "rush_hour")), RULES, CHECKS),
        (with_column("extra", required=True), RULES, CHECKS),
        (with_column("payment_type", words={"cash": 2}), RULES, CHECKS),
        (COLUMNS[:-1], RULES, CHECKS),
        ((*COLUMNS[1:], COLUMNS[0]), RULES, CHECKS),
        (COLUMNS, [], CHECKS),
        (COLUMNS, [*RULES, NEGATIVE_TOTAL], CHECKS),
        (COLUMNS, [replace(RULES[0], where=pc.is_null)], CHECKS),
        (COLUMNS, [replace(RULES[0], where=lambda values: pc.equal(values, 1))], CHECKS),
        (COLUMNS, RULES, with_check("negative_totals", warn=0.04)),
        (COLUMNS, RULES, with_check("negative_totals", block=None)),
        (COLUMNS, RULES, with_check("negative_totals", ask=lambda figures: (figures.copies / figures.clean, ""))),
        (COLUMNS, RULES, with_check("rows_rejected", always=False)),
        (COLUMNS, RULES, CHECKS[:-1]),
    ],
    ids=[
        "column renamed", "type", "synonym", "required", "word", "column gone", "order of columns",
        "rule gone", "rule added", "rule's function", "rule's lambda",
        "limit that warns", "limit that blocks", "check's function", "check's scope", "check gone",
    ],
)  # fmt: skip
def test_what_changes_the_version(columns, rules, checks):
    assert version_of(columns, rules, checks) != version_of(COLUMNS, RULES, CHECKS)


def test_columns_of_other_services_do_not_change_the_version():
    before = version_of(FHV.columns, RULES, CHECKS)
    assert version_of(FHV.columns, [*RULES, NEGATIVE_TOTAL], CHECKS) == before
    assert version_of(FHV.columns, RULES, with_check("negative_totals", warn=0.04)) == before


def test_documentation_does_not_change_the_version():
    documented = [replace(rule, why="Because.") for rule in RULES]
    shuffled = with_column("payment_type", words=dict(reversed(PAYMENTS.items())))
    assert version_of(shuffled, documented, CHECKS) == version_of(COLUMNS, RULES, CHECKS)


@pytest.mark.parametrize("store", STORES)
def test_a_load_records_the_version_of_its_service_and_store(store, tmp_path):
    path = tmp_path / "trips.csv"
    path.write_text("lpep_pickup_datetime\n2021-01-01 00:00:00\n")
    cleaning = Cleaning(path, GREEN.partition(2021, 1), GREEN.rules.get(store, ()), tmp_path / "rejected.parquet")
    outcome = cleaning.into(lambda batches: batches.read_all().num_rows)
    assert outcome.contract_version == contract_version(GREEN, store)
    assert len(outcome.contract_version) == 12 and int(outcome.contract_version, 16)


def test_stores_with_different_rules_have_different_versions():
    assert len({contract_version(YELLOW, store) for store in STORES}) == 3
    assert len({contract_version(FHV, store) for store in STORES}) == 1  # no rule is about its columns


def share(count, what="rows"):
    def ask(figures):
        return count(figures), what

    return ask


def first(values):
    """The first."""
    return values[0]  # of all


def same(
    values,
):
    return values[0]


def last(values):
    return values[-1]


def below(values):
    return negative(values)


def test_code_of_functions():
    """A function's code and the variables that it uses matter; formatting and comments do not."""
    assert function_code(first) == function_code(same) != function_code(last)
    assert function_code(share(first)) == function_code(share(same)) != function_code(share(last))
    assert function_code(share(first)) != function_code(share(first, "trips"))
    assert function_code(pc.is_null) != function_code(pc.is_valid)


def test_code_of_what_a_function_calls(monkeypatch):
    before = function_code(below)
    monkeypatch.setattr(f"{__name__}.LIMIT", 0.5)
    assert function_code(below) != before


def test_functions_without_readable_code():
    with pytest.raises(TypeError, match="not a Python function"):
        function_code(len)
    with pytest.raises(TypeError, match="no source file"):
        function_code(eval("lambda values: values"))

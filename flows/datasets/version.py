"""The version of a contract: a hash of everything that decides which values are stored.

A partition that was loaded under another version is loaded again. So the version changes with the dataset's columns,
with the store's rules and the checks (limits and functions included), and with how files are read. It does not change
with documentation, with code that is moved, or with a rule or a check on a column that the dataset does not have.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from flows.datasets.column import Column
from flows.datasets.dataset import Dataset
from flows.datasets.quality_check import Check
from flows.datasets.rule import Rule
from flows.datasets.source_code import function_code

READING = "8b6c9cb779bf"
"""A hash of the values read from the samples in `tests/unit/test_reading_version.py`, which checks it."""


def contract_version(dataset: Dataset, store: str) -> str:
    """The version under which a store loads a dataset now: 12 hexadecimal digits."""
    return version_of(dataset.columns, dataset.rules.get(store, ()), dataset.checks)


def version_of(columns: Sequence[Column], rules: Iterable[Rule], checks: Iterable[Check]) -> str:
    """The version of a contract with these columns, rules and checks. Raises TypeError as `function_code` does."""
    names = {column.name for column in columns}
    content = [
        [_column(column) for column in columns],
        [_rule(rule) for rule in rules if rule.column in names],
        [_check(check) for check in checks if check.column is None or check.column in names],
        function_code(Check.judge),
        READING,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def _column(column: Column) -> list[object]:
    words = sorted(column.words.items())  # they have no order
    return [column.name, str(column.type), column.synonyms, column.required, words]


def _rule(rule: Rule) -> list[object]:
    return [rule.name, rule.action, rule.column, rule.value, function_code(rule.where)]


def _check(check: Check) -> list[object]:
    functions = [function_code(function) for function in (check.ask, check.condition) if function]
    return [check.name, check.column, check.warn, check.block, check.always, functions]

"""The version of a contract: a hash of everything that decides which values a store ends up with.

A partition that was loaded under another version is loaded again. So the version changes with the columns of its
dataset, with the rules of its store and the checks, limits and functions included, and with the values that are read
from a file. Documentation does not change it, nor does code that is moved or rewritten. A rule or a check on a column
that a dataset does not have does not change that dataset's version.
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
"""A hash of what is read of the samples in `tests/unit/test_reading_version.py`, which fails where the two differ."""


def contract_version(dataset: Dataset, store: str) -> str:
    """The version under which a store loads a dataset now: 12 hexadecimal digits."""
    return version_of(dataset.columns, dataset.rules.get(store, ()), dataset.checks)


def version_of(columns: Sequence[Column], rules: Iterable[Rule], checks: Iterable[Check]) -> str:
    """The version of a contract of these columns, under these rules and checks.

    Raises:
        TypeError: the code of a rule's or a check's function cannot be read (see `function_code`).
    """
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

"""The version of a contract: a hash of everything that decides which values a store ends up with.

A month that was loaded under another version is loaded again. So the version changes with the columns of its service,
with the rules that its store applies and the checks, limits and functions included, and with the values that are read
of a file. Documentation does not change it, nor does code that is moved or rewritten. A rule or a check on a column
that a service does not have leaves that service's version alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from flows.datasets.check import CHECKS, Check
from flows.datasets.partition import Service
from flows.datasets.rule import RULES_OF, Rule
from flows.datasets.source_code import function_code
from flows.datasets.tlc.contract import CONTRACT, Column

READING = "686923e01703"
"""A hash of what is read of the samples in `tests/unit/test_reading_version.py`, which fails where the two differ."""


def contract_version(service: Service, store: str) -> str:
    """The version under which a store loads a service now: 12 hexadecimal digits.

    Args:
        service: whose trips.
        store: its name in `RULES_OF`.
    """
    return version_of(CONTRACT[service], RULES_OF[store])


def version_of(columns: Sequence[Column], rules: Iterable[Rule], checks: Iterable[Check] = CHECKS) -> str:
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
    return [check.name, check.column, check.warn, check.block, check.always, function_code(check.ask)]

"""The version of a contract: a hash of everything that decides which values a store ends up with.

A month that was loaded under another version is loaded again. So the version changes with the columns of its service,
with the rules that its store applies and the checks, limits and functions included, and with the code that reads files;
not with documentation. A rule or a check on a column that a service does not have leaves that service's version alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from flows.trips.checks import CHECKS, Check
from flows.trips.contract import CONTRACT, Column, meaning
from flows.trips.month import Service
from flows.trips.rules import RULES_OF, Rule
from flows.trips.source_code import function_code, module_code

READING = (
    "cast",
    "clean",
    "conform",
    "csv_lines",
    "duplicates",
    "layouts",
    "plain",
    "quality",
    "raw",
    "read_csv",
    "read_parquet",
    "text_blocks",
)
"""The modules of this package whose code decides what is read of a file."""


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
        _reading(),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]


def _column(column: Column) -> list[object]:
    words = sorted(column.words.items())  # they have no order
    return [column.name, str(column.type), column.synonyms, column.required, words]


def _rule(rule: Rule) -> list[object]:
    return [rule.name, rule.action, rule.column, rule.value, function_code(rule.where)]


def _check(check: Check) -> list[object]:
    return [check.name, check.column, check.warn, check.block, check.always, function_code(check.ask)]


@cache
def _reading() -> str:
    code = [module_code(Path(__file__).with_name(f"{name}.py")) for name in READING]
    return "".join([*code, function_code(meaning)])

"""The single pass over a month's file: read, typed by the contract, through the rules, what does not fit put aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from flows.datasets.check import CheckResult
from flows.datasets.conform import Conform, add_reason
from flows.datasets.layout import read_layout
from flows.datasets.partition import Month
from flows.datasets.quality import Quality
from flows.datasets.rejected import REJECTED_SCHEMA, RejectedRows, line_as_json, rows_as_json
from flows.datasets.rule import Action, Rule
from flows.datasets.tlc.contract import CONTRACT, schema
from flows.datasets.version import version_of
from flows.errors import Refused
from flows.reading.csv_file import CsvFile
from flows.reading.file_kind import FileKind, detect_kind
from flows.reading.parquet_file import ParquetFile
from flows.reading.raw import Broken, RawBatch, RawFile

__all__ = ["REJECTED_SCHEMA", "Cleaning", "Counts", "open_raw"]


@dataclass
class Counts:
    """What became of a file's rows; rows_read == rows_clean + rows_rejected, at every moment.

    Attributes:
        rows_read: data rows in the file: lines that are not blank, after the header.
        rows_clean: rows that came out.
        rows_rejected: rows that were put aside.
        reasons: reason -> rejected rows.
        missing_columns: the contract's columns that the file does not have.
        extra_columns: the file's columns that the contract does not have.
        layout: the name of the file's layout.
    """

    rows_read: int = 0
    rows_clean: int = 0
    rows_rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    missing_columns: list[str] = field(default_factory=list)
    extra_columns: list[str] = field(default_factory=list)
    layout: str = ""


def open_raw(path: Path, subject: str) -> RawFile:
    """The file as its kind has it, by its first bytes.

    Raises:
        Refused: it is not trip data, or is damaged where its header stands.
    """
    kind = detect_kind(path, subject)
    return ParquetFile(path, subject) if kind is FileKind.PARQUET else CsvFile(path, kind, subject)


class Cleaning:
    """One pass over one source file.

    Args:
        path: the file: csv, csv.gz or parquet of any layout TLC published, or a parquet of the contract itself.
        month: whose file it is; its first day is every row's `source_month`.
        rules: what rows must pass, in this order.
        rejected: where rejected rows are written (REJECTED_SCHEMA).
        subject: what errors name, `path` if not given: the URL it came from.

    Attributes:
        month, rejected: as given.
        schema: the schema of every clean batch.
        counts: what became of the rows so far; final once the reader is exhausted.
        checks: what the quality checks say of the clean rows; empty until the reader is exhausted.
        contract_version: the version of the contract that it reads by, with its rules and the checks.
        failure: what ended the pass early, or None. A consumer in C (ADBC) shows it only as a text.

    Raises:
        Refused: the file is not trip data, not this service's, or lacks a required column.
    """

    def __init__(
        self, path: Path, month: Month, rules: Sequence[Rule], rejected: Path, *, subject: str | None = None
    ) -> None:
        self.month, self.rejected = month, rejected
        self.schema = schema(month.service)
        self.contract_version = version_of(CONTRACT[month.service], rules)
        self.failure: BaseException | None = None
        self.checks: list[CheckResult] = []
        self._subject = subject or str(path)
        self._rules = [rule for rule in rules if rule.column in self.schema.names]
        self._file = open_raw(path, self._subject)
        self._layout = read_layout(self._file.header, month.service, self._subject)
        self._conform = Conform(self._layout, month, self._subject)
        self.counts = Counts(
            layout=self._layout.name,
            missing_columns=list(self._layout.missing),
            extra_columns=self._conform.extra_columns,
        )
        self._rejected = RejectedRows(rejected, month)
        self._started = False

    def reader(self) -> pa.RecordBatchReader:
        """The clean batches, each of exactly `schema`; can be read once.

        The file `rejected` is whole once the reader is exhausted, and is not there if the pass ends early or nothing
        was rejected. While it is read:

        Raises:
            Refused: the file turns out damaged, cut off, without a row, or with merge-conflict markers.
        """
        if self._started:
            raise RuntimeError("a Cleaning is one pass: make another one to read the file again")
        self._started = True
        return pa.RecordBatchReader.from_batches(self.schema, self._pass())

    def _pass(self) -> Iterator[pa.RecordBatch]:
        try:
            with Quality(self.month, self.rejected.parent) as quality:
                for raw in self._file.batches():
                    batch = self._clean(raw)
                    if len(batch):
                        quality.add(batch)
                        yield batch
                if not self.counts.rows_read:
                    raise Refused(self._subject, "has a header and not one row")
                self.checks = quality.results(self.counts.rows_read, self.counts.missing_columns)
            self._rejected.close()
        except BaseException as error:  # GeneratorExit too: a consumer that stops early
            self.failure = error
            self._rejected.discard()
            raise

    def _clean(self, raw: RawBatch) -> pa.RecordBatch:
        """The clean rows of a batch; the others are put aside and all are counted."""
        self._reject_broken(raw.broken)
        if not len(raw.numbers):
            return pa.RecordBatch.from_pylist([], self.schema)
        batch, reasons = self._apply_rules(*self._conform(raw.columns))
        if reasons is not None and reasons.null_count < len(reasons):
            self._reject(raw, reasons)
            batch = batch.filter(pc.is_null(reasons))
        if batch.schema != self.schema:  # COPY trusts the types it was told: never let others through
            raise TypeError(f"a batch of {batch.schema} is not of {self.schema}")
        self.counts.rows_clean += len(batch)
        self.counts.rows_read += len(batch)
        return batch

    def _apply_rules(
        self, batch: pa.RecordBatch, reasons: pa.StringArray | None
    ) -> tuple[pa.RecordBatch, pa.StringArray | None]:
        for rule in self._rules:
            at = self.schema.get_field_index(rule.column)
            where = pc.fill_null(rule.where(batch.column(at)), False)
            if not pc.any(where).as_py():
                continue
            if rule.action is Action.REJECT:
                reasons = add_reason(reasons, where, rule.name)
            else:
                value = pa.scalar(rule.value, self.schema.field(at).type)
                batch = batch.set_column(at, self.schema.field(at), pc.if_else(where, value, batch.column(at)))
        return batch, reasons

    def _reject(self, raw: RawBatch, reasons: pa.StringArray) -> None:
        """Put aside the rows that have a reason, as the file has them."""
        where = pc.is_valid(reasons)
        rows, why = raw.columns.filter(where), reasons.filter(where)
        names = [self._layout.label(at) for at in range(rows.num_columns)]
        self._put_aside(pa.array(raw.numbers).filter(where), why, rows_as_json(rows.columns, names, len(rows)))

    def _reject_broken(self, broken: list[Broken]) -> None:
        if broken:
            numbers, reasons, lines = zip(*broken, strict=True)
            rows = pa.array([line_as_json(line) for line in lines], pa.string())
            self._put_aside(pa.array(numbers, pa.int64()), pa.array(reasons, pa.string()), rows)

    def _put_aside(self, numbers: pa.Array, reasons: pa.Array, rows: pa.Array) -> None:
        self._rejected.add(numbers, reasons, rows)
        self.counts.reasons.update({item["values"]: item["counts"] for item in reasons.value_counts().to_pylist()})
        self.counts.rows_rejected += len(numbers)
        self.counts.rows_read += len(numbers)

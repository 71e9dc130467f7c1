"""The single pass over a source file: read it, cast it to the contract, apply the rules, reject the other rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from flows.datasets.conform import Conform, add_reason
from flows.datasets.dataset import Partition
from flows.datasets.layout import read_layout
from flows.datasets.outcome import Outcome
from flows.datasets.quality import Quality
from flows.datasets.quality_check import CheckResult
from flows.datasets.rejected import RejectedRows, rows_as_json
from flows.datasets.rule import Action, Rule
from flows.datasets.version import version_of
from flows.errors import Refused, StoreFailed
from flows.reading.open_file import open_raw
from flows.reading.raw import Broken, RawBatch


class Cleaning:
    """One pass over one source file: csv, csv.gz or parquet, in any published layout or in the contract's own.

    Args:
        path: the file.
        partition: the partition that the file holds.
        rules: the rules to apply, in this order.
        rejected: the file that rejected rows are written to (REJECTED_SCHEMA).
        subject: the URL that error messages name; by default `path`.

    Raises:
        Refused: the file is not of this dataset, is of no known kind, or lacks a required column.
    """

    def __init__(
        self, path: Path, partition: Partition, rules: Sequence[Rule], rejected: Path, *, subject: str | None = None
    ) -> None:
        dataset = partition.dataset
        self.partition, self.rejected = partition, rejected
        self.schema = dataset.schema
        self._subject = subject or str(path)
        self._contract_version = version_of(dataset.columns, rules, dataset.checks)
        self._rules = [rule for rule in rules if rule.column in self.schema.names]
        self._file = open_raw(path, self._subject)
        self.layout = read_layout(self._file.header, dataset, self._subject)
        self._conform = Conform(self.layout, partition, self._subject)
        self._rejected = RejectedRows(rejected, partition)
        self._rows_read = self._rows_clean = 0
        self._reasons: Counter[str] = Counter()
        self._checks: list[CheckResult] | None = None
        self._started = False

    def into(self, write: Callable[[pa.RecordBatchReader], int]) -> Outcome:
        """Run the pass, once: `write` gets the clean batches and returns how many rows it has written.

        Afterwards the file `rejected` is complete; it does not exist if the pass failed or rejected nothing.

        Raises:
            Refused: the file is damaged, truncated, without a row, or has merge-conflict markers.
            StoreFailed: `write` did not read, or did not write, every row.
            Exception: whatever `write` raises.
        """
        if self._started:
            raise RuntimeError("a Cleaning can run only once: create another one to read the file again")
        self._started = True
        written = write(pa.RecordBatchReader.from_batches(self.schema, self._pass()))
        if self._checks is None or written != self._rows_clean:
            raise StoreFailed(str(self.partition), f"inserted {written:,} rows, expected {self._rows_clean:,}")
        return Outcome(
            rows_read=self._rows_read,
            rows_loaded=self._rows_clean,
            reasons=dict(self._reasons),
            checks=tuple(self._checks),
            contract_version=self._contract_version,
            layout=self.layout.name,
            missing_columns=self.layout.missing,
            extra_columns=tuple(self._conform.extra_columns),
        )

    def _pass(self) -> Iterator[pa.RecordBatch]:
        try:
            with closing(Quality(self.partition, self.rejected.parent)) as quality:
                for raw in self._file.batches():
                    batch = self._clean(raw)
                    if len(batch):
                        quality.add(batch)
                        yield batch
                if not self._rows_read:
                    raise Refused(self._subject, "has a header and not one row")
                self._rejected.close()
                self._checks = quality.results(self._rows_read, self.layout.missing)
        except BaseException:  # GeneratorExit too: a consumer that stops early
            self._rejected.discard()
            raise

    def _clean(self, raw: RawBatch) -> pa.RecordBatch:
        """The clean rows of a batch; the others are rejected, and all are counted."""
        self._reject_broken(raw.broken)
        if not len(raw.numbers):
            return pa.RecordBatch.from_pylist([], self.schema)
        batch, reasons = self._apply_rules(*self._conform(raw.columns))
        if reasons is not None and reasons.null_count < len(reasons):
            self._reject(raw, reasons)
            batch = batch.filter(pc.is_null(reasons))
        self._rows_clean += len(batch)
        self._rows_read += len(batch)
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
        """Write the rows that have a reason, with their original values, to the rejected rows."""
        where = pc.is_valid(reasons)
        rows, why = raw.columns.filter(where), reasons.filter(where)
        names = [self.layout.label(at) for at in range(rows.num_columns)]
        self._keep_rejected(pa.array(raw.numbers).filter(where), why, rows_as_json(rows.columns, names, len(rows)))

    def _reject_broken(self, broken: list[Broken]) -> None:
        if broken:
            numbers, reasons, lines = zip(*broken, strict=True)
            rows = pa.array([json.dumps({"line": line}) for line in lines], pa.string())
            self._keep_rejected(pa.array(numbers, pa.int64()), pa.array(reasons, pa.string()), rows)

    def _keep_rejected(self, numbers: pa.Array, reasons: pa.Array, rows: pa.Array) -> None:
        self._rejected.add(numbers, reasons, rows)
        self._reasons.update({item["values"]: item["counts"] for item in reasons.value_counts().to_pylist()})
        self._rows_read += len(numbers)

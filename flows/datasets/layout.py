"""Maps the columns of a file to those of the contract by their normalized names, whatever the file's layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.datasets.column import normalized
from flows.datasets.dataset import EXTRA_COLUMNS, Dataset
from flows.datasets.registry import datasets
from flows.errors import Refused

OWN = "taxiway"
"""The layout of the contract itself: a file that this project wrote."""

MOST_COLUMNS = 500


@dataclass(frozen=True)
class Layout:
    """How one file's columns map to the contract.

    Attributes:
        name: the known layout, `taxiway` for the contract's own, or the nearest known one and the differences.
        header: the file's column names, unchanged.
        sources: contract column -> positions in the file, in the order of its name and synonyms; of several, the first
            with a value is used.
        extra: positions of columns that the contract does not have -> their names in `extra_columns`.
        missing: contract columns that the file does not have: null in every row.
    """

    dataset: Dataset
    name: str
    header: tuple[str, ...]
    sources: Mapping[str, tuple[int, ...]]
    extra: Mapping[int, str]
    missing: tuple[str, ...]

    @property
    def own(self) -> bool:
        """Whether this project wrote the file, in the contract's own layout."""
        return self.name == OWN

    def label(self, at: int) -> str:
        """A unique name for a column of the file."""
        name = self.header[at]
        return name if name and self.header.count(name) == 1 else f"{name or 'column'}_{at + 1}"


def read_layout(header: Sequence[str], dataset: Dataset | None, subject: str) -> Layout:
    """The layout of a file with this header; without `dataset`, the header must identify it.

    Raises Refused if the columns are those of another dataset or of none, or a required one is missing.
    """
    names = tuple(header)
    if len(names) > MOST_COLUMNS:
        raise Refused(subject, f"has {len(names):,} columns, the limit is {MOST_COLUMNS}: {_first(names)}")
    marked = _marked(names)
    dataset = dataset or dataset_of(names)
    if dataset is None:
        raise Refused(subject, f"has the columns of no dataset: {_first(names)}")
    if marked not in (None, dataset):
        raise Refused(subject, f"has the columns of {marked}, not {dataset}: {_first(names)}")
    layout = _match(names, dataset)
    absent = [column.name for column in dataset.columns if column.required and column.name in layout.missing]
    if absent:
        raise Refused(subject, f"has no {', '.join(absent)} column: {_first(names)}")
    return layout


def dataset_of(header: Sequence[str]) -> Dataset | None:
    """The dataset that the columns identify, if there is one."""
    found = {normalized(name) for name in header}
    signed = (dataset for dataset in datasets().values() if dataset.signature and dataset.signature <= found)
    return _marked(header) or next(signed, None)


def _marked(header: Sequence[str]) -> Dataset | None:
    """The dataset that has one of the columns as a mark, or whose own layout the header is."""
    found = {normalized(name) for name in header}
    known = datasets().values()
    own = next((dataset for dataset in known if tuple(header) == tuple(dataset.schema.names)), None)
    marked = [dataset for dataset in known if dataset.marks & found]
    return own or max(marked, key=lambda dataset: len(found & dataset.columns_by_name.keys()), default=None)


def _match(names: tuple[str, ...], dataset: Dataset) -> Layout:
    added = {EXTRA_COLUMNS, dataset.partition_column} - {None}
    own = added <= set(names)
    sources: dict[str, tuple[int, ...]] = {}
    extra: dict[int, str] = {}
    for position, name in enumerate(names):
        if _is_index(position, name) or (own and name in added):
            continue
        column = dataset.columns_by_name.get(normalized(name))
        if column:
            sources[column.name] = (*sources.get(column.name, ()), position)
        else:
            extra[position] = name.strip() or f"column_{position + 1}"
    for column in dataset.columns:
        rank = [normalized(name) for name in (column.name, *column.synonyms)]
        if len(sources.get(column.name, ())) > 1:
            sources[column.name] = tuple(sorted(sources[column.name], key=lambda at: rank.index(normalized(names[at]))))
    return Layout(
        dataset,
        OWN if own else _name(names, dataset),
        names,
        sources,
        _distinct(extra),
        tuple(column.name for column in dataset.columns if column.name not in sources),
    )


def _is_index(position: int, name: str) -> bool:
    """Whether a column is the row index of a pandas data frame, which is first and has no name, or has its own."""
    return (position == 0 and normalized(name) in ("", "unnamed0")) or name.startswith("__index_level_")


def _distinct(extra: Mapping[int, str]) -> dict[int, str]:
    """Unique names of extra columns: the position is added to names that occur twice."""
    count = Counter(extra.values())
    return {at: name if count[name] == 1 else f"{name}_{at + 1}" for at, name in extra.items()}


def _name(names: tuple[str, ...], dataset: Dataset) -> str:
    """The known layout with the same columns, in any order; or the nearest one and the differences."""
    found = {normalized(name) for at, name in enumerate(names) if not _is_index(at, name)}
    known = {name: {normalized(column) for column in header.split(",")} for name, header in dataset.layouts.items()}
    if not known:
        return dataset.name
    nearest = min(known, key=lambda name: len(known[name] ^ found))
    more, fewer = len(found - known[nearest]), len(known[nearest] - found)
    return nearest + (f" (+{more} -{fewer} columns)" if more or fewer else "")


def _first(names: tuple[str, ...]) -> str:
    """The header for an error message, shortened to one line."""
    shown = ",".join(names[:100])[:100].encode("unicode_escape").decode()
    return f"its header is {shown!r}" if names else "it has no header"

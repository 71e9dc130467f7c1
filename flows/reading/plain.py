"""Converts columns of any Arrow type to one of a few plain types, right after they are read.

Arrow cannot filter, cast or print every type of a file: views, run-end encoding, a dictionary of views, and any list or
struct of them. Python cannot represent every Arrow value: years before 1 and after 9999, times in a zone that is
unknown on this machine. Plain columns can be filtered, and `text_of` converts each of their values to text.

The plain types: null, boolean, integers, float32 and float64, decimals, string, dates, times, durations, timestamps.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

TEXT_MAP = pa.map_(pa.string(), pa.string())
"""The only nested type that is unchanged: map columns of the project's own files."""


def plain(values: pa.Array) -> pa.Array:
    r"""The same values in a plain type.

    Binary becomes text, with `\xNN` for bytes that are not UTF-8. A list, struct or map becomes JSON: a map as a list
    of its keys and values, booleans and numbers as such, everything else as text.
    """
    kind = values.type
    change = next((change for applies, change in _CHANGES if applies(kind)), None)
    return change(values) if change else values


def text_of(values: pa.Array) -> pa.StringArray:
    """Each value of a plain column as text; times in a zone that is unknown on this machine are UTC, with a Z."""
    kind = values.type
    try:
        return _as_json(values) if pa.types.is_nested(kind) else values.cast(pa.string())
    except pa.ArrowInvalid:
        if not pa.types.is_timestamp(kind) or kind.tz is None:
            raise
        return pc.binary_join_element_wise(values.cast(pa.timestamp(kind.unit)).cast(pa.string()), "Z", "")


def _decoded(values: pa.Array) -> pa.StringArray:
    try:
        return values.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        # Written as in `text_blocks`, so that `cast` rejects it in a text column.
        return pa.array([None if b is None else b.decode("utf-8", "backslashreplace") for b in values.to_pylist()])


def _uuids(values: pa.ExtensionArray) -> pa.StringArray:
    return pa.array([None if uuid is None else str(uuid) for uuid in values.to_pylist()], pa.string())


def _as_json(values: pa.Array) -> pa.StringArray:
    texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in _objects(values)]
    return pa.array(texts, pa.string())


def _objects(values: pa.Array) -> list[Any]:
    """The values as Python objects for JSON."""
    kind = values.type
    if pa.types.is_struct(kind):
        given = [field.name for field in kind]
        names = [name if given.count(name) == 1 else f"{name}_{at}" for at, name in enumerate(given, 1)]
        rows = zip(*map(_objects, values.flatten()), strict=True) if names else [()] * len(values)
        found: list[Any] = [dict(zip(names, row, strict=True)) for row in rows]
    elif pa.types.is_map(kind):
        pairs = zip(_objects(values.keys), _objects(values.items), strict=True)
        entries = [{"key": key, "value": value} for key, value in pairs]
        found = [entries[start:end] for start, end in pairwise(values.offsets.to_pylist())]
    elif pa.types.is_nested(kind):
        found = [[] for _ in values]
        items = _objects(pc.list_flatten(values))
        for row, item in zip(pc.list_parent_indices(values).to_pylist(), items, strict=True):
            found[row].append(item)
    else:
        leaves = plain(values)
        bare = pa.types.is_boolean(leaves.type) or pa.types.is_integer(leaves.type) or pa.types.is_floating(leaves.type)
        found = (leaves if bare else text_of(leaves)).to_pylist()
    return [value if valid else None for value, valid in zip(found, values.is_valid().to_pylist(), strict=True)]


def _as_string(values: pa.Array) -> pa.StringArray:
    return values.cast(pa.string())


# The types that are not plain, and the functions that convert their values. The first match applies.
_CHANGES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], pa.Array]], ...] = (
    (pa.uuid().equals, _uuids),
    (lambda kind: isinstance(kind, pa.BaseExtensionType), lambda values: plain(values.storage)),
    (pa.types.is_dictionary, lambda values: plain(values.dictionary).take(values.indices)),
    (pa.types.is_run_end_encoded, lambda values: plain(pc.run_end_decode(values))),
    (pa.types.is_large_string, _as_string),
    (pa.types.is_string_view, _as_string),
    (pa.types.is_binary, _decoded),
    (pa.types.is_large_binary, _decoded),
    (pa.types.is_binary_view, _decoded),
    (pa.types.is_fixed_size_binary, _decoded),
    (pa.types.is_float16, lambda values: values.cast(pa.float32())),
    (lambda kind: pa.types.is_nested(kind) and kind != TEXT_MAP, _as_json),
)

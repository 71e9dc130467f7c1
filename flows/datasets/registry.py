"""The list of all datasets: every `DATASETS` tuple of a module or package in this folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

import flows.datasets
from flows.datasets.dataset import Dataset


@cache
def datasets() -> Mapping[str, Dataset]:
    """All datasets by name. Raises ValueError if two have the same name or the same table."""
    found: dict[str, Dataset] = {}
    for module in pkgutil.iter_modules(flows.datasets.__path__, "flows.datasets."):
        for dataset in getattr(importlib.import_module(module.name), "DATASETS", ()):
            if dataset.name in found or dataset.table in {other.table for other in found.values()}:
                raise ValueError(f"{module.name}: another dataset has the name or the table of {dataset.name}")
            found[dataset.name] = dataset
    return found


def named(name: str) -> Dataset:
    """The dataset of that name. Raises ValueError if there is none."""
    if name not in datasets():
        raise ValueError(f"unknown dataset {name!r}: the datasets are {', '.join(sorted(datasets()))}")
    return datasets()[name]

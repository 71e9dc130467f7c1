"""The contract's table and the layouts of files: names by meaning, services by columns."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flows.datasets.column import FLOAT, INT, TEXT, TIME, normalized
from flows.datasets.dataset import Dataset
from flows.datasets.layout import dataset_of, read_layout
from flows.datasets.registry import named
from flows.datasets.tlc import DATASETS, FHV, FHVHV, GREEN, YELLOW
from flows.datasets.tlc.layouts import LAYOUTS
from flows.errors import Refused

COORDINATES = {"pickup_longitude", "pickup_latitude", "dropoff_longitude", "dropoff_latitude"}


def layout_of(header: str, service: Dataset | None = None):
    return read_layout(header.split(","), service, "a file")


@pytest.mark.parametrize("service", DATASETS)
def test_schema(service):
    fields = service.schema
    assert len(set(fields.names)) == len(fields)
    assert fields.names[-2:] == ["extra_columns", "source_month"]
    assert fields.field("extra_columns").type == pa.map_(pa.string(), pa.string())
    assert fields.field("source_month").type == pa.date32()
    assert {field.type for field in list(fields)[:-2]} <= {INT, FLOAT, TEXT, TIME}
    assert [field.name for field in fields if not field.nullable] == ["pickup_datetime", "source_month"]


def test_a_name_is_of_one_column():
    for service in DATASETS:
        names = [normalized(name) for column in service.columns for name in (column.name, *column.synonyms)]
        assert len(set(names)) == len(names) == len(service.columns_by_name)


def test_normalized_names():
    assert normalized(" PULocationID") == normalized("PUlocationID") == normalized("pu_location_id") == "pulocationid"
    assert normalized("Trip_type ") == "triptype"
    assert normalized("") == normalized(" _ ") == ""


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_column_of_a_known_layout_is_recognised(name):
    service = named(name.split("-")[0])
    layout = layout_of(LAYOUTS[name], service)
    assert layout.name == name
    assert not layout.extra
    assert set(layout.sources) | set(layout.missing) == {column.name for column in service.columns}
    assert not set(layout.sources) & set(layout.missing)


@pytest.mark.parametrize("name", LAYOUTS)
def test_columns_identify_the_service(name):
    assert dataset_of(LAYOUTS[name].split(",")).name == name.split("-")[0]


@pytest.mark.parametrize("service", DATASETS)
def test_the_contract_is_a_layout(service):
    layout = read_layout(service.schema.names, None, "a file")
    assert (layout.name, layout.dataset, layout.own, layout.missing) == ("taxiway", service, True, ())


def test_places_and_zones_exclude_each_other():
    assert {"pickup_location_id", "dropoff_location_id"} <= set(layout_of(LAYOUTS["yellow-2010"]).missing)
    assert set(layout_of(LAYOUTS["yellow-2019"]).missing) >= COORDINATES


def test_case_spaces_order_and_index_do_not_matter():
    names = LAYOUTS["green-2019"].split(",")
    odd = ["", *(f" {name.upper()} " for name in reversed(names)), "__index_level_0__"]
    layout = read_layout(odd, GREEN, "a file")
    assert layout.name == "green-2019"
    assert not layout.extra
    assert layout.sources["vendor_id"] == (len(names),)


def test_an_unknown_column_is_extra_and_a_missing_one_missing():
    layout = layout_of(LAYOUTS["green-2019"].replace("tip_amount", "mood , mood,"), GREEN)
    assert "tip_amount" in layout.missing
    assert list(layout.extra.values()) == ["mood_13", "mood_14", "column_15"]
    assert layout.name == "green-2019 (+2 -1 columns)"


def test_of_two_synonyms_the_contracts_own_name_has_priority():
    assert layout_of(LAYOUTS["fhv-2018"]).sources["dispatching_base_num"] == (6, 5)


@pytest.mark.parametrize(
    ("header", "service", "reason"),
    [
        ("a,b,c", None, "has the columns of no dataset: its header is 'a,b,c'"),
        ("a,b,c", GREEN, "has no pickup_datetime column: its header is 'a,b,c'"),
        ("", GREEN, "has no pickup_datetime column"),
        ("pickup_datetime," * 501, GREEN, "has 502 columns, the limit is 500"),
        (LAYOUTS["green-2019"], YELLOW, "has the columns of green, not yellow"),
        (LAYOUTS["yellow-2019"], FHV, "has the columns of yellow, not fhv"),
        (LAYOUTS["fhv-2017"], FHVHV, "has the columns of fhv, not fhvhv"),
        (LAYOUTS["fhvhv-2022"], FHV, "has the columns of fhvhv, not fhv"),
        (LAYOUTS["yellow-2019"].replace("tpep_pickup_datetime", "when"), YELLOW, "has no pickup_datetime"),
    ],
)
def test_refusals(header, service, reason):
    with pytest.raises(Refused, match="a file: ") as refused:
        layout_of(header, service)
    assert refused.value.reason.startswith(reason)
    assert "\n" not in str(refused.value)

"""The flows' parameters: on the command line, with `make run`, and in the API."""

from __future__ import annotations

import logging

import pytest
from jsonschema import ValidationError, validate
from prefect.exceptions import ParameterTypeError

from flows.backfill import etl_parent_flow
from flows.datasets.tlc import TLC_URL
from flows.web_to_postgres import etl_web_to_postgres
from infra.deploy.run import WrongParameter, parameters_of, value_of

PROPERTIES = etl_parent_flow.parameters.properties | etl_web_to_postgres.parameters.properties


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("MONTH=01", 1),
        ("MONTH=1", 1),
        ("MONTH=null", None),
        ("MONTH=x", "x"),
        ("MONTHS=1-3", [1, 2, 3]),
        ("MONTHS=01,2,12", [1, 2, 12]),
        ("MONTHS=3", [3]),
        ("MONTHS=[1,2]", [1, 2]),
        ("FORCE=1", True),
        ("FORCE=true", True),
        ("DRY_RUN=0", False),
        ("LIMIT=12", 12),
        ("SERVICE=green", "green"),
        ("POSTGRES_BLOCK=01", "01"),
        ("SOURCE_URL=file:///a,b/{year}-{month:02}.csv", "file:///a,b/{year}-{month:02}.csv"),
    ],
)
def test_make_run_passes_parameters(pair, expected):
    ((name, text),) = parameters_of([pair]).items()
    assert value_of(name, text, PROPERTIES[name]) == expected


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("MONTHS=13", "months: months '13': '13' is not within 1 to 12"),
        ("MONTHS=a", "is not a month"),
        ("SOURCE_URL=https://me:hunter2@host/{year}-{month}", "source_url: has a user, password or query"),
    ],
)
def test_invalid_parameters_of_make_run(pair, says):
    ((name, text),) = parameters_of([pair]).items()
    with pytest.raises(WrongParameter, match=says) as refusal:
        value_of(name, text, PROPERTIES[name])
    assert "\n" not in str(refusal.value) and "hunter2" not in str(refusal.value)


def test_a_flow_as_a_command_reads_months_as_make_does():
    etl_parent_flow.validate_parameters({"months": "1-3,12", "year": "2021"})
    etl_web_to_postgres.validate_parameters({"month": "01"})
    with pytest.raises(ParameterTypeError, match="not within 1 to 12"):
        etl_parent_flow.validate_parameters({"months": "1-13"})


@pytest.mark.parametrize(
    ("template", "taken"),
    [
        (TLC_URL, True),
        (None, True),
        ("file:///data/me@home/{year}-{month:02}.csv", True),
        ("http://127.0.0.1:8000/{year}/{month}.csv.gz", True),
        ("http://[::1]:8000/{year}/{month}.csv.gz", True),
        ("https://cdn.host/gh/a/b@1.0/{year}-{month}", True),
        ("https://me:hunter2@host/{year}-{month}", False),
        ("https://hunter2@host/{year}-{month}", False),
        ("https://host/{year}-{month}?token=hunter2", False),
        ("https://host/{year}-{month}#hunter2", False),
        ("https://me:1/hunter2@host/{year}-{month}", False),
        ("https://me:a/hunter2@host/{year}-{month}", False),
        ("https:/me:hunter2@host/{year}-{month}", False),
        ("me:hunter2@host/{year}-{month}", False),
    ],
)
def test_an_address_with_a_password_is_no_parameter(template, taken):
    """The API refuses it before it is stored, by the schema; the flow itself without repeating it."""
    schema = PROPERTIES["source_url"]
    logging.disable(logging.ERROR)
    try:
        if taken:
            validate(template, schema)
            etl_parent_flow.validate_parameters({"source_url": template})
            return
        with pytest.raises(ValidationError):
            validate(template, schema)
        with pytest.raises(ParameterTypeError, match="TAXIWAY_SOURCE_URL") as refusal:
            etl_parent_flow.validate_parameters({"source_url": template})
        assert "hunter2" not in str(refusal.value)
    finally:
        logging.disable(logging.NOTSET)


def test_no_setting_is_a_default_of_a_source():
    assert {flow.parameters.properties["source_url"]["default"] for flow in (etl_parent_flow, etl_web_to_postgres)} == {
        None
    }

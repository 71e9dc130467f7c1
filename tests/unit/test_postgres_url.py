"""The address of a database in every accepted form, and errors that do not show any part of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr, ValidationError
from sqlalchemy import make_url

from flows.errors import StoreFailed
from flows.pipeline.open_stores import libpq_uri
from infra.blocks import postgres_block
from infra.environment import settings_for_containers
from infra.postgres_url import libpq_url, postgres_url
from infra.settings import ROOT, Settings, one_line

PARTS = {"user": "u", "password": "hush", "host": "h", "port": "5433", "dbname": "d"}

PASSWORDS = ["p@ss", "pa/ss", "pa:ss", "50%41", "a#b?c", "back\\slash", "with space", "quo'te\"", "$HOME", "é€", "&=+"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("postgresql://u:hush@h:5433/d", PARTS),
        ("  postgres://u:hush@h:5433/d\n", PARTS),
        ("postgresql+psycopg2://u:hush@h:5433/d", PARTS),
        ("postgresql+asyncpg://u:hush@h:5433/d", PARTS),
        ("jdbc:postgresql://h:5433/d?user=u&password=hush", PARTS),
        ("jdbc:postgresql:d", {"dbname": "d"}),
        ("host=h port=5433 dbname=d user=u password=hush", PARTS),
        ("host=h port=5433 dbname='d' user=u password='hu sh'", PARTS | {"password": "hu sh"}),
        ("service=mine", {"service": "mine"}),
        ("postgresql://a%20user:hu%20sh@h/my%20db?options=-c%20x", {
            "user": "a user", "password": "hu sh", "host": "h", "dbname": "my db", "options": "-c x",
        }),
        ("postgresql://u:hush@[::1]:5433/d", PARTS | {"host": "::1"}),
        ("postgresql://u:hush@one,two/d", {"user": "u", "password": "hush", "host": "one,two", "dbname": "d"}),
        ("postgresql:///d?host=/var/run/postgresql", {"dbname": "d", "host": "/var/run/postgresql"}),
        ("postgresql://u:p#s:s?s@h:5433/d", PARTS | {"password": "p#s:s?s"}),
    ],
)  # fmt: skip
def test_accepted_forms(text, parts):
    found = {name: value for name, value in conninfo_to_dict(libpq_url(text)).items() if value.strip(",")}
    assert found == parts
    config = Settings(_env_file=None, postgres_url=text)
    block = postgres_block(config)
    assert libpq_uri(block) == libpq_url(text) and "hush" not in repr(block)


@pytest.mark.parametrize(
    "text",
    [
        "h:5433/d",
        "mysql://u:hush@h/d",
        "sqlite:///hush.db",
        "host=h password",
        "postgresql://u:h@ush@h/d",
        "postgresql://u:ush/hush@h/d",
        "postgresql://u:12/hush@h/d",
        "postgresql://u:hush%zz@h/d",
        "postgresql://u:hush@h/d?sslmoode=require",
        "jdbc:postgresql://h/d?currentSchema=hush",
        " ",
    ],
)
def test_another_form_is_one_line_with_the_setting_and_without_the_value(text):
    with pytest.raises(ValidationError) as refused:
        Settings(_env_file=None, postgres_url=text)
    line = one_line(refused.value)
    assert line.startswith("TAXIWAY_POSTGRES_URL: expected postgresql://user:password@host:port/database")
    assert "\n" not in line and "ush" not in line + str(refused.value)


def test_an_entry_point_reports_it_in_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "flows.web_to_postgres", "--help"],
        env={"TAXIWAY_POSTGRES_URL": "mysql://u:hush@h/d", "TAXIWAY_WORK_POOL_TYPE": "other"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "TAXIWAY_POSTGRES_URL: expected" in line and "TAXIWAY_WORK_POOL_TYPE: Input" in line and "hush" not in line


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_is_the_same_in_every_url(password):
    config = settings_for_containers(Settings(_env_file=None), {"TRIPS_PASSWORD": password})
    url = config.postgres_url.get_secret_value()
    expected = {"user": "trips", "password": password, "host": "postgres", "port": "5432", "dbname": "trips"}
    assert conninfo_to_dict(url) == expected == conninfo_to_dict(libpq_uri(postgres_block(config)))
    parsed = make_url(url)
    assert (parsed.password, parsed.host, parsed.port, parsed.database) == (password, "postgres", 5432, "trips")


def test_options_of_the_block_are_used():
    block = postgres_block(
        Settings(_env_file=None, postgres_url="postgresql://u:p@h/d?sslmode=require&application_name=a")
    )
    block.connect_args = {"options": "-c search_path=taxi", "connect_timeout": 7, "sslmode": "disable"}
    assert conninfo_to_dict(libpq_uri(block)) == {
        "user": "u", "password": "p", "host": "h", "dbname": "d", "sslmode": "disable", "application_name": "a",
        "options": "-c search_path=taxi", "connect_timeout": "7",
    }  # fmt: skip


def test_an_unknown_option_is_reported_by_name():
    block = postgres_block(Settings(_env_file=None, postgres_url="postgresql://u:p@h/d"))
    block.connect_args = {"autocommit": True}
    with pytest.raises(StoreFailed, match="autocommit is not an option of libpq"):
        libpq_uri(block)
    other = block.model_copy(update={"connection_info": block.connection_info.model_copy()})
    other.connection_info.driver = "mysql+pymysql"
    with pytest.raises(StoreFailed, match="the driver is not of PostgreSQL"):
        libpq_uri(other)


def test_a_block_from_a_url():
    block = postgres_block(Settings(_env_file=None, postgres_url="postgresql://u:p@h/d"))
    whole = block.model_copy(update={"connection_info": "postgresql+psycopg2://u:p%40ss@h/d?options=-c%20x"})
    assert libpq_uri(whole) == postgres_url(user="u", password="p@ss", host="h", dbname="d", options="-c x")


def test_an_empty_setting_is_none():
    assert Settings(_env_file=None, postgres_url=SecretStr("")).postgres_url is None

"""Where a month is and what TLC published for it."""

from __future__ import annotations

import datetime as dt

import pytest

from flows.datasets.tlc import FHV, FHVHV, GREEN, TLC_URL, YELLOW
from flows.reading.address import public, require_public
from infra.months import months_of

GREEN_2021_01 = GREEN.partition(2021, 1)


def test_the_default_template_gives_the_address_of_tlc():
    assert GREEN_2021_01.url(TLC_URL) == (
        "https://d37ci6vzurychx.cloudfront.net/trip-data/green_tripdata_2021-01.parquet"
    )


@pytest.mark.parametrize(
    "template",
    [
        "http://127.0.0.1:8000/{service}/{year}/{month}.csv.gz",
        "file:///data/{service}_tripdata_{year}-{month:02}.parquet",
        "https://user:secret@host/{service}/{service}_tripdata_{year}-{month:02}.csv.gz?token={year}",
    ],
)
def test_every_kind_of_address_is_taken(template):
    assert GREEN_2021_01.url(template) == template.format(service="green", year=2021, month=1)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("https://host/{service}-{year}.parquet", "no {month}"),
        ("https://host/{service}-{month:02}.parquet", "no {year}"),
        ("https://host/{year}-{month:02}-{day}.parquet", "unknown field {day}"),
        ("https://host/{year}-{month.__class__}.parquet", "unknown field"),
        ("https://host/{year!r}-{month}.parquet", "unknown field"),
        ("https://host/{year}-{month:{year}}.parquet", "unknown field"),
        ("https://host/{}-{month}.parquet", "unknown field"),
        ("https://host/{year}-{month:02}{.parquet", "expected"),
        ("https://host/{year}-{month:zz}.parquet", "format"),
        ("ftp://host/{year}-{month:02}", "the scheme must be one of https, http, file"),
        ("/data/{year}-{month:02}.parquet", "the scheme must be"),
        ("https:///{year}-{month:02}.parquet", "names no host"),
        ("https://host:port/{year}-{month:02}.parquet", "port"),
        ("https://[host/{year}-{month:02}.parquet", "invalid host or port"),
        ("file://data/{year}-{month:02}.parquet", "absolute path"),
        ("https://host/{year}-{month:02} .parquet", "space"),
        ("https://host/{year}-{month:02}\n.parquet", "space or a control character"),
        ("", "no {year}"),
    ],
)
def test_a_wrong_template_is_refused_in_one_line(template, says):
    with pytest.raises(ValueError, match=r"^source URL ") as refusal:
        GREEN_2021_01.url(template)
    assert says.lower() in str(refusal.value).lower()
    assert "\n" not in str(refusal.value)


SECRET = "hunter2"
END = "@host/{year}-{month:02}.parquet"


@pytest.mark.parametrize(
    "template",
    [
        f"https://me:{SECRET}@host/{{day}}-{{year}}-{{month:02}}",
        f"https://me:{SECRET}@host/{{year}}?token={SECRET}",
        f"https://me:{{{SECRET}}}{END}",
        f"https://me:{{month:{SECRET}}}{END}",
        f"https://me:a/{SECRET}{END}",
        f"https://me:1/{SECRET}{END}",
        f"https://me:a?{SECRET}{END}",
        f"https://me:1#{SECRET}{END}",
        f"https://me:a@b/{SECRET}{END}",
        f"https://me:[{SECRET}{END}",
        f"https://me:{SECRET} {END}",
        f"https://me:{SECRET}@host:{SECRET}/{{year}}-{{month:02}}.parquet",
        f"https:/me:{SECRET}{END}",
        f"https//me:{SECRET}{END}",
        f"htp://me:{SECRET}{END}",
        f"me:{SECRET}{END}",
    ],
)
def test_no_message_shows_a_password_or_a_token(template):
    with pytest.raises(ValueError, match=r"^source URL ") as refusal:
        GREEN_2021_01.url(template)
    with pytest.raises(ValueError, match="TAXIWAY_SOURCE_URL") as not_public:
        require_public(template)
    assert SECRET not in str(refusal.value) + str(not_public.value) + public(template)


def test_what_may_be_shown_of_a_url():
    assert public("https://me:hunter2@host:81/a?b=c#d") == "https://host:81/a"
    assert public("https://me:hunter2@[host/a") == "https://..."
    for whole in (TLC_URL, "file:///data/me@home/{service}-{year}.csv", "https://cdn.host/gh/a/b@1.0/{year}-{month}"):
        assert public(whole) == require_public(whole) == whole


@pytest.mark.parametrize(
    ("text", "months"),
    [("1,2,3", [1, 2, 3]), ("12", [12]), (" 3, 1,1 ", [1, 3]), ("1-3,12", [1, 2, 3, 12]), ("02", [2])],
)
def test_months_are_read_from_text(text, months):
    assert months_of(text) == months


@pytest.mark.parametrize("text", ["", ",", "0", "13", "1,x", "3-1", "1-", "-1", "1.5", "1-13"])
def test_what_is_no_month_is_refused(text):
    with pytest.raises(ValueError, match=r"^months "):
        months_of(text)


def test_published_counts_are_those_of_tlc():
    assert GREEN_2021_01.published_rows == 76_518
    assert GREEN.partition(2020, 12).published_rows == 83_130
    assert YELLOW.partition(2021, 1).published_rows == 1_369_769
    assert FHV.partition(2015, 1).published_rows == 2_720_786
    assert YELLOW.partition(2031, 1).published_rows is None


def test_months_run_from_the_first_published_to_the_requested_last():
    months = list(FHVHV.partitions_until(dt.date(2020, 2, 29)))
    assert months[0].key == FHVHV.first
    assert [month.key for month in months[-3:]] == ["2019-12", "2020-01", "2020-02"]
    assert len(months) == 13
    assert list(FHVHV.partitions_until(dt.date(2019, 1, 31))) == []

"""Unusable environment variables, and hosts that are reached without a proxy."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.request import proxy_bypass_environment

import certifi
import httpx
import pytest

from infra.preflight import EnvironmentUnusable, problems, reach_loopback_directly, require_environment
from infra.settings import ROOT


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "No such file"),
        ("SSL_CERT_FILE", "/dev/null", "no certificate"),
        ("SSL_CERT_FILE", "/tmp", "a folder"),
        (
            "SSL_CERT_FILE",
            "-----BEGIN CERTIFICATE-----\nsecret" + 20 * "\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkq",
            "name too long",
        ),
        ("SSL_CERT_DIR", "/nowhere", "no such folder"),
        ("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem", "No such file"),
        ("CURL_CA_BUNDLE", "/dev/null", "no certificate"),
        ("ALL_PROXY", "socks5://user:secret@127.0.0.1:1080", "a socks5 proxy"),
        ("https_proxy", "socks5h://127.0.0.1:1080", "a socks5h proxy"),
        ("HTTPS_PROXY", "http://user:secret@proxy.example:port", "not the address of a proxy"),
        ("HTTP_PROXY", "http://", "no host"),
        ("TMPDIR", "/nowhere", "no such folder"),
        ("TZ", "Mars/Olympus", "no such time zone"),
    ],
)
def test_an_unusable_value_is_reported(name, value, expected):
    [line] = problems({name: value})
    assert line.startswith(name) and expected in line and "secret" not in line
    with pytest.raises(EnvironmentUnusable, match=name):
        require_environment({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", certifi.where()),
        ("SSL_CERT_FILE", ""),
        ("SSL_CERT_DIR", "/nowhere:/tmp"),
        ("REQUESTS_CA_BUNDLE", certifi.where()),
        ("HTTPS_PROXY", "proxy.example:3128"),
        ("HTTP_PROXY", "http://user:pass@[::1]:3128"),
        ("TMPDIR", "/tmp"),
        ("TZ", "Europe/Berlin"),
        ("TZ", "CET-1CEST,M3.5.0,M10.5.0/3"),
        ("TZ", ":/etc/localtime"),
        ("HOME", "/tmp/not/made/yet"),
        ("HOME", "/dev/null/home"),
        ("PREFECT_HOME", "/dev/null/home"),
    ],
)
def test_a_usable_value_is_accepted(name, value):
    assert problems({name: value}) == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("example.com,.local, 10.0.0.0/8", "example.com,.local,10.0.0.0/8,"),
        ("localhost", ""),
        ("[::1]", "::1,"),
        ("[fe80::1]:80,host:8080", "fe80::1,host,"),
        ("fd07:b51a:cc66:f0::/64,fe80::/10", ""),
        ("https://only.example", "https://only.example,"),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_loopback_is_reached_without_a_proxy_and_httpx_reads_every_entry(monkeypatch, name, given, kept):
    environment = {"HTTP_PROXY": "http://127.0.0.1:9", name: given}
    reach_loopback_directly(environment)
    assert environment["NO_PROXY"] == environment["no_proxy"]
    hosts = environment["NO_PROXY"].split(",")
    assert {"127.0.0.1", "localhost", "::1"} <= set(hosts)
    assert set(kept.split(",")) - {""} <= set(hosts)
    for variable in ("HTTP_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, environment[variable])
    httpx.Client().close()


ENTRIES = (
    *("flows.web_to_postgres", "flows.web_to_gcs", "flows.gcs_to_bigquery", "flows.backfill", "flows.datasets.inspect"),
    "infra.deploy",
    "demo",
    *(
        "infra.agent",
        "infra.blocks",
        "infra.compose",
        "infra.environment",
        "infra.google",
        "infra.image",
        "infra.local.stack",
    ),
)


@pytest.mark.parametrize("module", ENTRIES)
def test_every_entry_point_reports_it_in_one_line(module):
    env = os.environ | {"SSL_CERT_FILE": "/nowhere/ca.pem"}
    done = subprocess.run(
        [sys.executable, "-m", module], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("taxiway: SSL_CERT_FILE=/nowhere/ca.pem: ") and done.stdout == ""


def test_no_proxy_for_all_hosts_is_kept():
    environment = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "example.com,*"}
    reach_loopback_directly(environment)
    assert proxy_bypass_environment("bucket.example", {"no": environment["no_proxy"]})


HOSTS = ("prefect", "storage", "bigquery.example", "127.0.0.1")


# From Python 3.14 on, Prefect treats a home that it may not read as missing.
raises = pytest.mark.skipif(sys.version_info >= (3, 14), reason="Path.exists does not raise")
LOCKED = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "TMPDIR")


@pytest.mark.parametrize("name", [*LOCKED, *(pytest.param(name, marks=raises) for name in ("HOME", "PREFECT_HOME"))])
def test_an_unreadable_path_is_reported_in_one_line(name, tmp_path):
    locked = tmp_path / "locked"
    (locked / "inside").mkdir(parents=True)
    tmp_path.chmod(0o755)
    locked.chmod(0)
    code = (
        f"from infra.preflight import problems; print(*problems({{{name!r}: {str(locked / 'inside')!r}}}), sep='\\n')"
    )
    # Root may open every folder, but not without its capabilities.
    command = [sys.executable, "-c", code]
    if os.geteuid() == 0:
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    locked.chmod(0o700)
    [line] = done.stdout.splitlines()
    assert done.stderr == "" and line.startswith(f"{name}={locked}")


def test_services_on_the_containers_network_are_reached_without_a_proxy():
    environment = {
        "http_proxy": "http://proxy.example:3128",
        "no_proxy": "example.com",
        "PREFECT_API_URL": "http://prefect:4200/api",
        "STORAGE_EMULATOR_HOST": "http://storage:9023",
        "BIGQUERY_EMULATOR_HOST": "http://bigquery.example:9050",
    }
    reach_loopback_directly(environment)
    bypassed = {host: proxy_bypass_environment(host, {"no": environment["no_proxy"]}) for host in HOSTS}
    assert bypassed == {"prefect": True, "storage": True, "bigquery.example": False, "127.0.0.1": True}
    reach_loopback_directly(environment | {"PREFECT_API_URL": "http://[no-url"})


def test_without_a_proxy_the_environment_is_unchanged():
    environment = {"NO_PROXY": "example.com", "HTTP_PROXY": ""}
    reach_loopback_directly(environment)
    assert environment == {"NO_PROXY": "example.com", "HTTP_PROXY": ""}

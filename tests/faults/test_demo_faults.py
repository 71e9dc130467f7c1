"""After the demo ends, for any reason, none of its processes is running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from flows.datasets.tlc import GREEN
from flows.datasets.tlc.generate import generate
from infra.settings import ROOT


@pytest.fixture
def demo(tmp_path):
    """A function that starts the demo in its own state folder. It returns the process; the output is in `out`."""
    month = GREEN.partition(2021, 1)
    generate(month, tmp_path / f"{month.stem}.parquet", rows=2_000, seed=1)
    started = []

    def start(*options, **env):
        with (tmp_path / "out").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "demo", "--months", "1", *options],
                cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "TAXIWAY_STATE_DIR": str(tmp_path / "state"), **env},
            )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


def running(tmp_path):
    """Processes that have the demo's state folder in their command or environment."""
    state = str(tmp_path / "state")
    found = []
    for process in psutil.process_iter():
        try:
            if state in " ".join(process.cmdline()) or process.environ().get("TAXIWAY_STATE_DIR") == state:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_for_output(tmp_path, text, process):
    deadline = time.monotonic() + 120
    while text not in (tmp_path / "out").read_text():
        assert process.poll() is None, (tmp_path / "out").read_text()
        assert time.monotonic() < deadline, (tmp_path / "out").read_text()
        time.sleep(0.2)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_demo_leaves_no_process(demo, tmp_path, stop):
    process = demo("--source-url", f"file://{tmp_path}/{{service}}_tripdata_{{year}}-{{month:02}}.parquet")
    wait_for_output(tmp_path, "stack is up", process)
    time.sleep(3)  # into the deploy, or the first runs
    process.send_signal(stop)
    assert process.wait(60) == 130
    assert "Traceback" not in (tmp_path / "out").read_text()
    assert running(tmp_path) == []


@pytest.mark.timeout(240)
def test_a_failed_demo_reports_the_reason_in_one_line_and_leaves_no_process(demo, tmp_path):
    process = demo("--source-url", f"file://{tmp_path}/nowhere/{{service}}_tripdata_{{year}}-{{month:02}}.parquet")
    assert process.wait(180) == 1
    last = (tmp_path / "out").read_text().strip().splitlines()[-1]
    assert last.startswith("taxiway: ") and "nowhere" in last and "2021-01" in last
    assert "Traceback" not in (tmp_path / "out").read_text()
    assert running(tmp_path) == []


@pytest.mark.timeout(240)
def test_a_dead_proxy_is_not_used_for_addresses_of_this_machine(demo, tmp_path):
    """Nor do entries of NO_PROXY that httpx cannot read stop the demo."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"), "http://127.0.0.1:9")
    source = f"file://{tmp_path}/{{service}}_tripdata_{{year}}-{{month:02}}.parquet"
    process = demo("--source-url", source, **proxies, NO_PROXY="fd07:b51a:cc66:f0::/64", no_proxy="")
    assert process.wait(200) == 0, (tmp_path / "out").read_text()


@pytest.mark.timeout(240)
def test_variables_for_another_postgresql_server_are_ignored(demo, tmp_path):
    other = {
        "PGHOST": "nowhere.invalid",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": "1",
        "PGUSER": "someone",
        "PGDATABASE": "elsewhere",
        "PGPASSFILE": "/nowhere",
        "PGSERVICE": "elsewhere",
        "PGSSLMODE": "verify-full",
        "PGCHANNELBINDING": "require",
        "PGOPTIONS": "-c no_such_setting=1",
        "PGTZ": "Mars",
        "PGDATA": "/nowhere",
        "PGCONNECT_TIMEOUT": "0",
    }
    process = demo("--source-url", f"file://{tmp_path}/{{service}}_tripdata_{{year}}-{{month:02}}.parquet", **other)
    assert process.wait(200) == 0, (tmp_path / "out").read_text()


def test_an_invalid_setting_is_reported_in_one_line(demo, tmp_path):
    assert demo(TAXIWAY_POSTGRES_URL="mysql://u:hush@h/d").wait(60) == 1
    [line] = (tmp_path / "out").read_text().strip().splitlines()
    assert line.startswith("taxiway: TAXIWAY_POSTGRES_URL: expected postgresql://") and "hush" not in line


def test_an_unusable_variable_is_reported_in_one_line(demo, tmp_path):
    assert demo(SSL_CERT_FILE="/nowhere/ca.pem").wait(60) == 1
    [line] = (tmp_path / "out").read_text().strip().splitlines()
    assert line.startswith("taxiway: SSL_CERT_FILE=/nowhere/ca.pem: ")
    assert running(tmp_path) == []


@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_the_stack_of_a_killed_demo_is_stopped(demo, tmp_path):
    process = demo("--source-url", f"file://{tmp_path}/{{service}}_tripdata_{{year}}-{{month:02}}.parquet")
    wait_for_output(tmp_path, "stack is up", process)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while running(tmp_path):
        assert time.monotonic() < deadline, running(tmp_path)
        time.sleep(0.5)


@pytest.mark.timeout(240)
def test_a_kept_stack_is_stopped_by_down(demo, tmp_path):
    """KEEP=1: the UI answers after the demo, a second demo reports the running stack, `make down` stops it."""
    import urllib.request

    process = demo("--keep", "--source-url", f"file://{tmp_path}/{{service}}_tripdata_{{year}}-{{month:02}}.parquet")
    assert process.wait(200) == 0, (tmp_path / "out").read_text()
    text = (tmp_path / "out").read_text()
    address = text.rpartition("the stack is kept: ")[2].split()[0]
    with urllib.request.urlopen(f"{address}/api/health") as answer:
        assert answer.status == 200
    second = demo()
    assert second.wait(60) == 1 and "make down" in (tmp_path / "out").read_text()
    down = subprocess.run(
        [sys.executable, "-m", "infra.local.stack", "down"], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "TAXIWAY_STATE_DIR": str(tmp_path / "state")},
    )  # fmt: skip
    assert "stopped" in down.stdout
    assert running(tmp_path) == []

"""Processes are started, identified, and stopped with their children."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from infra.local.processes import NotHealthy, spawn, stop, wait_healthy

SLEEPER = (
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "time.sleep(60)"
)
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"


def start(tmp_path, code):
    return spawn("it", [sys.executable, "-c", code], tmp_path / "log", env=os.environ, cwd=tmp_path)


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_stop_ends_a_process_and_its_children(tmp_path):
    process = start(tmp_path, SLEEPER)
    until(lambda: psutil.Process(process.pid).children())
    (child,) = psutil.Process(process.pid).children()
    stop(process)
    assert process.alive() is None
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_stop_kills_a_process_that_ignores_the_signal(tmp_path):
    process = start(tmp_path, STUBBORN)
    until(lambda: "on" in (tmp_path / "log").read_text())
    stop(process, seconds=0.2)
    assert process.alive() is None


def test_a_later_process_with_the_same_pid_is_not_stopped(tmp_path):
    process = start(tmp_path, "import time; time.sleep(60)")
    try:
        assert replace(process, created=process.created - 100).alive() is None
        stop(replace(process, created=process.created - 100))
        assert process.alive() is not None
    finally:
        stop(process)


def test_a_process_that_ends_while_starting_is_reported_with_its_log(tmp_path):
    process = start(tmp_path, "raise SystemExit('no disk left')")
    with pytest.raises(NotHealthy, match=r"it ended while starting.*no disk left"):
        wait_healthy(process, tmp_path / "log", lambda: False, seconds=10)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
@pytest.mark.parametrize("delay", ["", "sleep 0.3;"], ids=["signal requested in time", "signal requested too late"])
def test_a_process_is_stopped_when_its_parent_is_killed(tmp_path, monkeypatch, delay):
    """Also if the parent is killed before the child has requested the signal from the kernel."""
    slow = tmp_path / "setpriv"
    slow.write_text(f'#!/bin/sh\n{delay} exec {shutil.which("setpriv")} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    code = (
        "import os, sys, time; from pathlib import Path; from infra.local.processes import spawn;"
        f"p = spawn('it', [sys.executable, '-c', 'import time; time.sleep(60)'], Path({str(tmp_path / 'log')!r}),"
        " env=os.environ, cwd=Path('/')); print(p.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)

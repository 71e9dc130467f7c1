"""What the Makefile hands on to the commands that it runs: they are stand-ins here that say what they were given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from infra.settings import ROOT

FOREIGN = ("UV_", "PIP_", "PYTHON", "MAKE", "MFLAGS")
INDEX = "https://index.example/simple"

PYTHON = f"""#!/bin/sh
case "$*" in
  *pip*) exec {sys.executable} "$@" ;;
  *) echo "begin $*"; sleep 0.2; echo "python of ${{PYTHONHOME-its own}}, utf8 $PYTHONUTF8"; echo "end $*" ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """Run make in a folder with the Makefile and stand-ins of its Python and its uv. Gives the lines that it prints."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name, script in {"python": PYTHON, "uv": '#!/bin/sh\necho "uv asks $UV_DEFAULT_INDEX"\n'}.items():
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    for lock in ("requirements-dev.lock", "requirements-uv.lock"):
        (tmp_path / lock).touch()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}

    def run(*targets: str, **env: str) -> list[str]:
        whole = inherited | {"PIP_CONFIG_FILE": os.devnull, "PYTHON": sys.executable} | env
        done = subprocess.run(["make", *targets], cwd=tmp_path, env=whole, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize(
    ("env", "index"),
    [
        ({}, ""),
        ({"PIP_INDEX_URL": INDEX}, INDEX),
        ({"UV_INDEX_URL": INDEX, "PIP_INDEX_URL": "https://other.example"}, INDEX),
        ({"UV_DEFAULT_INDEX": INDEX, "PIP_INDEX_URL": "https://other.example"}, INDEX),
    ],
)
def test_uv_has_the_index_that_pip_has(make, env, index):
    assert f"uv asks {index}" in make("setup", **env)


def test_uv_has_the_index_of_pips_own_file(make, tmp_path):
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {INDEX}\n")
    assert f"uv asks {INDEX}" in make("setup", PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))


def test_targets_run_in_the_order_given_also_in_parallel(make):
    lines = [line for line in make("image", "push", MAKEFLAGS="-j4") if line.startswith(("begin", "end"))]
    verbs = ("begin -m infra.image build", "end -m infra.image build")
    assert lines == [*verbs, *(verb.replace("build", "push") for verb in verbs)]


def test_settings_of_another_python_do_not_reach_ours(make):
    assert "python of its own, utf8 1" in make("image", PYTHONHOME="/of/another", PYTHONUTF8="0")

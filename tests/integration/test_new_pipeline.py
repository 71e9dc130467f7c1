"""`docs/new-pipeline.md`, run as it stands: a new dataset in every store, and a plan of its deployments alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.scaffold import CannotScaffold, scaffold
from infra.settings import ROOT

COMMANDS = re.findall(r"```bash\n(.*?)\n```", (ROOT / "docs/new-pipeline.md").read_text(), re.S)
FOLDERS = ("deployments", "flows", "infra", "tests", "docs")
FILES = ("Makefile", "pyproject.toml", "requirements-dev.lock", "requirements-uv.lock")


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of the project, with this one's virtual environment."""
    copy = tmp_path / "taxiway"
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy2(ROOT / file, copy / file)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    return copy


@pytest.mark.timeout(200)
def test_the_page(checkout, deployed):
    before = {path for path in checkout.rglob("*.py") if ".venv" not in path.parts}
    environment = os.environ | deployed.operator_environment
    new, test, plan = COMMANDS

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert run(new).count("taxiway: wrote ") == 3
    written = {path for path in checkout.rglob("*.py") if ".venv" not in path.parts} - before
    assert {str(path.relative_to(checkout)) for path in written} == {
        "flows/datasets/bikes.py",
        "deployments/load_bikes.py",
        "tests/integration/test_bikes.py",
    }
    assert sum(len(path.read_text().splitlines()) for path in written) <= 120
    assert "3 passed" in run(test)
    created = re.findall(r"\+ create (\S+) (\S+)", run(plan))
    flows = ("etl_gcs_to_bq", "etl_web_to_gcs", "etl_web_to_postgres")
    assert sorted(created) == sorted(
        [("deployment", f"{flow}/bikes") for flow in flows]
        + [("schedule", f"{flow}/bikes#taxiway-monthly") for flow in flows]
    )
    run(".venv/bin/ruff check flows deployments tests && .venv/bin/ruff format --check flows deployments tests")


@pytest.mark.parametrize(("name", "reason"), [("Bikes", "not a pipeline name"), ("zones", "exists already")])
def test_an_invalid_or_used_name_is_refused(checkout, name, reason):
    with pytest.raises(CannotScaffold, match=reason):
        scaffold(name, checkout)
    assert not (checkout / f"deployments/load_{name}.py").exists()

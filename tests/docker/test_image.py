"""The contents of the flow image, and that builds are reproducible."""

from __future__ import annotations

import json
import re
import tarfile
import time
from pathlib import Path

import pytest

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def inspected(project, image) -> dict:
    return json.loads(project.docker("image", "inspect", image))[0]


@pytest.fixture(scope="module")
def saved(project, image, tmp_path_factory) -> list[Path]:
    """The layers above the base image, oldest first, as tar files."""
    folder = tmp_path_factory.mktemp("saved")
    project.docker("save", "--output", str(folder / "image.tar"), image)
    with tarfile.open(folder / "image.tar") as archive:
        archive.extractall(folder, filter="data")
    [manifest] = json.loads((folder / "manifest.json").read_text())
    base = json.loads(project.docker("image", "inspect", "python:3.13-slim-trixie"))[0]
    (folder / "config.json").write_bytes((folder / manifest["Config"]).read_bytes())
    return [folder / layer for layer in manifest["Layers"][len(base["RootFS"]["Layers"]) :]]


def names_in(layer: Path) -> list[str]:
    with tarfile.open(layer) as archive:
        return archive.getnames()


def in_container(project, image, script: str, *options: str) -> str:
    """The output of a shell script in a container of the image, restricted as those of runs."""
    strict = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--volume=/tmp")
    return project.docker("run", "--rm", *strict, *options, image, "sh", "-euc", script)


def test_the_user_is_fixed_and_unprivileged(project, image):
    assert in_container(project, image, "id -u; id -g; id -un").split() == ["10001", "10001", "taxiway"]
    assert in_container(project, image, "touch /opt/taxiway/x 2>&1 || true; touch /tmp/x") != ""


def test_it_cannot_install_or_compile(project, image):
    tools = "pip pip3 uv uvx gcc cc make git apt-get-install"
    found = in_container(project, image, f"for t in {tools}; do command -v $t || true; done")
    # An emptied pip is a file that cannot be run.
    assert found == ""
    for python in ("/opt/venv/bin/python", "/usr/local/bin/python3"):
        assert "No module" in in_container(project, image, f"{python} -m pip 2>&1 || true")


def test_flows_are_at_the_path_that_deployments_use(project, image):
    listed = in_container(
        project, image, "cd /opt/taxiway && ls; python -c 'import flows.backfill as f; print(f.__file__)'"
    )
    assert listed.splitlines() == ["flows", "infra", "/opt/taxiway/flows/backfill.py"]


def test_the_reduced_packages_work(project, image):
    """Imports and calls that could need what the build removes."""
    script = """
import io, importlib, pkgutil
import pyarrow as pa, pyarrow.parquet as pq, pyarrow.csv, pyarrow.dataset as ds, pyarrow.compute as pc, pyarrow.fs as fs
import pyarrow.acero, pyarrow.json, pyarrow.orc, pyarrow.feather
import pandas as pd, numpy as np, numpy.testing, pandas.testing
import adbc_driver_postgresql.dbapi, psycopg, sqlalchemy, asyncpg
import google.cloud.bigquery, google.cloud.storage, googleapiclient.discovery
import prefect.server.api.server, prefect_gcp.bigquery, prefect_gcp.cloud_storage, prefect_sqlalchemy, prefect_docker
table = pa.table({"a": pa.array([1, 2, None]), "t": pa.array([0, 1, 2], pa.timestamp("us"))})
for codec in ("snappy", "gzip", "zstd", "lz4", "brotli", "none"):
    sink = io.BytesIO(); pq.write_table(table, sink, compression=codec); sink.seek(0)
    assert pq.read_table(sink).equals(table)
assert pc.sum(table["a"]).as_py() == 3
fs.LocalFileSystem(); ds.dataset(table).to_table(filter=ds.field("a") > 1)
frame = table.to_pandas(); pd.testing.assert_frame_equal(frame, frame.copy()); pa.Table.from_pandas(frame)
assert np.linalg.inv(np.eye(2)).shape == (2, 2)
import flows
for module in pkgutil.walk_packages(flows.__path__, "flows."):
    importlib.import_module(module.name)
import infra.agent, infra.docker_container, infra.blocks, infra.google
from pathlib import Path
import prefect
assert (Path(prefect.__ui_static_path__) / "index.html").exists()
print("fine")
"""
    assert (
        in_container(project, image, 'python -W ignore -c "$SCRIPT"', f"--env=SCRIPT={script}").splitlines()[-1]
        == "fine"
    )


def test_labels_have_the_revision(project, inspected):
    labels = inspected["Config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == project.run("git", "rev-parse", "HEAD").stdout.strip()
    assert labels["org.opencontainers.image.version"] == project.image.rpartition(":")[2]
    assert "org.opencontainers.image.source" in labels
    assert inspected["Config"]["StopSignal"] == "SIGTERM"
    assert inspected["Config"]["Entrypoint"][0] == "tini"


def test_the_image_is_small(project, inspected):
    base = int(project.docker("image", "inspect", "--format={{.Size}}", "python:3.13-slim-trixie"))
    added = inspected["Size"] - base
    print(f"{added / MEGABYTE:.0f} MB on top of the base image")
    assert added <= 480 * MEGABYTE


def test_the_image_has_only_what_flows_need(saved):
    names = [name for layer in saved for name in names_in(layer)]
    unwanted = re.compile(
        r"site-packages/(_?duckdb|sqlglot|pytest|hypothesis|playwright|ruff|uv)\b|bin/(uv|ruff|pytest)$"
        r"|infra/emulators|(^|/)(tests|\.git)(/|$)|\.env$|(^|/)Makefile$|discovery_cache/documents"
    )
    # The sign of what was emptied is no content.
    assert [name for name in names if unwanted.search(name) and ".wh." not in name] == []
    assert any(name.endswith("flows/__pycache__/web_to_postgres.cpython-313.pyc") for name in names)


def test_no_layer_has_a_value_of_the_environment_file(project, saved):
    harmless = {"COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "DOCKER_GID", "PGADMIN_EMAIL", "PREFECT_API_URL"}
    secrets = {name: value for name, value in project.values.items() if name not in harmless and value}
    assert len(secrets) >= 6
    needles = {name: value.rpartition(":")[2].encode() for name, value in secrets.items() if name != "EMULATOR_KEY"}
    needles["EMULATOR_KEY"] = json.loads(secrets["EMULATOR_KEY"])["private_key"].encode()[60:120]
    for file in [*saved, saved[0].parent.parent / "config.json"]:
        content = file.read_bytes()
        assert [name for name, needle in needles.items() if needle in content] == []


def test_a_build_without_cache_has_the_same_layers(project, image, inspected):
    project.module("infra.image", "build", BUILD_FLAGS="--no-cache --quiet")
    again = json.loads(project.docker("image", "inspect", image))[0]
    assert again["RootFS"]["Layers"] == inspected["RootFS"]["Layers"]


def test_a_change_of_flow_code_changes_only_a_small_layer(project, image, inspected):
    changed = project.root / "flows" / "backfill.py"
    before = changed.read_text()
    changed.write_text(before + "\n# changed\n")
    try:
        started = time.monotonic()
        project.module("infra.image", "build")
        seconds = time.monotonic() - started
        [built] = json.loads(project.docker("image", "inspect", f"{image}-dirty"))
        layers = inspected["RootFS"]["Layers"]
        assert built["RootFS"]["Layers"][:-1] == layers[:-1]
        assert built["RootFS"]["Layers"][-1] != layers[-1]
        sizes = project.docker(
            "history", "--no-trunc", "--human=false", "--format={{.Size}} {{.CreatedBy}}", f"{image}-dirty"
        )
        [code] = [int(line.split()[0]) for line in sizes.splitlines() if "COPY /image/ /" in line][:1]
        print(f"rebuilt in {seconds:.1f} s, a layer of {code:,} bytes")
        assert code < 2_000_000  # the sources and their bytecode
    finally:
        changed.write_text(before)
        project.module("infra.image", "build")

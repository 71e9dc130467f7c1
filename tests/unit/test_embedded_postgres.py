"""The data folder of the embedded PostgreSQL server."""

from __future__ import annotations

import pytest

from infra.local.embedded_postgres import PostgresUnavailable, make_cluster


@pytest.mark.parametrize("file", ["17/main/base", "PG_VERSION"])
def test_a_folder_with_other_files_is_refused_and_unchanged(tmp_path, file):
    """TAXIWAY_STATE_DIR may be a folder that has another `postgres` already."""
    precious = tmp_path / "postgres" / file
    precious.parent.mkdir(parents=True)
    precious.write_text("precious")
    with pytest.raises(PostgresUnavailable, match="set TAXIWAY_STATE_DIR"):
        make_cluster(tmp_path / "postgres")
    assert precious.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["postgres"]

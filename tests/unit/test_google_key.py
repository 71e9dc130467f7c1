"""The Google key in every accepted form, and one line without its value for anything else."""

from __future__ import annotations

import base64
import json

import pytest

from infra.blocks import BlocksUnavailable, credentials_block
from infra.emulators.credentials import service_account
from infra.settings import Settings

KEY = service_account("taxiway-local", "http://127.0.0.1:1/token")
TEXT = json.dumps(KEY)


@pytest.mark.parametrize(
    "form",
    [
        TEXT,
        f"\n {TEXT} \n",
        f"'{TEXT}'",
        f'"{TEXT}"',
        TEXT.replace("\\n", "\n"),
        TEXT.replace("\\n", "\\\\n"),
        base64.b64encode(TEXT.encode()).decode(),
        base64.encodebytes(TEXT.encode()).decode(),
        "key.json",
    ],
    ids=[
        "JSON",
        "blanks around it",
        "single quotes",
        "double quotes",
        "real newlines",
        "escaped twice",
        "base64",
        "base64 in lines",
        "a path",
    ],
)
def test_accepted_forms(tmp_path, monkeypatch, form):
    (tmp_path / "key.json").write_text(json.dumps(KEY, indent=2))
    monkeypatch.chdir(tmp_path)
    config = Settings(_env_file=None, google_key=form)
    assert credentials_block(config).service_account_info.get_secret_value() == KEY


USER = {"type": "authorized_user", "client_id": "x", "client_secret": "s3cr3t", "refresh_token": "s3cr3t"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (json.dumps(USER), "is of type authorized_user"),
        (json.dumps({"type": "external_account", "audience": "s3cr3t"}), "is of type external_account"),
        (json.dumps({"type": "s3cr3t"}), "is not a service account's"),
        ('["s3cr3t"]', "is not a key"),
        ('"s3cr3t"', "is neither JSON nor base64 nor a readable file"),
        ("/nowhere/s3cr3t.json", "nor a readable file .No such file or directory"),
        ("s3cr3t\0", "nor a readable file"),
        ("x" * 5000 + "s3cr3t-", "nor a readable file .File name too long"),
        ('{"type": "service_account", "private_key": "s3cr3t"', "is not valid JSON"),
        ('{"type": "service_account"}', "has no client_email, token_uri, private_key"),
        (json.dumps(KEY | {"private_key": "s3cr3t"}), "has a private_key that cannot be read"),
        (json.dumps(KEY | {"private_key": ["s3cr3t"]}), "has no private_key"),
    ],
)
def test_an_invalid_key_is_one_line_without_its_value(value, reason):
    with pytest.raises(BlocksUnavailable, match=f"TAXIWAY_GOOGLE_KEY .*{reason}") as refused:
        credentials_block(Settings(_env_file=None, google_key=value))
    assert "s3cr3t" not in str(refused.value) and "\n" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("empty", ["", "  ", "''"])
def test_an_empty_key_is_none(empty):
    assert Settings(_env_file=None, google_key=empty).google_key is None

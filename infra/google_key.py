"""Reads TAXIWAY_GOOGLE_KEY: JSON, in quotes or not, base64, or the path of a file with either."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from google.oauth2.service_account import Credentials

NAME = "TAXIWAY_GOOGLE_KEY"
EXPECTED = "set it to a service account's key: the JSON that Google gives, that in base64, or the path of its file"


class InvalidKey(ValueError):
    """The setting is not a usable key. The message is one line with the setting's name and no part of its value."""


def service_account_key(text: str) -> dict[str, Any]:
    """The key in the setting's text. Raises InvalidKey."""
    content = _content(_unquoted(text))
    try:
        key = json.loads(content, strict=False)  # not strict: a pasted key may contain real newlines
    except ValueError:
        raise InvalidKey(f"{NAME} is not valid JSON: {EXPECTED}") from None
    if not isinstance(key, dict):
        raise InvalidKey(f"{NAME} is not a key: {EXPECTED}")
    kind = key.get("type")
    if kind != "service_account":
        # Runs on other machines have no browser, no gcloud and none of this machine's files.
        known = kind in ("authorized_user", "external_account")
        problem = f"is of type {kind}" if known else "is not a service account's"
        raise InvalidKey(f"{NAME} {problem}, and runs on other machines cannot log in with it: {EXPECTED}")
    if isinstance(key.get("private_key"), str):
        key["private_key"] = key["private_key"].replace("\\n", "\n")  # escaped twice
    try:
        Credentials.from_service_account_info(key)  # type: ignore[no-untyped-call]  # google-auth has no types
    except (ValueError, TypeError, AttributeError):
        needed = ("client_email", "token_uri", "private_key")
        missing = [name for name in needed if not isinstance(key.get(name), str)]
        what = f"has no {', '.join(missing)}" if missing else "has a private_key that cannot be read"
        raise InvalidKey(f"{NAME} {what}: {EXPECTED}") from None
    return key


def _unquoted(text: str) -> str:
    text = text.strip()
    while len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
    return text


def _content(text: str) -> str:
    """The JSON: the text itself, decoded from base64, or read from the file."""
    if text.startswith(("{", "[")):
        return text
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        pass
    try:
        return Path(text).expanduser().read_text()
    except (OSError, ValueError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        raise InvalidKey(f"{NAME} is neither JSON nor base64 nor a readable file ({why}): {EXPECTED}") from None

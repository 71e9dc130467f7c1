"""TAXIWAY_GOOGLE_KEY in the forms in which people have it: JSON, quoted, base64, or the path of a file with either."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from google.oauth2.service_account import Credentials

NAME = "TAXIWAY_GOOGLE_KEY"
WANTED = "set it to a service account's key: the JSON that Google gives, that in base64, or the path of its file"


class NoKey(ValueError):
    """The setting is no key that runs can work with. One line, which names the setting and has nothing of its value."""


def service_account_key(text: str) -> dict[str, Any]:
    """The key as the setting means it. Raises NoKey."""
    key = _json(_content(_unquoted(text)))
    if not isinstance(key, dict):
        raise NoKey(f"{NAME} is no key: {WANTED}")
    kind = key.get("type")
    if kind != "service_account":
        # Runs elsewhere have no browser, no gcloud and no file of this machine.
        named = f"is of type {kind}" if kind in ("authorized_user", "external_account") else "is no service account's"
        raise NoKey(f"{NAME} {named}, with which runs elsewhere cannot log in: {WANTED}")
    if isinstance(key.get("private_key"), str):
        key["private_key"] = key["private_key"].replace("\\n", "\n")  # where it was escaped twice
    try:
        Credentials.from_service_account_info(key)
    except (ValueError, TypeError, AttributeError):
        needed = ("client_email", "token_uri", "private_key")
        missing = [name for name in needed if not isinstance(key.get(name), str)]
        what = f"lacks {', '.join(missing)}" if missing else "has a private_key that cannot be read"
        raise NoKey(f"{NAME} {what}: {WANTED}") from None
    return key


def _unquoted(text: str) -> str:
    text = text.strip()
    while len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
    return text


def _content(text: str) -> str:
    """The JSON that the text is, or that the file or the base64 is of."""
    if text.startswith(("{", "[")):
        return text
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        pass
    try:
        return Path(text).expanduser().read_text()
    except (OSError, ValueError, RuntimeError) as wrong:
        why = wrong.strerror if isinstance(wrong, OSError) else "no path"
        raise NoKey(f"{NAME} is neither JSON nor base64, and no file that can be read ({why}): {WANTED}") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text, strict=False)  # a key pasted with real newlines in it can be meant in one way only
    except ValueError:
        raise NoKey(f"{NAME} is no JSON: {WANTED}") from None

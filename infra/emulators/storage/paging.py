"""Listings by pages."""

from __future__ import annotations

import base64
from typing import Any

from starlette.requests import Request

from infra.emulators.rest import invalid

COMMON = {"alt", "fields", "prettyPrint", "projection", "project", "userProject"}
PAGING = {"maxResults", "pageToken", "prefix"}
_MOST = 1000  # entries a page, as in Cloud Storage


def page(request: Request, kind: str, items: list[dict[str, Any]], prefixes: list[str] | None = None) -> dict[str, Any]:
    """One page of `items` and `prefixes`, which Google counts and orders together, by name.

    The token names the last entry sent, so entries that come and go meanwhile shift nothing.
    """
    most = min(int(request.query_params.get("maxResults") or _MOST), _MOST)
    if most < 1:
        raise invalid("maxResults must be positive.")
    token = request.query_params.get("pageToken")
    after = base64.urlsafe_b64decode(token).decode() if token else ""
    starting = request.query_params.get("prefix", "")
    entries = [(item["name"], item) for item in items] + [(prefix, None) for prefix in prefixes or []]
    entries = sorted((e for e in entries if e[0] > after and e[0].startswith(starting)), key=lambda entry: entry[0])
    chosen = entries[:most]
    body: dict[str, Any] = {"kind": kind, "items": [item for _, item in chosen if item]}
    if found := [name for name, item in chosen if not item]:
        body["prefixes"] = found
    if len(entries) > most:
        body["nextPageToken"] = base64.urlsafe_b64encode(chosen[-1][0].encode()).decode()
    return body

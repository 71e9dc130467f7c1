"""Checks environment variables that would break HTTP clients or temporary files, before any other import.

Pure functions of the environment. This module imports no library that reads those variables.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# The names of this machine, which are never reached through a proxy.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# The addresses of the services. In a container their hosts are names on its network.
SERVICES = ("PREFECT_API_URL", "STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


class EnvironmentUnusable(RuntimeError):
    """An environment variable has an unusable value; the message names it."""


def require_environment(environment: Mapping[str, str]) -> None:
    """Return if the environment is usable. Raises EnvironmentUnusable with each unusable variable."""
    if found := problems(environment):
        raise EnvironmentUnusable("; ".join(found))


def problems(environment: Mapping[str, str]) -> list[str]:
    """A line for each unusable variable. The value of a proxy may contain a password and is never shown."""
    found = []
    for name, check in CHECKS.items():
        value = environment.get(name)
        if value and (why := reason(check, value)):
            # A value of several lines is a certificate where its path is expected.
            shown = name if check is proxy or "\n" in value else f"{name}={value}"
            found.append(f"{shown}: {why}; correct it or unset it")
    name = "PREFECT_HOME" if environment.get("PREFECT_HOME") else "HOME"
    home = environment.get(name)
    if home and (why := reason(prefect_home, home if name == "PREFECT_HOME" else f"{home}/.prefect")):
        found.append(f"{name}={home}: Prefect cannot read it ({why}); set PREFECT_HOME to your own folder")
    return found


def reason(check: Callable[[str], str], value: str) -> str:
    """The result of the check, or the system's error if the path cannot be read."""
    try:
        return check(value)
    except OSError as error:
        return error.strerror or type(error).__name__


def certificates(value: str) -> str:
    """Why the value is not a file or folder of certificates; empty if it is."""
    path = Path(value)
    if path.is_dir():
        return "" if any(path.iterdir()) else "an empty folder"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "there is no certificate in this file"
    return ""


def certificate_file(value: str) -> str:
    """Why the value is not a file of certificates; empty if it is."""
    return "a folder, but a file is required" if Path(value).is_dir() else certificates(value)


def certificate_folders(value: str) -> str:
    """Why no folder in the value can be used; empty if one exists."""
    return "" if any(Path(folder).is_dir() for folder in value.split(os.pathsep)) else "no such folder"


def proxy(value: str) -> str:
    """Why the value is not the address of an HTTP proxy; empty if it is."""
    try:
        url = urlsplit(value if "://" in value else f"http://{value}")
        _ = url.port
    except ValueError:
        return "not the address of a proxy, such as http://host:3128"
    if url.scheme not in ("http", "https"):
        return f"a {url.scheme} proxy cannot be used here, only an HTTP one, such as http://host:3128"
    return "" if url.hostname else "no host in it"


def folder(value: str) -> str:
    """Why the value is not a writable folder; empty if it is."""
    if not Path(value).is_dir():
        return "no such folder"
    return "" if os.access(value, os.W_OK | os.X_OK) else "this user cannot write there"


def time_zone(value: str) -> str:
    """Why the value is not a time zone; empty if it is, by name or as a rule such as CET-1CEST."""
    if value.startswith((":", "/")) or re.search(r"\d", value):
        return ""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "no such time zone"
    return ""


def prefect_home(value: str) -> str:
    """Raise OSError as Prefect would when it looks for its settings. A missing folder is no error."""
    (Path(value) / "profiles.toml").exists()
    return ""


CHECKS: dict[str, Callable[[str], str]] = {
    "SSL_CERT_FILE": certificate_file,
    "SSL_CERT_DIR": certificate_folders,
    "REQUESTS_CA_BUNDLE": certificates,
    "CURL_CA_BUNDLE": certificates,
    **dict.fromkeys(PROXIES, proxy),
    "TMPDIR": folder,
    "TZ": time_zone,
}


def reach_loopback_directly(environment: MutableMapping[str, str]) -> None:
    """If a proxy is set, add this machine's names to NO_PROXY and no_proxy, for this process and its children.

    Also adds services whose names have no dot: an outside proxy cannot resolve them, and Docker passes the proxies of
    its configuration to every container.

    Entries are written for httpx, which fails on `[::1]`, `host:port` and IPv6 networks.
    """
    if not any(environment.get(name) for name in PROXIES):
        return
    current = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host for host in map(_host, current.split(",")) if host]
    # `*` matches every host only as the single entry.
    direct = "*" if "*" in hosts else ",".join(dict.fromkeys([*hosts, *LOOPBACK, *local_services(environment)]))
    environment["no_proxy"] = environment["NO_PROXY"] = direct


def local_services(environment: Mapping[str, str]) -> list[str]:
    """The hosts of SERVICES that are names of the local network."""
    found = []
    for name in SERVICES:
        with suppress(ValueError):  # not a URL: its user reports it
            host = urlsplit(environment.get(name, "")).hostname
            if host and re.fullmatch(r"[\w-]+", host):
                found.append(host)
    return found


def _host(entry: str) -> str:
    """An entry of NO_PROXY without brackets and port; empty for an IPv6 network."""
    entry = entry.strip()
    if "://" in entry:
        return entry
    bare = re.sub(r"^\[(.*)\](:\d+)?$", r"\1", entry)
    try:
        return str(ipaddress.IPv6Address(bare))
    except ValueError:
        return "" if bare.count(":") > 1 else bare.partition(":")[0]

"""What of the environment would break an HTTP client or a folder later: checked once, before anything else is imported.

Pure functions of the environment. Nothing here imports a library that reads it.
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

# How this machine calls itself; what is asked there never goes through a proxy.
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Where the services are that a process is told of. In a container these are names of its network.
SERVICES = ("PREFECT_API_URL", "STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


class EnvironmentUnusable(RuntimeError):
    """A variable of the environment has a value that nothing can work with; the message names it."""


def require_environment(environment: Mapping[str, str]) -> None:
    """Return if the environment can be used. Raises EnvironmentUnusable, naming each variable that cannot."""
    if wrong := problems(environment):
        raise EnvironmentUnusable("; ".join(wrong))


def problems(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with each variable that this process could not work with. A proxy's value may hold a password and
    is never shown.
    """
    found = []
    for name, check in CHECKS.items():
        value = environment.get(name)
        if value and (why := reason(check, value)):
            # Some put the certificate itself, of many lines, where its path belongs.
            shown = name if check is proxy or "\n" in value else f"{name}={value}"
            found.append(f"{shown}: {why}; correct it or unset it")
    name = "PREFECT_HOME" if environment.get("PREFECT_HOME") else "HOME"
    home = environment.get(name)
    if home and (why := reason(prefect_home, home if name == "PREFECT_HOME" else f"{home}/.prefect")):
        found.append(f"{name}={home}: Prefect cannot look there ({why}); set PREFECT_HOME to a folder of your own")
    return found


def reason(check: Callable[[str], str], value: str) -> str:
    """What the check says of the value, or why the system does not let it look there."""
    try:
        return check(value)
    except OSError as wrong:
        return wrong.strerror or type(wrong).__name__


def certificates(value: str) -> str:
    """Why the value is no file of certificates, nor a folder of them; empty if it is one."""
    path = Path(value)
    if path.is_dir():
        return "" if any(path.iterdir()) else "an empty folder"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "there is no certificate in this file"
    return ""


def certificate_file(value: str) -> str:
    """Why the value is no file of certificates; empty if it is one."""
    return "a folder, where a file is asked for" if Path(value).is_dir() else certificates(value)


def certificate_folders(value: str) -> str:
    """Why none of the folders in the value is there; empty if one is."""
    return "" if any(Path(folder).is_dir() for folder in value.split(os.pathsep)) else "no such folder"


def proxy(value: str) -> str:
    """Why the value is no address of an HTTP proxy; empty if it is one."""
    try:
        url = urlsplit(value if "://" in value else f"http://{value}")
        _ = url.port
    except ValueError:
        return "not the address of a proxy, such as http://host:3128"
    if url.scheme not in ("http", "https"):
        return f"a {url.scheme} proxy cannot be used here, only an HTTP one, such as http://host:3128"
    return "" if url.hostname else "no host in it"


def folder(value: str) -> str:
    """Why the value is no folder that files can be made in; empty if it is one."""
    if not Path(value).is_dir():
        return "no such folder"
    return "" if os.access(value, os.W_OK | os.X_OK) else "this user cannot write there"


def time_zone(value: str) -> str:
    """Why the value is no time zone; empty if it is one, by name or as a rule such as CET-1CEST."""
    if value.startswith((":", "/")) or re.search(r"\d", value):
        return ""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "no such time zone"
    return ""


def prefect_home(value: str) -> str:
    """Raise OSError where Prefect would, as it looks for its settings. It does without a folder that is not there."""
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
    """Add this machine's own names to NO_PROXY and no_proxy where a proxy is set, for this process and its children.

    So are services whose names have no dot: a proxy elsewhere does not know them, and Docker gives the proxies of
    its own configuration to every container.

    Entries are put as httpx reads them: it stops at `[::1]`, at `host:port` and at networks of IPv6, which it could
    not match in any case.
    """
    if not any(environment.get(name) for name in PROXIES):
        return
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host for host in map(_host, given.split(",")) if host]
    # `*` stands for every host only where it stands alone.
    direct = "*" if "*" in hosts else ",".join(dict.fromkeys([*hosts, *LOOPBACK, *neighbours(environment)]))
    environment["no_proxy"] = environment["NO_PROXY"] = direct


def neighbours(environment: Mapping[str, str]) -> list[str]:
    """The hosts of SERVICES that are names of this network alone."""
    found = []
    for name in SERVICES:
        with suppress(ValueError):  # no URL: who uses it says so
            host = urlsplit(environment.get(name, "")).hostname
            if host and re.fullmatch(r"[\w-]+", host):
                found.append(host)
    return found


def _host(entry: str) -> str:
    """An entry of NO_PROXY without brackets and port; empty for a network of IPv6."""
    entry = entry.strip()
    if "://" in entry:
        return entry
    bare = re.sub(r"^\[(.*)\](:\d+)?$", r"\1", entry)
    try:
        return str(ipaddress.IPv6Address(bare))
    except ValueError:
        return "" if bare.count(":") > 1 else bare.partition(":")[0]

"""The block that says how a flow run's container is made: image, environment, networks, limits.

It has the fields of Prefect 2's infrastructure block of that name, named as the Docker worker's job variables. A
deployment refers to the block: the worker reads it for every run, so an edit in the UI applies from the next run on,
without a new deploy.
"""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from prefect.blocks.core import Block
from prefect.settings import PREFECT_API_URL, get_current_settings
from prefect.types import SecretDict
from prefect_docker import DockerRegistryCredentials
from prefect_docker.types import VolumeStr
from pydantic import Field, model_validator

from infra.environment import BIGQUERY, PREFECT_API, STORAGE, project_name, read_environment, uses_emulators
from infra.image import deployed_image
from infra.settings import Settings, settings

SLUG = "docker-container"
PullPolicy = Literal["IfNotPresent", "Always", "IfPossible", "Never"]

# The command of a container; infra/flow_run.py says why it is not Prefect's own.
COMMAND = "python -m infra.flow_run"

# The settings that a container is given if they are set here: names and addresses, no paths.
PASSED_SETTINGS = (
    "source_url",
    "tag",
    "project",
    "bucket",
    "dataset",
    "location",
    "user_project",
    "postgres_block",
    "credentials_block",
    "bucket_block",
)


class DockerContainer(Block):
    """Settings of the container that a flow run runs in."""

    _block_type_name: ClassVar[str] = "Docker Container"
    _block_type_slug: ClassVar[str] = SLUG
    _description: ClassVar[str] = (
        "How the container of a flow run is made: its image, environment, networks and limits."
    )
    # None: the UI shows its default logo and does not load one from the internet.
    _logo_url = None

    image: str = Field(description="The image with the flows, by tag or digest.")
    image_pull_policy: PullPolicy = Field(
        "IfNotPresent", title="Image Pull Policy", description="When to pull the image before a run."
    )
    registry_credentials: DockerRegistryCredentials | None = Field(
        None, title="Registry Credentials", description="The login to pull the image with, for a private registry."
    )
    env: SecretDict = Field(
        default_factory=lambda: SecretDict({}),
        title="Environment Variables",
        description="Environment variables of the container. Hidden once saved: some are passwords.",
        # The UI's form omits a field without a default in the schema, and a run that refers to the field crashes.
        json_schema_extra={"default": {}},
    )
    labels: dict[str, str] = Field({}, description="Labels of the container, besides Prefect's own.")
    networks: list[str] = Field(
        [], description="Docker networks that the container joins. Not together with a network mode."
    )
    network_mode: str | None = Field(
        None, title="Network Mode", description="For example host. Not together with networks."
    )
    volumes: list[VolumeStr] = Field(
        [],
        description="Mounts: /on/the/host:/in/the/container[:ro], volume:/in/the/container, or only a path for a "
        "volume that is removed with the container.",
    )
    auto_remove: bool = Field(True, title="Auto Remove", description="Remove the container when it has ended.")
    stream_output: bool = Field(
        True, title="Stream Output", description="Show what the container prints in the agent's terminal."
    )
    mem_limit: str | None = Field(None, title="Memory Limit", description="For example 512m or 2g.")
    memswap_limit: str | None = Field(
        None, title="Memory Swap Limit", description="Memory and swap together; -1 for no limit. Needs a memory limit."
    )
    privileged: bool = Field(False, description="Give the container all rights of the host. The flows do not need it.")
    command: str | None = Field(None, description="What to run instead of Prefect's own `prefect flow-run execute`.")
    container_create_kwargs: dict[str, Any] = Field(
        {},
        title="Container Configuration",
        description="More arguments of the Docker SDK's containers.create, such as read_only, cap_drop or cpu_shares.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> DockerContainer:
        if self.networks and self.network_mode:
            raise ValueError("networks and network_mode exclude each other")
        if self.memswap_limit and not self.mem_limit:
            raise ValueError("memswap_limit needs mem_limit")
        return self


def job_variables(name: str) -> dict[str, str]:
    """A deployment's job variables: every field of the DockerContainer block `name`, by reference."""
    return {field: f"{{{{ prefect.blocks.{SLUG}.{name}.{field} }}}}" for field in DockerContainer.model_fields}


def container_blocks(config: Settings) -> dict[str, Block]:
    """The declared blocks of a Docker pool, by name: the container's, and the registry's login if it is set.

    Raises ImageUnavailable, DockerFailed: as `infra.image.deployed_image`, if the settings name no image.
    """
    registry = declared_registry()
    container = declared_container(deployed_image(config), config, registry)
    return ({config.registry_block: registry} if registry else {}) | {config.container_block: container}


def declared_container(
    image: str, config: Settings | None = None, registry: DockerRegistryCredentials | None = None
) -> DockerContainer:
    """The declared block: on the stack's network, unprivileged, with a read-only root file system.

    Names and addresses in `config` that differ from the defaults are passed to the container.
    """
    config = config or settings()
    values = read_environment()
    env = {
        "PREFECT_API_URL": api_seen_from_containers(PREFECT_API_URL.value() or ""),
        # Without heartbeats a run whose container and agent were killed together would stay Running.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    }
    if ui := get_current_settings().ui_url:
        env["PREFECT_UI_URL"] = ui  # a link in a run's log is opened in a browser outside the containers
    if uses_emulators(values):
        env |= {"STORAGE_EMULATOR_HOST": STORAGE, "BIGQUERY_EMULATOR_HOST": BIGQUERY, "NO_GCE_CHECK": "true"}
    passed = {name: getattr(config, name) for name in PASSED_SETTINGS if name in config.model_fields_set}
    if config.source_url and "source_url" in passed:
        passed["source_url"] = config.source_url.get_secret_value()
    return DockerContainer(
        image=image,
        registry_credentials=registry,
        env=SecretDict(env | {f"TAXIWAY_{name.upper()}": value for name, value in passed.items()}),
        networks=[project_name(values)],
        # For downloads: a volume, which is on disk, not in memory, and removed with the container.
        volumes=["/tmp"],
        command=COMMAND,
        container_create_kwargs={"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]},
    )


def api_seen_from_containers(url: str) -> str:
    """The Prefect API's address for a container.

    In a container, an address of this machine would be the container itself: use the service's name on the network.
    """
    return PREFECT_API if is_this_machine(urlsplit(url).hostname) else url


def is_this_machine(host: str | None) -> bool:
    """Whether a URL's host is this machine: missing, its name, or a loopback or unspecified address in any notation."""
    if host is None:
        return True
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        try:
            address = ip_address(socket.inet_aton(name))  # 127.1, 0
        except OSError:
            return name in (socket.gethostname().lower(), socket.getfqdn().lower())
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback or (mapped or address).is_unspecified


def declared_registry() -> DockerRegistryCredentials | None:
    """A private registry's login: REGISTRY_USER, _PASSWORD and _URL of `.env`; None without a password."""
    values = read_environment()
    if not values.get("REGISTRY_PASSWORD"):
        return None
    return DockerRegistryCredentials(
        username=values.get("REGISTRY_USER") or values.get("DOCKERHUB_USER", ""),
        password=values["REGISTRY_PASSWORD"],
        registry_url=values.get("REGISTRY_URL") or "index.docker.io",
    )

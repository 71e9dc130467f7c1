"""The block that says how a flow run's container is made: image, environment, networks, limits.

It has the fields that the infrastructure block of that name had in Prefect 2, under the names of the docker worker's
job variables. A deployment attaches it by reference: the worker reads the block anew for every run, so what is edited
in the UI counts from the next run on, with no new deploy.
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
from pydantic import Field, SecretStr, model_validator

from infra.environment import BIGQUERY, PREFECT_API, STORAGE, emulated, network, read_environment
from infra.image import deployed_image
from infra.settings import Settings, settings

SLUG = "docker-container"
PullPolicy = Literal["IfNotPresent", "Always", "IfPossible", "Never"]

# What the containers run, see there.
COMMAND = "python -m infra.flow_run"

# The flows' own settings that a container is given if they are set here: names and addresses, and no path.
HANDED_ON = (
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
    # None: the page shows its own sign, and asks nobody on the internet for one.
    _logo_url = None

    image: str = Field(description="The image, by tag or digest: it has the flows in it.")
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
        # A form leaves out what has no default in the schema, and a run that refers to it crashes.
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
        description="Mounts: /on/the/host:/in/the/container[:ro], volume:/in/the/container, or a path alone for a "
        "volume that goes with the container.",
    )
    auto_remove: bool = Field(True, title="Auto Remove", description="Remove the container when it has ended.")
    stream_output: bool = Field(
        True, title="Stream Output", description="Show what the container prints in the agent's terminal."
    )
    mem_limit: str | None = Field(None, title="Memory Limit", description="For example 512m or 2g.")
    memswap_limit: str | None = Field(
        None, title="Memory Swap Limit", description="Memory and swap together; -1 for no limit. Needs a memory limit."
    )
    privileged: bool = Field(False, description="Give the container all rights of the host. No flow here needs it.")
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

    @property
    def job_variables(self) -> dict[str, Any]:
        """What a deployment is given in order to follow this block. Raises ValueError if the block is not saved."""
        return _references(self.get_block_placeholder())


def job_variables(name: str) -> dict[str, str]:
    """A deployment's job variables: every field of the DockerContainer block `name`, by reference."""
    return _references(f"prefect.blocks.{SLUG}.{name}")


def _references(block: str) -> dict[str, str]:
    return {field: f"{{{{ {block}.{field} }}}}" for field in DockerContainer.model_fields}


def container_blocks(config: Settings | None = None) -> dict[str, Block]:
    """The blocks of a pool of containers that are code, by name: the container's, and the registry's login if set.

    Raises what `infra.image.deployed_image` raises where the settings name no image.
    """
    config = config or settings()
    registry = declared_registry()
    container = declared_container(config.image or deployed_image(config), config, registry)
    return ({config.registry_block: registry} if registry else {}) | {config.container_block: container}


def declared_container(
    image: str, config: Settings | None = None, registry: DockerRegistryCredentials | None = None
) -> DockerContainer:
    """The block as the code wants it: on the stack's network, unprivileged, its root file system read-only.

    Args:
        image: repository@digest.
        config: names and addresses that differ from the defaults are handed on to the container.
        registry: the login of a private registry.
    """
    config = config or settings()
    values = read_environment()
    env = {
        "PREFECT_API_URL": api_seen_from_containers(PREFECT_API_URL.value() or ""),
        # Without heartbeats nothing can tell a run whose container and agent died together from one that is at work.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    }
    if ui := get_current_settings().ui_url:
        env["PREFECT_UI_URL"] = ui  # what opens the link in a run's log is a person's browser, and no container
    if emulated(values):
        env |= {"STORAGE_EMULATOR_HOST": STORAGE, "BIGQUERY_EMULATOR_HOST": BIGQUERY, "NO_GCE_CHECK": "true"}
    given = {name: _plain(getattr(config, name)) for name in HANDED_ON if name in config.model_fields_set}
    return DockerContainer(
        image=image,
        registry_credentials=registry,
        env=SecretDict(env | {f"TAXIWAY_{name.upper()}": value for name, value in given.items()}),
        networks=[network(values)],
        # Where a run downloads to: on disk, not in memory, and gone with the container.
        volumes=["/tmp"],
        command=COMMAND,
        container_create_kwargs={"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]},
    )


def _plain(value: str | SecretStr) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def api_seen_from_containers(url: str) -> str:
    """The Prefect API's address for a container: what means this machine would be the container itself, so by name on
    the network.
    """
    return PREFECT_API if means_this_machine(urlsplit(url).hostname) else url


def means_this_machine(host: str | None) -> bool:
    """Whether a URL's host is this machine: none, its name, or any spelling of a loopback or unspecified address."""
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

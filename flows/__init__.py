"""The pipelines."""

import infra  # noqa: F401 - checks the environment, which has to come before any import of Prefect

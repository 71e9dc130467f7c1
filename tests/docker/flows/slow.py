"""A flow for the tests of stops: it waits, says whether it could clean up, and does not wait when it is run again."""

import os
import time

from prefect import flow, get_run_logger, runtime


@flow
def slow(seconds: int = 60) -> None:
    """Print the environment's names and values, then wait."""
    logger = get_run_logger()
    logger.info("environment %s", sorted(f"{name}={value}" for name, value in os.environ.items()))
    if runtime.flow_run.run_count > 1:
        logger.info("run again")
        return
    try:
        time.sleep(seconds)
    finally:
        logger.info("cleaned up")

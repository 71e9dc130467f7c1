"""Where the project runs.

Prefect creates HTTP clients when it is imported. Environment variables that would break them are checked here, before.
"""

import os
import sys

from infra.preflight import EnvironmentUnusable, reach_loopback_directly, require_environment

try:
    require_environment(os.environ)
except EnvironmentUnusable as error:
    sys.exit(f"taxiway: {error}")
reach_loopback_directly(os.environ)

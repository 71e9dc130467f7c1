"""Where the project runs.

Prefect makes HTTP clients while it is imported: what of the environment would break them is found here, before that.
"""

import os
import sys

from infra.preflight import EnvironmentUnusable, reach_loopback_directly, require_environment

try:
    require_environment(os.environ)
except EnvironmentUnusable as unusable:
    sys.exit(f"taxiway: {unusable}")
reach_loopback_directly(os.environ)

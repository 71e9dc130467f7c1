"""Where the project runs. Importing anything of it keeps this machine's own addresses away from proxies."""

import os

from infra.preflight import reach_loopback_directly

reach_loopback_directly(os.environ)

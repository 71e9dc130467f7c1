"""What a deployment script does when it is run by itself: `python deployments/web_to_gcs.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from infra.settings import ROOT


def deploy_this(script: str) -> None:
    """Deploy what the script declares, and delete nothing else. Ends the process with the command's exit status.

    Args:
        script: the script's own `__file__`; its command-line arguments are those of `apply`.
    """
    from infra.deploy.cli import app  # what a script declares can be read without it

    sys.argv = [script, "apply", "--script", str(Path(script).resolve().relative_to(ROOT)), *sys.argv[1:]]
    app()

"""`python -m infra.deploy`: see `infra.deploy.cli`."""

from __future__ import annotations

from infra.deploy.cli import app

if __name__ == "__main__":
    app()

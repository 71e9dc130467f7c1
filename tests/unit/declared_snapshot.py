"""What the code would deploy, as text: `python -m tests.unit.declared_snapshot` writes it to `tests/unit/snapshots`.

A change of it is then a diff to look at in review. Settings of the machine it is written on are left out.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from infra.settings import Settings

FOLDER = Path(__file__).parent / "snapshots"
DEFAULTS = {
    f"TAXIWAY_{name.upper()}": field.default
    for name, field in Settings.model_fields.items()
    if isinstance(field.default, str)
}
DIGEST = "docker.io/someone/taxiway@sha256:" + 64 * "0"


def snapshots() -> dict[str, str]:
    """JSON by file name: the deployments of each script, and the rest, each for a pool of either type.

    The flows take their defaults from the settings when they are imported: this is right only in a process that has
    DEFAULTS in its environment from its start.
    """
    from infra.automations import declared_automations
    from infra.deploy.kinds.automation import desired_automations
    from infra.deploy.kinds.deployment import desired_deployment
    from infra.deploy.kinds.limit import desired_limits
    from infra.deploy.kinds.pool import desired_pool
    from infra.deploy.scripts import read_script, scripts
    from infra.deploy.target import IMAGE_ROOT, Target
    from infra.limits import declared_limits
    from infra.work_pool import declared_pool

    texts = {}
    for pool_type, image in (("docker", DIGEST), ("process", None)):
        target = Target("taxi", pool_type, "taxiway", IMAGE_ROOT, "REVISION", image)
        for script in scripts():
            things = [thing for spec in read_script(script) for thing in desired_deployment(spec, target)]
            texts[f"{Path(script).stem}.{pool_type}.json"] = _text(things)
        config = Settings(work_pool_type=pool_type)
        shared = [desired_pool(declared_pool(config)), *desired_limits(declared_limits(config))]
        texts[f"shared.{pool_type}.json"] = _text([*shared, *desired_automations(declared_automations(config))])
    return texts


def _text(things) -> str:
    rows = [{"kind": thing.kind, "name": thing.name, "fields": thing.fields} for thing in things]
    return json.dumps(rows, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    os.environ |= DEFAULTS
    FOLDER.mkdir(exist_ok=True)
    for name, text in snapshots().items():
        (FOLDER / name).write_text(text)

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
    from infra.deploy.kinds import KINDS
    from infra.deploy.object_kind import Declarations
    from infra.deploy.scripts import read_script, scripts
    from infra.deploy.target import IMAGE_ROOT, Target

    texts = {}
    for pool_type, image in (("docker", DIGEST), ("process", None)):
        target = Target("taxi", pool_type, "taxiway", IMAGE_ROOT, "REVISION", image)
        config = Settings(work_pool_type=pool_type)
        for script in scripts():
            own = Declarations(config, target, read_script(script), {})
            texts[f"{Path(script).stem}.{pool_type}.json"] = _text(own, "deployment", "schedule")
        shared = Declarations(config, target, (), {})
        texts[f"shared.{pool_type}.json"] = _text(
            shared, *(kind for kind in KINDS if kind not in ("deployment", "schedule"))
        )
    return texts


def _text(declarations, *kinds: str) -> str:
    from infra.deploy.kinds import KINDS

    objects = [each for kind in kinds for each in KINDS[kind].declare(declarations)]
    rows = [{"kind": each.kind, "name": each.name, "fields": each.fields} for each in objects]
    return json.dumps(rows, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    os.environ |= DEFAULTS
    FOLDER.mkdir(exist_ok=True)
    for name, text in snapshots().items():
        (FOLDER / name).write_text(text)

"""The kinds of objects that a deploy handles, one file each: how it is declared, read, compared and written."""

from __future__ import annotations

from infra.deploy.kinds.automation import AUTOMATION
from infra.deploy.kinds.block import BLOCK
from infra.deploy.kinds.deployment import DEPLOYMENT
from infra.deploy.kinds.limit import LIMIT
from infra.deploy.kinds.pool import POOL
from infra.deploy.kinds.schedule import SCHEDULE

KINDS = {each.kind: each for each in (POOL, BLOCK, LIMIT, AUTOMATION, DEPLOYMENT, SCHEDULE)}

# What a person has switched since the last deploy is kept, except on --reset.
SWITCH = {each.kind: each.switch for each in KINDS.values() if each.switch}
SWITCHED = {(each.kind, value): note for each in KINDS.values() for value, note in each.switched.items()}

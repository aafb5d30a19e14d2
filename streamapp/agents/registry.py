"""Every consumer group that has an agent: the name of the group, the module whose `app` is its Faust app, one line.

`image-billing` has its agent in `streamapp.agents.image_billing`: a group of `streamapp/topics/registry.py` and that
module are all it takes. `streamapp docs` brings it into the Procfile, docker-compose.yml, runbook and reference, and
`deploy/kubernetes/generate.py` into the manifests.
"""

from __future__ import annotations

from streamapp.topics.registry import GROUPS

AGENTS: tuple[tuple[str, str, str], ...] = tuple(
    (group.name, f"streamapp.agents.{group.name.replace('-', '_')}", group.purpose) for group in GROUPS
)

"""audit-archive whose process ends at a step of its first batch, by the environment: `-A ended_archive`."""

from __future__ import annotations

import os
from importlib import import_module

from streamapp.sinks.archive import store as archive_store
from streamapp.sinks.archive.chain import MANIFEST, OBJECT

STEP = os.environ["ENDED_BEHIND"]
EXIT_CODE = 9


class EndsBehind(archive_store.ArchiveStore):
    """The store, and the end of the process when it has kept what the step is about."""

    async def create(self, name: str, data: bytes) -> None:
        await super().create(name, data)
        if ("object" if name.endswith(OBJECT) else "entry") == STEP:
            os._exit(EXIT_CODE)

    async def replace(self, name: str, data: bytes) -> None:
        await super().replace(name, data)
        assert name.endswith(MANIFEST)
        if STEP == "manifest":
            os._exit(EXIT_CODE)


vars(archive_store)["ArchiveStore"] = EndsBehind
app = import_module("streamapp.agents.audit_archive").app

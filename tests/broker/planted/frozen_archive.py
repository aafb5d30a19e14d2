"""audit-archive that freezes when it has promised its first batch and is about to write it: `-A frozen_archive`."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from importlib import import_module

from streamapp.sinks.archive import store as archive_store


class Freezes(archive_store.ArchiveStore):
    """The store, and SIGSTOP the first time that it is asked what there is: before the first object is written."""

    frozen = False

    async def names(self, prefix: str, after: str | None = None) -> AsyncIterator[tuple[str, int]]:
        if not self.frozen:
            self.frozen = True
            os.kill(os.getpid(), signal.SIGSTOP)
        async for found in super().names(prefix, after):
            yield found


vars(archive_store)["ArchiveStore"] = Freezes
app = import_module("streamapp.agents.audit_archive").app

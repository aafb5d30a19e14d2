"""What pages ask besides workers. Each part has a double that knows nothing, for a worker without it and for tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from streamapp.dead_letters.acting import Acting, NoActing
from streamapp.dead_letters.recent import Letters, NoLetters
from streamapp.events.log import EventLog, NoEventLog
from streamapp.events.sources import Objects, Store
from streamapp.watch.standing import NoStandings, Standings
from streamapp.web.entry.audit import Audit, NoAudit
from streamapp.web.pages.asked import nobody
from streamapp.web.pages.lags import Hours
from streamapp.web.pages.reconciliation import NoReconciliation, Reconciliation
from streamapp.web.pages.subjects import Registered
from streamapp.web.pages.usage.kept import KeptBills, NoLedger

_NO_WATCH, _NO_REGISTRY = partial(nobody, "the watch"), partial(nobody, "the registry")


@dataclass(frozen=True, slots=True)
class Outside:
    """Kafka (`standings`, `letters`, `events`, `audit`, `acting`), the stores that sinks write (`ledger`, `store`,
    `archive`), and the processes beside workers (`reconciliation`, `watch`, `subjects` of the registry, capture's
    address)."""

    standings: Standings = field(default_factory=NoStandings)
    letters: Letters = field(default_factory=NoLetters)
    events: EventLog = field(default_factory=NoEventLog)
    audit: Audit = field(default_factory=NoAudit)
    acting: Acting = field(default_factory=NoActing)
    ledger: KeptBills = field(default_factory=NoLedger)
    store: Store | None = None
    archive: Objects | None = None
    reconciliation: Reconciliation = field(default_factory=NoReconciliation)
    watch: Callable[[], Awaitable[Hours]] = _NO_WATCH
    subjects: Callable[[], Awaitable[list[Registered]]] = _NO_REGISTRY
    capture_url: str = ""

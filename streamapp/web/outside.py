"""What pages ask besides workers. Each part has a default that knows nothing, for a worker without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from streamapp.dead_letters.acting import Acting
from streamapp.dead_letters.recent import Letters
from streamapp.events.log import EventLog
from streamapp.events.sources import Objects, Store
from streamapp.watch.standing import Standings
from streamapp.web.entry.audit import Audit
from streamapp.web.pages.asked import Registered, nobody
from streamapp.web.pages.front.lags import Hours
from streamapp.web.pages.front.reconciliation import Reconciliation
from streamapp.web.pages.usage.kept import KeptBills

_NO_WATCH, _NO_REGISTRY = partial(nobody, "the watch"), partial(nobody, "the registry")


@dataclass(frozen=True, slots=True)
class Outside:
    """Kafka (`standings`, `letters`, `events`, `audit`, `acting`), the stores that sinks write (`ledger`, `store`,
    `archive`), and the processes beside workers (`reconciliation`, `watch`, `subjects` of the registry, capture's
    address)."""

    standings: Standings = field(default_factory=Standings)
    letters: Letters = field(default_factory=Letters)
    events: EventLog = field(default_factory=EventLog)
    audit: Audit = field(default_factory=Audit)
    acting: Acting = field(default_factory=Acting)
    ledger: KeptBills = field(default_factory=KeptBills)
    store: Store | None = None
    archive: Objects | None = None
    reconciliation: Reconciliation = field(default_factory=Reconciliation)
    watch: Callable[[], Awaitable[Hours]] = _NO_WATCH
    subjects: Callable[[], Awaitable[list[Registered]]] = _NO_REGISTRY
    capture_url: str = ""

"""Bills as the ledger keeps them: older than what workers have, and with the time at which each was kept."""

from __future__ import annotations

from typing import NamedTuple


class KeptBill(NamedTuple):
    """A statement as stated (exact envelope JSON), and when the ledger took it (ms)."""

    stated: bytes
    recorded_ms: int


class KeptBills:
    """Whoever can look into the ledger. This one has none."""

    async def chain(self, bill_id: str) -> list[KeptBill]:
        """Every revision of the bill's bucket, revision 0 first; [] if it is not there, or the ledger does not answer
        at once. Never raises."""
        return []

"""What a record must be before the ledger looks at it: an event, of a team that is at home on this partition, and not
ahead of its own record. None of this depends on the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tables.outcome import Record, Refusal

UNKNOWN = -1  # no record key, not even None, equals it
HOMES_MAX = 100_000  # teams whose key was checked; more than a partition is likely to see at a time


class UsageData(Protocol):
    """The payload of a usage event."""

    provider: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: Any  # Decimal with exponent -12
    status: str
    cache_hit: bool
    currency: str


class Usage(Protocol):
    """A decoded usage event."""

    id: str
    at_ms: int
    team_id: str
    org_id: str | None
    data: Any  # UsageData


@dataclass(frozen=True)
class Door:
    """The door of one partition. What it asks is handed in, so that the arithmetic stays pure:

    decode       bytes → event, or a pair (reason, error)
    digest       128-bit hash of an id: what is remembered of it
    fingerprint  64-bit hash of the bytes; both are the same in every process
    at_home      whether a record with this key belongs on this partition, the key being the team's
    org_of       team → org by the directory, or None
    """

    decode: Callable[[Any], Any]
    digest: Callable[[Any], bytes]
    fingerprint: Callable[[Any], bytes]
    at_home: Callable[[Any, str], bool]
    org_of: Callable[[str], str | None]
    _homes: dict[str, Any] = field(default_factory=dict)  # teams known to be at home here, with their record key

    def let_in(self, record: Record, future_ms: int) -> Any:
        """The event of a record that may count, or a `Refusal`."""
        event = self.decode(record.value)
        if isinstance(event, tuple):
            return Refusal(record, event[0], event[1])
        if self._homes.get(event.team_id, UNKNOWN) != record.key and not self._is_home(record.key, event.team_id):
            error = f"its key does not put team {event.team_id!r} on this partition"
            return Refusal(record, "wrong_partition", error)
        if event.at_ms > record.timestamp + future_ms:
            return Refusal(record, "timestamp_in_future", "its time is more than 5 minutes ahead of its record's")
        return event

    def _is_home(self, key: Any, team: str) -> bool:
        if not self.at_home(key, team):
            return False
        if len(self._homes) >= HOMES_MAX:
            self._homes.clear()
        self._homes[team] = key
        return True

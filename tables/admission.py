"""What a record must be before a table looks at it: an event, whose owner is at home on this partition, and not ahead
of its own record. The owner of usage is a team, that of a metered call an agent. None of this depends on the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from tables.cause import quoted
from tables.outcome import Record, Refusal

UNKNOWN = -1  # no record key, not even None, equals it
HOMES_MAX = 100_000  # owners whose key was checked; more than a partition is likely to see at a time


def unresolved(event: Any) -> str:
    """Why an event belongs to no org, as a sentence."""
    if event.team_id is None:
        return "no org_id, and no team_id to look up in the directory"
    return f"no org_id, and the directory does not know team {quoted(event.team_id)}"


@dataclass(frozen=True)
class Admission:
    """The admission of one partition. What it asks is handed in, so that the arithmetic stays pure:

    decode    bytes → event, or a pair (reason, error)
    at_home   whether a record with this key belongs on this partition, the key being the owner's
    org_of    team → org by the directory, or None
    owner_of  event → who must be the record key
    owner     what such a one is called
    """

    decode: Callable[[Any], Any]
    at_home: Callable[[Any, str], bool]
    org_of: Callable[[str], str | None]
    owner_of: Callable[[Any], str] = attrgetter("team_id")
    owner: str = "team"
    _homes: dict[str, Any] = field(default_factory=dict)  # owners known to be at home here, with their record key

    def admit(self, record: Record, future_ms: int) -> Any:
        """The event of a record that may count, or a `Refusal`."""
        event = self.decode(record.value)
        if isinstance(event, tuple):
            return Refusal(record, event[0], event[1])
        owner = self.owner_of(event)
        if self._homes.get(owner, UNKNOWN) != record.key and not self._is_home(record.key, owner):
            why = f"the record key must be the {self.owner}'s id (murmur2)"
            return Refusal(record, "wrong_partition", f"wrong partition for {self.owner} {quoted(owner)}: {why}")
        if record.timestamp <= 0:
            return Refusal(record, "record_timestamp_missing", "its record has no timestamp")
        if event.at_ms > record.timestamp + future_ms:
            return Refusal(record, "timestamp_in_future", "timestamp is more than five minutes in the future")
        return event

    def org(self, event: Any) -> str | None:
        """Whose event it is: as it says, or by the directory; None if neither knows."""
        if event.org_id:
            org: str = event.org_id
            return org
        return None if event.team_id is None else self.org_of(event.team_id)

    def _is_home(self, key: Any, owner: str) -> bool:
        if not self.at_home(key, owner):
            return False
        if len(self._homes) >= HOMES_MAX:
            self._homes.clear()
        self._homes[owner] = key
        return True

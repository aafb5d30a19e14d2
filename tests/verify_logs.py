"""Small logs by hand for the independent check, and the bills that belong to them by an oracle of its own.

The oracle counts in integers (10^-12 of a currency unit) and is told which records a statement counts; it shares no
line with the check it serves.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from streamapp.kafka.log.reader import Record

HOUR_MS = 3_600_000
TEN = int(datetime(2025, 1, 15, 10, tzinfo=UTC).timestamp()) * 1000
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
COUNTERS = ("requests", "errors", "cache_hits", "prompt_tokens", "completion_tokens", "total_tokens", "cost")


def text(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def money(pico: int) -> str:
    sign, digits = ("-" if pico < 0 else ""), str(abs(pico)).zfill(13)
    return f"{sign}{digits[:-12]}.{digits[-12:]}"


def bill_id(kind: str, org: str, team: str, currency: str, start_ms: int, revision: int) -> str:
    plain = json.dumps([kind, org, team, currency, text(start_ms), revision], separators=(",", ":"), ensure_ascii=False)
    bits = f"{start_ms + HOUR_MS:048b}" + f"{int(hashlib.sha256(plain.encode()).hexdigest(), 16):0256b}"[:80]
    bits = bits.zfill(130)
    return "evt_" + "".join(ALPHABET[int(bits[at : at + 5], 2)] for at in range(0, 130, 5))


@dataclass
class Event:
    """What the oracle knows of one usage record."""

    partition: int
    offset: int
    org: str
    team: str
    currency: str
    start_ms: int
    line: tuple[str, str]
    counters: dict[str, int]


@dataclass
class Logs:
    """The three logs. `use` appends usage, `state` the bill that follows from what is there, `refuse` a dead letter."""

    usage: list[Record] = field(default_factory=list)
    bills: list[Record] = field(default_factory=list)
    letters: list[Record] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    stated: dict[tuple[str, str, str, int], tuple[str, int, dict[str, int]]] = field(default_factory=dict)
    running: dict[tuple[str, str, str, str], tuple[int, int]] = field(default_factory=dict)

    def use(
        self,
        at_ms: int,
        pico: int = 3_800_000_000,
        *,
        id: str | None = None,
        team: str = "team_a",
        org: str | None = "org_1",
        home: str = "org_1",
        partition: int = 0,
        value: bytes | None = None,
        counts: bool = True,
        record_ms: int | None = None,
        key: bytes | None = None,
        top: dict[str, Any] | None = None,
        **data: Any,
    ) -> Record:
        """A usage record. `counts=False`: the oracle leaves it out. `home`: the org if the event names none."""
        offset = sum(record.partition == partition for record in self.usage)
        fields: dict[str, Any] = {
            "provider": "together",
            "model": "zen-72b",
            "prompt_tokens": 150,
            "completion_tokens": 230,
        }
        fields |= {"cache_hit": False, **data}
        fields.setdefault("total_tokens", fields["prompt_tokens"] + fields["completion_tokens"])
        envelope: dict[str, Any] = {"schema": "hanzo.stream.v1", "id": id or f"evt_{partition}_{offset}"}
        envelope |= {"type": "llm.usage.completed", "source": "llm-gateway", "timestamp": text(at_ms)}
        envelope |= {"team_id": team, "org_id": org, **(top or {})}
        envelope |= {"data": {**fields, "cost_usd": "COST"}}
        made = json.dumps(envelope).replace('"COST"', money(pico)).encode() if value is None else value
        record_ms = at_ms if record_ms is None else record_ms
        record = Record("llm_usage", partition, offset, record_ms, team.encode() if key is None else key, made)
        self.usage.append(record)
        if counts:
            self.events.append(_event(record, fields, at_ms, org or home, team, pico))
        return record

    def state(
        self,
        start_ms: int,
        *,
        team: str = "team_a",
        org: str = "org_1",
        currency: str = "USD",
        upto: int | None = None,
        partition: int = 0,
        **change: Any,
    ) -> Record:
        """State the bucket: all its events, or those with offsets below `upto`. `change` replaces data fields."""
        bucket = (org, team, currency, start_ms)
        mine = [event for event in self.events if (event.org, event.team, event.currency, event.start_ms) == bucket]
        mine = [event for event in mine if upto is None or event.offset < upto]
        lines: dict[tuple[str, str], dict[str, int]] = {}
        for event in mine:
            line = lines.setdefault(event.line, dict.fromkeys(COUNTERS, 0))
            for name in COUNTERS:
                line[name] += event.counters[name]
        totals = {name: sum(line[name] for line in lines.values()) for name in COUNTERS}
        before_id, revision, before = self.stated.get(bucket, (None, -1, dict.fromkeys(COUNTERS, 0)))
        revision += 1
        delta = {name: totals[name] - before[name] for name in COUNTERS}
        month = (org, team, currency, text(start_ms)[:7])
        cost, tokens = self.running.get(month, (0, 0))
        self.running[month] = (cost + delta["cost"], tokens + delta["total_tokens"])
        kind = "billing.usage.revised" if revision else "billing.usage.hourly"
        made_id = bill_id(kind, org, team, currency, start_ms, revision)
        self.stated[bucket] = (made_id, revision, totals)
        data = {
            "billing_id": made_id,
            "revision": revision,
            "supersedes": before_id,
            "team_id": team,
            "period_start": text(start_ms),
            "period_end": text(start_ms + HOUR_MS),
            "currency": currency,
            "totals": _shown(totals),
            "delta": _shown(delta),
            "lines": [{"provider": at[0], "model": at[1], **_shown(line)} for at, line in sorted(lines.items())],
            "running_total": {
                "month": month[3],
                "cost": money(cost + delta["cost"]),
                "total_tokens": tokens + delta["total_tokens"],
            },
            "coverage": {
                "topic": "llm_usage",
                "partition": mine[0].partition,
                "first_offset": mine[0].offset,
                "last_offset": mine[-1].offset,
                "events": len(mine),
            },
        }
        envelope = {"schema": "hanzo.stream.v1", "id": made_id, "type": kind, "source": "billing-aggregator"}
        envelope |= {"timestamp": text(start_ms + HOUR_MS + 300_000), "team_id": team, "org_id": org}
        return self.bill({**envelope, "data": {**data, **change}}, partition)

    def bill(self, event: dict[str, Any], partition: int = 0) -> Record:
        """Append any event to billing_events."""
        offset = sum(record.partition == partition for record in self.bills)
        key, value = event["org_id"].encode(), json.dumps(event).encode()
        self.bills.append(Record("billing_events", partition, offset, 0, key, value))
        return self.bills[-1]

    def rewrite(self, bill: Record, **changes: Any) -> None:
        """Change fields of a bill in place: `totals__cost="…"` reaches into data; `envelope__id` into the envelope."""
        event = json.loads(bill.value or b"")
        for path, value in changes.items():
            parts = path.split("__")
            place = event if parts[0] == "envelope" else event["data"]
            for part in parts[1:-1] if parts[0] == "envelope" else parts[:-1]:
                place = place[part]
            place[parts[-1]] = value
        self.bills[self.bills.index(bill)] = bill._replace(value=json.dumps(event).encode())

    def refuse(self, record: Record, reason: str, *, group: str = "billing-agg", **change: Any) -> Record:
        """The dead letter about a usage record. `change` replaces data fields."""
        data = {
            "source_topic": record.topic,
            "source_partition": record.partition,
            "source_offset": record.offset,
            "group": group,
            "reason": reason,
            "error": "said in one sentence",
            "key_b64": None if record.key is None else base64.b64encode(record.key).decode(),
            "value_b64": None if record.value is None else base64.b64encode(record.value).decode(),
            "headers": [],
            "attempt": 1,
            **change,
        }
        envelope: dict[str, Any] = {
            "schema": "hanzo.stream.v1",
            "id": f"evt_dl_{len(self.letters)}",
            "type": "stream.event.rejected",
        }
        envelope |= {"source": group, "timestamp": text(TEN), "data": data}
        value = json.dumps(envelope).encode()
        self.letters.append(Record("dead_letter", 0, len(self.letters), 0, record.topic.encode(), value))
        return self.letters[-1]


def _event(record: Record, fields: dict[str, Any], at_ms: int, org: str, team: str, pico: int) -> Event:
    counters = {
        "requests": 1,
        "errors": int(fields.get("status", "success") != "success"),
        "cache_hits": int(fields["cache_hit"]),
        "prompt_tokens": fields["prompt_tokens"],
        "completion_tokens": fields["completion_tokens"],
        "total_tokens": fields["total_tokens"],
        "cost": pico,
    }
    start_ms = at_ms // HOUR_MS * HOUR_MS
    line = (fields["provider"], fields["model"])
    return Event(record.partition, record.offset, org, team, fields.get("currency", "USD"), start_ms, line, counters)


def _shown(counters: dict[str, int]) -> dict[str, Any]:
    return {**counters, "cost": money(counters["cost"])}

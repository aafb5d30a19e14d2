"""What must stand on `billing_events` and `dead_letter` for a usage log, by the rules of the standard alone.

One walk over each partition, record by record, with a dictionary and Decimals: no chunks, no rows, nothing of the
worker's. Records that are broken by themselves are not judged here: `poison` says why each of them is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal, Inexact
from typing import Any, NamedTuple

from aiokafka.partitioner import murmur2
from verify_logs import bill_id, text

from streamapp.kafka.log.reader import Record

MINUTE = 60_000
HOUR = 60 * MINUTE
GRACE = FUTURE = MARK = 5 * MINUTE
FORTNIGHT = 14 * 24 * HOUR
EXACT = Context(prec=80, traps=[Inexact])
COUNTS = ("requests", "errors", "cache_hits", "prompt_tokens", "completion_tokens", "total_tokens", "cost")
OTHER = ("", "other")
STAMP = re.compile(r"(.{16}):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")

Name = tuple[int, str, str, str]
"""Start of the hour, org, team, currency."""


class Bill(NamedTuple):
    """A statement: the partition its usage came from, its record's key and value."""

    partition: int
    key: bytes
    value: bytes


@dataclass
class Bucket:
    lines: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=list)
    revision: int = -1
    stated: list[Any] = field(default_factory=lambda: [0] * 6 + [Decimal(0)])
    due: int | None = None  # the mark that states it next
    late: bool = False  # what is to be stated came after it was closed


@dataclass
class Oracle:
    """Expects `bills` in the order in which each partition states them, and `letters`: (partition, offset) → reason."""

    poison: Mapping[bytes, str]
    directory: Mapping[str, str] = field(default_factory=dict)
    partitions: int = 8
    names_max: int = 200
    bills: list[Bill] = field(default_factory=list)
    letters: dict[tuple[int, int], str] = field(default_factory=dict)
    buckets: dict[int, dict[Name, Bucket]] = field(default_factory=dict)
    months: dict[tuple[str, ...], tuple[Decimal, int]] = field(default_factory=dict)
    seen: dict[tuple[int, str], bytes] = field(default_factory=dict)
    watermarks: dict[int, int] = field(default_factory=dict)

    def read(self, log: Iterable[Record]) -> None:
        """Walk over records, those of each partition in order. May go on with more."""
        for record in log:
            event = self.judged(record)
            if isinstance(event, str):
                self.letters[record.partition, record.offset] = event
            elif event is not None:
                self.count(record, event)

    def idle(self, now: int, stamps: Mapping[str, str]) -> None:
        """Every partition is silent at `now`. `stamps`: id → envelope timestamp, which is the wall clock's here."""
        for partition, buckets in sorted(self.buckets.items()):
            for name, bucket in sorted(buckets.items(), key=lambda item: item[0]):
                if bucket.due is not None and (bucket.late or name[0] + HOUR + GRACE <= now):
                    self.state(partition, name, bucket, stamps)

    def judged(self, record: Record) -> dict[str, Any] | str | None:
        """The event, or why it is refused, or None for a repetition."""
        if not record.value or record.value in self.poison:
            return self.poison[record.value] if record.value else "empty_value"
        event: dict[str, Any] = json.loads(record.value, parse_float=Decimal)
        team = event["team_id"].encode()
        if record.key != team or (murmur2(team) & 0x7FFFFFFF) % self.partitions != record.partition:
            return "wrong_partition"
        event["at"] = at = moment(event["timestamp"])
        if at > record.timestamp_ms + FUTURE:
            return "timestamp_in_future"
        if (before := self.seen.get((record.partition, event["id"]))) is not None:
            return None if before == record.value else "conflicting_duplicate"
        if not event.get("org_id") and event["team_id"] not in self.directory:
            return "org_unresolved"
        if at < self.watermarks.get(record.partition, 0) - FORTNIGHT:
            return "too_late"
        return event

    def count(self, record: Record, event: dict[str, Any]) -> None:
        partition, at, data = record.partition, event["at"], event["data"]
        self.seen[partition, event["id"]] = record.value or b""
        buckets = self.buckets.setdefault(partition, {})
        self.watermarks[partition] = watermark = max(self.watermarks.get(partition, 0), at)
        for name, bucket in sorted(buckets.items(), key=lambda item: item[0]):
            if bucket.due is not None and bucket.due <= watermark:
                self.state(partition, name, bucket, {})
        org = event.get("org_id") or self.directory[event["team_id"]]
        name = (at // HOUR * HOUR, org, event["team_id"], data.get("currency") or "USD")
        bucket = buckets.setdefault(name, Bucket())
        if bucket.due is None:
            closes = name[0] + HOUR + GRACE
            bucket.late = bucket.revision >= 0 or closes <= watermark
            bucket.due = (watermark // MARK + 1) * MARK if bucket.late else closes
        bucket.offsets.append(record.offset)
        tokens = data["prompt_tokens"], data["completion_tokens"], data["total_tokens"]
        failed = (data.get("status") or "success") != "success"
        one = [1, int(failed), int(bool(data.get("cache_hit"))), *tokens, Decimal(data["cost_usd"])]
        names = data["provider"], data["model"]
        if names not in bucket.lines and (OTHER in bucket.lines or len(bucket.lines) >= self.names_max):
            names = OTHER
        line = bucket.lines.setdefault(names, [0] * 6 + [Decimal(0)])
        line[:] = plus(line, one)

    def identity(self, name: Name, revision: int) -> str | None:
        start, org, team, currency = name
        return None if revision < 0 else bill_id(kind(revision), org, team, currency, start, revision)

    def state(self, partition: int, name: Name, bucket: Bucket, stamps: Mapping[str, str]) -> None:
        start, org, team, currency = name
        totals: list[Any] = [0] * 6 + [Decimal(0)]
        for line in bucket.lines.values():
            totals = plus(totals, line)
        delta = [EXACT.subtract(Decimal(new), Decimal(old)) for new, old in zip(totals, bucket.stated, strict=True)]
        made, before = self.identity(name, bucket.revision + 1), self.identity(name, bucket.revision)
        bucket.revision += 1
        month = (text(start)[:7], org, team, currency)
        cost, tokens = self.months.get(month, (Decimal(0), 0))
        self.months[month] = cost, tokens = EXACT.add(cost, delta[6]), tokens + int(delta[5])
        data = {
            "billing_id": made,
            "revision": bucket.revision,
            "supersedes": before,
            "team_id": team,
            "period_start": text(start),
            "period_end": text(start + HOUR),
            "currency": currency,
            "totals": shown(totals),
            "delta": shown(delta),
            "lines": [{"provider": at[0], "model": at[1], **shown(line)} for at, line in sorted(bucket.lines.items())],
            "running_total": {"month": month[0], "cost": f"{cost:.12f}", "total_tokens": tokens},
            "coverage": {
                "topic": "llm_usage",
                "partition": partition,
                "first_offset": bucket.offsets[0],
                "last_offset": bucket.offsets[-1],
                "events": len(bucket.offsets),
            },
        }
        assert bucket.due is not None
        envelope = {"schema": "hanzo.stream.v1", "id": made, "type": kind(bucket.revision)}
        envelope |= {"source": "billing-aggregator", "timestamp": stamps.get(made or "", text(bucket.due))}
        envelope |= {"team_id": team, "org_id": org}
        value = json.dumps({**envelope, "data": data}, separators=(",", ":"), ensure_ascii=False).encode()
        self.bills.append(Bill(partition, org.encode(), value))
        bucket.stated, bucket.due = totals, None


def moment(stamp: str) -> int:
    """UTC milliseconds; finer digits are cut, second 60 is the next minute's first millisecond."""
    found = STAMP.fullmatch(stamp)
    assert found is not None, stamp
    minute, second, fraction, offset = found.groups()
    thousandths = 0 if second == "60" else int(f"{fraction or ''}000"[:3])
    return round(datetime.fromisoformat(minute + offset).timestamp()) * 1000 + int(second) * 1000 + thousandths


def kind(revision: int) -> str:
    return "billing.usage.revised" if revision else "billing.usage.hourly"


def plus(one: list[Any], other: list[Any]) -> list[Any]:
    sums = [a + b for a, b in zip(one[:6], other[:6], strict=True)]
    return [*sums, EXACT.add(one[6], other[6])]


def shown(counts: list[Any]) -> dict[str, Any]:
    return {**{name: int(count) for name, count in zip(COUNTS, counts[:6], strict=False)}, "cost": f"{counts[6]:.12f}"}

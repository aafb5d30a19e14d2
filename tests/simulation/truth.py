"""What must have been billed and refused, as a plain walk over the log; shares no line with what it judges."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

from usage_log import DIRECTORY, Rec

HOUR = 3_600_000
NAMES = ("requests", "errors", "cache_hits", "prompt_tokens", "completion_tokens", "total_tokens", "cost")
LEDGER_REASONS = {"wrong_partition", "timestamp_in_future", "conflicting_duplicate", "org_unresolved", "too_late"}

Bucket = tuple[str, str, str, str]  # start, org, team, currency
Sums = dict[str, Fraction]


Month = tuple[str, str, str, str]  # month, org, team, currency


class Truth:
    """The log's content: sums per bucket, refusals per offset, and what each month had come to at each event."""

    def __init__(
        self,
        log: Sequence[Rec],
        homes: dict[str, int],
        grace_ms: int,
        retention_ms: int,
        future_ms: int,
        remember_ms: int,
    ) -> None:
        self.sums: dict[Bucket, Sums] = {}
        self.offsets: dict[Bucket, list[int]] = defaultdict(list)
        self.spent: dict[Month, Fraction] = defaultdict(Fraction)
        self.spending: list[tuple[Month, Fraction, str, int]] = []  # with an event and its offset, in log order
        self.refused: dict[int, str] = {}
        self.watermark = -1
        seen: dict[str, tuple[int, int, bytes | None]] = {}  # expiry of an hour that closes on time, expiry, content
        for record in log:
            try:
                event = json.loads(record.value or b"", parse_float=Fraction)
                at, data = to_ms(event["timestamp"]), event["data"]
            except (ValueError, TypeError, KeyError):
                self.refused[record.offset] = "poison"
                continue
            id, team, start = event["id"], event["team_id"], at - at % HOUR
            org = event["org_id"] or DIRECTORY.get(team)
            _, until, content = seen.get(id, (-1, -1, None))
            if record.key != team.encode() or homes[team] != record.partition:
                self.refused[record.offset] = "wrong_partition"
            elif at > record.timestamp + future_ms:
                self.refused[record.offset] = "timestamp_in_future"
            elif until > self.watermark:
                if content != record.value:
                    self.refused[record.offset] = "conflicting_duplicate"
            elif org is None:
                self.refused[record.offset] = "org_unresolved"
            else:
                if at > self.watermark >= 0:  # whatever it closes late is known for longer
                    first = up((self.watermark - grace_ms) // HOUR * HOUR + HOUR + grace_ms + remember_ms)
                    last = up(at + remember_ms)
                    seen |= {id: (on, last, by) for id, (on, _, by) in seen.items() if first <= on < last}
                self.watermark = max(self.watermark, at)
                closes = start + HOUR + grace_ms
                if closes <= self.watermark and at < self.watermark - retention_ms:
                    self.refused[record.offset] = "too_late"
                    continue
                forgotten = up(max(closes, self.watermark) + remember_ms)
                seen[id] = (forgotten, forgotten, record.value)
                self._count((event["timestamp"][:13], org, team, data["currency"]), data, record.offset)
                month = (event["timestamp"][:7], org, team, data["currency"])
                self.spent[month] += data["cost_usd"]
                self.spending.append((month, self.spent[month], id, record.offset))

    def _count(self, bucket: Bucket, data: dict[str, Any], offset: int) -> None:
        error, hit = data["status"] != "success", data["cache_hit"]
        tokens = data["prompt_tokens"], data["completion_tokens"], data["total_tokens"]
        numbers = (1, error, hit, *tokens, data["cost_usd"])
        before = self.sums.get(bucket, dict.fromkeys(NAMES, Fraction(0)))
        self.sums[bucket] = {name: before[name] + Fraction(n) for name, n in zip(NAMES, numbers, strict=True)}
        self.offsets[bucket].append(offset)


def up(ms: int) -> int:
    """The full hour at or after."""
    return -(-ms // HOUR) * HOUR


def to_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def sums(counters: dict[str, Any]) -> Sums:
    return {name: Fraction(counters[name]) for name in NAMES}


def check_bills(bills: Iterable[bytes], truth: Truth, stated_until: str) -> None:
    """Hold committed statements of one partition, in log order, against the truth.

    Hours that start before `stated_until` (like `2025-01-15T10`) must have been stated to the last event.
    """
    newest: dict[Bucket, dict[str, Any]] = {}
    added: dict[Bucket, Sums] = {}
    months: dict[tuple[str, ...], Fraction] = defaultdict(Fraction)
    for content in bills:
        event = json.loads(content)
        data = event["data"]
        bucket = (data["period_start"][:13], event["org_id"], data["team_id"], data["currency"])
        before, delta = newest.get(bucket), sums(data["delta"])
        assert data["revision"] == (0 if before is None else before["revision"] + 1), f"{bucket}: out of turn"
        assert data["supersedes"] == (before and before["billing_id"])
        old = added.get(bucket, dict.fromkeys(NAMES, Fraction(0)))
        added[bucket] = {name: old[name] + delta[name] for name in NAMES}
        assert added[bucket] == sums(data["totals"]), f"{bucket}: deltas do not add up to the totals"
        month = (bucket[0][:7], *bucket[1:])
        months[month] += delta["cost"]
        assert Fraction(data["running_total"]["cost"]) == months[month], f"{bucket}: running total"
        newest[bucket] = data
    for bucket, expected in truth.sums.items():
        if bucket in newest or bucket[0] < stated_until:
            assert bucket in newest, f"{bucket} was never stated"
            data, offsets = newest[bucket], truth.offsets[bucket]
            if bucket[0] < stated_until:
                assert sums(data["totals"]) == expected, f"{bucket}: stated {data['totals']}, true is {expected}"
                spanned = {"first_offset": offsets[0], "last_offset": offsets[-1], "events": len(offsets)}
                assert {name: data["coverage"][name] for name in spanned} == spanned
    assert set(newest) <= set(truth.sums), "a bucket was stated that has no events"


def check_crossings(crossings: Iterable[bytes], truth: Truth, limits: dict[str, dict[str, str]] | None) -> None:
    """Hold the committed crossings of one partition, in log order, against the truth. `limits`: in US dollars, by team
    and kind, if they never changed; else what must have been stated is not certain."""
    found, spending = [], {(month, offset): (cost, id) for month, cost, id, offset in truth.spending}
    for content in crossings:
        event = json.loads(content)
        data = event["data"]
        month = (data["month"], event["org_id"], data["team_id"], data["currency"])
        limit, at = data["limit"], data["event"]
        cost = Fraction(data["cost"])
        assert (cost, at["id"]) == spending.get((month, at["offset"])), f"{month}: {limit}: not what was spent"
        assert cost >= Fraction(limit["amount"]), f"{month}: {limit}: not crossed"
        found.append((month, limit["kind"], Fraction(limit["amount"]), at["offset"]))
    once = {entry[:3] for entry in found}
    assert len(once) == len(found), "a crossing was stated twice"
    if limits is not None:
        expected: dict[tuple[Month, str, Fraction], int] = {}
        for month, cost, _, offset in truth.spending:
            for kind, amount in limits.get(month[2], {}).items() if month[3] == "USD" else ():
                if cost >= Fraction(amount):
                    expected.setdefault((month, kind, Fraction(amount)), offset)
        assert {entry[:3]: entry[3] for entry in found} == expected


def check_letters(letters: Iterable[bytes], truth: Truth, partition: int) -> None:
    """Every refused record is in `dead_letter` once, nothing else is."""
    found: Counter[tuple[int, str]] = Counter()
    for content in letters:
        data = json.loads(content)["data"]
        if data["source_partition"] == partition:
            reason = data["reason"] if data["reason"] in LEDGER_REASONS else "poison"
            found[data["source_offset"], reason] += 1
    assert found == Counter(truth.refused.items()), f"dead letters of partition {partition}"

"""What is committed in a group's cluster, held against an oracle that has read the records committed so far."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from arrivals import RULES
from fake_kafka import Entry, Kafka
from oracle import Name, Oracle

from streamapp.meters.usage import codec
from streamapp.store.position import POSITION_KEY, unpack_position
from streamapp.store.rows import Store
from tables.window import HOUR_MS


def check_partition(kafka: Kafka, partition: int, oracle: Oracle, read: int) -> int:
    """Bills, dead letters and rows of a partition whose records below `read` are committed. Returns how many hours are
    gone because no record can reach them any more."""
    bills = [entry for entry in committed(kafka, "billing_events") if entry.txn.partition == partition]
    assert [(bill.key, bill.value) for bill in bills] == [(bill.key, bill.value) for bill in oracle.bills]
    check_sums([bill.value or b"" for bill in bills])
    letters = [json.loads(entry.value or b"")["data"] for entry in committed(kafka, "dead_letter")]
    mine = [one for one in letters if one["source_partition"] == partition]
    found = Counter((partition, letter["source_offset"], letter["reason"]) for letter in mine)
    assert found == Counter((*place, reason) for place, reason in oracle.letters.items())
    return check_rows(rows_of(kafka, partition), partition, oracle, read)


def check_sums(bills: list[bytes]) -> None:
    """For who keeps the highest revision, who adds up deltas, and who looks at running totals."""
    newest: dict[tuple[str, ...], Any] = {}
    requests: Counter[tuple[str, ...]] = Counter()
    tokens: Counter[tuple[str, ...]] = Counter()
    for event in map(json.loads, bills):
        data = event["data"]
        who = (event["org_id"], event["team_id"], data["currency"])
        name, month = (data["period_start"], *who), (data["period_start"][:7], *who)
        assert data["revision"] == (newest[name]["revision"] + 1 if name in newest else 0)
        newest[name] = data
        requests[name] += data["delta"]["requests"]
        tokens[month] += data["delta"]["total_tokens"]
        assert data["running_total"]["total_tokens"] == tokens[month]
    assert all(newest[name]["totals"]["requests"] == requests[name] for name in newest)


def check_rows(rows: dict[bytes, bytes], partition: int, oracle: Oracle, read: int) -> int:
    """Every record below the position is counted, a repetition or refused, once."""
    position = rows.get(POSITION_KEY)
    assert (0 if position is None else unpack_position(position).next_offset) == read
    hours = [codec.unpack_hour(key, row) for key, row in rows.items() if key[:1] == b"h"]
    counted: dict[Name, int] = {(*row.key,): row.events for row in hours}
    everything = {name: len(bucket.offsets) for name, bucket in oracle.buckets.get(partition, {}).items()}
    assert counted.items() <= everything.items()
    gone = everything.keys() - counted.keys()
    limit_ms = oracle.watermarks.get(partition, 0) - RULES.retention_ms
    assert all(start + HOUR_MS <= limit_ms for start, _, _, _ in gone), "an hour is gone that may still be revised"
    return len(gone)


def rows_of(kafka: Kafka, partition: int) -> dict[bytes, bytes]:
    """The last row of every key in the changelog."""
    rows: dict[bytes, bytes] = {}
    for _, entry in kafka.changelogs[partition].committed():
        assert entry.key is not None
        rows.pop(entry.key, None)
        if entry.value is not None:
            rows[entry.key] = entry.value
    return rows


def check_disk(kafka: Kafka, partition: int, store: Store) -> None:
    """A disk has the rows of the changelog."""
    kept = {key: row for key, row in store.scan(b"", b"\xff") if key[:1] != b"u"}
    assert kept == rows_of(kafka, partition), "the disk has other rows than the changelog"


def committed(kafka: Kafka, topic: str) -> list[Entry]:
    return [entry for _, entry in kafka.outputs[topic].committed()]

"""What producers do to a usage topic, call by call; an oracle reads along as the records arrive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from aiokafka.partitioner import murmur2
from oracle import Oracle
from usage_log import DIRECTORY, Rec, at, value

from streamapp.kafka.log.reader import Record
from tables.window import DAY_MS, HOUR_MS, MARK_MS, Rules

PARTITIONS = 2
TEAMS = ("team_a", "team_b", "team_c", "team_listed")
HOMES = {team: (murmur2(team.encode()) & 0x7FFFFFFF) % PARTITIONS for team in TEAMS}
COSTS = ("0", "0.1", "0.000000000001", "999999999999999999.999999999999")
POISON = ("empty_value", "malformed_json", "invalid_data")
FUTURE, TOO_OLD, HOMELESS, ORGLESS = ODDITIES = ("future", "too old", "homeless", "orgless")
ON_MARK = -1
RULES = Rules()


class Arrivals:
    """The log of each partition, in order of arrival."""

    def __init__(self) -> None:
        self.now_ms = at("2025-01-31T21:00")  # the month ends on the way
        self.logs: list[list[Rec]] = [[] for _ in range(PARTITIONS)]
        self.poison: dict[bytes, str] = {}  # broken by itself, and why
        self.arrived = [Oracle(self.poison, DIRECTORY, PARTITIONS) for _ in range(PARTITIONS)]
        self._ids = 0

    def produce(self, team: int, ago_ms: Sequence[int] = (0,), cost: int = 1, model: str = "o1") -> None:
        """A team's events, each so long ago. ON_MARK: at the last five-minute mark."""
        for one_ms in ago_ms:
            self._append(
                self._usage(team, self.now_ms - (self.now_ms % MARK_MS if one_ms < 0 else one_ms), cost, model)
            )

    def again(self, which: int, conflicting: bool = False) -> None:
        """A record once more, or its id with other bytes. Not one whose id may just have been forgotten."""
        able = [record for log in self.logs for record in log if self._known(record)]
        if able:
            record = able[-1 - which % len(able)]
            if conflicting and record.value not in self.poison:
                record = replace(record, value=(record.value or b"").replace(b'"gateway"', b'"elsewhere"'))
            self._append(record)

    def poisoned(self, team: int, why: str) -> None:
        """A record that is broken by itself."""
        record = self._usage(team, self.now_ms)
        content = record.value or b""
        broken = {
            "empty_value": b"",
            "malformed_json": content[:-1],
            "invalid_data": content.replace(b'"model":"o1"', b'"model":7'),
        }
        self.poison[broken[why]] = why
        self._append(replace(record, value=broken[why]))

    def odd(self, team: int, kind: str) -> None:
        """A record that is refused, or not, for where and when it stands."""
        if kind == FUTURE:
            record = self._usage(team, self.now_ms + RULES.future_ms + 1)
        elif kind == TOO_OLD:
            record = self._usage(team, self.now_ms - RULES.retention_ms - HOUR_MS)
        elif kind == HOMELESS:
            record = replace(self._usage(team, self.now_ms), key=TEAMS[team - 1].encode())
        else:
            record = self._usage(team, self.now_ms, org=None)
        self._append(record, HOMES[TEAMS[team]])

    def sleep(self, ms: int) -> None:
        """Time passes, for everybody."""
        self.now_ms += ms

    def _usage(self, team: int, at_ms: int, cost: int = 1, model: str = "o1", org: str | None = "org_a") -> Rec:
        self._ids += 1
        name = TEAMS[team]
        currency = "AI" if cost == 2 else "USD"
        content = value(f"id-{self._ids}", at_ms, name, org, cost=COSTS[cost], model=model, currency=currency)
        return Rec(name.encode(), content, at_ms)

    def _append(self, record: Rec, partition: int | None = None) -> None:
        if partition is None:
            partition = record.partition if record.offset >= 0 else HOMES[(record.key or b"").decode()]
        log = self.logs[partition]
        record = replace(record, offset=len(log), partition=partition, timestamp=self.now_ms)
        log.append(record)
        self.arrived[partition].read([as_read(record)])

    def _known(self, record: Rec) -> bool:
        """Whether it is certain what is remembered of a record's id: that it counted, or that it never did."""
        oracle = self.arrived[record.partition]
        if not record.value or record.value in self.poison:
            return True
        event = json.loads(record.value)
        if (record.partition, event["id"]) not in oracle.seen:
            return True
        at_ms = at(event["timestamp"][:-1])
        return bool(at_ms + DAY_MS > oracle.watermarks.get(record.partition, 0))


def as_read(record: Rec) -> Record:
    return Record("llm_usage", record.partition, record.offset, record.timestamp, record.key, record.value)

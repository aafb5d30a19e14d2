"""What must be settled for a log of metered calls, by decision 16 alone: one walk, a dictionary and Decimals."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from typing import Any, Protocol

from oracle import moment
from verify_logs import text

HOUR = 3_600_000
GRACE = 300_000
WEEK = 7 * 24 * HOUR
EXACT = Context(prec=100, traps=[Inexact])

Who = tuple[str, str, str, str]
"""Org, agent, consumer, currency."""


class Read(Protocol):
    """A record of the log."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass
class Call:
    offset: int
    hour: int
    method: str  # as it counts: empty for one that is not told apart
    cost: Decimal
    data: dict[str, Any]


@dataclass
class Expected:
    """One partition. `settled` holds the events' data, with `stated` (the envelope's timestamp) and `org` beside it;
    `refused` the offsets of records that do not count."""

    partition: int = 0
    minimum: Decimal = Decimal("0.1")
    grace: int = GRACE
    names_max: int = 200
    settled: list[dict[str, Any]] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    duplicates: int = 0
    watermark: int = -1
    closed: int = -1  # end of the last closed hour
    open: dict[int, dict[Who, list[Call]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    pending: dict[Who, list[Call]] = field(default_factory=lambda: defaultdict(list))
    seen: dict[str, bytes] = field(default_factory=dict)

    def read(self, log: Iterable[Read]) -> Expected:
        for record in log:
            self.one(record)
        return self

    def one(self, record: Read) -> None:
        try:
            event = json.loads(record.value or b"")
            price = Decimal(event["data"]["price"])
        except (ValueError, ArithmeticError):
            self.refused.append(record.offset)
            return
        data = event["data"]
        if record.key != data["agent_id"].encode() or not price >= 0:
            self.refused.append(record.offset)
            return
        if event["id"] in self.seen:
            same = self.seen[event["id"]] == record.value
            self.duplicates += same
            self.refused += [] if same else [record.offset]
            return
        at = moment(event["timestamp"])
        self.move(max(at, self.watermark))
        hour = at // HOUR * HOUR
        if hour + HOUR <= self.closed and at < self.watermark - WEEK:
            self.refused.append(record.offset)
            return
        self.seen[event["id"]] = record.value or b""
        charged = data.get("status", "success") == "success" and not data.get("free_tier")
        cost = EXACT.multiply(price, Decimal(data["quantity"])) if charged else Decimal(0)
        who = (event["org_id"], data["agent_id"], data["consumer_id"], data["currency"])
        where = self.pending if hour + HOUR <= self.closed else self.open[hour]
        self.add(where[who], Call(record.offset, hour, data["method"], cost, data))

    def add(self, calls: list[Call], call: Call) -> None:
        """So many methods are told apart among calls that are counted together."""
        known = {one.method for one in calls} - {""}
        if call.method not in known and len(known) >= self.names_max:
            call.method = ""
        calls.append(call)

    def move(self, watermark: int) -> None:
        until = (watermark - self.grace) // HOUR * HOUR
        first = until if self.watermark < 0 else self.closed + HOUR
        self.watermark = watermark
        if self.closed < 0:
            self.closed = until
        for end in range(first, until + 1, HOUR):
            self.close(end, end + self.grace)

    def close(self, end: int, stated: int) -> None:
        """An hour ends: its calls are pending, and whoever owes enough settles."""
        self.closed = max(self.closed, end)
        for who, calls in self.open.pop(end - HOUR, {}).items():
            for call in sorted(calls, key=lambda call: call.method):
                self.add(self.pending[who], call)
        for who in sorted(self.pending):
            calls = self.pending[who]
            amount = total(call.cost for call in calls)
            if amount >= self.minimum:
                self.settled.append(self.settlement(who, self.pending.pop(who), amount, end, stated))

    def settlement(self, who: Who, calls: list[Call], amount: Decimal, end: int, stated: int) -> dict[str, Any]:
        newest = max(calls, key=lambda call: call.offset)
        methods = sorted({call.method for call in calls})
        return {
            "org": who[0],
            "stated": text(stated),
            "agent": who[1],
            "consumer": who[2],
            "amount": f"{amount:.12f}",
            "request_count": len(calls),
            "period_start": text(min(call.hour for call in calls)),
            "period_end": text(end),
            "currency": who[3],
            "chain": newest.data.get("chain", "hanzo"),
            "chain_id": newest.data.get("chain_id", 36963),
            "agent_wallet": newest.data.get("agent_wallet"),
            "consumer_wallet": newest.data.get("consumer_wallet"),
            "methods": {
                method: {
                    "count": sum(call.method == method for call in calls),
                    "cost": f"{total(call.cost for call in calls if call.method == method):.12f}",
                }
                for method in methods
            },
            "coverage": {
                "topic": "agent_rpc_metering",
                "partition": self.partition,
                "first_offset": min(call.offset for call in calls),
                "last_offset": newest.offset,
                "events": len(calls),
            },
        }


def total(costs: Iterable[Decimal]) -> Decimal:
    amount = Decimal(0)
    for cost in costs:
        amount = EXACT.add(amount, cost)
    return amount


def stated(event: dict[str, Any]) -> dict[str, Any]:
    """An event of `billing_events` as `Expected.settled` has it."""
    data = dict(event["data"])
    assert data.pop("settlement_id") == event["id"]
    return {"org": event["org_id"], "stated": event["timestamp"], **data}

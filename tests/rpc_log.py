"""Metered calls by hand, and one partition's table that lives on them: what tests of settlements speak in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count
from operator import attrgetter
from typing import Any

from memory_store import MemoryStore
from usage_log import DIRECTORY, OUTPUTS, NowProducer, Rec, at, now

from streamapp.exact.partition.chunk import Send, Transaction
from streamapp.exact.partition.place import Place
from streamapp.meters.calls.parts import CallsTask, calls_parts
from streamapp.meters.calls.rpc_codec import RPC, is_unsettled
from streamapp.schemas.judging.decode_metering import decode_metering
from streamapp.schemas.values.timestamp import format_ms
from streamapp.store.rows import Store, stored_position
from streamapp.topics.partitioner import partition_for
from tables.admission import Admission
from tables.calls.ledger import CallsOutcome
from tables.calls.settlement import Settlement
from tables.window import DAY_MS, Rules

METERING = "agent_rpc_metering"
WEEK = Rules(retention_ms=7 * DAY_MS)
MIN_AMOUNT = Decimal("0.1")

_numbers = count(1)


def value(
    id: str,
    at_ms: int,
    agent: str = "agent_a",
    org: str | None = "org_a",
    *,
    team: str | None = None,
    consumer: str = "consumer_c",
    method: str = "chat.send",
    quantity: object = 1,
    price: object = "0.001",
    currency: str = "AI",
    **more: object,
) -> bytes:
    """A metered call's JSON."""
    envelope: dict[str, Any] = {
        "schema": "hanzo.stream.v1",
        "id": id,
        "type": "agent.rpc.metered",
        "source": "bot-gateway",
        "timestamp": format_ms(at_ms),
    }
    envelope |= {} if team is None else {"team_id": team}
    envelope |= {} if org is None else {"org_id": org}
    data = {
        "agent_id": agent,
        "consumer_id": consumer,
        "method": method,
        "request_id": f"req_{id}",
        "unit": "per_request",
        "quantity": quantity,
        "price": price,
        "currency": currency,
        "status": "success",
        "free_tier": False,
    }
    return json.dumps({**envelope, "data": data | more}, separators=(",", ":")).encode()


def call(when: str, agent: str = "agent_a", org: str | None = "org_a", *, id: str = "", **more: Any) -> Rec:
    """A record whose call happened `when` (see `usage_log.at`) and reached the broker at that moment."""
    at_ms = at(when)
    content = value(id or f"call-{next(_numbers)}", at_ms, agent, org, **more)
    return Rec(agent.encode(), content, at_ms, topic=METERING)


def make_admission(partition: int = 0, partitions: int = 1) -> Admission:
    """The worker's admission: agents are at home where murmur2 puts them."""

    def at_home(key: bytes | None, agent: str) -> bool:
        return key == agent.encode() and partition_for(key, partitions) == partition

    owner = attrgetter("data.agent_id")
    return Admission(decode_metering, at_home, DIRECTORY.get, owner, "agent")


@dataclass
class Calls:
    """One partition's table on a local store. Every chunk commits at once; `restart` forgets what is in memory."""

    rules: Rules = WEEK
    min_amount: Decimal = MIN_AMOUNT
    store: Store = field(default_factory=lambda: MemoryStore(is_unsettled))
    number: int = 0  # of the partition, as it is told
    prepare: Callable[[CallsTask], None] = lambda task: None
    outcomes: list[CallsOutcome] = field(default_factory=list)
    log: list[Rec] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process on the same store."""
        place = Place("rpc-billing", METERING, self.number, "topic-id", 1, OUTPUTS, entropy=bytes)
        producer = NowProducer(self.store.checkpoint())
        position = stored_position(self.store)
        parts = calls_parts(self.rules, self.min_amount, make_admission())
        self.task = CallsTask(parts, place, self.store, producer, position)
        self.task.landed = self.outcomes.append
        self.prepare(self.task)

    def apply(self, *records: Rec) -> CallsOutcome:
        """One chunk. Records without an offset are appended to the log."""
        placed = []
        for record in records:
            if record.offset < 0:
                record = replace(record, offset=len(self.log))
                self.log.append(record)
            placed.append(record)
        self.commit(self.task.fold(placed, placed[-1].timestamp))
        return self.outcomes[-1]

    def idle(self, when: str) -> CallsOutcome | None:
        """The wall clock's turn; None when there is nothing to close."""
        return self.idle_ms(at(when))

    def idle_ms(self, now_ms: int) -> CallsOutcome | None:
        transaction = self.task.tick(now_ms)
        if transaction is None:
            return None
        self.commit(transaction)
        return self.outcomes[-1]

    def commit(self, transaction: Transaction) -> None:
        self.sends += transaction.sends
        now(self.task.commit(transaction))

    def settlements(self) -> list[Settlement]:
        """Everything settled so far."""
        return [one for outcome in self.outcomes for one in outcome.settlements]

    def events(self) -> list[dict[str, Any]]:
        """The same as it stands on `billing_events`."""
        return [json.loads(send.value or b"") for send in self.sends if send.topic == "billing_events"]

    def rows(self, kind: str) -> list[tuple[Any, ...]]:
        """The keys of the stored rows of a kind, as people read them."""
        shown = (RPC.readable(key, value)[0] for key, value in self.store.scan(RPC.first, RPC.last))
        return [key for key in shown if key[0] == kind]

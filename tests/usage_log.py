"""Usage records by hand, and one partition's table that lives on them: what tests of the ledger speak in."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple

from memory_store import UsageStore
from plain_open_hours import PlainHours

from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.place import Place
from streamapp.meters.usage import codec
from streamapp.meters.usage.parts import UsageTask, usage_parts
from streamapp.schemas.judging.decode import decode_usage
from streamapp.store.rows import Store, Writes, stored_position
from streamapp.topics.partitioner import partition_for
from tables.admission import Admission
from tables.latency.windows import LatencyOutcome
from tables.outcome import Outcome
from tables.usage.hourly import HourStatement
from tables.window import Rules

DAY = "2025-01-15"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DIRECTORY = {"team_listed": "org_listed"}
OUTPUTS = {"billing_events": 1, "dead_letter": 1}

_numbers = count(1)


def at(text: str) -> int:
    """Milliseconds of `10:59:59.999` on 15 January 2025, or of `2025-02-01T00:10`."""
    moment = datetime.fromisoformat(text if "T" in text else f"{DAY}T{text}").replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(milliseconds=1)


def clock(at_ms: int) -> str:
    """`11:05`, with the day if it is another one, and with seconds if there are any."""
    moment = EPOCH + timedelta(milliseconds=at_ms)
    spec = "minutes" if at_ms % 60_000 == 0 else "milliseconds"
    return moment.replace(tzinfo=None).isoformat(timespec=spec).removeprefix(f"{DAY}T")


def value(
    id: str,
    at_ms: int,
    team: str = "team_a",
    org: str | None = "org_a",
    *,
    cost: str = "0.001",
    prompt: int = 10,
    completion: int = 5,
    currency: str = "USD",
    provider: str = "openai",
    model: str = "gpt-4o",
    status: str = "success",
    cache_hit: bool = False,
    more: str = "",
) -> bytes:
    """A usage event's JSON; `cost` is the text of a number, `more` that of further fields of the data."""
    stamp = (EPOCH + timedelta(milliseconds=at_ms)).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ms % 1000:03d}Z"
    org_id = "null" if org is None else f'"{org}"'
    return (
        f'{{"schema":"hanzo.stream.v1","id":"{id}","type":"llm.usage.completed","source":"gateway",'
        f'"timestamp":"{stamp}","team_id":"{team}","org_id":{org_id},"data":{{"model":"{model}",'
        f'"provider":"{provider}","prompt_tokens":{prompt},"completion_tokens":{completion},'
        f'"total_tokens":{prompt + completion},"cost_usd":{cost},"cache_hit":{str(cache_hit).lower()},'
        f'"status":"{status}","currency":"{currency}"{more and "," + more}}}}}'
    ).encode()


class Limit(NamedTuple):
    kind: str
    amount: Decimal
    currency: str = "USD"


class SetLimits:
    """Limits of teams, as a test says: team → `{"soft": "2.5", "hard": "5"}`, in US dollars."""

    def __init__(self, **teams: Mapping[str, str]) -> None:
        self.changes = 0
        self.teams: Mapping[str, Mapping[str, str]] = teams

    def set(self, **teams: Mapping[str, str]) -> None:
        self.changes += 1
        self.teams = teams

    def version(self) -> int:
        return self.changes

    def has_limits(self) -> bool:
        return bool(self.teams)

    def limits_of(self, team: str) -> Sequence[Limit]:
        limits = [Limit(kind, Decimal(amount)) for kind, amount in self.teams.get(team, {}).items()]
        return sorted(limits, key=lambda limit: limit.amount)


@dataclass(frozen=True, slots=True)
class Rec:
    """A record of the source topic."""

    key: bytes | None
    value: bytes | None
    timestamp: int
    offset: int = -1  # -1: the next one
    partition: int = 0
    topic: str = "llm_usage"
    headers: tuple[tuple[str, bytes], ...] = ()


def event(when: str, team: str = "team_a", org: str | None = "org_a", *, id: str = "", **more: Any) -> Rec:
    """A record whose event happened `when` (see `at`) and reached the broker at that moment."""
    at_ms = at(when)
    return Rec(team.encode(), value(id or f"event-{next(_numbers)}", at_ms, team, org, **more), at_ms)


class NowProducer:
    """Commits at once; the changelog is only counted."""

    def __init__(self, end: int) -> None:
        self.end = end

    async def commit(self, transaction: Transaction) -> int | None:
        self.end += len(transaction.writes)
        return self.end if transaction.writes else None

    async def stop(self) -> None:
        pass


def now(steps: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        steps.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


def make_admission(partition: int = 0, partitions: int = 1) -> Admission:
    """The worker's admission: teams are at home where murmur2 puts them."""

    def at_home(key: bytes | None, team: str) -> bool:
        return key == team.encode() and partition_for(key, partitions) == partition

    return Admission(decode_usage, at_home, DIRECTORY.get)


@dataclass
class Table:
    """One partition's table on a local store. Every chunk commits at once; `restart` forgets what is in memory."""

    rules: Rules = field(default_factory=Rules)
    store: Store = field(default_factory=UsageStore)
    partition: int = 0
    partitions: int = 1
    outcomes: list[Outcome] = field(default_factory=list)
    log: list[Rec] = field(default_factory=list)
    limits: SetLimits = field(default_factory=SetLimits)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process on the same store."""
        place = Place("billing-agg", "llm_usage", self.partition, "topic-id", self.partitions, OUTPUTS, entropy=bytes)
        producer = NowProducer(self.store.checkpoint())
        admission = make_admission(self.partition, self.partitions)
        parts = usage_parts(self.rules, admission, self.limits)
        self.task = UsageTask(parts, place, self.store, producer, stored_position(self.store))
        self.task.landed = self.outcomes.append

    def apply(self, *records: Rec) -> Outcome:
        """One chunk. Records without an offset are appended to the log."""
        placed = []
        for record in records:
            if record.offset < 0:
                record = replace(record, offset=len(self.log))
                self.log.append(record)
            placed.append(record)
        self.commit(self.task.fold(placed, placed[-1].timestamp))
        return self.outcomes[-1]

    def idle(self, when: str) -> Outcome | None:
        """The wall clock's turn; None when there is nothing to state."""
        return self.idle_ms(at(when))

    def idle_ms(self, now_ms: int) -> Outcome | None:
        transaction = self.task.tick(now_ms)
        if transaction is None:
            return None
        self.commit(transaction)
        return self.outcomes[-1]

    def statements(self) -> list[HourStatement]:
        """Everything stated so far."""
        return [statement for outcome in self.outcomes for statement in outcome.statements]

    def commit(self, transaction: Transaction) -> None:
        self.writes: Writes = transaction.writes
        now(self.task.commit(transaction))


def without_lane(table: Table) -> None:
    """From now on the table has its open hours in dicts, and judges every record."""
    ledger = table.task.memory
    hours = PlainHours(ledger.rules.names_max)
    for hour_ms in ledger.lane.hours:
        hours.open(hour_ms, 0, False)
    for key, value in ledger.lane.stored_rows():
        hours.admit(codec.unpack_hour(key, value))
    ledger.lane = ledger.unsettled.rows = hours


def stated(of: Outcome | Sequence[HourStatement] | None) -> list[str]:
    """Statements as lines to read: hour, team, revision, records counted, the mark."""
    statements = of.statements if isinstance(of, Outcome) else of or ()
    return [
        f"{clock(one.key.start_ms)} {one.key.team} r{one.revision}: {one.events} at {clock(one.stated_ms)}"
        for one in statements
    ]


def refused(outcome: Outcome | LatencyOutcome) -> list[tuple[int, str]]:
    """Offset and reason of what was refused."""
    return [(refusal.record.offset, refusal.reason) for refusal in outcome.refusals]

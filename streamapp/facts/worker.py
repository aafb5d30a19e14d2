"""What the pages need to know of one worker: a small protocol, so that pages never touch the stream.

Every method answers from a copy-on-write view in memory or one bounded read of the local store, never blocks, and
speaks of this worker's partitions only; `web.workers.fleet` merges the workers. Times are milliseconds since the epoch.
The pages call every method on the worker's own event loop, never from another thread, and treat what they get as
frozen: only filtering, sorting and rendering happen in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, Protocol, runtime_checkable

HourState = Literal["open", "closed", "revised"]
Span = Literal["minute", "hour"]


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """One partition that this worker owns."""

    topic: str
    partition: int
    state: Literal["running", "idle"]
    watermark_ms: int | None  # highest accepted event time
    position: int  # next source offset the table will apply
    high_water: int  # end of the partition
    last_commit_ms: int | None  # wall clock of the last committed transaction
    events_per_s: float  # over the last ten seconds
    open_hours: int  # of bills; 0 for every other table
    pending_revisions: int  # of bills
    next_mark_ms: int | None  # the watermark at which something will be stated next
    last_record_ms: int | None  # wall clock when the last record arrived
    duplicates: int  # since the worker started
    rejected: int  # dead letters written since the worker started
    gathered: int = 0  # of the lag: records that wait for others to be kept with, as they should
    trouble: str | None = None  # why records wait although the worker is well: what it writes to does not answer
    trouble_since_ms: int | None = None  # wall clock
    caught_up_ms: int | None = None  # wall clock when it was last read to its end
    open_rows: int = 0  # of the table, that time has not closed; of usage_hourly these are its open hours

    @property
    def lag(self) -> int:
        """Records not yet applied."""
        return max(0, self.high_water - self.position)


@dataclass(frozen=True, slots=True)
class GoneFacts:
    """A worker that has left the group, stopped or lost, until it is there again. `seen`: somebody marked it so."""

    url: str
    at_ms: int  # wall clock when its partitions were given to others
    went_to: dict[int, str]  # partition → base URL of who has it now; empty: nobody
    seen: bool = False
    replaced: bool = False  # as many members as before were there since, and each of its partitions had an owner


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """This worker process."""

    group: str
    name: str  # group instance id, e.g. billing-agg-host-0
    url: str  # base URL of its web server
    started_ms: int
    partitions: tuple[PartitionFacts, ...]
    open_cost: dict[str, Decimal]  # currency → cost in open hours
    closed_cost_today: dict[str, Decimal]  # currency → stated at revision 0 for hours of the UTC day
    revised_cost_today: dict[str, Decimal]  # currency → sum of deltas of revisions of those hours
    dead_letters: int  # written since the worker started
    partition_count: int | None = None  # of the source topic; lets the pages name partitions that nobody owns
    recent_events_per_s: tuple[float, ...] = ()  # one per second, oldest first, at most 120: the small curve
    missing_topics: tuple[str, ...] = ()  # topics that the worker needs and Kafka does not have
    open_events: dict[str, int] | None = None  # currency → events in `open_cost`; None: the table does not tell money
    version: str = ""
    gone: tuple[GoneFacts, ...] = ()  # of this group
    taking: tuple[int, ...] = ()  # partitions that it takes over now: not among `partitions` yet
    joined: bool = True  # the group has told it what its partitions are; there may be none
    summing: bool = False  # `closed_cost_today` and `revised_cost_today` lack what was stated before the takeover


@dataclass(slots=True)  # frozen ones take four times as long to make, and each bill makes one
class HourFacts:
    """One bucket: (org, team, currency, UTC hour)."""

    org: str
    team: str
    currency: str
    start_ms: int
    state: HourState
    pending: bool  # closed, with late events that are not stated yet; with state `open` it has no bill yet
    requests: int
    errors: int
    cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: Decimal
    revision: int | None  # None while open
    bill_id: str | None  # of the newest revision
    partition: int
    first_offset: int
    last_offset: int
    closes_at_ms: int  # the watermark at which its first bill is due: end + grace; a pending one's next mark
    watermark_ms: int | None  # of its partition
    rounded: int = 0  # events whose cost had more than 12 decimals
    pending_cost: Decimal = Decimal(0)  # of the cost: what came late and is on no bill yet


@dataclass(frozen=True, slots=True)
class TeamFacts:
    """A team of an org, in one currency."""

    org: str
    team: str
    currency: str
    months: tuple[tuple[str, Decimal, int], ...]  # ("2025-01", stated cost so far, stated tokens so far), newest first
    hours: tuple[HourFacts, ...]  # newest first, at most one month
    lines: tuple[dict[str, Any], ...]  # per provider and model over those hours: names and counters, cost as Decimal


@dataclass(frozen=True, slots=True)
class CallFacts:
    """Calls of one model in a window of one partition, or of all models there: then the names are empty.

    `latency` and `ttft` are the bins of `tables/latency/spread.py`, which add up over partitions.
    """

    start_ms: int
    provider: str
    model: str
    stream: bool | None
    requests: int
    errors: int
    cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    cost: dict[str, Decimal]  # currency → money
    latency: dict[int, int]
    ttft: dict[int, int]


@dataclass(frozen=True, slots=True)
class PartitionCalls:
    """Calls of one partition, as its owner has them."""

    partition: int
    position: int  # next source offset: of two who claim the partition, the one that is further has it
    calls: tuple[CallFacts, ...]


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What a consumer owes an agent of an org, in one currency. Settled is what was, since the row was made."""

    org: str
    agent: str
    consumer: str
    currency: str
    partition: int
    open_calls: int
    open_amount: Decimal  # of hours that are open
    pending_calls: int
    pending_amount: Decimal  # of closed hours, not settled yet
    settled_calls: int
    settled_amount: Decimal
    settlements: int
    settled_until_ms: int | None  # end of the newest settlement's period
    settlement_id: str | None  # of the newest settlement
    since_ms: int | None  # start of the first hour counted; None while nothing is closed

    @property
    def calls(self) -> int:
        """All that were counted."""
        return self.open_calls + self.pending_calls + self.settled_calls


@dataclass(frozen=True, slots=True)
class MethodFacts:
    """Calls of one method: open, pending and settled together."""

    method: str
    count: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """An agent of an org, in one currency: its meter."""

    org: str
    agent: str
    currency: str
    partition: int
    min_amount: Decimal  # an account that owes less waits
    watermark_ms: int | None  # of its partition
    closes_at_ms: int | None  # the watermark that closes the next open hour
    methods: tuple[MethodFacts, ...]  # sorted
    accounts: tuple[AccountFacts, ...]  # one per consumer, sorted; at most 10,000


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row of the table as it is stored."""

    key: tuple[Any, ...]  # ("hour", start_ms, org, team, currency), ("month", …), ("bill", id), ("position",)
    row: Any  # JSON-able
    partition: int
    last_offset: int | None = None  # of the newest record counted in this row, where the row knows it


@dataclass(frozen=True, slots=True)
class RowFacts:
    """An hour of a table of rows by key and hour."""

    start_ms: int
    names: dict[str, str]  # the parts of its key but the hour
    counted: dict[str, Any]  # the row's own fields, JSON-able; money as text
    events: int
    waiting: int  # of these, in no statement yet
    revision: int | None  # of the newest statement; None: the hour is open
    statement_id: str | None
    partition: int

    @property
    def state(self) -> str:
        """`open`, `pending` while a revision is due, `revised` or `closed`."""
        if self.revision is None:
            return "open"
        return "pending" if self.waiting else "revised" if self.revision else "closed"


class WorkerView(Protocol):
    """One worker's tables, read-only."""

    def worker(self) -> WorkerFacts: ...

    def peers(self) -> tuple[str, ...]:
        """Base URLs of the other live workers of the group."""

    def hours(self) -> list[HourFacts]:
        """Open hours and up to 100,000 closed ones, newest first. A fresh list; cheap to call once per request."""

    def team(self, org: str, team: str) -> list[TeamFacts]:
        """One entry per currency; empty when none of this worker's partitions knows the team."""

    def bill(self, bill_id: str) -> list[bytes]:
        """Every revision of the bill's bucket as stated (exact envelope JSON), revision 0 first; [] if unknown."""

    def rows(self, table: str, after: tuple[Any, ...] | None, limit: int, partition: int | None) -> list[RawRow]:
        """Up to `limit` rows of a table behind key `after`, in the store's own order of keys.

        The pages always name the `partition`, so orders of different partitions are never compared. A `key` comes
        back as `after` through JSON: its parts must be strings, integers or null.
        """

    def calls(self, partition: int, span: Span, from_ms: int, until_ms: int, each: bool) -> list[CallFacts]:
        """Calls of a partition in hand, in the windows with `from_ms <= start < until_ms`, both full ones: of each
        model, or of all together. Empty for a group that does not count them."""

    def tables(self) -> tuple[str, ...]:
        """Names of this worker's tables."""

    def metrics(self, openmetrics: bool = False, more: bytes = b"") -> bytes:
        """Prometheus text format."""


@runtime_checkable
class RunningView(Protocol):
    """How a worker runs, and who ran beside it."""

    def settings(self) -> list[tuple[str, str]]:
        """Variable and value of each setting that differs from its default; secrets are masked."""

    def mark_seen(self, url: str, at_ms: int) -> bool:
        """Somebody knows that this worker is gone since then, or before. False: this one does not remember it."""


@runtime_checkable
class RowsView(Protocol):
    """What a worker with a table of rows by key and hour can tell beside."""

    def since(self, start_ms: int, limit: int) -> list[RowFacts]:
        """The first `limit` rows of hours that start at or after a moment: the newest hours first, then by name."""


@runtime_checkable
class AgentsView(Protocol):
    """What a worker with accounts of agents can tell beside."""

    def accounts(self) -> list[AccountFacts]:
        """Up to 100,000 accounts, in no order. A fresh list; cheap to call once per request."""

    def agent(self, org: str, agent: str) -> list[AgentFacts]:
        """One entry per currency; empty when none of this worker's partitions knows the agent."""

    def settlement(self, settlement_id: str) -> list[bytes]:
        """The settlement as stated (exact envelope JSON); [] if unknown."""

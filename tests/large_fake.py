"""Workers with 100,000 rows behind them: each row a copy of one that the smaller fakes make, so that the pages, not the
fakes, are what takes time."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

from events_fake import READ_TO, FakeEventLog, TracingWorker
from front_fake import MetricsWorker, Remembering
from letters_fake import FakeLetters, letter
from rpc_log import Calls, call
from web_fake import HOUR_MS, PARTITIONS, FakeWorker, World

from streamapp.dead_letters.done import Done
from streamapp.dead_letters.recent import Recent, entry
from streamapp.events.event import event_of
from streamapp.events.log import Stretch, within
from streamapp.facts.budget import BudgetFacts
from streamapp.facts.events import PlaceFacts
from streamapp.facts.worker import AccountFacts, AgentFacts, HourFacts, RawRow, RowFacts, TeamFacts
from streamapp.kafka.log.reader import Record, Span
from streamapp.meters.calls import rpc_codec
from streamapp.meters.calls.accounts_view import AccountsView
from streamapp.web.workers.local import newest_first

ROWS = 100_000
TEAMS = 500
LETTERS = 5_000  # what the pages know of dead letters at most


class LargeWorker(TracingWorker, Remembering):
    """billing-agg: a month of 100,000 hours of 500 teams; bills and months are those of its world."""

    log: LargeLog

    async def places(self, event_id: str, starts: Mapping[int, int]) -> list[PlaceFacts]:
        offset, home = self.log.first.get(event_id), self.log.records[0].partition
        chunks = {number: offset if number == home else None for number in sorted(starts or self.owned)}
        return [PlaceFacts(number, at is not None, at, 0, READ_TO, READ_TO) for number, at in chunks.items()]

    def hours(self) -> list[HourFacts]:
        return list(self._hours)

    def team(self, org: str, team: str) -> list[TeamFacts]:
        if (org, team) not in self._teams:
            self._teams[org, team] = super().team(org, team)
        return self._teams[org, team]

    def rows(self, table: str, after: tuple[Any, ...] | None, limit: int, partition: int | None) -> list[RawRow]:
        rows = [row for row in self._rows if partition is None or row.partition == partition]
        at = 0 if after is None else bisect_right(rows, after, key=lambda row: row.key)
        return rows[at : at + limit]

    def _months(self, month: str) -> list[BudgetFacts]:
        if month not in self._spent:
            few = super()._months(month)
            self._spent[month] = (
                [
                    replace(
                        few[number % len(few)],
                        team=f"{few[number % len(few)].team}-{number}" if number >= len(few) else few[number].team,
                    )
                    for number in range(TEAMS)
                ]
                if few
                else []
            )
        return self._spent[month]

    @cached_property
    def _hours(self) -> list[HourFacts]:
        few = super().hours()
        return sorted(islice(_copies(few), ROWS), key=lambda facts: -facts.start_ms)

    @cached_property
    def _rows(self) -> list[RawRow]:
        key = ("hour", 0, "org", "team", "USD")
        row = {"cost": "0.000000000001", "requests": 7, "lines": [{"model": "zen-72b", "provider": "together"}] * 3}
        made = [
            RawRow(
                (key[0], number // TEAMS * HOUR_MS, "org_a", f"team_{number % TEAMS:03d}", "USD"),
                row,
                number % 8,
                number,
            )
            for number in range(ROWS)
        ]
        return sorted(made, key=lambda one: one.key)

    @cached_property
    def _teams(self) -> dict[tuple[str, str], list[TeamFacts]]:
        return {}

    @cached_property
    def _spent(self) -> dict[str, list[BudgetFacts]]:
        return {}


def _copies(few: list[HourFacts]) -> Iterator[HourFacts]:
    yield from few
    number = 0
    while True:
        number += 1
        for facts in few:
            yield replace(facts, team=f"{facts.team}-{number}", org=f"{facts.org}-{number % 9}")


class LargeCalls(FakeWorker):
    """rpc-billing: 100,000 accounts of 2,500 agents; the meter and the settlement are those of a real table."""

    group, topic = "rpc-billing", "agent_rpc_metering"

    def __init__(self, name: str = "rpc-0") -> None:
        super().__init__(World(empty=True), name)
        self.table = Calls()
        self.table.apply(
            *(call("10:10", method="chat.send", price="0.25", consumer=f"consumer_{n:04d}") for n in range(3_000)),
            call("10:20", method="memory.search", price="0.01", consumer="consumer_d"),
        )
        self.table.apply(call("11:10", method="chat.send", price="0.5"), call("11:20", free_tier=True))
        self.view = AccountsView(self.table.task, 10_000)
        asyncio.run(self.view.load(0))

    @cached_property
    def _accounts(self) -> list[AccountFacts]:
        few = list(self.view.accounts())
        return [
            replace(few[number % len(few)], agent=f"agent_{number % 2_500}", consumer=f"consumer_{number}")
            for number in range(ROWS)
        ]

    @property
    def settlement_id(self) -> str:
        """Of one that it has."""
        return next(one.settlement_id for one in self.view.accounts() if one.settlement_id)

    def accounts(self) -> list[AccountFacts]:
        return list(self._accounts)

    def agent(self, org: str, agent: str) -> list[AgentFacts]:
        return self.view.agent(org, agent)

    def settlement(self, settlement_id: str) -> list[bytes]:
        value = self.table.store.get(rpc_codec.settlement_key(settlement_id))
        return [] if value is None else [value]


class LargeMetrics(MetricsWorker):
    """llm-metrics: the newest hours of 100,000 rows."""

    def tables(self) -> tuple[str, ...]:
        return ("latency",)

    def since(self, start_ms: int, limit: int) -> list[RowFacts]:
        return self._newest[:limit]

    @cached_property
    def _newest(self) -> list[RowFacts]:
        rows = [
            RowFacts(
                self.world.now_ms // HOUR_MS * HOUR_MS - number // 500 * HOUR_MS,
                {"provider": "together", "model": f"zen-{number % 500}b"},
                {"requests": number, "errors": 3, "cost": "0.000000000001"},
                number, 0, 0, None, number % 8,
            )
            for number in range(ROWS)
        ]  # fmt: skip
        return sorted(rows, key=newest_first)


class LargeLetters(FakeLetters):
    """`dead_letter` with 100,000 of which the pages know the newest, of 65 causes."""

    def __init__(self) -> None:
        super().__init__([letter(number, reason=f"reason_{number % 65}") for number in range(LETTERS)])
        self._recent = Recent(tuple(entry(one) for one in reversed(self.letters)), Done(), ROWS, 0)

    async def recent(self) -> Recent:
        return self._recent


class LargeLog(FakeEventLog):
    """The same log with 100,000 records more behind those that it has: copies of the last one."""

    def __init__(self, log: FakeEventLog) -> None:
        last = log.records[-1]
        more = [last._replace(offset=last.offset + 1 + number) for number in range(ROWS)]
        super().__init__([*log.records, *more])
        self.first = {event_of(one).id: one.offset for one in reversed(log.records)}
        self._parts: dict[tuple[str, int], list[Record]] = {}
        for one in self.records:
            self._parts.setdefault((one.topic, one.partition), []).append(one)

    async def offsets(self, topic: str, at_ms: int) -> dict[int, int]:
        parts = {number: self._of(topic, number) for number in range(PARTITIONS)}
        return {number: bisect_left(part, at_ms, key=lambda one: one.timestamp_ms) for number, part in parts.items()}

    async def read(self, topic: str, upto: Mapping[int, Span]) -> Stretch:
        bounded = within(upto)
        records = [
            one for number, span in sorted(bounded.items()) for one in self._of(topic, number)[span.start : span.end]
        ]
        return Stretch(records, upto, {number: span.end for number, span in bounded.items()})

    def _of(self, topic: str, partition: int) -> list[Record]:
        return self._parts.get((topic, partition), [])

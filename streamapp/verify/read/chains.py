"""What the statements on `billing_events` come to: the chain of each bucket's statements, and the running totals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.intake import Once
from streamapp.verify.read.event import EXACT, ZERO, Poison, at, parse
from streamapp.verify.read.statement import HOURLY, OTHER, REVISED, Bucket, StatedBill, statement
from streamapp.verify.read.totals import Totals, total
from streamapp.verify.report import BillsReport


class Chain(NamedTuple):
    """What all statements of one bucket come to: the newest one, and the sum of deltas of those that were read."""

    latest: StatedBill
    deltas: Totals
    whole: bool  # from revision 0 on; else the beginning has left the log
    begun: int  # the partition that the first statement covers


Chains = dict[Bucket, Chain]
Names = tuple[str, str]
OTHERWISE = "was stated before with other bytes"


def chains_of(records: Iterable[Record], start: Callable[[str, int], int], report: BillsReport) -> Chains:
    """The chain of every bucket. What does not hold among the statements goes into the report.

    `start`: (topic, partition) → where its log begins; if not at 0, chains and sums may begin in the middle.
    """
    books, once = _Books(report), Once(report)
    for record in records:
        event = parse(record.value)
        if isinstance(event, Poison):
            report.wrong.add(at(record), f"is not a billing event: {event.error}")
        elif event.get("type") not in (HOURLY, REVISED):
            report.numbers["other_events"] += 1
        else:
            stated = statement(record, event)
            if isinstance(stated, str):
                report.wrong.add(at(record), stated)
            elif once.is_new(stated.id, record, "statement", stated.id, "of", stated.bucket, otherwise=OTHERWISE):
                books.add(stated, start(record.topic, record.partition) > 0)
    return books.chains


def lines_differ(stated: Mapping[Names, Totals], counted: Mapping[Names, Totals], lines_min: int) -> Iterator[str]:
    """What is wrong with a bill's lines. `counted`: every model of the hour, in the order of the log. How many of them
    have a line of their own need not be known: they are the first ones, and the rest is in the line of the others."""
    own = [names for names in stated if names != OTHER]
    if OTHER not in stated:
        if stated != counted:
            yield "lines differ"
        return
    if len(own) < lines_min:
        yield f"it has a line of the others beside {len(own)} lines, fewer than any limit"
    names = list(counted)
    if set(own) != set(names[: len(own)]):
        yield "the lines are not those of the first models of the hour"
    elif any(stated[one] != counted[one] for one in own):
        yield "lines differ"
    elif stated[OTHER] != total(counted[one] for one in names[len(own) :]):
        yield "the line of the others is not the sum of the other models"


@dataclass
class _Books:
    """What has been read of `billing_events` so far."""

    report: BillsReport
    chains: Chains = field(default_factory=dict)
    running: dict[tuple[str, str, str, str], tuple[Decimal, int]] = field(default_factory=dict)

    def add(self, stated: StatedBill, cut: bool) -> None:
        problems = [*stated.problems, *self._chained(stated, cut), *self._run(stated, cut)]
        if problems:
            self.report.wrong.add(
                stated.where, f"{stated.bucket} revision {stated.data.revision}: {'; '.join(problems)}"
            )
        self.report.numbers["bills"] += 1
        self.report.numbers["revisions"] += stated.data.revision > 0
        self.report.add_money("billed", stated.bucket.currency, stated.data.delta.cost)

    def _chained(self, stated: StatedBill, cut: bool) -> Iterator[str]:
        """Revisions follow one another, and each delta is the difference of two totals."""
        chain = self.chains.get(stated.bucket)
        if chain is None:
            self.chains[stated.bucket] = Chain(
                stated, stated.data.delta, stated.data.revision == 0, stated.data.coverage.partition
            )
            if stated.data.revision == 0:
                if stated.data.supersedes is not None:
                    yield "revision 0 supersedes something"
                if stated.data.delta != stated.data.totals:
                    yield "delta of revision 0 is not totals"
            elif not cut:
                yield "is the first one stated, revision 0 is missing"
            return
        before = chain.latest
        if stated.data.revision != before.data.revision + 1:
            yield f"follows revision {before.data.revision}"
        if stated.data.supersedes != before.id:
            yield f"supersedes {stated.data.supersedes}, not {before.id}"
        if stated.data.delta != stated.data.totals.minus(before.data.totals):
            yield "delta is not the difference to the revision before"
        latest = stated if stated.data.revision > before.data.revision else before
        self.chains[stated.bucket] = chain._replace(latest=latest, deltas=chain.deltas.plus(stated.data.delta))

    def _run(self, stated: StatedBill, cut: bool) -> Iterator[str]:
        """The running total is the sum of all deltas in the log so far."""
        key = (stated.bucket.org, stated.bucket.team, stated.bucket.currency, stated.data.running_total.month)
        running = stated.data.running_total
        now = (running.cost, running.total_tokens)
        if key in self.running or not cut:
            cost, tokens = self.running.get(key, (ZERO, 0))
            due = (EXACT.add(cost, stated.data.delta.cost), tokens + stated.data.delta.total_tokens)
            if now != due:
                yield f"running_total is {now[0]} and {now[1]} tokens, the deltas so far sum to {due[0]} and {due[1]}"
                now = due  # one finding, not one for each later statement
        self.running[key] = now

"""How the independent check reads `billing_events`: the chain of each bucket's statements, and the running totals."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.report import Report
from streamapp.verify.statement import HOURLY, OTHER, REVISED, Bucket, Statement, Totals, statement, total
from streamapp.verify.usage import EXACT, ZERO, Poison, parse


class Chain(NamedTuple):
    """What all statements of one bucket come to: the newest one, and the sum of deltas of those that were read."""

    latest: Statement
    deltas: Totals
    whole: bool  # from revision 0 on; else the beginning has left the log
    begun: int  # the partition that the first statement covers


Chains = dict[Bucket, Chain]
Names = tuple[str, str]


@dataclass
class _Books:
    """What has been read of `billing_events` so far."""

    chains: Chains = field(default_factory=dict)
    running: dict[tuple[str, str, str, str], tuple[Decimal, int]] = field(default_factory=dict)
    seen: dict[str, bytes] = field(default_factory=dict)  # id → digest of its bytes


def gather(records: Iterable[Record], starts: Mapping[tuple[str, int], int], report: Report) -> Chains:
    """The chain of every bucket. What does not hold among the statements goes into the report.

    `starts`: (topic, partition) → log start where it is not 0; there, chains and sums may begin in the middle.
    """
    books = _Books()
    for record in records:
        where = f"{record.topic}[{record.partition}]@{record.offset}"
        event = parse(record.value or b"")
        if isinstance(event, Poison):
            report.wrong.add(where, f"is not a billing event: {event.error}")
        elif event.get("type") not in (HOURLY, REVISED):
            report.other_events += 1
        else:
            stated = statement(record, event)
            if isinstance(stated, str):
                report.wrong.add(where, stated)
            elif _first_time(stated, record, books, report):
                _add(stated, books, starts.get((record.topic, record.partition), 0) > 0, report)
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


def _first_time(stated: Statement, record: Record, books: _Books, report: Report) -> bool:
    digest = hashlib.sha256(record.value or b"").digest()
    before = books.seen.get(stated.id)
    if before is None:
        books.seen[stated.id] = digest
        return True
    if before == digest:
        report.doubled.add(stated.where, f"statement {stated.id} of {stated.bucket} stands in the log twice")
    else:
        report.wrong.add(stated.where, f"statement {stated.id} of {stated.bucket} was stated before with other bytes")
    return False


def _add(stated: Statement, books: _Books, cut: bool, report: Report) -> None:
    problems = [*stated.problems, *_chained(stated, books, cut), *_run(stated, books, cut)]
    if problems:
        report.wrong.add(stated.where, f"{stated.bucket} revision {stated.revision}: {'; '.join(problems)}")
    report.bills += 1
    report.revisions += stated.revision > 0
    currency = stated.bucket.currency
    report.billed[currency] = EXACT.add(report.billed.get(currency, ZERO), stated.delta.cost)


def _chained(stated: Statement, books: _Books, cut: bool) -> Iterable[str]:
    """Revisions follow one another, and each delta is the difference of two totals."""
    chain = books.chains.get(stated.bucket)
    if chain is None:
        books.chains[stated.bucket] = Chain(stated, stated.delta, stated.revision == 0, stated.coverage.partition)
        if stated.revision == 0:
            if stated.supersedes is not None:
                yield "revision 0 supersedes something"
            if stated.delta != stated.totals:
                yield "delta of revision 0 is not totals"
        elif not cut:
            yield "is the first one stated, revision 0 is missing"
        return
    before = chain.latest
    if stated.revision != before.revision + 1:
        yield f"follows revision {before.revision}"
    if stated.supersedes != before.id:
        yield f"supersedes {stated.supersedes}, not {before.id}"
    if stated.delta != stated.totals.minus(before.totals):
        yield "delta is not the difference to the revision before"
    latest = stated if stated.revision > before.revision else before
    books.chains[stated.bucket] = chain._replace(latest=latest, deltas=chain.deltas.plus(stated.delta))


def _run(stated: Statement, books: _Books, cut: bool) -> Iterable[str]:
    """The running total is the sum of all deltas in the log so far."""
    key = (stated.bucket.org, stated.bucket.team, stated.bucket.currency, stated.month)
    now = (stated.running_cost, stated.running_tokens)
    if key in books.running or not cut:
        cost, tokens = books.running.get(key, (ZERO, 0))
        due = (EXACT.add(cost, stated.delta.cost), tokens + stated.delta.total_tokens)
        if now != due:
            yield f"running_total is {now[0]} and {now[1]} tokens, the deltas so far sum to {due[0]} and {due[1]}"
            now = due  # one finding, not one for each later statement
    books.running[key] = now

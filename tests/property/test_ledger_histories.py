"""Bills are a function of the log: any cutting into chunks, any restarts, the same bytes; and the true sums."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from decimal import Context, Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from searches import search
from usage_histories import FEW, LIMITS, OFFSETS, SHORT, logs
from usage_log import Rec, SetLimits, Table, at

from streamapp.meters.usage.parts import stated
from tables.window import HOUR_MS, MINUTE_MS, Rules

EXACT = Context(prec=100)


def bills(log: Sequence[Rec], rules: Rules, cuts: set[int], restarts: set[int]) -> list[bytes]:
    """The statements' bytes when the log is cut before these offsets, and the process restarted before those."""
    table, begin = Table(rules, limits=SetLimits(**LIMITS)), 0
    for end in [*sorted(cut for cut in cuts if 0 < cut < len(log)), len(log)]:
        table.apply(*log[begin:end])
        begin = end
        if end in restarts:
            table.restart()
    return said(table)


def said(table: Table) -> list[bytes]:
    """The bills and the limits that were crossed, in the order in which they are sent."""
    place = table.task.place
    return [sent.value or b"" for outcome in table.outcomes for sent, _ in stated(outcome, place)]


@given(
    logs(), OFFSETS, OFFSETS, st.sampled_from([Rules(), SHORT, FEW, Rules(grace_ms=0), replace(FEW, grace_ms=7_000)])
)
@search(300)
def test_any_cutting_and_any_restarts_give_the_same_bytes(
    log: list[Rec], cuts: set[int], restarts: set[int], rules: Rules
) -> None:
    whole = bills(log, rules, set(), set())
    assert bills(log, rules, cuts | restarts, restarts) == whole
    assert bills(log, rules, set(range(41)), set(range(0, 41, 2))) == whole


@given(logs(), OFFSETS, st.lists(st.integers(0, 40), max_size=4))
@search(100)
def test_reading_records_again_changes_nothing(log: list[Rec], cuts: set[int], backs: list[int]) -> None:
    table, begin = Table(SHORT, limits=SetLimits(**LIMITS)), 0
    for end in [*sorted(cut for cut in cuts if cut < len(log)), len(log)]:
        if backs:
            begin = min(begin, backs.pop())
            table.restart()
        table.apply(*log[begin:end])
        begin = end
    assert said(table) == bills(log, SHORT, set(), set())


@given(logs(jump_ms=30 * MINUTE_MS), OFFSETS, st.lists(st.integers(0, 6 * HOUR_MS), max_size=8), OFFSETS)
@search(200)
def test_highest_revisions_and_deltas_both_end_at_the_true_sums(
    log: list[Rec], cuts: set[int], idles: list[int], restarts: set[int]
) -> None:
    """With the default rules, within a day nothing is forgotten or too late: the first arrival of an id counts."""
    truth: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    requests: dict[tuple[str, ...], int] = defaultdict(int)
    ids: set[str] = set()
    for record in log[:-1]:
        assert record.value is not None
        if record.key is None or not record.value.endswith(b"}}"):
            continue
        event = msgspec.json.decode(record.value, type=Event)
        if event.id not in ids:
            ids.add(event.id)
            bucket = (event.timestamp[:13], event.org_id, event.team_id, event.data.currency)
            truth[bucket] = EXACT.add(truth[bucket], event.data.cost_usd)
            requests[bucket] += 1

    table, begin = Table(), 0
    for end in [*sorted(cut for cut in cuts if cut < len(log)), len(log)]:
        table.apply(*log[begin:end])
        begin = end
        if idles:
            table.idle_ms(log[end - 1].timestamp + idles.pop())
        if end in restarts:
            table.restart()
    highest: dict[tuple[str, ...], tuple[Decimal, int]] = {}
    added: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for one in table.statements():
        if one.key.org != "org_last":
            start = at_text(one.key.start_ms)
            highest[start, *one.key[1:]] = (one.totals.cost, one.events)
            added[start, *one.key[1:]] = EXACT.add(added[start, *one.key[1:]], one.delta.cost)
    assert highest == {bucket: (truth[bucket], requests[bucket]) for bucket in truth}
    assert added == truth


class Data(msgspec.Struct):
    cost_usd: Decimal
    currency: str


class Event(msgspec.Struct):
    id: str
    timestamp: str
    team_id: str
    org_id: str
    data: Data


def at_text(at_ms: int) -> str:
    hours = (at_ms - at("2025-01-31T00:00")) // HOUR_MS
    return f"{['2025-01-31', '2025-02-01'][hours // 24]}T{hours % 24:02d}"

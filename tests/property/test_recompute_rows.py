"""A row of a table of the guide was spoiled: a recomputation puts it right and states what was stated wrongly; a second
one changes nothing. A table that is right changes in nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from recounts import compared, published
from searches import search
from test_keyed_histories import ADMISSION, EVENTS, NOW_MS, RECIPE, TABLE, Key, Record, Said, Worker, ms, said_at

from streamapp.exact.correction import Comparison
from streamapp.exact.partition.chunk import Send
from streamapp.meters.hourly.correction import correction_of
from streamapp.meters.hourly.table import keyed_parts
from tables.window import DAY_MS, HOUR_MS, Rules

RULES = Rules(retention_ms=14 * DAY_MS)
CORRECTION = correction_of(TABLE, RECIPE)
Rows = dict[Key, tuple[Any, int]]


def compare(worker: Worker, log: list[Record], start: int = 0) -> Comparison:
    refused = frozenset(refusal.record.offset for outcome in worker.landed for refusal in outcome.refusals)
    parts = keyed_parts(TABLE, RECIPE, RULES, ADMISSION)
    return compared(CORRECTION, worker.task, RULES, log, start, refused=refused, parts=parts)


def rows(worker: Worker) -> Rows:
    return {key: (row.row, row.events) for key, row in worker.rows().items()}


def spoil(worker: Worker, which: int) -> None:
    """A row counts seven more than there were."""
    raw = [(TABLE.pack_key(key), row) for key, row in sorted(worker.rows().items()) if row.events]
    if raw:
        key, row = raw[which % len(raw)]
        row.row.number += 7
        row.row.by_other["0"] = row.row.by_other.get("0", 0) + 7
        worker.store.write({key: TABLE.pack(row)}, worker.store.checkpoint() + 1)
        worker.start()


def stated(worker: Worker, sends: list[Send]) -> tuple[dict[Key, int], dict[Key, int]]:
    """By row: what the newest statement says, and what all deltas come to."""
    events = [*worker.stated(), *(msgspec.json.decode(send.value or b"") for send in sends)]
    newest: dict[Key, int] = {}
    deltas: Counter[Key] = Counter()
    chains: Counter[Key] = Counter()
    for event in events:
        key = Key(ms(event["data"]["period_start"]), event["org_id"])
        assert event["data"]["revision"] == chains[key], "no revision is left out or stated twice"
        chains[key] += 1
        newest[key] = event["data"]["totals"]["number"]
        deltas[key] += event["data"]["delta"]["number"]
    return newest, dict(deltas)


@given(st.lists(EVENTS, min_size=1, max_size=40), *[st.integers(0, 1 << 30)] * 2, st.booleans())
@search(100)
def test_rows_are_put_right_and_revised(said: list[Said], cut: int, which: int, half: bool) -> None:
    log = [Record(n, NOW_MS + 70 * HOUR_MS, None, msgspec.json.encode(each)) for n, each in enumerate(said)]
    right, worker = Worker(RULES), Worker(RULES)
    right.do(log)
    assert compare(right, log).changes == []
    assert compare(right, log, cut % len(log)).changes == []

    cut = 1 + cut % len(log)
    worker.do(log[:cut])
    spoil(worker, which)
    if cut < len(log):
        worker.do(log[cut:])
    found = compare(worker, log)
    sends: list[Send] = []
    if half:
        found.changes = found.changes[: len(found.changes) // 2]
        sends += published(CORRECTION, found).sends
        found = compare(worker, log)
    sends += published(CORRECTION, found).sends
    assert rows(worker) == rows(right)
    again = compare(worker, log)
    assert (again.changes, again.out_of_reach, again.contradicted) == ([], 0, 0)
    newest, deltas = stated(worker, sends)
    assert newest == deltas
    settled = {key: row.row.number for key, row in worker.rows().items() if row.settled}
    assert {key: newest.get(key, 0) for key in settled} == settled


def test_a_row_without_events_goes_or_is_taken_back() -> None:
    """As if a directory had given the usage to another org since."""
    worker, log = Worker(RULES), said_at(NOW_MS, NOW_MS + 1, NOW_MS + 3 * HOUR_MS)
    worker.do(log)
    moved = [record._replace(value=(record.value or b"").replace(b'"a"', b'"b"')) for record in log]
    sends = published(CORRECTION, compare(worker, moved)).sends
    assert [(send.key, send.value is None) for send in sends] == [(b"a", False), (b"b", False)]
    newest, _ = stated(worker, list(sends))
    assert newest == {Key(NOW_MS, "a"): 0, Key(NOW_MS, "b"): 2}
    (taken_back,) = [row for row in worker.rows().values() if row.key == Key(NOW_MS, "a")]
    assert (taken_back.events, taken_back.settled, taken_back.first_offset) == (0, True, -1)
    assert Key(NOW_MS + 3 * HOUR_MS, "a") not in worker.rows(), "it was open, and nothing was stated of it"
    assert compare(worker, moved).changes == []

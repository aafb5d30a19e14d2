"""Any history of dead letters: cut into chunks anyhow, killed anywhere, put back, delivered or not, it counts the
same."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from letters_log import NOON, RULES, Monitor, Rec, refusal
from searches import search

from streamapp.meters.letters import codec
from tables.letters.fold import Limits
from tables.letters.incident import CauseRow
from tables.window import MINUTE_MS

LIMITS = Limits(windows_ms=30 * MINUTE_MS, causes=3, shapeless=2, cause_ms=40 * MINUTE_MS, remembered=12)
REASONS = ["too_late", "invalid_cost", "conflicting_duplicate"]
ERRORS = ["it is 7 days old", "cost '1' is negative", "no number"]
LETTERS = st.lists(
    st.tuples(
        st.integers(-4, 6),  # minutes after the record before
        st.integers(0, 25),  # which dead letter: some come twice
    ),
    min_size=1,
    max_size=60,
)
STEPS = st.lists(st.sampled_from(["chunk", "chunk", "chunk", "kill", "again", "deliver", "tick"]), max_size=60)
many = search(100)


def log_of(letters: list[tuple[int, int]]) -> list[Rec]:
    """The records, each some minutes from the one before it."""
    at_ms, log = NOON, []
    for offset, (minutes, number) in enumerate(letters):
        at_ms = max(NOON, at_ms + minutes * MINUTE_MS)
        value = refusal(number, REASONS[number % 3], ERRORS[number // 3 % 3]) if number else None
        log.append(Rec(offset, at_ms, value))
    return log


def facts(monitor: Monitor) -> dict[str, Any]:
    """Everything that the log alone decides. Who has been told, and when an incident was told, is not among it."""
    letters = monitor.task.memory.letters
    return {
        "causes": {name: told_apart(row) for name, row in letters.causes.items()},
        "windows": letters.windows,
        "tallies": letters.tallies,
        "position": (letters.position.next_offset, letters.position.watermark_ms),
    }


def told_apart(row: CauseRow) -> tuple[Any, ...]:
    return row.cause, row.first_ms, row.last_ms, row.letters, row.samples, row.incidents, row.opened_ms


def straight(log: list[Rec]) -> Monitor:
    """The same log in one chunk, without any accident."""
    monitor = Monitor(limits=LIMITS)
    monitor.apply(log)
    return monitor


@given(LETTERS, st.lists(st.integers(1, 9), min_size=60, max_size=60), STEPS)
@many
def test_counts_and_incidents_are_a_function_of_the_log(
    letters: list[tuple[int, int]], sizes: list[int], steps: list[str]
) -> None:
    log = log_of(letters)
    monitor, done = Monitor(limits=LIMITS), 0
    for step, size in zip([*steps, *["chunk"] * 60], [*sizes, *sizes], strict=False):
        if step == "chunk" and done < len(log):
            monitor.apply(log[done : done + size])
            done = min(len(log), done + size)
        elif step == "kill":  # a chunk that was folded and never committed, then another process
            if done < len(log):
                monitor.task.fold(log[done : done + size], log[done].timestamp)
            monitor.restart()
        elif step == "again":  # somebody put the group back
            done = max(0, done - size)
        elif step == "deliver":
            monitor.courier.bring("log")
        elif step == "tick":
            monitor.tick(0)  # only receipts: nothing is quiet at noon
    assert done == len(log)
    assert facts(monitor) == facts(straight(log))
    before = facts(monitor)
    monitor.restart()
    assert facts(monitor) == before


@given(LETTERS)
@many
def test_the_parts_add_up_and_stay_within_their_limits(letters: list[tuple[int, int]]) -> None:
    log = log_of(letters)
    monitor = straight(log)
    seen: dict[bytes, int] = {}
    counted: Counter[bool] = Counter()
    for record in log:  # a dead letter counts unless it was there not long ago
        before = seen.get(record.value or b"")
        fresh = record.value is None or before is None or record.offset - before > LIMITS.remembered
        counted[fresh] += 1
        if fresh and record.value is not None:
            seen[record.value] = record.offset
    state = monitor.task.memory.letters
    assert sum(state.tallies.values()) == counted[True]
    assert len(state.causes) <= LIMITS.causes + LIMITS.shapeless + 1
    watermark_ms = state.position.watermark_ms
    assert all(start + 5 * MINUTE_MS > watermark_ms - LIMITS.windows_ms - 5 * MINUTE_MS for start, _ in state.windows)
    assert {row.cause.id for row in state.causes.values() if row.opened_ms is not None} == set(state.open)
    monitor.tick((watermark_ms - NOON) / MINUTE_MS)  # a late dead letter may have opened what was quiet already
    assert all(row.quiet_at_ms(RULES) > watermark_ms for row in state.open.values())


@given(LETTERS, st.lists(st.booleans(), min_size=130, max_size=130))
@many
def test_every_incident_is_told_to_everybody_once_opened_then_resolved(
    letters: list[tuple[int, int]], arrives: list[bool]
) -> None:
    monitor, heard = Monitor(limits=LIMITS), Counter[tuple[str, str, str]]()
    turns = iter(arrives)

    def deliver(always: bool = False) -> None:
        offered, monitor.courier.offered = monitor.courier.offered, []
        for notice, owed in offered:
            if always or next(turns, True):
                heard.update((notice.incident, notice.kind, name) for name in owed)
                monitor.courier.offered = [(notice, owed)]
                monitor.courier.bring(*owed)
                monitor.courier.offered = []
            else:
                kept.append((notice, owed))
        monitor.courier.offered, kept[:] = kept[:], []

    kept: list[Any] = []
    for record in log_of(letters):
        monitor.apply([record])
        deliver()
    monitor.tick(10_000)
    deliver(always=True)
    monitor.tick(10_000)
    monitor.restart()
    assert monitor.courier.offered == []
    assert all(count == 1 for (_, kind, _), count in heard.items() if kind != "grown")
    opened = {(incident, name) for incident, kind, name in heard if kind == "opened"}
    assert opened == {(incident, name) for incident, kind, name in heard if kind == "resolved"}
    causes = [codec.unpack_cause(value) for _, value in monitor.store.scan(b"k", b"l")]
    assert all(row.settled for row in causes)

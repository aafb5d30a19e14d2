"""A row of each table was spoiled: a recomputation puts it right, a second one changes nothing, and one that was ended
half-way and done again is the same as one. A table that is right changes in nothing."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

import letters_log
import rpc_histories
import rpc_log
import usage_histories
from hypothesis import given
from hypothesis import strategies as st
from latency_log import LatencyTable
from letters_log import Monitor
from recounts import compared, published
from rpc_log import Calls
from searches import search
from test_latency_histories import FEW as FEW_MODELS
from test_letters_histories import LETTERS as LETTERS_SPEC
from test_letters_histories import LIMITS as FEW_LETTERS
from test_letters_histories import log_of
from usage_log import Table, make_admission

from streamapp.exact.correction import Comparison
from streamapp.meters.calls import rpc_codec
from streamapp.meters.latency import codec as latency_codec
from streamapp.meters.latency.parts import latency_parts
from streamapp.meters.letters import codec as letters_codec
from streamapp.meters.letters.correction import compare as correct_letters
from streamapp.meters.letters.parts import letters_parts
from streamapp.meters.registry import declared
from streamapp.meters.usage import codec as usage_codec
from streamapp.meters.usage.store import is_unsettled
from tables.calls.settlement import Account, MethodSum, method_of
from tables.counters import EXACT
from tables.latency.fold import LIMITS, Limits
from tables.letters.fold import LIMITS as LETTERS_LIMITS
from tables.letters.fold import Limits as LettersLimits
from tables.letters.incident import AlertRules
from tables.window import DAY_MS, Rules

LONG = Rules(retention_ms=14 * DAY_MS)
DRAWN = st.integers(0, 1 << 30)
Rows = dict[bytes, bytes]


@dataclass
class Subject:
    """A table, its log, and how it is spoiled and compared."""

    table: Any
    log: list[Any]
    compare: Callable[[int], Comparison]
    spoil: Callable[[bytes, bytes], bytes | None]  # None: there is nothing to spoil in this row
    correction: Any


def rows(store: Any) -> Rows:
    """What a recomputation may change: everything but ids and the index."""
    return {key: value for key, value in store.rows.items() if key[:1] not in b"iu"}


def lived(subject: Subject, cut: int, which: int) -> None:
    """Read the log; a row is spoiled when `cut` records were read, if there is one."""
    table, log = subject.table, subject.log
    cut = cut % (len(log) + 1)
    if cut:
        table.apply(*log[:cut])
    store = table.store
    spoiled = [(key, wrong) for key, value in sorted(rows(store).items()) if (wrong := subject.spoil(key, value))]
    if spoiled:
        key, wrong = spoiled[which % len(spoiled)]
        store.write({key: wrong}, store.checkpoint() + 1)
        table.restart()
    if cut < len(log):
        table.apply(*log[cut:])


def put_right(subject: Subject, half: int) -> None:
    """A part of the range first; then all, once as a whole, once ended half-way: the same rows and statements. Then
    there is nothing to do."""
    store, correction = subject.table.store, subject.correction
    published(correction, subject.compare(half % len(subject.log)))
    before = copy.deepcopy(store.rows)
    whole = published(correction, subject.compare(0))
    once = rows(store)
    store.rows = before
    found = subject.compare(0)
    half %= len(found.changes) + 1
    first = published(correction, replace(found, changes=found.changes[:half]))
    second = published(correction, subject.compare(0))
    assert rows(store) == once
    assert [*first.sends, *second.sends] == list(whole.sends)
    again = subject.compare(0)
    assert (again.changes, again.out_of_reach, again.contradicted) == ([], 0, 0)
    subject.table.restart()


def refused(table: Any) -> frozenset[int]:
    """The offsets that have a dead letter."""
    return frozenset(refusal.record.offset for outcome in table.outcomes for refusal in outcome.refusals)


# -- usage -----------------------------------------------------------------------------------------------------------


def usage(log: list[Any], rules: Rules = LONG) -> Subject:
    table, correction = Table(rules), declared("usage_hourly").correction

    def compare(start: int) -> Comparison:
        admission = table.task.memory.admission
        more: dict[str, Any] = {"refused": refused(table), "admission": admission, "unsettled": is_unsettled}
        return compared(correction, table.task, table.rules, log, start, **more)

    return Subject(table, log, compare, spoiled_hour, correction)


def spoiled_hour(key: bytes, value: bytes) -> bytes | None:
    if key[:1] != b"h":
        return None
    row = usage_codec.unpack_hour(key, value)
    line = next(iter(row.lines.values()))
    line.prompt_tokens += 7
    line.cost = EXACT.add(line.cost, Decimal("0.5"))
    return usage_codec.pack_hour(row)


def hours_of(table: Table) -> dict[Any, Any]:
    stored = (usage_codec.unpack_hour(key, value) for key, value in table.store.scan(b"h", b"i"))
    return {row.key: {names: line.numbers() for names, line in row.lines.items()} for row in stored}


@given(usage_histories.logs(), DRAWN, DRAWN, DRAWN)
@search(60)
def test_hours_of_usage_are_revised(log: list[Any], cut: int, which: int, half: int) -> None:
    right, subject = usage(log), usage(log)
    right.table.apply(*log)
    for start in (0, cut % len(log)):
        assert right.compare(start).changes == []
    lived(subject, cut, which)
    put_right(subject, half)
    assert hours_of(subject.table) == hours_of(right.table)
    months = {key: value for key, value in rows(right.table.store).items() if key[:1] == b"m"}
    assert {key: value for key, value in rows(subject.table.store).items() if key[:1] == b"m"} == months


# -- calls -----------------------------------------------------------------------------------------------------------


def calls(log: list[Any], rules: Rules = LONG) -> Subject:
    table, correction = Calls(rules), declared("rpc_hourly").correction

    def compare(start: int) -> Comparison:
        admission = table.task.memory.admission
        return compared(correction, table.task, table.rules, log, start, refused=refused(table), admission=admission)

    return Subject(table, log, compare, spoiled_calls, correction)


def spoiled_calls(key: bytes, value: bytes) -> bytes | None:
    """One call too many, and its method dearer than it is."""
    if key[:1] == b"h":
        hour = rpc_codec.unpack_hour(key, value)
        next(iter(hour.methods.values())).add(1, Decimal("0.3"))
        return rpc_codec.pack_hour(hour)
    if key[:1] == b"k":
        row = rpc_codec.unpack_account(key, value)
        for methods in (row.pending.methods, row.settled):
            for sums in methods.values():
                sums.add(-1, Decimal("0.04"))
                return rpc_codec.pack_account(row)
    return None


def charged(table: Calls) -> dict[Account, dict[str, tuple[int, Decimal]]]:
    """Everything that was settled, is carried, is pending or open, by account and method."""
    sums: dict[Account, dict[str, MethodSum]] = defaultdict(dict)
    for settlement in table.settlements():
        for name, count, cost in (*settlement.methods, *settlement.carried):
            method_of(sums[settlement.account], name).add(count, cost)
    for row in rpc_codec.accounts_of(table.store):
        for methods in (row.pending.methods, row.carried):
            for name, one in methods.items():
                method_of(sums[row.account], name).add(one.calls, one.cost)
    for hour in rpc_codec.unsettled(table.store)[0]:
        for name, one in hour.methods.items():
            method_of(sums[hour.key.account], name).add(one.calls, one.cost)
    charged = {}
    for account, methods in sums.items():
        charged[account] = {name: (one.calls, one.cost + 0) for name, one in methods.items() if one.calls or one.cost}
    return {account: methods for account, methods in charged.items() if methods}


@given(rpc_histories.logs(), DRAWN, DRAWN, DRAWN)
@search(100)
def test_accounts_are_charged_rightly_with_their_next_settlements(
    log: list[Any], cut: int, which: int, half: int
) -> None:
    right, subject = calls(log), calls(log)
    right.table.apply(*log)
    for start in (0, cut % len(log)):
        assert right.compare(start).changes == []
    lived(subject, cut, which)
    paid = len(subject.table.settlements())
    put_right(subject, half)
    assert charged(subject.table) == charged(right.table)
    assert len(subject.table.settlements()) == paid, "nothing is settled by a recomputation"
    later = [rpc_histories_later(log, number) for number in range(2)]
    for one in (right, subject):
        one.table.apply(*(replace(record, offset=len(log) + at) for at, record in enumerate(later)))
        one.log += [replace(record, offset=len(log) + at) for at, record in enumerate(later)]
    assert charged(subject.table) == charged(right.table)
    assert subject.compare(0).changes == []
    settled = {row.account: row for row in rpc_codec.accounts_of(subject.table.store)}
    for account, row in settled.items():
        stated = [one for one in subject.table.settlements() if one.account == account]
        assert sum(one.amount for one in stated) == sum(sums.cost for sums in row.settled.values())


def rpc_histories_later(log: list[Any], number: int) -> Any:
    """A call of agent_b's, dear enough to be settled, in one of the hours behind the log."""
    at_ms = log[-1].timestamp + (number + 1) * 3 * 3_600_000
    agent = ("agent_a", "agent_b")[number]
    content = rpc_log.value(f"later-{number}", at_ms, agent, price="5")
    return replace(log[-1], key=agent.encode(), value=content, timestamp=at_ms)


# -- latency ---------------------------------------------------------------------------------------------------------


def latency(log: list[Any], rules: Rules = LONG, limits: Limits = LIMITS) -> Subject:
    table, correction = LatencyTable(rules, limits), declared("latency").correction

    def compare(start: int) -> Comparison:
        parts = latency_parts(table.rules, make_admission(), table.limits)
        return compared(correction, table.task, table.rules, log, start, refused=refused(table), parts=parts)

    return Subject(table, log, compare, spoiled_tally, correction)


def spoiled_tally(key: bytes, value: bytes) -> bytes | None:
    if key[:1] not in (b"h", b"m", b"t"):
        return None
    tally = latency_codec.unpack_tally(value)
    tally.numbers[0] += 3
    return latency_codec.pack_tally(tally)


@given(usage_histories.logs(), DRAWN, DRAWN, DRAWN)
@search(60)
def test_rows_of_latency_are_replaced(log: list[Any], cut: int, which: int, half: int) -> None:
    right, subject = latency(log), latency(log)
    right.table.apply(*log)
    for start in (0, cut % len(log)):
        assert right.compare(start).changes == []
    lived(subject, cut, which)
    put_right(subject, half)
    assert subject.table.rows() == right.table.rows()


# -- letters ---------------------------------------------------------------------------------------------------------


class Letters(Monitor):
    """Whose records are given as they are."""

    def apply(self, *records: Any) -> None:
        super().apply(list(records))


def letters(log: list[Any], limits: LettersLimits = LETTERS_LIMITS) -> Subject:
    quiet = replace(letters_log.RULES, destinations=())
    table, correction = Letters(quiet, limits=limits), declared("letters").correction

    def compare(start: int) -> Comparison:
        nobody = AlertRules(quiet.threshold, quiet.at_once, quiet.quiet_ms, quiet.update_ms)
        parts = letters_parts(nobody, letters_log.CourierInHand, None, table.limits)
        mine = replace(correction, compare=partial(correct_letters, limits=limits))
        return compared(mine, table.task, LONG, log, start, parts=parts)

    return Subject(table, log, compare, spoiled_count, correction)


def spoiled_count(key: bytes, value: bytes) -> bytes | None:
    if key[:1] in (b"t", b"w"):
        return letters_codec.pack_count(letters_codec.unpack_count(value) + 5)
    if key[:1] == b"k":
        row = letters_codec.unpack_cause(value)
        return letters_codec.pack_cause(replace(row, letters=row.letters + 5))
    return None


def counted(table: Letters) -> dict[bytes, Any]:
    """Counts, without what was opened because of wrong ones."""
    found: dict[bytes, Any] = {}
    for key, value in rows(table.store).items():
        found[key] = letters_codec.unpack_cause(value).letters if key[:1] == b"k" else value
    return found


@given(LETTERS_SPEC, DRAWN, DRAWN, DRAWN)
@search(60)
def test_counts_of_dead_letters_are_put_right(spec: list[tuple[int, int]], cut: int, which: int, half: int) -> None:
    log = log_of(spec)
    right, subject = letters(log), letters(log)
    right.table.apply(*log)
    for start in (0, cut % len(log)):
        assert right.compare(start).changes == []
    lived(subject, cut, which)
    put_right(subject, half)
    assert counted(subject.table) == counted(right.table)


# -- limits ----------------------------------------------------------------------------------------------------------


@given(usage_histories.logs(), rpc_histories.logs(), LETTERS_SPEC, DRAWN)
@search(60)
def test_a_table_that_is_right_changes_in_nothing_whatever_its_limits(
    used: list[Any], called: list[Any], spec: list[tuple[int, int]], start: int
) -> None:
    short, few = usage_histories.SHORT, usage_histories.FEW
    subjects = [
        usage(used, few),
        calls(called, short),
        calls(called, few),
        latency(used, short, FEW_MODELS),
        letters(log_of(spec), FEW_LETTERS),
    ]
    for subject in subjects:
        subject.table.apply(*subject.log)
        for begin in (0, start % len(subject.log)):
            assert subject.compare(begin).changes == []

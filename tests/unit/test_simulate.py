"""The simulated stream: the same for a seed, accepted where it should be, refused where it should be."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from streamapp.cli.local.simulate import Pace, continued
from streamapp.schemas.judging.decode import Usage, decode_usage
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.simulate.poison import POISONS, Poison
from streamapp.simulate.topics import STREAMS, Simulated
from streamapp.simulate.usage import HOUR_MS, Kind, SimulatedRecord, UsageSpec, history, usage_stream
from streamapp.topics.partitioner import partition_for

NOW_MS = 1_763_900_000_000
SPEC = UsageSpec(NOW_MS - 12 * HOUR_MS, NOW_MS, events=20_000, bad=0.05, late=0.02, duplicates=0.05)
BY_VALUE = {poison.name: poison.by_value for poison in POISONS}


@pytest.fixture(scope="module")
def records() -> list[SimulatedRecord]:
    return list(usage_stream(SPEC))


def usage(record: SimulatedRecord) -> Usage:
    event = decode_usage(record.value)
    assert isinstance(event, Usage), (record, event)
    return event


def of(records: list[SimulatedRecord], *kinds: Kind) -> list[SimulatedRecord]:
    return [record for record in records if record.kind in kinds]


def test_a_seed_and_its_times_give_the_same_bytes(records: list[SimulatedRecord]) -> None:
    assert list(usage_stream(SPEC)) == records
    assert list(usage_stream(replace(SPEC, seed=2))) != records


def test_every_good_event_is_accepted_with_its_team_as_key(records: list[SimulatedRecord]) -> None:
    for record in of(records, Kind.GOOD, Kind.LATE):
        assert usage(record).team_id.encode() == record.key
        assert record.reason is None


def test_ids_of_new_events_are_all_different_and_tell_their_moment(records: list[SimulatedRecord]) -> None:
    ids = [usage(record).id for record in of(records, Kind.GOOD, Kind.LATE)]
    assert len(set(ids)) == len(ids)
    assert all(len(each) == 30 for each in ids)
    good = [usage(record) for record in of(records, Kind.GOOD)]
    assert sorted(good, key=lambda each: each.at_ms) == sorted(good, key=lambda each: (each.id[4:14], each.at_ms))


@pytest.mark.parametrize("poison", [poison for poison in POISONS if poison.by_value], ids=lambda poison: poison.name)
def test_poison_is_refused_for_the_reason_it_names(poison: Poison, records: list[SimulatedRecord]) -> None:
    bad = [record for record in of(records, Kind.BAD) if record.name == poison.name]
    assert bad, "the stream has every kind"
    for record in bad:
        verdict = decode_usage(record.value)
        assert isinstance(verdict, Rejected), record
        assert verdict.reason is poison.reason, record


def test_the_stream_has_every_kind_of_poison_and_no_other(records: list[SimulatedRecord]) -> None:
    assert {record.name for record in of(records, Kind.BAD)} == {poison.name for poison in POISONS}


def test_poison_with_sound_bytes_is_wrong_by_its_key_moment_or_org(records: list[SimulatedRecord]) -> None:
    for record in of(records, Kind.BAD):
        if BY_VALUE[record.name]:
            continue
        event = usage(record)
        wrong = {
            Reason.WRONG_PARTITION: event.team_id.encode() != record.key,
            Reason.TIMESTAMP_IN_FUTURE: event.at_ms > NOW_MS + HOUR_MS,
            Reason.TOO_LATE: event.at_ms < SPEC.start_ms - 14 * 24 * HOUR_MS,
            Reason.ORG_UNRESOLVED: event.org_id is None,
        }
        assert record.reason is not None
        assert [reason for reason, holds in wrong.items() if holds] == [record.reason]


def test_duplicates_repeat_bytes_and_conflicts_repeat_ids(records: list[SimulatedRecord]) -> None:
    seen: dict[str, bytes] = {}
    kinds: Counter[Kind] = Counter()
    for record in of(records, Kind.GOOD, Kind.DUPLICATE, Kind.CONFLICTING):
        assert record.value is not None
        event = usage(record)
        kinds[record.kind] += 1
        if record.kind is Kind.GOOD:
            seen[event.id] = record.value
        else:
            assert (seen[event.id] == record.value) is (record.kind is Kind.DUPLICATE)
            assert (record.reason is Reason.CONFLICTING_DUPLICATE) is (record.kind is Kind.CONFLICTING)
    assert kinds[Kind.DUPLICATE] > kinds[Kind.CONFLICTING] > 0


def test_late_events_belong_to_closed_hours_that_are_still_kept(records: list[SimulatedRecord]) -> None:
    moments = list(history(SPEC))
    for now_ms, record in zip(moments, records, strict=True):
        if record.kind is Kind.LATE:
            hour_end_ms = usage(record).at_ms // HOUR_MS * HOUR_MS + HOUR_MS
            assert hour_end_ms + SPEC.grace_ms <= now_ms
            assert usage(record).at_ms > now_ms - 14 * 24 * HOUR_MS


def test_good_events_fill_the_hours_a_little_out_of_order_and_never_come_from_the_future(
    records: list[SimulatedRecord],
) -> None:
    moments = [usage(record).at_ms for record in of(records, Kind.GOOD)]
    assert len({at_ms // HOUR_MS for at_ms in moments}) >= 12
    assert moments != sorted(moments)
    assert max(moments) <= NOW_MS
    assert min(moments) > SPEC.start_ms - 60_000


def test_shares_are_about_what_was_asked(records: list[SimulatedRecord]) -> None:
    counts = Counter(record.kind for record in records)
    assert len(records) == SPEC.events
    assert counts[Kind.BAD] == pytest.approx(1_000, rel=0.2)
    assert counts[Kind.LATE] == pytest.approx(400, rel=0.3)
    assert counts[Kind.DUPLICATE] + counts[Kind.CONFLICTING] == pytest.approx(1_000, rel=0.2)


def test_without_shares_all_is_good() -> None:
    spec = replace(SPEC, events=500, bad=0, late=0, duplicates=0)
    assert {record.kind for record in usage_stream(spec)} == {Kind.GOOD}


def test_few_teams_do_most_of_the_work_and_some_work_for_two_orgs(records: list[SimulatedRecord]) -> None:
    events = [usage(record) for record in of(records, Kind.GOOD)]
    work = Counter(event.team_id for event in events)
    assert work.most_common(1)[0][1] > 10 * sorted(work.values())[len(work) // 2]
    assert len({partition_for(team.encode(), 8) for team in work}) == 8
    orgs: dict[str, set[str | None]] = {}
    for event in events:
        orgs.setdefault(event.team_id, set()).add(event.org_id)
    assert {len(each) for each in orgs.values()} == {1, 2}
    assert {event.data.currency for event in events} == {"USD", "AI"}


def test_costs_use_all_twelve_decimals_and_follow_tokens(records: list[SimulatedRecord]) -> None:
    events = [usage(record) for record in of(records, Kind.GOOD)]
    assert any(event.data.cost_usd % Decimal("0.00000000001") for event in events)
    assert {event.data.status for event in events} == {"success", "error", "timeout", "rate_limited"}
    assert any(event.data.cache_hit for event in events)


def test_teams_of_a_directory_come_first_and_sometimes_without_their_org() -> None:
    spec = replace(SPEC, events=4_000, teams=5, directory={"team_known": "org_known"}, bad=0)
    events = [usage(record) for record in usage_stream(spec)]
    known = [event.org_id for event in events if event.team_id == "team_known"]
    assert len(known) > len(events) / 4
    assert None in known
    assert all(event.org_id for event in events if event.team_id != "team_known")


def test_times_may_be_given_one_by_one() -> None:
    stream = usage_stream(SPEC, iter([NOW_MS, NOW_MS + HOUR_MS]))
    assert [NOW_MS - usage(record).at_ms < 60_000 for record in stream] == [True, True]


def test_a_stream_goes_on_where_the_topic_ends() -> None:
    half = NOW_MS - 6 * HOUR_MS
    newest = [r.value for r in usage_stream(replace(SPEC, end_ms=half, events=50, bad=0, late=0)) if r.value]
    more = continued(SPEC, [*newest, b"poison", json.dumps({"id": 1}).encode()])
    assert half - 60_000 < more.start_ms <= half
    assert more.events == pytest.approx(SPEC.events / 2, rel=0.01)
    assert continued(SPEC, []) == SPEC


@pytest.mark.parametrize("one", STREAMS, ids=lambda one: one.topic)
def test_another_run_has_the_same_teams_and_other_ids(one: Simulated) -> None:
    """The third record of a run may be days late. With the id of the last run, which is forgotten, it counts twice."""
    spec = replace(SPEC, events=3_000, bad=0, duplicates=0, late=0.2)

    def events(run: int) -> list[dict[str, Any]]:
        records = one.stream(replace(spec, run=run), history(spec))
        return [json.loads(record.value) for record in records if record.value]

    first, again, second = events(0), events(0), events(7)
    assert first == again
    assert not {event["id"] for event in first} & {event["id"] for event in second}
    who = [{(event.get("org_id"), event.get("team_id")) for event in run} for run in (first, second)]
    assert len(who[0] & who[1]) > len(who[0] | who[1]) / 2


def test_a_stopped_stream_ends() -> None:
    stop = threading.Event()
    stop.set()
    assert list(Pace(0, None, None, stop).spread(range(10), 0)) == []
    assert list(Pace(1, None, None, stop).spread(range(10), 1)) == []

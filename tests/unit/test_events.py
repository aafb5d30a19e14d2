"""Where is my event? The pure parts: what an id tells, what became of a record, what a chunk remembers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from letters_fake import letter
from plain_seen import SeenIds
from usage_log import value

from streamapp.cli.events import _show_list
from streamapp.dead_letters.done import Done, Receipt
from streamapp.events import fate
from streamapp.events.event import Event, event_of, is_called
from streamapp.events.listing import Listing, between
from streamapp.events.log import within
from streamapp.events.names import moment_of, place_of, uuid_of, written
from streamapp.events.trace import Sighting
from streamapp.facts.events import WindowFacts
from streamapp.kafka.log.reader import Record, Span
from streamapp.lane.ids import CompactSeen
from streamapp.meters.places import place
from streamapp.schemas.values.ulid import event_id
from streamapp.store.ids import ids_key, pack_ids
from tables.outcome import Position

HOUR_MS = 3_600_000
AT_MS = 1_737_100_800_000  # 2025-01-17T08:00:00Z


def record(offset: int = 7, raw: bytes | None = None, topic: str = "llm_usage", **more: Any) -> Record:
    body = value("evt_a", AT_MS, "team_a", "org_a", cost="0.25") if raw is None else raw
    return Record(topic, 3, offset, AT_MS + 900, b"team_a", body, **more)


def window(state: Any, *stated: tuple[int, int], due_ms: int | None = None) -> WindowFacts:
    """`stated`: the last offset that each revision includes."""
    texts = tuple(
        f'{{"id":"bill_{number}","timestamp":"2025-01-17T09:05:00.000Z","data":{{"revision":{number},'
        f'"coverage":{{"first_offset":{first},"last_offset":{last}}}}}}}'
        for number, (first, last) in enumerate(stated)
    )
    return WindowFacts(3, state, ("org_a", "team_a", "USD"), AT_MS, AT_MS + HOUR_MS, due_ms, texts)


def test_an_id_tells_when_it_was_made() -> None:
    made = event_id(AT_MS, bytes(10))
    assert moment_of(made) == moment_of(made.removeprefix("evt_")) == AT_MS
    raw = f"{AT_MS:012x}7abc8{'0' * 15}"
    uuid = f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
    assert moment_of(uuid) == AT_MS
    assert uuid_of(uuid) is not None
    for none in (
        "",
        "evt_" + "0" * 10 + "Z" * 16,
        "request-4711",
        "evt_",
        made.lower(),
        made + "0",
        "550e8400-e29b-41d4-a716-446655440000",
        "日本",
    ):
        assert moment_of(none) is None, none


def test_a_place_is_written_as_it_is_read() -> None:
    assert place_of(" llm_usage[3]@31617 ") == ("llm_usage", 3, 31617)
    assert written(("llm_usage", 3, 31617)) == "llm_usage[3]@31617"
    assert [place_of(text) for text in ("llm_usage", "a[b]@1", "x[1]@", "x[1]@-1")] == [None] * 4


def test_a_record_is_read_as_the_groups_judge_it() -> None:
    event = event_of(record(headers=(("hanzo-letter", b"evt_letter"),)))
    assert (event.id, event.names, event.tokens, event.letter) == (
        "evt_a",
        ("org_a", "team_a", "USD"),
        15,
        "evt_letter",
    )
    assert str(event.cost) == "0.250000000000"
    wrong = event_of(record(raw=value("evt_a", AT_MS).replace(b'"total_tokens":15', b'"total_tokens":9')))
    assert (wrong.names, wrong.refusal.partition(":")[0]) == ((), "tokens_mismatch")
    for raw in (b"", b"\xff", b"[]", b"{", b'{"id":5}'):
        assert event_of(record(raw=raw)).id == ""


def test_a_captured_event_has_two_names() -> None:
    raw = b'{"id":"evt_a","team_id":"team_a","data":{"event":"signed_up","uuid":"019-7","distinct_id":"u"}}'
    one = record(raw=raw, topic="events_plugin_ingestion")
    assert dict(event_of(one).details) == {"event": "signed_up", "uuid": "019-7", "distinct_id": "u"}
    assert [is_called(one, name) for name in ("evt_a", "019-7", "signed_up", "\ud800")] == [True, True, False, False]
    assert is_called(record(raw=raw.replace(b"evt_a", b"evt\\u005fa")), "evt_a")
    assert not is_called(record(raw=raw), "019-7"), "the uuid is that of a captured event"
    assert not is_called(record(raw=b"{"), "evt_a")


def test_a_list_of_captured_events_speaks_of_no_money(capsys: pytest.CaptureFixture[str]) -> None:
    raw = b'{"id":"evt_a","team_id":"team_a","data":{"event":"signed_up","uuid":"019-7","distinct_id":"u"}}'
    captured = event_of(record(raw=raw, topic="events_plugin_ingestion"))
    _show_list(
        Listing(
            "events_plugin_ingestion", [Sighting(captured, fate.kept(replace(captured, refusal=""), 10**9))], 1, 12
        ),
        False,
    )
    printed = capsys.readouterr().out
    assert ["signed_up" in printed, "kept" in printed, "1 event; 12 records read" in printed] == [True] * 3
    assert not [word for word in ("cost", "call", "counted") if word in printed]
    called = event_of(record())
    _show_list(Listing("llm_usage", [Sighting(called, fate.in_flight(called, 7))], 1, 12), False)
    printed = capsys.readouterr().out
    assert "1 event, 0 counted; 12 records read" in printed
    assert "0.250000000000 USD" in printed


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        (window("open", due_ms=AT_MS + HOUR_MS + 300_000), "counted", "closes when event time reaches 09:05 UTC"),
        (window("pending", due_ms=AT_MS + 300_000), "pending", "billed when event time reaches 08:05 UTC"),
        (window("pending", (0, 6), due_ms=AT_MS), "pending", "late"),
        (window("pending", (0, 7), due_ms=AT_MS), "billed", "billed"),
        (window("stated", (0, 9)), "billed", "and billed."),
        (window("stated", (0, 6), (0, 7)), "billed", "revision 1, as late usage"),
        (window("stated", (0, 6)), "unknown", "no statement kept here includes it"),
        (window("unknown"), "unknown", "does not answer"),
        (None, "unknown", "past retention"),
    ],
)
def test_what_became_of_a_record(facts: WindowFacts | None, state: str, words: str) -> None:
    found = fate.counted(event_of(record()), facts)
    assert found.state == state
    assert words in found.sentence


def test_what_became_of_a_refused_record() -> None:
    one, done = letter(0), Done()
    assert fate.refused(one, done).state == "refused"
    done.add(Receipt(one.id, "redriven", 5, one.record, ("llm_usage", 3, 4711)))
    sent = fate.refused(one, done)
    assert (sent.state, [link.id for link in sent.links]) == ("sent again", [one.id, "llm_usage[3]@4711"])
    done.add(Receipt(one.id, "dropped", 5, one.record, reason="a test"))
    assert fate.refused(one, done).sentence.endswith("was dropped: a test.")


def test_duplicates_and_records_on_their_way() -> None:
    event = event_of(record())
    assert fate.duplicate(event, ("llm_usage", 3, 2)).links[0].id == "llm_usage[3]@2"
    assert fate.in_flight(event, 7).sentence == "billing-agg has not read it yet: 1 record to go."
    captured: Event = replace(event, at=("events_plugin_ingestion", 1, 40), refusal="")
    assert [fate.kept(captured, position).state for position in (None, 40, 41)] == ["unknown", "in flight", "kept"]


def test_reads_are_bounded_and_short_spans_leave_their_share() -> None:
    asked = {0: Span(0, 1_000_000), 1: Span(5, 8), 2: Span(0, 1_000_000), 3: Span(9, 9)}
    found = within(asked, 100)
    assert found == {3: Span(9, 9), 1: Span(5, 8), 0: Span(0, 48), 2: Span(0, 49)}


class Rows(dict[bytes, bytes]):
    """A store."""


def task(seen: Any, rows: Rows, position: int) -> Any:
    return SimpleNamespace(memory=SimpleNamespace(seen=seen, position=Position(position, 0)), store=rows)


@pytest.mark.parametrize("make", [CompactSeen, SeenIds])
def test_a_chunk_remembers_its_ids(make: Any) -> None:
    seen, rows = make(b"s" * 16), Rows()
    for chunk in range(0, 500, 5):
        for offset in range(chunk, chunk + 5):
            seen.add(f"id-{offset}", b"{}", (1 + chunk % 3) * HOUR_MS)
        stored = seen.keep(chunk)
        assert stored is not None
        rows[ids_key(chunk)] = pack_ids(stored)

    def asked(name: str, start: int | None) -> Any:
        found = asyncio.run(place(3, task(seen, rows, 500), name, start))
        assert found is not None
        return found.known, found.chunk

    assert asked("id-0", None) == asked("id-4", 0) == (True, 0)
    assert asked("id-499", None) == (True, 495)
    assert asked("id-250", 251) == (True, 250)
    assert asked("id-500", None) == asked("", None) == (False, None)
    assert asked("id-0", 5_200) == (True, None)  # the chunk is before those that were searched
    assert seen.chunks(None, 2) == [495, 490]
    assert seen.chunks(11, 2) == [15, 20]


def test_ids_under_another_secret_are_found_and_a_row_that_is_not_committed_is_not() -> None:
    before, seen, rows = CompactSeen(b"b" * 16), CompactSeen(b"s" * 16), Rows()
    before.add("moved", b"{}", HOUR_MS)
    stored = before.keep(40)
    assert stored is not None
    rows[ids_key(40)] = pack_ids(stored)
    seen.restore(40, stored, 0)
    seen.add("new", b"{}", HOUR_MS)
    assert seen.keep(50) is not None
    moved, new = (asyncio.run(place(0, task(seen, rows, 60), name, None)) for name in ("moved", "new"))
    assert moved is not None
    assert new is not None
    assert (moved.chunk, new.known, new.chunk) == (40, True, None)


@pytest.mark.parametrize(
    ("from_ms", "until_ms", "expected"),
    [
        (None, None, (9 * HOUR_MS, 10 * HOUR_MS)),
        (0, None, (0, 10 * HOUR_MS)),
        (None, 5 * HOUR_MS, (4 * HOUR_MS, 5 * HOUR_MS)),
        (1, 2, (1, 2)),
    ],
)
def test_a_time_without_an_end_goes_on_until_now(
    from_ms: int | None, until_ms: int | None, expected: tuple[int, int]
) -> None:
    assert between(from_ms, until_ms, 10 * HOUR_MS) == expected

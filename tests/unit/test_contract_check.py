"""`contract check` finds each planted fault of a producer, names it, and has nothing against a right one."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import pytest

from streamapp.cli.contract import lines, of_source
from streamapp.contract.check import AHEAD, BEHIND, FLOAT, KEY, PARTITIONER, REUSED, TWICE, Check, Finding, Seen
from streamapp.contract.samples import USAGE
from streamapp.contract.vectors import AT_MS
from streamapp.errors import Refused
from streamapp.schemas.judging.rejected import Reason
from streamapp.topics.partitioner import murmur2, partition_for
from streamapp.topics.registry import topic

PARTITIONS = 8
TEAMS = [f"team_{number}".encode() for number in range(40)]


def event(team: bytes, number: int = 0) -> bytes:
    return USAGE[0].value.replace(b"team_abc123", team).replace(b"V0W", b"%03d" % number)


def good() -> list[Seen]:
    """An event of each team, where and when it belongs."""
    return [
        Seen(partition_for(team, PARTITIONS), number, AT_MS + 500, team, event(team, number))
        for number, team in enumerate(TEAMS)
    ]


def found(records: list[Seen]) -> list[Finding]:
    check = Check(topic("llm_usage"), PARTITIONS)
    for one in records:
        check.look(one)
    assert check.sources.total() == len(records)
    return check.findings()


def test_a_right_producer_has_no_faults() -> None:
    assert found(good()) == []


def changed(old: bytes, new: bytes) -> Callable[[Seen], Seen]:
    return lambda seen: seen._replace(value=(seen.value or b"").replace(old, new))


PLANTED: dict[str, tuple[str, Callable[[Seen], Seen]]] = {
    "a sum of floats": (FLOAT, changed(b"0.0038", repr(0.1 + 0.2).encode())),
    "a small float": (FLOAT, changed(b"0.0038", repr(0.0016150000000000001).encode())),
    "more digits than a context has": (FLOAT, changed(b"0.0038", b"0.1" + 40 * b"0" + b"1")),
    "a frame": (Reason.FRAMED_JSON, lambda seen: seen._replace(value=b"\0\0\0\0\7" + (seen.value or b""))),
    "a cost as text": (Reason.INVALID_COST, changed(b"0.0038", b'"0.0038"')),
    "the org as key": (KEY, lambda seen: seen._replace(key=b"org_hanzo", partition=partition_for(b"org_hanzo", 8))),
    "a clock ahead": (AHEAD, lambda seen: seen._replace(timestamp_ms=AT_MS - 600_000)),
    "a zone behind": (BEHIND, lambda seen: seen._replace(timestamp_ms=AT_MS + 2 * 3_600_000)),
    "no record timestamp": (Reason.RECORD_TIMESTAMP_MISSING, lambda seen: seen._replace(timestamp_ms=-1)),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found_and_nothing_else(name: str) -> None:
    fault, spoil = PLANTED[name]
    records = good()
    records[7] = spoil(records[7])
    (one,) = found(records)
    assert (one.fault, one.records, one.offset, one.partition) == (fault, 1, 7, records[7].partition)
    assert one.source == ("" if fault == Reason.FRAMED_JSON else "llm-gateway")


def fnv(key: bytes) -> int:
    value = 0x811C9DC5
    for byte in key:
        value = (value ^ byte) * 0x01000193 % 2**32
    return abs(value - 2**32 if value >= 2**31 else value) % 7


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("CRC32, which librdkafka", lambda key: crc32(key) % 7),
        ("FNV-1a, which sarama", fnv),
        ("murmur2 without Java's mask", lambda key: murmur2(key) % 7),
        ("set the producer's partitioner to murmur2", lambda key: sum(key) % 7),
    ],
)
def test_another_partitioner_is_named(words: str, place: Callable[[bytes], int]) -> None:
    check = Check(topic("llm_usage"), 7)  # of a power of two the last one is right
    for seen in good():
        check.look(seen._replace(partition=place(seen.key or b"")))
    (one,) = check.findings()
    assert one.fault == PARTITIONER
    assert one.records > 10
    assert words in one.sentence


def test_ids_that_repeat_are_told_apart() -> None:
    first, second, *_ = good()
    other = first._replace(offset=50, value=(first.value or b"").replace(b'"stream":true', b'"stream":false'))
    assert [(one.fault, one.offset) for one in found([first, second, first._replace(offset=40), other])] == [
        (REUSED, 50), (TWICE, 40),
    ]  # fmt: skip


@pytest.mark.parametrize("number", [b"1e9999999", b"1e-9999999", b"1" + 20 * b"0", b"0e9999999", b"0." + 40 * b"0"])
def test_no_exponent_is_too_far(number: bytes) -> None:
    one, *_ = good()
    faults = {one.fault for one in found([changed(b"0.0038", number)(one)])}
    assert faults <= {FLOAT, Reason.INVALID_COST}
    assert (FLOAT in faults) == (number == b"1e-9999999")


@pytest.mark.parametrize("source", [b"null", b"7", b'["llm-gateway"]', b"1e9999999"])
def test_a_source_that_is_no_text_is_no_source(source: bytes) -> None:
    (first, *_), check = good(), Check(topic("llm_usage"), PARTITIONS)
    check.look(changed(b'"llm-gateway"', source)(first))
    assert list(check.sources) == [""]


def looked(*changes: Callable[[Seen], Seen]) -> Check:
    """At an event for each change."""
    check = Check(topic("llm_usage"), PARTITIONS)
    for change, one in zip(changes, good(), strict=False):
        check.look(change(one))
    return check


def named(name: bytes) -> Callable[[Seen], Seen]:
    return changed(b'"llm-gateway"', b'"' + name + b'"')


def test_what_does_not_tell_its_source_may_be_anybodys() -> None:
    check = looked(named(b"gateway"), named(b"other"), lambda seen: seen._replace(value=b"\0\0\0\0\7{}"))
    records, found = of_source(check, "llm_usage", "gateway")
    assert (records, [(one.source, one.fault) for one in found]) == (2, [("", Reason.FRAMED_JSON)])
    assert of_source(check, "llm_usage", "")[0] == 3
    with pytest.raises(Refused, match=r"none is of gatewy; 1 do not tell .* sources there: gateway, other\. Leave out"):
        of_source(check, "llm_usage", "gatewy")


def test_a_terminal_gets_no_controls_and_no_half_pairs() -> None:
    check = looked(lambda seen: named(rb"\u001b[2J\ud800")(changed(b"0.0038", b"0.00380000000000001")(seen)))
    told = "\n".join(lines(check, "llm_usage", check.findings()))
    assert told.splitlines()[0] == r"\x1b[2J\ud800  float_money  1 of 1 records"
    assert told.encode()

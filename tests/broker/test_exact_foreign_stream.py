"""A stream written by other hands: every kind of disorder and poison, and exactly the bills that an oracle expects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiokafka.partitioner import murmur2
from oracle import GRACE, HOUR, MARK, MINUTE, Oracle
from verify_logs import text
from workers import PARTITIONS, USAGE, Letter, Sent, bodies, cluster

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms

TEAMS = [f"team_{number:02d}" for number in range(30)] + ["tëam-ünï/코드", "t" * 250]
ORGS = ("org_one", "org_two")
HOURS = 5
EVENTS = 4000
DIRECTORY = {"team_listed": "org_listed"}


def home(team: str) -> int:
    return int((murmur2(team.encode()) & 0x7FFFFFFF) % PARTITIONS)


def written(at_ms: int, rng: Random) -> str:
    """The moment as some producer would write it."""
    shape = rng.randrange(8)
    if shape == 0:
        return text(at_ms + 2 * HOUR)[:-1] + "+02:00"
    if shape == 1:
        return text(at_ms - 11 * HOUR - 30 * MINUTE)[:-1] + "-11:30"
    if shape == 2:
        return text(at_ms)[:-1] + "999999Z"  # cut, never rounded into the next hour
    if shape == 3 and at_ms % 1000 == 0:
        return text(at_ms)[:-5] + "Z"
    if shape == 4 and at_ms % MINUTE == 0:
        return text(at_ms - MINUTE)[:17] + "60.750Z"
    return text(at_ms)


class Hand:
    """Writes events, and knows why each broken one is refused."""

    def __init__(self, seed: int, base_ms: int) -> None:
        self.rng = Random(seed)
        self.base_ms = base_ms
        self.poison: dict[bytes, str] = {}
        self.sent: list[Sent] = []
        self._ids = 0

    def event(self, at_ms: int, team: str, **change: Any) -> dict[str, Any]:
        rng = self.rng
        self._ids += 1
        prompt, completion = rng.randrange(3000), rng.randrange(900)
        data: dict[str, Any] = {"provider": rng.choice(["openai", "a,b"]), "model": rng.choice(["m-1", 'm\u00e9"2'])}
        data |= {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        data |= {"cost_usd": "COST", "unknown": {"deep": [1, None]}}
        data |= rng.choice([{}, {"status": "success"}, {"status": "error"}, {"status": None, "cache_hit": True}])
        data |= rng.choice([{}, {}, {"currency": "USD"}, {"currency": "AI"}])
        envelope = {"schema": "hanzo.stream.v1", "id": f"hand-{self._ids}", "type": "llm.usage.completed"}
        envelope |= {"source": "other", "timestamp": written(at_ms, rng), "team_id": team, "org_id": rng.choice(ORGS)}
        return {**envelope, "data": data, **change}

    def written(self, event: dict[str, Any], cost: str | None = None) -> bytes:
        rng = self.rng
        costs = ["0", "1e-12", "0.000000000001", "12.5E-3", "7", f"{rng.random():.12f}", "999999999999.999999999999"]
        raw = json.dumps(event, ensure_ascii=rng.random() < 0.5)
        return raw.replace('"COST"', cost or rng.choice(costs)).encode()

    def good(self, at_ms: int, team: str) -> Sent:
        return Sent(team.encode(), self.written(self.event(at_ms, team)))

    def again(self) -> Sent:
        """Something sent before, in the same bytes or in others."""
        key, value, partition, record_ms = self.rng.choice(self.sent[-400:])
        if value and b"unknown" in value and value not in self.poison and self.rng.random() < 0.3:
            value = value.replace(b"unknown", b"unheard")
        return Sent(key, value, partition, record_ms)

    def broken(self, at_ms: int) -> Iterator[Sent]:
        """One of each kind that is broken by itself, or only where it stands."""
        team = self.rng.choice(TEAMS)
        key = team.encode()

        def whole(cost: str | None = None, **change: Any) -> bytes:
            return self.written(self.event(at_ms, team, **change), cost)

        data = self.event(at_ms, team)["data"]
        deep = whole()[:-1] + b',"deep":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
        wide = whole()[:-1] + b',"wide":"' + b"x" * 1_500_000 + b'", }'
        first, second = whole()[:-1] + b',"x":[{}', b'{"y":1}]}'
        for value, reason in (
            (whole()[:-7], "malformed_json"),
            (whole().replace(b'"other"', b'"oth\xff\xfeer"'), "malformed_json"),
            (b"\xef\xbb\xbf" + whole(), "malformed_json"),
            (deep, "malformed_json"),
            (wide, "malformed_json"),
            (first, "malformed_json"),
            (second, "malformed_json"),
            (whole() + whole(), "malformed_json"),
            (b"[" + whole() + b"]", "invalid_envelope"),
            (whole(schema="hanzo.stream.v2"), "invalid_envelope"),
            (whole(id="with space"), "invalid_envelope"),
            (whole(timestamp="2025-02-30T10:00:00Z"), "invalid_envelope"),
            (whole(type="llm.usage.started"), "unknown_type"),
            (whole(data={**data, "model": 7}), "invalid_data"),
            (whole(data={**data, "total_tokens": data["total_tokens"] - 1}), "tokens_mismatch"),
            (whole("-0.1"), "invalid_cost"),
            (whole("NaN"), "invalid_cost"),
            (whole("1000000000000000000"), "invalid_cost"),
        ):
            self.poison[value] = reason
            yield Sent(key, value)
        yield Sent(key, None)
        yield Sent(key, b"")
        yield Sent(None, whole(), 3)
        yield Sent(b"not-the-team", whole())
        yield Sent(key, whole(), (home(team) + 1) % PARTITIONS)
        yield Sent(b"team_nobody", self.written(self.event(at_ms, "team_nobody", org_id=None)))
        yield Sent(b"team_listed", self.written(self.event(at_ms, "team_listed", org_id=None)))
        for ahead_ms in (GRACE, GRACE + 1):  # the last moment that is taken, and the first that is not
            yield Sent(key, whole(timestamp=text(at_ms)), None, at_ms - ahead_ms)
        yield Sent(key, whole(timestamp=text(at_ms - 20 * 24 * HOUR)))

    def stream(self) -> Iterator[Sent]:
        """A few hours, each a little out of order, with late events and repetitions."""
        for number in range(EVENTS):
            now_ms = self.base_ms + HOURS * HOUR * number // EVENTS
            dice = self.rng.random()
            if dice < 0.06 and self.sent:
                made = self.again()
            elif dice < 0.12:
                late_ms = self.rng.choice((4 * HOUR, 4 * HOUR, 13 * 24 * HOUR))
                made = self.good(now_ms - self.rng.randrange(1, late_ms), self.rng.choice(TEAMS[:12]))
            elif dice < 0.25:  # at a mark, or a millisecond beside it
                near_ms = now_ms // MARK * MARK + self.rng.choice((-1, 0, 1, MARK - 1))
                made = self.good(near_ms, self.rng.choice(TEAMS))
            else:
                made = self.good(now_ms - self.rng.randrange(40_000), self.rng.choice(TEAMS))
            yield self.note(made)
            if number in (EVENTS // 3, EVENTS * 9 // 10):
                yield from map(self.note, self.broken(now_ms))

    def open_hour(self, now_ms: int) -> Iterator[Sent]:
        """The present hour, which closes everything before it on most partitions; one stays behind."""
        for team in TEAMS:
            if home(team) != home(TEAMS[0]):
                yield self.note(self.good(now_ms // HOUR * HOUR, team))
        for _ in range(60):
            yield self.note(self.good(now_ms - self.rng.randrange(HOURS * HOUR), self.rng.choice(TEAMS)))

    def note(self, sent: Sent) -> Sent:
        self.sent.append(sent)
        return sent


@pytest.mark.long
def test_a_stream_written_by_other_hands_is_billed_as_the_oracle_says(ready_broker: Broker, tmp_path: Path) -> None:
    now_ms = wall_ms()
    hand = Hand(7, now_ms // HOUR * HOUR - (HOURS + 3) * HOUR)
    listed = tmp_path / "directory.toml"
    listed.write_text('[teams.team_listed]\norg = "org_listed"\n')
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start(worker__chunk_records=60, directory=listed)
        stack.send(hand.stream())
        stack.send(hand.open_hour(now_ms))
        stack.drain(worker)
        oracle = Oracle(hand.poison, DIRECTORY)
        log = stack.read(USAGE)
        oracle.read(log)
        compare(stack.read("billing_events"), oracle)
        assert worker.stop() == 0

        oracle.idle(now_ms, {})
        worker = stack.start(billing__idle_seconds=0.3, directory=listed)
        stack.wait(lambda: len(stack.bills()) >= len(oracle.bills), 30, worker)
        stated = {bill["id"]: bill["timestamp"] for bill in bodies(stack.bills())}
        oracle = Oracle(hand.poison, DIRECTORY)
        oracle.read(log)
        oracle.idle(wall_ms(), stated)  # an hour may have ended since the first event
        bills = compare(stack.read("billing_events"), oracle)

        first = Counter(
            (bill["org_id"], bill["team_id"], bill["data"]["currency"], bill["data"]["period_start"])
            for bill in bodies(bills)
            if bill["data"]["revision"] == 0
        )
        assert set(first.values()) == {1}
        assert max(bill["data"]["revision"] for bill in bodies(bills)) >= 2
        at = {(record.partition, record.offset): record for record in log}
        assert stack.letters() == sorted(
            Letter(*place, reason, at[place].key, at[place].value) for place, reason in oracle.letters.items()
        )
        assert {*oracle.letters.values()} == {*hand.poison.values()} | {
            "empty_value",
            "wrong_partition",
            "timestamp_in_future",
            "org_unresolved",
            "too_late",
            "conflicting_duplicate",
        }
        report = stack.verify(listed)
        assert report.numbers["duplicates"] > 50
        assert report.numbers["events_waiting"] > 0, "the present hour is open"


def compare(records: list[Any], oracle: Oracle) -> list[bytes]:
    """Byte for byte, and in the order in which each partition states them. Returns the values."""
    found = [(record.partition, record.key, record.value) for record in records]
    expected = [((murmur2(bill.key) & 0x7FFFFFFF) % 4, bill.key, bill.value) for bill in oracle.bills]
    assert sorted(found) == sorted(expected)
    for source in range(PARTITIONS):
        mark = b'"topic":"llm_usage","partition":%d,' % source
        for target in range(4):
            of_source = [value for partition, _, value in found if partition == target and mark in value]
            assert of_source == [value for partition, _, value in expected if partition == target and mark in value]
    return [value for _, _, value in found]

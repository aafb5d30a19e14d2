"""What arrives: mostly in order, and everything else that producers do to a log."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from usage_log import Rec, value

from streamapp.topics.partitioner import partition_for
from tables.window import HOUR_MS, MINUTE_MS

TEAMS = ("team_a", "team_b", "team_listed", "team_c", "team_d")
HOMES = {team: partition_for(team.encode(), 2) for team in TEAMS}
STRANGER = "team_c"  # at home elsewhere than team_a

KINDS = {
    "usual": 70,
    "late": 12,
    "repeated": 9,
    "conflicting": 3,
    "poison": 3,
    "future": 1,
    "homeless": 2,
    "orgless": 2,
}


class Traffic:
    """A seeded source of records. Knows the logs it wrote to, to repeat and to contradict what is there."""

    def __init__(self, rng: Random, logs: list[list[Rec]]) -> None:
        self._rng = rng
        self._logs = logs
        self._ids = 0

    def produce(self, now_ms: int) -> None:
        """Append one record to one of the logs."""
        rng = self._rng
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        team = rng.choice(list(HOMES))
        number = HOMES[team] % len(self._logs)
        log = self._logs[number]
        if kind in ("repeated", "conflicting") and log:
            self._append(number, self._again(rng.choice(log[-60:]), kind), now_ms)
            return
        ago_ms = rng.randrange(8 * HOUR_MS if kind == "late" else 3 * MINUTE_MS)
        at_ms = now_ms + rng.randrange(6, 90) * MINUTE_MS if kind == "future" else now_ms - ago_ms
        if rng.random() < 0.1:
            at_ms -= at_ms % (5 * MINUTE_MS)  # right on a mark
        record = self._usage(team, at_ms, None if kind == "orgless" or team == "team_listed" else "org_" + team[-1])
        if kind == "poison":
            record = replace(record, value=rng.choice([None, b"", b"{", b"null", (record.value or b"")[:-1]]))
        if kind == "homeless":
            record = replace(record, key=rng.choice([None, b"", STRANGER.encode() if team != STRANGER else b"team_a"]))
        self._append(number, record, now_ms)

    def finish(self, now_ms: int) -> None:
        """One record per log that closes every hour before it."""
        for team in ("team_a", "team_c")[: len(self._logs)]:
            self._append(HOMES[team] % len(self._logs), self._usage(team, now_ms, "org_last"), now_ms)

    def _usage(self, team: str, at_ms: int, org: str | None) -> Rec:
        rng = self._rng
        self._ids += 1
        content = value(
            f"id-{self._ids}",
            at_ms,
            team,
            org,
            cost=rng.choice(["0", "0.1", "0.000000000001", "123456789012345678.123456789012", "2.5"]),
            prompt=rng.randrange(1000),
            completion=rng.randrange(1000),
            currency=rng.choice(["USD", "USD", "USD", "AI"]),
            model=rng.choice(["gpt-4o", "o1"]),
            status=rng.choice(["success", "success", "error"]),
            cache_hit=rng.random() < 0.2,
        )
        return Rec(team.encode(), content, at_ms)

    def _again(self, record: Rec, kind: str) -> Rec:
        content = record.value
        if content and kind == "conflicting":
            content = content.replace(b'"prompt_tokens":', b'"other":1,"prompt_tokens":', 1)
        return replace(record, value=content)

    def _append(self, number: int, record: Rec, now_ms: int) -> None:
        log = self._logs[number]
        log.append(replace(record, offset=len(log), partition=number, timestamp=now_ms))

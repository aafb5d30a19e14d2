"""Which alerts a life of a group must raise, and which it may: from what happened to it, not from metrics or rules.

The thresholds are the standard's and the runbook's. A look asks Kafka several questions while things go on, so a truth
of its moment is a range. What lies within a range may be told either way; so may what docs/adr/0047-watch.md gives as
the watch's price.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from group_lives import Life, Log

NO, MAY, YES = 0, 1, 2
MINUTES = {"ConsumerLagGrows": 15, "GroupWithoutMembers": 1, "GroupCommitsNothing": 5}  # for how long it must be so
HOURS_24, HOURS_4 = 86_400, 14_400
ON_TIME_S = 900  # a group commits more often


class Range(NamedTuple):
    """A number is at least `low`, at most `high`."""

    low: float
    high: float

    def above(self, limit: float) -> int:
        return YES if self.low > limit else MAY if self.high > limit else NO

    def below(self, limit: float) -> int:
        return YES if self.high < limit else MAY if self.low < limit else NO


class Moment(NamedTuple):
    """A partition, at one moment of a look."""

    position: int
    end: int
    oldest_ms: int  # when what is at its position, or behind it, was written


@dataclass
class Place:
    """What the watch could know of a partition."""

    markers: int  # so many ends of transactions may stand behind its last record
    moments: list[Moment] = field(default_factory=list)
    start: int = 0  # as Kafka answered at the last look
    committed: int | None = None
    end: int = 0
    before: tuple[int | None, int] | None = None  # committed and end at the look before; None: it is the first one
    calm: int = 0  # looks in a row that found the same, and workers
    settled: bool = False  # nothing but ends of transactions is left, which the watch must have understood
    maybe_to: int = 0  # it may have taken what is below for that

    def see(self, log: Log, now_ms: int) -> None:
        position = log.position
        oldest_ms = now_ms if position >= log.end else log.first_ms(position)
        self.moments.append(Moment(position, log.end, oldest_ms))

    def unread(self, log: Log) -> Range:
        first, last = min(one.position for one in self.moments), max(one.position for one in self.moments)
        high = 0 if self.settled else max(one.end for one in self.moments) - first
        return Range(log.records(max(last, self.maybe_to), min(one.end for one in self.moments)), max(0, high))

    def to_loss_s(self, log: Log, retention_ms: int, now_ms: int) -> Range:
        oldest_ms = min(one.oldest_ms for one in self.moments)
        newest_ms = log.written_ms(max(one.position for one in self.moments)) or now_ms
        return Range((retention_ms + oldest_ms - now_ms) / 1000 - 1, (retention_ms + newest_ms - now_ms) / 1000)

    def learn(self, log: Log, runs: bool) -> bool:
        """After a look. Whether a commit was heard of."""
        same = self.before == (self.committed, self.end)
        heard = self.before is not None and self.committed is not None and self.committed != self.before[0]
        self.calm = self.calm + 1 if same and runs else 0
        self.settled = self.settled and same
        few = self.committed is not None and 0 < self.end - self.committed <= self.markers
        if self.before is None or self.committed != self.before[0]:
            self.maybe_to = 0
        elif few and runs:
            self.maybe_to = self.end
        if few and self.calm >= 4 and self.end == log.left and not log.records(self.committed or 0, self.end):
            self.settled = True
        self.before = self.committed, self.end
        return heard


class Oracle:
    """Follows a life from look to look."""

    def __init__(self, life: Life) -> None:
        self.life, self.places = life, [Place(life.markers) for _ in life.logs]
        self.heard_ms: int | None = None
        self.lag: Range | None = None  # at the look before, if that was a minute ago and whole
        self.lost = self.money_lost = NO
        self.priced = False  # whether workers have told this watch what an event costs, at a look before
        self.runs: dict[str, list[int]] = {}  # alert → for how many minutes it has been certain, and possible
        self.looked = False
        self.is_silent = self.may_be_silent = False  # has members and something to read, and was not seen to commit

    def forget(self) -> None:
        """The watch begins anew."""
        for place, log in zip(self.places, self.life.logs, strict=True):
            self.lost = max(self.lost, MAY) if self.looked and log.losses else self.lost
            place.before, place.settled, place.calm, place.maybe_to = None, False, 0, 0
        self.heard_ms = self.lag = None
        self.priced = False

    def begin(self) -> None:
        for place in self.places:
            place.moments.clear()

    def see(self, now_ms: int) -> None:
        for place, log in zip(self.places, self.life.logs, strict=True):
            place.see(log, now_ms)

    def blind(self) -> dict[str, int]:
        """A minute without a look."""
        self.lag = None
        return self._firing({})

    def judge(self, now_ms: int, members: Range, stable: bool, unstarted: bool) -> dict[str, int]:
        """Alert → whether it fires after a look whose questions were answered."""
        self.is_silent, self.may_be_silent = False, self.heard_ms is None and members.high > 0
        if self.life.trouble:
            return self.blind()
        seen = [one for one in zip(self.places, self.life.logs, strict=True) if (one[0].committed or 0) <= one[0].end]
        for place, log in seen:
            self._losses(place, log)
        heard = [place.learn(log, stable) for place, log in seen]
        self.looked = True
        self.heard_ms = now_ms if any(heard) else self.heard_ms
        unread = [place.unread(log) for place, log in seen]
        lag = Range(sum(one.low for one in unread), sum(one.high for one in unread))
        grows = NO if self.lag is None else YES if lag.low > self.lag.high else MAY if lag.high > self.lag.low else NO
        self.lag = lag if len(seen) == len(self.places) else None
        grows = grows if self.lag is not None else NO
        silent = self.heard_ms is None and not unstarted
        self.is_silent = silent and members.low > 0 and lag.low > 0
        self.may_be_silent = silent and members.high > 0 and lag.high > 0
        late = self.heard_ms is not None and now_ms - self.heard_ms > ON_TIME_S * 1000 and not unstarted
        now = {
            "ConsumerLagHigh": lag.above(100_000),
            "ConsumerLagCritical": lag.above(1_000_000),
            "ConsumerLagGrows": min(grows, lag.above(10_000)),
            "GroupWithoutMembers": min(members.below(1), lag.above(0)),
            "GroupCommitsNothing": lag.above(0) if late else NO,
        }
        return self._firing(now | self._loss(seen, unread, now_ms))

    def _loss(self, seen: list[tuple[Place, Log]], unread: list[Range], now_ms: int) -> dict[str, int]:
        found = {"RecordsExpireSoon": NO, "RecordsExpireNow": NO}
        for (place, log), one in zip(seen, unread, strict=True):
            if self.life.retention_ms is not None and one.high:
                left = place.to_loss_s(log, self.life.retention_ms, now_ms)
                for name, limit in (("RecordsExpireSoon", HOURS_24), ("RecordsExpireNow", HOURS_4)):
                    told = MAY if log.losses else min(one.above(0), left.below(limit))  # gone while it was dated
                    found[name] = max(found[name], told)
        return found

    def _losses(self, place: Place, log: Log) -> None:
        """Records that went unread, at the first look that can show it. A watch that begins does not know what a group
        had read before it was deleted."""
        if place.before is None and place.committed is None and log.was_read > place.start:
            self.lost = max(self.lost, MAY)
        for loss in [one for one in log.losses if one.upto <= place.start]:
            log.losses.remove(loss)
            if place.before is None:
                self.lost = max(self.lost, MAY if self.looked else NO)
            elif loss.committed != place.committed or loss.committed != place.before[0] or self.life.remade:
                self.lost = max(self.lost, MAY)  # the group went on behind it, or its offset is of a topic that is gone
            elif loss.records and (loss.offsets > place.markers or not place.maybe_to):
                self.lost = YES
                self.money_lost = YES if self.priced else self.money_lost
            elif not place.settled:
                self.lost = max(self.lost, MAY)

    def _firing(self, now: dict[str, int]) -> dict[str, int]:
        lost = max(self.lost, MAY) if self.life.remade else self.lost
        found = {"RecordsExpiredUnread": lost, "MoneyLost": max(min(lost, MAY), self.money_lost)}
        for name in ("ConsumerLagHigh", "ConsumerLagCritical", "RecordsExpireSoon", "RecordsExpireNow", *MINUTES):
            certain, possible = self.runs.get(name, [0, 0])
            told = now.get(name, NO)
            self.runs[name] = [certain + 1 if told == YES else 0, possible + 1 if told >= MAY else 0]
            needed = MINUTES.get(name, 0) + 1
            found[name] = YES if self.runs[name][0] >= needed else MAY if self.runs[name][1] >= needed else NO
        return found

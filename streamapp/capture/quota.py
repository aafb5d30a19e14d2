"""How much a team may send: a bucket of tokens that fills at its quota, one second of it deep."""

from __future__ import annotations

from math import ceil

BUCKETS_MAX = 100_000  # teams that are remembered; forgetting one only fills its bucket


class Buckets:
    """A bucket per name. Time comes in as seconds of a clock that never steps."""

    def __init__(self) -> None:
        self._levels: dict[str, tuple[float, float]] = {}

    def wait_s(self, name: str, per_second: float, count: int, now_s: float) -> int:
        """0 and take `count`, or take nothing and return the seconds after which it is worth trying again.

        A bucket with anything in it gives all that is asked for and owes the rest, so that a batch larger than the
        quota of a second passes, too; on average no more than the quota does.
        """
        level, then_s = self._levels.get(name, (per_second, now_s))
        level = min(per_second, level + (now_s - then_s) * per_second)
        if level <= 0:
            return max(1, ceil((1e-9 - level) / per_second)) if per_second > 0 else 60
        if len(self._levels) >= BUCKETS_MAX and name not in self._levels:
            self._levels.clear()
        self._levels[name] = (level - count, now_s)
        return 0

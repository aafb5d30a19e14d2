"""Who was in the group: a worker that leaves it stays known until somebody has seen that it is gone. Pure.

A rollout gives each worker another address, and so leaves as many gone as it replaces: a loss is made good, and stays
so, once the group has as many members as before it and each of its partitions has an owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from streamapp.facts.worker import GoneFacts

GONE_MAX = 64

Owners = Mapping[str, frozenset[int]]
"""Base URL → partitions."""


class Members:
    """The members of a group as one of them learns of them, rebalance by rebalance."""

    def __init__(self) -> None:
        self._now: dict[str, frozenset[int]] = {}
        self._gone: dict[str, GoneFacts] = {}
        self._before: dict[str, int] = {}  # who is gone → members of the group with it

    def are(self, owners: Owners, now_ms: int) -> None:
        """These are in the group now. Nobody at all is no news: this worker has just joined, or is leaving."""
        if not owners:
            return
        for url, partitions in self._now.items():
            if url not in owners:
                self._gone[url] = GoneFacts(url, now_ms, dict.fromkeys(sorted(partitions), ""))
                self._before[url] = len(self._now)
        for url in owners:
            self._gone.pop(url, None)
        while len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]
        self._now = dict(owners)
        owned = {number for partitions in owners.values() for number in partitions}
        for url, one in self._gone.items():
            if len(owners) >= self._before[url] and owned.issuperset(one.went_to):
                self._gone[url] = replace(one, replaced=True)

    def gone(self) -> tuple[GoneFacts, ...]:
        """Who left, the latest last, with who has its partitions now."""
        owner = {number: url for url, partitions in self._now.items() for number in partitions}
        return tuple(
            replace(one, went_to={number: owner.get(number, "") for number in one.went_to})
            for one in self._gone.values()
        )

    def mark_seen(self, url: str, at_ms: int) -> bool:
        """Whoever left at that moment or before is known to be gone. False: nobody such is remembered."""
        one = self._gone.get(url)
        if one is None or one.at_ms > at_ms:
            return False
        self._gone[url] = replace(one, seen=True)
        return True

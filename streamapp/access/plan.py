"""Want and have → plan. Pure, as `streamapp.topics.plan`: a list that a person can read before anything is done.

Entries carry no label in Kafka, so whose they are is told by their principal. `apply` adds what our principals lack.
`prune` takes away what they have too much. Entries of anybody else are shown, and never touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streamapp.access.acl import EVERYBODY, USER, Acl


@dataclass(frozen=True, slots=True)
class AccessPlan:
    """Entries by what becomes of them. `changes` are added by `apply`, `excess` is taken away by `prune`; `kept` is as
    it must be, `foreign` is of principals that are not ours."""

    changes: tuple[Acl, ...] = ()
    kept: tuple[Acl, ...] = ()
    excess: tuple[Acl, ...] = ()
    foreign: tuple[Acl, ...] = ()

    @property
    def everybody(self) -> tuple[Acl, ...]:
        """Foreign entries that are about our principals, too."""
        return tuple(acl for acl in self.foreign if acl.principal == EVERYBODY)

    @property
    def drifts(self) -> tuple[Acl, ...]:
        """What `apply` leaves for a person."""
        return self.excess + self.everybody

    @property
    def is_clean(self) -> bool:
        """Our principals may do what the registry says, and nothing else."""
        return not self.changes and not self.drifts


def plan(want: Iterable[Acl], users: Iterable[str], have: Iterable[Acl]) -> AccessPlan:
    """What makes the cluster match `want`. `users`: whose entries are ours."""
    want, have = tuple(want), sorted(set(have))
    ours, wanted, there = {USER + user for user in users}, frozenset(want), frozenset(have)
    return AccessPlan(
        changes=tuple(acl for acl in want if acl not in there),
        kept=tuple(acl for acl in want if acl in there),
        excess=tuple(acl for acl in have if acl.principal in ours and acl not in wanted),
        foreign=tuple(acl for acl in have if acl.principal not in ours),
    )

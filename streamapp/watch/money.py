"""What unread records are worth, in US dollars. Three sums that are never added: what the tables have read and not
stated, an estimate of what is not read, and an estimate of what was deleted unread. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from streamapp.topics.registry import GROUPS, Group
from streamapp.watch.lag import Series

CURRENCY = "USD"
STATED = "billing_events"


class Told(NamedTuple):
    """What all workers of a group say together: cost of what is open, and how many events that is."""

    open: Decimal
    events: int


class Money(NamedTuple):
    """Of a group and a topic. None: not known. `open` is exact; the others are records times the mean cost of an event
    that is open, as it was told last."""

    open: Decimal | None
    unread: Decimal | None
    lost: Decimal | None


class _Kept(NamedTuple):
    mean: Decimal | None = None
    expired: int = 0  # records that `lost` has
    lost: Decimal = Decimal(0)


Memory = Mapping[str, _Kept]
NOTHING: Memory = {}


def billing() -> tuple[Group, ...]:
    """The groups whose tables become statements."""
    return tuple(one for one in GROUPS if STATED in one.to)


def step(
    memory: Memory, series: Series, told: Mapping[str, Told | None], groups: Sequence[Group]
) -> tuple[Memory, dict[tuple[str, str], Money]]:
    """Group and topic → money, and what is remembered. `told` None: its workers do not all answer."""
    kept: dict[str, _Kept] = dict(memory)
    found = {}
    for group in groups:
        said, before = told.get(group.name), memory.get(group.name, _Kept())
        mean = said.open / said.events if said is not None and said.events else before.mean
        one, name = series.groups[group.name], group.topics[0]
        expired = sum(each.expired for each in one.partitions.values())
        kept[group.name] = before._replace(mean=mean)
        if mean is not None and expired > before.expired:
            lost = before.lost + (expired - before.expired) * mean
            kept[group.name] = _Kept(mean, expired, lost)
        unread = None if not one.partitions else one.lag(name) * mean if mean is not None else None
        whole = mean is not None or expired == before.expired
        found[group.name, name] = Money(
            None if said is None else said.open,
            Decimal(0) if one.partitions and not one.lag(name) else unread,
            kept[group.name].lost if whole and one.partitions else None,
        )
    return kept, found

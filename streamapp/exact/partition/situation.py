"""What Kafka says of partitions once they are ours, and whether the table belongs to it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from streamapp.errors import Misconfigured
from streamapp.exact.needs import Needs
from streamapp.exact.partition.restore import refuse_deleting
from streamapp.kafka.admin import Admin, Unsettled
from streamapp.store.position import StoredPosition
from streamapp.store.table import Table

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """The topic that a group's table is made from, and where the table's rows go."""

    group: str
    topic: str
    table: Table
    changelog: str
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    """What Kafka says, once the partitions are ours."""

    topic_id: str
    changelog_id: str
    partitions: int
    outputs: dict[str, int]
    committed: dict[int, int]
    starts: dict[int, int]
    ends: dict[int, int]


def survey(source: Source, numbers: Iterable[int], admin: Admin) -> Situation:
    """Ask Kafka about the source, the outputs and the group. Blocks."""
    names = (source.topic, source.changelog, *source.outputs)
    states = admin.describe(names, settings_of=(source.changelog,))
    Needs(names, lambda: frozenset(states)).demand()
    topic = states[source.topic]
    if states[source.changelog].partitions != topic.partitions:
        raise Misconfigured(
            f"{source.topic} has {topic.partitions} partitions, its table's changelog {source.changelog} has "
            f"{states[source.changelog].partitions}: {source.table.how_to_grow}"
        )
    refuse_deleting(source.changelog, states[source.changelog].configs)
    outputs = {name: states[name].partitions for name in source.outputs}
    ids = topic.topic_id, states[source.changelog].topic_id
    return situated(source, numbers, admin, ids, topic.partitions, outputs)


def situated(
    source: Source, numbers: Iterable[int], admin: Admin, ids: tuple[str, str], partitions: int, outputs: dict[str, int]
) -> Situation:
    """The topics are known, the source and its changelog by their `ids`; ask about offsets. Blocks."""
    mine = [(source.topic, number) for number in numbers]
    return Situation(
        *ids,
        partitions,
        outputs,
        starts=_by_number(admin.start_offsets(mine)),
        ends=_by_number(admin.end_offsets(mine)),
        committed=_by_number(_committed(admin, source.group, mine)),
    )


def _committed(admin: Admin, group: str, mine: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Settled offsets. One that does not settle is not waited for any longer: every transaction of these partitions has
    ended, so it is of a client that is not ours, or came behind its transaction's end, and will never be committed."""
    try:
        return admin.committed(group, mine, settled=True)
    except Unsettled as error:
        log.warning("%s; going on from those that are committed", error)
        return admin.committed(group, mine)


def _by_number(offsets: Mapping[tuple[str, int], int]) -> dict[int, int]:
    return {number: offset for (_, number), offset in offsets.items()}


def check(source: Source, number: int, position: StoredPosition | None, situation: Situation) -> None:
    """Refuse a table that does not belong to the topic as it is; say so when offsets were put back (decision 14)."""
    where, group = f"{source.topic}-{number}", source.group
    committed, start = situation.committed.get(number), situation.starts[number]
    tool = f"kafka-consumer-groups --bootstrap-server … --group {group} --topic {source.topic}:{number} --execute"
    if position is None:
        if committed is not None and committed > start:
            raise Misconfigured(
                f"group {group} has committed offset {committed} of {where}, but its table has counted nothing: the "
                f"changelog {source.changelog} was lost or the group was set ahead; put the group back with "
                f"`{tool} --reset-offsets --to-earliest`"
            )
        return
    if position.topic_id != situation.topic_id:
        raise Misconfigured(
            f"{source.topic} was deleted and created again, or this is another cluster: its offsets start over and the "
            f"table {source.table.name} counted other records; restore the topic, or begin a new "
            f"table: without {source.changelog}, the group and {source.table.name}'s rows on every host; see "
            f"docs/runbook.md, A new table"
        )
    if position.partitions < 0:
        raise Misconfigured(
            f"the table {source.table.name} is being moved to {-position.partitions} partitions, and the move is not "
            f"finished: run `streamapp repartition --table {source.table.name}` again"
        )
    if position.partitions != situation.partitions and source.table.keyed:
        raise Misconfigured(
            f"{source.topic} has {situation.partitions} partitions, the table {source.table.name} was built with "
            f"{position.partitions}: {source.table.how_to_grow}"
        )
    if committed is not None and committed > max(position.next_offset, start):
        raise Misconfigured(
            f"group {group} was set ahead: committed offset {committed} of {where}, counted up to "
            f"{position.next_offset}; put it back with `{tool} --reset-offsets --to-offset {position.next_offset}`"
        )
    if situation.ends[number] < position.next_offset:
        raise Misconfigured(
            f"{where} ends at {situation.ends[number]}, the table counted up to {position.next_offset}: "
            f"records were lost from the topic"
        )
    _tell(group, where, position.next_offset, committed, start)


def _tell(group: str, where: str, counted: int, committed: int | None, start: int) -> None:
    """What does not stop the worker, but must not pass in silence."""
    if not counted and committed is None:  # nothing was ever read
        return
    if start > counted:
        log.error(
            "offsets %d to %d of %s expired before group %s had them: records, unless they are ends of transactions",
            *(counted, start - 1, where, group),
        )
    if committed is None or committed < counted:
        log.warning(
            "group %s was put back to %s of %s: records up to %d were counted before, they are read again and skipped",
            group,
            "the beginning" if committed is None else committed,
            where,
            counted,
        )

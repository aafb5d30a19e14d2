"""Sends dead letters again, and drops them: plan first, then apply, each dead letter exactly once whatever happens
between.

Order, and what each failure costs:

1  take the right to write: a run that still goes on ends here, what it left unfinished is undone
2  read the receipts: from now on nobody else adds any
3  read the dead letters; for each that is meant and may go, a batch of them:
   begin · records · receipts with their offsets · commit      a crash before commit: nothing of the batch happened
4  tell the receipts to whoever asked                          a crash before it: they are in the topic all the same,
                                                               and the next run tells them (letters_receipts.py)
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Any

from streamapp.clock import Clock
from streamapp.dead_letters.done import Done, Receipt, State, read_done, row, tombstone
from streamapp.dead_letters.plan import DROPPED, SENT_BEFORE, Resend, Rules, Stays, Wanted, plan
from streamapp.dead_letters.read import Letter, letters
from streamapp.dead_letters.receipts import Receipts
from streamapp.errors import Refused
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Span
from streamapp.kafka.produce.transacted import TransactedProducer
from streamapp.schemas.values.mask import mask_text
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import REDRIVE_ID

BATCH_RECORDS = 500
EXAMPLES = 10  # records that a plan shows
BATCH_BYTES = 8 << 20  # what is held in memory at once, and sent well within the transaction's time


@dataclass
class Plan:
    """What a redrive would do, counted; the first steps as examples."""

    sends: Counter[tuple[str, str, tuple[str, ...]]] = field(default_factory=Counter)  # topic, reason, changed
    stays: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # topic, reason, why
    unreadable: int = 0
    examples: list[Resend] = field(default_factory=list)

    @property
    def records(self) -> int:
        return self.sends.total()

    @property
    def stuck(self) -> int:
        """How many dead letters wait still and cannot be sent."""
        return sum(count for (_, _, why), count in self.stays.items() if why not in (DROPPED, SENT_BEFORE))


def steps(
    config: Mapping[str, Any], upto: Mapping[int, Span], wanted: Wanted, done: Done, rules: Rules, limit: int | None
) -> Iterator[Resend | Stays | None]:
    """What happens to each dead letter that is meant, oldest first, until `limit` of them are sent; None for what
    cannot be read. Two dead letters about one record send it once. Raises `Refused` where two events would get one
    id."""
    sent = 0
    records, events = set(), _Events()
    for letter in letters(config, upto):
        if not isinstance(letter, Letter):
            yield None
            continue
        if not wanted.takes(letter, done):
            continue
        if limit is not None and sent >= limit:
            return
        step = plan(letter, done, rules)
        name = letter.record or letter.id
        if isinstance(step, Resend):
            if name in records:
                step = Stays(letter, "another dead letter about the same record sends it")
            elif events.clash(step):
                step = Stays(
                    letter, "another dead letter of this plan sends an event with the same id and other content"
                )
            else:
                records.add(name)
                sent += 1
        yield step


class _Events:
    """The events that a plan sends: topic and id → its dead letter, that letter's own id of the event, and the
    bytes."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[str, str | None, bytes]] = {}

    def clash(self, step: Resend) -> bool:
        """Whether an event of this step has the id of another one and other bytes; else remember them.

        Raises `Refused` where the change of values made the ids equal: the second event would never count.
        """
        letter, own, body = step.letter, step.letter.event_id, b"".join(record.value or b"" for record in step.records)
        fingerprint = blake2b(body, digest_size=16).digest()
        for name in step.event_ids:
            other = self._seen.get((letter.topic, name))
            if other is not None and "value" in step.changed and other[1] != own:
                raise Refused(
                    f"letters {other[0]} and {letter.id} would both be sent as event {mask_text(name)}, and the second "
                    "would not count: leave /id out of the patch, or send one dead letter at a time. Nothing was sent"
                )
            if other is not None and other[2] != fingerprint:
                return True
        self._seen.update({(letter.topic, name): (letter.id, own, fingerprint) for name in step.event_ids})
        return False


def unknown(kafka: KafkaSettings, upto: Mapping[int, Span], ids: Collection[str]) -> list[str]:
    """The ids that no dead letter has. Raises `Unavailable` or `Misconfigured`."""
    left = dict.fromkeys(ids)
    if left:
        for letter in letters(confluent_config(kafka), upto):
            if isinstance(letter, Letter):
                left.pop(letter.id, None)
    return list(left)


def planned(
    kafka: KafkaSettings, upto: Mapping[int, Span], wanted: Wanted, rules: Rules, limit: int | None = None
) -> Plan:
    """The whole plan, without doing any of it. Raises `Unavailable` or `Misconfigured`."""
    config = confluent_config(kafka)
    made = Plan()
    for step in steps(config, upto, wanted, read_done(config), rules, limit):
        if step is None:
            made.unreadable += 1
        elif isinstance(step, Stays):
            made.stays[step.letter.topic, step.letter.reason, step.why] += 1
        else:
            made.sends[step.letter.topic, step.letter.reason, step.changed] += 1
            if len(made.examples) < EXAMPLES:
                made.examples.append(step)
    return made


def redrive(
    kafka: KafkaSettings,
    upto: Mapping[int, Span],
    wanted: Wanted,
    rules: Rules,
    *,
    clock: Clock,
    receipts: Receipts,
    limit: int | None = None,
    rate: float | None = None,
    told: Callable[[int], None] = lambda count: None,
) -> int:
    """Send the dead letters again, at most `rate` in a second. `receipts` gets those of each batch that is written,
    then `told` how many they are.

    Returns how many were sent. Raises `Unavailable`, `Misconfigured`, or `Refused` when another run took over; what
    was written is done, and the next run goes on behind it.
    """
    config = confluent_config(kafka)
    most = BATCH_RECORDS if rate is None else max(1, min(BATCH_RECORDS, round(rate)))
    count, began_ms = 0, 0
    with TransactedProducer(kafka, REDRIVE_ID) as out:
        done = read_done(config)
        receipts.begin(clock(), done)
        for batch in _batches(steps(config, upto, wanted, done, rules, limit), most):
            began_ms = began_ms or clock()
            if rate is not None:
                threading.Event().wait(max(0.0, count / rate - (clock() - began_ms) / 1000))
            receipts.write(_write(out, batch, clock(), receipts.run))
            told(len(batch))
            count += len(batch)
    return count


def drop(
    kafka: KafkaSettings,
    upto: Mapping[int, Span],
    wanted: Wanted,
    *,
    reason: str,
    clock: Clock,
    undo: bool = False,
    limit: int | None = None,
    told: Callable[[int], None] = lambda count: None,
) -> int:
    """Mark waiting dead letters as dealt with, or dropped ones as waiting again. Nothing is deleted: they stay in the
    log as long as all others. `told` hears how many of each batch.

    Returns how many. Raises as `redrive`.
    """
    config = confluent_config(kafka)
    count = 0
    with TransactedProducer(kafka, REDRIVE_ID) as out:
        done = read_done(config)
        for batch in _to_mark(undo, config, upto, wanted, done, limit):
            if undo:
                out.commit([tombstone(letter.id) for letter in batch])
            else:
                at_ms = clock()
                receipts = [Receipt(letter.id, "dropped", at_ms, letter.record, reason=reason) for letter in batch]
                out.commit([row(receipt) for receipt in receipts])
            told(len(batch))
            count += len(batch)
    return count


def to_drop(
    kafka: KafkaSettings, upto: Mapping[int, Span], wanted: Wanted, undo: bool = False, limit: int | None = None
) -> int:
    """How many dead letters `drop` would mark. Raises `Unavailable` or `Misconfigured`."""
    config = confluent_config(kafka)
    return sum(map(len, _to_mark(undo, config, upto, wanted, read_done(config), limit)))


def _to_mark(
    undo: bool, config: Mapping[str, Any], upto: Mapping[int, Span], wanted: Wanted, done: Done, limit: int | None
) -> Iterator[list[Letter]]:
    state: State = "dropped" if undo else "waiting"
    found = (one for one in letters(config, upto) if isinstance(one, Letter))
    meant = (one for one in found if wanted.takes(one, done) and done.state(one) == state)
    while batch := list(islice(meant, BATCH_RECORDS if limit is None else min(BATCH_RECORDS, limit))):
        yield batch
        limit = None if limit is None else limit - len(batch)


def _batches(found: Iterator[Resend | Stays | None], most: int) -> Iterator[list[Resend]]:
    batch: list[Resend] = []
    size = 0
    for step in found:
        if isinstance(step, Resend):
            batch.append(step)
            size += sum(len(record.value or b"") for record in step.records)
            if len(batch) == most or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _write(out: TransactedProducer, batch: Sequence[Resend], now_ms: int, run: str) -> list[Receipt]:
    receipts: list[Receipt] = []

    def about(offsets: Sequence[int]) -> list[Any]:
        first = 0
        for step in batch:
            letter, record = step.letter, step.record
            sent = (record.topic, record.partition, offsets[first])
            first += len(step.records)
            attempt, changed = letter.attempt, step.changed
            receipts.append(Receipt(letter.id, "redriven", now_ms, letter.record, sent, attempt, changed, run=run))
        return [row(receipt) for receipt in receipts]

    out.commit([record for step in batch for record in step.records], about)
    return receipts

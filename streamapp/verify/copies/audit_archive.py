"""The pair `audit=archive`: every audit record that the group has committed is in the archive once, as it was.

What must be there is judged by the models of the schema, which the worker asks only about what its fast reader does not
accept, and secrets are found by the schema's rules of masking. The comparison of a record with its line is code of its
own.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Record, Span, read
from streamapp.schemas.judging.audit_line import keeps_secret
from streamapp.schemas.judging.judge_audit import judge_audit
from streamapp.schemas.judging.rejected import Rejected
from streamapp.schemas.values.mask import MASKED, is_value, mask_in_text, named_secret, secret_places
from streamapp.schemas.values.mask_json import TEXTS_MAX
from streamapp.settings import Settings
from streamapp.sinks.archive.chain import unpack_link
from streamapp.sinks.archive.objects import event_ms, lines_of
from streamapp.sinks.archive.read import Shelf, current
from streamapp.sinks.archive.store import ArchiveStore, open_archive
from streamapp.topics.registry import changelog
from streamapp.verify.copies.records import Copy, Item, compare, place
from streamapp.verify.engine import Offsets, Pair, Sides
from streamapp.verify.read.letters import LETTERS
from streamapp.verify.report import PairReport

GROUP, TRAIL, TABLE = "audit-archive", "audit_log", "archive"


class Kept:
    """`copies.Destination` on the objects of an archive. Objects that cannot be read have no lines: their records are
    lost then."""

    def __init__(self, store: ArchiveStore, runner: asyncio.Runner) -> None:
        self._store, self._runner = store, runner
        self.report = PairReport("", "", "")  # takes lines that are there more than once
        self._shelves: dict[int, Shelf] | None = None

    def done(self, committed: Offsets) -> Offsets:
        self._shelves = {shelf.partition: shelf for shelf in self._runner.run(current(self._store, TRAIL))}
        return committed

    def rows(self, partition: int, span: Span) -> Iterator[Item]:
        last = -1
        for name, line in self._lines((self._shelves or {}).get(partition)):
            offset = int(line.get("offset", -1))
            where = f"{name}, offset {offset}"
            if offset <= last:
                self.report.doubled.add(where, "is there more than once, or out of order")
                continue
            last = offset
            yield Item(partition, offset, where, line, _event_ms(line))

    def elsewhere(self, missing: Sequence[Item]) -> Sequence[str | None]:
        return [None for _ in missing]

    def _lines(self, shelf: Shelf | None) -> Iterator[tuple[str, dict[str, Any]]]:
        for name in () if shelf is None else shelf.in_order():
            try:
                lines = [_json(line) for line in lines_of(self._runner.run(self._store.get(name)) or b"")]
            except ValueError:
                lines = []
            yield from ((name, line) for line in lines)


@contextmanager
def _open(settings: Settings, committed: Offsets, store: ArchiveStore | None) -> Iterator[Kept]:
    with asyncio.Runner() as runner:
        yield Kept(open_archive(settings.archive, settings.archive_url) if store is None else store, runner)


def _must(record: Record) -> Item | str:
    judged = judge_audit(record.value)
    if isinstance(judged, Rejected):
        return f"the record should have been refused: {judged.error}"
    return place(record, None, judged.at_ms)


def _differences(record: Record, _: Item, kept: Item) -> Iterator[str]:
    different = "its event: it has no time" if kept.at_ms is None else difference(record, kept.row)
    if different is not None:
        yield f"differs from the record in {different}"


def _judge(sides: Sides) -> None:
    sides.kept.report = sides.report
    compare(sides, Copy(_must, _differences), apart=True, headers=True)


PAIR = Pair(
    name="audit=archive",
    group=GROUP,
    source=TRAIL,
    topics=(LETTERS,),
    judge=_judge,
    right="the archive",
    destination=_open,
)


def committed_chains(settings: Settings) -> dict[int, tuple[int, str]]:
    """Partition → the last offset of the newest object, and the chain behind it, as the group's changelog says."""
    found: dict[int, tuple[int, str]] = {}
    for record in read(confluent_config(settings.kafka), changelog(GROUP, TABLE)):
        if record.key == b"b" and record.value is not None:
            (_, last, _), state = msgspec.msgpack.decode(record.value)
            if state:
                found[record.partition] = last, unpack_link(state).chain.hex()
    return found


def _event_ms(line: dict[str, Any]) -> int | None:
    try:
        return event_ms(line)
    except (KeyError, TypeError, ValueError):
        return None


def difference(record: Record, line: Mapping[str, Any]) -> str | None:
    """The first part of a line that is not the record's, secrets aside; None when all of it is."""
    told = {name: value for name, value in line.items() if name not in ("event", "headers", "key", "key_b64")}
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    if told != {**place, "timestamp_ms": record.timestamp_ms}:
        return "its coordinates"
    if _key(line) != record.key:
        return "its key"
    headers = [
        {"key": name, "value_b64": None if value is None else b64encode(_shown(name, value)).decode()}
        for name, value in record.headers
    ]
    if line.get("headers") != headers:
        return "its headers"
    event = _json(record.value or b"")
    return _unlike(event, line.get("event"))


def _key(line: Mapping[str, Any]) -> bytes | None:
    if "key_b64" in line:
        return b64decode(line["key_b64"])
    key = line.get("key")
    return key.encode() if isinstance(key, str) else None


def _shown(name: str, value: bytes) -> bytes:
    return MASKED.encode() if keeps_secret(name) else value


def _number(digits: str) -> int | str:
    return int(digits) if len(digits) <= 4_000 else digits


def _unlike(event: Any, archived: Any) -> str | None:
    """Where two trees differ. A secret must be masked, everything else must be the same (decision 17). The event
    itself is no field beside its value: its type names no secret."""
    todo: list[_Both] = [_Both(event, archived, "event")]
    while todo:
        both = todo.pop()
        whole, kept, path = both.whole, both.kept, both.path
        if both.secret and whole is not None and not isinstance(whole, bool):
            if kept != MASKED:
                return f"{path}, which is not masked"
        elif isinstance(whole, dict) and isinstance(kept, dict):
            if list(whole) != list(kept):
                return f"the fields of {path}"
            todo += _members(both)
        elif isinstance(whole, list) and isinstance(kept, list) and len(whole) == len(kept):
            secret = secret_places(whole, keeps_secret)
            pairs = enumerate(zip(whole, kept, strict=True))
            todo += (_Both(one, other, f"{path}[]", at in secret, both.level) for at, (one, other) in pairs)
        elif isinstance(whole, str) and isinstance(kept, str):
            if (inside := _inside(both)) is not None:
                todo.append(inside)
            elif kept != mask_in_text(whole, keeps_secret):
                return path
        elif type(whole) is not type(kept) or whole != kept:
            return path
    return None


class _Both(NamedTuple):
    """A part of an event as it was and as it is kept. `level`: of how many texts it is inside."""

    whole: Any
    kept: Any
    path: str
    secret: bool = False
    level: int = 0


def _members(both: _Both) -> Iterator[_Both]:
    named = both.path != "event" and named_secret(both.whole.items(), keeps_secret)
    for name, value in both.whole.items():
        secret = keeps_secret(name) or (named and is_value(name))
        yield _Both(value, both.kept[name], f"{both.path}.{name}", secret, both.level)


def _inside(both: _Both) -> _Both | None:
    """What a text holds, if that is JSON. JSON inside of too many texts is a secret as a whole."""
    if both.whole.lstrip()[:1] not in ("{", "[", '"'):
        return None
    try:
        whole = _json(both.whole)
        if both.level >= TEXTS_MAX:
            return both._replace(secret=True)
        return _Both(whole, _json(both.kept), both.path, level=both.level + 1)
    except (ValueError, RecursionError):
        return None


def _json(text: str | bytes) -> Any:
    return json.loads(text, parse_float=str, parse_int=_number)

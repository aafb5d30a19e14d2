"""The pair `audit=archive`: every audit record that the group has committed is in the archive once, as it was.

What must be there is judged by the models of the schema, which the worker asks only about what its fast reader does not
accept, and secrets are found by the schema's rules of masking. The comparison of a record with its line is code of its
own.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from streamapp.archive.chain import unpack_link
from streamapp.archive.objects import event_ms, lines_of
from streamapp.archive.read import Shelf, shelves
from streamapp.archive.store import ArchiveStore, open_archive
from streamapp.kafka.log.reader import Record, Span, read
from streamapp.kafka.security import confluent_config
from streamapp.schemas.judging.audit_line import keeps_secret
from streamapp.schemas.judging.judge_audit import judge_audit
from streamapp.schemas.judging.rejected import Rejected
from streamapp.schemas.values.mask import MASKED, is_value, mask_in_text, named_secret, secret_places
from streamapp.settings import Settings
from streamapp.topics.registry import changelog
from streamapp.verify.copies import Copy, Item, compare, place
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
        self._shelves = {shelf.partition: shelf for shelf in self._runner.run(shelves(self._store, TRAIL))[0]}
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
    return _unlike(event, line.get("event"), "event", envelope=True)


def _key(line: Mapping[str, Any]) -> bytes | None:
    if "key_b64" in line:
        return b64decode(line["key_b64"])
    key = line.get("key")
    return key.encode() if isinstance(key, str) else None


def _shown(name: str, value: bytes) -> bytes:
    return MASKED.encode() if keeps_secret(name) else value


def _number(digits: str) -> int | str:
    return int(digits) if len(digits) <= 4_000 else digits


def _unlike(whole: Any, kept: Any, path: str, *, envelope: bool = False) -> str | None:
    """Where two trees differ. A secret must be masked, everything else must be the same (decision 17). `envelope`: the
    event itself, whose type names no secret."""
    if isinstance(whole, dict) and isinstance(kept, dict):
        if list(whole) != list(kept):
            return f"the fields of {path}"
        named = not envelope and named_secret(whole.items(), keeps_secret)
        pairs = ((keeps_secret(name) or (named and is_value(name)), name, value) for name, value in whole.items())
        return _first_unlike((secret, value, kept[name], f"{path}.{name}") for secret, name, value in pairs)
    if isinstance(whole, list) and isinstance(kept, list) and len(whole) == len(kept):
        secret = secret_places(whole, keeps_secret)
        both = enumerate(zip(whole, kept, strict=True))
        return _first_unlike((at in secret, one, other, f"{path}[]") for at, (one, other) in both)
    if isinstance(whole, str) and isinstance(kept, str):
        return _unlike_text(whole, kept, path)
    return None if type(whole) is type(kept) and whole == kept else path


def _first_unlike(members: Iterable[tuple[bool, Any, Any, str]]) -> str | None:
    """The first difference among these: (is a secret, as it was, as it is kept, where)."""
    for secret, whole, kept, path in members:
        if secret and whole is not None and not isinstance(whole, bool):
            if kept != MASKED:
                return f"{path}, which is not masked"
        elif (found := _unlike(whole, kept, path)) is not None:
            return found
    return None


def _unlike_text(whole: str, kept: str, path: str) -> str | None:
    """The same for texts, which may hold JSON, or URLs with secrets in them."""
    try:
        inside = _json(whole) if whole.lstrip()[:1] in ("{", "[", '"') else None
        shown = None if inside is None else _json(kept)
    except (ValueError, RecursionError):
        inside = None
    if inside is not None:
        return _unlike(inside, shown, path)
    return None if kept == mask_in_text(whole, keeps_secret) else path


def _json(text: str | bytes) -> Any:
    return json.loads(text, parse_float=str, parse_int=_number)

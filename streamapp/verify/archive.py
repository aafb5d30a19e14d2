"""The pair `audit=archive`: every audit record that the group has committed is in the archive once, as it was.

What must be there is judged by the models, which the worker asks only about what its fast reader does not take; the
comparison of a record with its line, and the merge of log and archive, are code of its own.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, NamedTuple

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
from streamapp.schemas.values.mask_json import TEXTS_MAX
from streamapp.settings import Settings
from streamapp.topics.registry import changelog
from streamapp.verify.pair import PairReport, Sums
from streamapp.verify.reading import Cluster, LogReader

GROUP, TRAIL, TABLE = "audit-archive", "audit_log", "archive"
HOUR_MS = 3_600_000


def check_archive(settings: Settings, cluster: Cluster | None = None, store: ArchiveStore | None = None) -> PairReport:
    """`verify_pair.Check` of the audit log and its archive. `store`: by default the one of the settings."""
    return asyncio.run(_check(settings, cluster, store))


async def _check(settings: Settings, cluster: Cluster | None, store: ArchiveStore | None) -> PairReport:
    report = PairReport("audit=archive", TRAIL, "the archive")
    logs = LogReader(settings.kafka, TRAIL, cluster=cluster)
    committed = logs.committed(GROUP, TRAIL)  # before the archive is read: what is below it, is there
    refused = logs.refused(GROUP, TRAIL)
    log = logs.spans(TRAIL)
    store = open_archive(settings.archive, settings.archive_url) if store is None else store
    parts = {shelf.partition: shelf for shelf in (await shelves(store, TRAIL))[0]}
    merge = _Merge(report)
    for number, span in sorted(log.items()):
        done = min(committed.get(number, 0), span.end)
        report.waiting += span.end - max(done, span.start)
        shelf = parts.get(number, Shelf(TRAIL, number))
        records = logs.records(TRAIL, {number: Span(span.start, done)}, headers=True, refused=refused)
        await merge.partition(records if done > span.start else iter(()), archived(store, shelf), span.start, done)
    merge.finish()
    return report


def committed_chains(settings: Settings) -> dict[int, tuple[int, str]]:
    """Partition → the last offset of the newest object, and the chain behind it, as the group's changelog says."""
    found: dict[int, tuple[int, str]] = {}
    for record in read(confluent_config(settings.kafka), changelog(GROUP, TABLE)):
        if record.key == b"b" and record.value is not None:
            (_, last, _), state = msgspec.msgpack.decode(record.value)
            if state:
                found[record.partition] = last, unpack_link(state).chain.hex()
    return found


async def archived(store: ArchiveStore, shelf: Shelf) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Every line of a partition, with its object's name. Objects that cannot be read have none: their records are
    lost then."""
    for name in shelf.in_order():
        try:
            lines = [_json(line) for line in lines_of(await store.get(name) or b"")]
        except ValueError:
            lines = []
        for line in lines:
            yield name, line


class _Merge:
    """Log and archive side by side, in the order of offsets."""

    def __init__(self, report: PairReport) -> None:
        self._report = report
        self._left: Counter[int] = Counter()
        self._right: Counter[int] = Counter()
        self._now: Record | None = None

    async def partition(
        self, log: Iterator[Record], lines: AsyncIterator[tuple[str, dict[str, Any]]], start: int, done: int
    ) -> None:
        """One partition; `log` has its records from `start` to before `done`."""
        report, last = self._report, -1
        self._now = next(log, None)
        async for name, line in lines:
            offset = int(line.get("offset", -1))
            where = f"{name}, offset {offset}"
            if offset <= last:
                report.doubled.add(where, "is there more than once, or out of order")
                continue
            last = offset
            if offset < start:
                report.out_of_reach += 1
            elif offset < done:
                self._pass_by(log, offset)
                self._compare(log, offset, where, line)
        self._pass_by(log, done)

    def finish(self) -> None:
        """The sums by hour."""
        for hour in sorted(self._left | self._right):
            self._report.hours[hour] = Sums(self._left[hour], {}), Sums(self._right[hour], {})

    def _pass_by(self, log: Iterator[Record], offset: int) -> None:
        """Records below this offset that no line is about: they were refused, or they are lost."""
        while self._now is not None and self._now.offset < offset:
            judged = judge_audit(self._now.value)
            if not isinstance(judged, Rejected):
                self._count(self._left, judged.at_ms)
                self._report.events += 1
                self._report.lost.add(f"{TRAIL}-{self._now.partition}, offset {self._now.offset}", "is not archived")
            self._now = next(log, None)

    def _compare(self, log: Iterator[Record], offset: int, where: str, line: dict[str, Any]) -> None:
        record = self._now
        if record is None or record.offset != offset:
            self._report.wrong.add(where, "is no record of the log")
            return
        self._now = next(log, None)
        judged = judge_audit(record.value)
        if isinstance(judged, Rejected):
            self._report.wrong.add(where, f"should have been refused: {judged.error}")
            return
        self._report.events += 1
        self._count(self._left, judged.at_ms)
        try:
            self._count(self._right, event_ms(line))
        except (KeyError, TypeError, ValueError):
            self._report.wrong.add(where, "has no event with a time")
            return
        different = difference(record, line)
        if different is not None:
            self._report.wrong.add(where, f"differs from the record in {different}")

    @staticmethod
    def _count(hours: Counter[int], at_ms: int) -> None:
        hours[at_ms // HOUR_MS * HOUR_MS] += 1


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

"""The pair `audit=archive`: every audit record that the group has committed is in the archive once, as it was.

What must be there is judged by the models, which the worker asks only about what its fast reader does not take; the
comparison of a record with its line, and the merge of log and archive, are code of its own.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
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

"""What the archive's objects are called, and the chain that ties each to all before it. Pure.

    audit_log/partition=0/date=2025-01-15/00000000000000000000-00000000000000000999.jsonl.zst   an object
                                          00000000000000000000-00000000000000000999.json        its entry
                                          manifest.json                                          the day's entries

The date is that of the first record's timestamp, UTC. The names of one partition's objects sort by offset within a day.

Objects that were read again are a generation, with chains of its own; nothing of before is changed:

    audit_log_generation_0002/partition=0/…   an object that stands for the one of the same place in audit_log
    audit_log.generations.json                the generations; one that is not named here does not count
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from streamapp.schemas.values.timestamp import DAY_MS, format_ms

OBJECT, ENTRY, MANIFEST = ".jsonl.zst", ".json", "manifest.json"
GENESIS = bytes(32)  # what the first object of a partition is tied to

_NAME = re.compile(r"(\w+)/partition=(\d+)/date=(\d{4}-\d\d-\d\d)/(\d{20})-(\d{20})\.jsonl\.zst")


class Named(NamedTuple):
    """What an object's name says. Offsets are those of the batch, refused records included."""

    topic: str
    partition: int
    date: str
    first: int
    last: int


class Entry(msgspec.Struct, frozen=True):
    """What is known of an object: a line of the manifest. Digests are SHA-256 in hex; `bytes` is the object's size.

    `chain` is the digest of `previous`, which is the chain of the object before, and of name, digest and count.
    """

    name: str
    first_offset: int
    last_offset: int
    count: int
    bytes: int
    sha256: str
    previous: str
    chain: str
    events_from: str  # the earliest and the latest timestamp of its events
    events_to: str


class Manifest(msgspec.Struct, frozen=True):
    """A day of a partition: its objects in the order of the chain, and their sums."""

    topic: str
    partition: int
    date: str
    objects: int
    records: int
    first_offset: int
    last_offset: int
    entries: tuple[Entry, ...]


class Part(msgspec.Struct, frozen=True):
    """What a generation has of a partition, and where its chain ends."""

    partition: int
    objects: int
    records: int
    last_offset: int
    chain: str


class Generation(msgspec.Struct, frozen=True):
    """Objects that were made again at a moment. `trail` is their folder."""

    number: int
    trail: str
    made_at: str
    parts: tuple[Part, ...]


class Generations(msgspec.Struct, frozen=True):
    """All generations of a topic behind its first, which has its name."""

    topic: str
    generations: tuple[Generation, ...] = ()


class Link(msgspec.Struct, array_like=True, frozen=True):
    """The end of a partition's chain, as the changelog keeps it. `day` counts from 1970."""

    chain: bytes
    previous: bytes
    day: int


# Of what the functions below pack. They raise msgspec.MsgspecError.
unpack_entry = msgspec.json.Decoder(Entry).decode
unpack_manifest = msgspec.json.Decoder(Manifest).decode
unpack_generations = msgspec.json.Decoder(Generations).decode
_link = msgspec.msgpack.Decoder(Link).decode


def day_of(at_ms: int) -> int:
    """The day of a moment. One that no four digits can name counts as the first."""
    day = at_ms // DAY_MS
    return day if 0 <= day < 2_932_897 else 0  # 10000-01-01


def partition_folder(topic: str, partition: int) -> str:
    return f"{topic}/partition={partition}/"


def object_name(topic: str, partition: int, first: int, last: int, day: int) -> str:
    """The name of a batch; the same batch always has the same."""
    date = format_ms(day * DAY_MS)[:10]
    return f"{partition_folder(topic, partition)}date={date}/{first:020d}-{last:020d}{OBJECT}"


def named(name: str) -> Named | None:
    """Inverse of `object_name`; None for what is no object's name."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    topic, partition, date, first, last = found.groups()
    return Named(topic, int(partition), date, int(first), int(last))


def offsets_of(name: str) -> tuple[int, int]:
    """The first and the last offset of an object."""
    at = named(name)
    assert at is not None, name
    return at.first, at.last


def entry_name(name: str) -> str:
    """Where the entry of an object is."""
    return name.removesuffix(OBJECT) + ENTRY


def folder_of(name: str) -> str:
    """The folder of a name, with the slash."""
    return name[: name.rindex("/") + 1]


def tie(previous: bytes, name: str, digest: bytes, count: int) -> bytes:
    """The chain behind an object."""
    return hashlib.sha256(previous + digest + count.to_bytes(8) + name.encode()).digest()


def pack_entry(entry: Entry) -> bytes:
    """The bytes of an entry: the same for the same object."""
    return msgspec.json.encode(entry) + b"\n"


def pack_manifest(entries: Sequence[Entry]) -> bytes:
    """The bytes of a day's manifest. At least one entry, all of this folder."""
    at = named(entries[0].name)
    assert at is not None
    assert {folder_of(entry.name) for entry in entries} == {folder_of(entries[0].name)}
    manifest = Manifest(
        at.topic,
        at.partition,
        at.date,
        len(entries),
        sum(entry.count for entry in entries),
        entries[0].first_offset,
        entries[-1].last_offset,
        tuple(entries),
    )
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def trail_of(topic: str, number: int) -> str:
    """The folder of a generation."""
    return f"{topic}_generation_{number:04d}"


def at_place(trail: str, name: str) -> str:
    """The name, in a generation, of what stands for an object."""
    return trail + name[name.index("/") :]


def generations_name(topic: str) -> str:
    return f"{topic}.generations.json"


def pack_generations(generations: Generations) -> bytes:
    return msgspec.json.format(msgspec.json.encode(generations), indent=1) + b"\n"


def pack_link(link: Link) -> bytes:
    """The state of a sink behind a batch."""
    return msgspec.msgpack.encode(link)


def unpack_link(state: bytes) -> Link:
    """Inverse of `pack_link`; nothing is the beginning."""
    return _link(state) if state else Link(GENESIS, GENESIS, 0)

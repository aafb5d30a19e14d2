"""Compress and put, and nothing else: the reference that audit-archive is held to, with objects as large and as old as
its settings say."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import obstore
import zstandard
from obstore.store import LocalStore

from bench.groups.bare_loop import BareLoop
from streamapp.settings import load


@dataclass
class Waiting:
    """What a partition's next object is made of."""

    since_s: float
    lines: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    last: int = 0


def main() -> None:
    """Read audit_log from its beginning until SIGTERM."""
    archive = load().archive
    store = LocalStore(Path(os.environ["STREAM_STATE_DIR"]) / "raw", mkdir=True)
    compressor = zstandard.ZstdCompressor(level=archive.zstd_level, write_checksum=True)
    waiting: dict[int, Waiting] = {}
    loop = BareLoop("audit_log", "archive-raw")
    for messages in loop.fetched():
        for message in messages:
            value, one = message.value(), waiting.get(message.partition())
            if one is None:
                one = waiting[message.partition()] = Waiting(time.monotonic())
            one.lines.append(value)
            one.size_bytes += len(value)
            one.last = message.offset()
        for partition, one in list(waiting.items()):
            full = len(one.lines) >= archive.flush_records or one.size_bytes >= archive.flush_bytes
            if full or time.monotonic() - one.since_s >= archive.flush_seconds:
                name = f"partition={partition}/{one.last:020d}.jsonl.zst"
                data = compressor.compress(b"\n".join(one.lines))
                obstore.put(store, name, data, mode="create", use_multipart=False)
                loop.kept(partition, len(one.lines), one.last)
                del waiting[partition]


if __name__ == "__main__":
    main()

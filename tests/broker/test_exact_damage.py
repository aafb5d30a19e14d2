"""One wrong bit in a worker's rows: it is found when it is read, the rows come back, and no total is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from workers import Cluster, Sent, cluster

from streamapp.broker.broker import Broker
from streamapp.chaos.files import turn_bit
from streamapp.clock import wall_ms
from streamapp.meters.usage.store import is_unsettled, unsettled
from streamapp.simulate.usage import HOUR_MS, UsageSpec, usage_stream
from streamapp.store.ids import remembered
from streamapp.store.rocks import Damaged, RocksStore
from streamapp.store.rows import stored_position

EVENTS = 8_000
Reads = Callable[[RocksStore], Iterable[object]]
FOUND = "are damaged and come back from the changelog"


def records(seed: int, now_ms: int) -> list[Sent]:
    """The first of a partition is never late: else its hour would close, and its id be forgotten, with the second."""
    before = UsageSpec(now_ms - 13 * HOUR_MS, now_ms - 12 * HOUR_MS, 500, teams=100, late=0, seed=seed + 1000)
    spec = UsageSpec(now_ms - 12 * HOUR_MS, now_ms, EVENTS, teams=100, late=0.05, duplicates=0.02, seed=seed)
    return [Sent(record.key, record.value) for one in (before, spec) for record in usage_stream(one)]


def remembered_ids(store: RocksStore) -> Iterable[object]:
    return store.scan(b"i", b"j")


def hours(store: RocksStore) -> Iterable[object]:
    return store.scan(b"h", b"i")


def what_a_takeover_reads(store: RocksStore) -> Iterable[object]:
    yield stored_position(store)
    yield from unsettled(store)
    yield from remembered(store)


def damaged(path: Path, read: Reads) -> bool:
    """Whether reading this fails."""
    store = RocksStore(path, is_unsettled)
    try:
        for _ in read(store):
            pass
    except Damaged:
        return True
    finally:
        store.close()
    return False


def hurt(stack: Cluster, reads: Reads, fine: Reads = lambda store: ()) -> None:
    """Turn one bit in the rows of a partition, at a place where the first kind of reading fails and the other not."""
    tables = (stack.folder / "state/billing-agg/worker-0").glob("usage_hourly-?")
    file = max((file for table in tables for file in table.glob("*.sst")), key=lambda file: file.stat().st_size)
    for number, place in enumerate(range(file.stat().st_size - 4000, 0, -3000)):  # bills come first, and are most
        probe = stack.folder / f"probe-{number}"
        for reading, fails in ((reads, True), (fine, False)):
            shutil.copytree(file.parent, probe)  # opening it may put its rows into other files
            turn_bit(probe / file.name, place)
            suits = damaged(probe, reading) == fails
            RocksStore.wipe(probe)
            if not suits:
                break
        else:
            turn_bit(file, place)
            return
    raise AssertionError(f"no place in the {file.stat().st_size} bytes of {file} suits")


@pytest.mark.long
def test_one_wrong_bit_is_found_at_the_takeover_or_when_the_row_is_read(ready_broker: Broker, tmp_path: Path) -> None:
    now_ms = wall_ms()
    first = records(1, now_ms)
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start_ready()
        stack.send(first)
        stack.drain(worker)
        assert worker.stop() == 0

        hurt(stack, remembered_ids)
        worker = stack.start_ready()
        assert worker.said().count(FOUND) == 1, "at once"
        stack.send(first)  # all of them repetitions
        stack.drain(worker)
        assert worker.stop() == 0

        hurt(stack, hours, fine=what_a_takeover_reads)
        stack.send(records(2, now_ms))  # late for most of what was closed
        worker = stack.start()
        stack.wait(lambda: not worker.runs)
        last = worker.said()[-3000:]
        assert worker.exit_code == 69, last
        assert "stopped while" in last
        assert FOUND in last
        worker = stack.start_ready()
        assert FOUND in worker.said(), "it knows by the mark"
        stack.drain(worker)
        stack.verify()

"""RocksDB on a broken disk: what is damaged is noticed when it is read, and nothing is missing without a word."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from rocksdict import DbClosedError

from streamapp.chaos.files import turn_bit
from streamapp.errors import Unavailable
from streamapp.meters.usage.store import is_unsettled
from streamapp.store.rocks import Damaged, RocksStore

ROWS = {b"m%05d" % number: hashlib.shake_128(b"%d" % number).digest(200) for number in range(2000)}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A store of many blocks; a second opening has put all of them into one file."""
    path = tmp_path / "usage-0"
    store = RocksStore(path, is_unsettled)
    store.write(dict(ROWS), 17)
    store.close()
    RocksStore(path, is_unsettled).close()
    return path


def test_one_wrong_bit_anywhere_is_noticed_or_does_no_harm(written: Path) -> None:
    (file,) = written.glob("*.sst")
    size, noticed = file.stat().st_size, Counter[str]()
    for place in [*range(size // 20, size, size // 20), *range(size - 8000, size, 800)]:
        turn_bit(file, place)
        try:
            store = RocksStore(written, is_unsettled)
        except Unavailable:
            noticed["when it is opened"] += 1
        else:
            noticed[read_all(store)] += 1
            store.close()
        turn_bit(file, place)
        mark_of(written).unlink(missing_ok=True)
    assert noticed["when it is read"] > 15
    assert noticed["when it is opened"] > 0
    assert set(noticed) <= {"when it is read", "when it is opened", "never, and nothing is missing"}


def read_all(store: RocksStore) -> str:
    """When damage is noticed; every row that is read until then is as it was written."""
    seen = 0
    try:
        for key, value in store.scan(b"m", b"n"):
            assert ROWS[key] == value
            seen += 1
        store.checkpoint()
    except Damaged:
        for key in ROWS:
            with suppress(Damaged):
                assert store.get(key) == ROWS[key]
        return "when it is read"
    assert seen == len(ROWS), "a scan that ends early must say so"
    return "never, and nothing is missing"


def mark_of(path: Path) -> Path:
    return path.parent / f"{path.name}.damaged"


def test_a_damaged_store_is_not_opened_again_until_it_is_wiped(written: Path) -> None:
    (file,) = written.glob("*.sst")
    turn_bit(file)
    store = RocksStore(written, is_unsettled)
    with pytest.raises(Damaged, match="usage-0 are damaged and come back from the changelog: Corruption"):
        list(store.scan(b"m", b"n"))
    store.close()
    turn_bit(file)  # a disk that reads well now and then is not to be trusted
    with pytest.raises(Damaged, match="usage-0"):
        RocksStore(written, is_unsettled)
    RocksStore.wipe(written)
    again = RocksStore(written, is_unsettled)
    assert (again.checkpoint(), list(again.scan(b"m", b"n"))) == (0, [])
    again.close()


def test_damage_that_a_compaction_finds_stops_the_next_write_and_marks_the_store(written: Path) -> None:
    (file,) = written.glob("*.sst")
    turn_bit(file)
    store = RocksStore(written, is_unsettled)

    def write_on() -> None:
        for _ in range(200):
            store.write(dict(ROWS), 18)

    with pytest.raises(Damaged):
        write_on()
    store.close()
    assert mark_of(written).exists()


def test_a_wrong_bit_in_its_journal_takes_a_store_back_to_an_earlier_checkpoint_as_a_whole(tmp_path: Path) -> None:
    path, killed, kept = tmp_path / "usage-0", tmp_path / "killed-0", Counter[int]()
    store = RocksStore(path, is_unsettled)
    for number in range(1, 41):
        store.write({b"m%d" % (number % 7): b"%d" % number}, number)
    (journal,) = path.glob("*.log")
    for place in range(20, journal.stat().st_size, 97):
        shutil.copytree(path, killed)  # as a process that was killed leaves it: nothing is in tables yet
        turn_bit(killed / journal.name, place)
        again = RocksStore(killed, is_unsettled)
        until = again.checkpoint()
        kept[until] += 1
        expected = {b"m%d" % (number % 7): b"%d" % number for number in range(1, until + 1)}
        assert dict(again.scan(b"m", b"n")) == expected
        again.close()
        RocksStore.wipe(killed)
    store.close()
    assert len(kept) > 5, "it was hit at many places"
    assert max(kept) < 40


def test_a_closed_store_is_not_a_damaged_one(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "usage-0", is_unsettled)
    store.close()
    with pytest.raises(DbClosedError):
        store.get(b"m")
    with pytest.raises(DbClosedError):
        list(store.scan(b"m", b"n"))
    assert not mark_of(tmp_path / "usage-0").exists()

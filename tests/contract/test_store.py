"""One suite for every store of rows: in memory, and RocksDB; and what lies over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_store import MemoryStore as RowsInMemory
from memory_store import UsageStore
from searches import search
from usage_log import at

from streamapp.errors import Unavailable
from streamapp.meters.usage import codec
from streamapp.meters.usage.store import USAGE, Overlay, is_unsettled, unsettled
from streamapp.store.ids import ids_key, pack_ids, remembered
from streamapp.store.position import POSITION_KEY, StoredPosition, pack_position
from streamapp.store.rocks import RocksStore
from streamapp.store.rows import Store, Writes, stored_position, unsettled_rows
from tables.seen import StoredIds
from tables.usage.hourly import HourKey, MonthKey, MonthRow, UsageRow, state

LAST = b"\xff" * 40


@pytest.fixture(params=["memory", "rocks"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = UsageStore() if request.param == "memory" else RocksStore(tmp_path / "usage-0", is_unsettled)
    yield made
    made.close()


def hour(start: str, team: str = "t", settled: bool = False) -> tuple[bytes, bytes]:
    row = UsageRow(HourKey(at(start), "o", team, "USD"))
    row.line("p", "m").requests = 1
    if settled:
        state(row, MonthRow(), 0)
    return codec.hour_key(row.key), codec.pack_hour(row)


def test_a_new_store_is_empty(store: Store) -> None:
    assert (store.checkpoint(), store.get(b"h"), list(store.scan(b"", LAST))) == (0, None, [])
    assert stored_position(store) is None
    assert (list(unsettled(store)), list(remembered(store))) == ([], [])


def test_rows_are_put_replaced_and_deleted_with_the_checkpoint(store: Store) -> None:
    store.write({b"m1": b"a", b"m2": b""}, 7)
    store.write({b"m1": None, b"m2": b"b", b"m3": None}, 1 << 40)
    assert (store.get(b"m1"), store.get(b"m2"), store.get(b"m3")) == (None, b"b", None)
    assert store.checkpoint() == 1 << 40


def test_an_empty_write_moves_the_checkpoint(store: Store) -> None:
    store.write({}, 3)
    assert store.checkpoint() == 3


def test_a_scan_is_half_open_and_in_key_order(store: Store) -> None:
    keys = [b"i\x00", b"i\x7f", b"i\x80", b"i\xff", b"i\xff\x00", b"j"]
    store.write(dict.fromkeys(reversed(keys), b"v"), 1)
    assert [key for key, _ in store.scan(b"i", b"j")] == keys[:-1]
    assert [key for key, _ in store.scan(b"i\x7f", b"i\xff")] == keys[1:3]
    assert list(store.scan(b"k", b"l")) == []


def test_the_checkpoint_is_not_among_the_rows_that_are_scanned(store: Store) -> None:
    store.write({b"b1": b"x", b"h1": b"\x96\xc3"}, 9)
    kinds = [list(store.scan(kind, bytes([kind[0] + 1]))) for kind in (b"b", b"h", b"i", b"m", b"p")]
    assert kinds == [[(b"b1", b"x")], [(b"h1", b"\x96\xc3")], [], [], []]


def test_the_index_follows_hours_from_open_to_settled_to_late_to_gone(store: Store) -> None:
    def open_hours() -> list[tuple[int, str]]:
        return [(row.key.start_ms, row.key.team) for row in unsettled(store)]

    key, value = hour("10:00")
    store.write(dict([hour("11:00"), (key, value), hour("09:00", settled=True)]), 1)
    assert open_hours() == [(at("10:00"), "t"), (at("11:00"), "t")]
    store.write(dict([hour("10:00", settled=True)]), 2)
    assert open_hours() == [(at("11:00"), "t")]
    store.write({key: value}, 3)
    assert open_hours() == [(at("10:00"), "t"), (at("11:00"), "t")]
    store.write({key: None}, 4)
    assert open_hours() == [(at("11:00"), "t")]


def test_remembered_ids_and_the_position_are_read_back(store: Store) -> None:
    position = StoredPosition(3, 2, 1, "topic", 8, 4)
    ids = StoredIds(b"a secret of 16 b", {at("12:00"): (bytes(16), bytes(8))})
    store.write({POSITION_KEY: pack_position(position), ids_key(5): pack_ids(ids)}, 1)
    store.write({ids_key(2): pack_ids(ids)}, 2)
    assert stored_position(store) == position
    assert list(remembered(store)) == [(2, ids), (5, ids)]


def test_a_table_says_which_of_its_rows_are_unsettled(tmp_path: Path) -> None:
    def ends_in_question(key: bytes, value: bytes) -> bool | None:
        return None if key[:1] == b"p" else value.endswith(b"?")

    for made in (RowsInMemory(ends_in_question), RocksStore(tmp_path / "other-0", ends_in_question)):
        made.write({b"k1": b"?", b"k2": b"!", b"k3": b"?", b"p": b"?"}, 1)
        made.write({b"k1": b"!", b"k2": b"?", b"p": None}, 2)
        assert list(unsettled_rows(made, b"k")) == [(b"k2", b"?"), (b"k3", b"?")]
        made.write({b"p": b"?", b"m1": b"?"}, 3)
        assert list(unsettled_rows(made, b"p")) == [], "its kind is not in the index"
        assert list(unsettled_rows(made, b"k")) == [(b"k2", b"?"), (b"k3", b"?")]
        made.close()


def test_a_table_cannot_use_the_keys_that_a_store_needs_itself() -> None:
    assert (USAGE.first, USAGE.last) == (b"b", b"q")
    for kinds in (b"bcp", b"apz", b"pu", b"b", b"pb"):
        with pytest.raises(AssertionError):
            replace(USAGE, kinds=kinds)


# -- RocksDB alone -------------------------------------------------------------------------------------------------


def test_a_reopened_store_has_rows_index_and_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "usage-0"
    first = RocksStore(path, is_unsettled)
    first.write(dict([hour("10:00"), (b"m1", b"v")]), 17)
    first.close()
    again = RocksStore(path, is_unsettled)
    assert (again.checkpoint(), again.get(b"m1"), len(list(unsettled(again)))) == (17, b"v", 1)
    again.close()


def test_wiping_starts_over_and_may_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "usage-0"
    first = RocksStore(path, is_unsettled)
    first.write({b"m1": b"v"}, 17)
    first.close()
    RocksStore.wipe(path)
    RocksStore.wipe(path)
    again = RocksStore(path, is_unsettled)
    assert (again.checkpoint(), again.get(b"m1")) == (0, None)
    again.close()


def test_a_folder_that_is_no_database_is_unavailable_until_it_is_wiped(tmp_path: Path) -> None:
    path = tmp_path / "usage-0"
    path.mkdir()
    (path / "CURRENT").write_text("no manifest\n")
    with pytest.raises(Unavailable, match="usage-0"):
        RocksStore(path, is_unsettled)
    RocksStore.wipe(path)
    RocksStore(path, is_unsettled).close()


def test_a_folder_in_use_is_unavailable(tmp_path: Path) -> None:
    first = RocksStore(tmp_path / "usage-0", is_unsettled)
    with pytest.raises(Unavailable):
        RocksStore(tmp_path / "usage-0", is_unsettled)
    first.close()


# -- the overlay ---------------------------------------------------------------------------------------------------


def test_an_overlay_shows_what_is_on_its_way_newest_first(store: Store) -> None:
    store.write({b"m1": b"old", b"m2": b"old", b"m3": b"old"}, 1)
    overlay = Overlay(store)
    overlay.push({b"m1": b"new", b"m2": None, b"m4": b"new"})
    overlay.push({b"m1": b"newer", b"m2": b"back", b"m0": b"first"})
    assert [overlay.get(key) for key in (b"m0", b"m1", b"m2", b"m3", b"m4")] == [
        b"first",
        b"newer",
        b"back",
        b"old",
        b"new",
    ]
    assert list(overlay.scan(b"m0", b"m4").items()) == [
        (b"m0", b"first"),
        (b"m1", b"newer"),
        (b"m2", b"back"),
        (b"m3", b"old"),
    ]
    assert store.get(b"m1") == b"old"


def test_chunks_land_in_order_each_with_its_checkpoint(store: Store) -> None:
    overlay = Overlay(store)
    overlay.push({b"m1": b"1"})
    overlay.push({b"m1": None, b"m2": b"2"})
    overlay.land(5)
    assert (store.get(b"m1"), store.get(b"m2"), store.checkpoint(), overlay.get(b"m1")) == (b"1", None, 5, None)
    overlay.land(9)
    assert (store.get(b"m1"), store.get(b"m2"), store.checkpoint()) == (None, b"2", 9)


def test_an_overlay_reads_hours_and_months_as_rows(store: Store) -> None:
    overlay = Overlay(store)
    month = MonthKey("2025-01", "o", "t", "USD")
    assert overlay.hour(HourKey(at("10:00"), "o", "t", "USD")) is None
    assert overlay.month(month) == MonthRow()
    store.write(dict([hour("10:00")]), 1)
    overlay.push({codec.month_key(month): codec.pack_month(MonthRow(Decimal("0.5"), 3))})
    row = overlay.hour(HourKey(at("10:00"), "o", "t", "USD"))
    assert row is not None
    assert (row.key.team, row.events) == ("t", 1)
    assert overlay.month(month) == MonthRow(Decimal("0.5"), 3)


def test_hours_by_their_end_after_exclusive_until_inclusive(store: Store) -> None:
    overlay = Overlay(store)
    store.write(dict(hour(start) for start in ("08:00", "09:00", "10:00")), 1)
    overlay.push({hour("09:00")[0]: None, **dict([hour("09:00", "u"), hour("11:00")])})
    found = overlay.hours_ending(at("09:00"), at("11:00"))
    assert [(row.key.start_ms, row.key.team) for row in found] == [(at("09:00"), "u"), (at("10:00"), "t")]
    assert list(overlay.hours_ending(at("12:00"), at("12:00"))) == []


def test_months_that_have_ended(store: Store) -> None:
    overlay = Overlay(store)
    for month in ("2024-12", "2025-01", "2025-02"):
        overlay.push({codec.month_key(MonthKey(month, "o", "t", "USD")): codec.pack_month(MonthRow())})
    assert [key.month for key in overlay.months_ending(at("2025-01-31T23:59:59.999"))] == ["2024-12"]
    assert [key.month for key in overlay.months_ending(at("2025-02-01T00:00"))] == ["2024-12", "2025-01"]


KEYS = st.integers(0, 9).map(lambda number: b"m%d" % number)
CHUNKS = st.lists(st.dictionaries(KEYS, st.none() | st.binary(max_size=3), max_size=5), max_size=6)


@pytest.mark.parametrize(
    "make",
    [lambda path: UsageStore(), lambda path: RocksStore(path, is_unsettled)],
    ids=["memory", "rocks"],
)
def test_an_overlay_reads_like_a_dict_whatever_has_landed(
    make: Callable[[Path], Store], tmp_path_factory: pytest.TempPathFactory
) -> None:
    @given(CHUNKS, st.integers(0, 6))
    @search(25)
    def holds(chunks: list[Writes], landed: int) -> None:
        store = make(tmp_path_factory.mktemp("store") / "rows")
        overlay, model = Overlay(store), dict[bytes, bytes]()
        for writes in chunks:
            overlay.push(writes)
            for key, value in writes.items():
                model.pop(key, None)
                if value is not None:
                    model[key] = value
        for number in range(min(landed, len(chunks))):
            overlay.land(number + 1)
        assert overlay.scan(b"m", b"n") == dict(sorted(model.items()))
        assert all(overlay.get(b"m%d" % number) == model.get(b"m%d" % number) for number in range(10))
        store.close()

    holds()

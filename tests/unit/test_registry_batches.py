"""Records of `_schemas` as the log tells them. The log itself is in tests/registry."""

from __future__ import annotations

import pytest

from streamapp.errors import Misconfigured
from streamapp.kafka.log.reader import Record
from streamapp.registry.log import changes
from streamapp.registry.records import Highest, Mode, written
from streamapp.schemas.judging.rejected import UnreadableBatch


def at(offset: int, key: bytes | None, value: bytes | None) -> Record:
    return Record("_schemas", 0, offset, 1_000 + offset, key, value)


def test_records_of_other_kinds_and_ones_own_are_left_out() -> None:
    records = [at(3, *written(Highest(5))), at(4, b"x", b"y"), at(5, *written(Highest(6))), at(6, None, None)]
    assert changes(records, {5}) == [Highest(5)]


def test_a_batch_that_cannot_be_read_stops_the_reading_where_it_stands() -> None:
    """What it gave is unknown: an id of it would be given again."""
    lost = UnreadableBatch.of(b"\0" * 80, 41, 43, "does not match its checksum")
    with pytest.raises(Misconfigured, match=r"_schemas.* 41 .*does not match its checksum"):
        changes([at(40, *written(Mode(None, "READONLY"))), at(41, None, lost)], set())

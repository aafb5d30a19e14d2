"""Rows, and tokens of blocks, that were made on another cluster: the only broker lost its disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamapp.errors import Misconfigured
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.restore import open_store
from streamapp.sinks.clickhouse.events import token_of
from streamapp.sinks.marks import marks
from streamapp.store.position import POSITION_KEY, StoredPosition, pack_position
from streamapp.store.rows import stored_position

TABLE = marks("kept")


def test_rows_of_another_cluster_are_refused_and_kept(tmp_path: Path) -> None:
    """A changelog that was made anew beside the same topic has everything; on another cluster nothing has."""
    store = open_store(tmp_path, TABLE, 0, "changelog", "topic")
    store.write({POSITION_KEY: pack_position(StoredPosition(7, -1, -1, "topic", 8, 0))}, 9)
    store.close()
    for _ in range(2):
        with pytest.raises(Misconfigured, match=r"kept-0 are of another cluster.*up to offset 7"):
            open_store(tmp_path, TABLE, 0, "another", "another topic")
    open_store(tmp_path, TABLE, 0, "changelog", "topic").close()
    anew = open_store(tmp_path, TABLE, 0, "another", "topic")
    assert stored_position(anew) is None
    anew.close()


def test_a_block_of_a_topic_that_was_made_anew_has_another_token() -> None:
    """ClickHouse left out the new topic's events as a block that it has."""
    tokens = {token_of(Place("g", "events", 0, topic_id, 1, {}), 0, 9) for topic_id in ("one", "two")}
    assert len(tokens) == 2

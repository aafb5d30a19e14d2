"""A declared table of a Faust app: `app.tables` and Faust's commands know it, Faust's own recovery does not.

Its rows are read here and changed nowhere but in chunks: `fold` hands a chunk to the partition it was fetched for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import faust

from streamapp.errors import Refused
from streamapp.exact.chunk import Chunk
from streamapp.exact.declaration import Declaration
from streamapp.exact.faust.failstop import failstop
from streamapp.exact.partition import Partition
from streamapp.exact.task import Keeps
from streamapp.metrics import GroupMetrics
from streamapp.store.rows import Store
from streamapp.store.table import RowKey


class ReadOnlyTopic(faust.Topic):
    """What agents read. `faust send` writes what nobody has judged, to any partition."""

    async def send(self, **options: Any) -> Any:
        reason = (
            f"`faust send` would write to {self.get_topic_name()} what nobody has judged; send events to "
            "`streamapp capture`, or with `streamapp.kafka.producer`"
        )
        failstop(Refused(reason), "sending")


class ExactTable(faust.Table):
    """The rows of the partitions in hand, by their keys as people read them: `table["month", "2025-01", …]`.

    Read-only, and as of the last commit. `view` is what the pages show of it.
    """

    def __init__(self, app: Any, declaration: Declaration, **options: Any) -> None:
        assert app.conf.id == declaration.group, f"{declaration.name} is a table of {declaration.group}"
        self.declaration = declaration
        super().__init__(app, name=declaration.name, help=declaration.about, **options)
        self.source = app.chunk_topic(declaration.source.topic)
        self.metrics = GroupMetrics(declaration.group)
        self.view = declaration.view(app, self.metrics, app.clock, declaration.rows)
        self.takeover = declaration.takeover(app.settings, app.clock, self.metrics.committed)
        app.own(declaration.source.topic, self.takeover)
        app.ownership.taken = self.view.taken

    async def fold(self, chunk: Chunk) -> None:
        """One chunk: rows, statements, dead letters and the source offset in one transaction, or nothing. Returns when
        it is under way and every chunk before it has committed."""
        await chunk.partition.apply(chunk)

    # -- rows, read-only -----------------------------------------------------------------------------------------

    def __getitem__(self, key: RowKey) -> Any:
        """The row of this key. Raises KeyError where no partition in hand has one."""
        rows = self.declaration.rows
        try:
            raw = rows.readable_key(key)
        except ValueError as error:
            raise KeyError(key) from error
        for store in self._stores():
            value = store.get(raw)
            if value is not None:
                return rows.readable(raw, value)[1]
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        try:
            self[key]  # type: ignore[index]  # whatever is no key is not there
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[RowKey]:
        return (key for key, _ in self.items())

    def items(self) -> Iterator[tuple[RowKey, Any]]:
        """Key and row of every row, one partition after the other."""
        rows = self.declaration.rows
        for store in self._stores():
            for raw, value in store.scan(rows.first, rows.last):
                if raw[0] in rows.kinds:
                    yield rows.readable(raw, value)

    def __len__(self) -> int:
        return sum(1 for _ in self.items())

    def __setitem__(self, key: Any, row: Any) -> None:
        raise self._read_only()

    def __delitem__(self, key: Any) -> None:
        raise self._read_only()

    def _read_only(self) -> TypeError:
        return TypeError(f"rows of {self.name} change in chunks only: `await {self.name}.fold(chunk)`")

    def _stores(self) -> list[Store]:
        partitions: dict[int, Partition] = self.app.ownership.partitions
        tasks = (partition.task for _, partition in sorted(partitions.items()))
        return [task.store for task in tasks if isinstance(task, Keeps)]

    # -- what Faust does to its own tables -----------------------------------------------------------------------

    def reset_state(self) -> None:
        """`faust reset` would leave a table whose rows are behind its offsets."""
        again = self.declaration.again or f"`streamapp replay --group {self.declaration.group}`"
        reason = (
            f"the rows of {self.name} come back from its changelog by themselves: there is nothing to reset. To read "
            f"records again: {again}. To start a new table, see "
            f"docs/runbook.md, A new table"
        )
        failstop(Refused(reason), "resetting a table")

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        """`Ownership` restores rows."""

    async def on_recovery_completed(self, *args: Any, **kwargs: Any) -> None:
        """`Ownership` restores rows."""

    async def on_start(self) -> None:
        """There is no store of Faust's to open."""

    def persisted_offset(self, tp: Any) -> int | None:
        return None


class Sink(ExactTable):
    """What a destination outside Kafka has of the partitions in hand: how far it is, and whatever else its rows say."""

    async def keep(self, chunk: Chunk) -> None:
        """One chunk: gathered into a batch that is kept once, with its dead letters and the source offset. Returns when
        what is due is under way and every batch before it is kept."""
        await self.fold(chunk)
